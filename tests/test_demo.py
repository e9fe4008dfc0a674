"""The demo from nothing to its report, with networks that have hardly been trained; a stopped demo resumes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from equiact.agents.policies.sac import SACConfig
from equiact.envs.storage.artifacts import read_json
from equiact.representations.encoders.agent_object import AgentObjectConfig
from equiact.representations.learning.config import scale_steps
from equiact.scripts.benchmarks.demo_run import DemoConfig
from equiact.scripts.commands.demo import Demo
from equiact.scripts.experiments.scheduler import run_in_process

TINY = DemoConfig(
    transitions=300,
    held_out=300,
    episodes=4,
    video_episodes=1,
    encoder=scale_steps(AgentObjectConfig(), 0.002),
    sac=replace(SACConfig(), steps=400, gradient_steps=1, evaluate_every=200, evaluation_episodes=4),
)


def stop(*arguments: Any, **options: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("world", ["Soccer", pytest.param("Push", marks=pytest.mark.slow)])
def test_the_demo_ends_with_a_report(world: str, tmp_path: Path) -> None:
    demo = Demo(world=world, device="cpu", output_dir=tmp_path / "demo", hyperparameters=TINY)
    folder = demo.output_dir
    with pytest.raises(KeyboardInterrupt):
        demo.run(run_jobs=stop)
    assert not list(folder.glob("*.checkpoint")) and (folder / "encoder").is_dir()
    trained = (folder / "training.json").read_text()
    first = demo.run(run_jobs=run_in_process)
    (folder / "policies" / "encoder-report" / "curve.json").unlink()  # as if it was stopped before this was written
    summary = demo.run(run_jobs=run_in_process)
    assert (folder / "training.json").read_text() == trained, "the encoder was not trained again"
    assert summary["rl_success"] == first["rl_success"]
    assert {"agent_rmse_pct", "rl_success", "random_success", "true_state_success", "render_fps"} <= summary.keys()
    assert read_json(folder / "summary.json") == summary
    assert (folder / "rollout.mp4").stat().st_size > 1000
    page = (folder / "report.html").read_text()
    assert "<h2>Evaluation</h2>" in page and world in page


def test_a_demo_does_not_resume_in_the_folder_of_another(tmp_path: Path) -> None:
    demo = Demo(device="cpu", output_dir=tmp_path / "demo", hyperparameters=TINY)
    with pytest.raises(KeyboardInterrupt):
        demo.run(run_jobs=stop)
    with pytest.raises(ValueError, match="holds a run with seed = 0, now 1; choose another folder"):
        replace(demo, seed=1).run(run_jobs=stop)
