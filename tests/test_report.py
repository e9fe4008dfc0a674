"""The report of a demo run: complete, self-contained, safe to open, and shown by a browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
import pytest
from equiact.representations.metrics.position_metrics import AlignedPositions
from equiact.scripts.reports.demo_report import write_report
from equiact.scripts.reports.film_files import save_film


def test_a_film_and_its_stills_are_written_as_a_whole(tmp_path: Path) -> None:
    frames = [np.full((16, 16, 3), level, np.uint8) for level in (0, 100, 200)]
    save_film(tmp_path / "film.mp4", frames, frames[1], fps=5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mp4", "film.png"]
    assert len(imageio.mimread(tmp_path / "film.mp4")) == 3
    np.testing.assert_array_equal(imageio.imread(tmp_path / "film.png"), frames[1])


SUMMARY: dict[str, Any] = {
    "command": "equiact demo --world Soccer-v0 --seed 20260",
    "world": "Soccer-v0",
    "group": "T(2)",
    "transitions": 20_000,
    "rl_steps": 60_000,
    "commit": "1bb4741",
    "seed": 20260,
    "machine": {"processor": "x86_64", "cores": 2, "accelerator": None},
    "agent_rmse_pct": 0.312,
    "object_rmse_pct": 0.743,
    "isometry_error": 0.000213,
    "contact_precision": 0.994,
    "contact_recall": 0.987,
    "train_seconds": 191.4,
    "train_transitions_per_s": 2310.6,
    "rl_success": 0.925,
    "rl_success_interval": [0.88, 0.954],
    "random_success": 0.035,
    "true_state_success": 0.955,
    "render_fps": 811.2,
}
SHOWN = [
    "20260",
    "20,000",
    "60,000",
    "1bb4741",
    "Processor x86_64; Cores 2; Accelerator –",
    "0.312 %",
    "0.743 %",
    "0.000213 m²",
    "99.4 %",
    "98.7 %",
]
SHOWN += ["3 min 11 s", "2,311 transitions/s", "92.5 %", "88.0 % to 95.4 %", "3.5 %", "95.5 %", "811 frames/s"]
RL_HEADINGS = ["Learning curves", "Evaluation</h2>", "<h2>Rollout"]

PROBE = """<script>
const found = {errors: []};
addEventListener("error", event => found.errors.push(event.message || event.target.outerHTML.slice(0, 80)), true);
addEventListener("securitypolicyviolation", event => found.errors.push("blocked " + event.blockedURI));
for (const level of ["error", "warn"]) console[level] = (...words) => found.errors.push(words.join(" "));
addEventListener("load", () => {
  const report = () => {
    found.images = [...document.images].map(image => image.naturalWidth);
    found.overflow = document.documentElement.scrollWidth - innerWidth;
    found.videos = [...document.querySelectorAll("video")].map(video => [video.readyState, video.duration]);
    document.documentElement.dataset.found = JSON.stringify(found);
  };
  report();
  document.querySelectorAll("video").forEach(video => video.addEventListener("loadedmetadata", report));
});
</script>"""


def _training(generator: np.random.Generator) -> dict[str, Any]:
    history: list[dict[str, Any]] = []
    seconds = 0.0
    for stage, steps, pace, level in (
        ("agent", 2000, 0.025, 0.3),
        ("contrast", 700, 0.05, 3.0),
        ("locate", 600, 0.04, 1.0),
        ("contact", 3000, 0.027, 0.4),
    ):
        for step in range(50, steps + 1, 50):
            seconds += 50 * pace
            loss = level * (0.02 + np.exp(-step / steps * 5)) * generator.lognormal(0, 0.12)
            entry = {"stage": stage, "step": step, "seconds": round(seconds, 3), "loss": loss}
            extra = {"agent": {"agent_error": 0.1 * loss}, "locate": {"contacts": 0.11}}
            extra["contact"] = {"contacts": 0.14, "uncertain": 0.02, "radius": 0.148, "softness": 0.012}
            history.append({**entry, **extra.get(stage, {})})
    return {"history": history, "seconds": seconds, "transitions": 448_000}


def _encoder_evaluation(generator: np.random.Generator, count: int = 1000) -> dict[str, Any]:
    positions = {}
    for name, error in (("agent", 0.0044), ("object", 0.0105)):
        true = generator.uniform(-1, 1, (count, 2))
        positions[name] = true
        positions[f"{name}_predicted"] = true + error * (generator.normal(size=(count, 2)) - 0.4 * true)
    trained = {"agent_rmse": 0.0062, "object_rmse": 0.0149, "agent_rmse_pct": 0.312, "object_rmse_pct": 0.743}
    trained |= {"isometry_error": 2.13e-4, "agent_probe_r2": 0.9999, "object_probe_r2": 0.9993}
    untrained = {"agent_rmse": 0.71, "object_rmse": 0.79, "agent_rmse_pct": 35.5, "object_rmse_pct": 39.5}
    untrained |= {"isometry_error": 0.48, "agent_probe_r2": 0.91, "object_probe_r2": 0.42, "contact_recall": 0.2}
    chance = {"agent_rmse": 0.816, "object_rmse": 0.816, "agent_rmse_pct": 40.8, "object_rmse_pct": 40.8}
    return {
        "rows": {
            "trained": trained | {"contact_precision": 0.994, "contact_recall": 0.987},
            "untrained": untrained | {"contact_precision": float("nan")},
            "chance": chance | {"contact_precision": 0.14},
        },
        "positions": {name: values.tolist() for name, values in vars(AlignedPositions(**positions)).items()},
        "object_moves": {
            "still": [0.0, *generator.lognormal(np.log(0.004), 0.6, 1700)],
            "touched": list(generator.lognormal(np.log(0.16), 0.7, 300)),
        },
        "threshold": 0.028,
        "arena_side": 2.0,
    }


def _rl(generator: np.random.Generator) -> dict[str, Any]:
    steps = np.arange(1000, 60_001, 1000)
    curves: dict[str, Any] = {}
    for name, rise in (("encoder", 18_000), ("true_state", 13_000)):
        success = np.clip(0.95 / (1 + np.exp(-(steps - rise) / 4000)) + generator.normal(0, 0.02, len(steps)), 0, 1)
        curves[name] = {"steps": steps.tolist(), "success": success.tolist(), "return": (40 * success - 30).tolist()}
    curves["encoder"]["return"][0] = None
    return curves


def _evaluation() -> dict[str, Any]:
    rows = [("encoder", 0.925, 0.88, 0.954, 6.2, 14.1), ("true_state", 0.955, 0.917, 0.976, 7.5, 12.8)]
    rows += [("random", 0.035, 0.017, 0.07, -29.4, 39.2)]
    keys = ("success_interval", "return_mean", "length_mean", "episodes")
    return {
        name: {"success": success, **dict(zip(keys, ([low, high], gain, length, 200), strict=True))}
        for name, success, low, high, gain, length in rows
    }


def make_run(folder: Path, seed: int = 0) -> Path:
    """Make a folder as a finished run leaves it, with made-up but realistic results."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    results = {"summary": SUMMARY, "training": _training(generator), "rl": _rl(generator), "evaluation": _evaluation()}
    for name, content in {**results, "encoder_evaluation": _encoder_evaluation(generator)}.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    frames = np.full((20, 128, 256, 3), (70, 140, 80), np.uint8)
    for index, frame in enumerate(frames):
        frame[50:70, 10 + 10 * index : 30 + 10 * index] = 240
    imageio.mimwrite(folder / "rollout.mp4", list(frames), fps=10, macro_block_size=1)
    return folder


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


def test_names_every_entry_of_the_summary(run_folder: Path) -> None:
    path = write_report(run_folder)
    page = path.read_text(encoding="utf-8")
    assert path == run_folder / "report.html"
    assert not list(run_folder.glob("*.part"))
    for key in SUMMARY:
        assert f"<code>{key}</code>" in page
    for shown in [*SHOWN, *RL_HEADINGS]:
        assert shown in page


def test_is_self_contained(run_folder: Path) -> None:
    page = write_report(run_folder).read_text(encoding="utf-8")
    references = re.findall(r"""(?:src|srcset|href|poster|data)\s*=\s*["']?([^"'\s>]{0,40})""", page)
    assert references and all(
        reference.startswith(("data:image/png;base64,", "data:video/mp4;base64,")) for reference in references
    )
    for foreign in ("http:", "https:", "<script", "<link", "@import", "url("):
        assert foreign not in page


def test_missing_metrics_are_dashes(run_folder: Path) -> None:
    page = write_report(run_folder).read_text(encoding="utf-8")
    row = re.search(r"Contact detection, precision</th>(.*?)</tr>", page)
    assert row and re.findall("<td>(.*?)</td>", row[1]) == ["99.4 %", "–", "14.0 %"]


def test_escapes_what_it_is_given(run_folder: Path) -> None:
    hostile = """</title><script>alert("x")</script><img src=x onerror='alert(1)'>"""
    settings = {"world": hostile, "command": hostile, hostile: hostile, "machine": {hostile: [hostile]}}
    (run_folder / "summary.json").write_text(json.dumps({**SUMMARY, **settings}))
    content = json.loads((run_folder / "encoder_evaluation.json").read_text())
    content["rows"][hostile] = {hostile: 1.0}
    (run_folder / "encoder_evaluation.json").write_text(json.dumps(content))
    page = write_report(run_folder).read_text(encoding="utf-8")
    assert "<script" not in page.lower() and "<img src=x" not in page.lower()
    assert html.escape(hostile) in page


def test_a_run_without_rl_has_no_rl_sections(run_folder: Path) -> None:
    for name in ("rl.json", "evaluation.json", "rollout.mp4"):
        (run_folder / name).unlink()
    summary = {key: value for key, value in SUMMARY.items() if "success" not in key}
    (run_folder / "summary.json").write_text(json.dumps({**summary, "rl_success": None}))
    page = write_report(run_folder).read_text(encoding="utf-8")
    assert "Training the encoder" in page
    for absent in [*RL_HEADINGS, "<dt>RL success", "<video"]:
        assert absent not in page


def test_a_summary_alone_is_enough(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps({"agent_rmse_pct": 0.3, "seed": 1}))
    assert "0.3 %" in write_report(tmp_path).read_text(encoding="utf-8")


def test_a_folder_without_a_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no summary\.json.*equiact"):
        write_report(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_is_named_and_the_old_report_kept(run_folder: Path) -> None:
    before = write_report(run_folder).read_bytes()
    (run_folder / "rl.json").write_text('{"encoder": ')
    with pytest.raises(ValueError, match=r"expected a JSON file at .*rl\.json, got a damaged one"):
        write_report(run_folder)
    assert (run_folder / "report.html").read_bytes() == before


def _open_in_browser(page: str, folder: Path, *options: str) -> dict[str, Any]:
    """Return what a probe script finds in a copy of the page; its content policy, scripts apart, stays in force."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no Chromium on this machine")
    allowed = page.replace("default-src 'none';", "default-src 'none'; script-src 'unsafe-inline';")
    copy = folder / "probed.html"
    copy.write_text(allowed.replace("<title>", PROBE + "<title>", 1), encoding="utf-8")
    quiet = "--no-first-run --disable-background-networking --disable-component-update --disable-sync --mute-audio"
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", *quiet.split(), *options]
    command += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=8000", "--dump-dom", copy.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    match = re.search(r'data-found="([^"]*)"', dom)
    assert match, f"the probe did not run: {dom[:400]}"
    found: dict[str, Any] = json.loads(html.unescape(match[1]))
    return found


@pytest.mark.parametrize("width", [420, 1200])
def test_a_browser_shows_every_picture_and_the_video(run_folder: Path, tmp_path: Path, width: int) -> None:
    page = write_report(run_folder).read_text(encoding="utf-8")
    found = _open_in_browser(page, tmp_path, f"--window-size={width},900")
    assert found["errors"] == []
    assert len(found["images"]) == 4 and min(found["images"]) > 0
    [(ready, duration)] = found["videos"]
    assert ready >= 1 and duration == pytest.approx(2.0, abs=0.3)
    assert found["overflow"] <= 0
