"""Drawn scenes: objects move where they are met and nowhere else, and images show what the scene says."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from equiact.representations.encoders.agent_object import AgentObjectConfig
from equiact.representations.learning.config import scale_steps
from equiact.representations.learning.contact_labels import ContactConfig
from equiact.representations.learning.segment_geometry import distance_to_segment
from equiact.scripts.benchmarks import data_benchmark
from equiact.scripts.benchmarks.data_benchmark import DataBenchmark, all_object_errors, scene_errors
from equiact.scripts.benchmarks.drawn_scenes import (
    AGENT_RADIUS,
    CHANGES,
    EPISODE,
    OBJECT_LIMIT,
    OBJECT_RADIUS,
    PIXELS,
    SCENES,
    VIEW,
    DrawnScene,
)
from torch import from_numpy

REACH = AGENT_RADIUS + OBJECT_RADIUS


@pytest.mark.parametrize("objects", [1, 3])
def test_objects_move_only_where_the_agent_meets_one(objects: int) -> None:
    data = DrawnScene(objects=objects).collect(2000, seed=0)
    truth, touched = data.ground_truth, data.touched
    assert touched is not None and len(data) == 2000
    agent = truth["agent_pose"]
    np.testing.assert_allclose(agent[data.start] + data.displacement, agent[data.end], atol=1e-6)
    places = np.stack([truth[f"object_pose_{index}"] for index in range(objects)], 1)
    moved = np.abs(places[data.end] - places[data.start]).max((1, 2)) > 1e-6
    assert not (moved & ~touched).any()
    assert moved[touched].mean() > 0.9, "an object at its limit stays"
    assert np.abs(places).max() <= OBJECT_LIMIT
    start, end = (from_numpy(agent[index]) for index in (data.start, data.end))
    nearest = np.min(
        [distance_to_segment(from_numpy(places[data.start, each]), start, end).numpy() for each in range(objects)], 0
    )
    assert nearest[touched].max() < REACH + (0.03 if objects == 1 else 0.2), "one object may push another"
    assert nearest[~touched].min() > REACH - 0.02


def test_seeds_and_episodes_differ_and_repeat() -> None:
    scene = DrawnScene()
    first, again, other = (scene.collect(80, seed).frames for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first[0], first[EPISODE + 1])


def shown_at(frame: Any, color: tuple[int, int, int]) -> Any:
    """Return the mean place of the pixels of a colour."""
    rows, columns = np.nonzero(np.abs(frame.astype(int) - color).max(-1) < 30)
    return (np.array([columns.mean(), rows.mean()]) + 0.5) / PIXELS * 2 * VIEW - VIEW


def test_images_show_agent_and_object_where_they_are() -> None:
    data = DrawnScene().collect(40, seed=3)
    for name, color in (("agent_pose", (60, 90, 240)), ("object_pose_0", (240, 130, 40))):
        for index in (0, 20, 40):
            np.testing.assert_allclose(shown_at(data.frames[index], color), data.ground_truth[name][index], atol=0.05)


def test_every_scene_shows_what_its_name_says() -> None:
    plain = SCENES["one object"].collect(40, seed=3)

    def differs(scene: DrawnScene) -> float:
        other = scene.collect(40, seed=3)
        np.testing.assert_allclose(other.ground_truth["agent_pose"][0], plain.ground_truth["agent_pose"][0])
        return float((other.frames != plain.frames).any(-1).mean())

    changed = {name: differs(scene) for name, scene in {**SCENES, **CHANGES}.items()}
    assert changed.pop("one object") == 0
    assert min(changed.values()) > 0.001
    assert changed["a moving background"] > 0.5 and changed["an object that is hidden at times"] > 0.05
    hidden = SCENES["an object that is hidden at times"].collect(2000, seed=3).frames
    orange = (np.abs(hidden.astype(int) - (240, 130, 40)).max(-1) < 30).any((1, 2))
    assert 0.02 < 1 - orange.mean() < 0.4


def test_the_object_that_the_encoder_found_is_the_one_that_is_measured() -> None:
    data = DrawnScene(objects=2).collect(400, seed=0)
    truth = data.ground_truth
    found = truth["object_pose_1"] + [0.3, 0.1]
    knowing = SimpleNamespace(encode=lambda frames: {"agent": truth["agent_pose"] + [0.3, 0.1], "object": found})
    values = scene_errors(knowing, data)
    assert values["agent RMSE, %"] == pytest.approx(0, abs=1e-4) == values["object RMSE, %"]
    assert 20 < values["object RMSE, chance"] < 40
    found = np.add(found, [0.02, 0.0])
    values = scene_errors(knowing, data)
    assert values["object RMSE, %"] == pytest.approx(1, abs=1e-3) and values["agent RMSE, %"] < 1e-4


def test_a_scene_is_measured_also_where_something_was_changed(tmp_path: Any) -> None:
    config = scale_steps(AgentObjectConfig(contact=ContactConfig(initial_shares=(0.05,), map_rounds=1)), 0.002)
    size = DataBenchmark(transitions=1000, held_out=300, encoder=config)
    run = tmp_path / "run.checkpoint"
    values = data_benchmark.measure_scene(size, "one object", 1, "cpu", run, lambda *each: None)
    assert not run.exists()
    assert {f"object RMSE, %, {change}" for change in CHANGES} <= values.keys()
    assert values["object refused"] in (0.0, 1.0)
    other = data_benchmark.measure_scene(size, "two objects", 1, "cpu", run, lambda *each: None)
    assert not any(key.endswith(tuple(CHANGES)) for key in other)
    every = data_benchmark.measure_all_objects(size, "two objects", 1, "cpu", run, lambda *each: None)
    assert every.keys() == other.keys() and not run.exists()


def test_the_error_of_all_objects_is_the_largest_whatever_their_order() -> None:
    data = DrawnScene(objects=3).collect(400, seed=0)
    truth, moved = data.ground_truth, np.array([0.3, 0.1])
    errors = {
        "object_1": ("object_pose_2", 0.02),
        "object_2": ("object_pose_0", 0.06),
        "object_3": ("object_pose_1", 0),
    }
    latents = {name: truth[pose] + moved + [error, 0.0] for name, (pose, error) in errors.items()}
    knowing: Any = SimpleNamespace(encode=lambda frames: {"agent": truth["agent_pose"] + moved, **latents})
    values = all_object_errors(knowing, data)
    assert values["object RMSE, %"] == pytest.approx(3, abs=1e-3) and values["agent RMSE, %"] < 1e-4
    assert 20 < values["object RMSE, chance"] < 40
