"""Policies of LeRobot: action chunks, normalisation and image layout behind the interface of all policies."""

from __future__ import annotations

import copy
import importlib
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .policy_spec import PolicyLoadError

_ENVIRONMENT_NAMES = {
    "observation.image": "pixels",
    "observation.state": "agent_pos",
    "observation.environment_state": "environment_state",
}
"""What LeRobot's environments call the inputs of its policies."""


class LeRobotPolicy:
    """A policy of LeRobot that acts on the observations of any environment.

    Each input of the policy is looked up in a Dict observation by its full name, by its name without
    ``observation.`` or ``observation.images.``, and by the name that LeRobot's environments give it (``pixels``,
    ``agent_pos``, ``environment_state``). A policy with one input also takes plain observations. Images ``(H, W, C)``
    uint8 become ``(C, H, W)`` float in [0, 1].

    The queue of actions that a chunk left over is the state that `predict` takes and returns, one for each observation
    of the batch; episodes of a batch may start at different times.

    Args:
        policy: a ``lerobot.policies.pretrained.PreTrainedPolicy``.
        preprocessor: maps a batch of tensors to the inputs of the policy.
        postprocessor: maps actions of the policy to actions of the environment.
        task: instruction in words, for policies that need one.

    Raises:
        PolicyLoadError: the policy has no inputs.
    """

    def __init__(self, policy: Any, preprocessor: Any, postprocessor: Any, task: str | None = None) -> None:
        self._policy, self._preprocessor, self._postprocessor = policy, preprocessor, postprocessor
        self._task = task
        features = policy.config.input_features or {}
        self._shapes = {str(name): tuple(feature.shape) for name, feature in features.items()}
        if not self._shapes:
            raise PolicyLoadError("expected a policy of LeRobot with input features, got one without")

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[NDArray[Any], Any]:
        """Return actions ``(B, n)`` for a batch of observations, or one action for one, and the queues left over.

        Raises:
            PolicyLoadError: an input of the policy is missing, or has another shape or type.
        """
        given = self._by_name(observation)
        single = _is_single(given, self._shapes)
        batch = {name: array[None] for name, array in given.items()} if single else given
        size = len(next(iter(batch.values())))
        queues = [None] * size if state is None else list(state)
        if episode_start is not None:
            queues = [None if start else queue for start, queue in zip(np.ravel(episode_start), queues, strict=True)]
        actions: list[NDArray[Any]] = []
        for row in range(size):
            self._restore(queues[row])
            actions.append(self._act({name: array[row] for name, array in batch.items()}))
            queues[row] = self._memory()
        return (actions[0] if single else np.stack(actions)), queues

    def _act(self, observation: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        inputs: dict[str, Any] = {
            name: _as_input(array, self._shapes[name], name)[None] for name, array in observation.items()
        }
        if self._task is not None:
            inputs["task"] = [self._task]
        with torch.inference_mode():
            action = self._postprocessor(self._policy.select_action(self._preprocessor(inputs)))
        return np.asarray(torch.as_tensor(action).squeeze(0).float().cpu().numpy())

    def _by_name(self, observation: Any) -> dict[str, NDArray[Any]]:
        if not isinstance(observation, Mapping):
            if len(self._shapes) != 1:
                raise PolicyLoadError(
                    f"expected a Dict observation with {', '.join(self._shapes)}, got one array; see `LeRobotPolicy`"
                )
            return {next(iter(self._shapes)): np.asarray(observation)}
        return {name: np.asarray(_look_up(observation, name)) for name in self._shapes}

    def _memory(self) -> dict[str, Any]:
        """Return a copy of what the policy remembers from step to step: queues, but no weights."""
        own = vars(self._policy)
        return {name: copy.deepcopy(own[name]) for name in _memory_names(self._policy)}

    def _restore(self, memory: dict[str, Any] | None) -> None:
        self._policy.reset()
        if memory is not None:
            vars(self._policy).update(copy.deepcopy(memory))


def load_lerobot(place: str, *, task: str | None = None) -> LeRobotPolicy:
    """Load a policy of LeRobot from a folder or from the Hugging Face Hub; its weights are safetensors, no pickle.

    Args:
        place: folder with ``config.json`` and ``model.safetensors``, or ``"user/name"`` or ``"user/name@revision"``.
        task: instruction in words, for policies that need one.

    Raises:
        PolicyLoadError: LeRobot is missing or too old, or the policy cannot be read.
    """
    try:
        configs, factory = map(importlib.import_module, ("lerobot.configs.policies", "lerobot.policies.factory"))
        make_processors = factory.make_pre_post_processors
    except (ImportError, AttributeError) as error:
        raise PolicyLoadError(
            f"{place} is a policy of LeRobot, which is missing or older than 0.4 ({error}); pip install 'lerobot>=0.4' "
            "in an environment of its own, because it pins other versions of torch"
        ) from error
    folder = str(_local_folder(place))
    try:
        config = configs.PreTrainedConfig.from_pretrained(folder)
        policy = factory.get_policy_class(config.type).from_pretrained(folder, config=config)
        overrides = {"device_processor": {"device": str(policy.config.device)}}
        preprocessor, postprocessor = make_processors(
            policy_cfg=policy.config, pretrained_path=folder, preprocessor_overrides=overrides
        )
    # LeRobot, draccus and safetensors raise errors of many classes for a damaged or older policy.
    except Exception as error:
        raise PolicyLoadError(
            f"could not load the policy of LeRobot in {place} ({type(error).__name__}: {error}); policies older than "
            "LeRobot 0.4 must be converted by its migration script"
        ) from error
    return LeRobotPolicy(policy.eval(), preprocessor, postprocessor, task)


def is_lerobot_folder(folder: Path) -> bool:
    """Return whether a folder holds a policy of LeRobot."""
    return (folder / "config.json").is_file() and (folder / "model.safetensors").is_file()


def _local_folder(place: str) -> Path:
    path = Path(place).expanduser()
    if path.is_dir():
        return path
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    repository, _, revision = place.partition("@")
    try:
        return Path(snapshot_download(repository, revision=revision or None))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise PolicyLoadError(f"expected a folder or 'user/name' on the Hub, got {place!r}: {error}") from error


def _look_up(observation: Mapping[str, Any], name: str) -> Any:
    short = name.removeprefix("observation.")
    pixels = observation.get("pixels")
    camera = short.removeprefix("images.")
    if isinstance(pixels, Mapping) and camera in pixels:
        return pixels[camera]
    for key in (name, short, camera, _ENVIRONMENT_NAMES.get(name, name)):
        if key in observation and not isinstance(observation[key], Mapping):
            return observation[key]
    raise PolicyLoadError(
        f"expected {name!r} in the observation, an input of the policy, got {', '.join(map(str, observation))}; "
        f"rename an entry to {short!r} with a wrapper of the environment"
    )


def _is_single(given: Mapping[str, NDArray[Any]], shapes: Mapping[str, tuple[int, ...]]) -> bool:
    extra = {array.ndim - len(shapes[name]) for name, array in given.items()}
    if extra not in ({0}, {1}):
        got = {name: array.shape for name, array in given.items()}
        raise PolicyLoadError(f"expected one observation or a batch of shapes {dict(shapes)}, got {got}")
    return extra == {0}


def _as_input(array: NDArray[Any], shape: tuple[int, ...], name: str) -> Tensor:
    """Return an observation as the policy expects it; images channels first."""
    if len(shape) == 3 and array.shape == (*shape[1:], shape[0]):
        array = np.moveaxis(array, -1, 0)
    if array.shape != shape:
        expected = f"{(*shape[1:], shape[0])} or {shape}" if len(shape) == 3 else f"{shape}"
        raise PolicyLoadError(f"expected {name} of shape {expected}, got {array.shape}; resize it with a wrapper")
    if len(shape) == 3 and array.dtype != np.uint8:
        raise PolicyLoadError(f"expected uint8 images with values from 0 to 255 as {name}, got {array.dtype}")
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.float() / 255 if len(shape) == 3 else tensor.float()


def _memory_names(policy: Any) -> Iterable[str]:
    """Return the names of the attributes that hold queues or running averages."""
    plain = vars(nn.Module())
    kinds = (deque, dict, list, Tensor, int, float)
    return [
        name
        for name, value in vars(policy).items()
        if name not in plain and (value is None or isinstance(value, kinds) or hasattr(value, "reset"))
    ]
