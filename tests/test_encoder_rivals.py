"""Rivals of the agent–object encoder: trained on ground truth, and with the published losses."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from equiact.envs.data.minari_dataset import save_transitions
from equiact.envs.data.transitions import Transitions
from equiact.representations.baselines.published_agent_object import (
    PublishedAgentObject,
    PublishedAgentObjectConfig,
    PublishedAgentObjectLearner,
    contrastive_loss,
    otsu_threshold,
)
from equiact.representations.baselines.supervised_positions import SupervisedPositionLearner
from equiact.representations.encoders.agent_object import AgentObjectConfig, AgentObjectEncoder, AgentObjectOptimConfig
from equiact.representations.encoders.agent_object_learner import AgentObjectLearner
from equiact.representations.encoders.encoder import to_images
from equiact.representations.learning.config import ConfigError, OptimConfig, scale_steps
from equiact.representations.learning.training import train_learner
from equiact.representations.metrics.position_metrics import chance, locate, rmse
from equiact.scripts.benchmarks import agent_object_benchmark, encoder_rivals
from equiact.scripts.benchmarks.agent_object_benchmark import AgentObjectBenchmark, measure_rival
from equiact.scripts.benchmarks.encoder_rivals import rival_learner
from numpy.typing import NDArray

PIXELS = 16
SIDE = 2.0
"""Side of the arena in metres."""
CONTACT = 0.3
"""Distance in metres at which the agent takes the object with it."""


def draw(agent: NDArray[Any], object_: NDArray[Any]) -> NDArray[np.uint8]:
    """Return frames of a red agent and a green object, soft discs on black."""
    centres = SIDE * ((np.arange(PIXELS) + 0.5) / PIXELS - 0.5)
    frames = np.zeros((len(agent), PIXELS, PIXELS, 3))
    for channel, place in enumerate((agent, object_)):
        across = (centres - place[:, :1])[:, None, :] ** 2 + (centres - place[:, 1:])[:, :, None] ** 2
        frames[..., channel] = 255 * np.exp(-across / 0.05)
    return frames.astype(np.uint8)


def pushes(count: int, seed: int) -> Transitions:
    """Return transitions of an agent that takes an object with it when it comes near."""
    generator = np.random.default_rng(seed)
    agent, object_ = (generator.uniform(-0.8, 0.8, (count, 2)) for _ in range(2))
    move = generator.uniform(-0.3, 0.3, (count, 2))
    after = agent + move
    touched = np.linalg.norm(after - object_, axis=1) < CONTACT
    moved = object_ + touched[:, None] * move
    poses = np.concatenate([agent, after]), np.concatenate([object_, moved])
    return Transitions(
        draw(*poses),
        np.arange(count),
        np.arange(count) + count,
        move.astype(np.float32),
        "R2",
        {"agent_pose": poses[0].astype(np.float32), "object_pose": poses[1].astype(np.float32)},
        touched,
    )


def errors(encoder: Any, held_out: Transitions) -> tuple[float, float]:
    found = locate(encoder.eval(), held_out)
    return rmse(found.agent_predicted, found.agent), rmse(found.object_predicted, found.object)


def test_with_ground_truth_both_positions_are_found_within_seconds() -> None:
    torch.manual_seed(0)
    encoder = AgentObjectEncoder((PIXELS, PIXELS, 3), "R2")
    learner = SupervisedPositionLearner(encoder, pushes(1000, 0), steps=150)
    train_learner(learner, seed=0)
    held_out = pushes(300, 1)
    agent, object_ = errors(encoder, held_out)
    by_chance = chance(held_out, SIDE)
    assert agent < by_chance["agent_rmse"] / 4 and object_ < by_chance["object_rmse"] / 4


def test_the_supervised_loss_is_the_squared_distance_from_the_ground_truth() -> None:
    torch.manual_seed(1)
    data = pushes(20, 0)
    config = AgentObjectConfig(optim=AgentObjectOptimConfig(batch_size=3))
    encoder = AgentObjectEncoder((PIXELS, PIXELS, 3), "R2", config)
    learner = SupervisedPositionLearner(encoder, data, steps=7)
    unit = np.sqrt((data.displacement**2).sum(1).mean())
    loss, logged = learner.loss(torch.Generator().manual_seed(5))
    chosen = torch.randint(40, (6,), generator=torch.Generator().manual_seed(5)).numpy()
    latents = encoder.encode(data.frames[chosen])
    distances = [
        ((latents[name] - data.ground_truth[f"{name}_pose"][chosen]) ** 2).sum(1).mean() for name in ("agent", "object")
    ]
    assert loss.item() == pytest.approx(sum(distances) / unit**2, rel=1e-4)
    assert float(logged["agent_error"]) == pytest.approx(np.sqrt(distances[0]), rel=1e-4)
    assert float(logged["object_error"]) == pytest.approx(np.sqrt(distances[1]), rel=1e-4)
    (stage,) = learner.stages()
    assert (stage.steps, stage.batch_size, stage.learning_rate) == (7, 3, 3e-3)


def test_transitions_without_ground_truth_are_refused() -> None:
    data = pushes(4, 0)
    bare = Transitions(data.frames, data.start, data.end, data.displacement, "R2")
    with pytest.raises(ValueError, match=r"agent_pose, object_pose, they lack \['agent_pose', 'object_pose'\]"):
        SupervisedPositionLearner(AgentObjectEncoder((PIXELS, PIXELS, 3), "R2"), bare, steps=1)


@pytest.mark.parametrize("seed", range(5))
def test_otsu_maximises_the_variance_between_two_classes(seed: int) -> None:
    generator = np.random.default_rng(seed)
    values = np.concatenate([generator.normal(0, 1, 30), generator.normal(generator.uniform(1, 8), 2, 12)])

    def between(threshold: float) -> float:
        low, high = values[values <= threshold], values[values > threshold]
        return float(len(low) * len(high) * (low.mean() - high.mean()) ** 2)

    best = max(sorted(values)[:-1], key=between)
    assert float(otsu_threshold(torch.from_numpy(values))) == best


def test_the_contrast_is_the_cross_entropy_of_the_right_pair() -> None:
    generator = np.random.default_rng(0)
    before, after = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in generator.normal(size=(2, 5, 8)))
    agent = generator.normal(size=(5, 2))
    expected = []
    for i in range(5):
        far = [((before[j] - after[i]) ** 2).sum() + ((agent[j] - agent[i]) ** 2).sum() for j in range(5)]
        weights = np.exp(-np.array(far) / 0.3)
        expected.append(-np.log(weights[i] / weights.sum()))
    w, next_w, next_agent = (torch.from_numpy(each).requires_grad_() for each in (before, after, agent))
    loss = contrastive_loss(w, next_w, next_agent, 0.3)
    assert loss.item() == pytest.approx(np.mean(expected))
    torch.autograd.backward(loss)
    assert w.grad is not None and next_w.grad is None and next_agent.grad is None


def nearest(point: NDArray[Any], start: NDArray[Any], end: NDArray[Any]) -> NDArray[Any]:
    """Return the nearest of many points of a segment."""
    many = start + np.linspace(0, 1, 10_001)[:, None] * (end - start)
    return np.asarray(many[np.argmin(((many - point) ** 2).sum(1))])


def test_the_published_loss_is_the_sum_of_its_three_terms() -> None:
    """From the latents of the network, with lengths in sides of the arena."""
    torch.manual_seed(0)
    data = pushes(40, 0)
    config = PublishedAgentObjectConfig("spatial_softmax", side=SIDE, optim=OptimConfig(batch_size=12))
    network = PublishedAgentObject((PIXELS, PIXELS, 3), "R2", config)
    learner = PublishedAgentObjectLearner(network, data)
    loss, logged = learner.loss(torch.Generator().manual_seed(2))
    rows = torch.randint(40, (12,), generator=torch.Generator().manual_seed(2)).numpy()
    with torch.no_grad():
        first, second = (
            [part.double().numpy() for part in network.parts(to_images(torch.from_numpy(data.frames[index[rows]])))]
            for index in (data.start, data.end)
        )
    agent_loss = ((second[0] - first[0] - data.displacement[rows] / SIDE) ** 2).sum(1).mean()
    embedding, next_embedding, next_agent = map(torch.from_numpy, (first[1], second[1], second[0]))
    contrast = contrastive_loss(embedding, next_embedding, next_agent, 0.01)
    changed = ((first[1] - second[1]) ** 2).sum(1)
    contact = changed > float(otsu_threshold(torch.from_numpy(changed)))
    met = [((nearest(o, a, b) - o) ** 2).sum() for o, a, b in zip(first[2], first[0], second[0], strict=True)]
    stayed = ((second[2] - first[2]) ** 2).sum(1)
    contact_loss = np.array(met)[contact].mean() / 0.02 + stayed[~contact].mean() / 0.02
    assert loss.item() == pytest.approx(agent_loss + float(contrast) + contact_loss, rel=1e-3)
    assert float(logged["contacts"]) == pytest.approx(contact.mean())
    assert float(logged["agent_error"]) == pytest.approx(SIDE * np.sqrt(agent_loss), rel=1e-4)
    agent, _, object_ = first
    latents = network.encode(data.frames[data.start[rows]])
    np.testing.assert_allclose(latents["agent"], SIDE * agent, atol=1e-5)
    np.testing.assert_allclose(latents["object"], SIDE * object_, atol=1e-5)


def test_the_published_losses_find_the_agent() -> None:
    torch.manual_seed(0)
    optim = OptimConfig(steps=150, lr=3e-3, batch_size=40)
    config = PublishedAgentObjectConfig("spatial_softmax", side=SIDE, optim=optim)
    encoder = PublishedAgentObject((PIXELS, PIXELS, 3), "R2", config)
    train_learner(PublishedAgentObjectLearner(encoder, pushes(1000, 0)), seed=0)
    held_out = pushes(300, 1)
    found = locate(encoder.eval(), held_out)
    error = found.agent_predicted - found.agent
    assert rmse(error - error.mean(0), np.zeros_like(error)) < chance(held_out, SIDE)["agent_rmse"] / 4


def test_the_published_encoder_needs_translations_and_pairs() -> None:
    with pytest.raises(ValueError, match=r"translations.*'SO2'"):
        PublishedAgentObject((16, 16, 3), "SO2", PublishedAgentObjectConfig("spatial_softmax"))
    with pytest.raises(ConfigError, match="batch_size must be at least 2, got 1"):
        PublishedAgentObjectConfig(optim=OptimConfig(batch_size=1))


def test_rivals_do_as_many_updates_as_the_encoder() -> None:
    data, config = pushes(100, 0), scale_steps(AgentObjectConfig(), 0.1)
    stages = AgentObjectLearner(AgentObjectEncoder((PIXELS, PIXELS, 3), "R2", config), data).stages()
    updates = sum(stage.steps for stage in stages)
    for name in ("supervised", "as published"):
        learner: Any = rival_learner(name, config, data, SIDE, seed=0, device="cpu")
        assert [stage.steps for stage in learner.stages()] == [updates]
    published = learner.network.config
    assert (published.backbone, published.side) == (config.backbone, SIDE)
    with pytest.raises(ValueError, match="expected one of supervised, as published, got 'ours'"):
        rival_learner("ours", config, data, SIDE, seed=0, device="cpu")


def test_the_errors_of_a_rival_are_per_cent_of_the_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The predictions of the rival are known: 0.1 m off for the agent, 0.2 m for the object, to and fro."""
    sizes: list[tuple[int, int]] = []
    trained_on: list[int] = []

    def sampled(world: str, count: int, seed: int, device: str, progress: Any) -> Transitions:
        sizes.append((count, seed))
        return pushes(count, seed)

    def encode(frames: Any) -> dict[str, Any]:
        held_out = pushes(6, 7)
        sign = np.where(np.arange(len(frames)) % 2, 1.0, -1.0)[:, None]
        step = sign * np.array([1.0, 0.0])
        poses = held_out.ground_truth
        return {"agent": poses["agent_pose"] + 0.1 * step, "object": poses["object_pose"] + 0.2 * step}

    network: Any = SimpleNamespace(encode=encode)
    network.to = lambda device: network
    network.eval = lambda: network
    save_transitions(pushes(9, 7), tmp_path / "data")
    monkeypatch.setattr(agent_object_benchmark, "sample_held_out", sampled)

    def learner(name: str, config: Any, transitions: Transitions, *given: Any, **named: Any) -> Any:
        trained_on.append(len(transitions))
        return SimpleNamespace(network=network)

    monkeypatch.setattr(encoder_rivals, "rival_learner", learner)
    monkeypatch.setattr("equiact.representations.learning.training.train_learner", lambda *given, **named: None)
    benchmark = AgentObjectBenchmark(transitions=9, held_out=6)
    figures = measure_rival(
        benchmark, "supervised", 7, "cpu", tmp_path / "data", tmp_path / "checkpoint", lambda *given: None
    )
    assert figures == {
        "agent RMSE, supervised": pytest.approx(100 * 0.1 / SIDE, rel=1e-4),
        "object RMSE, supervised": pytest.approx(100 * 0.2 / SIDE, rel=1e-4),
    }
    assert sizes == [(6, 7)]
    assert trained_on == [9]
