"""Save and restore the state of any environment."""

from __future__ import annotations

import copy
import sys
from typing import Any

import gymnasium as gym
import numpy as np

from ..worlds.world import World
from .env_state import EnvState, NotReproducibleError, first_difference
from .global_generators import GlobalGenerators
from .mujoco_scene import has_mujoco
from .object_snapshot import ObjectSnapshot


class RestorableEnv(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """An environment whose state can be saved and restored.

    An environment that simulates with MuJoCo, and each of our worlds on a CPU, is restored exactly, bit for bit: a
    snapshot holds all of its data and model, the random generators, and the Python state of the environment and of the
    wrappers inside this one, such as the elapsed steps of a ``TimeLimit``. Windows, renderers and global variables are
    not part of it; the global generators of ``numpy.random`` and ``random`` are, if the environment draws from them.

    Any other environment is reset with the same seed and options, and the same actions are replayed. The last
    observation is compared with the saved one, bit for bit. An environment that is reset without a seed gets one from a
    generator that the last given seed started: without it, it could not be reset in the same way again.

    Observations, rewards and infos are unchanged. Wrappers outside of this one are not restored.

    Args:
        env: the environment, with the wrappers whose state belongs to it.

    Raises:
        TypeError: ``env`` is no single Gymnasium environment.

    Example:
        >>> env = RestorableEnv(gym.make("Reacher-v5"))
        >>> _ = env.reset(seed=0)
        >>> state = env.save()
        >>> first = env.step(np.ones(2))[0]
        >>> env.restore(state)
        >>> bool((env.step(np.ones(2))[0] == first).all())
        True
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        if not isinstance(env, gym.Env):
            raise TypeError(f"env must be a single Gymnasium environment, got {type(env).__name__}; see make_env")
        gym.utils.RecordConstructorArgs.__init__(self)
        super().__init__(env)
        self._last: tuple[Any, dict[str, Any]] | None = None
        self._snapshot: ObjectSnapshot | None = None
        self._seeds = np.random.default_rng()
        self._reset_arguments: dict[str, Any] = {}
        self._actions: list[Any] = []
        self._generators = GlobalGenerators()
        self._generators_at_reset = self._generators.state()

    @property
    def is_exact(self) -> bool:
        """Return whether a state is restored bit for bit from a snapshot."""
        world = getattr(self.unwrapped, "world", None)
        return world.simulator.device == "cpu" if isinstance(world, World) else _simulates_with_mujoco(self.env)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode; see the environment."""
        if not self._has_snapshots:
            if seed is None:
                seed = int(self._seeds.integers(2**31))
            else:
                self._seeds = np.random.default_rng(seed)
            self._reset_arguments, self._actions = {"seed": seed, "options": copy.deepcopy(options)}, []
            self._generators_at_reset = self._generators.state()
        with self._generators.watched():
            self._last = self.env.reset(seed=seed, options=options)
        return self._last

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Perform an action; see the environment."""
        if not self._has_snapshots:
            self._actions.append(copy.deepcopy(action))
        with self._generators.watched():
            result = self.env.step(action)
        self._last = result[0], result[4]
        return result

    def save(self) -> EnvState:
        """Return the current state.

        Raises:
            gymnasium.error.ResetNeeded: the environment was never reset.
            UnsavableStateError: a part of the environment can neither be read nor copied; the message names it.
        """
        if self._last is None:
            raise gym.error.ResetNeeded("the environment has no state yet; call reset before save")
        observation, info = copy.deepcopy(self._last)
        write_back = self._save_snapshot() if self._has_snapshots else self._save_actions(observation)
        return EnvState(observation, info, self.is_exact, self, write_back)

    def restore(self, state: EnvState) -> None:
        """Return to a saved state, any number of times.

        Args:
            state: from `save` of this object.

        Raises:
            ValueError: the state belongs to another object.
            NotReproducibleError: replayed actions led to another observation.
        """
        if not isinstance(state, EnvState) or state.owner is not self:
            raise ValueError(
                "expected a state that this RestorableEnv saved, got "
                f"{'one of another object' if isinstance(state, EnvState) else type(state).__name__}; "
                "save and restore with the same object"
            )
        state.write_back()
        self._last = copy.deepcopy((state.observation, state.info))

    @property
    def _has_snapshots(self) -> bool:
        return isinstance(getattr(self.unwrapped, "world", None), World) or _simulates_with_mujoco(self.env)

    def _save_snapshot(self) -> Any:
        snapshot = self._snapshot = ObjectSnapshot(self.env, "env", self._snapshot)
        generators = self._generators.state()

        def write_back() -> None:
            snapshot.restore()
            self._generators.restore(generators)

        return write_back

    def _save_actions(self, observation: Any) -> Any:
        arguments, actions, seeds = self._reset_arguments, list(self._actions), copy.deepcopy(self._seeds)
        generators = self._generators_at_reset

        def replay() -> None:
            self._generators.restore(generators)
            found, _ = self.env.reset(**copy.deepcopy(arguments))
            for action in copy.deepcopy(actions):
                found = self.env.step(action)[0]
            self._reset_arguments, self._actions, self._seeds = arguments, list(actions), copy.deepcopy(seeds)
            self._generators_at_reset = generators
            difference = first_difference(observation, found)
            if difference is not None:
                raise NotReproducibleError(
                    f"expected the saved observation after a reset with seed {arguments['seed']} and {len(actions)} "
                    f"replayed actions, but {difference}; the environment depends on more than its seed and actions"
                )

        return replay


def _simulates_with_mujoco(env: Any) -> bool:
    """Return whether snapshots apply; an environment of MuJoCo cannot exist before MuJoCo is imported."""
    if "mujoco" not in sys.modules:
        return False
    try:
        return has_mujoco(env)
    except ValueError:  # OGBench's manipulation has no model before the first reset
        return False
