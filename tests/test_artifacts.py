"""Artefacts on disk: complete or absent, refused when altered, and never at the cost of another's files."""

import contextlib
import errno
import hashlib
import io
import json
import multiprocessing
import os
import socket
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import torch
from equiact.envs.storage import artifacts
from equiact.envs.storage.artifacts import (
    CARD,
    ArtifactError,
    ArtifactLimits,
    check_output_file,
    check_output_folder,
    folder_lock,
    load_into,
    read_artifact,
    read_card,
    read_json,
    read_npz,
    read_tensor_file,
    weights_path,
    write_artifact,
    write_json,
    write_npz,
    write_tensor_file,
)
from equiact.envs.storage.json_cards import render_card
from equiact.envs.storage.output_paths import SAVE_LOCK
from equiact.representations.encoders.hub import HubMixin
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save as serialize
from torch import Tensor, nn

CONFIG = {"width": 3, "scales": [0.5, 1e-9, 2.0], "name": "Rückkehr"}
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX")


def tensors(value: float = 1.0) -> dict[str, Tensor]:
    return {"weight": torch.full((4, 3), value), "bias": torch.arange(4.0), "count": torch.tensor(7)}


def save(folder: Path, value: float = 1.0, kind: str = "encoder") -> Path:
    write_artifact(folder, kind, {"config": CONFIG, "value": value}, tensors(value))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_holds(folder: Path, value: float) -> None:
    card, found = read_artifact(folder, "encoder")
    assert card["value"] == value
    assert torch.equal(found["weight"], tensors(value)["weight"])


def in_process(target: Callable[..., Any], *arguments: Any) -> int | None:
    """Run a function in a forked process, and return its exit status; it must end within a minute."""
    process = multiprocessing.get_context("fork").Process(target=target, args=arguments)
    process.start()
    process.join(60)
    assert process.exitcode is not None, "it hangs"
    return process.exitcode


# What is written comes back.


def test_an_artifact_survives(tmp_path: Path) -> None:
    card, found = read_artifact(save(tmp_path / "new" / "encoder"), "encoder")
    assert card["config"] == CONFIG
    assert card["kind"] == "encoder"
    assert {name: value.dtype for name, value in found.items()} == {n: v.dtype for n, v in tensors().items()}
    assert all(torch.equal(found[name], value) for name, value in tensors().items())
    assert sorted(path.name for path in (tmp_path / "new" / "encoder").iterdir()) == [
        CARD,
        weights_path(tmp_path / "new" / "encoder").name,
    ]


def test_tensors_of_any_layout_survive(tmp_path: Path) -> None:
    shared = torch.randn(3, 3)
    given = {"a": shared, "b": shared, "view": shared.T[1:], "half": shared.bfloat16(), "empty": torch.zeros(0, 2)}
    write_artifact(tmp_path / "e", "encoder", {}, given)
    found = read_artifact(tmp_path / "e", "encoder")[1]
    assert all(torch.equal(found[name], value) for name, value in given.items())


def test_an_artifact_without_tensors_survives(tmp_path: Path) -> None:
    write_artifact(tmp_path / "t", "trigger", {"threshold": 0.25})
    card, found = read_artifact(tmp_path / "t", "trigger")
    assert (card["threshold"], found) == (0.25, {})
    assert [path.name for path in (tmp_path / "t").iterdir()] == [CARD]
    with pytest.raises(ArtifactError, match="expected an artefact with tensors"):
        weights_path(tmp_path / "t")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_any_json_in_a_card_survives(value: Any) -> None:
    content = render_card("encoder", {"value": value}, "here")
    assert json.loads(content)["value"] == value
    assert render_card("encoder", json.loads(content), "here") == content


@pytest.mark.parametrize("value", [float("nan"), float("inf"), pytest.param(object(), id="object"), {1, 2}], ids=str)
def test_a_card_that_json_cannot_hold_is_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(ArtifactError, match=f"expected a card of finite numbers, text and lists for {tmp_path}/e"):
        write_artifact(tmp_path / "e", "encoder", {"value": value}, tensors())
    assert not (tmp_path / "e").exists()


def test_the_module_imports_cheaply() -> None:
    heavy = "{'torch', 'safetensors', 'mujoco', 'minari', 'pyarrow', 'filelock'}"
    script = f"import sys, equiact.envs.storage.artifacts; print(sorted({heavy} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"


# Other people's files.


@pytest.mark.parametrize("stranger", ["thesis.tex", "data", ".hidden", "weights.safetensors", "weights-1.safetensors"])
@pytest.mark.parametrize("card", ["ours", "another", None])
def test_a_folder_with_other_files_is_refused(tmp_path: Path, stranger: str, card: str | None) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    if card == "ours":
        save(folder)
    elif card == "another":
        (folder / CARD).write_text('{"kind": "poker"}')
    (folder / stranger).write_text("years of work")
    before = contents(folder)
    with pytest.raises(ArtifactError, match=rf"got {folder} with other things in it: .*{stranger}"):
        save(folder)
    with pytest.raises(ArtifactError, match="Choose another folder, or delete it yourself"):
        check_output_folder(folder, "encoder")
    assert contents(folder) == before


def test_an_artifact_of_another_kind_is_not_replaced(tmp_path: Path) -> None:
    save(tmp_path / "d", kind="density")
    with pytest.raises(
        ArtifactError, match=r"expected a new folder or one that holds a saved encoder, got .*card\.json"
    ):
        save(tmp_path / "d")
    with pytest.raises(ArtifactError, match=r"expected a saved encoder in .*, got one of the kind 'density'"):
        read_artifact(tmp_path / "d", "encoder")


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"expected a kind of encoder, .*got 'decoder'"):
        save(tmp_path / "d", kind="decoder")


def test_a_readme_is_kept(tmp_path: Path) -> None:
    (save(tmp_path / "e") / "README.md").write_text("notes")
    save(tmp_path / "e", 2.0)
    assert (tmp_path / "e" / "README.md").read_text() == "notes"


def test_replacing_leaves_nothing_of_the_old_artifact(tmp_path: Path) -> None:
    save(tmp_path / "e", 1.0)
    save(tmp_path / "e", 2.0)
    save(tmp_path / "e", 2.0)
    assert_holds(tmp_path / "e", 2.0)
    assert len(list((tmp_path / "e").iterdir())) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["e"]


# Places that results cannot go to are refused before the work.


def a_file(path: Path) -> Path:
    path.write_text("")
    return path


def a_fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def a_link(path: Path) -> Path:
    path.with_name("target").mkdir()
    path.symlink_to(path.with_name("target"))
    return path


def inside_a_file(path: Path) -> Path:
    return a_file(path) / "encoder"


def current_folder(path: Path) -> Path:
    path.mkdir()
    os.chdir(path)
    return Path(".")


def above_the_current_folder(path: Path) -> Path:
    path.mkdir()
    (path / "in").mkdir()
    os.chdir(path / "in")
    return path


@posix
@pytest.mark.parametrize(
    ("make", "found"),
    [
        (a_file, "got a file at"),
        (a_fifo, "got a FIFO at"),
        (a_link, "got the symbolic link .*; give the path that it leads to"),
        (inside_a_file, "which is not a folder"),
        (current_folder, "got the current folder"),
        (above_the_current_folder, "got the current folder .* or one above it"),
    ],
)
def test_places_that_are_no_folders_of_their_own_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Path], found: str
) -> None:
    monkeypatch.chdir(tmp_path)
    place = make(tmp_path / "place")
    with pytest.raises(ArtifactError, match=f"expected a new folder .*{found}"):
        check_output_folder(place, "encoder")


def test_a_mount_point_is_refused() -> None:
    mounted = [path for path in ("/dev/shm", "/sys", "/proc") if os.path.ismount(path)]
    if not mounted:
        pytest.skip("there is no mount point")
    with pytest.raises(ArtifactError, match=r"got the mount point .*; choose a folder in it"):
        check_output_folder(mounted[0], "encoder")


def check_as_another_user(check: Callable[[], object]) -> None:
    """Exit with status 3 if a check says that a place is read-only."""
    if os.getuid() == 0:
        os.setuid(65534)
    try:
        check()
    except ArtifactError as error:
        os._exit(3 if "read-only" in str(error) else 4)


@posix
@pytest.mark.parametrize("name", ["", "new", "new/deeper"])
def test_read_only_folders_are_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "fixed"
    folder.mkdir()
    folder.chmod(0o555)
    for parent in list(folder.parents)[:4]:
        if parent.stat().st_uid == os.getuid() and parent != Path("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o111)
    assert in_process(check_as_another_user, lambda: check_output_folder(folder / name, "encoder")) == 3
    if name:
        assert in_process(check_as_another_user, lambda: check_output_file(folder / name / "a.json")) == 3


def test_the_checked_path_is_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert check_output_folder(tmp_path / "link" / "e", "encoder") == tmp_path.resolve() / "real" / "e"
    monkeypatch.chdir(tmp_path)
    assert check_output_folder("e", "encoder") == tmp_path.resolve() / "e"


# Damage.


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8 % len(content)] ^= 1 << bit % 8
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["card", "weights"])
def test_sixty_of_sixty_flipped_bits_are_refused(tmp_path: Path, name: str) -> None:
    folder = save(tmp_path / "e")
    path = folder / CARD if name == "card" else weights_path(folder)
    before = path.read_bytes()
    for bit in np.random.default_rng(0).choice(8 * len(before), 60, replace=False):
        flip(path, int(bit))
        with pytest.raises(ArtifactError, match=str(folder)):
            read_artifact(folder, "encoder")
        path.write_bytes(before)
    assert_holds(folder, 1.0)


@pytest.mark.parametrize(
    "edit", [(b"0.5", b"0.6"), (b'"width": 3', b'"width":  3'), (b"1e-09", b"1E-09"), (b"3", b"4")]
)
def test_a_card_that_was_edited_is_refused(tmp_path: Path, edit: tuple[bytes, bytes]) -> None:
    path = save(tmp_path / "e") / CARD
    path.write_bytes(path.read_bytes().replace(*edit, 1))
    with pytest.raises(ArtifactError, match=rf"expected an unaltered card in {path}, got one that does not match"):
        read_card(tmp_path / "e", "encoder")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_tensors_that_are_not_finite_are_not_saved(tmp_path: Path, value: float) -> None:
    save(tmp_path / "e", 1.0)
    with pytest.raises(ArtifactError, match=r"expected finite tensors in .*, got NaN or infinity in weight; nothing"):
        write_artifact(tmp_path / "e", "encoder", {}, tensors(value))
    assert_holds(tmp_path / "e", 1.0)


def sign(folder: Path, weights: bytes) -> Path:
    """Alter an artefact and sign it anew, as an attacker would."""
    card = json.loads((folder / CARD).read_text())
    digest = hashlib.sha256(weights).hexdigest()
    name = f"weights-{digest[:16]}.safetensors"
    (folder / name).write_bytes(weights)
    card["weights"] = {"file": name, "bytes": len(weights), "sha256": digest}
    (folder / CARD).write_bytes(render_card(card["kind"], card, folder))
    return folder


def test_tensors_that_are_not_finite_are_not_loaded(tmp_path: Path) -> None:
    folder = sign(save(tmp_path / "e"), serialize({"weight": torch.tensor([1.0, np.nan])}))
    with pytest.raises(ArtifactError, match=r"expected finite tensors in .*, got NaN or infinity in weight"):
        read_artifact(folder, "encoder")


@pytest.mark.parametrize("name", ["../other.safetensors", "/etc/passwd", "card.json", 3, None])
def test_a_card_cannot_name_other_files(tmp_path: Path, name: Any) -> None:
    folder = save(tmp_path / "e")
    card = json.loads((folder / CARD).read_text())
    card["weights"]["file"] = name
    (folder / CARD).write_bytes(render_card("encoder", card, folder))
    with pytest.raises(ArtifactError, match="expected the name of the weights"):
        read_artifact(folder, "encoder")


def test_weights_that_are_missing_or_no_safetensors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="expected intact safetensors"):
        read_artifact(sign(save(tmp_path / "a"), b"no tensors"), "encoder")
    weights_path(save(tmp_path / "b")).unlink()
    with pytest.raises(ArtifactError, match=r"expected the weights of a encoder in .*with card\.json"):
        read_artifact(tmp_path / "b", "encoder")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("", "got an empty one; delete it and run"),
        ("   ", "got an empty one"),
        ('{"a": ', "got a damaged one"),
        ("[" * 100_000, "got a damaged one"),
        ("\udcff", "got a damaged one"),
    ],
    ids=["empty", "blank", "cut", "deep", "no text"],
)
def test_damaged_json_is_named(tmp_path: Path, content: str, found: str) -> None:
    path = tmp_path / "settings.json"
    path.write_text(content, errors="surrogateescape")
    with pytest.raises(ArtifactError, match=f"expected a JSON file at {path}, {found}"):
        read_json(path)
    (tmp_path / CARD).write_text(content, errors="surrogateescape")
    with pytest.raises(ArtifactError, match=found):
        read_card(tmp_path, "encoder")


@pytest.mark.parametrize("content", ["{}", "[]", "3", "null", '{"kind": "encoder"}'])
def test_json_that_is_no_card_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / CARD).write_text(content)
    with pytest.raises(ArtifactError, match=f"expected the card of a encoder in {tmp_path}/card.json, got other JSON"):
        read_artifact(tmp_path, "encoder")


def test_another_format_is_refused(tmp_path: Path) -> None:
    folder = save(tmp_path / "e")
    path = folder / CARD
    path.write_text(path.read_text().replace('"format": 2', '"format": 9'))
    with pytest.raises(ArtifactError, match=r"expected format 2 in .*, got 9; save it again, or install"):
        read_card(folder, "encoder")


@pytest.mark.parametrize("place", ["nothing", "file", "empty"])
def test_a_missing_artifact_is_named(tmp_path: Path, place: str) -> None:
    path = tmp_path / place
    if place == "file":
        path.write_text("")
    if place == "empty":
        path.mkdir()
    with pytest.raises(
        ArtifactError, match=r"got (nothing at|a file at|.* with nothing in it)|expected a regular file"
    ):
        read_artifact(path, "encoder")


# Memory and time are bounded before the content is believed.


def test_a_card_cannot_ask_for_a_network_of_100_gigabytes() -> None:
    with pytest.raises(ArtifactError, match=r"expected bias of shape \[160000\] in here, got \[4\]"):
        load_into(lambda: nn.Linear(160_000, 160_000), {"weight": torch.zeros(4, 3), "bias": torch.zeros(4)}, "here")


class Scratch(nn.Module):
    """A module with a large buffer that is not saved."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("grid", torch.zeros(size, 1000), persistent=False)


def test_a_card_cannot_ask_for_large_buffers_that_are_not_saved() -> None:
    with pytest.raises(ArtifactError, match=r"expected a network of at most 2147483648 bytes in here, got 80000000000"):
        load_into(lambda: Scratch(20_000_000), {}, "here")
    assert not load_into(lambda: Scratch(2), {}, "here").training
    with pytest.raises(ArtifactError, match="raise the limit"):
        load_into(lambda: Scratch(2), {}, "here", ArtifactLimits(max_bytes=10))


def test_a_module_is_loaded_in_evaluation_mode() -> None:
    module = load_into(lambda: nn.Linear(3, 4), nn.Linear(3, 4).state_dict(), "here")
    assert not module.training
    assert module.weight.device.type == "cpu"


@pytest.mark.parametrize("error", [TypeError("no width"), KeyError("width"), ZeroDivisionError(), MemoryError()])
def test_a_module_that_cannot_be_built_is_named(error: Exception) -> None:
    def fail() -> nn.Module:
        raise error

    with pytest.raises(ArtifactError, match="expected a card that describes a network in here"):
        load_into(fail, {}, "here")


def test_files_over_the_limit_are_refused_and_the_limit_can_be_raised(tmp_path: Path) -> None:
    folder = save(tmp_path / "e")
    with weights_path(folder).open("r+b") as file:
        file.truncate(2**40)  # a file with a hole takes no space
    with pytest.raises(ArtifactError, match=r"expected a file of at most 2147483648 bytes, got 1099511627776 .*raise"):
        read_artifact(folder, "encoder")
    save(tmp_path / "f")
    with pytest.raises(ArtifactError, match="at most 10 bytes"):
        read_artifact(tmp_path / "f", "encoder", ArtifactLimits(max_bytes=10))
    read_artifact(tmp_path / "f", "encoder", ArtifactLimits(max_bytes=10_000))


@posix
@pytest.mark.parametrize("name", ["card", "weights"])
@pytest.mark.parametrize("what", ["FIFO", "device", "folder"])
def test_fifos_and_devices_never_hang(tmp_path: Path, name: str, what: str) -> None:
    folder = save(tmp_path / "e")
    path = folder / CARD if name == "card" else weights_path(folder)
    path.unlink()
    if what == "FIFO":
        os.mkfifo(path)
    elif what == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    start = time.monotonic()
    with pytest.raises(ArtifactError, match=f"expected a regular file, got a {what}"):
        read_artifact(folder, "encoder")
    assert time.monotonic() - start < 5


# Two processes, and processes that die.


def save_often(folder: Path, value: float) -> None:
    for _ in range(100):
        save(folder, value)


@posix
def test_two_processes_save_to_one_folder_100_times(tmp_path: Path) -> None:
    folder = save(tmp_path / "e", 1.0)
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=save_often, args=(folder, value)) for value in (1.0, 2.0)]
    for writer in writers:
        writer.start()
    reads = 0
    while any(writer.is_alive() for writer in writers):
        card, found = read_artifact(folder, "encoder")
        assert torch.equal(found["weight"], torch.full((4, 3), card["value"])), "a mixture of two artefacts"
        reads += 1
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert reads > 10
    assert len(list(folder.iterdir())) == 2, "left-overs"


def save_and_die(folder: Path, renames: int, before: bool) -> None:
    """Save, and end the process before or after some rename."""
    replace, done = os.replace, []

    def replace_and_die(source: Any, target: Any) -> None:
        done.append(target)
        if before and len(done) == renames:
            os._exit(0)
        replace(source, target)
        if len(done) == renames:
            os._exit(0)

    os.replace = replace_and_die  # type: ignore[assignment]
    save(folder, 2.0)
    os._exit(1)


@posix
@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("renames", [1, 2])
@pytest.mark.parametrize("exists", [True, False])
def test_dying_while_saving_leaves_the_old_or_the_new_artifact(
    tmp_path: Path, renames: int, before: bool, exists: bool
) -> None:
    folder = tmp_path / "e"
    if exists:
        save(folder, 1.0)
    assert in_process(save_and_die, folder, renames, before) == 0
    written = renames == 2 and not before
    if written or exists:
        assert_holds(folder, 2.0 if written else 1.0)
    check_output_folder(folder, "encoder")
    save(folder, 3.0)
    assert_holds(folder, 3.0)
    assert len(list(folder.iterdir())) == 2, "left-overs"


def test_a_full_disk_leaves_the_old_artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(tmp_path / "e", 1.0)
    before = contents(folder)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactError, match=r"could not write .*No space left on device\); what was there is intact"):
        save(folder, 2.0)
    with pytest.raises(ArtifactError, match=r"could not write .*checkpoint.*No space left on device"):
        write_tensor_file(tmp_path / "checkpoint", "checkpoint", {}, tensors())
    assert contents(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["e"]


def lock_and_signal(folder: Path, held: Any, done: Any) -> None:
    with folder_lock(folder):
        held.set()
        done.wait(30)
        os._exit(0)  # without releasing


@posix
def test_a_lock_names_its_holder_and_ends_with_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    held, done = context.Event(), context.Event()
    holder = context.Process(target=lock_and_signal, args=(tmp_path / "e", held, done))
    holder.start()
    assert held.wait(30)
    with pytest.raises(ArtifactError, match=f"another process works here: .*by process {holder.pid}. Wait until"):
        folder_lock(tmp_path / "e").__enter__()
    with folder_lock(tmp_path / "f"):
        done.set()
    holder.join(30)
    with folder_lock(tmp_path / "e"):
        assert (tmp_path / ".e.equiact-lock").exists()
        save(tmp_path / "e")
    assert [path.name for path in tmp_path.iterdir()] == ["e"]


def test_a_lock_replaces_no_other_file(tmp_path: Path) -> None:
    for name in (".e.lock", ".e.equiact-lock"):
        (tmp_path / name).write_text("years of work")
    with pytest.raises(ArtifactError, match=r"expected no file, or a lock of equiact, at .*\.e\.equiact-lock"):
        folder_lock(tmp_path / "e").__enter__()
    (tmp_path / ".e.equiact-lock").write_text("1234")  # of a process that was killed
    with folder_lock(tmp_path / "e"):
        pass
    assert contents(tmp_path) == {".e.lock": b"years of work"}


@posix
@pytest.mark.parametrize(("mask", "folder_mode", "file_mode"), [(0o077, 0o700, 0o600), (0o022, 0o755, 0o644)])
def test_the_umask_is_respected(tmp_path: Path, mask: int, folder_mode: int, file_mode: int) -> None:
    previous = os.umask(mask)
    try:
        folder = save(tmp_path / "new" / "e")
        write_json(tmp_path / "a.json", {})
    finally:
        os.umask(previous)
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(folder.parent.stat().st_mode) == folder_mode
    for path in (*folder.iterdir(), tmp_path / "a.json"):
        assert stat.S_IMODE(path.stat().st_mode) == file_mode


# Single files.


def test_json_survives_and_may_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.json"
    for content in ({"a": [1, 2.5]}, {}):
        write_json(path, content)
        assert read_json(path) == content
        assert path.read_text() == json.dumps({"kind": "equiact-values", **content}, indent=2) + "\n"
    wrong = [{"a": object()}, {"a": float("nan")}, {"a": float("inf")}, [], {"kind": 1}]
    for content in wrong:
        with pytest.raises(ArtifactError, match=r"expected (values that JSON can hold|a dictionary)"):
            write_json(path, content)  # type: ignore[arg-type]
    assert read_json(path) == {}
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none.json")


def test_arrays_survive_and_may_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "trials.npz"
    for count in (3, 5):
        arrays = {"length": np.arange(count), "receipt": np.full((count, 2), np.nan), "names": np.array(["a", "bc"])}
        write_npz(path, arrays)
        found = read_npz(path)
        assert list(found) == list(arrays)
        for name, values in arrays.items():
            np.testing.assert_array_equal(found[name], values)
            assert found[name].dtype == values.dtype


def test_arrays_may_have_any_name_but_a_path(tmp_path: Path) -> None:
    arrays = {name: np.arange(3) for name in ("file", "allow_pickle", "a/b", "ä")}
    write_npz(tmp_path / "a.npz", arrays)
    assert list(read_npz(tmp_path / "a.npz")) == list(np.load(tmp_path / "a.npz")) == list(arrays)
    for name in ("", "/a", "a\0b", "a.npy"):
        with pytest.raises(ArtifactError, match="expected names of arrays"):
            write_npz(tmp_path / "a.npz", {name: np.arange(3)})


def test_json_and_arrays_of_other_programs_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"years": "of work"}')
    np.savez(tmp_path / "a.npz", a=np.arange(3))
    before = contents(tmp_path)
    for name, write in (("a.json", write_json), ("a.npz", write_npz)):
        with pytest.raises(ArtifactError, match="got another kind of file"):
            check_output_file(tmp_path / name)
        with pytest.raises(ArtifactError, match="got another kind of file"):
            write(tmp_path / name, {})
    assert contents(tmp_path) == before


def test_results_of_the_repository_may_be_replaced() -> None:
    results = Path(__file__).resolve().parent.parent / "results"
    for path in results.glob("*.json"):
        assert check_output_file(path) == path


def test_the_home_folder_is_expanded_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    save(Path("~/e"))
    write_json("~/a.json", {"a": 1})
    write_npz("~/a.npz", {"a": np.arange(3)})
    write_tensor_file("~/t", "checkpoint", {}, tensors())
    assert_holds(Path("~/e"), 1.0)
    assert weights_path("~/e").is_relative_to(tmp_path)
    assert read_json("~/a.json") == {"a": 1}
    assert list(read_npz("~/a.npz")) == ["a"]
    assert read_tensor_file("~/t", "checkpoint")[1].keys() == tensors().keys()


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "~nobody-of-this-name/a"])
def test_paths_that_cannot_be_are_named(name: str) -> None:
    writers: list[Callable[[str], Any]] = [
        lambda path: write_json(path, {}),
        lambda path: write_npz(path, {}),
        lambda path: write_tensor_file(path, "checkpoint", {}, tensors()),
        lambda path: write_artifact(path, "encoder", {}),
        read_json,
        read_npz,
        lambda path: read_artifact(path, "encoder"),
        lambda path: read_tensor_file(path, "checkpoint"),
    ]
    for use in writers:
        with pytest.raises(ArtifactError, match="expected"):
            use(name)


def test_a_reserved_name_of_a_tensor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="expected another name of a tensor"):
        write_artifact(tmp_path / "e", "encoder", {}, {"__metadata__": torch.zeros(1)})


def npz(header: str, data: bytes = b"") -> bytes:
    text = header.encode().ljust(117) + b"\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no archive",
        b"PK\x03\x04 cut",
        npz("{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000,)}"),
        npz("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"cos\nsystem\n"),
        npz("{'descr': '<f8', "),
        npz("no header"),
    ],
    ids=["empty", "text", "cut", "larger than the file", "objects", "half a header", "no header"],
)
def test_damaged_arrays_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trials.npz"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=f"expected an NPZ file at {path}, got a damaged one"):
        read_npz(path)


def test_flipped_bits_in_arrays_raise_no_other_error(tmp_path: Path) -> None:
    path = tmp_path / "trials.npz"
    write_npz(path, {"a": np.arange(50.0), "b": np.ones((3, 4))})
    before = path.read_bytes()
    for bit in np.random.default_rng(1).choice(8 * len(before), 200, replace=False):
        flip(path, int(bit))
        with contextlib.suppress(ArtifactError):
            read_npz(path)
        path.write_bytes(before)


def test_arrays_over_the_limit_are_refused(tmp_path: Path) -> None:
    write_npz(tmp_path / "zeros.npz", {"zeros": np.zeros(10**6)})
    with pytest.raises(ArtifactError, match="expected at most 100000 bytes of arrays"):
        read_npz(tmp_path / "zeros.npz", ArtifactLimits(max_bytes=100_000))
    with pytest.raises(ArtifactError, match="got Python objects in 'a'"):
        write_npz(tmp_path / "objects.npz", {"a": np.array([object()])})


@pytest.mark.parametrize("name", ["results.json", "trials.npz", "checkpoint", "thesis.tex"])
def test_other_peoples_files_are_not_replaced(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("years of work")
    with pytest.raises(ArtifactError, match=f"got another kind of file at {path}; choose another path"):
        check_output_file(path)
    with pytest.raises(ArtifactError, match="got another kind of file"):
        write_tensor_file(path, "checkpoint", {}, tensors())
    assert path.read_text() == "years of work"


@posix
@pytest.mark.parametrize("make", [a_fifo, a_link, Path.mkdir])
def test_places_that_are_no_files_are_refused(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    make(tmp_path / "a.json")
    with pytest.raises(ArtifactError, match="expected a new file or one that may be replaced, got"):
        write_json(tmp_path / "a.json", {})


def test_a_tensor_file_survives_and_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "checkpoint"
    for step in (1, 2):
        write_tensor_file(path, "checkpoint", {"step": step, "note": "ä"}, tensors(step))
        card, found = read_tensor_file(path, "checkpoint")
        assert card == {"step": step, "note": "ä"}
        assert all(torch.equal(found[name], value) for name, value in tensors(step).items())
    with pytest.raises(ArtifactError, match=r"expected a video at .*, got 'checkpoint'"):
        read_tensor_file(path, "video")
    assert [each.name for each in path.parent.iterdir()] == ["checkpoint"]


def test_sixty_of_sixty_flipped_bits_of_a_tensor_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    write_tensor_file(path, "checkpoint", {"step": 30, "rate": 0.5}, tensors())
    before = path.read_bytes()
    for bit in np.random.default_rng(0).choice(8 * len(before), 60, replace=False):
        flip(path, int(bit))
        with pytest.raises(ArtifactError, match=str(path)):
            read_tensor_file(path, "checkpoint")
        path.write_bytes(before)
    path.write_bytes(before.replace(b"30", b"31", 1))
    with pytest.raises(ArtifactError, match=r"expected an unaltered checkpoint at .*; delete it to start again"):
        read_tensor_file(path, "checkpoint")


# The Hugging Face Hub.


class Constant(HubMixin, nn.Module):
    """An encoder with one weight."""

    def __init__(self, size: int = 3, config: Any = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.arange(float(size)))

    def save(self, folder: str | Path) -> None:
        write_artifact(folder, "encoder", {"size": len(self.weight)}, self.state_dict())

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> Self:
        card, found = read_artifact(folder, "encoder")
        return load_into(lambda: cls(card["size"]), found, folder).to(device)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("offline")
def test_a_pretrained_encoder_is_saved_and_loaded_without_the_network(tmp_path: Path) -> None:
    for size in (4, 5):
        assert Constant(size).save_pretrained(tmp_path / "e") is None
    loaded = Constant.from_pretrained(tmp_path / "e", device="cpu")
    assert loaded.weight.tolist() == [0, 1, 2, 3, 4]
    assert {path.name for path in (tmp_path / "e").iterdir()} == {CARD, "README.md", weights_path(tmp_path / "e").name}
    assert "library_name: equiact" in (tmp_path / "e" / "README.md").read_text()


@pytest.mark.usefixtures("offline")
def test_pretrained_files_may_be_links_as_in_the_cache_of_the_hub(tmp_path: Path) -> None:
    folder, cache = save(tmp_path / "blobs"), tmp_path / "snapshot"
    cache.mkdir()
    for path in folder.iterdir():
        (cache / path.name).symlink_to(path)
    assert_holds(cache, 1.0)


@pytest.mark.usefixtures("offline")
def test_saving_pretrained_does_not_touch_other_files(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("years of work")
    with pytest.raises(ArtifactError, match=r"with other things in it: config\.json"):
        Constant().save_pretrained(tmp_path)
    assert (tmp_path / "config.json").read_text() == "years of work"
    with pytest.raises(ValueError, match="expected no config"):
        Constant().save_pretrained(tmp_path / "e", config={})


@pytest.mark.usefixtures("offline")
def test_a_mistyped_folder_is_not_looked_for_on_the_hub(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"expected a folder or the name of a repository \('user/name'\), got"):
        Constant.from_pretrained(tmp_path / "none")


def test_pushing_uploads_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uploaded: dict[str, Any] = {}

    class Api:
        def __init__(self, **_: Any) -> None: ...

        def create_repo(self, repo_id: str, **_: Any) -> Any:
            return type("Repository", (), {"repo_id": repo_id})()

        def upload_folder(self, folder_path: Any, repo_id: str, **_: Any) -> str:
            uploaded[repo_id] = sorted(contents(Path(folder_path)))
            return "address"

    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Api)
    assert Constant().save_pretrained(tmp_path / "e", repo_id="user/name", push_to_hub=True) == "address"
    assert uploaded == {"user/name": ["README.md", CARD, weights_path(tmp_path / "e").name]}


def test_left_overs_are_removed_while_the_folder_is_locked(tmp_path, monkeypatch):
    remove, held = artifacts._remove_left_overs, []

    def watch(folder, *names):
        held.append((folder / SAVE_LOCK).exists())
        remove(folder, *names)

    monkeypatch.setattr(artifacts, "_remove_left_overs", watch)
    save(tmp_path / "e")
    assert held == [True]


def test_a_file_that_is_only_named_like_weights_is_kept(tmp_path):
    other = save(tmp_path / "e") / f"weights-{'0' * 16}.safetensors"
    other.write_bytes(b"of the user")
    save(tmp_path / "e", 2.0)
    assert other.read_bytes() == b"of the user"
