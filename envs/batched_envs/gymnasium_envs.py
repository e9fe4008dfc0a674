"""Single and vector Gymnasium environments as batches with one way of being reset.

Gymnasium's vector environments start the next episode in one of three ways (``metadata["autoreset_mode"]``):

| mode | where an episode has ended | handled by |
|---|---|---|
| ``NEXT_STEP`` | the next step ignores its action and resets | that step is not valid |
| ``SAME_STEP`` | the same step resets; the last observation is ``info["final_obs"]`` | ``end`` is taken from there |
| ``DISABLED`` | the caller resets | reset at once, with ``options["reset_mask"]`` |

A vector environment that declares no mode is watched: ``info["final_obs"]`` tells ``SAME_STEP``. Without it the two
other modes look alike, so that both the last step of an episode and the step after it are not valid.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from .actions import require_actions
from .batch_rows import equal_rows, replace_observation_rows, replace_rows
from .batch_step import BatchObservation, BatchStep, Mask
from .image_reader import FrameReader, copy_observation

AnyVectorEnv = VectorEnv[Any, Any, Any]


class SingleEnvBatch:
    """One Gymnasium environment as a batch of one; the step after the end of an episode resets.

    Args:
        env: the environment.
        reader: reads the frames; None if none are needed.
    """

    num_envs = 1

    def __init__(self, env: gym.Env[Any, Any], reader: FrameReader | None = None) -> None:
        self._env = env
        self._reader = reader
        self._ended = False
        self._current = BatchObservation(None, None, {})

    @property
    def running(self) -> Mask:
        """Return true for every environment: they start over by themselves."""
        return np.array([True])

    def reset(self, seed: int | None = None) -> BatchObservation:
        """Start an episode in every environment."""
        observation, info = self._env.reset(seed=seed)
        self._ended = False
        self._current = self._observe(observation, info)
        return self._current

    def step(self, action: Any) -> BatchStep:
        """Act once, or reset where that is due."""
        require_actions(action, self._env.action_space, 1)
        start, restarts = self._current, self._ended
        reward, terminated, truncated = 0.0, False, False
        if restarts:
            self.reset()
        else:
            observation, reward_, terminated, truncated, info = self._env.step(action[0])
            reward = float(reward_)
            self._ended = bool(terminated or truncated)
            self._current = self._observe(observation, info)
        return BatchStep(
            start=start,
            action=action,
            reward=np.array([reward]),
            terminated=np.array([bool(terminated)]),
            truncated=np.array([bool(truncated)]),
            valid=np.array([not restarts]),
            end=self._current,
            next=self._current,
            restarted=np.array([restarts]),
        )

    def _observe(self, observation: Any, info: dict[str, Any]) -> BatchObservation:
        return _observed(copy_observation(observation, batch=True), info, self._reader, self._env.render)


class _VectorEnvBatch:
    """Base class of the adapters of vector environments.

    Args:
        env: the vector environment.
        reader: reads the frames; None if none are needed.
    """

    def __init__(self, env: AnyVectorEnv, reader: FrameReader | None = None) -> None:
        self._env = env
        self._reader = reader
        self.num_envs = env.num_envs
        self._ended = np.zeros(env.num_envs, bool)
        self._current = BatchObservation(None, None, {})

    @property
    def running(self) -> Mask:
        """Return true for every environment: they start over by themselves."""
        return np.ones(self.num_envs, bool)

    def reset(self, seed: int | None = None) -> BatchObservation:
        """Start an episode in every environment."""
        observation, info = self._env.reset(seed=seed)
        self._ended = np.zeros(self.num_envs, bool)
        self._current = self._observe(observation, info)
        return self._current

    def step(self, action: Any) -> BatchStep:
        """Act once, or reset where that is due."""
        require_actions(action, getattr(self._env, "single_action_space", None), self.num_envs)
        start = self._current
        observation, reward, terminated, truncated, info = self._env.step(action)
        terminated, truncated = np.array(terminated, bool), np.array(truncated, bool)
        valid, end, next_, restarted = self._advance(observation, info, terminated | truncated)
        self._current = next_
        reward = np.where(valid, reward, 0.0)
        return BatchStep(start, action, reward, terminated, truncated, valid, end, next_, restarted)

    def _advance(
        self, observation: Any, info: dict[str, Any], ended: Mask
    ) -> tuple[Mask, BatchObservation, BatchObservation, Mask]:
        """Return ``valid``, ``end``, ``next`` and ``restarted`` of the step that returned these."""
        raise NotImplementedError

    def _observe(self, observation: Any, info: dict[str, Any]) -> BatchObservation:
        return _observed(copy_observation(observation), info, self._reader, self._env.render)


class NextStepBatch(_VectorEnvBatch):
    """A vector environment of which the step after the end of an episode resets."""

    def _advance(
        self, observation: Any, info: dict[str, Any], ended: Mask
    ) -> tuple[Mask, BatchObservation, BatchObservation, Mask]:
        restarted, self._ended = self._ended, ended
        current = self._observe(observation, info)
        return ~restarted, current, current, restarted


class SameStepBatch(_VectorEnvBatch):
    """A vector environment that resets within the step that ends an episode.

    Gymnasium keeps a reference to the last observation. If an environment draws all its frames into one buffer, its
    reset overwrites that observation; this is noticed, and the step is not valid.
    """

    _warned_of_overwriting = False

    def _advance(
        self, observation: Any, info: dict[str, Any], ended: Mask
    ) -> tuple[Mask, BatchObservation, BatchObservation, Mask]:
        valid = np.ones(self.num_envs, bool)
        plain = {key: value for key, value in info.items() if key.lstrip("_") not in ("final_obs", "final_info")}
        following = self._observe(observation, plain)
        if not ended.any():
            return valid, following, following, ended
        if "final_obs" not in info:
            raise ValueError(
                "expected the last observation of an episode in info['final_obs'], as an environment that resets "
                f"within the step must report it; got the keys {sorted(info)}. Declare another "
                "metadata['autoreset_mode'], or pass it as autoreset="
            )
        observation = replace_observation_rows(following.observation, info["final_obs"], ended)
        valid = ~(ended & equal_rows(observation, following.observation, self.num_envs))
        if not valid.all() and not self._warned_of_overwriting:
            self._warned_of_overwriting = True
            warnings.warn(
                "info['final_obs'] equals the first observation of the next episode: the environment seems to draw "
                "into one buffer, which its reset overwrites. Such transitions are left out; let the environment "
                "return copies, or make it with autoreset_mode NEXT_STEP",
                UserWarning,
                stacklevel=4,
            )
        final = replace_rows(plain, info.get("final_info", {}), ended)
        return valid, _observed(observation, final, self._reader, self._cannot_render), following, ended

    def _cannot_render(self) -> None:
        raise ValueError(
            "this environment resets within the step and shows its frames by render only: the last frame of an "
            "episode cannot be drawn. Make it with autoreset_mode NEXT_STEP or DISABLED, or let it observe its frames"
        )


class DisabledAutoresetBatch(_VectorEnvBatch):
    """A vector environment that leaves resets to the caller; reset as soon as an episode ends."""

    def _advance(
        self, observation: Any, info: dict[str, Any], ended: Mask
    ) -> tuple[Mask, BatchObservation, BatchObservation, Mask]:
        end = self._observe(observation, info)
        following = end
        if ended.any():
            observation, fresh = self._env.reset(options={"reset_mask": ended.copy()})
            following = self._observe(observation, replace_rows(info, fresh, ended))
        return np.ones(self.num_envs, bool), end, following, ended


class UndeclaredBatch(SameStepBatch):
    """A vector environment that does not say how it resets: detected if possible, handled with care if not.

    Transitions at the ends of episodes are not valid unless ``info["final_obs"]`` shows that it resets within the step.
    """

    def __init__(self, env: AnyVectorEnv, reader: FrameReader | None = None) -> None:
        super().__init__(env, reader)
        self._resets_within_step = False
        warnings.warn(
            f"{type(env.unwrapped).__name__} does not declare metadata['autoreset_mode']: unless it reports "
            "info['final_obs'], the last transition of every episode is left out. Pass autoreset='NextStep', "
            "'SameStep' or 'Disabled' to say how it resets",
            UserWarning,
            stacklevel=4,
        )

    def _advance(
        self, observation: Any, info: dict[str, Any], ended: Mask
    ) -> tuple[Mask, BatchObservation, BatchObservation, Mask]:
        self._resets_within_step |= "final_obs" in info
        if self._resets_within_step:
            return super()._advance(observation, info, ended)
        doubtful, self._ended = self._ended | ended, ended
        current = self._observe(observation, info)
        return ~doubtful, current, current, doubtful


def vector_env_batch(
    env: AnyVectorEnv, autoreset: AutoresetMode | str | None = None, reader: FrameReader | None = None
) -> _VectorEnvBatch:
    """Return the adapter for the way in which a vector environment resets.

    Args:
        env: the vector environment.
        autoreset: how it resets; as declared in its metadata if None.
        reader: reads the frames; None if none are needed.

    Raises:
        ValueError: there is no such mode.
    """
    mode = env.metadata.get("autoreset_mode") if autoreset is None else autoreset
    if mode is None:
        return UndeclaredBatch(env, reader)
    batches: dict[AutoresetMode, type[_VectorEnvBatch]] = {
        AutoresetMode.NEXT_STEP: NextStepBatch,
        AutoresetMode.SAME_STEP: SameStepBatch,
        AutoresetMode.DISABLED: DisabledAutoresetBatch,
    }
    return batches[autoreset_mode(mode)](env, reader)


def autoreset_mode(mode: Any) -> AutoresetMode:
    """Return the mode with this name or value, such as ``"SAME_STEP"``, ``"SameStep"`` or ``"same_step"``.

    Raises:
        ValueError: there is no such mode.
    """
    spelled = str(mode.value if isinstance(mode, AutoresetMode) else mode).replace("_", "").lower()
    for known in AutoresetMode:
        if spelled == known.value.replace("_", "").lower():
            return known
    raise ValueError(f"autoreset must be one of {[known.value for known in AutoresetMode]}, got {mode!r}")


def _observed(
    observation: Any, info: dict[str, Any], reader: FrameReader | None, render: Callable[[], Any]
) -> BatchObservation:
    frames: NDArray[np.uint8] | None = None if reader is None else reader.read(observation, render)
    return BatchObservation(observation, frames, info)
