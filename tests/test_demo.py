"""The demo from nothing to its report, with networks that have hardly been trained; stopped, it goes on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agents import reinforcement
from representations.agent_object import AgentObjectLearner
from scripts import demo
from scripts.commands import collect_transitions
from scripts.demo import Demo
from scripts.runs import read_json


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it, but little of everything, and in this process."""
    monkeypatch.setattr(AgentObjectLearner.__init__, "__defaults__", (0.002,))
    monkeypatch.setattr(reinforcement, "EVALUATE_EVERY", 200)
    monkeypatch.setitem(reinforcement.SAC_OPTIONS, "gradient_steps", 1)
    monkeypatch.setitem(reinforcement.train_sac.__kwdefaults__ or {}, "evaluate_every", 200)
    monkeypatch.setitem(reinforcement.train_sac.__kwdefaults__ or {}, "evaluation_episodes", 4)
    monkeypatch.setattr(demo, "EPISODES", 4)
    monkeypatch.setattr(demo, "run_jobs", run_here)

    def collect_few(world: str, count: int, *rest: Any) -> Any:
        return collect_transitions(world, min(count, 300), *rest)

    monkeypatch.setattr(demo, "collect_transitions", collect_few)


def run_here(jobs: Sequence[Any]) -> None:
    for job in jobs:
        job.run(lambda *args, **options: None)


def stop(*arguments: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("world", ["Soccer", pytest.param("Push", marks=pytest.mark.slow)])
def test_the_demo_ends_with_a_report(world: str, tmp_path: Path) -> None:
    made = Demo(world=world, transitions=300, rl_steps=400, device="cpu", out=tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "run_jobs", stop)
        with pytest.raises(KeyboardInterrupt):
            made.run()
    assert not list(tmp_path.glob("*.checkpoint")) and (tmp_path / "encoder").is_dir()
    trained = (tmp_path / "training.json").read_text()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Demo, "_evaluate", stop)
        with pytest.raises(KeyboardInterrupt):
            made.run()
    (tmp_path / "policies" / "encoder" / "curve.json").unlink()  # as one that was stopped before it was written
    summary = made.run()
    assert (tmp_path / "training.json").read_text() == trained, "the encoder was trained again"
    assert {"agent_rmse_pct", "rl_success", "random_success", "true_state_success", "render_fps"} <= summary.keys()
    assert read_json(tmp_path / "summary.json") == summary
    assert (tmp_path / "rollout.mp4").stat().st_size > 1000
    page = (tmp_path / "report.html").read_text()
    assert "How well it solves the task" in page and world in page
