"""Encoders of class and pose in the benchmarks and in `equiact train`, with networks that have hardly been trained."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from equiact.envs.data.collect import collect
from equiact.envs.data.minari_dataset import save_transitions
from equiact.envs.storage.artifacts import read_json
from equiact.envs.worlds.registry import world_class
from equiact.representations.encoders.class_pose import ClassPoseConfig, ClassPoseEncoder
from equiact.scripts.benchmarks.encoder_benchmark import ENCODER_BENCHMARKS, QUICK, EncoderExperiment
from equiact.scripts.benchmarks.encoder_methods import (
    encoder_of_label,
    set_size,
    suggest_config,
    suggest_encoder,
    suits,
)
from equiact.scripts.benchmarks.encoder_runs import BenchmarkRun, BenchmarkSize, CollectionJob, measure_encoder
from equiact.scripts.cli import main
from equiact.scripts.commands.tables import comparison_table
from equiact.scripts.commands.train import DECODER_TITLE
from equiact.scripts.experiments.experiment import Places, run_experiments
from equiact.scripts.experiments.jobs import Job, missing_jobs, silent
from equiact.scripts.experiments.records import Records
from equiact.scripts.experiments.scheduler import run_in_process
from equiact.scripts.experiments.summaries import summarize_records
from equiact.scripts.reports.orbit_figures import classes_to_show

TINY = BenchmarkSize(transitions=200, held_out=1344, backbone="strided", updates=3)
CLASS_POSE, STABILIZERS = ENCODER_BENCHMARKS["class-pose"], ENCODER_BENCHMARKS["stabilizers"]


def orbit_world(name: str) -> Any:
    return world_class(name)


def numbers(run: BenchmarkRun) -> dict[str, float]:
    """Return what was measured."""
    return {name: float(value) for name, value in run.measured().values.items()}


def test_the_set_is_larger_than_every_stabilizer() -> None:
    for name in STABILIZERS.worlds:
        world_cls = orbit_world(name)
        assert set_size(world_cls) > max(len(world_cls.stabilizer(orbit)) for orbit in range(len(world_cls.orbits)))
        assert not world_cls.free()
    assert all(orbit_world(name).free() for name in CLASS_POSE.worlds)


@pytest.mark.parametrize(
    ("world", "method"),
    [("Sprites", method) for method in CLASS_POSE.methods if method != "harmonics"]
    + [("Models", method) for method in STABILIZERS.methods]
    + [("Chairs", "harmonics"), ("Chairs", "set of poses")],
)
def test_every_method_is_trained_measured_and_kept(world: str, method: str, tmp_path: Path) -> None:
    run = BenchmarkRun(world, method, 0, TINY, "cpu", tmp_path)
    run_in_process([run])
    measured = run.measured()
    values: Any = measured.values
    assert (measured.task, measured.method, measured.seed) == (world, method, 0) and measured.seconds
    assert {"hit_rate_1", "hit_rate_10", "hit_rate_20"} <= values.keys()
    assert all(0 <= values[f"hit_rate_{steps}"] <= 1 for steps in (1, 10, 20))
    assert ("order_right_objects" in values) == (method in ("set of poses", "harmonics"))
    posed = method in ("class and pose", "one pose", "set of poses", "harmonics")
    assert ("pose_error" in values) == posed
    assert ("plan_error_median_degrees" in values) == (posed and world != "Sprites")
    assert "threads" in read_json(run.training_file)["machine"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")
@pytest.mark.parametrize("method", ["one pose", *STABILIZERS.methods, "MDP homomorphism", "linear", "autoencoder"])
def test_every_method_runs_on_a_gpu(method: str, tmp_path: Path) -> None:
    run = BenchmarkRun("Models", method, 0, TINY, "cuda", tmp_path)
    run_in_process([run])
    assert 0 <= float(run.measured().values["hit_rate_20"]) <= 1


def test_a_size_scales_the_updates_of_every_method() -> None:
    chairs = orbit_world("Chairs")
    for name in ("class-pose", "harmonics", "pose-set", "linear", "mdp-homomorphism", "neural-renderer"):
        assert QUICK.configure(name, chairs).optim.steps == 2000, name
    assert QUICK.configure("harmonics", chairs).backbone == "strided"


def test_a_run_stopped_while_it_measures_is_not_trained_again(tmp_path: Path) -> None:
    run = BenchmarkRun("Models", "harmonics", 0, TINY, "cpu", tmp_path)

    def interrupt(*arguments: Any) -> dict[str, float]:
        raise KeyboardInterrupt

    run_in_process(run.needs)
    with pytest.raises(KeyboardInterrupt):
        run.run(silent, measure=interrupt)
    assert not run.done and run.needs == [run.held_out], "the data to train on are not needed again"
    seen = []
    run.run(lambda done, total, unit="", note="": seen.append(unit))
    assert set(seen) == {"measures"}
    assert run.measured().seconds > read_json(run.training_file)["seconds"] > 0  # type: ignore[operator]


def test_data_of_another_group_are_not_measured_on(tmp_path: Path) -> None:
    job = CollectionJob("Arrows", 40, 0, "cpu", tmp_path)
    run_in_process([job])
    other = job.load()
    encoder = ClassPoseEncoder((64, 64, 3), "SO3", ClassPoseConfig(backbone="strided"))
    with pytest.raises(ValueError, match="the encoder is for the group SO3, the transitions have SO2"):
        measure_encoder(encoder, orbit_world("Chairs"), other)


@pytest.mark.slow
def test_the_set_finds_every_order_and_one_pose_does_not(tmp_path: Path) -> None:
    """Stars of one to five arrows, at the quick size: the order of each, and the advantage of the set."""
    figures = {}
    for method in ("set of poses", "one pose"):
        run = BenchmarkRun("Arrows", method, 1, QUICK, "cpu", tmp_path)
        run_in_process([run])
        figures[method] = numbers(run)
    many, one = figures["set of poses"], figures["one pose"]
    assert many["order_right_objects"] == 1.0 and many["order_right_images"] > 0.95
    assert many["set_size"] == 5 and many["set_size_confidence"] > 0.9
    assert many["hit_rate_20"] > max(0.7, one["hit_rate_20"] + 0.2)


@pytest.mark.slow
def test_harmonics_find_the_rotations_of_solids(tmp_path: Path) -> None:
    """12 of the tetrahedron, 24 of the cube and 60 of the icosahedron, at the quick size."""
    run = BenchmarkRun("Solids", "harmonics", 1, QUICK, "cpu", tmp_path)
    run_in_process([run])
    figures = numbers(run)
    assert figures["order_right_objects"] == 1.0 and figures["order_right_images"] > 0.97
    assert figures["set_size"] == 60 and figures["set_size_confidence"] > 0.9
    assert figures["hit_rate_20"] > 0.97 and figures["pose_error"] < 0.2


def test_the_benchmark_writes_what_the_table_reads(tmp_path: Path) -> None:
    done: list[str] = []

    def run_and_note(jobs: list[Job], make_executor: object) -> None:
        done.extend(type(job).__name__ for job in missing_jobs(jobs))
        run_in_process(jobs)

    places = Places(tmp_path, tmp_path / "work")
    experiment = EncoderExperiment(STABILIZERS, TINY, [100], "Arrows", "cpu")
    (records,) = run_experiments([experiment], places, run=run_and_note)
    assert done == ["CollectionJob"] * 2 + ["BenchmarkRun"] * 4 + ["RemovalJob"], "data are collected once for all"
    names = {f"Arrows-{method.replace(' ', '_')}-100" for method in STABILIZERS.methods}
    kept = {path.stem for path in places.folder(experiment).iterdir()}
    assert kept == names | {"training", "experiment", "Arrows-100-removed"}, "the data are removed"
    (again,) = run_experiments([experiment], places, run=run_and_note)
    assert len(done) == 7, "what is there is not made again"
    assert again.table["value"].tolist() == records.table["value"].tolist()
    figures = summarize_records(Records.load(tmp_path / "stabilizers_arrows.jsonl"))
    rows = comparison_table(figures, ["hit_rate_1", "hit_rate_20", "order_right_objects"])
    assert [row.split(" | ")[0] for row in rows[2:]] == [f"| Arrows, {each}" for each in STABILIZERS.methods]
    with pytest.raises(ValueError, match="class-pose has no world 'Arrows'; choose from"):
        EncoderExperiment(CLASS_POSE, TINY, [100], "Arrows")


def test_methods_are_for_the_groups_that_their_encoders_take() -> None:
    assert [suits("harmonics", name) for name in ("SO2xSO3", "SE2", "SO3xSO3")] == [True, False, False]
    assert [suits("neural renderer", name) for name in ("R1", "SO3", "R6")] == [True, True, False]
    assert all(suits(method, "SE2") for method in ("class and pose", "set of poses", "linear", "MDP homomorphism"))


def test_labels_of_the_committed_results_are_known() -> None:
    root = Path(__file__).resolve().parent.parent
    for benchmark in (CLASS_POSE, STABILIZERS):
        records = Records.load(root / "results" / f"{benchmark.name.replace('-', '_')}.jsonl")
        assert set(records.table["method"]) == set(benchmark.methods)
    assert encoder_of_label("neural renderer") == "neural-renderer"


def test_symmetric_objects_get_a_set_where_the_group_has_no_harmonics() -> None:
    apartments = orbit_world("Apartments")
    symmetric = type("Symmetric", (apartments,), {"stabilizer": classmethod(lambda cls, orbit: np.zeros((2, 4)))})
    assert suggest_encoder(apartments) == "class-pose"
    assert suggest_encoder(symmetric) == "pose-set"
    assert suggest_config("pose-set", symmetric).num_poses == 10


def test_classes_with_other_symmetries_are_shown_first() -> None:
    arrows = orbit_world("ColouredArrows")
    assert sorted(len(arrows.stabilizer(one)) for one in classes_to_show(arrows)) == [1, 2, 3, 4, 5]
    assert classes_to_show(orbit_world("Sprites")) == [0, 1, 2]


def train(world: str, folder: Path, *options: str) -> int:
    """Run ``equiact train`` with few updates."""
    few = ["--transitions", "300", "--held-out", "1344", "--optim.steps", "3", "--decoder-steps", "4"]
    return main(["train", "--world", world, "--output-dir", str(folder), "--device", "cpu", *few, *options])


@pytest.mark.parametrize(
    ("world", "encoder", "picture"),
    [
        ("Apartments", "class-pose", "map.png"),
        pytest.param("Apartments", "pose-set", "map.png", marks=pytest.mark.slow),
        pytest.param("Solids", "harmonics", "plans.png", marks=pytest.mark.slow),
        ("DoubleArrows", "harmonics", "orbits.png"),
    ],
)
def test_train_draws_figures(
    world: str, encoder: str, picture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--num-poses", "4"] if encoder != "class-pose" else []
    assert train(world, tmp_path / "encoder", "--encoder", encoder, "--json", *few) == 0
    assert "hit_rate_20" in capsys.readouterr().out
    assert read_json(tmp_path / "encoder" / "card.json")["encoder"] == encoder
    for name in ("orbits.png", "predictions.png", picture, "training.json"):
        assert (tmp_path / "encoder-report" / name).stat().st_size > 100


def test_other_encoders_are_trained_without_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notes = tmp_path / "encoder-decoder.checkpoint"
    notes.write_text("my notes")
    assert train("Sprites", tmp_path / "encoder", "--encoder", "linear", "--logger", "tensorboard") == 0
    assert notes.read_text() == "my notes"
    notes.unlink()
    assert {path.name for path in (tmp_path / "encoder-report").iterdir()} == {"tensorboard", "training.json"}
    assert {path.name for path in tmp_path.iterdir()} == {"encoder", "encoder-report"}, "no checkpoint is left"
    assert train("Sprites", tmp_path / "encoder", "--encoder", "linear") == 0, "an own encoder is replaced"


def test_unsuitable_data_are_not_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = collect(gym.make_vec("equiact/Solids-v0", num_envs=4, resolution=(32, 32), device="cpu"), 100, seed=0)
    whole = collect(gym.make_vec("equiact/Solids-v0", num_envs=4, device="cpu"), 100, seed=0)
    for name, data in (("small", small), ("untrue", replace(whole, ground_truth={})), ("whole", whole)):
        save_transitions(data, tmp_path / name)
        world = "Chairs" if name == "whole" else "Solids"
        assert train(world, tmp_path / "encoder", "--data", str(tmp_path / name)) == 1
    errors = " ".join(capsys.readouterr().err.split())
    assert "whole is not of Chairs, which looks different in the same poses; check --world" in errors
    assert "(64, 64, 3) of Solids, got SO3 and (32, 32, 3); check --data" in errors
    assert "untrue has no ground truth ['agent_pose', 'orbit'], which data of Solids have" in errors
    assert not list(tmp_path.glob("encoder*")), "nothing was trained"


def test_too_few_held_out_transitions_are_refused_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("Sprites", tmp_path / "encoder", "--held-out", "500") == 1
    error = " ".join(capsys.readouterr().err.split())
    assert "raise --held-out" in error and "Training the encoder" not in error


def test_train_stopped_at_the_decoder_resumes_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from equiact.scripts.commands import train as command

    shown: list[tuple[str, int]] = []

    def minimise(stop_at: int | None) -> Callable[..., Any]:
        from equiact.representations.learning.callbacks import TrainingCallback
        from equiact.scripts.collect_and_train import train_with_bar

        def run(title: str, learner: Any, *arguments: Any, **options: Any) -> Any:
            class Stop(TrainingCallback):
                def on_update(self, status: Any) -> None:
                    shown.append((title, status.done))
                    if title == DECODER_TITLE and status.done == stop_at:
                        raise KeyboardInterrupt

            return train_with_bar(title, learner, *arguments, **{**options, "callbacks": [Stop()]})

        return run

    parsed: Any = _parsed(tmp_path / "encoder")
    folder, report = tmp_path / "encoder", tmp_path / "encoder-report"
    with pytest.raises(KeyboardInterrupt):
        parsed.run(train_with_bar=minimise(2))
    assert (folder / "card.json").exists() and not (report / "predictions.png").exists()
    shown.clear()
    parsed.run(train_with_bar=minimise(None))
    assert shown == [(DECODER_TITLE, 3), (DECODER_TITLE, 4)]
    assert (report / "predictions.png").exists() and not list(tmp_path.glob("*.checkpoint"))
    assert command.Train.resumes


def _parsed(folder: Path) -> Any:
    from equiact.scripts.cli import parse

    options = ["--transitions", "300", "--held-out", "1344", "--optim.steps", "3", "--decoder-steps", "4"]
    return parse("train", ["--world", "Sprites", "--device", "cpu", "--output-dir", str(folder), *options])


def test_an_encoder_that_does_not_suit_the_world_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "encoder"
    assert train("Arrows", folder, "--encoder", "class-pose") == 1
    error = " ".join(capsys.readouterr().err.split())
    assert "SO2 does not act freely on Arrows: 2 of its elements leave '2 arrows' unchanged" in error
    assert "use a HarmonicEncoder or a PoseSetEncoder (--encoder harmonics or pose-set)" in error
    assert train("Apartments", folder, "--encoder", "harmonics") == 1
    assert "harmonics cannot learn SE2" in " ".join(capsys.readouterr().err.split())
    assert train("Soccer", folder, "--encoder", "class-pose") == 1
    assert "choose --encoder agent-object" in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())
