"""Data that `equiact train` learns from and measures on: of a world, or of a data set of any format."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .collect_and_train import require_world_fits

if TYPE_CHECKING:
    from ..envs.data.episode_split import EpisodeSplit
    from ..envs.data.transitions import Transitions
    from ..envs.worlds.orbit_world import OrbitWorld
    from ..envs.worlds.world import World

LEAST_HELD_OUT = 32
"""Smallest number of held-out transitions; the hit rate has as many candidates."""

HELD_OUT_EPISODES = "held-out episodes of the same data set"


@dataclass(frozen=True)
class DataSource:
    """A data set, and how it is read.

    Attributes:
        path: folder or file of the data set.
        displacement: rule of the displacement, such as ``"column:NAME"``; None if the data set says it.
        image_key: name of the images; None if there is only one kind.
        group: name of the group that acts; None if the data set or the rule says it.
        format: name of the format; None to find it out.
        ground_truth: columns that are kept for evaluation, each as ``NAME=COLUMN``.
        channel_first: whether images have the shape ``(C, H, W)``.
    """

    path: Path
    displacement: str | None = None
    image_key: str | None = None
    group: str | None = None
    format: str | None = None
    ground_truth: tuple[str, ...] = ()
    channel_first: bool = False

    @property
    def known_group(self) -> str | None:
        """Return the group, if it is given or the card of a data set of ours states it."""
        return self.group or own_group(self.path)

    def load(self) -> Transitions:
        """Return the transitions.

        Raises:
            ValueError: the data set cannot be read, or it is not known which displacement or image to take.
        """
        from ..envs.data_formats.dataset_loading import load_dataset

        try:
            return load_dataset(
                self.path,
                displacement=self.displacement,
                image_key=self.image_key,
                group=self.group,
                format=self.format,
                ground_truth=self._columns_of_ground_truth(),
                channel_first=self.channel_first,
            )
        except ValueError as error:
            raise type(error)(name_options(str(error))) from error

    def _columns_of_ground_truth(self) -> dict[str, str]:
        """Return the columns of the ground truth by name."""
        pairs = [each.partition("=") for each in self.ground_truth]
        if wrong := [each for each, pair in zip(self.ground_truth, pairs, strict=True) if not (pair[0] and pair[2])]:
            raise ValueError(
                f"expected --ground-truth NAME=COLUMN, such as agent_pose=observation.state, got {wrong[0]!r}"
            )
        return {name: column for name, _, column in pairs}


def name_options(message: str) -> str:
    """Return a message with options of the command line in place of arguments of `load_dataset` and `collect`.

    Example:
        >>> name_options("pass displacement='column:action', or image_key='front'")
        "pass --displacement 'column:action', or --image-key 'front'"
    """
    names = "displacement|image_key|group|format|policy|num_envs|resolution|camera|ground_truth"
    message = message.replace("channel_first=True", "--channel-first")
    named = re.sub(rf"\b({names})=", lambda match: f"--{match[1].replace('_', '-')} ", message)
    return re.sub(rf"\bpass ({names})\b", lambda match: f"pass --{match[1].replace('_', '-')}", named)


def own_group(path: Path) -> str | None:
    """Return the group that the card of a data set of ours states; None for other data sets."""
    from ..envs.storage.artifacts import ArtifactError, read_json

    try:
        card = read_json(path / "data" / "card.json")
    except (ArtifactError, OSError):
        return None
    group = card.get("group") if isinstance(card, dict) else None
    return group if isinstance(group, str) else None


def suggest_encoder_for_group(group: str | None) -> str:
    """Return the name of the encoder for data with a group: ``agent-object`` for translations, else ``class-pose``.

    Args:
        group: name of the group; None if it is not known.

    Example:
        >>> suggest_encoder_for_group("R2"), suggest_encoder_for_group("SE2"), suggest_encoder_for_group(None)
        ('agent-object', 'class-pose', 'agent-object')
    """
    from ..envs.lie_groups.registry import group_from_name
    from ..envs.lie_groups.translations import Translations

    translations = group is None or isinstance(group_from_name(group), Translations)
    return "agent-object" if translations else "class-pose"


def load_data_of(world_cls: type[World], source: DataSource) -> Transitions:
    """Return the transitions of a data set, after checking that they are of a world.

    Raises:
        ValueError: they have another group, image shape or appearance.
    """
    from ..envs.worlds.orbit_world import OrbitWorld

    transitions = source.load()
    require_world_fits(transitions, world_cls, f"--data {source.path}")
    if issubclass(world_cls, OrbitWorld):
        require_rendered_by(world_cls, transitions, str(source.path))
    return transitions


def split_held_out(transitions: Transitions, share: float, least: int = LEAST_HELD_OUT) -> EpisodeSplit:
    """Hold out random episodes of a data set (`split_episodes`).

    Args:
        transitions: the transitions.
        share: share of the transitions to hold out, at least.
        least: smallest number of held-out transitions.

    Raises:
        ValueError: a part would be too small.
    """
    from ..envs.data.episode_split import EpisodeSplitConfig, split_episodes

    split = split_episodes(transitions, EpisodeSplitConfig(held_out_share=share))
    if len(split.held_out) < least:
        raise ValueError(
            f"expected at least {least} held-out transitions, got {len(split.held_out)} of {len(transitions)} with "
            f"--held-out-share {share:g}; raise it, or record more episodes"
        )
    return split


def require_suiting_world(name: str, world: str) -> None:
    """Check that an encoder can learn in a world.

    Raises:
        ValueError: it cannot.
    """
    from ..envs.worlds.orbit_world import OrbitWorld
    from ..envs.worlds.registry import task_world_class, world_class
    from ..representations.encoders.class_pose_base import ClassPoseBase
    from ..representations.encoders.registry import encoder_class
    from .benchmarks.encoder_methods import require_suiting

    world_cls = world_class(world)
    if name == "agent-object":
        task_world_class(world)
    if issubclass(encoder_class(name), ClassPoseBase) and not issubclass(world_cls, OrbitWorld):
        raise ValueError(f"{world} has no classes and poses to encode; choose --encoder agent-object")
    if name == "class-pose" and issubclass(world_cls, OrbitWorld):
        world_cls.require_free()
    require_suiting(name, world_cls.group.name)


def require_learnable(name: str, config: Any, transitions: Transitions, source: str) -> None:
    """Check, before the training, that an encoder suits the group and the images of transitions.

    Args:
        name: name of the encoder.
        config: its configuration.
        transitions: the transitions.
        source: option that names them, for messages.

    Raises:
        ValueError: it does not; the message names the encoders that suit the group.
    """
    from ..representations.encoders.registry import ENCODERS, make_encoder
    from .benchmarks.encoder_methods import suits

    height, width, channels = transitions.frames.shape[1:]
    try:
        make_encoder(config, (height, width, channels), transitions.group)
    except ValueError as error:
        if suits(name, transitions.group):
            raise ValueError(
                f"--encoder {name} cannot learn from images of {height} × {width} pixels in {source}: {error}"
            ) from error
        fitting = ", ".join(each for each in ENCODERS.names() if suits(each, transitions.group))
        raise ValueError(
            f"--encoder {name} cannot learn the group {transitions.group} of {source}: {error}; choose --encoder from "
            f"{fitting}"
        ) from error


def require_measurable(encoder: Any, held_out: Transitions) -> None:
    """Check, before the training, that an encoder can be measured on held-out transitions of a world.

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


def require_encoder_fits(encoder: Any, transitions: Transitions, source: str) -> None:
    """Check that a saved encoder has the group and the image shape of transitions.

    Args:
        encoder: the encoder.
        transitions: the transitions.
        source: option that names them, for messages.

    Raises:
        ValueError: it has others.
    """
    shape = tuple(transitions.frames.shape[1:])
    if (encoder.group, tuple(encoder.shape)) != (transitions.group, shape):
        raise ValueError(
            f"expected {source} with the group {encoder.group} and images {tuple(encoder.shape)} of the encoder, got "
            f"{transitions.group} and {shape}; check --encoder and --data"
        )


def unseen_part(encoder: Any, transitions: Transitions) -> tuple[Transitions, str]:
    """Return the part of a data set that an encoder was not trained on, and what it is, in words.

    An encoder that `equiact train --data` trained on the same data set has its fingerprint, and the share that was held
    out, in its card. Of other data sets all transitions are taken.
    """
    card = encoder.measured_on
    if card.get("dataset_fingerprint") == transitions.fingerprint:
        split = split_held_out(transitions, card["held_out_share"])
        return split.held_out, HELD_OUT_EPISODES
    if encoder.data_fingerprint == transitions.fingerprint:
        return transitions, "the transitions that the encoder was trained on: not held out"
    return transitions, "all transitions of a data set that the encoder was not trained on"


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
