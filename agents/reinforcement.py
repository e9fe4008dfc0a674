"""Reinforcement learning on what an encoder sees: soft actor-critic from Stable-Baselines3 on a few numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.sac.policies import SACPolicy

from agents.evaluation import Act, Evaluation, evaluate
from agents.vec_env import Observe, WorldVecEnv
from envs.task import TaskWorld
from representations.storage import replace_folder

SAC_OPTIONS: dict[str, Any] = {
    "learning_rate": 1e-3,
    "batch_size": 256,
    "gamma": 0.95,
    "train_freq": 1,
    "gradient_steps": 4,
    "learning_starts": 500,
    "buffer_size": 100_000,
}
"""For a handful of numbers and episodes of tens of steps, eight worlds at a time."""

NET_ARCH = [128, 128]
WORLDS_AT_A_TIME = 8
EVALUATION_SEED = 1_000_000
"""Initial states of evaluation episodes; apart from those of training with any seed below 900."""
EVALUATE_EVERY = 2000
"""Steps between two points of the learning curve."""
POLICY_CARD, POLICY_WEIGHTS = "policy.json", "policy.safetensors"


@dataclass
class LearningCurve:
    """Success and return of the deterministic policy, against the steps in the environment."""

    steps: list[int] = field(default_factory=list)
    success: list[float] = field(default_factory=list)
    return_: list[float] = field(default_factory=list)

    def steps_to(self, success: float) -> int | None:
        """Steps after which the success was first reached, or None."""
        return next((steps for steps, rate in zip(self.steps, self.success, strict=True) if rate >= success), None)

    def as_dict(self) -> dict[str, Any]:
        """The curve as JSON types, ``return_`` called ``return``."""
        return {key.rstrip("_"): values for key, values in asdict(self).items()}


def train_sac(
    make_world: Callable[[int], TaskWorld],
    observe: Observe,
    *,
    steps: int,
    seed: int,
    evaluate_every: int = EVALUATE_EVERY,
    evaluation_episodes: int = 100,
    progress: Callable[[int, LearningCurve], None] = lambda done, curve: None,
) -> tuple[SAC, LearningCurve]:
    """Train soft actor-critic in a batch of worlds.

    Args:
        make_world: makes a batch of the given number of worlds.
        observe: what the agent sees, such as `agents.vec_env.observe_latents`.
        steps: in the environment, over all worlds.
        seed: of the policy and of the training episodes.
        evaluate_every: steps between two points of the learning curve.
        evaluation_episodes: episodes behind each point; their starts are the same every time.
        progress: told of the steps done and of the curve so far.

    Returns:
        The trained model and its learning curve.
    """
    environment = WorldVecEnv(make_world(WORLDS_AT_A_TIME), observe)
    model = SAC("MlpPolicy", environment, seed=seed, device="cpu", policy_kwargs={"net_arch": NET_ARCH}, **SAC_OPTIONS)
    environment.seed(1000 * (seed + 1))  # the model seeds it with `seed` itself, which neighbouring seeds would share
    judge = _Judge(make_world(evaluation_episodes), observe, evaluate_every, progress)
    model.learn(steps, callback=judge)
    return model, judge.curve


def policy_act(policy: Any) -> Act:
    """A Stable-Baselines3 policy or model as a function, deterministic."""

    def act(observation: NDArray[Any]) -> NDArray[Any]:
        action: NDArray[Any] = policy.predict(observation, deterministic=True)[0]
        return action

    return act


def save_policy(model: SAC, folder: Path) -> None:
    """Write a soft actor-critic policy as a folder of safetensors and JSON: unlike SB3's own, without pickle.

    Raises:
        FileExistsError: the folder holds something else.
        TypeError: the policy's actions are no Box.
    """
    weights = save_tensors({name: value.contiguous() for name, value in model.policy.state_dict().items()})
    space = model.action_space
    if not isinstance(space, gym.spaces.Box):
        raise TypeError(f"a policy with a Box of actions was expected, got {space}")
    card = {
        "class": "SACPolicy",
        "net_arch": NET_ARCH,
        "observation": list(model.observation_space.shape or ()),
        "low": space.low.tolist(),
        "high": space.high.tolist(),
    }
    replace_folder(folder, {POLICY_WEIGHTS: weights, POLICY_CARD: json.dumps(card, indent=2).encode()})


def load_policy(folder: Path) -> Act:
    """A policy that `save_policy` wrote.

    Raises:
        ValueError: the folder does not hold one.
    """
    try:
        card = json.loads((folder / POLICY_CARD).read_text())
        weights = load_tensors((folder / POLICY_WEIGHTS).read_bytes())
        observation = gym.spaces.Box(-np.inf, np.inf, tuple(card["observation"]), np.float32)
        action = gym.spaces.Box(np.array(card["low"], np.float32), np.array(card["high"], np.float32))
        policy = SACPolicy(observation, action, lambda _: 0.0, net_arch=card["net_arch"])
        policy.load_state_dict(weights)
    except (OSError, AssertionError, KeyError, TypeError, RuntimeError, ValueError, SafetensorError) as error:
        raise ValueError(f"{folder} does not hold a policy: {error}") from error
    return policy_act(policy)


class _Judge(BaseCallback):
    """Evaluates the policy every so many steps, on the same episodes."""

    def __init__(
        self, world: TaskWorld, observe: Observe, every: int, progress: Callable[[int, LearningCurve], None]
    ) -> None:
        super().__init__()
        self.curve = LearningCurve()
        self._world = world
        self._see = observe
        self._every = every
        self._progress = progress

    def _on_step(self) -> bool:
        if self.num_timesteps // self._every > len(self.curve.steps):
            result = self._evaluate()
            self.curve.steps.append(self.num_timesteps)
            self.curve.success.append(result.success)
            self.curve.return_.append(result.return_mean)
        self._progress(self.num_timesteps, self.curve)
        return True

    def _evaluate(self) -> Evaluation:
        with torch.no_grad():
            return evaluate(self._world, self._see, policy_act(self.model), seed=EVALUATION_SEED // 2)
