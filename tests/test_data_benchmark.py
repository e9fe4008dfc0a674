"""The benchmark of data that other people have: its conditions, and the errors of encoders that are made by hand."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from equiact.envs.data.transitions import Transitions
from equiact.representations.encoders.agent_object import AgentObjectConfig
from equiact.representations.learning.config import scale_steps
from equiact.representations.learning.contact_labels import ContactConfig
from equiact.representations.metrics.object_pose_metrics import (
    fixed_point_errors,
    orientation_errors,
    reference_angle,
)
from equiact.scripts.benchmarks import data_benchmark, pusht_data
from equiact.scripts.benchmarks.data_benchmark import DataBenchmark
from equiact.scripts.benchmarks.data_conditions import CONDITIONS, DataCondition
from equiact.scripts.benchmarks.drawn_scenes import SCENES
from equiact.scripts.benchmarks.pusht_data import BAR, EPISODE, STEM, collect_pusht, pusht_errors


def test_packages_that_are_missing_are_told_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pusht_data, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"equiact\[pusht\]"):
        DataBenchmark().experiments([0])


def test_every_condition_of_every_seed_is_a_run(tmp_path: Any) -> None:
    pytest.importorskip("gym_pusht")
    soccer, pusht, scenes = DataBenchmark().experiments([3, 4], "cpu")
    jobs = soccer.jobs(tmp_path)
    rows = [*((name, "") for name in CONDITIONS), *((name, "supervised") for name in data_benchmark.WITH_SUPERVISED)]
    assert [(job.task, job.method, job.seed) for job in jobs] == [(*row, seed) for seed in (3, 4) for row in rows]
    assert len({job.output for job in jobs}) == len(jobs)
    assert [job.seed for job in pusht.jobs(tmp_path)] == [3, 4]
    several = [(name, "all objects") for name in ("two objects", "three objects")]
    rows = [*((name, "") for name in SCENES), *several]
    assert [(job.task, job.method) for job in scenes.jobs(tmp_path)] == [*rows, *rows]
    assert len({job.output for job in scenes.jobs(tmp_path)}) == 2 * len(rows)
    assert len({soccer.name, pusht.name, scenes.name}) == 3
    assert soccer.configuration == pusht.configuration == scenes.configuration


def test_a_condition_is_measured(tmp_path: Any) -> None:
    config = scale_steps(AgentObjectConfig(contact=ContactConfig(initial_shares=(0.05,), map_rounds=1)), 0.002)
    size = DataBenchmark(transitions=1000, held_out=300, encoder=config)
    shown: list[Any] = []
    data_benchmark.collect_soccer(size, 1, "cpu", tmp_path / "data", lambda *each: shown.append(each))
    run = tmp_path / "run.checkpoint"
    values = data_benchmark.measure_condition(
        size, "1 % contacts", 1, "cpu", tmp_path / "data", run, lambda *each: None
    )
    assert shown and not run.exists()
    assert values["contacts, %"] == pytest.approx(1, abs=0.2)
    assert 20 < values["object RMSE, chance"] < 50 and values["object RMSE, %"] > 0
    bound = data_benchmark.measure_supervised(
        size, "5,000 transitions", 1, "cpu", tmp_path / "data", run, lambda *each: None
    )
    assert bound.keys() == {"agent RMSE, %", "object RMSE, %"} and not run.exists()


def walk(count: int = 4000, touched: float = 0.05) -> Transitions:
    """Return episodes of 100 steps, some of whose transitions touch the object."""
    generator = np.random.default_rng(0)
    start = np.arange(count) + np.arange(count) // 100
    moved = generator.normal(size=(count, 2)).astype(np.float32)
    frames = np.zeros((start[-1] + 2, 1, 1, 3), np.uint8)
    return Transitions(frames, start, start + 1, moved, "R2", touched=generator.random(count) < touched)


def test_good_data_stay_as_they_are() -> None:
    data = walk()
    same = CONDITIONS["random actions"].apply(data, 0)
    np.testing.assert_array_equal(same.displacement, data.displacement)
    np.testing.assert_array_equal(same.start, data.start)


def test_contacts_are_left_out_up_to_a_share() -> None:
    data = walk()
    rare = DataCondition(contact_share=0.01).apply(data, 0)
    assert rare.touched is not None and data.touched is not None
    assert rare.touched.mean() == pytest.approx(0.01, abs=3e-4)
    assert (~rare.touched).sum() == (~data.touched).sum()
    fewer = DataCondition(transitions=1000, contact_share=0.01).apply(data, 0)
    assert len(fewer) <= 1000 and fewer.touched is not None and fewer.touched.mean() == pytest.approx(0.01, abs=2e-3)
    with pytest.raises(ValueError, match=r"at most 0\.0\d+ as contact_share.*got 0\.3"):
        DataCondition(contact_share=0.3).apply(data, 0)
    unknown = Transitions(data.frames, data.start, data.end, data.displacement, "R2")
    with pytest.raises(ValueError, match="which of them touch"):
        DataCondition(contact_share=0.01).apply(unknown, 0)


def test_odometry_is_wrong_by_as_much_as_the_condition_says() -> None:
    data = walk()
    step = np.sqrt(np.square(data.displacement).sum(1).mean())
    error = (DataCondition(noise=0.1, bias=0.03).apply(data, 0).displacement - data.displacement) / step
    assert np.linalg.norm(error.mean(0)) == pytest.approx(0.03, abs=0.006)
    assert error.std(0) == pytest.approx([0.1, 0.1], rel=0.05)
    other = DataCondition(noise=0.1).apply(data, 1).displacement
    assert not np.allclose(other, DataCondition(noise=0.1).apply(data, 0).displacement)


def test_late_displacements_belong_to_the_step_before_and_stay_in_their_episode() -> None:
    data = walk()
    late = DataCondition(lag=1).apply(data, 0)
    np.testing.assert_array_equal(late.displacement[1:100], data.displacement[:99])
    np.testing.assert_array_equal(late.displacement[::100], np.zeros((40, 2)))


def poses(count: int = 500) -> tuple[Any, Any]:
    generator = np.random.default_rng(0)
    return generator.uniform(100, 400, (count, 2)), generator.uniform(0, 7, count)


def at(position: Any, angle: Any, point: Any) -> Any:
    """Return where a point of the object is."""
    cosine, sine = np.cos(angle), np.sin(angle)
    x, y = point
    return position + np.stack([cosine * x - sine * y, sine * x + cosine * y], 1)


def test_any_fixed_point_of_the_object_is_its_position() -> None:
    position, angle = poses()
    seen = np.add(at(position, angle, (7, -20)), [300, 5])
    assert fixed_point_errors(seen, position, angle).max() < 1e-9
    seen[0] += [3, 4]
    assert fixed_point_errors(seen, position, angle)[0] == pytest.approx(5, rel=0.02)
    assert fixed_point_errors(np.add(position, [20, 0]), position, -angle).max() < 1e-9
    mirrored = at(position, -angle, (7, -20))
    assert fixed_point_errors(mirrored, position, angle).mean() > 10


@pytest.mark.parametrize("order", [1, 2])
def test_orientations_are_compared_up_to_a_rotation_and_the_symmetry(order: int) -> None:
    _, angle = poses()
    seen = order * (angle + 0.4)
    orientation = np.stack([np.cos(seen), np.sin(seen)], 1)
    symmetric = angle + 2 * np.pi / order * np.random.default_rng(1).integers(0, 5, len(angle))
    assert orientation_errors(orientation, symmetric, order).max() < 1e-6
    assert reference_angle(orientation, symmetric, order) == pytest.approx(0.4)
    off = orientation_errors(orientation, angle + np.where(np.arange(len(angle)) == 0, 0.1, 0), order)
    assert off[0] == pytest.approx(np.degrees(0.1), rel=0.01)


def pusht() -> Transitions:
    position, angle = poses()
    agent = np.random.default_rng(2).uniform(0, 512, (500, 2))
    truth = {"agent_pose": agent, "object_pose": np.column_stack([position, angle])}
    frames, start = np.zeros((500, 1, 1, 3), np.uint8), np.arange(499)
    return Transitions(frames, start, start + 1, np.diff(agent, axis=0).astype(np.float32), "R2", truth)


def true_outline() -> Any:
    from shapely.geometry import box

    edge = box(*BAR).union(box(*STEM)).buffer(15).exterior
    return np.array([edge.interpolate(share, normalized=True).coords[0] for share in np.linspace(0, 1, 721)[:-1]])


def pusht_encoder(data: Transitions, *, outline: Any, turned: float, grown: float = 1.0) -> Any:
    """Return an encoder that knows the truth, in other coordinates; its position is the middle of the outline."""
    block = data.ground_truth["object_pose"]
    middle = outline.mean(0)
    angle = block[:, 2] + turned
    latents = {
        "agent": data.ground_truth["agent_pose"] - [100, 50],
        "object": at(block[:, :2], block[:, 2], middle) - [100, 50],
        "orientation": np.stack([np.cos(angle), np.sin(angle)], 1),
    }
    rotation = np.array([[np.cos(turned), -np.sin(turned)], [np.sin(turned), np.cos(turned)]])
    seen = grown * (outline - middle) @ rotation
    return SimpleNamespace(
        encode=lambda frames: latents,
        outline=SimpleNamespace(order=torch.tensor(1)),
        outline_polygon=torch.tensor(seen),
    )


@pytest.mark.parametrize("turned", [0.0, 2.1])
def test_an_encoder_that_knows_the_truth_has_no_errors(turned: float) -> None:
    pytest.importorskip("shapely")
    data, outline = pusht(), true_outline()
    found = pusht_errors(pusht_encoder(data, outline=outline, turned=turned), data)
    assert found["agent RMSE, %"] == pytest.approx(0, abs=1e-4)
    assert found["block RMSE, %"] == pytest.approx(0, abs=1e-4)
    assert found["orientation, median, °"] == pytest.approx(0, abs=1e-4)
    assert found["outline overlap"] == pytest.approx(1, abs=0.01)
    assert 20 < found["block RMSE, chance"] < 30
    small = pusht_errors(pusht_encoder(data, outline=outline, turned=turned, grown=0.8), data)
    assert small["outline overlap"] == pytest.approx(0.64, abs=0.02)


def test_data_of_pusht_have_whole_episodes_and_ground_truth() -> None:
    pytest.importorskip("gym_pusht")
    data = collect_pusht(EPISODE + 1, seed=0)
    assert len(data) == 2 * EPISODE and data.frames.shape[1:] == (64, 64, 3)
    moved = data.ground_truth["agent_pose"][data.end] - data.ground_truth["agent_pose"][data.start]
    np.testing.assert_allclose(data.displacement, moved, atol=1e-4)
    assert not np.array_equal(collect_pusht(1, seed=1).displacement, data.displacement[:EPISODE])
