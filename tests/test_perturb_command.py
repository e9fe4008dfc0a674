"""The command ``equiact perturb``: report, films, resuming and refusals."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from equiact.agents.evaluation.episode import EpisodeStep
from equiact.agents.evaluation.perturbation_report import EPISODES_FILE, REPORT_FILE, PerturbationReport
from equiact.agents.evaluation.perturbed_evaluation import evaluate_perturbations
from equiact.agents.recovery.config import RecoveryConfig
from equiact.agents.recovery.conformal import Trigger
from equiact.agents.recovery.recovery_policy import RecoveryPolicy
from equiact.representations.densities.registry import make_density
from equiact.scripts.cli import main
from equiact.scripts.commands.perturb import fingerprint
from equiact.scripts.reports.perturbation_film import CannotDrawError, choose_trials, make_camera
from equiact.scripts.reports.perturbation_report import write_perturbation_page
from equiact.scripts.reports.rerun_recording import RerunRecording

MODULE = """
import gymnasium as gym
import numpy as np

class Line(gym.Env):
    "Go to the goal on a line, in steps of at most 0.1."

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}
    observation_space = gym.spaces.Box(-10, 10, (2,))
    action_space = gym.spaces.Box(-0.1, 0.1, (1,))

    def __init__(self, render_mode=None, draws=True):
        self.render_mode, self.draws = render_mode, draws

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.goal = 0.0, self.np_random.uniform(0.5, 1.0)
        return self.observe(), {}

    def observe(self):
        return np.array([self.x, self.goal], np.float32)

    def step(self, action):
        self.x += float(action[0])
        close = abs(self.x - self.goal) < 0.05
        return self.observe(), -abs(self.x - self.goal), close, False, {"is_success": close}

    def render(self):
        if not self.draws:
            return None
        image = np.full((40, 60, 3), 200, np.uint8)
        column = int(np.clip(20 + 20 * self.x, 0, 57))
        image[18:22, column : column + 3] = (0, 0, 200)
        return image

def line(render_mode=None, draws=True):
    return gym.wrappers.TimeLimit(Line(render_mode, draws), 25)

def go(observation):
    return np.clip(observation[:, 1:] - observation[:, :1], -0.1, 0.1)

def slow(observation):
    return 0.4 * go(observation)
"""
NOISE = "action-noise:magnitude=0.05,0.3,onset=2,duration=12"


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "line_env.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("line_env", None)


def perturb(*options: str) -> int:
    given = ["--env", "line_env:line", "--policy", "line_env:go", "--perturbation", NOISE, "--output-dir", "out"]
    return main(["perturb", *given, "--episodes", "6", *options])


def test_a_report_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert perturb("--compare", "line_env:slow", "--films", "2", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["clean"]["success"] == 1.0
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {
        "report.html", REPORT_FILE, EPISODES_FILE, "film.mp4", "film.png", "perturbation-run.json"
    }  # fmt: skip
    report = json.loads((out / REPORT_FILE).read_text())
    assert report["comparisons"][0]["condition"] == "clean" and len(report["summaries"]) == 6
    assert report["command"] and report["machine"]["python"] and report["seeds"] == [0, 5]
    rows = [json.loads(line) for line in (out / EPISODES_FILE).read_text().splitlines()]
    assert len(rows) == 6 * 3 * 2 and {row["seed"] for row in rows} == set(range(6))
    film = imageio.imread(out / "film.mp4")
    assert film.shape[0] > 20 and film.shape[2] > 2 * film.shape[1], "three panels side by side"
    page = (out / "report.html").read_text()
    assert "data:video/mp4" in page and "Success against magnitude" in page and "line_env:slow" in page


def test_it_resumes_and_refuses_another_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert perturb("--films", "0") == 0
    file = tmp_path / "out" / EPISODES_FILE
    whole = file.read_text()
    lines = whole.splitlines(keepends=True)
    file.write_text("".join(lines[:7]) + lines[7][:30])  # two episodes, and a part of the third
    assert perturb("--films", "0") == 0
    assert file.read_text() == whole
    assert perturb("--films", "0", "--seed", "1") == 1
    assert "holds a run with seed = 0, now 1" in " ".join(capsys.readouterr().err.split())
    (tmp_path / "line_env.py").write_text(MODULE)


def test_nothing_of_others_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / REPORT_FILE).write_text("mine")
    assert perturb() == 1
    assert (tmp_path / "out" / REPORT_FILE).read_text() == "mine"
    assert "with other things in it: report.json" in " ".join(capsys.readouterr().err.split())


def test_a_film_that_cannot_be_drawn_is_said(tmp_path: Path) -> None:
    assert perturb("--env-option", "draws=false") == 0
    assert "There is no film: the environment returns no image" in (tmp_path / "out" / "report.html").read_text()
    assert not (tmp_path / "out" / "film.mp4").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--perturbation", "smoke:magnitude=1"], "smoke"),
        (["--success", "solved"], "unknown success 'solved'"),
        (["--episodes", "0"], "expected --episodes of at least 1, got 0"),
        (["--env-option", "draws"], "expected --env-option key=value"),
        (["--policy", "line_env:nobody"], "has no 'nobody'"),
        (["--perturbation", NOISE], "twice"),
        (["--camera", "side"], "no MuJoCo model with a camera 'side'"),
    ],
)
def test_wrong_options_are_one_line(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert perturb(*options) == 1
    error = capsys.readouterr().err
    assert message in error.replace("\n", " ") and "Traceback" not in error


def test_a_policy_is_known_by_the_content_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "model.zip").write_bytes(b"one")
    first = fingerprint(str(tmp_path / "model.zip"))
    (tmp_path / "model.zip").write_bytes(b"two")
    assert first != fingerprint(str(tmp_path / "model.zip"))
    assert fingerprint("line_env:go") is not None and fingerprint("Pusher-v5") is None


def make_report(policy: Any, perturbations: list[str], **options: Any) -> PerturbationReport:
    import line_env

    return evaluate_perturbations(line_env.line(), policy, perturbations, episodes=4, **options)


def test_the_page_says_all_that_was_measured(tmp_path: Path) -> None:
    import line_env

    both = "action-noise:magnitude=0.3,onset=2,duration=3; observation-noise:magnitude=0.5,onset=2,duration=3"
    report = make_report(line_env.go, [NOISE, both], compare=line_env.slow)
    page = write_perturbation_page(tmp_path / "report.html", report, notes=["Two < three."], settings={"Policy": "go"})
    text = page.read_text()
    assert page == tmp_path / "report.html" and "Two &lt; three." in text and "4 paired episodes under 3" in text
    for heading in ("Success against magnitude", "Return against magnitude", "Conditions", "Against the other policy"):
        assert f"<h2>{heading}</h2>" in text
    assert "Time to recover" in text and "units of the action" in text and "units of the observation" in text
    assert "action-noise 0.3; observation-noise 0.5" in text and "0 to 3" in text
    assert text.count("<picture>") == 2, "the two that act together form no curve"


def test_a_page_fits_a_phone(tmp_path: Path) -> None:
    """No part of the page but tables, which scroll on their own, is wider than 390 pixels."""
    import line_env

    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no browser is installed")
    page = write_perturbation_page(tmp_path / "report.html", make_report(line_env.go, [NOISE]))
    probe = "<script>document.documentElement.dataset.over = document.documentElement.scrollWidth - innerWidth</script>"
    text = page.read_text()
    text = text[: text.index('<meta http-equiv="Content-Security-Policy"')] + text[text.index("<title>") :]
    page.write_text(text.replace("</body>", f"{probe}</body>"))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=390,800", "--dump-dom", str(page)]
    shown = subprocess.run([browser, *options], capture_output=True, text=True, timeout=120, check=True).stdout
    over = re.search(r'data-over="(-?\d+)"', shown)
    assert over is not None and int(over[1]) <= 0


def test_films_show_the_most_telling_episodes_first() -> None:
    import line_env

    report = make_report(line_env.slow, [NOISE, "action-shift:magnitude=1,sign=-,onset=1,duration=5"])
    chosen = choose_trials(report, 3)
    assert [condition.title for _, condition in chosen] == [
        "action-noise 0.3", "action-shift 1", "action-noise 0.3"
    ]  # fmt: skip
    losses = [
        perturbed.total_reward - clean.total_reward
        for clean, perturbed in zip(report.trials("clean"), report.trials(chosen[0][1].name), strict=True)
    ]
    assert chosen[0][0] == int(np.argmin(losses)) and len(choose_trials(report, 99)) == 8


def test_an_environment_without_pictures_cannot_be_drawn() -> None:
    import line_env

    env = line_env.line(render_mode="rgb_array")
    env.reset(seed=0)
    assert make_camera(env)().shape == (40, 60, 3)
    for made in (line_env.line(), line_env.line(render_mode="rgb_array", draws=False)):
        made.reset(seed=0)
        with pytest.raises(CannotDrawError, match="returns no image from render"):
            make_camera(made)


@pytest.mark.slow
def test_a_mujoco_environment_is_drawn_without_opengl(tmp_path: Path) -> None:
    pytest.importorskip("mujoco_warp", reason="the extra `sim` is not installed")
    (tmp_path / "line_env.py").write_text(MODULE + "\ndef nothing(observation):\n    return np.zeros((1, 1))\n")
    assert main(["perturb", *PENDULUM, "--films", "1", "--output-dir", "out"]) == 0
    film = imageio.imread(tmp_path / "out" / "film.mp4")
    assert film[..., 0].std() > 5 and film.shape[2] > 400


def test_a_recovery_policy_is_recorded_with_latents_and_alarms(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="the extra `rerun` is not installed")
    density = make_density("kernel", 1)
    density.fit(torch.rand(50, 1))
    policy = RecoveryPolicy(
        lambda observation: np.full((len(observation), 1), 0.1, np.float32),
        encoder=lambda observation: np.asarray(observation[:, :1], np.float32),
        density=density,
        trigger=Trigger(threshold=-3.0, temperature=0.5),
        config=RecoveryConfig(step=0.1),
    )
    recording = RerunRecording("a test", policy, lambda: np.zeros((4, 4, 3), np.uint8))
    for index in range(3):
        observation = np.array([0.1 * index, 1.0], np.float32)
        action, _ = policy.predict(observation[None])
        recording.add(EpisodeStep(index, observation, action[0], 1.0, {}))
    recording.save(tmp_path / "episode.rrd")
    content = (tmp_path / "episode.rrd").read_bytes()
    for entity in (
        b"frame",
        b"reward",
        b"latent/0",
        b"log_density",
        b"recovering",
        b"innovation",
        b"dwell",
        b"action/0",
    ):
        assert entity in content


def test_a_recording_for_rerun(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="the extra `rerun` is not installed")
    assert perturb("--films", "0", "--rerun", "episode.rrd") == 0
    assert (tmp_path / "episode.rrd").read_bytes()[:3] == b"RRF"


def test_a_condition_without_effect_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faint = "action-noise:magnitude=1e-14,onset=2,duration=3"
    assert perturb("--films", "0", "--perturbation", faint, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed[faint]["receipt"].startswith("no effect (") and "no effect" not in str(printed["clean"])
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"No effect: {faint}: it had no effect" in page
    assert page.count("units of the action (no effect)") == 1, "the row of the table says so"
    assert "No effect" in json.loads((tmp_path / "out" / REPORT_FILE).read_text())["notes"][0]


PENDULUM = ["--env", "InvertedPendulum-v5", "--env-option", "max_episode_steps=20", "--policy", "line_env:nothing"]
PENDULUM += ["--perturbation", "force:body=pole,magnitude=30,direction=x,onset=2,duration=3", "--episodes", "2"]


def test_a_camera_is_checked_where_nothing_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "line_env.py").write_text(MODULE + "\ndef nothing(observation):\n    return np.zeros((1, 1))\n")
    assert main(["perturb", *PENDULUM, "--films", "0", "--camera", "side", "--output-dir", "out"]) == 1
    error = " ".join(capsys.readouterr().err.split())
    assert "the model has no camera, so not 'side'" in error or "mujoco_warp" in error
    assert perturb("--films", "0", "--camera", "side") == 1
    assert "no MuJoCo model with a camera 'side'; leave out --camera" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_a_recording_replaces_its_own_kind_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rerun = pytest.importorskip("rerun", reason="the extra `rerun` is not installed")
    file = tmp_path / "new" / "episode.rrd"
    for _ in range(2):
        assert perturb("--films", "0", "--rerun", str(file)) == 0
    shutil.rmtree(tmp_path / "out")
    stream = rerun.RecordingStream("other")
    stream.save(tmp_path / "other.rrd")
    stream.log("a", rerun.Scalars(1.0))
    stream.disconnect()
    (tmp_path / "text.rrd").write_text("mine")
    capsys.readouterr()
    for name, message in (
        ("other.rrd", "got another kind of file"),
        ("text.rrd", "got another kind of file"),
        ("episode.mp4", "expected --rerun to end in .rrd, got episode.mp4"),
        ("text.rrd/a.rrd", "which is not a folder"),
    ):
        assert perturb("--films", "0", "--rerun", name) == 1
        assert message in " ".join(capsys.readouterr().err.split())
        assert not (tmp_path / "out").exists(), "it is checked before anything is played"
    assert (tmp_path / "text.rrd").read_text() == "mine"


def test_a_missing_package_for_recordings_is_named_before_anything_is_played(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("equiact.scripts.commands.perturb_checks.find_spec", lambda name: None)
    assert perturb("--films", "0", "--rerun", "episode.rrd") == 1
    assert "--rerun needs rerun-sdk; run: pip install 'equiact[rerun]'" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["perturb", "--help"])
    shown = capsys.readouterr().out
    for option in ("--env", "--import", "--env-option", "--camera", "--policy", "--trust-policy", "--compare"):
        assert option in shown
    for option in (
        "--perturbation",
        "--episodes",
        "--seed",
        "--success",
        "--output-dir",
        "--films",
        "--rerun",
        "--json",
    ):
        assert option in shown


def test_an_edited_policy_does_not_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert perturb("--films", "0") == 0
    (tmp_path / "line_env.py").write_text(MODULE.replace("0.4 * go", "0.5 * go"))
    assert perturb("--films", "0") == 1
    assert "policy_sha256" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seed", "-1"], "--seed of at least 0"),
        (["--perturbation", "force:body=torso,magnitude=1"], "force"),
        (["--env-option", "draws=NaN"], "--env-option key=value with a finite number"),
        (["--camera", "front"], "camera"),
    ],
)
def test_a_command_that_fails_before_the_first_episode_claims_nothing(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert perturb(*options) == 1
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
