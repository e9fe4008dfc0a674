"""Where an encoder sees agent and object in the images, by a camera that is fitted to its latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...representations.encoders.agent_object import AgentObjectEncoder
from ...representations.encoders.agent_objects import encoders_of_objects
from ...representations.encoders.encoder import as_tensor, to_images
from ...representations.encoders.glimpse import background_changes, fit_camera
from .outline_figures import placed_outline

if TYPE_CHECKING:
    from ..latent_files import EpisodeLatents

Floats = NDArray[np.float64]

AGENT_COLOR, OBJECT_COLOR = (90, 220, 255), (255, 120, 40)
"""RGB of the dot at the agent, and of the dot at the object and its outline."""
CAMERA_FRAMES = 1000
"""Number of frames that the camera is fitted to, at most."""


@dataclass(frozen=True)
class ObjectMarks:
    """Places of an object in the images of ``n`` frames, as shares of width and height.

    Attributes:
        place: place of the object, ``(n, 2)``.
        outline: its outline, grown by the agent's size, ``(n, K, 2)``; None outside of the plane.
    """

    place: Floats
    outline: Floats | None = None


@dataclass(frozen=True)
class ImageMarks:
    """Places in the images of ``n`` frames, ``(x, y)`` from the top left corner, as shares of width and height.

    Attributes:
        agent: place of the agent, ``(n, 2)``.
        objects: places of the objects.
    """

    agent: Floats
    objects: tuple[ObjectMarks, ...]

    def draw(self, image: NDArray[np.uint8], row: int) -> NDArray[np.uint8]:
        """Return an image ``(H, W, 3)``, of any size, with the marks of a frame."""
        height, width = image.shape[:2]
        drawn = image.copy()

        def pixels(places: Floats) -> NDArray[np.int32]:
            return np.round(places * [width, height] * 16 - 8).astype(np.int32)

        for edge in (pixels(each.outline[row]) for each in self.objects if each.outline is not None):
            cv2.polylines(drawn, [edge], isClosed=True, color=OBJECT_COLOR, thickness=2, lineType=cv2.LINE_AA, shift=4)
        dots = [*((each.place[row], OBJECT_COLOR) for each in self.objects), (self.agent[row], AGENT_COLOR)]
        for place, color in dots:
            x, y = (int(each) for each in pixels(place))
            cv2.circle(drawn, (x, y), 4 * 16, color, -1, cv2.LINE_AA, 4)
        return drawn


def image_marks(encoder: Any, latents: EpisodeLatents, frames: NDArray[np.uint8]) -> ImageMarks | None:
    """Return where an encoder of an agent and objects sees them in the images; None for other encoders.

    The camera is an affine map that is fitted to what differs from the median image (`fit_camera`); no ground truth is
    read. A camera that looks from the side bends straight lines, and marks are off by some pixels.

    Args:
        encoder: the encoder.
        latents: its latents of all episodes.
        frames: frames of the data set, ``(F, H, W, C)`` uint8.

    Raises:
        ValueError: nothing moves in the frames.
    """
    parts = encoders_of_objects(encoder)
    if not parts:
        return None
    found = {name: np.asarray(latent, float) for name, latent in latents.latents.items()}
    places = {name: found[name] for name in found if name == "agent" or name.startswith("object")}
    some = np.linspace(0, len(latents.frame) - 1, min(len(latents.frame), CAMERA_FRAMES)).astype(int)
    images = to_images(as_tensor(frames[latents.frame[some]]))
    changes = background_changes(images, images.median(0).values)
    camera = fit_camera(changes, *(as_tensor(each[some]).float() for each in places.values())).double().numpy()

    def seen(points: Floats) -> Floats:
        return np.asarray((points @ camera[:, :-1].T + camera[:, -1] + 1) / 2)

    def marks(part: AgentObjectEncoder, place: Floats) -> ObjectMarks:
        flat = part.dim == 2
        return ObjectMarks(seen(place), seen(placed_outline(part, {**found, "object": place})) if flat else None)

    agent = places.pop("agent")
    return ImageMarks(seen(agent), tuple(map(marks, parts, places.values())))
