"""Maps of places from the images of a robot: the encoded pose gives positions, the encoded class the place.

One encoder maps several places at once, such as two apartments, and distinguishes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.data.transitions import Transitions
from ...envs.worlds.orbit_world import OrbitWorld
from ...representations.encoders.class_pose_base import ClassPoseBase
from ...representations.metrics.pose_metrics import cluster_centers, free_factor, nearest_center

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class MapLocation:
    """Estimated locations of a robot, in the coordinates of the map.

    The map of each place has coordinates of its own: they differ from those of the world by a rigid motion.

    Attributes:
        position: ``(n, 2)``, in metres.
        heading: cosine and sine of the heading, ``(n, 2)``.
        place: index of the place, ``(n,)``.
    """

    position: Floats
    heading: Floats
    place: NDArray[np.int64]

    @property
    def pose(self) -> Floats:
        """Positions and headings as elements of ``SE(2)``, ``(n, 4)``."""
        return np.concatenate([self.position, self.heading], 1)


class PlaceMap:
    """A map of places, made from images, in which other images are located.

    The places are clusters of the encoded classes. The robot's pose in its place is the inverse of the encoded pose,
    which is the pose of the place as seen from the robot.

    Args:
        encoder: an encoder with class and pose, for the group SE2.
        images: ``(n, H, W, C)`` uint8, taken in all of the places.
        num_places: number of places.

    Attributes:
        mapped: locations of the images that the map was made from.

    Raises:
        TypeError: the encoder has no class and pose.
        ValueError: the encoder is for another group, there is no place, there are fewer images than places, or all
            images are alike.
    """

    def __init__(self, encoder: ClassPoseBase, images: NDArray[np.uint8], num_places: int) -> None:
        if not isinstance(encoder, ClassPoseBase):
            raise TypeError(
                f"expected an encoder with class and pose, such as class-pose, got {type(encoder).__name__}"
            )
        if encoder.group != "SE2":
            raise ValueError(f"expected an encoder for SE2, the rigid motions of the plane, got {encoder.group}")
        if num_places < 1:
            raise ValueError(f"expected at least one place, got num_places={num_places}")
        if len(images) < num_places:
            raise ValueError(
                f"expected at least as many images as places, got {len(images)} images of {num_places} places"
            )
        if num_places > 1 and (images == images[0]).all():
            raise ValueError(f"expected images of {num_places} places, got images that are all alike")
        self._encoder = encoder
        latents = encoder.encode(images)
        self._centers = cluster_centers(latents["class"], num_places)
        self.mapped = self._location(latents)

    def locate(self, images: NDArray[np.uint8]) -> MapLocation:
        """Return the location at which each image ``(n, H, W, C)`` was taken."""
        return self._location(self._encoder.encode(images))

    def align_to_world(self, location: MapLocation, ground_truth: Floats) -> Floats:
        """Return positions in the coordinates of the world, ``(n, 2)``.

        Each place has one rigid motion from the map to the world, estimated from the images of the map (`free_factor`).

        Args:
            location: locations on the map.
            ground_truth: poses of the robot in the world where the images of the map were taken, elements of ``SE(2)``
                ``(m, 4)``.
        """
        group, mapped = self._encoder.acting, self.mapped
        motions = np.tile(group.identity(), (len(self._centers), 1))
        for place in np.unique(mapped.place):
            here = mapped.place == place
            encoded, true = (group.inverse(each[here]) for each in (mapped.pose, ground_truth))
            motions[place] = free_factor(group, encoded[:, None], true, group.identity()[None])
        return group.compose(motions[location.place], location.pose)[:, :2]

    def _location(self, latents: dict[str, Floats]) -> MapLocation:
        robot = self._encoder.acting.inverse(self._encoder.poses(latents)[:, 0])
        return MapLocation(robot[:, :2], robot[:, 2:], nearest_center(latents["class"], self._centers)[0])


@dataclass(frozen=True)
class LocalisationResult:
    """Robots that were located on a map of all places of a world, in the coordinates of the world.

    Attributes:
        map_position: positions of the images of the map, ``(m, 2)``, in metres.
        map_place: index of the place in which each was located, ``(m,)``.
        map_orbit: ground-truth class of each, ``(m,)``.
        estimated_position: estimated positions of other images, ``(n, 2)``, in metres.
        ground_truth_position: their positions, ``(n, 2)``, in metres.
        orbit: their ground-truth classes, ``(n,)``.
        correct_place: whether each was located in the right place, ``(n,)``.
    """

    map_position: Floats
    map_place: NDArray[np.int64]
    map_orbit: NDArray[np.int64]
    estimated_position: Floats
    ground_truth_position: Floats
    orbit: NDArray[np.int64]
    correct_place: NDArray[np.bool_]

    @property
    def metrics(self) -> dict[str, float]:
        """Return the median and the 90 % quantile of the position error in metres, and the share of right places."""
        error = np.linalg.norm(self.estimated_position - self.ground_truth_position, axis=1)
        return {
            "localisation_error_median_m": float(np.median(error)),
            "localisation_error_90_m": float(np.quantile(error, 0.9)),
            "right_place": float(self.correct_place.mean()),
        }


def localise(encoder: ClassPoseBase, world_cls: type[OrbitWorld], held_out: Transitions) -> LocalisationResult:
    """Map the places of a world from the second half of the images, and locate the first half on the map.

    Args:
        encoder: an encoder with class and pose, for the group SE2.
        world_cls: the world, each of whose classes is a place.
        held_out: images with ground-truth poses, which align and measure the map, but do not make it.

    Raises:
        ValueError: the encoder is for another group.
    """
    count = len(held_out.frames) // 2
    orbit = held_out.ground_truth["orbit"][:, 0].astype(int)
    robot = world_cls.group.inverse(held_out.ground_truth["agent_pose"])
    place_map = PlaceMap(encoder, held_out.frames[count:], len(world_cls.orbits))
    location, place = place_map.locate(held_out.frames[:count]), place_map.mapped.place
    orbit_of_place = {index: np.bincount(orbit[count:][place == index]).argmax() for index in np.unique(place)}
    return LocalisationResult(
        map_position=place_map.align_to_world(place_map.mapped, robot[count:]),
        map_place=place,
        map_orbit=orbit[count:],
        estimated_position=place_map.align_to_world(location, robot[count:]),
        ground_truth_position=robot[:count, :2],
        orbit=orbit[:count],
        correct_place=np.array([orbit_of_place[index] for index in location.place]) == orbit[:count],
    )
