"""Measure symmetry discovery: groups recovered, noise that is survived, and groups of actions found from images."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ....representations.analysis.symmetry.finite_groups import FiniteGroup
from ....representations.analysis.symmetry.group_catalogue import catalogue, identify
from ....representations.analysis.symmetry.group_constructors import cyclic_group
from ....representations.analysis.symmetry.group_recovery import DiscoveredGroup, NoGroupFoundError, discover_group
from ....representations.analysis.symmetry.orbit_pairs import (
    invariance_moments,
    invariant_forms_table,
    sample_orbit_pairs,
)
from ...experiments.records import Value
from .instrument import InstrumentRun, register_instrument
from .symmetry_images import FiniteWorld, make_world, sample_actions, sample_states

if TYPE_CHECKING:
    from ....representations.analysis.symmetry.action_data import ActionData
    from ....representations.analysis.symmetry.action_group import ActionGroup

Figures = dict[str, Value]


@dataclass(frozen=True)
class SymmetryBenchmarkConfig:
    """Set the size of the benchmark; the defaults are those of the full one.

    Attributes:
        pairs: pairs of each group without noise; the published training draws as many in an epoch.
        large_group: name of a group of 24 elements.
        large_dims: its block dimensions; None to try all nine sets.
        noisy_pairs: pairs with noise; the published training draws 1000 new pairs in each of 50 epochs.
        few_noisy_pairs: pairs with noise of a second row.
        noise: standard deviations of the noise, ascending.
        published_noise: name of a cyclic group, and noise at which the published accuracy falls from 1 to 0.
        published_groups: groups that the paper recovers.
        worlds: names of the worlds of images, see `make_world`.
        exact_images: whether the encoder is also trained on images without disturbances.
        transitions: transitions of each world.
        counted_transitions: transitions for counting, which compares all pairs of images.
        class_pose_steps: updates of the encoders that the groups are handed to.
        state_batches: batches of held-out images for hit rates.
    """

    pairs: int = 1000
    large_group: str = "S4"
    large_dims: tuple[int, ...] | None = None
    noisy_pairs: int = 50_000
    few_noisy_pairs: int = 1000
    noise: tuple[float, ...] = (0.5, 0.55, 0.6, 0.7, 0.8, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0)
    published_noise: tuple[tuple[str, float], ...] = (("C5", 0.55), ("C6", 0.52))
    published_groups: tuple[str, ...] = ("C6", "C2xC2xC2", "D3")
    worlds: tuple[str, ...] = ("C6", "D4", "C2xC2xC2")
    exact_images: bool = True
    transitions: int = 4000
    counted_transitions: int = 1500
    class_pose_steps: int = 3000
    state_batches: int = 10


QUICK = SymmetryBenchmarkConfig(large_dims=(1, 1, 2, 3, 3), exact_images=False, class_pose_steps=1000)
"""Size of the quick benchmark."""


@register_instrument("symmetry")
def run_symmetry(run: InstrumentRun) -> Figures:
    """Measure which groups are recovered from orbits, with how much noise, and from images of a robot's actions."""
    config = QUICK if run.quick else SymmetryBenchmarkConfig()
    figures, found = measure_groups(run.seed, config)
    figures |= measure_noise(run.seed, config)
    for name in config.worlds:
        figures |= measure_images(run.seed, name, config)
    if run.draws:
        draw_tables(run, {name: found.get(name) for name in config.published_groups})
    return figures


def measure_groups(seed: int, config: SymmetryBenchmarkConfig) -> tuple[Figures, dict[str, DiscoveredGroup]]:
    """Return whether each group up to order 12, and a large one, is recovered from orbits without noise."""
    names = [(name, group) for order in range(1, 13) for name, group in catalogue(order)]
    names.append((config.large_group, dict(catalogue(24))[config.large_group]))
    figures: Figures = {}
    found: dict[str, DiscoveredGroup] = {}
    for name, group in names:
        x, y = sample_orbit_pairs(group, config.pairs, seed=seed)
        dims = config.large_dims if name == config.large_group else None
        began = time.perf_counter()
        try:
            found[name] = discover_group(x, y, dims, seed=seed)
            right = bool((found[name].table == group.table).all())
            figures[f"{name}: margin"] = found[name].margin
        except NoGroupFoundError:
            right = False
        figures[f"{name}: spectral network"] = (right,)
        figures[f"{name}: seconds"] = time.perf_counter() - began
        figures[f"{name}: invariant forms"] = (_by_forms(group, x, y),)
        if name in config.published_groups:
            figures[f"{name}: published"] = 1.0
    return figures, found


def measure_noise(seed: int, config: SymmetryBenchmarkConfig) -> Figures:
    """Return the largest noise up to which the table is recovered without an error, for cyclic groups."""
    figures: Figures = {}
    few = f" ({config.few_noisy_pairs} pairs)"
    for name, published in config.published_noise:
        for end, pairs in (("", config.noisy_pairs), (few, config.few_noisy_pairs)):
            survived = _survived_noise(cyclic_group(int(name[1:])), pairs, config.noise, seed)
            figures |= {f"noise {name}{end}: {method}": noise for method, noise in survived.items()}
        figures[f"noise {name}: published"] = published
    return figures


def _survived_noise(group: FiniteGroup, pairs: int, levels: tuple[float, ...], seed: int) -> dict[str, float]:
    """Return the largest noise before the first that a method does not survive, for each method."""
    methods = {"spectral network": _by_network, "invariant forms": _by_forms}
    survived = dict.fromkeys(methods, 0.0)
    for noise in levels:
        x, y = sample_orbit_pairs(group, pairs, noise, seed)
        methods = {name: method for name, method in methods.items() if method(group, x, y, seed)}
        survived |= dict.fromkeys(methods, noise)
    return survived


def measure_images(seed: int, name: str, config: SymmetryBenchmarkConfig) -> Figures:
    """Return whether the group of actions is found from images, and the hit rate of encoders that it is handed to.

    Without disturbances images of one state are equal; with them each has its own shift, brightness and noise.
    """
    world = make_world(name)
    known = _known_group(world)
    figures: Figures = {}
    learned: ActionGroup | None = None
    for row, disturbed in ((f"images {name}", False), (f"disturbed images {name}", True)):
        data = sample_actions(world, config.transitions, disturbed, seed)
        if disturbed or config.exact_images:
            learned = _by_encoder(data, seed)
            figures[f"{row}: encoder"] = (_is_right(learned, known),)
            if learned is not None:
                figures[f"{row}: margin"] = learned.found.margin
        figures[f"{row}: linear"] = (_is_right(_by_linear_maps(data), known),)
        small = sample_actions(world, config.counted_transitions, disturbed, seed)
        figures[f"{row}: counting"] = (_is_right(_by_counting(small), known),)
    for column, given in (("known group", known), ("discovered group", learned)):
        if given is not None:
            figures[f"hit rate {name}: {column}"] = _hit_rate(world, given, data, config, seed)
    return figures


def _known_group(world: FiniteWorld) -> ActionGroup:
    """Return the ground truth."""
    from ....representations.analysis.symmetry.action_group import ActionGroup

    return ActionGroup(DiscoveredGroup(world.group, identify(world.group), 1.0), np.array(world.actions))


def _hit_rate(
    world: FiniteWorld, given: ActionGroup, data: ActionData, config: SymmetryBenchmarkConfig, seed: int
) -> float:
    """Return the hit rate of a class–pose encoder with a group; the candidates are one held-out image of each state."""
    from ....representations.analysis.symmetry.group_handover import group_for_encoders, transitions_of_actions
    from ....representations.encoders.class_pose import ClassPoseConfig
    from ....representations.learning.config import OptimConfig
    from ....representations.learning.training import train_encoder
    from ....representations.metrics.hit_rate import TrajectorySample, hit_rate

    class_pose = ClassPoseConfig(backbone="strided", optim=OptimConfig(steps=config.class_pose_steps))
    encoder = train_encoder(transitions_of_actions(data, given), class_pose, seed=seed, device="cpu")
    states = len(world.images) * world.group.order
    held_out = sample_states(world, config.state_batches, seed + 500_000)
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


def _is_right(recovered: ActionGroup | None, known: ActionGroup) -> bool:
    """Return whether an isomorphism to the ground truth maps the element of each action to the one that it performs."""
    return recovered is not None and known.agrees_with(recovered)


def draw_tables(run: InstrumentRun, found: Mapping[str, DiscoveredGroup | None]) -> None:
    """Draw recovered multiplication tables by the names of their groups."""
    from ...reports.figure_registry import save_figure

    def draw(figure: Any) -> None:
        for axis, (name, group) in zip(figure.subplots(1, len(found)), found.items(), strict=True):
            axis.set_title(name if group is not None else f"{name}: not found")
            axis.set_axis_off()
            if group is not None:
                _draw_table(axis, group.table)

    save_figure(run.figure("tables"), draw, (9, 3.6), dpi=90)  # room for the titles


def _draw_table(axis: Any, table: NDArray[np.int64]) -> None:
    """Draw a multiplication table as coloured cells with the numbers of the products."""
    axis.imshow(table, cmap="viridis")
    for (row, column), product in np.ndenumerate(table):
        ink = "white" if 2 * product < len(table) else "black"
        axis.text(column, row, str(product), ha="center", va="center", color=ink, fontsize=8)
