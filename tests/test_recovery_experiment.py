"""The recovery experiment from end to end, with networks that have hardly been trained: what it makes and reports."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.evaluation import wilson_interval
from agents.trigger import Trigger
from scripts.recover import Recover, add_wilson_intervals, measured
from scripts.recovery_experiment import Seed, jobs
from scripts.recovery_methods import ABLATIONS, CLONED, METHODS
from scripts.recovery_report import write_recovery_report
from scripts.runs import figure, over_seeds, read_json, write_json

ABLATED = next(iter(ABLATIONS))


@pytest.fixture(scope="module")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seed]:
    """What a seed makes, but for most ablations. Nothing succeeds: there is nothing to calibrate a trigger on."""
    folder = tmp_path_factory.mktemp("recover") / "seed-0"
    made = Seed("push", 0, folder, 4, 2, 0.02, 1, (1,), "cpu", scale=0.004)
    write_json(folder / "settings.json", {"settings": [], "commit": "abc"})
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as every job has it
    with pytest.MonkeyPatch.context() as patch:
        for module in ("agents.trigger", "agents.trials"):
            patch.setattr(f"{module}.calibrate", lambda *series: Trigger(0.0, 1.0, 0.03, 10.0))
        patch.setattr("scripts.recovery_experiment.CALIBRATION_EPISODES", 2)
        patch.setattr("envs.tabletop.Tabletop.episode_steps", 60)
        for stage in jobs(made, sweep=True, ablations=True):
            for job in stage:
                if job.arguments[:1] == () or job.arguments[0] not in set(ABLATIONS) - {ABLATED}:
                    job.run(lambda *args, **options: None)
                    assert job.makes.exists(), job.title
        yield made
    torch.set_num_threads(threads)


def test_titles_tell_the_jobs_apart(seed: Seed) -> None:
    titles = [job.title for stage in jobs(seed, sweep=True, ablations=True) for job in stage]
    assert len(titles) == len(set(titles))


def test_every_method_is_tried_on_the_same_pushes(seed: Seed) -> None:
    receipts = [seed.outcomes(name)["pushed/receipt"] for name in [*CLONED, *METHODS]]
    assert min(map(np.min, receipts)) > 0.05
    np.testing.assert_allclose(receipts, np.tile(receipts[0], (len(receipts), 1)), atol=0.05)


def test_the_summary_has_every_figure(seed: Seed) -> None:
    row = measured(seed)
    assert row["commit"] == "abc"
    expected = {"clean_success", "pushed_success", "recovered_success", "harmed", "false_interventions", "mcnemar_p"}
    expected |= {"pairs", "push_receipt_mean", "recovery_steps_median"}
    expected |= {f"{name}: pushed_success" for name in [*CLONED, *METHODS, ABLATED]}
    expected |= {f"{name}: sweep_mean" for name in [*CLONED, *METHODS]}
    assert expected <= row["figures"].keys()
    assert row["figures"]["pairs"] == 2
    json.dumps(row, allow_nan=False)


def test_a_single_seed_has_wilson_intervals(seed: Seed) -> None:
    result = over_seeds([measured(seed)], [seed.seed])
    figures = result["figures"]
    assert figures["DART: pushed_success"]["interval"] == [figures["DART: pushed_success"]["mean"]] * 2
    add_wilson_intervals(figures, seed)
    for label in ("clean_success", "DART: pushed_success", "recovery: harmed", "recovery: false_interventions"):
        low, high = figures[label]["interval"]
        assert low <= figures[label]["mean"] <= high and high - low > 0.5, "two pairs say little"
    assert figures["push_receipt_mean"]["interval"] == [figures["push_receipt_mean"]["mean"]] * 2


def test_false_interventions_are_of_episodes_that_succeed_unpushed(seed: Seed, monkeypatch: pytest.MonkeyPatch) -> None:
    conditions = {"clean": (20, None), "pushed": (20, None)}
    monkeypatch.setattr(Seed, "conditions", lambda self, name, sweep: conditions)
    monkeypatch.setattr(Seed, "outcomes", lambda self, name: {"clean/success": np.arange(20) < 10})
    figures = {"recovery: false_interventions": figure([0.2]), "recovery: harmed": figure([0.2])}
    add_wilson_intervals(figures, seed)
    assert figures["recovery: false_interventions"]["interval"] == pytest.approx(wilson_interval(2, 10))
    assert figures["recovery: harmed"]["interval"] == pytest.approx(wilson_interval(4, 20))


def test_the_report_shows_it(seed: Seed, tmp_path: Path) -> None:
    result = over_seeds([measured(seed)], [seed.seed])
    page = write_recovery_report(tmp_path, result, [seed]).read_text()
    assert (tmp_path / "film.mp4").stat().st_size > 1000
    assert page.count("<picture>") == 3 and page.count("<video") == 1
    for name in [*CLONED, *METHODS, ABLATED]:
        assert name[1:] in page
    assert "http://" not in page and "https://" not in page


def test_without_a_sweep_the_report_leaves_it_out(seed: Seed, tmp_path: Path) -> None:
    result = over_seeds([measured(seed)], [seed.seed])
    result["figures"] = {label: value for label, value in result["figures"].items() if "sweep" not in label}
    page = write_recovery_report(tmp_path, result, [seed]).read_text()
    assert "How hard a push" not in page and "Against others" in page


def test_a_folder_of_other_settings_is_refused(tmp_path: Path) -> None:
    command = Recover(quick=True, out=tmp_path)
    command._seed(0)
    assert read_json(tmp_path / "push" / "seed-0" / "settings.json")["settings"] == [1000, 0.01, 1, 50]
    with pytest.raises(ValueError, match=r"was made with \[1000, 0.01, 1, 50\], now \[1000, 0.02, 1, 50\]"):
        Recover(quick=True, out=tmp_path, magnitude=0.02)._seed(0)
