"""Finished rounds of an exploration in a folder, from which an interrupted one goes on."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...envs.data.minari_dataset import load_transitions, save_transitions
from ...envs.data.transitions import Transitions
from ...envs.storage.artifacts import ArtifactError, check_output_folder, folder_lock, read_json, write_json
from ...representations.learning.checkpoints import remove_checkpoint

PLAN = "exploration.json"


class SavedRounds:
    """Finished rounds, and the checkpoints of the encoders between them.

    Args:
        folder: where they are; None to keep nothing.
        plan: what identifies the exploration: only one with an equal plan goes on from the folder.

    Raises:
        ArtifactError: the folder holds another exploration, or anything else.
    """

    def __init__(self, folder: str | Path | None, plan: Mapping[str, Any]) -> None:
        self._folder = None if folder is None else Path(folder)
        self._plan = json.loads(json.dumps(plan))
        if self._folder is None or not self._folder.exists():
            return
        found = read_json(self._folder / PLAN) if (self._folder / PLAN).exists() else None
        if found != self._plan and any(self._folder.iterdir()):
            raise ArtifactError(
                f"expected no folder, or the rounds of this exploration, at {self._folder}, got those of another one "
                "or something else; choose another work_dir, or delete it"
            )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process; create it."""
        if self._folder is None:
            yield
            return
        with folder_lock(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            write_json(self._folder / PLAN, self._plan)
            yield

    def load(self, index: int) -> Transitions | None:
        """Return a finished round; None if there is none."""
        path = self._round(index)
        return load_transitions(path) if path is not None and path.exists() else None

    def save(self, index: int, transitions: Transitions) -> None:
        """Save a finished round."""
        if (path := self._round(index)) is not None:
            save_transitions(transitions, path)

    def checkpoint(self, index: int) -> Path | None:
        """Return the file of the checkpoint of the encoder that follows ``index`` rounds."""
        return None if self._folder is None else self._folder / f"encoder-{index}.checkpoint"

    def remove(self) -> None:
        """Remove the rounds, and the folder if nothing else is in it."""
        if self._folder is None:
            return
        index = 0
        while (path := self._folder / f"round-{index}").exists():
            shutil.rmtree(check_output_folder(path, "dataset"))
            remove_checkpoint(self._folder / f"encoder-{index + 1}.checkpoint")
            index += 1
        (self._folder / PLAN).unlink()
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    def _round(self, index: int) -> Path | None:
        return None if self._folder is None else self._folder / f"round-{index}"
