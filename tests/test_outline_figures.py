"""The figure of an outline: it lies on the object in the image, and is drawn only if there is one."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from equiact.envs.data.transitions import Transitions
from equiact.representations.encoders.agent_object import AgentObjectConfig, AgentObjectEncoder
from equiact.scripts.reports.figure_registry import FigureInputs
from equiact.scripts.reports.outline_figures import draw_outline, on_image, placed_outline, rotate, seen_from_object


def turning(order: int = 1) -> AgentObjectEncoder:
    encoder = AgentObjectEncoder((32, 64, 3), "R2", AgentObjectConfig(object_shape="any"))
    encoder.unit.fill_(2.0)
    encoder.outline.order.fill_(order)
    encoder.glimpse.camera[:] = torch.tensor([[0.5, 0.0, 0.1], [0.0, 1.0, -0.2]])
    return encoder.eval()


def held_out() -> Transitions:
    frames = np.random.default_rng(0).integers(0, 255, (30, 32, 64, 3)).astype(np.uint8)
    start = np.arange(29)
    return Transitions(frames, start, start + 1, np.random.default_rng(1).normal(size=(29, 2)).astype(np.float32), "R2")


@pytest.mark.parametrize("order", [1, 2])
def test_the_outline_is_shown_where_the_camera_sees_the_object(order: int) -> None:
    angle = np.pi / 2
    latents = {
        "object": np.array([[1.0, 0.4]]),
        "orientation": np.array([[np.cos(order * angle), np.sin(order * angle)]]),
        "agent": np.array([[1.0, 1.4]]),
    }
    encoder = turning(order)
    ahead = int(encoder.outline_polygon[:, 0].argmax())
    places = np.stack([latents["object"][0], placed_outline(encoder, latents)[0, ahead]])
    centre = np.array([0.5 * 0.5 + 0.1, 0.2 - 0.2])
    expected = np.stack([centre, centre + np.array([0.0, float(encoder.outline.radius.detach())])])  # ahead is up
    np.testing.assert_allclose(on_image(encoder, places), (expected + 1) / 2 * [64, 32] - 0.5, atol=1e-4)
    np.testing.assert_allclose(seen_from_object(turning(order), latents, np.array([0])), [[1.0, 0.0]], atol=1e-6)


def test_a_rotation_back_undoes_a_rotation() -> None:
    points, angle = np.random.default_rng(0).normal(size=(20, 2)), np.linspace(-3, 3, 20)
    np.testing.assert_allclose(rotate(rotate(points, angle), -angle), points, atol=1e-12)
    np.testing.assert_allclose(rotate(np.array([[1.0, 0.0]]), np.array([np.pi / 2])), [[0, 1]], atol=1e-12)


def test_the_figure_is_drawn_for_objects_that_have_an_outline(tmp_path: Path) -> None:
    draw_outline(tmp_path / "outline.png", FigureInputs(turning(), held_out()))
    image = cv2.imread(str(tmp_path / "outline.png"))
    assert image is not None and image.std() > 5
    draw_outline(tmp_path / "round.png", FigureInputs(AgentObjectEncoder((32, 64, 3), "R2"), held_out()))
    assert not (tmp_path / "round.png").exists()
