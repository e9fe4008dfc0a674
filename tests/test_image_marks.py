"""Marks on images: they lie where agent and object are drawn, and no ground truth is needed for it."""

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from equiact.representations.encoders.agent_object import AgentObjectConfig, AgentObjectEncoder
from equiact.representations.encoders.agent_objects import AgentObjectsConfig, AgentObjectsEncoder
from equiact.representations.encoders.translation_encoder import TranslationEncoder
from equiact.scripts.latent_files import EpisodeLatents
from equiact.scripts.reports.image_marks import AGENT_COLOR, OBJECT_COLOR, ImageMarks, ObjectMarks, image_marks
from numpy.typing import NDArray

HEIGHT, WIDTH, COUNT = 48, 64, 300
LATENT_UNIT = 3.0
"""Units of the latents in one width of the image."""


def scenes(dim: int) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.float32]], dict[str, NDArray[Any]]]:
    """Return frames with two dots, the latents of their positions, and the positions as shares of the image."""
    generator = np.random.default_rng(0)
    places = {name: generator.uniform(0.15, 0.85, (COUNT, 2)) for name in ("agent", "object")}
    frames = np.full((COUNT, HEIGHT, WIDTH, 3), 30, np.uint8)
    for row, frame in enumerate(frames):
        for name, color, radius in (("object", (200, 90, 0), 5), ("agent", (0, 90, 250), 3)):
            x, y = (int(each) for each in np.round(places[name][row] * [WIDTH, HEIGHT] * 16 - 8))
            cv2.circle(frame, (x, y), radius * 16, color, -1, cv2.LINE_AA, 4)
    # y goes up, and a third coordinate, if there is one, is depth that no image shows
    latents = {
        name: np.pad(LATENT_UNIT * (place - 0.5) * [1.0, -HEIGHT / WIDTH], ((0, 0), (0, dim - 2))).astype(np.float32)
        for name, place in places.items()
    }
    return frames, latents, places


def episode(latents: dict[str, NDArray[np.float32]], group: str) -> EpisodeLatents:
    rows = np.arange(COUNT)
    return EpisodeLatents(np.zeros(COUNT, int), rows, rows, latents, group, "agent-object")


@pytest.mark.parametrize("dim", [2, 3])
def test_marks_are_where_agent_and_object_are_drawn(dim: int) -> None:
    frames, latents, places = scenes(dim)
    encoder = AgentObjectEncoder((HEIGHT, WIDTH, 3), f"R{dim}").eval()
    marks = image_marks(encoder, episode(latents, f"R{dim}"), frames)
    assert marks is not None
    (object_,) = marks.objects
    assert (object_.outline is not None) == (dim == 2)
    for found, name in ((marks.agent, "agent"), (object_.place, "object")):
        off = np.abs((found - places[name]) * [WIDTH, HEIGHT])
        assert off.max() < 3, "one dot hides the other at times"
        assert np.median(off) < 1


def test_each_of_several_objects_has_its_marks() -> None:
    frames, latents, places = scenes(2)
    other = np.random.default_rng(1).uniform(0.15, 0.85, (COUNT, 2))
    for row, frame in enumerate(frames):
        x, y = (int(each) for each in np.round(other[row] * [WIDTH, HEIGHT] * 16 - 8))
        cv2.circle(frame, (x, y), 3 * 16, (90, 200, 0), -1, cv2.LINE_AA, 4)
    seen = {
        "agent": latents["agent"],
        "object_1": (LATENT_UNIT * (other - 0.5) * [1.0, -HEIGHT / WIDTH]).astype(np.float32),
        "object_2": latents["object"],
    }
    encoder = AgentObjectsEncoder((HEIGHT, WIDTH, 3), "R2", AgentObjectsConfig(objects=2)).eval()
    marks = image_marks(encoder, episode(seen, "R2"), frames)
    assert marks is not None and len(marks.objects) == 2
    for found, true in zip(marks.objects, (other, places["object"]), strict=True):
        assert found.outline is not None
        assert np.median(np.abs((found.place - true) * [WIDTH, HEIGHT])) < 1.5


def test_the_same_images_have_the_same_camera() -> None:
    """Also if a coordinate is always zero, so that the fit has many solutions."""
    frames, latents, _ = scenes(3)
    encoder = AgentObjectEncoder((HEIGHT, WIDTH, 3), "R3").eval()
    found = [image_marks(encoder, episode(latents, "R3"), frames) for _ in range(5)]
    assert all(each is not None for each in found)
    for each in found[1:]:
        np.testing.assert_array_equal(each.agent, found[0].agent)  # type: ignore[union-attr]


def test_the_outline_of_a_round_object_has_its_radius() -> None:
    frames, latents, _ = scenes(2)
    encoder = AgentObjectEncoder((HEIGHT, WIDTH, 3), "R2").eval()
    marks = image_marks(encoder, episode(latents, "R2"), frames)
    assert marks is not None and marks.objects[0].outline is not None
    radius = np.linalg.norm((marks.objects[0].outline - marks.objects[0].place[:, None]) * [1, HEIGHT / WIDTH], axis=-1)
    np.testing.assert_allclose(radius, encoder.reach / LATENT_UNIT, rtol=0.05)


@pytest.mark.parametrize("order", [1, 2])
def test_the_outline_turns_with_the_object(order: int) -> None:
    frames, latents, _ = scenes(2)
    encoder = AgentObjectEncoder((HEIGHT, WIDTH, 3), "R2", AgentObjectConfig(object_shape="any")).eval()
    encoder.outline.order.fill_(order)
    encoder.outline.coefficients.data[1] = 0.5  # longest ahead
    angle = np.linspace(-np.pi / order, np.pi / order, COUNT, endpoint=False)
    latents["orientation"] = np.stack([np.cos(order * angle), np.sin(order * angle)], 1).astype(np.float32)
    marks = image_marks(encoder, episode(latents, "R2"), frames)
    assert marks is not None and marks.objects[0].outline is not None
    offset = (marks.objects[0].outline - marks.objects[0].place[:, None]) * [1, -HEIGHT / WIDTH]
    ahead = offset[np.arange(COUNT), np.linalg.norm(offset, axis=-1).argmax(1)]
    found = np.arctan2(ahead[:, 1], ahead[:, 0])
    assert np.abs(np.angle(np.exp(1j * order * (found - angle)))).max() < 0.15


def test_marks_are_drawn_on_an_image_of_any_size() -> None:
    agent, place = np.array([[0.25, 0.5]]), np.array([[0.75, 0.5]])
    marks = ImageMarks(agent, (ObjectMarks(place),))
    image = marks.draw(np.zeros((40, 80, 3), np.uint8), 0)
    assert tuple(image[20, 20]) == AGENT_COLOR and tuple(image[20, 60]) == OBJECT_COLOR
    assert not image[:, 30:50].any()
    square = np.array([[[0.5, 0.25], [1.0, 0.25], [1.0, 0.75], [0.5, 0.75]]])
    outlined = ImageMarks(agent, (ObjectMarks(place, square),)).draw(np.zeros((40, 80, 3), np.uint8), 0)
    assert tuple(outlined[20, 40]) == OBJECT_COLOR


def test_other_encoders_have_no_marks() -> None:
    frames, latents, _ = scenes(2)
    assert image_marks(TranslationEncoder((HEIGHT, WIDTH, 3), "R2"), episode(latents, "R2"), frames) is None


def test_frames_in_which_nothing_moves_are_refused() -> None:
    _, latents, _ = scenes(2)
    torch.manual_seed(0)
    encoder = AgentObjectEncoder((HEIGHT, WIDTH, 3), "R2").eval()
    with pytest.raises(ValueError, match="nothing moves"):
        image_marks(encoder, episode(latents, "R2"), np.zeros((COUNT, HEIGHT, WIDTH, 3), np.uint8))
