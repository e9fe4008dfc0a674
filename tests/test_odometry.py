"""Errors of odometry are estimated from where the agent is seen."""

import numpy as np
import pytest
import torch
from equiact.envs.data.transitions import Transitions
from equiact.representations.learning.config import ConfigError
from equiact.representations.learning.odometry import Odometry, OdometryConfig
from numpy.typing import NDArray

BIAS = np.array([0.05, -0.03])


def episodes(count: int = 40, length: int = 50, seed: int = 0) -> tuple[NDArray[np.float64], Transitions]:
    """Return the positions of all frames, and transitions of an agent in a box of side 4 that moves by about 1."""
    generator = np.random.default_rng(seed)
    position = np.zeros((count, length + 1, 2))
    for step in range(length):
        position[:, step + 1] = np.clip(position[:, step] + generator.normal(0, 1, (count, 2)), -2, 2)
    start = (np.arange(count)[:, None] * (length + 1) + np.arange(length)).ravel()
    moved = np.diff(position, axis=1).reshape(-1, 2)
    frames = np.zeros((count * (length + 1), 1, 1, 3), np.uint8)
    return position.reshape(-1, 2), Transitions(frames, start, start + 1, moved.astype(np.float32), "R2")


def recorded(transitions: Transitions, displacement: NDArray[np.float64]) -> Transitions:
    return Transitions(
        transitions.frames, transitions.start, transitions.end, displacement.astype(np.float32), transitions.group
    )


def late(transitions: Transitions, steps: int, length: int = 50) -> NDArray[np.float64]:
    """Return displacements that are recorded later by some steps; what was not recorded in an episode is zero."""
    true = transitions.displacement.reshape(-1, length, 2)
    shifted = np.zeros_like(true)
    if steps >= 0:
        shifted[:, steps:] = true[:, : length - steps]
    else:
        shifted[:, :steps] = true[:, -steps:]
    return shifted.reshape(-1, 2)


def judged(position: NDArray[np.float64], transitions: Transitions, unit: float = 1.0, longest: int = 50) -> Odometry:
    odometry = Odometry(transitions, unit, OdometryConfig(), torch.device("cpu"))
    odometry.estimate(torch.tensor(position / unit, dtype=torch.float32), longest)
    return odometry


@pytest.mark.parametrize("steps", [-1, 0, 1])
def test_lag_and_bias_are_found(steps: int) -> None:
    position, transitions = episodes()
    odometry = judged(position, recorded(transitions, late(transitions, steps) + BIAS))
    assert int(odometry.lag) == steps
    assert odometry.bias.numpy() == pytest.approx(BIAS, abs=1e-5)
    assert float(odometry.single) == pytest.approx(0, abs=1e-9)


def test_bias_is_told_in_units_of_the_encoder() -> None:
    position, transitions = episodes()
    odometry = judged(position, recorded(transitions, transitions.displacement + BIAS), unit=2.0)
    assert odometry.bias.numpy() == pytest.approx(BIAS / 2, abs=1e-5)


def test_the_variance_of_noise_is_found() -> None:
    position, transitions = episodes(200)
    noise = np.random.default_rng(1).normal(0, 0.1, transitions.displacement.shape)
    odometry = judged(position, recorded(transitions, transitions.displacement + noise))
    assert float(odometry.noise) == pytest.approx(2 * 0.1**2, rel=0.2)
    assert float(odometry.single) == pytest.approx(2 * 0.1**2, rel=0.05)


def test_errors_of_the_encoder_are_not_taken_for_noise() -> None:
    """They do not add up along a path."""
    position, transitions = episodes(200)
    error = np.random.default_rng(1).normal(0, 0.1, position.shape)
    odometry = judged(position + error, transitions)
    assert float(odometry.single) == pytest.approx(4 * 0.1**2, rel=0.05)
    assert float(odometry.noise) < 0.01 * float(odometry.single)


def test_a_bias_is_bounded_so_that_a_constant_movement_is_not_taken_for_one() -> None:
    position = np.cumsum(np.tile([[1.0, 0.0]], (20, 1)), 0)
    frames, start = np.zeros((20, 1, 1, 3), np.uint8), np.arange(19)
    transitions = Transitions(frames, start, start + 1, np.diff(position, axis=0).astype(np.float32), "R2")
    odometry = Odometry(transitions, 1.0, OdometryConfig(largest_bias=0.1), torch.device("cpu"))
    chosen = odometry.draw(8, torch.Generator().manual_seed(0))
    still = odometry.step_error(torch.zeros(8, 2), chosen)
    assert float(still) == pytest.approx(0.9**2)
    assert float(odometry.step_error(torch.tensor([[1.0, 0.0]]).expand(8, 2), chosen)) == pytest.approx(0)


def test_the_error_of_steps_is_that_of_the_best_lag() -> None:
    _, transitions = episodes()
    moved = torch.tensor(transitions.displacement.copy())
    odometry = Odometry(recorded(transitions, late(transitions, 1)), 1.0, OdometryConfig(), torch.device("cpu"))
    chosen = odometry.draw(500, torch.Generator().manual_seed(0))
    assert float(odometry.step_error(moved[chosen], chosen)) == pytest.approx(0, abs=1e-9)
    without = Odometry(odometry.shifted(), 1.0, OdometryConfig(largest_lag=0), torch.device("cpu"))
    assert float(without.step_error(moved[chosen], chosen)) > 0.5


def test_transitions_without_neighbours_tell_no_lag() -> None:
    _, transitions = episodes()
    apart = transitions.select(np.arange(0, len(transitions), 2))
    odometry = Odometry(apart, 1.0, OdometryConfig(), torch.device("cpu"))
    chosen = odometry.draw(20_000, torch.Generator().manual_seed(0))
    assert set(chosen.tolist()) == set(range(len(apart)))
    moved = torch.tensor(apart.displacement.copy())
    assert float(odometry.step_error(moved[chosen], chosen)) == pytest.approx(0)
    odometry.estimate(torch.zeros(len(apart.frames), 2), 10)
    assert int(odometry.lag) == 0


@pytest.mark.parametrize("steps", [-1, 1])
def test_shifted_displacements_belong_to_their_frames(steps: int) -> None:
    position, transitions = episodes()
    odometry = judged(position, recorded(transitions, late(transitions, steps)))
    shifted = odometry.shifted()
    assert len(shifted) == 40 * 49
    expected = position[shifted.end] - position[shifted.start]
    assert shifted.displacement == pytest.approx(expected, abs=1e-5)


def test_long_paths_count_less_if_displacements_are_noisy() -> None:
    odometry = judged(*episodes())
    error, steps = torch.ones(1, 2), torch.tensor([11])
    assert float(odometry.path_error(error, steps)) == pytest.approx(2, rel=1e-4)
    odometry.noise.fill_(0.3)
    odometry.single.fill_(0.6)
    assert float(odometry.path_error(error, steps)) == pytest.approx(2 / 6)
    assert float(odometry.path_error(error, -steps)) == pytest.approx(2 / 6)


def test_the_bias_adds_up_along_a_path_in_its_direction() -> None:
    odometry = judged(*episodes())
    odometry.bias[:] = torch.tensor([0.1, 0.0])
    steps = torch.tensor([10, -10])
    assert float(odometry.path_error(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), steps)) == pytest.approx(0, abs=1e-8)


def test_a_lag_that_hardly_fits_better_is_not_believed() -> None:
    position, transitions = episodes()
    for seed in range(5):
        generator = np.random.default_rng(seed)
        noise = generator.normal(0, 3, transitions.displacement.shape)
        assert int(judged(position, recorded(transitions, noise)).lag) == 0


@pytest.mark.parametrize(
    "values",
    [
        {"largest_lag": -1},
        {"least_neighbours": 0.0},
        {"largest_bias": -0.1},
        {"largest_bias": float("nan")},
        {"sure_lag": 0},
        {"sure_lag": 1.1},
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        OdometryConfig(**values)  # type: ignore[arg-type]
