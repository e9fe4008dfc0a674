"""Several objects: first maps of all of them together, stages for each, and evidence of the one with the least."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from equiact.envs.data.transitions import Transitions
from equiact.representations.encoders.agent_object import AgentObjectEncoder, AgentObjectOptimConfig
from equiact.representations.encoders.agent_object_learner import AgentObjectLearner
from equiact.representations.encoders.agent_objects import (
    AgentObjectsConfig,
    AgentObjectsEncoder,
    encoders_of_objects,
)
from equiact.representations.encoders.agent_objects_learner import AgentObjectsLearner
from equiact.representations.encoders.encoder import load_encoder
from equiact.representations.learning.config import ConfigError, scale_steps
from equiact.representations.learning.initial_maps import locate_by_paths
from equiact.representations.learning.segment_geometry import distance_to_segment
from equiact.representations.learning.training import train_encoder
from equiact.representations.metrics import object_evidence as evidence
from equiact.representations.metrics.registry import HeldOut
from equiact.scripts.benchmarks.drawn_scenes import SCENES
from equiact.scripts.reports.latent_drawings import latent_planes
from scipy.optimize import linear_sum_assignment


def pushed_points(seed: int, objects: int, count: int = 6000) -> tuple[Any, Any, Any, Any]:
    """Let an agent move at random among points, of which those jump that it meets.

    Returns:
        Positions of the agent and of the points ``(count + 1, objects, 2)``, noisy coordinates in the image of things
        on them and elsewhere, and whether each transition meets each point.
    """
    generator = np.random.default_rng(seed)
    agent, places = np.zeros((count + 1, 2)), np.zeros((count + 1, objects, 2))
    places[0] = generator.uniform(-2, 2, (objects, 2))
    met = np.zeros((count, objects), bool)
    for step in range(count):
        agent[step + 1] = np.clip(agent[step] + generator.normal(0, 1.0, 2), -3, 3)
        path = torch.tensor(agent[step])[None], torch.tensor(agent[step + 1])[None]
        met[step] = distance_to_segment(torch.tensor(places[step]), *path) < 0.5
        push = generator.normal(0, 0.8, (objects, 2)) * met[step, :, None]
        places[step + 1] = np.clip(places[step] + push, -2.5, 2.5)
    on_objects = [places[:, each] @ generator.normal(size=(2, 4)) for each in range(objects)]
    seen = np.concatenate([*on_objects, agent @ generator.normal(size=(2, 2)), 0 * agent], 1)
    seen = seen[:, generator.permutation(seen.shape[1])]
    return agent, places, seen + generator.normal(0, 0.05, seen.shape), met


def errors(found: np.ndarray[Any, Any], true: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the root-mean-square errors ``(K,)`` of positions ``(F, K, n)``, whatever their order."""
    apart = np.sqrt(np.square(found[:, :, None] - true[:, None]).sum(-1).mean(0))
    return np.asarray(apart[linear_sum_assignment(apart)])


@pytest.mark.parametrize("objects", [1, 2, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_paths_locate_objects_of_which_nobody_tells_which_was_met(objects: int, seed: int) -> None:
    agent, places, seen, met = pushed_points(seed, objects)
    start, ends = torch.arange(len(met)), torch.tensor(agent)
    called = met.any(1)
    called[np.random.default_rng(seed).choice(np.flatnonzero(~called), called.sum() // 4, replace=False)] = True
    found = locate_by_paths(
        torch.tensor(seen), start, start + 1, ends[:-1], ends[1:], torch.tensor(called), objects=objects
    )
    assert found.shape == (len(agent), objects, 2)
    chance = places.std(0).mean() * np.sqrt(2)
    assert (errors(found.numpy(), places) < 0.35 * chance).all()


def learner(objects: int = 3) -> AgentObjectsLearner:
    frames = np.random.default_rng(0).integers(0, 255, (41, 16, 16, 3)).astype(np.uint8)
    moved = np.random.default_rng(1).normal(size=(40, 2)).astype(np.float32)
    data = Transitions(frames, np.arange(40), np.arange(1, 41), moved, "R2")
    encoder = AgentObjectsEncoder((16, 16, 3), "R2", scale_steps(AgentObjectsConfig(objects=objects), 0.001))
    return AgentObjectsLearner(encoder, data)


def test_every_object_has_its_stages_after_those_of_the_agent() -> None:
    names = [stage.name for stage in learner(2).stages()]
    contact = ["contact", "contact, again", "contact, last"]
    own = [f"object {index}, {name}" for index in (1, 2) for name in ("locate", *contact)]
    assert names == ["agent", "agent, far", "contrast", *own]


def test_every_object_starts_from_its_map_and_with_the_agent_that_was_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    training, places = learner(), torch.randn(41, 3, 2, generator=torch.Generator().manual_seed(0))
    given: dict[AgentObjectLearner, torch.Tensor] = {}
    monkeypatch.setattr(AgentObjectLearner, "find_objects", lambda self, points, count: places[:, :count])
    monkeypatch.setattr(AgentObjectLearner, "start_from", lambda self, points, position: given.update({self: position}))
    for stage in training.stages():
        stage.begin()
    images, first = torch.rand(2, 3, 16, 16), training.network.part(0)
    parts: Any = training.parts
    for index, part in enumerate(parts):
        torch.testing.assert_close(given[part], places[:, index])
        torch.testing.assert_close(part.agent, parts[0].agent)
        torch.testing.assert_close(part.network.locate_agent(images), first.locate_agent(images))
    assert parts[0].agent.std() > 0


def test_objects_are_found_with_the_points_of_the_embedding() -> None:
    training: Any = learner(2)
    for stage in training.stages():
        stage.begin()
    assert torch.isfinite(training.maps).all() and training.maps.std() > 0
    for index, part in enumerate(training.parts):
        assert torch.isfinite(part.target_position).all(), index


def test_latents_are_saved_and_loaded(tmp_path: Any) -> None:
    encoder = AgentObjectsEncoder((16, 16, 3), "R3", AgentObjectsConfig(objects=3)).eval()
    images = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3)).astype(np.uint8)
    latents = encoder.encode(images)
    assert list(latents) == ["agent", "object_1", "object_2", "object_3"]
    assert encoder.encode_flat(images).shape == (4, encoder.latent_dim) == (4, 12)
    encoder.save(tmp_path / "encoder")
    again = load_encoder(tmp_path / "encoder").encode(images)
    assert all(np.array_equal(again[name], latent) for name, latent in latents.items())
    for index in range(3):
        part = encoder.part(index).encode(images)
        np.testing.assert_array_equal(part["object"], latents[f"object_{index + 1}"])


def test_the_evidence_is_that_of_the_object_with_the_least(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = AgentObjectsEncoder((16, 16, 3), "R2", AgentObjectsConfig(objects=3))
    assert encoders_of_objects(encoder) == [encoder.part(index) for index in range(3)]
    assert encoders_of_objects(encoder.part(1)) == [encoder.part(1)] and encoders_of_objects("else") == []
    shares = {encoder.part(0): 0.9, encoder.part(1): 0.2, encoder.part(2): 0.95}

    def evidence_of(part: AgentObjectEncoder, *given: Any) -> dict[str, float]:
        return {"object_evidence": shares[part], "object_evidence_p": 0.0} if shares[part] else {"passages_met": 3.0}

    monkeypatch.setattr(evidence, "_evidence", evidence_of)
    monkeypatch.setattr(evidence, "objects_apart", lambda *given: 3.0)
    held_out: Any = HeldOut
    assert evidence.object_evidence(encoder, held_out)["object_evidence"] == 0.2
    shares[encoder.part(0)] = 0.0
    few = evidence.object_evidence(encoder, held_out)
    assert few == {"passages_met": 3.0, "objects_apart": 3.0}, "too few passages of one object"


@pytest.mark.parametrize(("shift", "apart"), [(0.1, 0.25), (2.0, 5.0)])
def test_an_object_that_is_seen_twice_is_said(shift: float, apart: float) -> None:
    encoder = AgentObjectsEncoder((16, 16, 3), "R2", AgentObjectsConfig(objects=3))
    for index, radius in enumerate((0.4, 0.4, 0.8)):
        encoder.part(index).outline.coefficients.data[0] = np.log(radius)
    place = np.random.default_rng(0).normal(size=(50, 2))
    latents = {"object_1": place, "object_2": place + np.array([0, shift]), "object_3": place + np.array([9.0, 0])}
    encoder.encode = lambda frames: latents  # type: ignore[method-assign, assignment, return-value]
    data: Any = SimpleNamespace(transitions=SimpleNamespace(frames=None))
    found = evidence.objects_apart(encoder, data)
    assert found == pytest.approx(apart)
    good = {"object_evidence": 0.95, "object_evidence_p": 1e-9, "objects_apart": found}
    doubt = evidence.doubt_of_object(good)
    assert (doubt is None) == (apart > 1)
    assert doubt is None or doubt.startswith("Two objects lie in the same place: their distance is 0.25 radii")


def test_every_object_has_a_panel_in_the_report() -> None:
    latents = {name: np.random.default_rng(0).normal(size=(5, 3)) for name in ("agent", "object_1", "object_2")}
    planes = latent_planes(latents)
    assert {name: plane.tolist() for name, plane in planes.items()} == {
        name: latent[:, :2].tolist() for name, latent in latents.items()
    }


def test_impossible_configurations_are_refused() -> None:
    with pytest.raises(ConfigError, match="objects"):
        AgentObjectsConfig(objects=0)
    with pytest.raises(ConfigError, match="'round' for several objects, got 'any'"):
        AgentObjectsConfig(object_shape="any")
    optim = AgentObjectOptimConfig(lr=1e-4)
    assert AgentObjectsConfig(objects=2, optim=optim).one_object().optim == optim


@pytest.mark.slow
def test_two_objects_are_found() -> None:
    """With a third of the updates, each object is far nearer than chance to one that is there."""
    scene = SCENES["two objects"]
    encoder: Any = train_encoder(scene.collect(10_000, 0), scale_steps(AgentObjectsConfig(), 0.4), seed=0)
    held_out = scene.collect(1000, 1)
    latents, truth = encoder.encode(held_out.frames), held_out.ground_truth
    true = np.stack([truth[f"object_pose_{index}"] for index in range(2)], 1)
    offset = (latents["agent"] - truth["agent_pose"]).mean(0)
    found = np.stack([latents[f"object_{index}"] for index in (1, 2)], 1) - offset
    assert (errors(found, true) < 0.12).all(), "6 % of the side; chance is 31 %"
