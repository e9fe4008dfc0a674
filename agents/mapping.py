"""Maps of places from what a robot sees: where it is, and in which of several places, from class and pose.

Positions come from the encoded pose, and which place it is from the encoded class, so that one encoder maps several
places at once and knows them apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.orbits import OrbitWorld
from envs.transitions import Transitions
from representations.acted import PosedEncoder
from representations.equivariance import clusters, free_factor, nearest

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Located:
    """Where frames were seen from.

    Attributes:
        position: ``(n, 2)`` in the map's own coordinates, metres.
        heading: ``(n, 2)`` cosine and sine of the direction the robot looks in.
        place: ``(n,)`` number of the place.
    """

    position: Floats
    heading: Floats
    place: NDArray[np.int64]

    @property
    def robot(self) -> Floats:
        """Positions and headings as elements of SE2, ``(n, 4)``."""
        return np.concatenate([self.position, self.heading], 1)


class Map:
    """Places known from frames; finds where other frames were seen from.

    Args:
        encoder: of the group SE2, whose pose is the place as seen from the robot.
        frames: ``(n, H, W, C)`` uint8, seen in all of the places.
        places: how many there are.

    Raises:
        ValueError: the encoder is for another group, or there are fewer frames than places.
    """

    def __init__(self, encoder: PosedEncoder, frames: NDArray[np.uint8], places: int) -> None:
        if encoder.group != "SE2":
            raise ValueError(f"a map needs poses in the plane: an encoder for SE2 was expected, got {encoder.group}")
        if len(frames) < places:
            raise ValueError(f"{places} places need at least as many frames, got {len(frames)}")
        self._encoder = encoder
        latents = encoder.encode(frames)
        self._centres = clusters(latents["class"], places)
        self.seen = self._located(latents)
        """Where the frames that it was made of were seen from."""

    def locate(self, frames: NDArray[np.uint8]) -> Located:
        """Where frames were seen from."""
        return self._located(self._encoder.encode(frames))

    def laid(self, located: Located, robots: Floats) -> Floats:
        """Positions as the world counts them, ``(n, 2)``: the map of each place may lie anywhere, turned any way.

        Args:
            located: what is to be laid, each as the map of the place is that it was found in.
            robots: where the frames that the map was made of were truly seen from, elements of SE2 ``(m, 4)``.
        """
        group, seen = self._encoder.acting, self.seen
        motions = np.tile(group.identity(), (len(self._centres), 1))
        for place in np.unique(seen.place):
            here = seen.place == place
            poses, true = (group.inverse(each[here]) for each in (seen.robot, robots))
            motions[place] = free_factor(group, poses[:, None], true, group.identity()[None])
        return group.compose(motions[located.place], located.robot)[:, :2]

    def _located(self, latents: dict[str, Floats]) -> Located:
        robot = self._encoder.acting.inverse(self._encoder.poses(latents)[:, 0])
        return Located(robot[:, :2], robot[:, 2:], nearest(latents["class"], self._centres)[0])


@dataclass(frozen=True)
class Localised:
    """Robots that were found on a map of all places of a world; positions are as the world counts them.

    Attributes:
        mapped: ``(m, 2)`` metres, where the frames of the map were seen from as the map has it.
        mapped_place: ``(m,)`` number of the place that the encoder took them for.
        mapped_orbit: ``(m,)`` number of the place that it was.
        found: ``(n, 2)`` metres, where other frames were seen from as they are found on it.
        real: ``(n, 2)`` metres, where they were.
        orbit: ``(n,)`` number of the place that they were seen in.
        right: ``(n,)`` whether it was known.
    """

    mapped: Floats
    mapped_place: NDArray[np.int64]
    mapped_orbit: NDArray[np.int64]
    found: Floats
    real: Floats
    orbit: NDArray[np.int64]
    right: NDArray[np.bool_]

    @property
    def figures(self) -> dict[str, float]:
        """How far off positions are, in metres, and how often the place is known."""
        error = np.linalg.norm(self.found - self.real, axis=1)
        return {
            "localisation_error_median_m": float(np.median(error)),
            "localisation_error_90_m": float(np.quantile(error, 0.9)),
            "right_place": float(self.right.mean()),
        }


def localise(encoder: PosedEncoder, kind: type[OrbitWorld], held_out: Transitions) -> Localised:
    """Map a world's places from the later half of the frames, and find where the others were seen from.

    Args:
        encoder: of the group SE2.
        kind: the world, each of whose classes is a place.
        held_out: frames with their true poses, by which the map is laid and measured, but not made.

    Raises:
        ValueError: the encoder is for another group.
    """
    count = len(held_out.frames) // 2
    orbit, robots = held_out.truth["orbit"][:, 0].astype(int), kind.group.inverse(held_out.truth["agent_pose"])
    made = Map(encoder, held_out.frames[count:], len(kind.orbits))
    located, place = made.locate(held_out.frames[:count]), made.seen.place
    called = {number: np.bincount(orbit[count:][place == number]).argmax() for number in np.unique(place)}
    return Localised(
        mapped=made.laid(made.seen, robots[count:]),
        mapped_place=place,
        mapped_orbit=orbit[count:],
        found=made.laid(located, robots[count:]),
        real=robots[:count, :2],
        orbit=orbit[:count],
        right=np.array([called[number] for number in located.place]) == orbit[:count],
    )
