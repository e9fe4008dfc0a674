"""Measure symmetry discovery: groups recovered, noise that is survived, and groups of actions found from images."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ....representations.analysis.symmetry.finite_groups import FiniteGroup
from ....representations.analysis.symmetry.group_catalogue import catalogue, extend_isomorphism, identify
from ....representations.analysis.symmetry.group_constructors import cyclic_group
from ....representations.analysis.symmetry.group_recovery import DiscoveredGroup, NoGroupFoundError, discover_group
from ....representations.analysis.symmetry.orbit_pairs import (
    invariance_moments,
    invariant_forms_table,
    sample_orbit_pairs,
)
from .instrument import InstrumentRun, register_instrument
from .symmetry_images import FiniteWorld, make_world, sample_actions, sample_states

if TYPE_CHECKING:
    from ....representations.analysis.symmetry.action_data import ActionData
    from ....representations.analysis.symmetry.action_group import ActionGroup

Figures = dict[str, float | str]

PAIRS = 1000
"""Pairs of each group without noise; the published training draws as many in an epoch."""
NOISY_PAIRS = {"": 50_000, " (1000 pairs)": 1000}
"""Pairs with noise, by the end of the row's name: the published training draws 1000 new pairs in each of 50 epochs."""
NOISE = (0.5, 0.55, 0.6, 0.7, 0.8, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0)
PUBLISHED_NOISE = {"C5": 0.55, "C6": 0.52}
PUBLISHED_GROUPS = ("C6", "C2xC2xC2", "D3")
WORLDS = ("C6", "D4", "C2xC2xC2")
TRANSITIONS = 4000
SMALLER_SAMPLE = 1500
"""Transitions for counting, which compares all pairs of images."""


@register_instrument("symmetry")
def run_symmetry(run: InstrumentRun) -> Figures:
    """Measure which groups are recovered from orbits, with how much noise, and from images of a robot's actions."""
    figures, found = measure_groups(run)
    figures |= measure_noise(run)
    for name in WORLDS:
        figures |= measure_images(run, name)
    if run.draws:
        draw_tables(run, found)
    return figures


def measure_groups(run: InstrumentRun) -> tuple[Figures, dict[str, DiscoveredGroup]]:
    """Return whether each group up to order 12, and ``S4``, is recovered from orbits without noise."""
    names = [(name, group) for order in range(1, 13) for name, group in catalogue(order)]
    names.append(("S4", dict(catalogue(24))["S4"]))
    figures: Figures = {}
    found: dict[str, DiscoveredGroup] = {}
    for name, group in names:
        x, y = sample_orbit_pairs(group, PAIRS, seed=run.seed)
        # Of order 24 there are nine sets of block dimensions: with --quick the right ones are given.
        dims = (1, 1, 2, 3, 3) if name == "S4" and run.quick else None
        began = time.perf_counter()
        try:
            found[name] = discover_group(x, y, dims, seed=run.seed)
            right = bool((found[name].table == group.table).all())
            figures[f"{name}: margin"] = found[name].margin
        except NoGroupFoundError:
            right = False
        figures[f"{name}: spectral network"] = float(right)
        figures[f"{name}: seconds"] = time.perf_counter() - began
        figures[f"{name}: invariant forms"] = float(_by_forms(group, x, y))
        if name in PUBLISHED_GROUPS:
            figures[f"{name}: published"] = 1.0
    return figures, found


def measure_noise(run: InstrumentRun) -> Figures:
    """Return the largest noise up to which the table is recovered without an error, for ``C5`` and ``C6``."""
    figures: Figures = {}
    for name, published in PUBLISHED_NOISE.items():
        for end, pairs in NOISY_PAIRS.items():
            survived = _survived_noise(cyclic_group(int(name[1:])), pairs, run.seed)
            figures |= {f"noise {name}{end}: {method}": noise for method, noise in survived.items()}
        figures[f"noise {name}: published"] = published
    return figures


def _survived_noise(group: FiniteGroup, pairs: int, seed: int) -> dict[str, float]:
    """Return the largest noise before the first that a method does not survive, for each method."""
    methods = {"spectral network": _by_network, "invariant forms": _by_forms}
    survived = dict.fromkeys(methods, 0.0)
    for noise in NOISE:
        x, y = sample_orbit_pairs(group, pairs, noise, seed)
        methods = {name: method for name, method in methods.items() if method(group, x, y, seed)}
        survived |= dict.fromkeys(methods, noise)
    return survived


def measure_images(run: InstrumentRun, name: str) -> Figures:
    """Return whether the group of actions is found from images, and the hit rate of encoders that it is handed to.

    Without disturbances images of one state are equal; with them each has its own shift, brightness and noise.
    """
    world = make_world(name)
    figures: Figures = {}
    learned: ActionGroup | None = None
    for row, disturbed in ((f"images {name}", False), (f"disturbed images {name}", True)):
        data = sample_actions(world, TRANSITIONS, disturbed, run.seed)
        if disturbed or not run.quick:
            learned = _by_encoder(data, run.seed)
            figures[f"{row}: encoder"] = float(_is_right(learned, world))
            if learned is not None:
                figures[f"{row}: margin"] = learned.found.margin
        figures[f"{row}: linear"] = float(_is_right(_by_linear_maps(data), world))
        small = sample_actions(world, SMALLER_SAMPLE, disturbed, run.seed)
        figures[f"{row}: counting"] = float(_is_right(_by_counting(small), world))
    figures |= _hit_rates(run, world, learned, data)
    return figures


def _hit_rates(run: InstrumentRun, world: FiniteWorld, learned: ActionGroup | None, data: ActionData) -> Figures:
    """Return the hit rates of class–pose encoders with the group that was found, and with the one that acts."""
    from ....representations.analysis.symmetry.action_group import ActionGroup

    name = identify(world.group)
    told = ActionGroup(DiscoveredGroup(world.group, name, 1.0), np.array(world.actions))
    figures: Figures = {f"hit rate {name}: told": _hit_rate(run, world, told, data)}
    if learned is not None:
        figures[f"hit rate {name}: discovered"] = _hit_rate(run, world, learned, data)
    return figures


def _hit_rate(run: InstrumentRun, world: FiniteWorld, given: ActionGroup, data: ActionData) -> float:
    """Return the hit rate on held-out images; the candidates are one image of each state."""
    from ....representations.analysis.symmetry.group_handover import group_for_encoders, transitions_of_actions
    from ....representations.encoders.class_pose import ClassPoseConfig
    from ....representations.learning.config import OptimConfig
    from ....representations.learning.training import train_encoder
    from ....representations.metrics.hit_rate import TrajectorySample, hit_rate

    steps = 1000 if run.quick else 3000
    config = ClassPoseConfig(backbone="strided", optim=OptimConfig(steps=steps))
    encoder = train_encoder(transitions_of_actions(data, given), config, seed=run.seed, device="cpu")
    states = len(world.images) * world.group.order
    held_out = sample_states(world, 10, run.seed + 500_000)
    elements = group_for_encoders(given.found.group, given.found.name)[1][given.elements]
    displacement = elements[held_out.actions][:, None].astype(np.float32)
    sample = TrajectorySample(held_out.frames, held_out.next_frames, displacement)
    return hit_rate(encoder, sample, batch_size=states)  # type: ignore[arg-type]


def _by_network(group: FiniteGroup, x: NDArray[np.complex128], y: NDArray[np.complex128], seed: int) -> bool:
    try:
        return bool((discover_group(x, y, seed=seed).table == group.table).all())
    except NoGroupFoundError:
        return False


def _by_forms(group: FiniteGroup, x: NDArray[np.complex128], y: NDArray[np.complex128], seed: int = 0) -> bool:
    return bool((invariant_forms_table(invariance_moments(x, y)) == group.table).all())


def _by_encoder(data: ActionData, seed: int) -> ActionGroup | None:
    from ....representations.analysis.symmetry.action_encoder import discover_action_group

    try:
        return discover_action_group(data, seed=seed)
    except NoGroupFoundError:
        return None


def _by_linear_maps(data: ActionData) -> ActionGroup | None:
    """Return the group of the linear maps between the pixels."""
    from ....representations.analysis.symmetry.action_group import group_of_actions

    before, after = (frames.reshape(len(data), -1) / 255 for frames in (data.frames, data.next_frames))
    try:
        return group_of_actions(before, data.actions, after)
    except NoGroupFoundError:
        return None


def _by_counting(data: ActionData) -> ActionGroup | None:
    from ....representations.analysis.symmetry.state_matching import group_of_matched_states

    try:
        return group_of_matched_states(data)
    except NoGroupFoundError:
        return None


def _is_right(recovered: ActionGroup | None, world: FiniteWorld) -> bool:
    """Return whether an isomorphism to the ground truth maps the element of each action to the one that it performs."""
    if recovered is None or recovered.found.group.order != world.group.order:
        return False
    elements = recovered.elements.tolist()
    return extend_isomorphism(world.group, recovered.found.group, world.actions, elements) is not None


def draw_tables(run: InstrumentRun, found: dict[str, DiscoveredGroup]) -> None:
    """Draw the recovered multiplication tables of the groups in the paper."""
    from ...reports.figure_registry import save_figure

    def draw(figure: Any) -> None:
        for axis, name in zip(figure.subplots(1, len(PUBLISHED_GROUPS)), PUBLISHED_GROUPS, strict=True):
            axis.set_title(name if name in found else f"{name}: not found")
            axis.set_axis_off()
            if name in found:
                _draw_table(axis, found[name].table)

    save_figure(run.figure("tables"), draw, (9, 3.2), dpi=90)


def _draw_table(axis: Any, table: NDArray[np.int64]) -> None:
    """Draw a multiplication table as coloured cells with the numbers of the products."""
    axis.imshow(table, cmap="viridis")
    for (row, column), product in np.ndenumerate(table):
        ink = "white" if 2 * product < len(table) else "black"
        axis.text(column, row, str(product), ha="center", va="center", color=ink, fontsize=8)
