"""Data sets of LeRobot: v2.1 and v3.0, PNG and MP4; those that we write; what is refused.

`write` writes the layout of LeRobot's own writers (0.3.3 for v2.1, 0.4.4 for v3.0); data sets that those wrote were
read once by hand. Where lerobot is installed, it reads what we write.
"""

import io
import json
import subprocess

import numpy as np
import pytest
from equiact.envs.data.minari_dataset import DatasetError
from equiact.envs.data.transitions import Transitions, equal
from equiact.envs.data_formats.dataset_loading import load_dataset
from equiact.envs.data_formats.lerobot_images import image_size
from equiact.envs.data_formats.lerobot_writer import DataFiles, save_lerobot

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
Image = pytest.importorskip("PIL.Image")

FPS, SIZE, LENGTHS = 10, (16, 24), (5, 3, 4)
TOP, WRIST = "observation.images.top", "observation.images.wrist"
STARTS = [0, 1, 2, 3, 5, 6, 8, 9, 10]
V3_DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
V3_VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
V2_DATA = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
V2_VIDEO = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"


def numbers(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def frames(key, lengths=LENGTHS):
    generator = np.random.default_rng(len(key))
    return generator.integers(0, 256, (sum(lengths), *SIZE, 3), dtype=np.uint8)


def encoded(image, **options):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, **({"format": "PNG"} | options))
    return buffer.getvalue()


def encode_video(path, images, fps=FPS):
    """Write an MP4 file without loss."""
    ffmpeg = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = images.shape[1:3]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-"]
    lossless = ["-c:v", "libx264rgb", "-qp", "0", "-bf", "2", "-g", "4", str(path)]
    subprocess.run([ffmpeg, "-y", "-v", "error", *raw, *lossless], input=images.tobytes(), check=True)


def columns(begin, length, episode):
    """Return the columns of an episode but the images, as LeRobot writes them."""
    rows = slice(begin, begin + length)
    total = sum(LENGTHS)
    state, action = numbers(total, 3), numbers(total, 2, seed=2)
    return {
        "observation.state": pa.array(list(state[rows]), pa.list_(pa.float32(), 3)),
        "observation.environment_state": pa.array(numbers(total, seed=3)[rows]),
        "observation.matrix": pa.array([[[1.0 * i, 2.0], [3.0, 4.0]] for i in range(total)][rows]),
        "action": pa.array(list(action[rows]), pa.list_(pa.float32(), 2)),
        "timestamp": pa.array((np.arange(length) / FPS).astype(np.float32)),
        "frame_index": pa.array(np.arange(length)),
        "episode_index": pa.array(np.full(length, episode)),
        "index": pa.array(begin + np.arange(length)),
        "task_index": pa.array(np.zeros(length, int)),
    }


def features(video):
    image = {"dtype": "video" if video else "image", "shape": [*SIZE, 3], "names": ["height", "width", "channel"]}
    return {
        TOP: image,
        WRIST: {**image, "shape": [3, *SIZE], "names": ["channel", "height", "width"]},
        "observation.depth": {**image, "info": {"is_depth_map": True}},
        "observation.state": {"dtype": "float32", "shape": [3], "names": ["x", "y", "angle"]},
        "observation.environment_state": {"dtype": "float32", "shape": [1], "names": None},
        "observation.matrix": {"dtype": "float32", "shape": [2, 2], "names": None},
        "action": {"dtype": "float32", "shape": [2], "names": None},
        "note": {"dtype": "string", "shape": [1], "names": None},
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
        "episode_index": {"dtype": "int64", "shape": [1], "names": None},
    }


def write(root, version="v3.0", video=False):
    """Write a data set of three episodes; the first two share the files of v3.0."""
    begins = np.cumsum([0, *LENGTHS])
    tables = []
    for number, (begin, length) in enumerate(zip(begins[:-1], LENGTHS, strict=True)):
        cells = {} if video else {key: _cells(frames(key)[begin : begin + length]) for key in (TOP, WRIST)}
        tables.append(pa.table({**cells, **columns(begin, length, number)}))
    (root / "meta").mkdir(parents=True)
    (_write_v3 if version == "v3.0" else _write_v2)(root, tables, begins, video)
    info = {
        "codebase_version": version,
        "robot_type": None,
        "total_episodes": len(LENGTHS),
        "total_frames": sum(LENGTHS),
        "total_tasks": 1,
        "chunks_size": 1000 if version == "v3.0" else 2,
        "fps": FPS,
        "splits": {"train": "0:3"},
        "data_path": V3_DATA if version == "v3.0" else V2_DATA,
        "video_path": (V3_VIDEO if version == "v3.0" else V2_VIDEO) if video else None,
        "features": features(video),
    }
    (root / "meta/info.json").write_text(json.dumps(info))
    return root


def _cells(images):
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.array([{"bytes": encoded(im), "path": f"frame-{i:06d}.png"} for i, im in enumerate(images)], kind)


def _write_v2(root, tables, begins, video):
    lines = [{"episode_index": i, "tasks": ["go"], "length": length} for i, length in enumerate(LENGTHS)]
    (root / "meta/episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (root / "meta/tasks.jsonl").write_text(json.dumps({"task_index": 0, "task": "go"}) + "\n")
    for number, table in enumerate(tables):
        values = {"episode_chunk": number // 2, "episode_index": number}
        path = root / V2_DATA.format(**values)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)
        for key in (TOP, WRIST, "observation.depth") if video else ():
            images = frames(key)[begins[number] : begins[number + 1]]
            encode_video(root / V2_VIDEO.format(video_key=key, **values), images)


def _write_v3(root, tables, begins, video):
    files = [0, 0, 1]
    for file, parts in ((0, tables[:2]), (1, tables[2:])):
        path = root / V3_DATA.format(chunk_index=0, file_index=file)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.concat_tables(parts), path)
    rows = []
    for number, length in enumerate(LENGTHS):
        row = {"episode_index": number, "tasks": ["go"], "length": length, "stats/action/mean": [0.0, 0.0]}
        row |= {"data/chunk_index": 0, "data/file_index": files[number]}
        row |= {"dataset_from_index": begins[number], "dataset_to_index": begins[number + 1]}
        for key in (TOP, WRIST, "observation.depth") if video else ():
            row |= {f"videos/{key}/chunk_index": 0, f"videos/{key}/file_index": files[number]}
            row[f"videos/{key}/from_timestamp"] = [0.0, LENGTHS[0] / FPS, 0.0][number]
        rows.append(row)
    path = root / "meta/episodes/chunk-000/file-000.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    for key in (TOP, WRIST, "observation.depth") if video else ():
        for file, part in ((0, slice(0, begins[2])), (1, slice(begins[2], None))):
            encode_video(root / V3_VIDEO.format(video_key=key, chunk_index=0, file_index=file), frames(key)[part])


def load(root, **options):
    return load_dataset(root, **({"displacement": "column:action", "group": "R2", "image_key": TOP} | options))


@pytest.mark.parametrize("video", [False, True], ids=["png", "mp4"])
@pytest.mark.parametrize("version", ["v2.0", "v2.1", "v3.0"])
def test_a_data_set_of_lerobot_is_read(tmp_path, version, video):
    write(tmp_path / "set", version, video)
    truth = {"object": "observation.environment_state", "matrix": "observation.matrix[2:4]"}
    for key in (TOP, WRIST):
        got = load(tmp_path / "set", image_key=key, ground_truth=truth)
        assert got.start.tolist() == STARTS
        np.testing.assert_array_equal(got.frames, frames(key))
        np.testing.assert_array_equal(got.displacement, numbers(12, 2, seed=2)[STARTS])
        np.testing.assert_array_equal(got.ground_truth["object"][:, 0], numbers(12, seed=3))
        np.testing.assert_array_equal(got.ground_truth["matrix"], [[3, 4]] * 12)
    state = numbers(12, 3).astype(float)
    moved = load(tmp_path / "set", displacement="difference:observation.state[0:2]").displacement
    np.testing.assert_array_equal(moved, (state[1:, :2] - state[:-1, :2])[STARTS].astype(np.float32))


def test_a_function_gets_all_columns_of_numbers(tmp_path):
    write(tmp_path / "set")
    seen = []
    load(tmp_path / "set", displacement=lambda columns: seen.append(set(columns)) or columns["action"][:-1])
    named = {"state", "environment_state", "matrix"}
    assert seen[0] == {f"observation.{name}" for name in named} | {"action", "timestamp", "episode_index"}


def test_frames_are_found_by_their_times(tmp_path):
    """An episode may use every second frame of a video, in any order."""
    root = write(tmp_path / "set", video=True)
    path = root / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    times = pa.array(np.array([0.4, 0.0, 0.2, 0.2, 0.1, 0.0, 0.1, 0.2], np.float32))
    pq.write_table(table.set_column(table.column_names.index("timestamp"), "timestamp", times), path)
    np.testing.assert_array_equal(load(root).frames[:8], frames(TOP)[[4, 0, 2, 2, 1, 5, 6, 7]])


def test_images_get_the_shape_that_is_stated():
    assert image_size({"shape": [48, 64, 3], "names": None}) == (48, 64)
    assert image_size({"shape": [3, 48, 64], "names": None}) == (48, 64)
    assert image_size({"shape": [3, 48, 3], "names": ["channels", "height", "width"]}) == (48, 3)
    with pytest.raises(ValueError, match="an image has the shape"):
        image_size({"shape": [48, 64]})


def test_a_cache_of_the_hub_is_read(tmp_path):
    """Files of a snapshot are links to the blobs beside it."""
    snapshot = tmp_path / "datasets--a--b" / "snapshots" / "abc"
    write(snapshot)
    blobs = tmp_path / "datasets--a--b" / "blobs"
    blobs.mkdir()
    for number, path in enumerate([path for path in sorted(snapshot.rglob("*")) if path.is_file()]):
        path.rename(blobs / str(number))
        path.symlink_to(blobs / str(number))
    np.testing.assert_array_equal(load(snapshot).frames, frames(TOP))


# What is refused


def edit_info(root, **changes):
    path = root / "meta/info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_feature(root, name, **changes):
    given = json.loads((root / "meta/info.json").read_text())["features"]
    given[name] |= changes
    edit_info(root, features=given)


def edit_rows(root, change, path="data/chunk-000/file-000.parquet"):
    table = pq.read_table(root / path)
    pq.write_table(change(table), root / path)


def replace_images(root, content):
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = pa.array([{"bytes": content, "path": "frame.png"}] * 8, kind)
    edit_rows(root, lambda table: table.set_column(table.column_names.index(TOP), TOP, cells))


def link_out(root):
    path = root / "data/chunk-000/file-000.parquet"
    path.rename(root.parent / "outside.parquet")
    path.symlink_to(root.parent / "outside.parquet")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "meta/info.json").write_text("{"), r"expected meta/info.json of a LeRobot data set"),
        (lambda root: edit_info(root, codebase_version="v1.6"), r"versions v2.0, v2.1, v3.0 .*got 'v1.6'; convert it"),
        (lambda root: edit_info(root, features=None), "meta/info.json has no features"),
        (lambda root: edit_info(root, fps=0), "meta/info.json states fps = 0"),
        (lambda root: edit_info(root, total_frames=99), "its episodes have 12 frames, and meta/info.json states 99"),
        (lambda root: edit_info(root, data_path="../../{chunk_index}"), r"inside its folder .*got '../../0', which"),
        (lambda root: edit_info(root, data_path="/etc/passwd"), r"inside its folder .*got '/etc/passwd'"),
        (
            lambda root: edit_info(root, data_path="{chunk_index.__class__}"),
            "states the path '{chunk_index.__class__}'",
        ),
        (lambda root: edit_info(root, data_path="{chunk_index:0999999d}"), "states the path '{chunk_index:0999999d}'"),
        (lambda root: edit_info(root, data_path="{episode_index}"), "got a damaged one .*KeyError: 'episode_index'"),
        (link_out, r"expected the files of the LeRobot data set inside its folder .*outside.parquet; copy the files"),
        (lambda root: (root / "data/chunk-000/file-001.parquet").unlink(), r"there is no file .*file-001.parquet"),
        (lambda root: (root / "data/chunk-000/file-000.parquet").write_bytes(b"PAR1"), "got a damaged one"),
        (lambda root: (root / "meta/episodes/chunk-000/file-000.parquet").unlink(), "no files in meta/episodes"),
        (lambda root: edit_rows(root, lambda table: table.slice(1)), r"episode 0 has 4 rows in .*, not 5"),
        (lambda root: edit_rows(root, lambda table: table.take([5, 0, 1, 2, 3, 4, 6, 7])), r"episode 1 has 3 rows"),
        (lambda root: edit_rows(root, lambda table: table.drop_columns("action")), "got a damaged one"),
        (lambda root: edit_feature(root, TOP, shape=[16, 20, 3]), r"16x24 pixels, stated are \(16, 20\)"),
        (lambda root: edit_feature(root, TOP, shape=[16]), r"an image has the shape \[16\]"),
        (
            lambda root: edit_feature(root, TOP, shape=[2**20, 2**20, 3]),
            r"expected at most \d+ bytes of images in a Le",
        ),
        (lambda root: replace_images(root, b"GIF89a" + bytes(50)), "UnidentifiedImageError"),
        (lambda root: replace_images(root, None), "image 0 has no bytes"),
        (lambda root: replace_images(root, encoded(frames(TOP)[0])[:300]), "got a damaged one"),
        (lambda root: replace_images(root, encoded(np.zeros(SIZE, np.uint16))), "expected images of 8 bits .*depth"),
    ],
)
def test_a_damaged_data_set_is_refused(tmp_path, damage, message):
    root = write(tmp_path / "set")
    damage(root)
    with pytest.raises(DatasetError, match=message):
        load(root)


def cut_video(root):
    path = root / "videos" / TOP / "chunk-000/file-000.mp4"
    path.write_bytes(path.read_bytes()[:-400])


def spoil_video(root):
    """Overwrite compressed frames, and leave the index intact."""
    path = root / "videos" / TOP / "chunk-000/file-000.mp4"
    content = bytearray(path.read_bytes())
    begin = content.index(b"mdat") + 1000
    content[begin : begin + 3000] = b"\xff" * 3000
    path.write_bytes(bytes(content))


def playlist_instead(root):
    """Put a play list in the place of a video, which would make ffmpeg read another file."""
    path = root / "videos" / TOP / "chunk-000/file-000.mp4"
    path.write_text(f"#EXTM3U\n#EXTINF:1,\n{path.with_name('file-001.mp4')}\n")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut_video, "got a damaged one"),
        (spoil_video, r"frame \d+ of 8 cannot be decoded"),
        (playlist_instead, "got a damaged one .*ffmpeg: "),
        (lambda root: (root / "videos" / TOP / "chunk-000/file-001.mp4").unlink(), "there is no such file"),
        (lambda root: edit_feature(root, TOP, shape=[16, 20, 3]), "frames begin with .*another size"),
        (
            lambda root: encode_video(root / "videos" / TOP / "chunk-000/file-000.mp4", frames(TOP)[:7]),
            r"no frame at 0.7000 s; the nearest of 7 is at 0.6000 s",
        ),
        (
            lambda root: encode_video(root / "videos" / TOP / "chunk-000/file-000.mp4", frames(TOP)[:8], fps=14),
            r"no frame at 0.\d+ s; the nearest of 8 is at",
        ),
        (lambda root: edit_info(root, video_path=None), "states the path None"),
    ],
)
def test_a_damaged_video_is_refused(tmp_path, damage, message):
    root = write(tmp_path / "set", video=True)
    damage(root)
    with pytest.raises(DatasetError, match=message):
        load(root)


def test_several_cameras_must_be_told_apart(tmp_path):
    with pytest.raises(DatasetError, match=rf"got 2 image columns: {TOP} \(16, 24, 3\), {WRIST} .*Choose one by image"):
        load(write(tmp_path / "set"), image_key=None)


def test_too_large_files_are_refused(tmp_path):
    root = write(tmp_path / "set")
    with pytest.raises(DatasetError, match=r"expected at most 2000 bytes of .*; pass a larger max_bytes"):
        load(root, max_bytes=2000)


@pytest.mark.parametrize("library", ["pyarrow", "imageio_ffmpeg"])
def test_a_missing_library_is_not_called_damage(tmp_path, monkeypatch, library):
    root = write(tmp_path / "set", video=True)
    monkeypatch.setitem(__import__("sys").modules, library, None)
    with pytest.raises(DatasetError, match=rf"expected the libraries .*{library}.*equiact\[data,formats\]"):
        load(root)


# What we write


def make(start=(0, 1, 3, 2), end=(1, 2, 4, 3), count=6, group="R2", dim=2, **changes):
    generator = np.random.default_rng(0)
    arrays = {
        "frames": generator.integers(0, 256, (count, *SIZE, 3), dtype=np.uint8),
        "start": np.array(start),
        "end": np.array(end),
        "displacement": generator.normal(size=(len(start), dim)).astype(np.float32),
        "group": group,
    }
    return Transitions(**(arrays | changes))


def full():
    return make(
        ground_truth={"agent/pose": numbers(6, 2, 3), "label": np.arange(6), "on": np.arange(6) > 2},
        touched=np.array([True, False, False, True]),
        action=numbers(4, 5),
    )


SE2 = np.array([[1, 2, 0.6, 0.8]] * 4, np.float32)


@pytest.mark.parametrize(
    "transitions",
    [full(), make(), make(dim=1, group="R1"), make((0, 1, 1), (1, 2, 3)), make(displacement=SE2, group="SE2")],
    ids=["everything", "plain", "one number", "branching", "SE2"],
)
def test_what_is_written_is_read_to_the_last_bit(tmp_path, transitions):
    save_lerobot(transitions, tmp_path / "set", fps=20, task="push the block")
    used = transitions.select(np.arange(len(transitions)))
    assert equal(load_dataset(tmp_path / "set"), used)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_what_is_written_is_read_by_others_to_the_last_bit(tmp_path):
    pandas = pytest.importorskip("pandas")
    transitions = make((0, 1, 3), (1, 2, 4), 5, action=numbers(3, 2))
    save_lerobot(transitions, tmp_path / "set", fps=20, task="push")
    rows = pandas.read_parquet(tmp_path / "set/data/chunk-000/file-000.parquet")
    images = np.stack([np.asarray(Image.open(io.BytesIO(cell["bytes"]))) for cell in rows["observation.image"]])
    np.testing.assert_array_equal(images, transitions.frames[rows["source.frame"]])
    np.testing.assert_array_equal(np.stack(rows["displacement"])[[0, 1, 3]], transitions.displacement)
    np.testing.assert_array_equal(np.stack(rows["action"])[[0, 1, 3]], transitions.action)
    assert rows["episode_index"].tolist() == [0, 0, 0, 1, 1]
    np.testing.assert_allclose(rows["timestamp"], [0, 0.05, 0.1, 0, 0.05])
    assert pandas.read_parquet(tmp_path / "set/meta/tasks.parquet").loc["push"].tolist() == [0]
    episodes = pandas.read_parquet(tmp_path / "set/meta/episodes")
    assert episodes[["length", "dataset_from_index", "dataset_to_index"]].to_numpy().tolist() == [[3, 0, 3], [2, 3, 5]]


def test_statistics_are_those_of_all_frames(tmp_path):
    transitions = make((0, 1, 3), (1, 2, 4), 5)
    save_lerobot(transitions, tmp_path / "set")
    stats = json.loads((tmp_path / "set/meta/stats.json").read_text())
    pixels = transitions.frames.reshape(-1, 3) / 255
    moves = np.concatenate([transitions.displacement[:2], [[0, 0]], transitions.displacement[2:], [[0, 0]]])
    for name, values, count in (("observation.image", pixels, 5), ("displacement", moves.astype(float), 5)):
        for statistic in ("min", "max", "mean", "std"):
            got = np.array(stats[name][statistic]).reshape(-1)
            np.testing.assert_allclose(got, getattr(values, statistic)(0), err_msg=f"{name} {statistic}")
        assert stats[name]["count"] == [count]


def test_new_files_begin_when_one_is_full(tmp_path):
    files = DataFiles(tmp_path, max_bytes=1, chunk=2)
    image, number = np.zeros((1, *SIZE, 3), np.uint8), {"n": np.ones((1, 1))}
    assert [files.append(image, number) for _ in range(3)] == [(0, 0), (0, 1), (1, 0)]
    files.close()
    written = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.parquet"))
    assert written == [
        f"data/{name}.parquet" for name in ("chunk-000/file-000", "chunk-000/file-001", "chunk-001/file-000")
    ]


def test_nothing_that_is_there_is_replaced(tmp_path):
    save_lerobot(make(), tmp_path / "set")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(DatasetError, match=r"expected a new or empty folder .*set, a LeRobot data set; choose another"):
        save_lerobot(make(), tmp_path / "set")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("hello")
    with pytest.raises(DatasetError, match=r"got .*mine, a folder with notes.txt"):
        save_lerobot(make(), tmp_path / "mine")
    with pytest.raises(DatasetError, match="got a file at"):
        save_lerobot(make(), tmp_path / "mine/notes.txt")
    assert {path: path.read_bytes() for path in (tmp_path / "set").rglob("*") if path.is_file()} == before
    (tmp_path / "empty").mkdir()
    save_lerobot(make(), tmp_path / "empty")
    assert len(load_dataset(tmp_path / "empty")) == 4


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full_disk)
    with pytest.raises(DatasetError, match=r"could not write .*No space left on device"):
        save_lerobot(make(), tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def test_what_lerobot_cannot_hold_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="expected frames of three channels"):
        save_lerobot(make(frames=np.zeros((6, *SIZE, 1), np.uint8)), tmp_path / "set")
    with pytest.raises(DatasetError, match="expected fps as an integer from 1 to 10000, got 0"):
        save_lerobot(make(), tmp_path / "set", fps=0)
    truth = {"a/b": np.zeros((6, 1)), "a.b": np.zeros((6, 1))}
    with pytest.raises(DatasetError, match="expected names of ground truth that differ in LeRobot"):
        save_lerobot(make(ground_truth=truth), tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "changes",
    [{"frames": 2**40}, {"count": -1}, {"group": "nothing"}, {"ground_truth": {"x": ["x", [1], "O"]}}, {"count": 99},
     {"ground_truth": {"label": ["ground_truth.label", [2**40], "float32"]}}, {"touched": "x", "more": 1}],
)  # fmt: skip
def test_a_card_that_was_altered_is_refused(tmp_path, changes):
    save_lerobot(full(), tmp_path / "set")
    path = tmp_path / "set/meta/equiact.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(DatasetError, match=r"got a damaged one|expected at most \d+ bytes"):
        load_dataset(tmp_path / "set")


def test_what_we_wrote_states_its_displacement(tmp_path):
    save_lerobot(full(), tmp_path / "set")
    with pytest.raises(DatasetError, match=r"expected the group R2, which .*states, got 'SE2'"):
        load_dataset(tmp_path / "set", group="SE2")
    with pytest.raises(DatasetError, match=r"expected no ground_truth for .*leave it out"):
        load_dataset(tmp_path / "set", ground_truth={"pose": "ground_truth.label"})
    assert load_dataset(tmp_path / "set", displacement="column:action", group="R5").displacement.shape == (4, 5)


def test_lerobot_reads_what_we_write(tmp_path):
    lerobot = pytest.importorskip("lerobot.datasets.lerobot_dataset", reason="lerobot needs other versions of torch")
    transitions = make((0, 1, 3), (1, 2, 4), 5)
    save_lerobot(transitions, tmp_path / "set", fps=20, task="push")
    theirs = lerobot.LeRobotDataset("equiact/set", root=tmp_path / "set")
    assert (len(theirs), theirs.num_episodes, theirs.fps) == (5, 2, 20)
    assert theirs[3]["task"] == "push"
    for number in range(5):
        image = (theirs[number]["observation.image"].numpy() * 255).round().astype(np.uint8)
        np.testing.assert_array_equal(
            np.moveaxis(image, 0, -1), transitions.frames[int(theirs[number]["source.frame"])]
        )
