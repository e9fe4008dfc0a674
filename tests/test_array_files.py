"""Array files of the analysis commands: damaged ones, other formats, sizes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from equiact.scripts.analyses import array_files
from equiact.scripts.analyses.array_files import read_arrays, read_npy


@pytest.mark.parametrize("read", [read_npy, read_arrays])
def test_files_that_are_no_arrays_are_refused_by_the_name_of_the_argument(
    tmp_path: Path, read: Callable[[Path, str], object]
) -> None:
    np.save(tmp_path / "good.npy", np.eye(2))
    np.savez(tmp_path / "good.npz", a=np.eye(2))
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    np.savez(tmp_path / "objects.npz", a=np.array([{}]))
    good = tmp_path / ("good.npy" if read is read_npy else "good.npz")
    other = tmp_path / ("good.npz" if read is read_npy else "good.npy")
    objects = tmp_path / ("objects.npy" if read is read_npy else "objects.npz")
    cut = tmp_path / "cut"
    cut.write_bytes(good.read_bytes()[:-3])
    empty, text = tmp_path / "empty", tmp_path / "text"
    empty.write_bytes(b"")
    text.write_text("no array")
    for path, message in (
        (empty, "the empty file .*0 bytes"),
        (text, "--this to be an NP. file of numbers"),
        (cut, "--this to be an NP. file of numbers"),
        (objects, "Python objects, which are never loaded"),
        (other, "got the NP. (archive|file)"),
        (tmp_path, "got the folder"),
        (tmp_path / "none", "--this to be a file, got .* does not exist"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            read(path, "--this")
        assert "--this" in str(caught.value) and "pickle" not in str(caught.value) and "unsafe" not in str(caught.value)


def test_sizes_are_checked_before_memory_is_allocated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "loops.npy", np.eye(2))
    stated = (tmp_path / "loops.npy").read_bytes().replace(b"(2, 2), ", b"(9999999999,),")
    (tmp_path / "large.npy").write_bytes(stated)
    with pytest.raises(ValueError, match=r"states 79999999992 bytes of numbers, and has"):
        read_npy(tmp_path / "large.npy", "--loops")
    np.savez_compressed(tmp_path / "data.npz", a=np.zeros(10_000))
    assert read_arrays(tmp_path / "data.npz", "--data")["a"].shape == (10_000,)
    monkeypatch.setattr(array_files, "MAX_BYTES", 5000)
    with pytest.raises(ValueError, match="more than 5000"):
        read_arrays(tmp_path / "data.npz", "--data")
    np.save(tmp_path / "loops.npy", np.zeros(1000))
    with pytest.raises(ValueError, match=r"at most 5000 bytes, got .*; split it"):
        read_npy(tmp_path / "loops.npy", "--loops")
