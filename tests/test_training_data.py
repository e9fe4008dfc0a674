"""Training on a data set of the user: whole episodes are held out, and measured with the ground truth that there is."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from equiact.envs.data.episode_split import EpisodeSplitConfig, SplitError, split_episodes
from equiact.envs.data.minari_dataset import save_transitions
from equiact.envs.data.trajectories import episode_ids
from equiact.envs.data.transitions import Transitions, concatenate
from equiact.envs.storage.artifacts import read_json
from equiact.representations.encoders.agent_object import AgentObjectEncoder
from equiact.representations.encoders.registry import encoder_config
from equiact.representations.encoders.translation_encoder import TranslationConfig, TranslationEncoder
from equiact.scripts.benchmarks.trained_encoder import measure_trained
from equiact.scripts.cli import main
from equiact.scripts.training_data import (
    DataSource,
    name_options,
    require_encoder_fits,
    require_learnable,
    split_held_out,
    suggest_encoder_for_group,
    unseen_part,
)


def recording(episodes: int = 4, length: int = 50, group: str = "R2", side: int = 16) -> Transitions:
    """Return episodes of random images and movements."""
    generator, count = np.random.default_rng(0), episodes * (length + 1)
    start = np.arange(count).reshape(episodes, -1)[:, :-1].ravel()
    frames = generator.integers(0, 256, (count, side, side, 3), np.uint8)
    return Transitions(frames, start, start + 1, generator.normal(size=(len(start), 2)).astype(np.float32), group)


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    """Return standard error as one line."""
    return " ".join(capsys.readouterr().err.split())


def keys(frames: np.ndarray[Any, Any]) -> set[bytes]:
    return {frame.tobytes() for frame in frames}


@pytest.mark.parametrize("share", [0.05, 0.25, 0.26, 0.5, 0.99])
def test_whole_episodes_are_held_out(share: float) -> None:
    data = recording(episodes=8, length=10)
    split = split_episodes(data, EpisodeSplitConfig(held_out_share=share))
    assert len(split.training) + len(split.held_out) == len(data)
    assert not keys(split.training.frames) & keys(split.held_out.frames), "no frame is in both"
    assert split.episodes == len(np.unique(episode_ids(data)[split.rows])) == len(split.held_out) // 10
    assert split.episodes == min(7, int(np.ceil(8 * share)))
    np.testing.assert_array_equal(split.held_out.displacement, data.displacement[split.rows])


def test_the_seed_decides_which_episodes_are_held_out() -> None:
    data = recording(episodes=8, length=10)
    rows = [split_episodes(data, EpisodeSplitConfig(seed=seed)).rows.tolist() for seed in (0, 0, 1, 2)]
    assert rows[0] == rows[1] and len({tuple(each) for each in rows}) > 1


def test_a_single_episode_is_cut_in_time_without_a_shared_frame() -> None:
    data = recording(episodes=1, length=100)
    split = split_episodes(data, EpisodeSplitConfig(held_out_share=0.2))
    assert (len(split.training), len(split.held_out), split.episodes) == (79, 20, 0)
    assert split.rows.tolist() == list(range(80, 100))
    assert not keys(split.training.frames) & keys(split.held_out.frames)
    with pytest.raises(SplitError, match="an episode of at least 3 transitions to cut into two parts, got 2"):
        split_episodes(recording(episodes=1, length=2))


def test_bad_shares_are_refused() -> None:
    for share in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(SplitError, match="a held-out share between 0 and 1"):
            EpisodeSplitConfig(held_out_share=share)


def test_too_small_a_part_is_refused() -> None:
    assert len(split_held_out(recording(), 0.2).held_out) == 50
    with pytest.raises(ValueError, match=r"at least 32 held-out transitions, got 10 of 80 with --held-out-share 0.1"):
        split_held_out(recording(episodes=8, length=10), 0.1)


def test_the_encoder_is_suggested_by_the_group(tmp_path: Path) -> None:
    assert [suggest_encoder_for_group(group) for group in ("R3", "SO2", "SE2", None)] == [
        "agent-object",
        "class-pose",
        "class-pose",
        "agent-object",
    ]
    save_transitions(recording(), tmp_path)
    assert DataSource(tmp_path).known_group == "R2" and DataSource(tmp_path, group="R3").known_group == "R3"
    assert DataSource(tmp_path / "nowhere").known_group is None


def test_arguments_in_messages_become_options() -> None:
    assert (
        name_options("pass group, such as 'R2', or image_key='a'") == "pass --group, such as 'R2', or --image-key 'a'"
    )


def test_an_encoder_that_does_not_suit_the_group_is_refused_with_those_that_do() -> None:
    data = recording()
    turns = replace(data, group="SO2", displacement=np.tile([[1.0, 0.0]], (len(data), 1)).astype(np.float32))
    with pytest.raises(
        ValueError, match=r"agent-object cannot learn the group SO2 of data: .* choose --encoder from"
    ) as e:
        require_learnable("agent-object", encoder_config("agent-object"), turns, "data")
    assert "class-pose" in str(e.value) and "translation" not in str(e.value).split("choose")[1]


def test_images_that_are_too_small_for_the_backbone_are_refused() -> None:
    config = replace(encoder_config("class-pose"), backbone="strided")
    with pytest.raises(
        ValueError, match=r"class-pose cannot learn from images of 8 × 8 pixels in d: expected images of"
    ):
        require_learnable("class-pose", config, recording(side=8), "d")


def test_a_saved_encoder_must_fit_the_data() -> None:
    encoder = TranslationEncoder((16, 16, 3), "R3")
    with pytest.raises(ValueError, match=r"the group R3 and images \(16, 16, 3\) of the encoder, got R2 and"):
        require_encoder_fits(encoder, recording(), "--data d")


def train(folder: Path, *options: str) -> int:
    """Run ``equiact train`` on the data set in a folder with few updates."""
    few = ["--optim.steps", "2", "--optim.batch-size", "8", "--device", "cpu", "--json"]
    paths = ["--data", str(folder / "data"), "--output-dir", str(folder / "encoder")]
    return main(["train", *paths, "--encoder", "translation", *few, *options])


def test_a_dataset_without_a_world_is_measured_on_its_own_held_out_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = recording(side=32)
    save_transitions(data, tmp_path / "data")
    assert train(tmp_path) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    names = {"equivariance_ratio_1", "equivariance_error_10", "hit_rate_10", "latent_dimension", "displacement_rms"}
    assert names <= result.keys() and result["held_out_loss"] > 0 and "agent_rmse" not in result
    assert "Collecting" not in said.err and "Held-out data" not in said.err, "no world is simulated"
    card = read_json(tmp_path / "encoder" / "card.json")
    assert card["metrics"]["held_out_loss"] == result["held_out_loss"]
    split = split_held_out(data, 0.2)
    assert card["data_fingerprint"] == split.training.fingerprint
    assert card["measured_on"].pop("warnings", []) == result.get("warnings", [])
    assert card["measured_on"] == {
        "source": "held-out episodes of the same data set",
        "transitions": 50,
        "episodes": 1,
        "data_fingerprint": split.held_out.fingerprint,
        "data": "data",
        "dataset_fingerprint": data.fingerprint,
        "held_out_share": 0.2,
        "training_transitions": 150,
    }
    report = tmp_path / "encoder-report"
    drawn = {"curves.png", "errors.png", "frames.png", "latents.png", "predicted_latents.png"}
    assert {path.name for path in report.iterdir()} == {*drawn, "report.html", "training.json"}
    page = (report / "report.html").read_text()
    assert page.count("<picture>") == 5 and "fingerprint " + split.held_out.fingerprint in page
    assert train(tmp_path) == 0, "an own encoder and its report are replaced"


def test_the_world_is_used_only_if_it_is_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_transitions(recording(), tmp_path / "data")
    assert train(tmp_path, "--world", "Soccer") == 1
    error = error_of(capsys)
    assert "got R2 and (16, 16, 3); check --data" in error and "and --world" in error and "Held-out data" not in error
    assert train(tmp_path, "--held-out", "50") == 1
    assert "--held-out counts transitions of a world; give --held-out-share with --data" in error_of(capsys)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--held-out-share", "1"), "a held-out share between 0 and 1, got 1"),
        (("--held-out-share", "0.9", "--optim.batch-size", "256"), "half of the largest batch, got 50"),
        (("--group", "R3"), "R3"),
        (("--displacement", "column:action"), "which equiact wrote"),
        (("--format", "csv"), "expected one of the formats"),
        (("--ground-truth", "agent_pose"), "expected --ground-truth NAME=COLUMN"),
    ],
)
def test_everything_is_checked_before_the_training(
    options: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_transitions(recording(), tmp_path / "data")
    assert train(tmp_path, *options) == 1
    error = error_of(capsys)
    assert message in error and "Training" not in error
    assert not list(tmp_path.glob("encoder*")), "nothing is written"


def test_another_group_than_the_encoders_is_refused_before_the_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = recording()
    turns = np.tile([[0.0, 1.0]], (len(data), 1)).astype(np.float32)
    save_transitions(replace(data, group="SO2", displacement=turns), tmp_path / "data")
    assert train(tmp_path) == 1
    error = error_of(capsys)
    assert "--encoder translation cannot learn the group SO2 of --data" in error and "Training" not in error


def test_short_episodes_are_measured_as_far_as_they_reach(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_transitions(recording(episodes=40, length=6), tmp_path / "data")
    assert train(tmp_path) == 0
    result = json.loads(capsys.readouterr().out)
    assert "equivariance_error_5" in result and "equivariance_error_10" not in result and "hit_rate_10" not in result
    assert result["not_measured"][0] == "The equivariance error after 10 steps: no held-out episode has so many."
    assert "Hits after 10 steps: expected at least 32 trajectories" in result["not_measured"][1]
    assert "Hits after 10 steps" in (tmp_path / "encoder-report" / "report.html").read_text()


def test_the_encoder_is_kept_if_the_report_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ValueError("no figure today")

    monkeypatch.setattr("equiact.scripts.held_out_measurement.measure_on_data", fail)
    save_transitions(recording(), tmp_path / "data")
    assert train(tmp_path) == 1
    assert "no figure today" in error_of(capsys)
    TranslationEncoder.load(tmp_path / "encoder")


def test_an_encoder_is_evaluated_on_the_episodes_that_it_did_not_see() -> None:
    data = recording(episodes=5)
    encoder = TranslationEncoder((16, 16, 3), "R2", TranslationConfig())
    whole, source = unseen_part(encoder, data)
    assert whole is data and source.startswith("all transitions of a data set that the encoder was not trained on")
    encoder.measured_on = {"dataset_fingerprint": data.fingerprint, "held_out_share": 0.4}
    part, source = unseen_part(encoder, data)
    assert part.fingerprint == split_held_out(data, 0.4).held_out.fingerprint and source.startswith("held-out")
    encoder.measured_on, encoder.data_fingerprint = {}, data.fingerprint
    assert unseen_part(encoder, data)[1].endswith("not held out")


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
    options = ["--transitions", "20", "--output-dir", str(tmp_path / "encoder"), "--device", "cpu"]
    for encoder, reason in (("translation", "half of the largest batch"), ("agent-object", "at least 212 transitions")):
        assert main(["train", *options, "--encoder", encoder]) == 1
        error = " ".join(capsys.readouterr().err.split())
        assert reason in error and "Held-out data" not in error


def test_ground_truth_of_the_data_is_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = recording()
    pose = np.random.default_rng(1).normal(size=(len(data.frames), 2)).astype(np.float32)
    save_transitions(concatenate([replace(data, ground_truth={"agent_pose": pose})]), tmp_path / "data")
    assert train(tmp_path) == 0
    assert {"agent_rigid_rmse", "agent_linear_r2"} <= json.loads(capsys.readouterr().out).keys()
