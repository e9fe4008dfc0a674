"""Data sets of other packages: rules for the displacement, NumPy, Minari and robomimic, and what is refused."""

import importlib.util
import json
import sys
import types
import warnings

import gymnasium as gym
import numpy as np
import pytest
from equiact.envs.data.minari_dataset import DatasetError, save_transitions
from equiact.envs.data.transitions import Transitions, equal
from equiact.envs.data_formats.dataset_loading import load_dataset
from equiact.envs.data_formats.displacement_rule import DisplacementRule
from equiact.envs.data_formats.episode_columns import EpisodeColumns, find_name, to_elements
from equiact.envs.lie_groups.registry import group_from_name

SHAPE = (32, 40, 3)


def images(count, seed=0, shape=SHAPE):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def numbers(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# The rule for the displacement


def rule(text, columns, frames, group="R2"):
    return DisplacementRule.parse(text).displacement(EpisodeColumns(columns, frames), group_from_name(group))


def doubled(columns):
    """Return twice the action, for the rule ``module:function``."""
    return 2 * columns["action"][:-1]


def failing(columns):
    return columns["action"] / columns["nothing"]


def as_many_as_frames(columns):
    return columns["action"]


def test_a_column_of_actions_belongs_to_the_step_after_its_frame():
    action = numbers(4, 2)
    np.testing.assert_array_equal(rule("column:action", {"action": action}, 4), action[:-1])
    np.testing.assert_array_equal(rule("column:actions", {"actions": action}, 5), action)


@pytest.mark.parametrize("name", ["observation.odometry", "observations/odometry", "obs/odometry", "infos/odometry"])
def test_what_is_observed_belongs_to_the_step_before_its_frame(name):
    moves = numbers(4, 2)
    np.testing.assert_array_equal(rule(f"column:{name}", {name: moves}, 4), moves[1:])


def test_differences_in_space_are_plain():
    state = np.array([[0, 9, 0], [1, 9, 2], [4, 9, 2]])
    expected = [[1, 2], [3, 0]]
    np.testing.assert_array_equal(rule("difference:observation.state[0,2]", {"observation.state": state}, 3), expected)


@pytest.mark.parametrize("group", ["SO2", "SE2", "SO3", "R2xSO2"])
def test_differences_of_poses_are_the_relative_poses(group):
    acting = group_from_name(group)
    poses = acting.random(np.random.default_rng(0), 6)
    got = rule("difference:pose", {"pose": poses}, 6, group)
    expected = acting.compose(poses[1:], acting.inverse(poses[:-1]))
    np.testing.assert_array_equal(got, expected.astype(np.float32))
    np.testing.assert_allclose(acting.compose(got.astype(float), poses[:-1]), poses[1:], atol=1e-6)


def test_differences_of_angles_do_not_jump_at_half_a_turn():
    heading = np.array([[1.0, 2.0, np.pi - 0.1], [1.0, 2.0, -np.pi + 0.1]])
    got = rule("difference:pose[2]", {"pose": heading}, 2, "SO2")
    np.testing.assert_allclose(got, [[np.cos(0.2), np.sin(0.2)]], atol=1e-6)
    moved = rule("difference:pose", {"pose": heading}, 2, "SE2")
    turned = group_from_name("SE2").compose(moved.astype(float), np.array([[1.0, 2.0, -np.cos(0.1), np.sin(0.1)]]))
    np.testing.assert_allclose(turned, [[1.0, 2.0, -np.cos(0.1), -np.sin(0.1)]], atol=1e-6)


def test_a_function_gets_the_columns():
    action = numbers(4, 2)
    np.testing.assert_array_equal(rule(f"{__name__}:doubled", {"action": action}, 4), 2 * action[:-1])
    np.testing.assert_array_equal(rule(doubled, {"action": action}, 4), 2 * action[:-1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("action", r"expected a rule 'column:NAME', 'difference:NAME' or 'module:function' .*got 'action'"),
        ("column:", "expected a rule 'column:NAME'.*got 'column:'"),
        (3, "expected a rule 'column:NAME'.*got 3"),
        ("no_such_module:function", "'no_such_module:function', which cannot be imported: No module named"),
        ("json:no_such_function", "cannot be imported: module 'json' has no attribute"),
        ("json:__name__", r"expected a function .*got 'json:__name__', a str"),
        ("column:action[a]", r"expected a column such as .*got 'action\[a\]'"),
        ("column:action[2]", r"expected coordinates below 2 in 'action\[2\]', got 2"),
        ("column:action[1:1]", "expected at least one coordinate, got none by"),
        ("column:action[:,]", "expected a selection such as"),
        ("column:state", "expected one column 'state', got 0; columns: action, long, name, step. Choose one of these"),
        ("column:name", "expected numbers in the column 'name'"),
        ("column:action[0]", r"expected 2 coordinates of R2 in action\[0\], got 1; select them"),
        ("difference:step", r"expected one entry of 'step' for each of the 4 frames of an episode, got 3"),
        ("column:long", r"expected 3 or 4 entries of 'long' in an episode of 4 frames, got 9"),
        (
            f"{__name__}:failing",
            "failing failed on an episode of 4 frames with KeyError: .expected one column .nothing., got 0",
        ),
        (f"{__name__}:as_many_as_frames", r"expected \(3, dim\) numbers from .*as_many_as_frames .*got \(4, 2\)"),
    ],
)
def test_rules_that_cannot_be_are_refused(text, message):
    columns = {"action": numbers(4, 2), "name": np.array(["a"] * 4), "step": numbers(3, 2), "long": numbers(9, 2)}
    with pytest.raises(DatasetError, match=message):
        rule(text, columns, 4)


def test_numbers_that_are_not_finite_are_refused():
    with pytest.raises(DatasetError, match="expected finite numbers in action, got nan"):
        rule("column:action", {"action": np.full((3, 2), np.nan)}, 3)


def test_columns_are_a_mapping():
    columns = EpisodeColumns({"a": {"b": np.zeros(2)}}, 2)
    assert "a.b" in columns
    assert "c" not in columns
    assert columns.get("c") is None
    assert list(columns) == ["a/b"]


def test_dots_and_slashes_are_the_same():
    assert find_name("observations.pos", ["observations/pos", "pos"]) == "observations/pos"
    with pytest.raises(DatasetError, match=r"got 2; columns: a/b.c, a.b/c"):
        find_name("a.b.c", ["a/b.c", "a.b/c"])


@pytest.mark.parametrize(
    ("group", "short", "element"),
    [
        ("SO2", [0.3], [np.cos(0.3), np.sin(0.3)]),
        ("C4", [np.pi / 2], [0, 1]),
        ("SE2", [1, 2, 0.3], [1, 2, np.cos(0.3), np.sin(0.3)]),
        ("R2xSO2", [1, 2, 0.3], [1, 2, np.cos(0.3), np.sin(0.3)]),
        ("R3", [1, 2, 3], [1, 2, 3]),
    ],
)
def test_short_forms_of_elements(group, short, element):
    np.testing.assert_allclose(to_elements(group_from_name(group), np.array([short], float), "x"), [element], atol=1e-9)


def test_a_rotation_vector_is_a_rotation():
    group = group_from_name("SO3")
    np.testing.assert_allclose(group.log(to_elements(group, np.array([[0.1, 0.2, 0.3]]), "x")), [[0.1, 0.2, 0.3]])


# NumPy


def write_npz(folder, **changes):
    arrays = {
        "images": images(7),
        "episode": np.array([0, 0, 0, 4, 4, 4, 4]),
        "displacement": numbers(7, 2),
        "observation.pose": numbers(7, 3),
    }
    path = folder / "data.npz"
    np.savez(path, **{name: values for name, values in (arrays | changes).items() if values is not None})
    return path, arrays


def test_numpy_arrays_are_read(tmp_path):
    path, arrays = write_npz(tmp_path)
    got = load_dataset(path, group="R2", ground_truth={"pose": "observation.pose[1:3]"})
    assert got.start.tolist() == [0, 1, 3, 4, 5]
    np.testing.assert_array_equal(got.frames, arrays["images"])
    np.testing.assert_array_equal(got.displacement, arrays["displacement"][[0, 1, 3, 4, 5]])
    np.testing.assert_array_equal(got.ground_truth["pose"], arrays["observation.pose"][:, 1:])


def test_channel_first_images_are_read_if_asked_for(tmp_path):
    path, arrays = write_npz(tmp_path, images=np.moveaxis(images(7), -1, 1))
    with pytest.raises(DatasetError, match=r"\(3, 32, 40\), which looks channel-first; pass channel_first=True"):
        load_dataset(path, group="R2")
    np.testing.assert_array_equal(load_dataset(path, group="R2", channel_first=True).frames, arrays["images"])


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        (
            {"episode": None},
            {},
            "expected an array 'episode' with the episode of each frame .*got displacement, images",
        ),
        ({"episode": np.zeros(7)}, {}, r"expected integers \(F,\) in the array 'episode' .*got \(7,\) of float64"),
        ({"episode": np.array([0, 0, 1, 1, 0, 0, 0])}, {}, "one after another .*got them apart"),
        ({"displacement": numbers(5, 2)}, {}, r"each of the 7 frames .*got displacement of the shape \(5, 2\)"),
        ({"images": images(7).astype(float)}, {}, "expected one image column in an NPZ file .*got no images"),
        ({"other": images(7)}, {}, r"got 2 image columns: images \(32, 40, 3\), other .*Choose one by image_key"),
        ({}, {"image_key": "camera"}, r"expected the image column 'camera' .*image columns: images \(32, 40, 3\)"),
        ({}, {"group": None}, "expected the group that acts in an NPZ file .*pass group, such as 'R2'"),
        ({}, {"group": "nothing"}, "unknown group 'nothing'"),
        ({}, {"group": "SE2"}, "expected 3 or 4 coordinates of SE2 in displacement, got 2"),
        ({"displacement": None}, {"group": None}, "a rule for the displacement .*; also expected the group that acts"),
        ({"displacement": None}, {"image_key": "no"}, "a rule .*; also expected the image column 'no'"),
        ({"displacement": None}, {}, "expected a rule for the displacement .*with one of the columns observation.pose"),
        ({}, {"format": "rlds"}, "expected one of the formats equiact, minari, lerobot, robomimic, npz, got 'rlds'"),
        ({}, {"format": "lerobot"}, "meta/info.json"),
        ({}, {"max_bytes": 20_000}, "expected a file of at most 20000 bytes"),
        ({}, {"ground_truth": {"pose": "pose"}}, "expected one column 'pose', got 0"),
        ({"episode": np.arange(7)}, {}, "expected an episode with two images or more, got none"),
        ({"extra": np.array([{}] * 7)}, {}, "Arrays of Python objects are not read"),
    ],
)
@pytest.mark.filterwarnings("ignore:episode .* has no transition")
def test_numpy_arrays_that_do_not_fit_are_refused(tmp_path, changes, options, message):
    path, _ = write_npz(tmp_path, **changes)
    with pytest.raises(DatasetError, match=message):
        load_dataset(path, **({"group": "R2"} | options))


def test_an_array_that_states_more_than_there_is_is_refused_before_memory_is_used(tmp_path):
    path, _ = write_npz(tmp_path)
    content = path.read_bytes()
    assert content.count(b"(7, 32, 40, 3)") == 1
    path.write_bytes(content.replace(b"(7, 32, 40, 3), }        ", b"(7000000, 32, 40, 3), }  "))
    with pytest.raises(DatasetError, match="got a damaged one"):
        load_dataset(path, group="R2")


# What is found


def test_our_own_data_sets_need_no_rule(tmp_path):
    own = Transitions.from_episodes([{"images": images(3), "displacement": numbers(2, 2)}], "R2")
    save_transitions(own, tmp_path / "data")
    assert equal(load_dataset(tmp_path / "data"), own)
    assert equal(load_dataset(str(tmp_path / "data"), group="R2"), own)
    with pytest.raises(DatasetError, match=r"expected the group R2, which .* states, got 'SE2'; leave it out"):
        load_dataset(tmp_path / "data", group="SE2")
    with pytest.raises(DatasetError, match=r"expected no displacement for .* got 'column:actions'; leave it out"):
        load_dataset(tmp_path / "data", displacement="column:actions")


def test_it_is_said_what_was_found(tmp_path):
    with pytest.raises(DatasetError, match=r"Minari .* LeRobot .* robomimic, or an NPZ file at .*got no such file"):
        load_dataset(tmp_path / "nothing")
    with pytest.raises(DatasetError, match="got an empty folder; check the path"):
        load_dataset(tmp_path)
    (tmp_path / "notes.txt").write_text("hello there")
    with pytest.raises(DatasetError, match=r"got a folder with notes.txt"):
        load_dataset(tmp_path)
    with pytest.raises(DatasetError, match=r"got a file that begins with b'hello th'"):
        load_dataset(tmp_path / "notes.txt")


# Minari


PIXELS = gym.spaces.Box(0, 255, SHAPE, np.uint8)
SPACE = gym.spaces.Dict(pixels=PIXELS, agent_pos=gym.spaces.Box(-np.inf, np.inf, (3,)))
LENGTHS = (4, 7, 1)


def smooth(count):
    ramp = np.add.outer(np.arange(SHAPE[0]), np.arange(SHAPE[1]))[None, ..., None]
    return (ramp + 7 * np.arange(count)[:, None, None, None] + np.array([0, 40, 80])).astype(np.uint8)


def minari_buffers(infos=True):
    from minari.data_collector.episode_buffer import EpisodeBuffer

    for number, length in enumerate(LENGTHS):
        entries = {"single": np.arange(length + 1.0), "nested": {"moved": numbers(length + 1, 2, seed=number)}}
        yield EpisodeBuffer(
            id=number,
            observations={"pixels": smooth(length + 1), "agent_pos": numbers(length + 1, 3, seed=10 + number)},
            actions=numbers(length, 2, seed=20 + number),
            rewards=[0.0] * length,
            terminations=[False] * length,
            truncations=[False] * (length - 1) + [True],
            infos=entries if infos else {},
        )


def write_minari(folder, monkeypatch, data_format="hdf5", jpeg=False, infos=True):
    minari = pytest.importorskip("minari")
    pytest.importorskip("h5py" if data_format == "hdf5" else "pyarrow")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        minari.create_dataset_from_buffers(
            "foreign/set-v0",
            list(minari_buffers(infos)),
            observation_space=SPACE,
            action_space=gym.spaces.Box(-np.inf, np.inf, (2,)),
            data_format=data_format,
            jpeg_encoding=jpeg,
        )
    return folder / "foreign/set-v0"


@pytest.mark.parametrize("data_format", ["hdf5", "arrow", "parquet"])
def test_a_data_set_of_minari_is_read(tmp_path, monkeypatch, data_format):
    path = write_minari(tmp_path, monkeypatch, data_format)
    got = load_dataset(path, displacement="column:actions", group="R2", ground_truth={"p": "observations.agent_pos"})
    assert got.start.tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 13]
    np.testing.assert_array_equal(got.frames, np.concatenate([smooth(n + 1) for n in LENGTHS]))
    expected = [numbers(n, 2, seed=20 + i) for i, n in enumerate(LENGTHS)]
    np.testing.assert_array_equal(got.displacement, np.concatenate(expected))
    poses = [numbers(n + 1, 3, seed=10 + i) for i, n in enumerate(LENGTHS)]
    np.testing.assert_array_equal(got.ground_truth["p"], np.concatenate(poses))
    moved = load_dataset(path / "data", displacement="column:infos/nested/moved", group="R2").displacement
    np.testing.assert_array_equal(moved, np.concatenate([numbers(n + 1, 2, seed=i)[1:] for i, n in enumerate(LENGTHS)]))
    single = load_dataset(path, displacement="column:infos.single", group="R1").displacement
    assert single[:, 0].tolist() == [1, 2, 3, 4, 1, 2, 3, 4, 5, 6, 7, 1]


@pytest.mark.parametrize("data_format", ["hdf5", "arrow"])
def test_images_of_minari_that_are_jpeg_are_read(tmp_path, monkeypatch, data_format):
    path = write_minari(tmp_path, monkeypatch, data_format, jpeg=True)
    got = load_dataset(path, displacement="difference:observations/agent_pos[0:2]", group="R2")
    expected = np.concatenate([smooth(n + 1) for n in LENGTHS])
    off = np.abs(got.frames.astype(int) - expected).mean()
    assert 0 < off < 12  # JPEG is lossy
    minari = pytest.importorskip("minari")
    theirs = minari.MinariDataset(path / "data")
    if data_format == "hdf5":  # their Arrow reader fails on infos that are single numbers
        np.testing.assert_array_equal(got.frames[:5], theirs[0].observations["pixels"])


def test_the_data_collector_of_minari_is_read(tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    pytest.importorskip("h5py")
    stand_in_for_jax(monkeypatch)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    collector = minari.DataCollector(Moving(), record_infos=True)
    for seed in range(2):
        collector.reset(seed=seed)
        for _ in range(5 - seed):
            collector.step(collector.action_space.sample())
    collector.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        collector.create_dataset("mine/moving-v0")
    path = tmp_path / "mine/moving-v0"
    read = load_dataset(path, displacement="column:infos/displacement", group="R2")
    computed = load_dataset(path, displacement="difference:observations.agent_pos", group="R2")
    assert len(read) == 9
    np.testing.assert_array_equal(read.displacement, computed.displacement)
    assert (read.frames[:, 0, 0, 0] == 10 * np.concatenate([np.arange(6), np.arange(5)])).all()


def stand_in_for_jax(monkeypatch):
    """Give Minari's data collector the one function of jax that it needs, where jax is not installed."""

    def tree_map(function, tree, *others):
        if isinstance(tree, dict):
            return {key: tree_map(function, tree[key], *(other[key] for other in others)) for key in tree}
        return function(tree, *others)

    jax, tree_util = types.ModuleType("jax"), types.ModuleType("jax.tree_util")
    jax.tree_util, tree_util.tree_map = tree_util, tree_map
    if importlib.util.find_spec("jax") is None:
        monkeypatch.setitem(sys.modules, "jax", jax)
        monkeypatch.setitem(sys.modules, "jax.tree_util", tree_util)


class Moving(gym.Env):
    """An environment of a stranger, which reports what moved in ``info``."""

    observation_space = gym.spaces.Dict(
        pixels=gym.spaces.Box(0, 255, (32, 32, 3), np.uint8), agent_pos=gym.spaces.Box(-9, 9, (2,), np.float64)
    )
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.position = 0, np.zeros(2)
        return self._seen(np.zeros(2))

    def step(self, action):
        self.steps, moved = self.steps + 1, np.round(action * 4) / 4
        self.position = self.position + moved
        observation, info = self._seen(moved)
        return observation, 0.0, False, False, info

    def _seen(self, moved):
        pixels = np.full((32, 32, 3), 10 * self.steps, np.uint8)
        return {"pixels": pixels, "agent_pos": self.position}, {"displacement": moved, "size": 1.0}


def test_missing_infos_of_minari_are_said(tmp_path, monkeypatch):
    path = write_minari(tmp_path, monkeypatch, infos=False)
    with pytest.raises(DatasetError, match="expected one column 'infos/moved', got 0; columns: actions"):
        load_dataset(path, displacement="column:infos/moved", group="R2")


def edit_metadata(path, **changes):
    file = path / "data/metadata.json"
    content = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))


def lose_an_episode(path):
    import h5py

    with h5py.File(path / "data/main_data.hdf5", "a") as file:
        del file["episode_1"]


def cut_images(path):
    import h5py

    with h5py.File(path / "data/main_data.hdf5", "a") as file:
        kept = file["episode_1/observations/pixels"][:3]
        del file["episode_1/observations/pixels"]
        file["episode_1/observations/pixels"] = kept


def link_to_another_file(path):
    import h5py

    with h5py.File(path / "data/main_data.hdf5", "a") as file:
        file["episode_1/observations/more"] = h5py.ExternalLink("/etc/other.hdf5", "/data")


def state_a_huge_array(path):
    import h5py

    with h5py.File(path / "data/main_data.hdf5", "a") as file:
        file.create_dataset("episode_1/infos/huge", (2**40,), chunks=True, dtype="f8")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: (path / "data/main_data.hdf5").write_bytes(b"\0" * 100), "got a damaged one"),
        (lambda path: (path / "data/main_data.hdf5").unlink(), "got a damaged one"),
        (lambda path: (path / "data/metadata.json").write_text("{"), "expected the metadata.json of a Minari data set"),
        (lambda path: edit_metadata(path, observation_space=None), "expected the spaces observation_space and"),
        (lambda path: edit_metadata(path, observation_space="{}"), "got a damaged one"),
        (lambda path: edit_metadata(path, total_episodes=0), "expected a Minari data set with episodes at .*got none"),
        (lambda path: edit_metadata(path, total_steps=2**50), r"expected at most \d+ bytes of observations/pixels"),
        (lambda path: edit_metadata(path, data_format="zarr"), "expected the data_format hdf5, arrow or parquet"),
        (lose_an_episode, "got a damaged one .*episode_1"),
        (cut_images, "got a damaged one .*episode 1 has 3 images and 7 steps"),
        (link_to_another_file, "expected an HDF5 file that needs no other at .*got a link at .*more"),
        (state_a_huge_array, r"expected at most \d+ bytes of /episode_1/infos/huge"),
    ],
)
def test_a_damaged_data_set_of_minari_is_refused(tmp_path, monkeypatch, damage, message):
    path = write_minari(tmp_path, monkeypatch)
    damage(path)
    with pytest.raises(DatasetError, match=message):
        load_dataset(path, displacement="column:actions", group="R2")


def test_the_environment_of_a_data_set_is_never_made(tmp_path, monkeypatch):
    path = write_minari(tmp_path, monkeypatch)
    spec = gym.envs.registration.EnvSpec("Evil-v0", entry_point=f"{__name__}:Evil").to_json()
    edit_metadata(path, env_spec=spec)
    load_dataset(path, displacement="column:actions", group="R2")
    edit_metadata(path, action_space=None)
    with pytest.raises(DatasetError, match="its environment is not made to find them out"):
        load_dataset(path, displacement="column:actions", group="R2")


class Evil(gym.Env):
    """An environment that must not be made."""

    def __init__(self):
        raise SystemExit("an environment was made")


@pytest.mark.parametrize("library", ["minari", "h5py"])
def test_a_missing_library_is_not_called_damage(tmp_path, monkeypatch, library):
    path = write_minari(tmp_path, monkeypatch)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(DatasetError, match=r"expected the libraries that read a Minari data set, .*equiact\[data,for"):
        load_dataset(path, displacement="column:actions", group="R2")


# robomimic


def write_robomimic(folder, following=True, lengths=(5, 3, 12)):
    h5py = pytest.importorskip("h5py")
    path = folder / "low_dim.hdf5"
    with h5py.File(path, "w") as file:
        file.create_group("data").attrs["env_args"] = json.dumps({"env_name": "Lift", "type": 1})
        for number, length in reversed(list(enumerate(lengths))):  # demo_10 comes before demo_2 in the file
            demo = file["data"].create_group(f"demo_{9 + number}")
            demo["actions"] = numbers(length, 7, seed=number)
            demo["dones"] = np.zeros(length)
            seen, position = images(length + 1, seed=number), numbers(length + 1, 3, seed=30 + number)
            demo["obs/agentview_image"], demo["obs/robot0_eef_pos"] = seen[:-1], position[:-1]
            if following:
                demo["next_obs/agentview_image"], demo["next_obs/robot0_eef_pos"] = seen[1:], position[1:]
    return path


def test_a_file_of_robomimic_is_read(tmp_path):
    got = load_dataset(write_robomimic(tmp_path), displacement="column:actions[0:2]", group="R2")
    np.testing.assert_array_equal(got.frames, np.concatenate([images(n + 1, seed=i) for i, n in enumerate((5, 3, 12))]))
    expected = np.concatenate([numbers(n, 7, seed=i)[:, :2] for i, n in enumerate((5, 3, 12))])
    np.testing.assert_array_equal(got.displacement, expected)


def test_without_next_observations_the_last_action_is_left_out(tmp_path):
    path = write_robomimic(tmp_path, following=False)
    got = load_dataset(path, displacement="difference:obs/robot0_eef_pos", group="R3")
    assert len(got.frames) == 20
    assert len(got) == 17
    expected = np.diff(numbers(6, 3, seed=30)[:-1].astype(float), axis=0).astype(np.float32)
    np.testing.assert_array_equal(got.displacement[:4], expected)


def test_a_file_of_robomimic_that_does_not_fit_is_refused(tmp_path):
    import h5py

    path = write_robomimic(tmp_path)
    with pytest.raises(DatasetError, match=r"expected at most 9000 bytes of /data/demo_10/next_obs/agentview_image"):
        load_dataset(path, displacement="column:actions", group="R7", max_bytes=9000)
    with h5py.File(path, "a") as file:
        del file["data/demo_10/obs/robot0_eef_pos"]
    with pytest.raises(DatasetError, match=r"got a damaged one .*demo_10 has no obs/robot0_eef_pos"):
        load_dataset(path, displacement="difference:obs/robot0_eef_pos", group="R3")
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["values"] = np.zeros(3)
    with pytest.raises(DatasetError, match=r"expected data/demo_0 and so on .*got values"):
        load_dataset(tmp_path / "other.hdf5", displacement="column:actions", group="R7")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DatasetError, match=r"expected a robomimic file at .*got a damaged one"):
        load_dataset(path, displacement="column:actions", group="R7")
