"""Metrics on cases whose values are known by hand."""

import warnings

import numpy as np
import pytest
from equiact.envs.data.transitions import Transitions
from equiact.representations.encoders.agent_object import AgentObjectEncoder
from equiact.representations.metrics.position_metrics import (
    AlignedPositions,
    chance,
    evaluate_encoder,
    isometry_error,
    object_moves,
    precision_recall,
    probe_r2,
    rmse,
)
from numpy.typing import NDArray

Points = NDArray[np.float64]
AGENT = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
OBJECT = np.array([[0.5, 0.5], [0.5, 0.5], [0.2, 0.8], [0.9, 0.1]])


def align(agent: Points, object_: Points) -> AlignedPositions:
    return AlignedPositions.align(AGENT, agent, OBJECT, object_)


def test_rmse_is_of_distances_not_of_coordinates() -> None:
    assert rmse(np.array([[3.0, 4.0], [0.0, 0.0]]), np.zeros((2, 2))) == pytest.approx(np.sqrt(12.5))
    assert rmse(AGENT, AGENT) == 0


def test_the_common_translation_is_free() -> None:
    moved = align(AGENT + np.array([3.0, -2.0]), OBJECT + np.array([3.0, -2.0]))
    np.testing.assert_allclose(moved.agent_predicted, AGENT, atol=1e-12)
    np.testing.assert_allclose(moved.object_predicted, OBJECT, atol=1e-12)
    assert isometry_error(moved) == pytest.approx(0, abs=1e-12)


def test_an_object_shifted_against_the_agent_is_an_error() -> None:
    """One translation is free, not one each: half of the shift is left to either."""
    positions = align(AGENT, OBJECT + np.array([0.6, 0.8]))
    assert rmse(positions.agent_predicted, AGENT) == pytest.approx(0.5)
    assert rmse(positions.object_predicted, OBJECT) == pytest.approx(0.5)
    assert isometry_error(positions) == pytest.approx(1.0)


def test_scale_and_reflection_are_errors() -> None:
    for factor in (np.array([1.5, 1.5]), np.array([-1.0, 1.0])):
        positions = align(AGENT * factor, OBJECT * factor)
        assert rmse(positions.agent_predicted, AGENT) > 0.3
        assert isometry_error(positions) > 0.01
    shrunk = align(np.zeros_like(AGENT), np.zeros_like(OBJECT))
    assert isometry_error(shrunk) == pytest.approx(((AGENT - OBJECT) ** 2).sum(1).mean())


def test_isometry_error_does_not_change_with_any_common_translation() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 4, 2))
    plain = AlignedPositions(AGENT, AGENT + noise[0], OBJECT, OBJECT + noise[1])
    moved = AlignedPositions(AGENT, AGENT + noise[0] + 7, OBJECT, OBJECT + noise[1] + 7)
    aligned = align(AGENT + noise[0] + 7, OBJECT + noise[1] + 7)
    assert isometry_error(plain) > 0
    assert isometry_error(moved) == pytest.approx(isometry_error(plain))
    assert isometry_error(aligned) == pytest.approx(isometry_error(plain))


def test_probe_ignores_linear_maps_and_nothing_else() -> None:
    generator = np.random.default_rng(0)
    target = generator.normal(size=(400, 2))
    assert probe_r2(target @ [[2.0, 1.0], [0.0, -3.0]] + 5, target) == pytest.approx(1)
    assert probe_r2(generator.normal(size=(400, 2)), target) < 0.05
    assert probe_r2(target**2, target) < 0.1
    assert probe_r2(target[:, :1], target) == pytest.approx(0.5, abs=0.1)


def test_probe_is_measured_on_the_half_that_it_was_not_fitted_to() -> None:
    generator = np.random.default_rng(0)
    assert probe_r2(generator.normal(size=(40, 18)), generator.normal(size=(40, 1))) < 0


@pytest.mark.parametrize(
    ("predicted", "true", "expected"),
    [
        ([1, 1, 1, 0], [1, 0, 0, 1], (1 / 3, 1 / 2)),
        ([0, 0, 0, 0], [1, 0, 0, 1], (0, 0)),
        ([1, 1, 1, 1], [1, 0, 0, 1], (1 / 2, 1)),
        ([1, 0, 0, 1], [1, 0, 0, 1], (1, 1)),
        ([1, 0, 0, 0], [0, 0, 0, 0], (0, 0)),
    ],
)
def test_precision_and_recall(predicted: list[int], true: list[int], expected: tuple[float, float]) -> None:
    assert precision_recall(np.array(predicted, bool), np.array(true, bool)) == pytest.approx(expected)


def make_transitions(ground_truth: bool = True, count: int = 200) -> Transitions:
    generator = np.random.default_rng(0)
    start = np.arange(count)
    object_ = generator.uniform(-1, 1, (count + 1, 2)).astype(np.float32)
    touched = start % 4 == 0
    for i in start:
        if not touched[i]:
            object_[i + 1] = object_[i]
    return Transitions(
        frames=generator.integers(0, 256, (count + 1, 8, 8, 3), dtype=np.uint8),
        start=start,
        end=start + 1,
        displacement=generator.normal(size=(count, 2)).astype(np.float32),
        group="R2",
        ground_truth={"agent_pose": generator.uniform(-1, 1, (count + 1, 2)).astype(np.float32), "object_pose": object_}
        if ground_truth
        else {},
        touched=touched,
    )


class Oracle(AgentObjectEncoder):
    """Return the ground truth of each frame, up to a translation."""

    def __init__(self, transitions: Transitions) -> None:
        super().__init__((8, 8, 3), "R2")
        self.transitions = transitions

    def encode(self, observations: NDArray[np.uint8]) -> dict[str, Points]:  # type: ignore[override]
        keys = {frame.tobytes(): i for i, frame in enumerate(self.transitions.frames)}
        rows = [keys[frame.tobytes()] for frame in observations]
        ground_truth = self.transitions.ground_truth
        return {"agent": ground_truth["agent_pose"][rows] + 5.0, "object": ground_truth["object_pose"][rows] + 5.0}


def test_an_encoder_that_knows_everything_is_perfect() -> None:
    transitions = make_transitions(count=600)  # more than are encoded at once
    oracle = Oracle(transitions)
    oracle.contact_threshold.fill_(1e-3)
    result = evaluate_encoder(oracle, transitions, arena_side=2.0)
    assert result["agent_rmse"] < 1e-5
    assert result["object_rmse"] < 1e-5
    assert result["agent_probe_r2"] > 0.999
    assert result["contact_precision"] == result["contact_recall"] == 1
    oracle.unit.fill_(1e9)  # the threshold is in units of the data
    assert evaluate_encoder(oracle, transitions, arena_side=2.0)["contact_recall"] == 0


def test_percentages_are_of_the_arena() -> None:
    transitions = make_transitions()
    result = chance(transitions, arena_side=4.0)
    for name in ("agent", "object"):
        assert result[f"{name}_rmse_pct"] == pytest.approx(25 * result[f"{name}_rmse"])


def test_chance_is_the_spread_of_the_ground_truth() -> None:
    transitions = make_transitions(count=4000)
    result = chance(transitions, arena_side=2.0)
    assert result["agent_rmse"] == pytest.approx(np.sqrt(2 / 3), rel=0.05)  # uniform in [-1, 1]²
    assert result["agent_probe_r2"] == pytest.approx(0, abs=0.02)
    assert result["contact_precision"] == pytest.approx(0.25, abs=0.05)
    assert result["contact_recall"] == pytest.approx(0.25, abs=0.05)


def test_object_moves_are_of_transitions() -> None:
    transitions = make_transitions()
    object_ = transitions.ground_truth["object_pose"].astype(float)
    positions = AlignedPositions(object_, object_, object_, object_)
    moved = object_moves(positions, transitions)
    assert moved.shape == (len(transitions),)
    np.testing.assert_array_equal(moved > 0, transitions.touched)
    assert moved[0] == pytest.approx(np.hypot(*(object_[1] - object_[0])))


def test_missing_ground_truth_is_named() -> None:
    encoder = AgentObjectEncoder((8, 8, 3), "R2")
    for call in (lambda t: evaluate_encoder(encoder, t, 2.0), lambda t: chance(t, 2.0)):
        with pytest.raises(ValueError, match=r"agent_pose.*object_pose"):
            call(make_transitions(ground_truth=False))


def test_evaluation_is_silent() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = evaluate_encoder(AgentObjectEncoder((8, 8, 3), "R2").eval(), make_transitions(), 2.0)
    assert np.isfinite(list(result.values())).all()
