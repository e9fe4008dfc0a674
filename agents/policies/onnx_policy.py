"""Policies in ONNX files, run by onnxruntime: they need neither the library nor the class that trained them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.storage.file_access import ArtifactLimits
from .policy_spec import PolicyLoadError

_TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}


class OnnxPolicy:
    """A deterministic policy without memory, from the inputs of an ONNX graph to one of its outputs.

    The inputs are the entries of a Dict observation by name; a graph with one input also takes plain observations.
    The first axis of inputs and output is the batch; a graph for batches of 1 is run once for each observation. Actions
    are returned as the graph computes them: a graph that does not clip them needs ``gymnasium.wrappers.ClipAction``.

    Args:
        path: the ``.onnx`` file.
        action: name of the output with the actions; not needed if there is one output, or one called ``action`` or
            ``actions``.
        limits: largest size of the file.

    Raises:
        PolicyLoadError: onnxruntime is missing, the file is no ONNX graph or too large, or the output is ambiguous.
    """

    def __init__(self, path: str | Path, action: str | None = None, limits: ArtifactLimits | None = None) -> None:
        self._path = Path(path)
        self._session = _open_session(self._path, limits or ArtifactLimits())
        self._inputs = {given.name: given for given in self._session.get_inputs()}
        unknown = [f"{name}: {given.type}" for name, given in self._inputs.items() if given.type not in _TYPES]
        if unknown or not self._inputs:
            raise PolicyLoadError(f"expected inputs of type {', '.join(_TYPES)} in {path}, got {unknown or 'none'}")
        self._output = self._choose_output(action)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[NDArray[Any], None]:
        """Return actions ``(B, ...)`` for a batch of observations, or one action for one observation.

        Raises:
            PolicyLoadError: an input is missing, or has another shape than the graph expects.
            ValueError: an action is not finite.
        """
        given = self._by_name(observation)
        single = {array.ndim - len(self._inputs[name].shape) for name, array in given.items()}
        if not single <= {0} and not single <= {-1}:
            raise PolicyLoadError(self._wrong_shapes(given))
        batch = {name: array[None] for name, array in given.items()} if single == {-1} else given
        actions = self._run(batch)
        if not np.isfinite(actions).all():
            raise ValueError(f"expected finite actions of {self._path}, got {actions}; check the observations")
        return (actions[0] if single == {-1} else actions), None

    def _run(self, batch: dict[str, NDArray[Any]]) -> NDArray[Any]:
        sizes = {len(array) for array in batch.values()}
        fixed = {shape[0] for given in self._inputs.values() if isinstance((shape := given.shape)[0], int)}
        size = sizes.pop()
        if sizes or any(not _fits(array, self._inputs[name].shape) for name, array in batch.items()):
            raise PolicyLoadError(self._wrong_shapes(batch))
        if fixed == {1} and size != 1:
            rows = [self._run({name: array[i : i + 1] for name, array in batch.items()}) for i in range(size)]
            return np.concatenate(rows)
        if fixed and fixed != {size}:
            raise PolicyLoadError(f"expected batches of {sorted(fixed)} observations in {self._path}, got {size}")
        return np.asarray(self._session.run([self._output], batch)[0])

    def _by_name(self, observation: Any) -> dict[str, NDArray[Any]]:
        names = list(self._inputs)
        if not isinstance(observation, dict):
            if len(names) > 1:
                raise PolicyLoadError(
                    f"expected a Dict observation with {', '.join(names)}, the inputs of {self._path}, got one array"
                )
            observation = {names[0]: observation}
        missing = [name for name in names if name not in observation]
        if missing:
            raise PolicyLoadError(
                f"expected {', '.join(names)} in the observation, the inputs of {self._path}, "
                f"got {', '.join(map(str, observation))}; rename the inputs of the graph or the entries"
            )
        return {name: np.asarray(observation[name]).astype(_TYPES[self._inputs[name].type]) for name in names}

    def _choose_output(self, action: str | None) -> str:
        names = [str(output.name) for output in self._session.get_outputs()]
        if action is None:
            likely = names if len(names) == 1 else [name for name in names if name in ("action", "actions")]
        else:
            likely = [name for name in names if name == action]
        if len(likely) != 1:
            wanted = "one output, or one called action," if action is None else f"an output {action!r}"
            raise PolicyLoadError(
                f"expected {wanted} in {self._path}, got {', '.join(names)}; name it: '{self._path},action=NAME'"
            )
        return likely[0]

    def _wrong_shapes(self, given: dict[str, NDArray[Any]]) -> str:
        expected = {name: list(each.shape) for name, each in self._inputs.items()}
        got = {name: list(array.shape) for name, array in given.items()}
        return f"expected observations of shape {expected} for {self._path}, got {got}"


def _open_session(path: Path, limits: ArtifactLimits) -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise PolicyLoadError(f"{path} needs onnxruntime: pip install 'equiact[onnx]'") from error
    if not path.is_file():
        raise PolicyLoadError(f"expected an ONNX file at {path}, got nothing or a folder; check the path")
    if path.stat().st_size > limits.max_bytes:
        raise PolicyLoadError(
            f"expected a file of at most {limits.max_bytes} bytes, got {path.stat().st_size} in {path}"
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    # onnxruntime raises a class of its own for each of its error codes.
    except Exception as error:
        raise PolicyLoadError(
            f"expected an ONNX graph in {path}, got a file that onnxruntime refuses: {error}"
        ) from error


def _fits(array: NDArray[Any], shape: list[Any]) -> bool:
    """Return whether an array has the axes of an input behind the first, where the input fixes them."""
    known = [size if isinstance(size, int) else math.nan for size in shape[1:]]
    return array.ndim == len(shape) and all(
        math.isnan(size) or size == have for size, have in zip(known, array.shape[1:], strict=True)
    )
