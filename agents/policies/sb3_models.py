"""Load models of Stable-Baselines3 and sb3-contrib as policies, with consent to the pickles in their files."""

from __future__ import annotations

import importlib
import json
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.storage.file_access import ArtifactLimits
from .policy_spec import PolicyLoadError

ALGORITHMS: dict[str, tuple[str, str]] = {
    **{name.lower(): ("stable_baselines3", name) for name in ("A2C", "DDPG", "DQN", "PPO", "SAC", "TD3")},
    **{
        name.lower(): ("sb3_contrib", name)
        for name in ("ARS", "CrossQ", "MaskablePPO", "QRDQN", "RecurrentPPO", "TQC", "TRPO")
    },
}
"""Package and class of each algorithm, by its name in small letters."""

_BY_POLICY_MODULE = {
    "sac": "sac",
    "td3": "td3",
    "dqn": "dqn",
    "tqc": "tqc",
    "qrdqn": "qrdqn",
    "crossq": "crossq",
    "ars": "ars",
    "recurrent": "recurrentppo",
    "maskable": "maskableppo",
}
"""Algorithm of a policy class, by the folder of its module."""

_BY_ENTRY = (
    ("cg_max_steps", "trpo"),
    ("top_quantiles_to_drop_per_net", "tqc"),
    ("delta_std", "ars"),
    ("target_policy_noise", "td3"),
    ("target_entropy", "sac"),
    ("clip_range", "ppo"),
    ("gae_lambda", "a2c"),
)
"""Algorithm of a model whose policy class is the user's own, by an entry that only this algorithm has."""


def load_sb3_model(
    path: Path,
    *,
    trust: bool,
    algorithm: str | None = None,
    vec_normalize: Path | None = None,
    limits: ArtifactLimits | None = None,
) -> SB3Policy:
    """Load a model of Stable-Baselines3 or sb3-contrib for prediction.

    Nothing is unpickled before consent: the algorithm is read from the names of entries, which are JSON. The replay
    buffer is not allocated, so that models that were trained with hindsight experience replay load without their
    environment.

    Args:
        path: the zip file that ``model.save`` wrote.
        trust: whether the pickles in the file may be loaded, which can execute any code.
        algorithm: name of the algorithm, such as ``"sac"``, if it cannot be read from the file.
        vec_normalize: file that ``VecNormalize.save`` wrote during training, also a pickle.
        limits: largest size of the file, also after decompression.

    Returns:
        The policy; its ``model`` is the model.

    Raises:
        PolicyLoadError: there is no consent, the file is damaged or too large, the algorithm is unknown, or a package
            is missing.
    """
    entries = _read_entries(path, limits or ArtifactLimits())
    name = algorithm or _algorithm_of(entries, path)
    if name not in ALGORITHMS:
        raise PolicyLoadError(f"expected one of {', '.join(sorted(ALGORITHMS))} as the algorithm, got {name!r}")
    if not trust:
        raise PolicyLoadError(
            f"{path} is a model of {ALGORITHMS[name][1]} and holds pickles, which can execute any code when they are "
            "loaded; pass --trust-policy (in Python: trust=True) if you made the file yourself or trust who did"
        )
    if vec_normalize is None:
        _warn_of_statistics(path)
    model = _load(_algorithm_class(name, path), path, entries)
    return SB3Policy(model, None if vec_normalize is None else _load_statistics(vec_normalize))


class SB3Policy:
    """A model of Stable-Baselines3 or sb3-contrib as a policy, whose actions are deterministic unless told otherwise.

    Args:
        model: the model. Recurrent models take and return their state.
        normalize: returns normalised observations, as ``VecNormalize.normalize_obs`` does; not needed for models that
            were trained without it.
    """

    def __init__(self, model: Any, normalize: Callable[[Any], Any] | None = None) -> None:
        self.model = model
        self._normalize = normalize

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[NDArray[Any], Any]:
        """Return actions ``(B, ...)`` for a batch of observations, or one action for one, and the recurrent state."""
        given = observation if self._normalize is None else self._normalize(observation)
        actions, state = self.model.predict(given, state, episode_start, deterministic)
        return np.asarray(actions), state


def _read_entries(path: Path, limits: ArtifactLimits) -> dict[str, Any]:
    """Return the JSON of a model; serialised objects stay text."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
            if size > limits.max_bytes:
                raise PolicyLoadError(f"expected a model of at most {limits.max_bytes} bytes, got {size} in {path}")
            entries = json.loads(archive.read("data")) if "data" in archive.namelist() else None
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        if isinstance(error, PolicyLoadError):
            raise
        raise PolicyLoadError(
            f"expected a model of Stable-Baselines3 in {path}, got a damaged file: {error}"
        ) from error
    if not isinstance(entries, dict) or "observation_space" not in entries or "policy_class" not in entries:
        raise PolicyLoadError(
            f"expected a model that `model.save` of Stable-Baselines3 wrote, got another zip file {path}; "
            "for any other policy write a function and give it as 'module:function'"
        )
    return entries


def _algorithm_of(entries: Mapping[str, Any], path: Path) -> str:
    policy_class = entries["policy_class"]
    module = str(policy_class.get("__module__", "")) if isinstance(policy_class, dict) else ""
    package, *parts = module.split(".")
    if package in ("stable_baselines3", "sb3_contrib"):
        found = next((_BY_POLICY_MODULE[part] for part in parts if part in _BY_POLICY_MODULE), None)
        if found:
            return found
    found = next((name for entry, name in _BY_ENTRY if entry in entries), None)
    if found is None:
        raise PolicyLoadError(
            f"could not tell which algorithm wrote {path}; name it, such as 'sac:{path}' "
            f"(one of {', '.join(sorted(ALGORITHMS))})"
        )
    return found


def _algorithm_class(name: str, path: Path) -> Any:
    package, cls = ALGORITHMS[name]
    try:
        return getattr(importlib.import_module(package), cls)
    except ModuleNotFoundError as error:
        pip_name = package.replace("_", "-")
        raise PolicyLoadError(f"{path} is a model of {cls}: pip install {pip_name} ({error})") from error


def _load(algorithm: Any, path: Path, entries: Mapping[str, Any]) -> Any:
    # Training needs these, prediction does not: schedules are pickled functions, which break between versions of
    # Python, and the buffer would take gigabytes.
    unused: dict[str, Any] = {"learning_rate": 0.0, "lr_schedule": _zero, "clip_range": _zero, "tensorboard_log": None}
    unused |= {"buffer_size": 1, "replay_buffer_class": None, "replay_buffer_kwargs": {}, "_last_obs": None}
    replaced = {key: value for key, value in unused.items() if key in entries}
    try:
        return algorithm.load(path, custom_objects=replaced)
    # Whatever a stranger's pickle raises: a class that is gone, another architecture, a missing module.
    except Exception as error:
        raise PolicyLoadError(
            f"could not load {path} as a model of {algorithm.__name__} ({type(error).__name__}: {error}); install the "
            f"packages it was saved with, or name another algorithm, such as 'sac:{path}'"
        ) from error


def _zero(progress: float) -> float:
    return 0.0


def _warn_of_statistics(path: Path) -> None:
    """Warn of statistics of ``VecNormalize`` beside a model, which acts wrongly without them."""
    beside = sorted(path.parent.glob("*ec*ormalize*.pkl"))
    if beside:
        warnings.warn(
            f"{beside[0]} lies beside {path.name}: if the model was trained with VecNormalize, give its statistics, "
            f"'{path},vec_normalize={beside[0]}'",
            stacklevel=4,
        )


def _load_statistics(path: Path) -> Any:
    """Return the function that normalises observations by saved statistics; consent was given."""
    import pickle

    try:
        with path.open("rb") as file:
            statistics = pickle.load(file)  # noqa: S301 (the caller passed trust=True)
        normalize = statistics.normalize_obs
    # As above: a pickle may raise anything.
    except Exception as error:
        raise PolicyLoadError(
            f"expected statistics that `VecNormalize.save` wrote in {path}, got {type(error).__name__}: {error}"
        ) from error
    return lambda observation: _as_float32(normalize(observation))


def _as_float32(observation: Any) -> Any:
    if isinstance(observation, dict):
        return {key: _as_float32(value) for key, value in observation.items()}
    return np.asarray(observation, np.float32) if observation.dtype == np.float64 else observation
