"""Data sets on disk: transitions survive, nothing half-written is left, and damage is noticed."""

import builtins
import errno
import json
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from equiact.envs.data.collect import collect
from equiact.envs.data.exploration import ObjectExploration
from equiact.envs.data.minari_dataset import DatasetError, check_dataset_folder, load_transitions, save_transitions
from equiact.envs.data.transitions import Transitions, equal
from equiact.envs.storage.artifacts import check_output_folder
from equiact.envs.storage.json_cards import render_card


@pytest.fixture(scope="module")
def collected():
    """What two worlds did in some episodes; frames that Minari would compress were it not told otherwise."""
    worlds = gym.make_vec("equiact/Soccer-v0", num_envs=2, resolution=(32, 32), max_episode_steps=4, device="cpu")
    return collect(worlds, transitions=30, seed=0, policy=ObjectExploration(worlds))


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


def assert_survives(transitions, folder, **options):
    save_transitions(transitions, folder, **options)
    loaded = load_transitions(folder)
    assert equal(loaded, transitions)
    assert loaded.displacement.dtype == np.float32
    return loaded


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_collected_transitions_survive(collected, tmp_path):
    loaded = assert_survives(collected, tmp_path / "new" / "soccer-v0")
    assert set(loaded.ground_truth) == {"agent_pose", "object_pose"}
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
def test_any_links_between_frames_survive(start, end, frames, longest, tmp_path):
    assert_survives(make(start, end, frames), tmp_path / "data-v0", max_episode_steps=longest)


def test_too_long_episodes_are_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"expected max_episode_steps from 1 to 32768, got 40000"):
        save_transitions(make([0], [1], 2), tmp_path / "data-v0", max_episode_steps=40_000)


def test_transitions_in_any_order_survive(collected, tmp_path):
    order = np.random.default_rng(0).permutation(len(collected))[:20]
    assert_survives(collected.select(order), tmp_path / "data-v0")


def test_ground_truth_of_any_shape_survives(tmp_path):
    generator = np.random.default_rng(0)
    shapes = {"angle": (), "pose": (2,), "frame": (2, 3), "touched": (1,)}
    ground_truth = {name: generator.normal(size=(4, *shape)).astype(np.float32) for name, shape in shapes.items()}
    loaded = assert_survives(make([0, 1, 2], [1, 2, 3], 4, ground_truth=ground_truth), tmp_path / "data-v0")
    assert {name: values.shape[1:] for name, values in loaded.ground_truth.items()} == shapes
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


def fail_on(monkeypatch, module, name, when):
    """Make a function fail with a full disk if a condition on its arguments holds."""
    original = getattr(module, name)

    def failing(*arguments, **options):
        if when(*arguments):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(*arguments, **options)

    monkeypatch.setattr(module, name, failing)


def test_a_failed_write_leaves_the_old_dataset_and_nothing_else(collected, tmp_path, monkeypatch):
    folder = tmp_path / "data-v0"
    save_transitions(collected, folder)
    before = contents(folder)
    fail_on(monkeypatch, builtins, "open", lambda path, *_: str(path).endswith("3/metadata.json"))
    with pytest.raises(DatasetError, match=r"could not write .*No space left on device.*what was there is intact"):
        save_transitions(collected, folder)
    assert contents(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["data-v0"]


def test_a_failed_exchange_leaves_the_old_dataset_and_nothing_else(collected, tmp_path, monkeypatch):
    folder = tmp_path / "data-v0"
    save_transitions(collected, folder)
    before = contents(folder)
    fail_on(monkeypatch, Path, "rename", lambda path, _: path.suffix == ".partial")
    with pytest.raises(DatasetError, match="No space left"):
        save_transitions(make([0], [1], 2), folder)
    assert contents(folder) == before


@pytest.mark.parametrize("renames", [1, 2])
@pytest.mark.parametrize("repaired_by", ["load", "save"])
def test_dying_during_the_exchange_is_repaired(tmp_path, renames, repaired_by):
    folder, old, new = tmp_path / "data-v0", make([0], [1], 2), make([0, 1], [1, 2], 3)
    save_transitions(old, folder)
    run_process(save_and_die, new, folder, renames)
    assert any(path.name.startswith(".equiact-") for path in folder.iterdir())
    if repaired_by == "load":
        assert equal(load_transitions(folder), new)
    else:
        assert_survives(old, folder)
        assert [path.name for path in folder.iterdir()] == ["data"]


def save_and_die(transitions, folder, renames):
    """Save, and end the process after some renames of a folder."""
    rename, done = Path.rename, []

    def rename_and_die(path, target):
        rename(path, target)
        done.append(path)
        if len(done) == renames:
            os._exit(0)

    Path.rename = rename_and_die
    save_transitions(transitions, folder)


def run_process(target, *arguments):
    process = multiprocessing.get_context("fork").Process(target=target, args=arguments)
    process.start()
    process.join(60)
    assert process.exitcode == 0


def save_often(transitions, folder, times):
    for _ in range(times):
        save_transitions(transitions, folder)


def test_two_processes_replace_a_dataset_while_it_is_read(tmp_path):
    folder, choices = tmp_path / "data-v0", [make([0], [1], 2), make([0, 1, 2], [1, 2, 3], 4)]
    save_transitions(choices[0], folder)
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=save_often, args=(choice, folder, 25)) for choice in choices]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        loaded = load_transitions(folder)
        assert any(equal(loaded, choice) for choice in choices)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert [path.name for path in folder.iterdir()] == ["data"]


@pytest.mark.parametrize("place", [".", "data"])
def test_a_folder_with_other_things_is_not_replaced(collected, tmp_path, place):
    folder = tmp_path / "data-v0"
    save_transitions(collected, folder)
    (folder / place / "thesis.tex").write_text("years of work")
    expected = r"expected a new folder or one that holds a saved dataset, got .*other things"
    with pytest.raises(DatasetError, match=expected):
        save_transitions(collected, folder)
    assert (folder / place / "thesis.tex").read_text() == "years of work"


def test_a_dataset_of_others_is_not_replaced(tmp_path):
    (tmp_path / "soccer-v0" / "data").mkdir(parents=True)
    (tmp_path / "soccer-v0" / "data" / "metadata.json").write_text('{"total_episodes": 3}')
    with pytest.raises(DatasetError, match=r"got .*soccer-v0 with other things in it: data"):
        save_transitions(make([0], [1], 2), tmp_path / "soccer-v0")
    assert (tmp_path / "soccer-v0" / "data" / "metadata.json").exists()


def test_a_dataset_may_be_replaced_and_an_encoder_may_not(collected, tmp_path):
    save_transitions(collected, tmp_path / "data-v0")
    assert check_dataset_folder(tmp_path / "data-v0") == (tmp_path / "data-v0").resolve()
    with pytest.raises(ValueError, match="expected a new folder or one that holds a saved encoder"):
        check_output_folder(tmp_path / "data-v0", "encoder")


def test_a_file_is_not_replaced(collected, tmp_path):
    (tmp_path / "data-v0").write_text("")
    with pytest.raises(DatasetError, match=r"expected a new folder .*got a file at"):
        save_transitions(collected, tmp_path / "data-v0")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DatasetError, match=rf"in {tmp_path}/none, .*got no such folder. Check the path, or collect"):
        load_transitions(tmp_path / "none")


def test_a_folder_without_a_dataset_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DatasetError, match=r"expected a data set of transitions .*got \['notes.txt'\]"):
        load_transitions(tmp_path)


def test_a_dataset_of_others_is_not_loaded(collected, tmp_path):
    save_transitions(collected, tmp_path / "data-v0")
    (tmp_path / "data-v0" / "data" / "card.json").unlink()
    with pytest.raises(DatasetError, match=r"got a Minari dataset that was not written by this version of equiact"):
        load_transitions(tmp_path / "data-v0")


def test_a_missing_library_is_not_called_damage(tmp_path, monkeypatch):
    save_transitions(make([0], [1], 2), tmp_path / "data-v0")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(DatasetError, match=r"expected the libraries minari and pyarrow .*equiact\[data\]"):
        load_transitions(tmp_path / "data-v0")


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


def empty_the_card(data):
    (data / "card.json").write_text("")


def edit_a_number_of_the_card(data):
    path = data / "card.json"
    path.write_text(path.read_text().replace('"count": 30', '"count": 31'))


def add_a_file(data):
    (data / "0" / "other.arrow").write_bytes(b"")


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_pixel,
        cut_a_file,
        lose_an_episode,
        cut_the_metadata,
        empty_the_card,
        edit_a_number_of_the_card,
        add_a_file,
    ],
)
def test_damage_is_noticed(collected, tmp_path, damage):
    save_transitions(collected, tmp_path / "data-v0")
    damage(tmp_path / "data-v0" / "data")
    with pytest.raises(DatasetError, match=r"expected an intact data set in .*data-v0, got a damaged one \(.*delete"):
        load_transitions(tmp_path / "data-v0")


@pytest.mark.parametrize(
    "claim",
    [
        {"frames": 100_000_000},
        {"count": 10**12},
        {"frames": -1},
        {"frames": "many"},
        {"frame_shape": [8000, 8000, 3]},
        {"action": 10**9},
        {"ground_truth": {"pose": [[10**9], "float64"]}},
        {"ground_truth": {"pose": 3}},
    ],
    ids=str,
)
def test_a_card_that_asks_for_more_than_the_files_hold_is_refused_before_memory_is_used(tmp_path, claim):
    """Sign the altered card anew, so that only the check of its sizes is left."""
    folder = tmp_path / "data-v0"
    save_transitions(make([0, 1], [1, 2], 3), folder)
    path = folder / "data" / "card.json"
    path.write_bytes(render_card("dataset", json.loads(path.read_text()) | claim, folder))
    with pytest.raises(DatasetError, match="got a damaged one"):
        load_transitions(folder)


def test_saving_again_gives_the_same_transitions(collected, tmp_path):
    once = assert_survives(collected, tmp_path / "once-v0")
    assert_survives(replace(once, touched=None), tmp_path / "twice-v0")
