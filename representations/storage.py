"""Networks on disk: a folder with safetensors weights and a JSON card; nothing that is read is executed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

CARD, WEIGHTS = "card.json", "weights.safetensors"

Network = TypeVar("Network", bound=nn.Module)


class NetworkFileError(ValueError):
    """A folder does not hold a network that can be trusted: something is missing, altered or does not match."""


def save_network(folder: str | Path, network: nn.Module, hyperparameters: Mapping[str, Any]) -> None:
    """Write a network as a folder: its weights, and a card with its class, hyperparameters and the weights' hash."""
    weights = save_tensors({name: value.contiguous() for name, value in network.state_dict().items()})
    card = {
        "class": type(network).__name__,
        "hyperparameters": dict(hyperparameters),
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    replace_folder(Path(folder), {WEIGHTS: weights, CARD: json.dumps(card, indent=2).encode()})


def load_network(folder: str | Path, kind: type[Network]) -> Network:
    """Read what `save_network` wrote, in evaluation mode.

    Raises:
        NetworkFileError: a file is missing, truncated or altered, or holds a network of another class.
    """
    try:
        card = json.loads((Path(folder) / CARD).read_text())
        weights = (Path(folder) / WEIGHTS).read_bytes()
        if hashlib.sha256(weights).hexdigest() != card["sha256"]:
            raise NetworkFileError(f"{WEIGHTS} in {folder} is truncated or altered: its hash is not the card's")
        if card["class"] != kind.__name__:
            raise NetworkFileError(f"{folder} holds a {card['class']}, a {kind.__name__} was expected")
        network = kind(**card["hyperparameters"])
        network.load_state_dict(load_tensors(weights))
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        if isinstance(error, NetworkFileError):
            raise
        raise NetworkFileError(f"{folder} does not hold a {kind.__name__}: {error}") from error
    return network.eval()


def require_replaceable(folder: Path, files: Iterable[str] = (CARD, WEIGHTS)) -> None:
    """Check that nothing is lost when a folder is replaced: it is not there, is empty, or has one of these files.

    Raises:
        FileExistsError: it holds other things.
    """
    if folder.exists() and not any((folder / name).exists() for name in files) and any(folder.iterdir()):
        raise FileExistsError(f"{folder} holds other things, which would be lost; choose another folder or empty it")


def replace_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files beside ``folder``, then put them in its place; a failure leaves what was there.

    Raises:
        FileExistsError: what is there is something else (`require_replaceable`).
    """
    require_replaceable(folder, files)
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name, content in files.items():
            (fresh / name).write_bytes(content)
        fresh.chmod(0o755)
        if folder.exists():
            old = fresh.with_name(fresh.name + "-old")
            os.replace(folder, old)
            try:
                os.replace(fresh, folder)
            except BaseException:
                os.replace(old, folder)
                raise
            shutil.rmtree(old)
        else:
            os.replace(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
