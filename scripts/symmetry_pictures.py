"""What encoders of class and pose are good for, as pictures: orbits, images foretold, maps and plans."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from envs.groups import is_torus
from scripts.page import LIGHT

if TYPE_CHECKING:
    from agents.mapping import Localised
    from agents.planning import Performed
    from envs.orbits import OrbitWorld
    from envs.transitions import Transitions
    from representations.acted import PosedEncoder
    from representations.looking import LookingLearner

SHOWN = 600
"""Frames whose latents are drawn."""


def draw_all(
    folder: Path,
    kind: type[OrbitWorld],
    looking: LookingLearner,
    held_out: Transitions,
    used: Localised | Performed | None,
) -> None:
    """All pictures that suit the world, into the folder."""
    from agents.mapping import Localised
    from agents.planning import Performed

    orbits(folder / "orbits.png", kind, looking.encoder, held_out)
    foretold(folder / "foretold.png", looking, held_out)
    if isinstance(used, Localised):
        map_of_places(folder / "map.png", kind, used, held_out)
    if isinstance(used, Performed):
        plans(folder / "plans.png", used)


def orbits(path: Path, kind: type[OrbitWorld], encoder: PosedEncoder, held_out: Transitions) -> None:
    """The sets of poses, a panel for each class (`_coordinates`)."""
    frames = np.random.default_rng(0).choice(len(held_out.frames), min(SHOWN, len(held_out.frames)), replace=False)
    poses = encoder.poses(encoder.encode(held_out.frames[frames]))
    true, orbit = held_out.truth["agent_pose"][frames], held_out.truth["orbit"][frames, 0].astype(int)
    shown, on_circle = most_different(kind), is_torus(encoder.acting)
    circles = encoder.acting.dim // 2 if on_circle else 1

    def draw(figure: Figure) -> None:
        panels = figure.subplots(circles, len(shown), sharex=True, sharey=True, squeeze=False)
        for (circle, column), axes in np.ndenumerate(panels):
            rows = orbit == shown[column]
            x, y = _coordinates(encoder, poses[rows], true[rows], circle)
            axes.scatter(x, y, s=4)
            axes.set_title(kind.orbits[shown[column]] if circle == 0 else "")
            axes.set_xlabel("true angle" if on_circle else "first coordinate")
            if column == 0:
                axes.set_ylabel("angles of the set" if on_circle else "second coordinate")

    _save(path, draw, (2.4 * len(shown), 2.8 * circles))


def foretold(path: Path, looking: LookingLearner, held_out: Transitions) -> None:
    """Before, what the decoder draws of the latent that the action has moved, and after."""
    import torch

    from representations.encoder import as_tensor

    some = np.random.default_rng(0).choice(len(held_out), 10, replace=False)
    before, after = held_out.observations[some], held_out.next_observations[some]
    with torch.no_grad():
        latents = looking.encoder.encode(as_tensor(before))
        moved = looking.encoder.act(as_tensor(held_out.displacement[some]), latents)
        drawn = (255 * looking.drawn(moved).clamp(0, 1)).byte().permute(0, 2, 3, 1).numpy()
    _rows(path, {"before": before, "foretold": drawn, "after": after})


def map_of_places(path: Path, kind: type[OrbitWorld], used: Localised, held_out: Transitions) -> None:
    """Places at encoded poses, coloured by encoded class, and a walk as it was and as it is found on the map."""
    walk = _first_walk(held_out, len(used.found))

    def draw(figure: Figure) -> None:
        for index, axes in enumerate(figure.subplots(1, len(kind.orbits), sharex=True, sharey=True, squeeze=False)[0]):
            here = used.mapped_orbit == index
            axes.scatter(*used.mapped[here].T, s=3, c=[f"C{place}" for place in used.mapped_place[here]])
            if used.orbit[walk[0]] == index:
                axes.plot(*used.real[walk].T, color="black", label="a walk, true")
                axes.plot(*used.found[walk].T, color="tab:red", linestyle="--", label="as localised")
                axes.legend()
            axes.set_title(kind.orbits[index])
            axes.set_aspect("equal")
            axes.set_xlabel("m")

    _save(path, draw, (10, 3.8))


def plans(path: Path, used: Performed) -> None:
    """Views now, after the planned action was performed and drawn, and to be reached."""
    _rows(path, {"now": used.now[:10], "after the plan": used.after[:10], "goal": used.goal[:10]})


def _first_walk(transitions: Transitions, frames: int) -> Any:
    """Frames of the first episode, one after another, up to the first that is not among so many."""
    from envs.transitions import runs

    chain = next(runs(transitions, len(transitions)))
    walk = np.append(transitions.start[chain[0]], transitions.end[chain])
    return walk[np.logical_and.accumulate(walk < frames)]


def most_different(kind: type[OrbitWorld], count: int = 5) -> list[int]:
    """Up to so many classes, those first that have as many symmetries as none before."""
    orders = [len(kind.stabilizer(index)) for index in range(len(kind.orbits))]
    return sorted(sorted(range(len(orders)), key=lambda index: orders[:index].count(orders[index]))[:count])


def _coordinates(encoder: PosedEncoder, poses: Any, true: Any, circle: int) -> tuple[Any, Any]:
    """What is drawn of sets of poses: an angle of a torus against the true one, else what all have in common.

    Turned back by the true pose a set is the stabilizer, up to a factor, for every image: two coordinates of it.
    """
    if is_torus(encoder.acting):
        angles, along = (np.arctan2(each[..., 2 * circle + 1], each[..., 2 * circle]) for each in (poses, true))
        return np.repeat(along, poses.shape[1]), angles.ravel()
    group = encoder.acting
    flat = group.compose(group.inverse(true)[:, None], poses).reshape(-1, group.dim)
    return flat[:, 0], flat[:, 1]


def _rows(path: Path, rows: dict[str, Any]) -> None:
    def draw(figure: Figure) -> None:
        for axes, (name, images) in zip(figure.subplots(len(rows), 1), rows.items(), strict=True):
            axes.imshow(np.concatenate(list(images), 1))
            axes.set_title(name)
            axes.axis("off")

    _save(path, draw, (10, 1.25 * len(rows)))


def _save(path: Path, draw: Any, size: tuple[float, float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(LIGHT):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        figure.savefig(path, dpi=100)
