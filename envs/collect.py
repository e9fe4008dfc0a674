"""Making experience: act in an environment, keep what happened as `Transitions`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from envs.groups import Group, group_from_name
from envs.transitions import Transitions

Info = dict[str, Any]
ReadDisplacement = Callable[[Info], NDArray[Any]]
Progress = Callable[[int], None]
TRUTHS = ("agent_pose", "object_pose", "orbit")


class Policy(Protocol):
    """Chooses an action for every world."""

    def __call__(self, info: Info, generator: np.random.Generator) -> NDArray[np.float32]: ...


def collect(
    env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any],
    transitions: int,
    seed: int,
    *,
    displacement: str | ReadDisplacement = "displacement",
    group: Group | str | None = None,
    policy: Policy | None = None,
    progress: Progress = lambda done: None,
) -> Transitions:
    """Act until ``transitions`` transitions have been seen.

    Works on any Gymnasium environment (single or vector) whose observations are RGB frames, or that draws them with
    ``render_mode="rgb_array"``.

    Args:
        env: the environment; a single one is reset when an episode ends.
        transitions: how many to collect.
        seed: of the environment and of the policy.
        displacement: how to read the performed group element: a key of ``info``, or a function of ``info`` that
            returns ``(dim,)`` (or ``(num_envs, dim)`` for a vector environment).
        group: the group that acts; ``env.unwrapped.group`` if None.
        policy: `explore` for our worlds with an object, random actions of the action space otherwise, if None.
        progress: called with the number of transitions seen so far.

    Raises:
        ValueError: no frames, no group, or no displacement can be found.

    Example:
        >>> import gymnasium as gym
        >>> worlds = gym.make_vec("envs:equiact/Soccer-v0", num_envs=2, resolution=(16, 16))
        >>> len(collect(worlds, transitions=50, seed=0))
        50
    """
    if transitions < 1:
        raise ValueError(f"at least 1 transition must be collected, got {transitions}")
    source = _VectorSource(env) if isinstance(env, VectorEnv) else _SingleSource(env)
    resolved = _resolve_group(env, group)
    if policy is None:
        policy = explore(env) if hasattr(getattr(env.unwrapped, "world", None), "object_pose") else uniform(env)
    read = _reader(displacement)
    generator = np.random.default_rng(seed)
    # World i of a batch is seeded with seed + i: neighbouring seeds would share most of their worlds.
    spread = int(generator.integers(2**31))
    recorder = _Recorder(resolved)
    frames, info = source.reset(spread)
    current = recorder.add_frames(frames, info)
    while len(recorder) < transitions:
        frames, info, valid = source.step(policy(info, generator))
        following = recorder.add_frames(frames, info)
        performed = np.asarray(read(info))
        # Where a world of a batch was reset, nothing was performed, and there may be anything.
        resolved.validate(performed[valid] if performed.ndim > 1 else performed, "displacement")
        recorder.add_transitions(current, following, performed, info, valid)
        current = following
        progress(min(len(recorder), transitions))
    return recorder.transitions(transitions)


def uniform(env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any]) -> Policy:
    """Random actions of the environment's action space."""

    def policy(info: Info, generator: np.random.Generator) -> NDArray[np.float32]:
        env.action_space.seed(int(generator.integers(2**31)))
        return np.asarray(env.action_space.sample())

    return policy


def explore(env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any], approach: float = 0.5) -> Policy:
    """Uniformly random moves and commands, of which a share of the moves goes for the object, to meet it often enough.

    A scripted experimenter, not a part of the method: it reads the object's true pose from ``info``, of which the
    learner sees nothing but the frames and displacements that result.

    Args:
        env: one of our worlds, with translations as actions.
        approach: probability of a move towards the object, to a random spot within 0.3 m of its centre.
    """
    limit = float(env.action_space.high.flat[0])  # type: ignore[attr-defined]
    extra = env.unwrapped.world.commands  # type: ignore[union-attr]

    def policy(info: Info, generator: np.random.Generator) -> NDArray[np.float32]:
        agent, object_ = np.asarray(info["agent_pose"]), np.asarray(info["object_pose"])
        free = generator.uniform(-limit, limit, agent.shape)
        offset = object_ + generator.uniform(-0.3, 0.3, agent.shape) - agent
        length = np.linalg.norm(offset, axis=-1, keepdims=True)
        towards = offset * np.minimum(1.0, limit / np.maximum(length, 1e-9))
        chosen = generator.random(length.shape) < approach
        commands = generator.uniform(-1.0, 1.0, (*agent.shape[:-1], extra))
        return np.concatenate([np.where(chosen, towards, free), commands], -1).astype(np.float32)

    return policy


def roam(env: VectorEnv[Any, Any, Any], near: float = 0.5, turn: float = 0.1) -> Policy:
    """From waypoint to waypoint through all of the space the agent can reach, so that every part of it is seen.

    Half of the waypoints are near the object. Commands (of a gripper) change now and then. A scripted experimenter like
    `explore`, for worlds in which a single step gets nowhere.

    Args:
        env: a batch of one of our worlds that declares its `reach`.
        near: share of the waypoints within 0.1 m of the object.
        turn: probability of a new waypoint, and of new commands, in every step.
    """
    world = env.unwrapped.world  # type: ignore[attr-defined]
    low, high = world.reach
    state: dict[str, NDArray[Any]] = {}

    def policy(info: Info, generator: np.random.Generator) -> NDArray[np.float32]:
        agent, object_ = np.asarray(info["agent_pose"]), np.asarray(info["object_pose"])
        count = len(agent)
        fresh = generator.random(count) < (turn if state else 1.0)
        anywhere = generator.uniform(low, high, agent.shape)
        close = np.clip(object_ + generator.uniform(-0.1, 0.1, agent.shape), low, high)
        waypoint = np.where(generator.random((count, 1)) < near, close, anywhere)
        commands = generator.choice([-1.0, 1.0], (count, world.commands))
        state["waypoint"] = np.where(fresh[:, None], waypoint, state.get("waypoint", waypoint))
        state["commands"] = np.where(fresh[:, None], commands, state.get("commands", commands))
        limit = world.max_displacement
        noise = generator.uniform(-0.5 * limit, 0.5 * limit, agent.shape)
        move = np.clip(state["waypoint"] - agent + noise, -limit, limit)
        return np.concatenate([move, state["commands"]], 1).astype(np.float32)

    return policy


class _Recorder:
    """Gathers frames and the transitions between them."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._frames: list[NDArray[np.uint8]] = []
        self._truth: dict[str, list[NDArray[Any]]] = {}
        self._rows: dict[str, list[NDArray[Any]]] = {"start": [], "end": [], "displacement": [], "touched": []}
        self._frame_count = self._count = 0

    def __len__(self) -> int:
        return self._count

    def add_frames(self, frames: NDArray[np.uint8], info: Info) -> NDArray[np.int64]:
        self._frames.append(frames)
        for name in TRUTHS:
            if name in info:
                self._truth.setdefault(name, []).append(np.array(info[name], np.float32).reshape(len(frames), -1))
        self._frame_count += len(frames)
        return np.arange(self._frame_count - len(frames), self._frame_count)

    def add_transitions(
        self,
        start: NDArray[np.int64],
        end: NDArray[np.int64],
        displacement: NDArray[Any],
        info: Info,
        valid: NDArray[np.bool_],
    ) -> None:
        rows = {"start": start, "end": end, "displacement": displacement.reshape(len(start), -1)}
        if "touched" in info:
            rows["touched"] = np.asarray(info["touched"], bool).reshape(-1)
        for name, values in rows.items():
            self._rows[name].append(values[valid])
        self._count += int(valid.sum())

    def transitions(self, count: int) -> Transitions:
        rows = {name: np.concatenate(parts)[:count] for name, parts in self._rows.items() if parts}
        everything = Transitions(
            frames=np.concatenate(self._frames),
            start=rows["start"],
            end=rows["end"],
            displacement=rows["displacement"].astype(np.float32),
            group=self._group.name,
            truth={name: np.concatenate(parts) for name, parts in self._truth.items()},
            touched=rows.get("touched"),
        )
        return everything.select(np.arange(count))


class _VectorSource:
    """Frames of a vector environment; the step that resets a world is not valid experience."""

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        mode = env.metadata.get("autoreset_mode", gym.vector.AutoresetMode.NEXT_STEP)
        if mode != gym.vector.AutoresetMode.NEXT_STEP:
            raise ValueError(f"a vector environment must reset on the next step (the default), this one has {mode}")
        self._env = env
        self._ended = np.zeros(env.num_envs, bool)
        self._last_info: Info = {}

    def reset(self, seed: int) -> tuple[NDArray[np.uint8], Info]:
        observation, info = self._env.reset(seed=seed)
        self._ended[:] = False
        return self._frames(observation), info

    def step(self, action: NDArray[Any]) -> tuple[NDArray[np.uint8], Info, NDArray[np.bool_]]:
        observation, _, terminated, truncated, info = self._env.step(action)
        valid = ~self._ended
        self._ended = terminated | truncated
        if not valid.any():  # all were reset: what only a step reports is missing, and is not used
            info = {**self._last_info, **info}
        self._last_info = info
        return self._frames(observation), info, valid

    def _frames(self, observation: Any) -> NDArray[np.uint8]:
        return _require_frames(observation if _is_frames(observation, 4) else np.asarray(self._env.render()), 4)


class _SingleSource:
    """Frames of a single environment; the step after an episode's end resets it, and is not valid experience."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self._env = env
        self._ended = False
        self._last_info: Info = {}

    def reset(self, seed: int | None) -> tuple[NDArray[np.uint8], Info]:
        observation, info = self._env.reset(seed=seed)
        self._ended = False
        return self._frame(observation), info

    def step(self, action: NDArray[Any]) -> tuple[NDArray[np.uint8], Info, NDArray[np.bool_]]:
        if self._ended:
            frames, info = self.reset(None)
            return frames, {**self._last_info, **info}, np.array([False])
        observation, _, terminated, truncated, info = self._env.step(action)
        self._ended = bool(terminated or truncated)
        self._last_info = info
        return self._frame(observation), info, np.array([True])

    def _frame(self, observation: Any) -> NDArray[np.uint8]:
        return _require_frames(observation if _is_frames(observation, 3) else np.asarray(self._env.render()), 3)[None]


def _is_frames(observation: Any, ndim: int) -> bool:
    return isinstance(observation, np.ndarray) and observation.dtype == np.uint8 and observation.ndim == ndim


def _require_frames(frames: Any, ndim: int) -> NDArray[np.uint8]:
    if not _is_frames(frames, ndim):
        raise ValueError(
            "the environment must observe uint8 RGB frames or be made with render_mode='rgb_array'; "
            f"got frames of type {getattr(frames, 'dtype', type(frames))} and shape {getattr(frames, 'shape', None)}"
        )
    return np.array(frames, order="C")  # a copy: some environments draw every frame into the same buffer


def _resolve_group(env: Any, group: Group | str | None) -> Group:
    found = getattr(env.unwrapped, "group", None) if group is None else group
    if found is None:
        raise ValueError("the environment declares no group; say which one acts, for example group='R2'")
    return group_from_name(found) if isinstance(found, str) else found


def _reader(displacement: str | ReadDisplacement) -> ReadDisplacement:
    if callable(displacement):
        return displacement

    def read(info: Info) -> NDArray[Any]:
        if displacement not in info:
            raise ValueError(f"info has no {displacement!r}; pass displacement= one of {sorted(info)} or a function")
        return np.asarray(info[displacement])

    return read


__all__: Sequence[str] = ("Policy", "collect", "explore", "roam", "uniform")
