"""Headline figures of the agent–object benchmark, from outcomes that are made by hand."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from equiact.agents.evaluation import rollouts
from equiact.agents.exploration.learned_exploration import Exploration, ExplorationRound
from equiact.agents.policies import sac
from equiact.agents.policies.sac import SACConfig
from equiact.envs.data.minari_dataset import load_transitions
from equiact.envs.data.transitions import Transitions, equal
from equiact.envs.storage.artifacts import write_json
from equiact.envs.worlds import registry
from equiact.representations.encoders import encoder as encoders
from equiact.representations.encoders.agent_object import AgentObjectConfig, AgentObjectEncoder, AgentObjectOptimConfig
from equiact.scripts.benchmarks import agent_object_benchmark
from equiact.scripts.benchmarks.agent_object_benchmark import (
    AgentObjectBenchmark,
    measure_exploration,
    measure_policies,
    steps_to,
)
from equiact.scripts.benchmarks.agent_object_evaluation import compare_encoder
from equiact.scripts.benchmarks.demo_run import _policy_figures


def curve(path: Path, steps: list[int], success: list[float]) -> Path:
    """Write a learning curve as a training does."""
    write_json(path, {"steps": steps, "success": success, "return": [0.0] * len(steps)})
    return path


def test_the_steps_to_a_success_rate_are_those_of_the_first_point_that_reaches_it(tmp_path: Path) -> None:
    path = curve(tmp_path / "curve.json", [100, 200, 300, 400], [0.2, 0.95, 0.7, 1.0])
    assert [steps_to(path, rate) for rate in (0.1, 0.95, 0.96)] == [100, 200, 400]
    assert steps_to(curve(path, [100, 200], [0.2, 0.9]), 0.95) == 400, "twice its length if it never does"


def test_policies_are_compared_on_the_same_episodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each policy gets the outcomes of its own evaluation; those on frames were evaluated where they were trained."""
    played: list[tuple[Any, int]] = []
    played_by = {"encoder policy": (True, True, False), "state policy": (True, False, False)}

    def evaluated(batch: Any, observe: Any, policy: Any, *, seed: int) -> Any:
        played.append((batch, seed))
        return SimpleNamespace(outcomes=played_by.get(policy, (False,)))

    world = SimpleNamespace(action_space=gym.spaces.Box(-1, 1, (2,)))
    monkeypatch.setattr(registry, "task_world_class", lambda name: lambda count, device: world)
    monkeypatch.setattr(rollouts, "evaluate_policy", evaluated)
    monkeypatch.setattr(sac, "load_policy", lambda folder: f"{folder.name} policy")
    monkeypatch.setattr(encoders, "load_encoder", lambda folder: AgentObjectEncoder((64, 64, 3), "R2"))
    jobs: Any = [
        SimpleNamespace(folder=tmp_path / "encoder", curve_file=curve(tmp_path / "a.json", [10, 30], [0.5, 1.0])),
        SimpleNamespace(folder=tmp_path / "state", curve_file=curve(tmp_path / "b.json", [10, 20], [1.0, 1.0])),
    ]
    image_jobs: Any = [
        SimpleNamespace(outcomes=lambda: (False, True), curve_file=curve(tmp_path / "c.json", [40, 50], [0.2, 0.3])),
        SimpleNamespace(outcomes=lambda: (True, True), curve_file=curve(tmp_path / "d.json", [40, 50], [0.2, 0.96])),
    ]
    benchmark = AgentObjectBenchmark(evaluation_episodes=3)
    figures = measure_policies(benchmark, 7, tmp_path / "encoder", jobs, image_jobs, lambda *given: None)
    assert figures == {
        "on the encoder: success": (True, True, False),
        "on ground-truth state: success": (True, False, False),
        "CnnPolicy: success": (False, True),
        "CnnPolicy with random shifts: success": (True, True),
        "random actions: success": (False,),
        "on the encoder: steps to 95 %": 30,
        "on ground-truth state: steps to 95 %": 10,
        "CnnPolicy: steps to 95 %": 100,
        "CnnPolicy with random shifts: steps to 95 %": 50,
    }
    assert [seed for _, seed in played] == [7, 7, 7] and len({id(batch) for batch, _ in played}) == 1


def test_policies_on_frames_get_the_steps_of_the_policy_and_of_the_encoder(tmp_path: Path) -> None:
    benchmark = AgentObjectBenchmark(transitions=700, sac=SACConfig(steps=50), evaluation_episodes=3)
    (job,) = benchmark.experiment("rl", [7], "cpu").jobs(tmp_path)
    needed: Any = job.needs
    names = [each.name for each in needed]
    assert names == ["encoder", "true_state", "CnnPolicy", "CnnPolicy with random shifts"]
    assert [each.config.steps for each in needed[:2]] == [50, 50]
    assert [each.config.sac.steps for each in needed[2:]] == [750, 750]
    assert [each.config.pad for each in needed[2:]] == [0, 4]
    assert [each.episodes for each in needed[2:]] == [3, 3]
    assert len({each.output for each in needed}) == 4


def test_rivals_of_the_encoder_are_jobs_of_their_own(tmp_path: Path) -> None:
    """The encoder's job is timed; the policies need it alone."""
    jobs = AgentObjectBenchmark().experiment("encoder", [7, 8], "cpu").jobs(tmp_path)
    assert [(job.output.name, [need.output.name for need in job.needs]) for job in jobs] == [
        (name, needs)
        for seed in (7, 8)
        for name, needs in (
            (f"data-{seed}.json", []),
            (f"encoder-{seed}.json", [f"data-{seed}.json"]),
            (f"rival-supervised-{seed}.json", [f"data-{seed}.json"]),
            (f"rival-as_published-{seed}.json", [f"data-{seed}.json"]),
        )
    ]
    (policies,) = AgentObjectBenchmark().experiment("rl", [7], "cpu").jobs(tmp_path)
    assert [need.output for need in policies.needs[0].needs] == [jobs[1].output]


def test_an_exploration_keeps_its_data_and_tells_its_contacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rounds of four and six transitions, of which one and three touched the object."""
    touched = np.array([1, 0, 0, 0, 1, 1, 1, 0, 0, 0], bool)
    frames = np.random.default_rng(0).integers(0, 255, (11, 8, 8, 3), dtype=np.uint8)
    data = Transitions(frames, np.arange(10), np.arange(1, 11), np.ones((10, 2), np.float32), "R2", touched=touched)
    asked: dict[str, Any] = {}

    def explored(env: Any, count: int, seed: int, **given: Any) -> Exploration:
        asked.update(given, count=count, seed=seed)
        return Exploration(data, (ExplorationRound(4, False, 0.2), ExplorationRound(6, True, 0.4)))

    monkeypatch.setattr("equiact.agents.exploration.learned_exploration.explore", explored)
    encoder = AgentObjectConfig(optim=AgentObjectOptimConfig(lr=0.1))
    benchmark = AgentObjectBenchmark(transitions=10, encoder=encoder)
    figures = measure_exploration(benchmark, 7, "cpu", tmp_path / "data-7", lambda *given: None)
    assert figures.pop("exploration, s") >= 0
    assert figures == {
        "exploration rounds": 2.0,
        "contacts of random actions": pytest.approx(25.0),
        "contacts in the last round": pytest.approx(50.0),
        "contacts in the last round, as learned": pytest.approx(40.0),
    }
    assert (asked["count"], asked["seed"], asked["config"].encoder) == (10, 7, encoder)
    assert asked["work_dir"] == tmp_path / "data-7-rounds"
    assert equal(load_transitions(tmp_path / "data-7"), data)


def test_each_label_of_the_table_shows_its_own_figure() -> None:
    names = ("agent_rmse_pct", "object_rmse_pct", "isometry_error", "object_probe_r2", "contact_precision")
    metrics = [*names, "contact_recall"]
    rows = {
        row: {name: 10.0 * at + at_name for at_name, name in enumerate(metrics)}
        for at, row in enumerate(("trained", "untrained", "chance"))
    }
    assert agent_object_benchmark._errors(rows) == {
        "agent RMSE, % of the side": 0.0,
        "object RMSE, % of the side": 1.0,
        "agent RMSE, untrained": 10.0,
        "object RMSE, untrained": 11.0,
        "agent RMSE, chance": 20.0,
        "object RMSE, chance": 21.0,
        "isometry error, m²": 2.0,
        "R² of a linear probe, object": 3.0,
        "contact precision": 4.0,
        "contact recall": 5.0,
    }


def test_an_encoder_is_compared_with_an_untrained_one_and_with_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four frames and two transitions; the predictions of agent and object are known, and so is every metric."""
    agent = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]], np.float32)
    object_ = np.array([[1.0, 1.0], [1.0, 2.0], [-1.0, 1.0], [-1.0, 1.25]], np.float32)
    frames = np.arange(4 * 8 * 8 * 3).reshape(4, 8, 8, 3).astype(np.uint8)
    data = Transitions(
        frames,
        np.array([0, 2]),
        np.array([1, 3]),
        np.ones((2, 2), np.float32),
        "R2",
        {"agent_pose": agent, "object_pose": object_},
        touched=np.array([True, False]),
    )

    def encode(self: Any, observations: Any) -> dict[str, Any]:
        if self is not trained:
            return {"agent": np.zeros((4, 2)), "object": np.zeros((4, 2))}
        return {"agent": agent + np.array([5.3, 4.6]), "object": object_ + np.array([4.7, 5.4])}

    trained = AgentObjectEncoder((8, 8, 3), "R2")
    trained.contact_threshold.fill_(0.5)
    monkeypatch.setattr(AgentObjectEncoder, "encode", encode)
    rows = compare_encoder(trained, data, "Soccer")
    side = 2.0  # of the square of Soccer
    assert set(rows) == {"trained", "untrained", "chance"}
    known = rows["trained"]
    assert known["agent_rmse"] == pytest.approx(0.5) and known["object_rmse"] == pytest.approx(0.5)
    assert known["agent_rmse_pct"] == pytest.approx(50 / side) and known["object_rmse_pct"] == pytest.approx(50 / side)
    assert known["isometry_error"] == pytest.approx(1.0)
    assert (known["contact_precision"], known["contact_recall"]) == (1.0, 1.0)
    for row in ("untrained", "chance"):
        isometry = np.square(agent - object_).sum(1).mean()
        centred = np.square((agent - object_) - (agent - object_).mean(0)).sum(1).mean()
        assert rows[row]["isometry_error"] == pytest.approx(isometry if row == "untrained" else centred)
    assert rows["chance"]["agent_rmse"] == pytest.approx(np.sqrt(2))
    assert rows["chance"]["object_rmse"] == pytest.approx(np.sqrt(object_.var(0).sum()))
    shift = 0.5 * (agent.mean(0) + object_.mean(0))
    assert rows["untrained"]["agent_rmse"] == pytest.approx(np.sqrt(np.square(agent - shift).sum(1).mean()))


def test_figures_of_the_demo_are_of_the_policies_that_they_name() -> None:
    results = {
        name: {"success": success, "success_interval": [success - 0.1, success + 0.1]}
        for name, success in (("encoder", 0.9), ("true_state", 0.8), ("random", 0.2))
    }
    assert _policy_figures(results) == {
        "rl_success": 0.9,
        "rl_success_interval": [0.8, 1.0],
        "random_success": 0.2,
        "true_state_success": 0.8,
    }
