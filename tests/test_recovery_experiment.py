"""The recovery experiment from end to end, with networks that have hardly been trained: its figures and its report."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from equiact.agents.policies.behavior_cloning import BCConfig
from equiact.agents.recovery.conformal import Trigger
from equiact.agents.recovery.restart import RestartConfig
from equiact.envs.data.policy import Policy
from equiact.envs.data.trajectories import episode_ids
from equiact.envs.data.transitions import Transitions, concatenate
from equiact.envs.storage.artifacts import ArtifactError, read_json, write_tensor_file
from equiact.representations.learning.checkpoints import CheckpointError
from equiact.representations.learning.config import ConfigError, scale_steps, to_dict
from equiact.scripts.benchmarks.recovery_config import RecoveryExperimentConfig
from equiact.scripts.benchmarks.recovery_experiment import RecoveryExperiment
from equiact.scripts.benchmarks.recovery_grid import RecoveryGridConfig
from equiact.scripts.benchmarks.recovery_jobs import RecoveryJobs, train_policy
from equiact.scripts.benchmarks.recovery_methods.cloned_policies import ClonedPolicy
from equiact.scripts.benchmarks.recovery_methods.density_recovery import DensityRecovery
from equiact.scripts.benchmarks.recovery_methods.registry import (
    RECOVERY_METHODS,
    RecoveryMethod,
    ablation_methods,
    compared_methods,
    recovery_method,
    register_recovery_method,
)
from equiact.scripts.benchmarks.recovery_methods.restarts import OdometryRestart, PeriodicRestart
from equiact.scripts.benchmarks.recovery_run import RecoveryRun
from equiact.scripts.benchmarks.recovery_statistics import measured_runs
from equiact.scripts.benchmarks.recovery_trials import read_outcomes
from equiact.scripts.commands.recover import Recover
from equiact.scripts.commands.tables import RENAMED
from equiact.scripts.experiments.experiment import Places
from equiact.scripts.experiments.jobs import JobProgress, missing_jobs, silent
from equiact.scripts.experiments.records import Provenance, Records
from equiact.scripts.experiments.summaries import summarize_records
from equiact.scripts.reports.recovery_report import _grid, line_styles, write_recovery_report

ABLATED = ablation_methods()[0]
TINY = replace(
    scale_steps(RecoveryExperimentConfig(), 0.004),
    demonstrations=4,
    exploration_transitions=48,
    pairs=2,
    calibration_episodes=2,
    magnitude=0.02,
    grid=RecoveryGridConfig(2, 2, (0.02,), (80.0,), (0.1,), (0.1,), (0.1,), (1.5, 2.0)),
    episode_length=60,
    policy=scale_steps(BCConfig(), 0.001),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecoveryRun]:
    """Make everything of a seed but most ablations. No episode succeeds, so the triggers are given."""
    folder = tmp_path_factory.mktemp("recover") / "seed-0"
    made = RecoveryRun("push", 0, folder, TINY)
    for name in [*compared_methods(), ABLATED]:
        if recovery_method(name).has_recovery:
            Trigger(0.0, 1.0, 0.03, 10.0).save(made.trigger_folder(name))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as every job has it
    left_out = set(ablation_methods()) - {ABLATED}
    for job in missing_jobs(RecoveryJobs(made).all()):
        if not any(f"play {name}" in job.title for name in left_out):
            assert all(each.done for each in job.needs), job.title
            job.run(silent)
            assert job.done, job.title
    yield made
    torch.set_num_threads(threads)


def test_titles_tell_the_jobs_apart(run: RecoveryRun) -> None:
    jobs = missing_jobs(RecoveryJobs(replace(run, folder=run.folder / "empty")).all())
    assert len({job.title for job in jobs}) == len({job.output for job in jobs}) == len(jobs)


def test_encoders_learn_from_exploration_and_demonstrations(run: RecoveryRun) -> None:
    """What they learn from has noisy displacements."""
    parts = [replace(run.load(name), action=None) for name in ("exploration", "demonstrations")]
    exact, card = concatenate(parts), json.dumps(read_json(run.folder / "equivariant" / "card.json"))
    noisy = run.odometry.apply(exact, run.seed)
    assert noisy.fingerprint in card and exact.fingerprint not in card
    step = np.sqrt(np.square(exact.displacement).sum(1).mean())
    error = (noisy.displacement - exact.displacement) / step
    assert np.linalg.norm(error.mean(0)) == pytest.approx(TINY.odometry_bias, abs=0.02)
    np.testing.assert_allclose(error.std(0), TINY.odometry_noise, rtol=0.3)


def test_every_method_meets_the_same_perturbations(run: RecoveryRun) -> None:
    receipts = [read_outcomes(run, name)["pushed/receipt"] for name in compared_methods()]
    assert min(map(np.min, receipts)) > 0.05
    np.testing.assert_allclose(receipts, np.tile(receipts[0], (len(receipts), 1)), atol=0.05)


def test_every_method_meets_the_same_random_onsets(run: RecoveryRun) -> None:
    onsets = {
        tuple(read_outcomes(run, name, grid=True)[f"{condition}/onset"])
        for name in compared_methods()
        for names in TINY.grid.names.values()
        for condition in names
    }
    (drawn,) = onsets
    assert len(drawn) == 2 and max(drawn) <= run.demonstrated_steps().max()


def test_policies_with_more_data_have_as_many_transitions_as_recovery(
    run: RecoveryRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recovery has the exploration, too, and around DART the demonstrations of its density."""
    asked: list[tuple[int, float]] = []
    first = run.load("demonstrations")

    def demonstrate(run: RecoveryRun, count: int, *, noise: float = 0.0) -> Transitions:
        asked.append((count, noise))
        return first

    monkeypatch.setattr(RecoveryRun, "demonstrate", demonstrate)
    for method in (ClonedPolicy(has_all_data=True), ClonedPolicy(is_noisy=True, has_all_data=True)):
        method._demonstrations(run)
    each = len(first) / TINY.demonstrations
    wanted = [len(first) + TINY.exploration_transitions, 2 * len(first) + TINY.exploration_transitions]
    for (count, _), transitions in zip(asked, wanted, strict=True):
        assert 0 <= count * each - transitions < each
    assert [noise for _, noise in asked] == [0.0, TINY.noise_of("push")]


def test_restarts_know_when_to_restart_from_the_data_of_the_run(run: RecoveryRun) -> None:
    """The bound of the innovation is the calibrated one, and the period that of the longest demonstration."""
    steps = np.bincount(episode_ids(run.load("demonstrations")))
    assert len(steps) == TINY.demonstrations
    assert OdometryRestart().config("odometry restart", run) == RestartConfig(0.04, 3, innovation=0.03)
    assert PeriodicRestart().config("periodic restart", run) == RestartConfig(0.04, 3, period=float(steps.max()))
    assert read_outcomes(run, "odometry restart")["pushed/triggered"].all()


@pytest.fixture(scope="module")
def records(run: RecoveryRun) -> Records:
    """Return the records of the seed."""
    return Records.of(measured_runs(run), Provenance("equiact recover", "abc", {}, to_dict(TINY)))


def test_the_records_have_every_figure(records: Records) -> None:
    figures = summarize_records(records)
    expected = {"clean_success", "pushed_success", "recovered_success", "harmed", "false_interventions"}
    expected |= {"pairs", "push_receipt_mean", "recovery_steps_median", "encoder_rmse_m", "recovery: cosine_10cm"}
    expected |= {"recovery_ms_per_step"}
    expected |= {f"{name}: pushed_success" for name in [*compared_methods(), ABLATED]}
    expected |= {f"{name}: {mean}" for name in compared_methods() for mean in ("grid_mean", "both moved")}
    assert expected <= figures.keys()
    assert figures["pairs"].mean == 2


def test_labels_are_those_of_the_committed_results() -> None:
    committed = Records.load(Path(__file__).resolve().parent.parent / "results" / "recovery_push.jsonl").table
    labels = {RENAMED.get(name, name) for name in committed[committed["metric"] == "pushed_success"]["method"]} - {""}
    known = {*compared_methods(), *ablation_methods()}
    assert labels - {"IQL", "innovation alarm only", "no dwell alarm"} <= known, "two are measured no more"
    later = {"odometry restart", "noisy odometry restart", "odometry restart around DART", "periodic restart"}
    later |= {"behaviour cloning, more data", "DART, more data"}
    later |= {"dwell alarm only", "innovation alarm, too", "no patience"}
    assert known - labels <= {"IQL", "scripted expert", *later}, "these came after the committed results"


def test_a_single_seed_has_intervals_of_its_episodes(records: Records) -> None:
    figures = summarize_records(records)
    for label in ("clean_success", "DART: pushed_success", "recovery: harmed"):
        figure = figures[label]
        assert figure.interval is not None
        low, high = figure.interval
        assert low <= figure.number <= high and high - low > 0.5, "two pairs say little"
    assert figures["push_receipt_mean"].interval is None


def test_false_interventions_are_counted_in_clean_episodes_of_the_base_that_succeed(run: RecoveryRun) -> None:
    for row in measured_runs(run):
        method = row.method or "recovery"
        clean = read_outcomes(run, recovery_method(method).base_policy)["clean/success"]
        counted = row.values.get("false_interventions", ())
        expected = clean.sum() if "false_interventions" in row.values else 0
        assert (len(counted) if isinstance(counted, tuple) else 0) == expected
        assert len(row.values.get("harmed", (True, True))) == 2  # type: ignore[arg-type]


def test_the_report_shows_every_method(run: RecoveryRun, records: Records, tmp_path: Path) -> None:
    page = write_recovery_report(tmp_path, records, [run]).read_text()
    assert (tmp_path / "film.mp4").stat().st_size > 1000
    assert page.count("<picture>") == 4 and page.count("<video") == 1
    for name in [*compared_methods(), ABLATED]:
        assert name[1:] in page
    assert "http://" not in page and "https://" not in page


def test_without_a_grid_the_report_leaves_it_out(run: RecoveryRun, records: Records) -> None:
    left = Records(records.table[records.table["metric"] != "grid_mean"], records.sources)
    assert list(_grid(summarize_records(left), [run])) == []
    assert list(_grid(summarize_records(records), [run])) != []


def test_every_configuration_has_a_folder_of_its_own(tmp_path: Path) -> None:
    quick = Recover(quick=True, output_dir=tmp_path)
    assert (quick.experiment.configuration["demonstrations"], quick.experiment.configuration["pairs"]) == (1000, 50)
    assert quick.experiment.seeds == [0] and Recover(num_seeds=2).experiment.seeds == [2000, 2001]
    other = Recover(quick=True, output_dir=tmp_path, hyperparameters=RecoveryExperimentConfig(magnitude=0.02, pairs=50))
    folders = {each.places.folder(each.experiment) for each in (quick, other, replace(quick, seed=1))}
    assert len(folders) == 2, "seeds of a configuration share a folder"
    assert Places(work_dir=tmp_path).folder(quick.experiment) in folders
    with pytest.raises(ValueError, match="perturbation"):
        RecoveryExperiment("push", replace(TINY, onset=1000), [0])


def test_a_method_is_one_file(run: RecoveryRun) -> None:
    @register_recovery_method("test method")
    def made() -> DensityRecovery:
        return DensityRecovery(rank=16, density="kernel")

    try:
        assert compared_methods()[-2:] == ["test method", "scripted expert"]
        jobs = RecoveryJobs(run, grid=False, ablations=False)
        assert [job.title for job in missing_jobs(jobs.all())] == ["push 0: play test method"]
        fresh = replace(jobs, run=replace(run, folder=run.folder / "empty"))
        assert "push 0: fit kernel in equivariant" in [job.title for job in missing_jobs(fresh.all())]
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
