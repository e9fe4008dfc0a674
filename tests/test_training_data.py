"""Training on a dataset of the user: a part is held out, and measured with the ground truth that there is."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from equiact.envs.data.minari_dataset import save_transitions
from equiact.envs.data.transitions import Transitions
from equiact.envs.storage.artifacts import read_json
from equiact.representations.encoders.agent_object import AgentObjectEncoder
from equiact.scripts.benchmarks.trained_encoder import measure_trained
from equiact.scripts.cli import main
from equiact.scripts.training_data import split_held_out


def recording(episodes: int = 4, length: int = 50) -> Transitions:
    """Return episodes of random images and movements."""
    generator, count = np.random.default_rng(0), episodes * (length + 1)
    start = np.arange(count).reshape(episodes, -1)[:, :-1].ravel()
    frames = generator.integers(0, 256, (count, 16, 16, 3), np.uint8)
    return Transitions(frames, start, start + 1, generator.normal(size=(len(start), 2)).astype(np.float32), "R2")


def test_the_last_episodes_are_held_out() -> None:
    data = recording()
    training, held_out = split_held_out(data, 60)
    assert (len(training), len(held_out)) == (100, 100)
    np.testing.assert_array_equal(held_out.frames, data.frames[102:])
    assert [len(part) for part in split_held_out(data, 50)] == [150, 50]
    with pytest.raises(ValueError, match="got 200 transitions in 4 episodes; lower --held-out"):
        split_held_out(data, 151)


def test_a_dataset_without_a_world_is_measured_on_its_own_held_out_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_transitions(recording(), tmp_path / "data")
    options = [
        "--encoder",
        "translation",
        "--held-out",
        "50",
        "--optim.steps",
        "2",
        "--optim.batch-size",
        "8",
        "--device",
        "cpu",
        "--json",
    ]
    arguments = ["train", "--data", str(tmp_path / "data"), "--output-dir", str(tmp_path / "encoder")]
    assert main([*arguments, *options]) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert result["held_out_loss"] > 0 and "agent_rmse" not in result
    assert "Collecting" not in said.err and "Held-out data" not in said.err
    assert read_json(tmp_path / "encoder" / "card.json")["metrics"]["held_out_loss"] == result["held_out_loss"]
    assert main([*arguments, *options, "--world", "Soccer"]) == 1
    said = capsys.readouterr()
    error = " ".join(said.err.split())
    assert "got R2 and (16, 16, 3); check --data" in error and "and --world" in error and "Held-out data" not in error


def test_positions_are_measured_where_their_ground_truth_is_known() -> None:
    data, generator = recording(), np.random.default_rng(0)
    poses = {name: generator.normal(size=(len(data.frames), 2)) for name in ("agent_pose", "object_pose")}
    encoder = AgentObjectEncoder((16, 16, 3), "R2").eval()
    unit = encoder.unit.clone()
    measured = measure_trained(encoder, None, replace(data, ground_truth=poses))
    assert measured["agent_rmse"] > 0 and not [name for name in measured if name.endswith("_pct")]
    assert measure_trained(encoder, None, data).keys() == {"held_out_loss", "held_out_agent_error"}
    assert encoder.unit == unit, "the encoder is not changed"


def test_too_few_transitions_are_refused_before_the_held_out_ones_are_collected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--transitions", "20", "--output-dir", str(tmp_path / "encoder"), "--device", "cpu"]) == 1
    error = capsys.readouterr().err
    assert "transitions, half of the largest batch" in error and "Held-out data" not in error
