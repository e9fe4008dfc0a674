"""Data that `equiact train` learns from and measures on: of a world, or of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .collect_and_train import require_world_fits

if TYPE_CHECKING:
    from ..envs.data.transitions import Transitions
    from ..envs.worlds.orbit_world import OrbitWorld
    from ..envs.worlds.world import World


def load_data_of(world_cls: type[World], path: Path) -> Transitions:
    """Return the transitions of a dataset, after checking that they are of a world.

    Raises:
        ValueError: they have another group, image shape or appearance.
    """
    from ..envs.data.minari_dataset import load_transitions
    from ..envs.worlds.orbit_world import OrbitWorld

    transitions = load_transitions(path)
    require_world_fits(transitions, world_cls, f"--data {path}")
    if issubclass(world_cls, OrbitWorld):
        require_rendered_by(world_cls, transitions, str(path))
    return transitions


def split_held_out(transitions: Transitions, count: int) -> tuple[Transitions, Transitions]:
    """Split transitions into those to train on, and the last episodes, which are held out.

    Args:
        transitions: the transitions.
        count: smallest number of held-out transitions.

    Raises:
        ValueError: the last episodes with so many transitions are all.
    """
    import numpy as np

    from ..envs.data.trajectories import trajectories

    episodes = list(trajectories(transitions, len(transitions)))
    last = int(np.searchsorted(np.cumsum([len(episode) for episode in reversed(episodes)]), count)) + 1
    if last >= len(episodes):
        raise ValueError(
            f"expected episodes to train on beside {count} held-out transitions, got {len(transitions)} transitions "
            f"in {len(episodes)} episodes; lower --held-out, or record more episodes"
        )
    held_out = np.zeros(len(transitions), bool)
    held_out[np.concatenate(episodes[-last:])] = True
    return transitions.select(~held_out), transitions.select(held_out)


def require_measurable(encoder: Any, held_out: Transitions) -> None:
    """Check, before the training, that an encoder can be measured on held-out transitions.

    Args:
        encoder: the encoder, untrained.
        held_out: the transitions.

    Raises:
        ValueError: they have another group or image shape, or too few trajectories for the hit rate.
    """
    from ..representations.encoders.equivariant_encoder import EquivariantEncoder
    from ..representations.metrics.hit_rate import sample_trajectories

    encoder.require_fitting(held_out)
    if isinstance(encoder, EquivariantEncoder):
        try:
            sample_trajectories(held_out, steps=20)
        except ValueError as error:
            raise ValueError(f"the held-out transitions are too few: {error}; raise --held-out") from error


def require_rendered_by(world_cls: type[OrbitWorld], transitions: Transitions, source: str) -> None:
    """Check that transitions are of a world: render the poses of eight frames again, and compare the images.

    Args:
        world_cls: the world.
        transitions: the transitions.
        source: where they come from, for messages.

    Raises:
        ValueError: they hold no ground truth of classes and poses, or the world looks different in these poses.
    """
    import numpy as np

    if missing := {"agent_pose", "orbit"} - transitions.ground_truth.keys():
        raise ValueError(
            f"{source} has no ground truth {sorted(missing)}, which data of {world_cls.__name__} have; collect it again"
        )
    few = np.linspace(0, len(transitions.frames) - 1, 8).astype(int)
    orbit, pose = transitions.ground_truth["orbit"][few, 0].astype(int), transitions.ground_truth["agent_pose"][few]
    frames = transitions.frames[few]
    # A class that the world lacks is rendered as another one, and looks different.
    world = world_cls(len(few), resolution=frames.shape[1:3], device="cpu")
    rendered = world.render_at(orbit % len(world_cls.orbits), pose)
    if np.abs(rendered.astype(int) - frames).mean() > 1:
        raise ValueError(
            f"{source} is not of {world_cls.__name__}, which looks different in the same poses; check --world"
        )
