"""Write encoders as ONNX graphs, which run without this package and without torch."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...envs.storage.file_access import ArtifactLimits, read_regular, write_atomically
from ...envs.storage.output_paths import check_file
from ...envs.storage.tensor_files import serialize_tensors
from .encoder import Encoder, require_images, to_images

METADATA = "equiact"
"""Key of the metadata of a graph under which the card of the encoder is, as JSON."""


class OnnxExportError(ValueError):
    """An encoder cannot be written as an ONNX graph, or the graph computes other latents."""


@dataclass(frozen=True)
class OnnxExport:
    """What was written, and how well it agrees.

    Attributes:
        file: the file.
        size_bytes: its size.
        card: what the metadata of the graph says of the encoder.
        images: number of images that both were compared on.
        differences: largest absolute difference between torch and onnxruntime, by the name of the latent.
    """

    file: Path
    size_bytes: int
    card: dict[str, Any]
    images: int
    differences: dict[str, float]


def export_onnx(
    encoder: Encoder, path: str | Path, images: NDArray[np.uint8] | None = None, *, tolerance: float = 1e-4
) -> OnnxExport:
    """Write an encoder as an ONNX graph, after comparing it with torch.

    The graph has the input ``images`` ``(batch, H, W, C)`` uint8 and an output for each latent, by its name. Its
    metadata has the card of the encoder under the key ``equiact``: class, configuration, group, input and the SHA-256
    of the weights. The graph is run by onnxruntime on random images, in batches of 1 and of 16, and on those that are
    given. The file is written only if all latents agree.

    Args:
        encoder: the encoder, on any device and in any precision; it is not changed.
        path: the file to write, a new one or one that this function wrote.
        images: further images to compare on, ``(B, H, W, C)`` uint8.
        tolerance: largest difference of a latent, in units of its largest absolute value, or of 1 if that is smaller.

    Returns:
        What was written and how well it agrees.

    Raises:
        ArtifactError: the file holds something else, or cannot be written.
        ObservationError: ``images`` are not like those that the encoder sees.
        OnnxExportError: a package is missing, the encoder has an operation without a counterpart in ONNX, or the graph
            computes other latents.
    """
    file = check_file(path, _is_ours)
    if images is not None:
        require_images(images, encoder.shape)
    plain = copy.deepcopy(encoder).to("cpu", torch.float32).eval()
    plain = plain.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    card = {**plain.card(), "weights_sha256": hashlib.sha256(serialize_tensors(plain.state_dict(), file)).hexdigest()}
    graph = _to_graph(plain, card)
    batches = _test_batches(plain.shape, images)
    differences = _compare(plain, graph, batches, tolerance)
    write_atomically(file, graph)
    return OnnxExport(file, len(graph), card, sum(map(len, batches)), differences)


def read_onnx_card(path: str | Path) -> dict[str, Any] | None:
    """Return the card in the metadata of an ONNX graph, or None if the file is none that `export_onnx` wrote.

    Raises:
        OnnxExportError: the package onnx is missing.
    """
    onnx = _require("onnx")
    try:
        graph = onnx.load_from_string(read_regular(path, ArtifactLimits().max_bytes))
        found = {entry.key: entry.value for entry in graph.metadata_props}
        card = json.loads(found.get(METADATA, "null"))
    # protobuf's errors have no base class but Exception.
    except Exception:
        return None
    return card if isinstance(card, dict) else None


class _NamedLatents(nn.Module):
    """Latents as a tuple, which ONNX needs."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.encoder.latents(to_images(images)).values())


def _to_graph(encoder: Encoder, card: dict[str, Any]) -> bytes:
    for package in ("onnx", "onnxscript"):
        _require(package)
    sample = torch.zeros((2, *encoder.shape), dtype=torch.uint8)
    with torch.no_grad():
        names = list(encoder.latents(to_images(sample)))
    try:
        with _quiet():
            program = torch.onnx.export(
                _NamedLatents(encoder).eval(),
                (sample,),
                input_names=["images"],
                output_names=names,
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                verbose=False,
            )
    # torch.onnx raises errors of many classes, depending on the step that fails.
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise OnnxExportError(
            f"expected an encoder whose operations ONNX has, got {type(encoder).__name__} ({reason[-1]}); use it with "
            "torch, or export a policy on its latents instead"
        ) from error
    if program is None:
        raise OnnxExportError(f"torch.onnx returned no graph of {type(encoder).__name__}")
    model = program.model_proto
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA, json.dumps(card, allow_nan=False)
    return bytes(model.SerializeToString())


def _test_batches(shape: tuple[int, int, int], images: NDArray[np.uint8] | None) -> list[NDArray[np.uint8]]:
    generator = np.random.default_rng(0)
    batches = [generator.integers(0, 256, (size, *shape), np.uint8) for size in (1, 16)]
    if images is not None:
        batches += [np.ascontiguousarray(images[i : i + 64]) for i in range(0, len(images), 64)]
    return batches


def _compare(encoder: Encoder, graph: bytes, batches: list[NDArray[np.uint8]], tolerance: float) -> dict[str, float]:
    """Return the largest differences between torch and onnxruntime.

    Raises:
        OnnxExportError: one is larger than the tolerance, or not a number.
    """
    session = _require("onnxruntime").InferenceSession(graph, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    differences = dict.fromkeys(names, 0.0)
    for batch in batches:
        expected = encoder.encode(batch)
        for name, latent in zip(names, session.run(names, {"images": batch}), strict=True):
            difference = float(np.abs(latent - expected[name]).max(initial=0.0))
            allowed = tolerance * max(1.0, float(np.abs(expected[name]).max(initial=0.0)))
            if not difference <= allowed:
                raise OnnxExportError(
                    f"expected the graph to agree with torch, got a difference of {difference:.3g} in {name!r}, above "
                    f"{allowed:.3g}; nothing was written. Raise the tolerance if you can accept it"
                )
            differences[name] = max(differences[name], difference)
    return differences


def _is_ours(path: Path) -> bool:
    return read_onnx_card(path) is not None


def _require(package: str) -> Any:
    import importlib

    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise OnnxExportError(f"ONNX needs the package {package}: pip install 'equiact[onnx]'") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress and warnings from the user; its errors come through."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
