"""Metrics on cases whose values are known by hand."""

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from equiact.envs.data.transitions import Transitions
from equiact.representations.encoders.agent_object import AgentObjectConfig, AgentObjectEncoder
from equiact.representations.encoders.class_pose import ClassPoseConfig, ClassPoseEncoder
from equiact.representations.encoders.translation_encoder import TranslationEncoder
from equiact.representations.metrics.class_separation import class_separation
from equiact.representations.metrics.contact_consistency import cohens_kappa, contact_consistency
from equiact.representations.metrics.coverage import coverage, participation_ratio
from equiact.representations.metrics.hit_rate import hit_rates_of_data
from equiact.representations.metrics.latent_prediction import (
    PredictionConfig,
    consecutive_rows,
    equivariance_errors,
    predicting,
    prediction_error,
)
from equiact.representations.metrics.position_metrics import (
    AlignedPositions,
    chance,
    evaluate_encoder,
    isometry_error,
    precision_recall,
    probe_r2,
    rmse,
)
from equiact.representations.metrics.registry import (
    GROUND_TRUTH_FREE_METRICS,
    METRICS,
    HeldOut,
    evaluate_without_ground_truth,
    register_ground_truth_free_metric,
)
from equiact.representations.metrics.rigid_alignment import agent_position, align_rigidly
from numpy.typing import NDArray
from torch import Tensor

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


def walk(episodes: int = 10, length: int = 12, seed: int = 0) -> Transitions:
    """Return episodes in which the first two channels of an image are the position of the agent."""
    generator = np.random.default_rng(seed)
    moves = generator.integers(-9, 10, (episodes, length, 2))
    position = np.concatenate([np.full((episodes, 1, 2), 120), 120 + np.cumsum(moves, 1)], 1).reshape(-1, 2)
    frames = np.zeros((len(position), 4, 4, 3), np.uint8)
    frames[..., :2] = position[:, None, None]
    frames[:, 0, 0, 2] = np.arange(len(position)) % 256  # so that no two images are alike
    start = np.arange(len(position)).reshape(episodes, -1)[:, :-1].ravel()
    displacement = moves.reshape(-1, 2).astype(np.float32)
    return Transitions(frames, start, start + 1, displacement, "R2", {"agent_pose": position.astype(np.float32)})


class Reader(TranslationEncoder):
    """Read the position of the agent from the first pixel, and scale it."""

    def __init__(self, factor: float) -> None:
        super().__init__((4, 4, 3), "R2")
        self.factor = factor

    def latents(self, images: Tensor) -> dict[str, Tensor]:
        return {"agent": self.factor * 255 * images[:, :2, 0, 0]}


@pytest.mark.parametrize(("factor", "ratio"), [(1.0, 0.0), (-1.0, 2.0), (0.5, 1.0), (2.0, 0.5)])
@pytest.mark.parametrize("steps", [1, 5, 12])
def test_the_equivariance_error_is_relative_to_predicting_no_change(factor: float, ratio: float, steps: int) -> None:
    """A latent ``f·x`` moves by ``f·a``: the error is ``|1 − f|·‖a‖``, that of no change ``|f|·‖a‖``."""
    data, acting = walk(), predicting(Reader(factor))
    assert acting is not None
    error = prediction_error(acting, data, steps)
    assert error is not None and error.ratio == pytest.approx(ratio, abs=1e-4)
    rows = consecutive_rows(data, steps)
    assert error.trajectories == len(rows) == 10 * (13 - steps)
    moved = np.sqrt((data.displacement[rows].sum(1) ** 2).sum(1).mean())
    assert error.no_change == pytest.approx(abs(factor) * moved, rel=1e-5)
    assert error.predicted == pytest.approx(abs(1 - factor) * moved, rel=1e-4, abs=1e-3)


def test_a_collapsed_encoder_is_worse_than_any_other() -> None:
    values = equivariance_errors(Reader(0.0), HeldOut(walk()))
    assert values["equivariance_ratio_1"] == math.inf and values["equivariance_error_1"] > 0
    assert coverage(Reader(0.0), HeldOut(walk()))["latent_dimension"] == 0


def test_steps_that_no_episode_has_are_left_out() -> None:
    data = HeldOut(walk(length=6))
    assert equivariance_errors(Reader(1.0), data).keys() == {
        f"equivariance_{what}_{steps}" for what in ("error", "ratio") for steps in (1, 5)
    }
    assert hit_rates_of_data(Reader(1.0), data).keys() == {"hit_rate_1"}
    other = PredictionConfig(error_steps=(6, 7), hit_steps=(1, 2), candidates=10)
    assert equivariance_errors(Reader(1.0), data, other).keys() == {"equivariance_error_6", "equivariance_ratio_6"}
    assert hit_rates_of_data(Reader(1.0), data, other).keys() == {"hit_rate_1", "hit_rate_2"}
    acting: Any = predicting(Reader(1.0))
    assert prediction_error(acting, walk(length=6), 7) is None


def test_hits_of_an_agent_are_of_its_latent() -> None:
    data = HeldOut(walk(episodes=40))
    assert hit_rates_of_data(Reader(1.0), data)["hit_rate_10"] > 0.9
    assert hit_rates_of_data(Reader(0.0), data)["hit_rate_10"] < 0.2


def test_encoders_that_predict_nothing_have_no_errors() -> None:
    class Nameless(Reader):
        def latents(self, images: Tensor) -> dict[str, Tensor]:
            return {"other": images[:, :2, 0, 0]}

    assert predicting(Nameless(1.0)) is None
    assert (
        equivariance_errors(Nameless(1.0), HeldOut(walk())) == hit_rates_of_data(Nameless(1.0), HeldOut(walk())) == {}
    )
    whole = ClassPoseEncoder((16, 16, 3), "R2", ClassPoseConfig(backbone="strided"))
    assert predicting(whole) is whole


def test_coverage_is_of_displacements_and_latents() -> None:
    data = walk(episodes=40)
    values = coverage(Reader(2.0), HeldOut(data))
    length = np.linalg.norm(data.displacement, axis=1)
    assert values["displacement_rms"] == pytest.approx(np.sqrt((length**2).mean()))
    assert values["displacement_max"] == pytest.approx(length.max())
    low, high = np.percentile(2 * data.ground_truth["agent_pose"], (2.5, 97.5), axis=0)
    assert values["latent_range"] == pytest.approx((high - low).mean(), rel=1e-4)
    assert 1 < values["latent_dimension"] <= 2


def test_the_participation_ratio_counts_directions() -> None:
    generator = np.random.default_rng(0)
    points = generator.normal(size=(5000, 6))
    assert participation_ratio(points) == pytest.approx(6, rel=0.01)
    assert participation_ratio(points * [1, 1, 0, 0, 0, 0] + 7) == pytest.approx(2, rel=0.01)
    assert participation_ratio(points[:, :1] @ np.ones((1, 4))) == pytest.approx(1)


class Scene(AgentObjectEncoder):
    """Know the positions of agent and object of a walk along the first axis; the object is pushed, or shakes."""

    def __init__(self, agent: Points, object_: Points, config: AgentObjectConfig | None = None) -> None:
        super().__init__((4, 4, 3), "R2", config)
        self.positions = {"agent": agent.astype(np.float32), "object": object_.astype(np.float32)}

    def encode(self, observations: Any) -> dict[str, Any]:
        return self.positions


def pushes(shake: float) -> tuple[Scene, HeldOut]:
    """Return ten visits to an object at the origin that moves by 1 in the last step of each."""
    x = np.tile([-3.0, -2.0, -1.0, -0.2], 10)
    object_x = np.tile([0.0, 0.0, 0.0, 1.0], 10) + shake * np.tile([0.0, 1.0, 0.0, 1.0], 10)
    agent, object_ = (np.stack([each, np.zeros(40)], 1) for each in (x, object_x))
    start = np.arange(40).reshape(10, 4)[:, :-1].ravel()
    frames = np.zeros((40, 4, 4, 3), np.uint8)
    displacement = (agent[start + 1] - agent[start]).astype(np.float32)
    scene = Scene(agent, object_)
    scene.outline.coefficients.data.fill_(math.log(0.5))
    scene.contact_threshold.fill_(0.1)
    return scene, HeldOut(Transitions(frames, start, start + 1, displacement, "R2"))


def test_contacts_are_consistent_where_geometry_and_motion_agree() -> None:
    values = contact_consistency(*pushes(shake=0.0))
    assert values["contact_rate"] == pytest.approx(1 / 3)
    assert values["contact_consistency"] == 1 and values["object_still_ratio"] == 0
    shaken = contact_consistency(*pushes(shake=0.5))
    assert shaken["contact_rate"] == 1 and shaken["contact_consistency"] == 0
    assert shaken["object_still_ratio"] == pytest.approx(0.5 / 1.5)


def test_an_object_of_any_shape_touches_where_its_edge_is() -> None:
    """Its radius is 0.5 along its axis and 0.02 across."""
    scene, data = pushes(shake=0.0)
    longer = Scene(scene.positions["agent"], scene.positions["object"], AgentObjectConfig(object_shape="any"))
    longer.contact_threshold.fill_(0.1)
    longer.outline.order.fill_(2)
    longer.outline.coefficients.data[:2] = torch.tensor([math.log(0.1), math.log(5.0)])
    for angle, expected in ((0.0, 1.0), (math.pi / 2, 0.0)):
        double = [math.cos(2 * angle), math.sin(2 * angle)]
        longer.positions["orientation"] = np.tile(double, (40, 1)).astype(np.float32)
        assert contact_consistency(longer, data)["contact_consistency"] == pytest.approx(expected)


def test_an_object_that_turns_moves() -> None:
    scene, data = pushes(shake=0.0)
    turning = Scene(scene.positions["agent"], scene.positions["object"], AgentObjectConfig(object_shape="any"))
    turning.unit.fill_(2.0)
    turning.outline.coefficients.data.fill_(0)
    turning.outline.coefficients.data[0] = math.log(0.3)
    latents = turning.positions | {"orientation": np.tile(np.float32([1, 0]), (40, 1))}
    latents["orientation"][1::2] = [0.0, 1.0]
    moved = turning.movement(latents, data.transitions)
    still = np.linalg.norm(np.diff(scene.positions["object"], axis=0), axis=1)[data.transitions.start]
    np.testing.assert_allclose(moved, np.hypot(still, 0.6 * math.sqrt(2)), rtol=1e-5)
    turning.outline.order.fill_(3)
    moved = turning.movement(latents, data.transitions)
    np.testing.assert_allclose(moved, np.hypot(still, 0.2 * math.sqrt(2)), rtol=1e-5)


def test_contact_consistency_is_of_agent_and_object_only() -> None:
    assert contact_consistency(Reader(1.0), HeldOut(walk())) == {}
    constant = np.zeros(4, bool)
    assert cohens_kappa(constant, constant) == cohens_kappa(constant, ~constant) == 0
    assert cohens_kappa(np.array([1, 1, 0, 0], bool), np.array([1, 0, 0, 0], bool)) == pytest.approx(0.5)


def test_metrics_of_data_cannot_read_the_ground_truth() -> None:
    seen = []

    @register_ground_truth_free_metric("test-peek")
    def peek(encoder: Any, held_out: HeldOut) -> dict[str, float]:
        seen.append((dict(held_out.transitions.ground_truth), held_out.transitions.touched))
        return {"peeked": 1.0}

    try:
        values = evaluate_without_ground_truth(Reader(1.0), HeldOut(walk()))
        assert {"peeked", "hit_rate_1", "equivariance_error_1", "latent_dimension"} <= values.keys()
        assert seen == [({}, None)]
        assert "test-peek" not in METRICS
    finally:
        GROUND_TRUTH_FREE_METRICS._entries.pop("test-peek")
    data = walk()
    other = Transitions(data.frames, data.start, data.end, np.pad(data.displacement, ((0, 0), (0, 1))), "R3")
    with pytest.raises(ValueError, match="the encoder is for the group R2, the transitions have R3"):
        evaluate_without_ground_truth(Reader(1.0), HeldOut(other))


def test_positions_are_aligned_by_a_rigid_motion_only() -> None:
    generator = np.random.default_rng(0)
    target = generator.normal(size=(50, 3))
    turn = np.linalg.qr(generator.normal(size=(3, 3)))[0]
    np.testing.assert_allclose(align_rigidly(target @ turn + 3, target), target, atol=1e-12)
    assert rmse(align_rigidly(2 * target, target), target) == pytest.approx(
        rmse(target, np.zeros_like(target) + target.mean(0))
    ), "the scale is not free"


def test_the_agent_is_compared_with_its_ground_truth() -> None:
    values = agent_position(Reader(-1.0), HeldOut(walk()))
    assert values["agent_rigid_rmse"] == pytest.approx(0, abs=1e-3)
    assert values["agent_linear_r2"] == pytest.approx(1)
    assert agent_position(Reader(0.5), HeldOut(walk()))["agent_rigid_rmse"] > 1
    assert agent_position(Reader(1.0), HeldOut(make_transitions(ground_truth=False))) == {}


def test_classes_that_tell_trajectories_apart_are_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three orbits with classes at 120 degrees are apart by 1, a single class and noise by 0."""
    generator = np.random.default_rng(0)
    orbit = np.repeat(generator.integers(3, size=3000), 2)
    start = np.arange(0, 6000, 2)
    frames, moves = np.zeros((6000, 8, 8, 3), np.uint8), np.tile(np.float32([1, 0]), (3000, 1))
    data = HeldOut(Transitions(frames, start, start + 1, moves, "SO2"))
    encoder = ClassPoseEncoder((16, 16, 3), "SO2", ClassPoseConfig(backbone="strided", class_dim=2))

    def separation(angle: Any) -> float:
        classes = np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)
        monkeypatch.setattr(encoder, "encode", lambda frames: {"class": classes})
        return class_separation(encoder, data)["class_separation"]

    assert separation(2 * np.pi / 3 * orbit) == pytest.approx(1, abs=0.05)
    assert separation(0 * orbit) == pytest.approx(0, abs=1e-6)
    assert separation(generator.uniform(0, 2 * np.pi, 6000)) == pytest.approx(0, abs=0.05)
    assert class_separation(Reader(1.0), data) == {}
