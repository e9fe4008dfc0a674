"""The recovery experiment from end to end, with networks that have hardly been trained: its figures and its report."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from equiact.agents.evaluation.statistics import wilson_interval
from equiact.agents.recovery.conformal import Trigger
from equiact.envs.data.policy import Policy
from equiact.envs.storage.artifacts import ArtifactError, read_json, write_tensor_file
from equiact.representations.learning.checkpoints import CheckpointError
from equiact.representations.learning.config import ConfigError, scale_steps, to_dict
from equiact.scripts.benchmarks.job_runner import JobProgress, silent
from equiact.scripts.benchmarks.recovery_config import RecoveryExperimentConfig
from equiact.scripts.benchmarks.recovery_methods.density_recovery import DensityRecovery
from equiact.scripts.benchmarks.recovery_methods.registry import (
    BASE_POLICY,
    RECOVERY_METHODS,
    RecoveryMethod,
    ablation_methods,
    compared_methods,
    recovery_method,
    register_recovery_method,
)
from equiact.scripts.benchmarks.recovery_run import RecoveryRun
from equiact.scripts.benchmarks.recovery_stages import recovery_stages, train_policy
from equiact.scripts.benchmarks.recovery_statistics import CLAIM, add_wilson_intervals, aggregate
from equiact.scripts.benchmarks.recovery_trials import read_outcomes
from equiact.scripts.benchmarks.result_files import over_seeds, summarize
from equiact.scripts.benchmarks.run_folder import claim_folder
from equiact.scripts.commands.recover import Recover
from equiact.scripts.commands.tables import RENAMED
from equiact.scripts.reports.recovery_report import line_styles, write_recovery_report

ABLATED = ablation_methods()[0]
TINY = replace(
    scale_steps(RecoveryExperimentConfig(), 0.004),
    demonstrations=4,
    exploration_transitions=48,
    pairs=2,
    calibration_episodes=2,
    magnitude=0.02,
    sweep_onsets=(),
    episode_length=60,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecoveryRun]:
    """Make everything of a seed but most ablations. No episode succeeds, so the triggers are given."""
    folder = tmp_path_factory.mktemp("recover") / "seed-0"
    made = RecoveryRun("push", 0, folder, TINY)
    claim_folder(folder, CLAIM, to_dict(TINY), commit="abc")
    for name in [*compared_methods(), ABLATED]:
        if recovery_method(name).has_recovery:
            Trigger(0.0, 1.0, 0.03, 10.0).save(made.trigger_folder(name))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as every job has it
    left_out = set(ablation_methods()) - {ABLATED}
    for stage in recovery_stages(made, sweep=True, ablations=True):
        for job in stage:
            if not left_out & {each for each in job.arguments if isinstance(each, str)}:
                job.run(silent)
                assert job.done, job.title
    yield made
    torch.set_num_threads(threads)


def test_titles_tell_the_jobs_apart(run: RecoveryRun) -> None:
    titles = [job.title for stage in recovery_stages(run, sweep=True, ablations=True) for job in stage]
    assert len(titles) == len(set(titles))


def test_every_method_meets_the_same_perturbations(run: RecoveryRun) -> None:
    receipts = [read_outcomes(run, name)["pushed/receipt"] for name in compared_methods()]
    assert min(map(np.min, receipts)) > 0.05
    np.testing.assert_allclose(receipts, np.tile(receipts[0], (len(receipts), 1)), atol=0.05)


def test_the_summary_has_every_figure(run: RecoveryRun) -> None:
    row = aggregate(run)
    assert row["commit"] == "abc"
    expected = {"clean_success", "pushed_success", "recovered_success", "harmed", "false_interventions", "mcnemar_p"}
    expected |= {"pairs", "push_receipt_mean", "recovery_steps_median", "encoder_rmse_m", "recovery: cosine_10cm"}
    expected |= {f"{name}: pushed_success" for name in [*compared_methods(), ABLATED]}
    expected |= {f"{name}: sweep_mean" for name in compared_methods()}
    assert expected <= row["figures"].keys()
    assert row["figures"]["pairs"] == 2
    json.dumps(row, allow_nan=False)


def test_labels_are_those_of_the_committed_results(run: RecoveryRun) -> None:
    results = Path(__file__).resolve().parent.parent / "results" / "recovery_push.json"
    committed = {label.split(": ")[0] for label in read_json(results)["figures"] if ": pushed_success" in label}
    committed = {RENAMED.get(label, label) for label in committed}
    assert committed - {"IQL"} == {*compared_methods(), *ablation_methods()} - {"IQL"}


def test_a_single_seed_has_wilson_intervals(run: RecoveryRun) -> None:
    result = over_seeds([aggregate(run)], [run.seed])
    figures = result["figures"]
    assert figures["DART: pushed_success"]["interval"] == [figures["DART: pushed_success"]["mean"]] * 2
    add_wilson_intervals(figures, run.config, read_outcomes(run, BASE_POLICY)["clean/success"])
    for label in ("clean_success", "DART: pushed_success", "recovery: harmed", "recovery: false_interventions"):
        low, high = figures[label]["interval"]
        assert low <= figures[label]["mean"] <= high and high - low > 0.5, "two pairs say little"
    assert figures["push_receipt_mean"]["interval"] == [figures["push_receipt_mean"]["mean"]] * 2


def test_false_interventions_are_counted_in_clean_episodes_that_succeed() -> None:
    figures = {"recovery: false_interventions": summarize([0.2]), "recovery: harmed": summarize([0.2])}
    add_wilson_intervals(figures, RecoveryExperimentConfig(pairs=20), np.arange(20) < 10)
    assert figures["recovery: false_interventions"]["interval"] == pytest.approx(wilson_interval(2, 10))
    assert figures["recovery: harmed"]["interval"] == pytest.approx(wilson_interval(4, 20))


def test_the_report_shows_every_method(run: RecoveryRun, tmp_path: Path) -> None:
    result = over_seeds([aggregate(run)], [run.seed])
    page = write_recovery_report(tmp_path, result, [run]).read_text()
    assert (tmp_path / "film.mp4").stat().st_size > 1000
    assert page.count("<picture>") == 3 and page.count("<video") == 1
    for name in [*compared_methods(), ABLATED]:
        assert name[1:] in page
    assert "http://" not in page and "https://" not in page


def test_without_a_sweep_the_report_leaves_it_out(run: RecoveryRun, tmp_path: Path) -> None:
    result = over_seeds([aggregate(run)], [run.seed])
    result["figures"] = {label: value for label, value in result["figures"].items() if "sweep" not in label}
    page = write_recovery_report(tmp_path, result, [run]).read_text()
    assert "Magnitude of the perturbation" not in page and "<h2>Methods</h2>" in page


def test_a_folder_of_another_configuration_is_refused(tmp_path: Path) -> None:
    Recover(quick=True, output_dir=tmp_path).prepare(0)
    settings = read_json(tmp_path / "push" / "seed-0" / "settings.json")["settings"]
    assert (settings["demonstrations"], settings["pairs"]) == (1000, 50)
    other = Recover(quick=True, output_dir=tmp_path, hyperparameters=RecoveryExperimentConfig(magnitude=0.02, pairs=50))
    with pytest.raises(ValueError, match=r"holds a run with magnitude = 0.01, now 0.02"):
        other.prepare(0)


def test_a_method_is_one_file(run: RecoveryRun) -> None:
    @register_recovery_method("test method")
    def made() -> DensityRecovery:
        return DensityRecovery(rank=16, density="kernel")

    try:
        assert compared_methods()[-1] == "test method"
        titles = [job.title for stage in recovery_stages(run, sweep=False, ablations=False) for job in stage]
        assert "push 0: fit kernel in equivariant" in titles and "push 0: play test method" in titles
    finally:
        RECOVERY_METHODS._entries.pop("test method")


def test_lines_of_methods_differ_in_colour_or_style() -> None:
    looks = [(index % 4, style) for index, style in enumerate(line_styles().values())]
    assert len(looks) == len(set(looks))


def test_files_that_are_no_checkpoints_stay(tmp_path: Path) -> None:
    class Idle(RecoveryMethod):
        def train(self, name: str, run: RecoveryRun, show: JobProgress) -> None:
            write_tensor_file(run.checkpoint(f"{name}"), "checkpoint", {}, {"a": torch.zeros(1)})

        def policy(self, name: str, run: RecoveryRun) -> Policy:
            raise NotImplementedError

    register_recovery_method("test idle")(Idle)
    try:
        (tmp_path / "test idle.checkpoint-notes").write_text("my notes")
        run = RecoveryRun("push", 0, tmp_path, TINY)
        train_policy(run, "test idle", silent)
        assert [path.name for path in tmp_path.iterdir()] == ["test idle.checkpoint-notes"]
        (tmp_path / "test idle.checkpoint-1").write_text("my notes")
        with pytest.raises(CheckpointError, match="is not a checkpoint"):
            train_policy(run, "test idle", silent)
    finally:
        RECOVERY_METHODS._entries.pop("test idle")


def test_a_picture_of_the_user_is_not_replaced(tmp_path: Path) -> None:
    picture = tmp_path / "recovery_push.png"
    shutil.copy(Path(__file__).parents[1] / "results" / "recovery_push.png", picture)
    before = picture.read_bytes()
    with pytest.raises(ArtifactError, match="another kind of file"):
        Recover(output_dir=tmp_path / "recover", results_dir=tmp_path).run()
    assert picture.read_bytes() == before


def test_a_value_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="pairs must be at least 1, got 0"):
        RecoveryExperimentConfig(pairs=0)
