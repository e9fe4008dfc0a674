"""Evidence for an object: hand-made scenes in which it is pushed, shakes, moves by itself, or is not there."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from equiact.envs.data.transitions import Transitions
from equiact.representations.encoders.agent_object import AgentObjectConfig, AgentObjectEncoder
from equiact.representations.encoders.translation_encoder import TranslationEncoder
from equiact.representations.learning.config import ConfigError
from equiact.representations.metrics.object_evidence import (
    EvidenceConfig,
    doubt_of_object,
    find_passages,
    object_evidence,
)
from equiact.representations.metrics.registry import HeldOut
from numpy.typing import NDArray

RADIUS, EPISODES = 0.5, 60
Points = NDArray[np.float64]


class Scene(AgentObjectEncoder):
    """Know the positions of agent and object."""

    def __init__(self, agent: Points, object_: Points, config: AgentObjectConfig | None = None) -> None:
        super().__init__((4, 4, 3), "R2", config)
        self.positions = {"agent": agent.astype(np.float32), "object": object_.astype(np.float32)}
        self.outline.coefficients.data[0] = math.log(RADIUS)

    def encode(self, observations: Any) -> dict[str, Any]:
        return self.positions


def crossings(object_moves: str, seed: int = 0) -> tuple[Scene, HeldOut]:
    """Return episodes in which the agent crosses the place of an object that is at the origin at first.

    It goes from the left to the right, at a height within 0.74; it meets the object if that is within `RADIUS`.

    Args:
        object_moves: when: ``"pushed"``, if it is met; ``"near"``, only while the agent is near; ``"itself"``, at any
            time; ``"never"``.
        seed: seed of heights and movements.
    """
    generator = np.random.default_rng(seed)
    agent, object_ = [], []
    for height in generator.uniform(-0.74, 0.74, EPISODES):
        agent.append(np.stack([np.array([-3.0, -1.5, 0.0, 1.5, 3.0]), np.full(5, height)], 1))
        place = np.zeros((5, 2))
        if object_moves == "pushed" and abs(height) < RADIUS:
            place[2:, 1] = np.copysign(0.3, -height)
        if object_moves == "near":
            place[2] = generator.normal(0, 0.1, 2)
        if object_moves == "itself":
            place = np.cumsum(generator.normal(0, 0.1, (5, 2)), 0)
        object_.append(place + generator.normal(0, 0.001, (5, 2)))
    positions = np.concatenate(agent), np.concatenate(object_)
    start = np.arange(5 * EPISODES).reshape(EPISODES, 5)[:, :-1].ravel()
    moved = (positions[0][start + 1] - positions[0][start]).astype(np.float32)
    frames = np.zeros((5 * EPISODES, 4, 4, 3), np.uint8)
    return Scene(*positions), HeldOut(Transitions(frames, start, start + 1, moved, "R2"))


def test_an_object_that_is_pushed_is_found() -> None:
    values = object_evidence(*crossings("pushed"))
    assert values["passages_met"] + values["passages_missed"] == EPISODES
    assert 10 < values["passages_missed"] < 45
    assert values["object_evidence"] > 0.99 and values["object_evidence_p"] < 1e-6
    assert doubt_of_object(values) is None


@pytest.mark.parametrize("object_moves", ["near", "itself", "never"])
@pytest.mark.parametrize("seed", range(5))
def test_what_moves_without_being_met_is_no_object(object_moves: str, seed: int) -> None:
    values = object_evidence(*crossings(object_moves, seed))
    assert values["object_evidence"] < 0.4
    doubt = doubt_of_object(values)
    assert doubt is not None and doubt.startswith("No object was found")
    assert f"in {100 * values['object_evidence']:.0f} % of the passages" in doubt


def test_an_object_that_turns_when_it_is_met_is_found() -> None:
    still, data = crossings("never")
    agent = still.positions["agent"]
    turning = Scene(agent, still.positions["object"], AgentObjectConfig(object_shape="any"))
    angle = np.where((np.abs(agent[:, 1]) < RADIUS) & (agent[:, 0] > -1), 0.8, 0.0)
    turning.positions["orientation"] = np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)
    assert object_evidence(turning, data)["object_evidence"] > 0.9


def test_a_passage_lies_between_two_frames_away_from_the_object() -> None:
    """The agent comes near, meets it in the third step only, and stays near at the end of the second episode.

    The passage begins at the second frame, in which the agent is just away: where the object was before is of no
    account.
    """
    x = np.array([-3.0, -0.9, -0.6, -0.4, 3.0, 4.0, 3.0, 0.6])
    agent = np.stack([x, np.zeros(8)], 1)
    object_ = np.zeros((8, 2))
    object_[0] = [0.0, 5.0]
    object_[4:] = [0.0, 2.0]
    object_[5:] = 0
    start = np.array([0, 1, 2, 3, 5, 6])
    frames = np.zeros((8, 4, 4, 3), np.uint8)
    data = Transitions(frames, start, start + 1, np.diff(agent, axis=0)[start].astype(np.float32), "R2")
    passages = find_passages(Scene(agent, object_), data, away=0.5)
    assert passages.met.tolist() == [True], "the second episode ends beside the object"
    np.testing.assert_allclose(passages.moved_by, [2.0])


def test_too_few_passages_tell_nothing() -> None:
    scene, data = crossings("pushed")
    short = HeldOut(data.transitions.select(np.arange(len(data.transitions)) < 16))
    values = object_evidence(scene, short)
    assert values.keys() == {"passages_met", "passages_missed"}
    assert "cannot be told" in str(doubt_of_object(values))
    scene.outline.coefficients.data[0] = math.log(9.0)
    assert set(object_evidence(scene, data).values()) == {0}, "the agent is never away from so large an object"
    assert doubt_of_object({"equivariance_ratio_1": 0.1}) is None, "another encoder"


def test_contacts_without_their_passages_tell_nothing() -> None:
    scene, data = crossings("pushed")
    steps = data.transitions
    height = np.abs(scene.positions["agent"][steps.start, 1])
    met = np.flatnonzero((np.abs(scene.positions["agent"][steps.start, 0] + 0.75) < 1) & (height < RADIUS))
    parts = {"start": steps.start[met], "end": steps.end[met], "displacement": steps.displacement[met]}
    only_contacts = HeldOut(replace(steps, **parts))
    assert "cannot be told" in str(doubt_of_object(object_evidence(scene, only_contacts)))


def test_the_evidence_must_be_large_and_sure() -> None:
    sure = {"object_evidence": 0.6, "object_evidence_p": 1e-5, "passages_met": 19.0, "passages_missed": 19.0}
    assert doubt_of_object(sure) is None
    assert doubt_of_object({**sure, "object_evidence_p": 0.01}) is not None
    assert doubt_of_object({**sure, "object_evidence": 0.4}) is not None
    assert doubt_of_object({**sure, "object_evidence": 0.4}, EvidenceConfig(least=0.3)) is None


def test_the_evidence_is_the_share_that_moves_farther_than_nine_of_ten_that_were_missed() -> None:
    scene, data = crossings("never")
    agent, object_ = scene.positions["agent"].reshape(EPISODES, 5, 2), scene.positions["object"]
    missed = np.flatnonzero(np.abs(agent[:, 0, 1]) >= RADIUS)
    met = np.setdiff1d(np.arange(EPISODES), missed)
    object_[:] = 0
    after = object_.reshape(EPISODES, 5, 2)[:, 3:]
    after[missed, :, 0] = np.linspace(0, 0.1, len(missed))[:, None]
    after[met[:10], :, 0] = 0.08
    after[met[10:16], :, 0] = 0.098
    assert object_evidence(scene, data)["object_evidence"] == pytest.approx(6 / len(met))


@pytest.mark.parametrize(
    "values", [{"away": -0.1}, {"quantile": 1.0}, {"fewest": 0}, {"least": 1.1}, {"significance": 0.0}]
)
def test_values_out_of_range_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        EvidenceConfig(**values)


def test_the_evidence_is_that_of_agent_and_object_only() -> None:
    _, data = crossings("never")
    assert object_evidence(TranslationEncoder((4, 4, 3), "R2"), data) == {}
