"""The agent–object method: geometry, labels of contact, the first map of the object, and training."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from equiact.envs.data.collect import collect
from equiact.envs.data.transitions import Transitions
from equiact.envs.worlds.registry import world_class
from equiact.representations.encoders.agent_object import (
    AgentObjectConfig,
    AgentObjectEncoder,
    AgentObjectOptimConfig,
    ContrastConfig,
    ShapeConfig,
)
from equiact.representations.encoders.agent_object_learner import AgentObjectLearner
from equiact.representations.learning.callbacks import TrainingCallback, TrainingStatus
from equiact.representations.learning.config import ConfigError, scale_steps
from equiact.representations.learning.contact_labels import (
    ContactConfig,
    contact_information,
    movement_nll,
    robust_bce,
)
from equiact.representations.learning.contact_mixture import ContactMixtureConfig
from equiact.representations.learning.initial_maps import (
    ContactMapConfig,
    PositionMapConfig,
    locate_by_contacts,
    locate_by_paths,
)
from equiact.representations.learning.object_movement import movement
from equiact.representations.learning.odometry import OdometryConfig
from equiact.representations.learning.pair_sampling import PairSamplingConfig
from equiact.representations.learning.segment_geometry import distance_to_segment, nearest_on_segment
from equiact.representations.learning.shape_fit import OutlineFitConfig
from equiact.representations.learning.training import train_encoder, train_learner
from equiact.representations.metrics.position_metrics import chance, evaluate_encoder, locate, rmse
from equiact.scripts.benchmarks.data_conditions import DataCondition
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

coordinate = st.floats(-10, 10, allow_nan=False, width=32)
points = st.lists(coordinate, min_size=2, max_size=2).map(lambda xy: torch.tensor([xy], dtype=torch.float64))
laws = settings(max_examples=60, deadline=None)
NEAR = 1e-5


def distance(point: Tensor, start: Tensor, end: Tensor) -> float:
    return float(distance_to_segment(point, start, end))


@laws
@given(points, points, st.floats(0, 1))
def test_points_of_a_segment_are_on_it(start: Tensor, end: Tensor, share: float) -> None:
    point = start + share * (end - start)
    assert distance(point, start, end) < NEAR
    torch.testing.assert_close(nearest_on_segment(point, start, end), point, atol=NEAR, rtol=0)


@laws
@given(points, points, points)
def test_a_segment_has_no_direction(point: Tensor, start: Tensor, end: Tensor) -> None:
    assert distance(point, start, end) == pytest.approx(distance(point, end, start), abs=NEAR)


@laws
@given(points, points, points, points, st.floats(-4, 4))
def test_distance_does_not_change_with_a_motion(
    point: Tensor, start: Tensor, end: Tensor, shift: Tensor, angle: float
) -> None:
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
    moved = (x @ rotation.T + shift for x in (point, start, end))
    assert distance(*moved) == pytest.approx(distance(point, start, end), abs=NEAR)


@laws
@given(points, points, points, st.floats(0, 1))
def test_no_point_of_a_segment_is_nearer(point: Tensor, start: Tensor, end: Tensor, share: float) -> None:
    other = start + share * (end - start)
    assert distance(point, start, end) <= float((point - other).norm()) + NEAR
    nearest = nearest_on_segment(point, start, end)
    assert distance(nearest, start, end) < NEAR
    assert distance(point, start, end) == pytest.approx(float((point - nearest).norm()), abs=NEAR)


@laws
@given(points, points)
def test_a_segment_may_be_a_point(point: Tensor, end: Tensor) -> None:
    assert distance(point, end, end) == pytest.approx(float((point - end).norm()), abs=NEAR)


def test_distances_of_a_batch_have_finite_gradients_even_at_zero() -> None:
    centre = torch.zeros(3, 2, requires_grad=True)
    start, end = torch.tensor([[0.0, 0], [-1, 0], [2, 0]]), torch.tensor([[0.0, 0], [1, 0], [3, 4]])
    found = distance_to_segment(centre, start, end)
    torch.testing.assert_close(found, torch.tensor([0.0, 0.0, 2.0]), atol=NEAR, rtol=0)
    found.sum().backward()
    assert centre.grad is not None
    assert torch.isfinite(centre.grad).all()


def test_the_loss_of_a_label_is_bounded() -> None:
    logits = torch.linspace(-200, 200, 4001)
    values = robust_bce(logits, 0.01)
    assert torch.isfinite(values).all()
    assert values.min() >= 0
    assert values.max() <= -np.log(0.01) + 1e-4
    assert (values.diff() <= 1e-6).all(), "a likelier label must not cost more"
    assert float(robust_bce(torch.tensor(0.0), 0.01)) == pytest.approx(np.log(2), abs=1e-6)
    assert float(robust_bce(torch.tensor(200.0), 0.01)) == pytest.approx(-np.log(0.99), abs=1e-5)


@pytest.mark.parametrize(("predicted", "evident"), [(0.3, 0.8), (0.9, 0.9), (0.5, 0.2)])
def test_the_likelihood_of_a_movement_is_that_of_both_cases(predicted: float, evident: float) -> None:
    found = movement_nll(torch.logit(torch.tensor(predicted)), torch.logit(torch.tensor(evident)), 0.01)
    expected = -np.log(predicted * evident + (1 - predicted) * (1 - evident))
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_the_likelihood_of_a_movement_is_bounded() -> None:
    logits, sure = torch.linspace(-200, 200, 4001), torch.tensor(1e3)
    values = movement_nll(logits, sure, 0.01)
    torch.testing.assert_close(values, robust_bce(logits, 0.01))
    torch.testing.assert_close(movement_nll(-logits, -sure, 0.01), values)


def test_information_is_that_of_independent_bins() -> None:
    """Whether the nearest twentieth of 2,000 moves tells its bin of the distance: the entropy of that bin."""
    distance = torch.rand(2000, generator=torch.Generator().manual_seed(0))
    near = (distance.argsort().argsort() < 100).float()
    entropy = -(0.05 * np.log2(0.05) + 0.95 * np.log2(0.95))
    assert contact_information(near, distance) == pytest.approx(entropy, rel=1e-6)
    assert contact_information(5 * near + 1, distance.exp()) == pytest.approx(entropy, rel=1e-6), "ranks matter only"
    shuffled = torch.randperm(2000, generator=torch.Generator().manual_seed(1))
    assert contact_information(near[shuffled], distance[shuffled]) == pytest.approx(entropy, rel=1e-6)


@pytest.mark.parametrize("share", [0.005, 0.05, 0.3, 0.7])
def test_contacts_tell_more_than_chance_however_many_there_are(share: float) -> None:
    generator = torch.Generator().manual_seed(0)
    distance, noise = torch.rand(2, 6000, generator=generator)
    contact = distance < share
    moved_by = 0.1 * noise + contact
    by_chance = contact_information(moved_by[torch.randperm(6000, generator=generator)], distance)
    assert contact_information(moved_by, distance) > 0.02 + by_chance
    assert by_chance < 0.03


def test_constant_movements_and_distances_tell_nothing() -> None:
    varied, constant = torch.linspace(0, 1, 50), torch.zeros(50)
    for pair in ((varied, constant), (constant, varied), (constant, constant), (varied[:1], varied[:1])):
        assert contact_information(*pair) == pytest.approx(0)
    assert contact_information(torch.empty(0), torch.empty(0)) == 0


def test_movements_are_between_the_means_of_the_frames_before_and_after() -> None:
    """Two trajectories, of four frames and of two, in which the numbers are easy."""
    state = torch.tensor([[0.0, 0], [2, 0], [4, 3], [6, 3], [1, 1], [1, 4]])
    start, end = torch.tensor([4, 0, 1, 2]), torch.tensor([5, 1, 2, 3])
    single = [3.0, 2.0, np.hypot(2, 3), 2.0]
    torch.testing.assert_close(movement(state, start, end), torch.tensor(single, dtype=torch.float32))
    found = movement(state, start, end, window=2)
    before_and_after = torch.tensor(
        [
            3.0 / np.sqrt(2),
            float((state[1:3].mean(0) - state[0]).norm()) / np.sqrt(1.5),
            float((state[2:4].mean(0) - state[0:2].mean(0)).norm()),
            float((state[3] - state[1:3].mean(0)).norm()) / np.sqrt(1.5),
        ],
        dtype=torch.float32,
    )
    torch.testing.assert_close(found, before_and_after)
    whole = movement(state, start, end, window=9)
    assert float(whole[2]) == pytest.approx(float((state[2:4].mean(0) - state[0:2].mean(0)).norm()))
    assert float(whole[1]) == pytest.approx(float((state[1:4].mean(0) - state[0]).norm()) / np.sqrt(4 / 3))


def test_the_noise_of_a_movement_is_the_same_wherever_a_trajectory_ends() -> None:
    """The mean of two frames against the mean of two has the noise of one against one, after the divisor."""
    generator = torch.Generator().manual_seed(0)
    state, frames = torch.randn(4000 * 4, 1, generator=generator), torch.arange(4000 * 4).reshape(4000, 4)
    start, end = frames[:, :-1].flatten(), frames[:, 1:].flatten()
    found = movement(state, start, end, window=4).reshape(4000, 3)
    torch.testing.assert_close(found.square().mean(0), torch.ones(3), atol=0.08, rtol=0)


def affine_r2(found: np.ndarray[Any, Any], true: np.ndarray[Any, Any]) -> float:
    design = np.concatenate([found, np.ones((len(found), 1))], 1)
    residual = true - design @ np.linalg.lstsq(design, true, rcond=None)[0]
    return float(1 - (residual**2).sum() / ((true - true.mean(0)) ** 2).sum())


def pushed_point(seed: int, count: int, approach: float) -> tuple[Any, Any, Any, Any]:
    """Let agents move at random, or towards a point that jumps when it is met.

    Returns:
        Positions of the agent and of the point, and noisy, slightly bent coordinates in the image of things on it, a
        row for each of ``count + 1`` frames; and whether each transition meets it.
    """
    generator = np.random.default_rng(seed)
    radius, step = 0.3, 1.0
    agent, object_ = np.zeros((count + 1, 2)), np.zeros((count + 1, 2))
    met = np.zeros(count, bool)
    for i in range(count):
        to_object = object_[i] - agent[i]
        near = generator.random() < approach
        aim = to_object + generator.normal(0, 0.5, 2) if near else generator.normal(0, step, 2)
        agent[i + 1] = np.clip(agent[i] + aim * min(1, step / np.linalg.norm(aim)), -3, 3)
        path = (torch.tensor(x[None]) for x in (object_[i], agent[i], agent[i + 1]))
        met[i] = distance_to_segment(*path) < radius
        push = generator.normal(0, 0.6, 2) if met[i] else 0.0
        object_[i + 1] = np.clip(object_[i] + push, -2.5, 2.5)
    seen = np.tanh(0.1 * object_ @ generator.normal(size=(2, 8)))
    return agent, object_, seen + generator.normal(0, 0.01, seen.shape), met


@pytest.mark.parametrize("seed", range(3))
def test_paths_locate_an_object_that_is_known_in_no_coordinates(seed: int) -> None:
    """Agents walk at random, a point jumps when it is met, and of the contacts three in ten are wrong."""
    agent, object_, embedding, met = pushed_point(seed, 6000, approach=0.5)
    generator = np.random.default_rng(seed)
    called = met.copy()
    called[generator.choice(np.flatnonzero(~met), round(met.sum() * 3 / 7), replace=False)] = True
    assert 0.25 < 1 - met[called].mean() < 0.35
    start = torch.arange(len(met))
    places = torch.tensor(agent, dtype=torch.float32)
    found = locate_by_paths(
        torch.tensor(embedding, dtype=torch.float32),
        start,
        start + 1,
        places[start],
        places[start + 1],
        torch.tensor(called),
    )
    assert found.shape == (len(agent), 1, 2)
    assert affine_r2(found[:, 0].numpy(), object_) > 0.9
    assert affine_r2(agent, object_) < 0.85, "the agent's place alone must not do"


@pytest.mark.parametrize(("approach", "rarest", "commonest"), [(0.0, 0.01, 0.02), (0.9, 0.35, 1.0)])
def test_the_first_map_is_found_whatever_the_share_of_contacts(
    approach: float, rarest: float, commonest: float
) -> None:
    agent, object_, embedding, met = pushed_point(0, 6000, approach)
    assert rarest < met.mean() < commonest
    count = len(met)
    frames = np.zeros((count + 1, 8, 8, 3), np.uint8)
    moved = (agent[1:] - agent[:-1]).astype(np.float32)
    data = Transitions(frames, np.arange(count), np.arange(1, count + 1), moved, "R2")
    contact = ContactConfig(contact_map=ContactMapConfig(steps=60))
    encoder = AgentObjectEncoder((8, 8, 3), "R2", AgentObjectConfig(contact=contact))
    learner = AgentObjectLearner(encoder, data)
    learner.agent[:] = torch.tensor(agent) / learner.network.unit
    learner._over_frames = lambda function: torch.tensor(embedding, dtype=torch.float32)  # type: ignore[method-assign]
    learner._locate_by_embedding()
    assert affine_r2(learner.target_position.numpy(), object_) > 0.9
    learner.label_contacts(learner.target_position)
    called = (learner.contact > 0.5).numpy()
    assert met[called].mean() > 0.7, "most labels are right"
    assert called[met].mean() > 0.05, "some contacts are labelled"


def test_first_positions_minimise_the_stated_loss() -> None:
    """The gradient of Σ log(1 + d²/ρ²) + ½ Σ log(1 + ‖z' − z‖²/ρ²) + λ‖M‖²/ρ² vanishes at the positions found."""
    generator = torch.Generator().manual_seed(0)
    embedding = torch.randn(40, 2, generator=generator, dtype=torch.float64)
    agent, after = torch.randn(2, 39, 2, generator=generator, dtype=torch.float64)
    start, contact = torch.arange(39), torch.rand(39, generator=generator) < 0.5
    config = PositionMapConfig(scale=0.4, iterations=2000, ridge=0.1)
    found = locate_by_paths(embedding, start, start + 1, agent, after, contact, config)[:, 0]

    scaled = (embedding - embedding.mean(0)) / embedding.std(0)
    features = torch.cat([torch.ones(40, 1, dtype=torch.float64), scaled], 1)
    solution = (torch.linalg.pinv(features) @ found).requires_grad_()
    place = features @ solution
    path = distance_to_segment(place[:-1][contact], agent[contact], after[contact]).square()
    moved = (place[1:] - place[:-1]).square().sum(1)
    still = 0.5 * torch.log1p(moved / 0.4**2).sum()
    loss = torch.log1p(path / 0.4**2).sum() + still + 0.1 * solution.square().sum() / 0.4**2
    (gradient,) = torch.autograd.grad(loss, solution)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-4, rtol=0)


def test_a_loss_of_contact_corrects_positions_that_are_too_close_together() -> None:
    """The first positions are half of the true ones; a loss with its minimum at the true ones is given."""
    generator = torch.Generator().manual_seed(0)
    embedding = functional.normalize(torch.randn(500, 4, generator=generator), dim=1)
    true = embedding[:, :2] * 2 + embedding[:, 1:3] - 1

    def loss(position: Tensor, log_radius: Tensor, log_softness: Tensor) -> Tensor:
        return (position - true).pow(2).mean() + (log_radius - 1).pow(2) + (log_softness + 2).pow(2)

    start = torch.zeros(()), torch.zeros(())
    found, log_radius, log_softness = locate_by_contacts(embedding, true / 2, loss, *start)
    assert float((found - true).norm(dim=1).mean() / true.norm(dim=1).mean()) < 0.02
    assert (float(log_radius), float(log_softness)) == pytest.approx((1, -2), abs=0.02)
    ridge = ContactMapConfig(ridge=1e6)
    kept, _, _ = locate_by_contacts(embedding, true / 2, loss, *start, ridge)
    torch.testing.assert_close(kept, true / 2, atol=0.01, rtol=0)
    dependent = torch.cat([embedding, embedding], 1)  # with such columns some solvers differ from run to run
    runs = [locate_by_contacts(dependent, true / 2, loss, *start)[0] for _ in range(5)]
    assert all(torch.equal(each, runs[0]) for each in runs)


def test_the_scale_of_first_positions_is_above_zero() -> None:
    for scale in (0.0, -1.0):
        with pytest.raises(ConfigError, match="scale"):
            PositionMapConfig(scale=scale)


def test_groups_that_are_not_translations_are_refused() -> None:
    with pytest.raises(ValueError, match=r"translations.*'SO2'"):
        AgentObjectEncoder((32, 32, 3), "SO2")
    with pytest.raises(ValueError, match=r"plane.*'R3'"):
        AgentObjectEncoder((32, 32, 3), "R3", AgentObjectConfig(object_shape="any"))
    with pytest.raises(ValueError, match=r"unknown backbone 'vgg'.*resnet18.*spatial_softmax"):
        AgentObjectEncoder((32, 32, 3), "R2", AgentObjectConfig(backbone="vgg"))


def blank_transitions(shape: tuple[int, int, int] = (32, 32, 3), group: str = "R2") -> Transitions:
    return Transitions(
        frames=np.zeros((3, *shape), np.uint8),
        start=np.arange(2),
        end=np.arange(1, 3),
        displacement=np.full((2, int(group[1:])), 0.5, np.float32),
        group=group,
    )


def test_the_agent_is_learned_over_one_step_and_over_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scale that is wrong by a tenth: an error of a tenth of a step, and of k tenths between frames k steps apart."""
    count, step = 4, np.array([0.3, 0.4], np.float32)
    frames = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 8, 8, 3)).copy()
    moved = np.tile(step, (count - 1, 1))
    data = Transitions(frames, np.arange(count - 1), np.arange(1, count), moved, "R2")
    config = AgentObjectConfig(odometry=OdometryConfig(largest_bias=0))
    learner = AgentObjectLearner(AgentObjectEncoder((8, 8, 3), "R2", config), data)
    assert float(learner.network.unit) == pytest.approx(0.5)

    def locate_agent(images: Tensor) -> Tensor:
        return 1.1 * 255 * images[:, 0, 0, :1] * torch.tensor(step) / learner.network.unit

    monkeypatch.setattr(learner.network, "locate_agent", locate_agent)
    single, _ = learner.agent_loss(torch.Generator().manual_seed(0))
    loss, logged = learner.far_agent_loss(torch.Generator().manual_seed(0))
    far = (3 * 1 + 2 * 4 + 1 * 9) / 6  # mean of k² over all pairs of four frames
    assert float(single) == pytest.approx(0.01, rel=1e-3)
    assert float(loss) == pytest.approx(0.01 * (1 + far), rel=1e-3)
    assert float(logged["agent_error"]) == pytest.approx(0.05, rel=1e-3)
    assert float(logged["agent_error_far"]) == pytest.approx(0.05 * far**0.5, rel=1e-3)
    assert [stage.loss for stage in learner.stages()[:2]] == [learner.agent_loss, learner.far_agent_loss]


def test_far_displacements_are_corrected_by_lag_and_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    """Displacements late by a step and with a bias: an encoder that knows the truth has no error."""
    position = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    moved = np.diff(position, axis=0)
    late = np.concatenate([np.zeros((1, 2), np.float32), moved[:-1]]) + np.float32([0.06, -0.04])
    frames = np.broadcast_to(np.arange(200, dtype=np.uint8)[:, None, None, None], (200, 8, 8, 3)).copy()
    learner = AgentObjectLearner(
        AgentObjectEncoder((8, 8, 3), "R2"), Transitions(frames, np.arange(199), np.arange(1, 200), late, "R2")
    )

    def locate_agent(images: Tensor) -> Tensor:
        return torch.tensor(position)[(255 * images[:, 0, 0, 0]).round().long()] / learner.network.unit

    monkeypatch.setattr(learner.network, "locate_agent", locate_agent)
    begin = learner.stages()[1].begin
    assert begin is not None
    with pytest.warns(UserWarning, match="too late"):
        begin()
    loss, logged = learner.far_agent_loss(torch.Generator().manual_seed(0))
    assert float(logged["agent_error_far"]) == pytest.approx(0, abs=1e-2)
    assert float(loss) == pytest.approx(0, abs=1e-3)
    assert float(logged["odometry_lag"]) == 1
    assert float(logged["odometry_bias"]) == pytest.approx(np.hypot(0.06, 0.04), abs=1e-3)


def test_the_longest_displacement_is_that_of_the_configuration() -> None:
    pairs, odometry = PairSamplingConfig(views=2, longest_trajectory=1), OdometryConfig(largest_bias=0)
    data, config = blank_transitions(), AgentObjectConfig(pairs=pairs, odometry=odometry)
    learner = AgentObjectLearner(AgentObjectEncoder((32, 32, 3), "R2", config), data)
    loss, logged = learner.far_agent_loss(torch.Generator().manual_seed(0))
    assert float(logged["agent_error_far"]) == pytest.approx(np.sqrt(0.5)), "one step, as all frames look the same"
    assert loss.item() == pytest.approx(2.0)


def test_learner_takes_only_transitions_that_fit() -> None:
    encoder = AgentObjectEncoder((32, 32, 3), "R2")
    with pytest.raises(ValueError, match=r"R2.*R3"):
        AgentObjectLearner(encoder, blank_transitions(group="R3"))
    with pytest.raises(ValueError, match=r"\(32, 32, 3\).*\(16, 32, 3\)"):
        AgentObjectLearner(encoder, blank_transitions(shape=(16, 32, 3)))


def test_lengths_are_in_units_of_the_data() -> None:
    encoder = AgentObjectEncoder((32, 32, 3), "R2")
    AgentObjectLearner(encoder, blank_transitions())
    assert float(encoder.unit) == pytest.approx(np.sqrt(0.5))
    assert encoder.reach == pytest.approx(0.6 * np.sqrt(0.5))


@pytest.mark.parametrize("shape", ["round", "any"])
def test_stages_follow_the_configuration(shape: str) -> None:
    def stages(config: AgentObjectConfig) -> Any:
        return AgentObjectLearner(AgentObjectEncoder((32, 32, 3), "R2", config), blank_transitions()).stages()

    whole, tenth = (stages(scale_steps(AgentObjectConfig(object_shape=shape), factor)) for factor in (1, 0.1))
    at_last = [800] if shape == "round" else [900, 500, 500]
    assert [stage.steps for stage in whole] == [1000, 1000, 700, 800, 800, 800, *at_last]
    assert [stage.steps for stage in tenth] == [stage.steps // 10 for stage in whole]
    last = ["contact, last"] if shape == "round" else ["orient", "outline", "outline, again"]
    names = ["agent", "agent, far", "contrast", "locate", "contact", "contact, again", *last]
    assert [stage.name for stage in whole] == names
    optim = AgentObjectOptimConfig(lr=0.1, refinement_lr=0.2, batch_size=5, contrast_batch_size=6)
    other = stages(AgentObjectConfig(optim=optim))
    assert [stage.learning_rate for stage in other] == [0.1, 0.1, 0.1, 0.1, 0.1, 0.2, 0.2]
    assert [stage.batch_size for stage in other] == [5, 5, 6, 5, 5, 5, 5]


@pytest.mark.parametrize(
    "make",
    [
        lambda: ContactConfig(initial_shares=(0.1, 0.0)),
        lambda: ContactConfig(initial_shares=()),
        lambda: ContactConfig(window=0),
        lambda: ContactConfig(label_error=0.6),
        lambda: ContactConfig(still_weight=-1.0),
        lambda: ContactConfig(stay_weight=-1.0),
        lambda: ContactConfig(min_softness=float("nan")),
        lambda: ContrastConfig(temperature=0.0),
        lambda: ContactMixtureConfig(near=0.0),
        lambda: ContactMixtureConfig(smallest_prior=0.5),
        lambda: ShapeConfig(crop_side=8),
        lambda: ShapeConfig(rest_below=1.0),
        lambda: ContactMapConfig(steps=0),
        lambda: OutlineFitConfig(rounds=0),
        lambda: AgentObjectOptimConfig(agent_steps=0),
    ],
)
def test_values_out_of_range_are_refused(make: Any) -> None:
    with pytest.raises(ConfigError, match=r"must be .*, got"):
        make()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")
def test_every_stage_runs_on_a_gpu() -> None:
    encoder = train_encoder(soccer(300, 0, 32), scale_steps(AgentObjectConfig(), 0.002), device="cuda")
    assert all(parameter.is_cuda for parameter in encoder.parameters())


def soccer(count: int, seed: int, resolution: int) -> Transitions:
    worlds = gym.make_vec("equiact/Soccer-v0", num_envs=16, resolution=(resolution, resolution), device="cpu")
    return collect(worlds, count, seed)


def agent_error(encoder: AgentObjectEncoder, transitions: Transitions) -> float:
    """Error of the agent up to its own translation: before the object is learned there is no common one."""
    positions = locate(encoder.eval(), transitions)
    error = positions.agent_predicted - positions.agent
    return rmse(error - error.mean(0), np.zeros_like(error))


def test_the_agent_is_found_within_seconds_although_displacements_are_late_and_biased() -> None:
    torch.manual_seed(0)
    optim = AgentObjectOptimConfig(
        agent_steps=300, far_agent_steps=100, contrast_steps=1, locate_steps=1, contact_steps=1
    )
    contact = ContactConfig(contact_map=ContactMapConfig(steps=1))
    config = AgentObjectConfig(optim=optim, contact=contact)
    encoder, held_out = AgentObjectEncoder((32, 32, 3), "R2", config), soccer(300, 1, 32)
    untrained = agent_error(encoder, held_out)
    learner = AgentObjectLearner(encoder.train(), DataCondition(bias=0.03, lag=1).apply(soccer(1500, 0, 32), seed=0))
    with pytest.warns(UserWarning, match=r"recorded 1 step\(s\) too late"):
        train_learner(learner, seed=0)
    assert agent_error(encoder, held_out) < untrained / 5


@pytest.mark.slow
def test_agent_and_object_are_found_from_random_actions() -> None:
    """Three in a hundred transitions touch the object."""
    torch.manual_seed(0)
    config, held_out = scale_steps(AgentObjectConfig(), 0.5), soccer(1000, 1, 64)
    encoder = AgentObjectEncoder((64, 64, 3), "R2", config)
    learner = AgentObjectLearner(encoder, soccer(6000, 0, 64))
    side = world_class("Soccer").arena_side
    references = [evaluate_encoder(encoder.eval(), held_out, side), chance(held_out, side)]
    train_learner(learner, seed=0)
    result = evaluate_encoder(encoder.eval(), held_out, side)
    assert result["agent_rmse_pct"] < 2
    assert result["object_rmse_pct"] < 5
    for reference in references:
        assert result["agent_rmse"] < reference["agent_rmse"] / 5
        assert result["object_rmse"] < reference["object_rmse"] / 5


def test_training_resumes_with_images_in_channels_last_memory(tmp_path: Path) -> None:
    """A checkpoint holds Adam's state of channels-last weights, which is not contiguous."""
    generator = np.random.default_rng(0)
    frames = generator.integers(0, 255, (40, 16, 16, 3), dtype=np.uint8)
    transitions = Transitions(
        frames, np.arange(39), np.arange(1, 40), generator.normal(size=(39, 2)).astype(np.float32), "R2"
    )

    class Stop(TrainingCallback):
        def on_update(self, status: TrainingStatus) -> None:
            if status.done == 3:
                raise KeyboardInterrupt

    def weights(*callbacks: TrainingCallback, checkpoint: Path | None = tmp_path / "checkpoint") -> Any:
        torch.manual_seed(0)
        encoder = AgentObjectEncoder((16, 16, 3), "R2", scale_steps(AgentObjectConfig(), 0.003))
        train_learner(AgentObjectLearner(encoder, transitions), seed=0, checkpoint=checkpoint, callbacks=callbacks)
        return encoder.state_dict()

    with pytest.raises(KeyboardInterrupt):
        weights(Stop())
    resumed, whole = weights(), weights(checkpoint=None)
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


@pytest.mark.parametrize("evident", [0.05, 0.25, 0.9])
def test_the_contact_loss_has_all_its_terms(evident: float) -> None:
    """One transition with known states: its likelihood, the movement of an object at rest, and the agent that stays.

    The agent goes from (0, 0) to (2, 0); the object is at (1, 1.5) before and at (1, 2.5) after. The segment is 1.5
    from the object, and the agent that stays at (2, 0) is √(1 + 2.5²) from it.
    """
    radius, softness, wrong = 1.25, 0.5, 0.02
    contact = ContactConfig(label_error=wrong, still_weight=4.0, stay_weight=0.7)
    encoder = AgentObjectEncoder((8, 8, 3), "R2", AgentObjectConfig(contact=contact))
    moved = np.array([[2.0, 0.0]], np.float32)
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    frames[1] = 255
    learner = AgentObjectLearner(encoder, Transitions(frames, np.array([0]), np.array([1]), moved, "R2"))
    learner.agent[:] = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    learner.contact.fill_(0.3)
    learner.evidence.fill_(np.log(evident / (1 - evident)))
    with torch.no_grad():
        encoder.outline.coefficients.fill_(np.log(radius))
        encoder.log_softness.fill_(np.log(softness))

    def locate(images: Tensor) -> Tensor:
        """Read from the brightness which of the two states it is."""
        return torch.tensor([[1.0, 1.5], [1.0, 2.5]])[(images.mean((1, 2, 3)) > 0.5).long()]

    encoder.locate_roughly = locate  # type: ignore[method-assign]
    value, shown = learner.contact_loss(torch.Generator().manual_seed(0))
    assert float(shown["contacts"]) == pytest.approx(0.3)
    touching = 1 / (1 + np.exp(-(radius - 1.5) / softness))
    staying = (radius - np.sqrt(1 + 2.5**2)) / softness
    likelihood = touching * evident + (1 - touching) * (1 - evident)
    apart = (1 - touching) * (1 - evident) / likelihood
    expected = -np.log(likelihood) + 4.0 * apart * 1.0 + 0.7 * np.log1p(np.exp(staying))
    assert float(value.detach()) == pytest.approx(expected, rel=1e-5)
