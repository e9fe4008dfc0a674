"""Transitions on disk: nothing is lost, nothing half-written is left, and damage is noticed."""

import json
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from envs import dataset
from envs.collect import collect
from envs.dataset import DatasetError, load_transitions, save_transitions
from envs.transitions import Transitions, equal


@pytest.fixture(scope="module")
def collected():
    """What two worlds did in some episodes; frames that Minari would compress were it not told otherwise."""
    worlds = gym.make_vec("envs:equiact/Soccer-v0", num_envs=2, resolution=(32, 32), max_episode_steps=4, device="cpu")
    return collect(worlds, transitions=30, seed=0)


def make(start, end, frames, **changes):
    generator = np.random.default_rng(1)
    arrays = {
        "frames": generator.integers(0, 256, (frames, 40, 40, 3), dtype=np.uint8),
        "start": np.array(start),
        "end": np.array(end),
        "displacement": generator.normal(size=(len(start), 3)).astype(np.float32),
        "group": "R3",
    }
    return Transitions(**(arrays | changes))


def assert_survives(transitions, folder):
    save_transitions(transitions, folder)
    loaded = load_transitions(folder)
    assert equal(loaded, transitions)
    assert loaded.displacement.dtype == np.float32
    return loaded


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_collected_transitions_survive(collected, tmp_path):
    loaded = assert_survives(collected, tmp_path / "new" / "soccer-v0")
    assert set(loaded.truth) == {"agent_pose", "object_pose"}
    assert loaded.touched is not None and loaded.touched.any()


@pytest.mark.parametrize(
    ("start", "end", "frames"),
    [
        ([0], [1], 2),
        ([2, 0, 1], [3, 1, 2], 4),
        ([0, 0, 1, 1], [1, 1, 2, 3], 4),
        ([0, 1, 2], [1, 2, 0], 3),
        ([1, 1, 0], [1, 1, 0], 2),
        ([3, 0], [2, 1], 4),
    ],
    ids=["one", "shuffled chain", "branches", "ring", "standing still", "apart"],
)
@pytest.mark.parametrize("longest", [2, 10_000])
def test_any_links_between_frames_survive(start, end, frames, longest, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "LONGEST_EPISODE", longest)
    assert_survives(make(start, end, frames), tmp_path / "data-v0")


def test_transitions_in_any_order_survive(collected, tmp_path):
    order = np.random.default_rng(0).permutation(len(collected))[:20]
    assert_survives(collected.select(order), tmp_path / "data-v0")


def test_truth_of_any_shape_survives(tmp_path):
    generator = np.random.default_rng(0)
    shapes = {"angle": (), "pose": (2,), "frame": (2, 3), "touched": (1,)}
    truth = {name: generator.normal(size=(4, *shape)).astype(np.float32) for name, shape in shapes.items()}
    loaded = assert_survives(make([0, 1, 2], [1, 2, 3], 4, truth=truth), tmp_path / "data-v0")
    assert {name: values.shape[1:] for name, values in loaded.truth.items()} == shapes
    assert loaded.touched is None


def test_frames_that_no_transition_uses_are_left_out(tmp_path):
    transitions = make([1, 4], [2, 1], 6)
    save_transitions(transitions, tmp_path / "data-v0")
    loaded = load_transitions(tmp_path / "data-v0")
    assert len(loaded.frames) == 3
    assert equal(loaded, transitions.select(np.arange(2)))


def test_minari_reads_the_episodes(collected, tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    save_transitions(collected, tmp_path / "soccer-v0")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    assert list(minari.list_local_datasets()) == ["soccer-v0"]
    stored = minari.load_dataset("soccer-v0")
    assert stored.total_steps == len(collected)
    assert max(map(len, stored)) == 4, "an episode is what happened between two resets"
    assert sum(len(episode.observations) for episode in stored) == len(collected.frames)
    for episode in stored:
        chain = episode.infos["transition"][1:].ravel()
        np.testing.assert_array_equal(episode.observations[:-1], collected.observations[chain])
        np.testing.assert_array_equal(episode.observations[1:], collected.next_observations[chain])
        np.testing.assert_array_equal(episode.actions, collected.displacement[chain])
        np.testing.assert_array_equal(episode.infos["touched"][1:].ravel(), collected.touched[chain])
        assert episode.truncations.tolist() == [False] * (len(chain) - 1) + [True]
        assert not episode.terminations.any() and not episode.rewards.any()


def test_a_dataset_is_replaced_as_a_whole(collected, tmp_path):
    folder = tmp_path / "data-v0"
    save_transitions(collected, folder)
    assert_survives(make([0], [1], 2), folder)
    assert not (folder / "data" / "1").exists(), "no episode of the old dataset is left"
    assert [path.name for path in tmp_path.iterdir()] == ["data-v0"]


def test_a_failed_write_leaves_the_old_dataset_and_nothing_else(collected, tmp_path, monkeypatch):
    folder = tmp_path / "data-v0"
    save_transitions(collected, folder)
    before = contents(folder)
    episodes = iter([dataset._episode(collected, np.array([0]))])

    def full_disk(*_):
        for episode in episodes:
            return episode
        raise OSError("no space left on device")

    monkeypatch.setattr(dataset, "_episode", full_disk)
    with pytest.raises(OSError, match="no space left"):
        save_transitions(collected, folder)
    assert contents(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["data-v0"]


def test_a_failed_exchange_leaves_the_old_dataset_and_nothing_else(collected, tmp_path, monkeypatch):
    folder = tmp_path / "data-v0"
    save_transitions(collected, folder)
    before = contents(folder)
    rename = Path.rename

    def rename_but_not_the_new(path, target):
        if path.suffix == ".partial":
            raise OSError("input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", rename_but_not_the_new)
    with pytest.raises(OSError, match="input/output error"):
        save_transitions(make([0], [1], 2), folder)
    assert contents(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["data-v0"]


def test_a_folder_with_other_things_is_not_replaced(collected, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(DatasetError, match=r"expected a dataset or nothing in .*got \['thesis.tex'\]; choose another"):
        save_transitions(collected, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_file_is_not_replaced(collected, tmp_path):
    (tmp_path / "data-v0").write_text("")
    with pytest.raises(DatasetError, match=r"expected a dataset or nothing in .*got \['a file'\]"):
        save_transitions(collected, tmp_path / "data-v0")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DatasetError, match=rf"in {tmp_path}/none, .*got no such folder. Check the path, or collect"):
        load_transitions(tmp_path / "none")


def test_a_folder_without_a_dataset_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DatasetError, match=r"expected a dataset of transitions .*got \['notes.txt'\]"):
        load_transitions(tmp_path)


def flip_a_pixel(data):
    arrow = next((data / "0").glob("*.arrow"))
    content = bytearray(arrow.read_bytes())
    content[len(content) // 2] ^= 1
    arrow.write_bytes(content)


def cut_a_file(data):
    arrow = next((data / "0").glob("*.arrow"))
    arrow.write_bytes(arrow.read_bytes()[:1000])


def lose_an_episode(data):
    next((data / "1").glob("*.arrow")).unlink()


def cut_the_metadata(data):
    path = data / "metadata.json"
    path.write_text(path.read_text()[:-20])


@pytest.mark.parametrize("damage", [flip_a_pixel, cut_a_file, lose_an_episode, cut_the_metadata])
def test_damage_is_noticed(collected, tmp_path, damage):
    save_transitions(collected, tmp_path / "data-v0")
    damage(tmp_path / "data-v0" / "data")
    with pytest.raises(DatasetError, match=r"expected an intact dataset in .*data-v0, got a damaged one \(.*delete"):
        load_transitions(tmp_path / "data-v0")


def edit_metadata(folder, edit):
    path = folder / "data" / "metadata.json"
    metadata = json.loads(path.read_text())
    edit(metadata)
    path.write_text(json.dumps(metadata))


def test_a_dataset_of_others_is_refused(collected, tmp_path):
    save_transitions(collected, tmp_path / "data-v0")
    edit_metadata(tmp_path / "data-v0", lambda metadata: metadata.pop("transitions"))
    with pytest.raises(DatasetError, match=r"expected transitions, version 2, .*got a Minari dataset of another kind"):
        load_transitions(tmp_path / "data-v0")


def test_another_version_is_refused(collected, tmp_path):
    save_transitions(collected, tmp_path / "data-v0")
    edit_metadata(tmp_path / "data-v0", lambda metadata: metadata["transitions"].update(version=1))
    with pytest.raises(DatasetError, match=r"expected transitions, version 2, .*got version 1"):
        load_transitions(tmp_path / "data-v0")


def test_saving_again_gives_the_same_transitions(collected, tmp_path):
    once = assert_survives(collected, tmp_path / "once-v0")
    assert_survives(replace(once, touched=None), tmp_path / "twice-v0")
