"""Angles of images on a ring, intervals at rest, and crops of images."""

import cv2
import numpy as np
import pytest
import torch
from equiact.representations.encoders.glimpse import Glimpse, fit_camera
from equiact.representations.learning.rest_intervals import interval_means, rest_intervals
from equiact.representations.learning.ring import ring_angles
from numpy.typing import NDArray

NEIGHBOURS = (6, 8, 10, 12)


def hammer(angle: float, side: int = 32) -> NDArray[np.float64]:
    """Draw a hammer: a handle and a head, without any symmetry of rotation."""
    image = np.zeros((side, side), np.uint8)
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s], [s, c]])
    for box in ([[-9, -1.5], [7, -1.5], [7, 1.5], [-9, 1.5]], [[5, -6], [9, -6], [9, 6], [5, 6]]):
        corners = (np.array(box) @ turn.T + side / 2 - 0.5) * 16
        cv2.fillPoly(image, [np.round(corners).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return image.ravel() / 255.0


def angle_error(found: NDArray[np.float64], angle: NDArray[np.float64]) -> float:
    """Median error in degrees, after the best rotation and reflection."""
    return min(
        float(np.degrees(np.median(np.abs(np.angle((turned := np.exp(1j * (sign * found - angle))) / turned.mean())))))
        for sign in (1, -1)
    )


@pytest.mark.parametrize("uneven", [False, True])
def test_views_of_an_object_that_turns_tell_its_angle(uneven: bool) -> None:
    generator = np.random.default_rng(0)
    angle = generator.uniform(-np.pi, np.pi, 500)
    if uneven:
        angle = angle + 0.5 * np.sin(angle)
    points = np.stack([hammer(each) for each in angle]) + generator.normal(0, 0.1, (500, 1024))
    found, deviation = ring_angles(points, NEIGHBOURS)
    assert deviation < 0.3
    assert np.abs(found).max() <= np.pi + 1e-9
    assert angle_error(found, angle) < (12 if uneven else 6), "90 is chance"


def test_too_few_points_are_refused() -> None:
    with pytest.raises(ValueError, match="more than 12 points, got 12"):
        ring_angles(np.zeros((12, 3)), NEIGHBOURS)


def test_the_same_points_have_the_same_angles() -> None:
    points = np.stack([hammer(each) for each in np.linspace(0, 6, 60)])
    np.testing.assert_array_equal(ring_angles(points, NEIGHBOURS)[0], ring_angles(points, NEIGHBOURS)[0])


def test_intervals_end_where_the_object_is_moved_and_where_a_trajectory_ends() -> None:
    start, end = torch.tensor([0, 1, 2, 4, 5]), torch.tensor([1, 2, 3, 5, 6])
    rests = torch.tensor([True, False, True, True, True])
    interval = rest_intervals(start, end, rests, 8)
    groups = [set(torch.nonzero(interval == each)[:, 0].tolist()) for each in interval.unique()]
    assert sorted(map(sorted, groups)) == [[0, 1], [2, 3], [4, 5, 6], [7]]
    values = torch.arange(8.0)[:, None]
    means = interval_means(values, interval)[interval][:, 0]
    assert means.tolist() == [0.5, 0.5, 2.5, 2.5, 5, 5, 5, 7]


def spots(positions: NDArray[np.float64], camera: NDArray[np.float64], size: tuple[int, int]) -> torch.Tensor:
    """Draw Gaussian spots where a camera sees positions in the plane."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    x, y = (columns + 0.5) * 2 / size[1] - 1, (rows + 0.5) * 2 / size[0] - 1
    seen = positions @ camera[:, :2].T + camera[:, 2]
    return torch.tensor(
        np.exp(-((x - seen[:, 0, None, None]) ** 2 + (y - seen[:, 1, None, None]) ** 2) / 0.005)
    ).float()


def test_the_camera_is_found_from_what_differs_from_the_background() -> None:
    generator = np.random.default_rng(0)
    camera = np.array([[0.3, 0.1, 0.05], [-0.08, 0.25, -0.1]])
    agent, object_ = generator.uniform(-1.5, 1.5, (2, 300, 2))
    changes = spots(agent, camera, (48, 64)) + 3 * spots(object_, camera, (48, 64))
    found = fit_camera(changes, *(torch.tensor(each).float() for each in (agent, object_)))
    np.testing.assert_allclose(found, camera, atol=0.02)
    with pytest.raises(ValueError, match="nothing moves"):
        fit_camera(torch.zeros(5, 8, 8), torch.zeros(5, 2), torch.zeros(5, 2))


def test_a_crop_shows_what_is_at_the_position() -> None:
    camera = np.array([[0.3, 0.0, 0.1], [0.0, 0.3, -0.2]])
    positions = np.array([[1.0, 0.5], [-1.5, 1.0], [0.0, 0.0]])
    images = spots(positions, camera, (64, 64))[:, None].expand(-1, 3, -1, -1)
    glimpse = Glimpse("strided", 3, 16)
    glimpse.camera[:] = torch.tensor(camera)
    glimpse.half_width.fill_(0.25)
    crops = glimpse.crop(images, torch.tensor(positions).float())
    assert crops.shape == (3, 3, 16, 16)
    rows = torch.arange(16.0)
    for crop in crops[:, 0]:
        total = crop.sum()
        centre = [float((crop.sum(1) @ rows) / total), float((crop.sum(0) @ rows) / total)]
        np.testing.assert_allclose(centre, 7.5, atol=0.1)
    spread = [float((crop.sum(1) * (rows - 7.5) ** 2).sum() / crop.sum()) for crop in crops[:, 0]]
    np.testing.assert_allclose(np.sqrt(spread), 0.05 / 0.5 * 16, rtol=0.1)
