"""Soft actor-critic, by Stable-Baselines3, on low-dimensional observations such as the latents of an encoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.torch_layers import FlattenExtractor

from ...envs.data.seeds import stream_seed
from ...envs.worlds.task_world import TaskWorld
from ...representations.learning.config import ConfigError, check_range
from ..evaluation.rollouts import Evaluation, evaluate_policy
from .gaussian_policy import ACTIVATIONS, SquashedGaussianPolicy
from .saved_policies import load_policy
from .sb3_vec_env import Observe, WorldVecEnv

__all__ = ["LearningCurve", "SACConfig", "load_policy", "save_policy", "to_policy", "train_sac", "train_sac_policy"]


@dataclass(frozen=True)
class SACConfig:
    """Set the hyper-parameters of `train_sac`; the defaults suit a few coordinates and episodes of tens of steps.

    Attributes:
        steps: number of environment steps, over all worlds.
        lr: learning rate of actor and critics.
        batch_size: number of transitions in one update.
        gamma: discount factor ``γ``.
        train_freq: number of steps of the batch of worlds between two rounds of updates.
        gradient_steps: number of updates in one round.
        learning_starts: number of environment steps with random actions before the first update.
        buffer_size: number of transitions in the replay buffer.
        net_arch: widths of the hidden layers of actor and critics.
        num_worlds: number of worlds that are stepped at a time.
        evaluate_every: number of environment steps between two points of the learning curve.
        evaluation_episodes: number of episodes behind each point, which are the same at every point.

    Raises:
        ConfigError: a value is out of range.
    """

    steps: int = 24_000
    lr: float = 1e-3
    batch_size: int = 256
    gamma: float = 0.95
    train_freq: int = 1
    gradient_steps: int = 4
    learning_starts: int = 500
    buffer_size: int = 100_000
    net_arch: tuple[int, ...] = (128, 128)
    num_worlds: int = 8
    evaluate_every: int = 2000
    evaluation_episodes: int = 100

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "train_freq", "gradient_steps", "buffer_size", "net_arch", "num_worlds"):
            check_range(self, name, at_least=1)
        for name in ("evaluate_every", "evaluation_episodes"):
            check_range(self, name, at_least=1)
        check_range(self, "learning_starts", at_least=0)
        check_range(self, "lr", above=0)
        check_range(self, "gamma", at_least=0, at_most=1)
        if not self.net_arch:
            raise ConfigError("net_arch must have at least one width, got ()")


@dataclass
class LearningCurve:
    """Success rate and return of the deterministic policy during training.

    Attributes:
        steps: numbers of environment steps.
        success: success rates after these steps.
        return_: mean returns after these steps.
    """

    steps: list[int] = field(default_factory=list)
    success: list[float] = field(default_factory=list)
    return_: list[float] = field(default_factory=list)

    def steps_to(self, success: float) -> int | None:
        """Return the number of steps after which a success rate was first reached, or None."""
        return next((steps for steps, rate in zip(self.steps, self.success, strict=True) if rate >= success), None)

    def as_dict(self) -> dict[str, Any]:
        """Return the curve as JSON types, with ``return_`` called ``return``."""
        return {key.rstrip("_"): values for key, values in asdict(self).items()}


def train_sac(
    make_world: Callable[[int], TaskWorld],
    observe: Observe,
    config: SACConfig | None = None,
    *,
    seed: int,
    progress: Callable[[int, LearningCurve], None] = lambda done, curve: None,
) -> tuple[SAC, LearningCurve]:
    """Train soft actor-critic in a batch of worlds.

    Source: Haarnoja, Zhou, Abbeel and Levine, *Soft actor-critic*, ICML 2018.

    Args:
        make_world: returns a batch of the given number of worlds.
        observe: what the policy sees, such as `equiact.agents.policies.sb3_vec_env.observe_latents`.
        config: hyper-parameters.
        seed: seed of the policy, of the training episodes and of those of the learning curve; runs with different seeds
            have no episode in common.
        progress: called with the number of steps done and the curve so far.

    Returns:
        The trained model and its learning curve.
    """
    return train_sac_policy("MlpPolicy", make_world, observe, config or SACConfig(), seed=seed, progress=progress)


def train_sac_policy(
    policy: str,
    make_world: Callable[[int], TaskWorld],
    observe: Observe,
    config: SACConfig,
    *,
    seed: int,
    progress: Callable[[int, LearningCurve], None],
    **options: Any,
) -> tuple[SAC, LearningCurve]:
    """Train soft actor-critic with a policy of Stable-Baselines3, as `train_sac` does with ``"MlpPolicy"``.

    Args:
        policy: name of the policy: ``"MlpPolicy"``, or ``"CnnPolicy"`` for frames.
        make_world: returns a batch of the given number of worlds.
        observe: what the policy sees.
        config: hyper-parameters.
        seed: seed, as in `train_sac`.
        progress: called with the number of steps done and the curve so far.
        **options: other arguments of ``stable_baselines3.SAC``.

    Returns:
        The trained model and its learning curve.
    """
    environment = WorldVecEnv(make_world(config.num_worlds), observe)
    model = SAC(
        policy,
        environment,
        learning_rate=config.lr,
        batch_size=config.batch_size,
        gamma=config.gamma,
        train_freq=config.train_freq,
        gradient_steps=config.gradient_steps,
        learning_starts=config.learning_starts,
        buffer_size=config.buffer_size,
        policy_kwargs={"net_arch": list(config.net_arch)},
        seed=seed,
        device="cpu",
        **options,
    )
    # The model seeds the environment with `seed`, ..., `seed + num_worlds - 1`, which neighbouring seeds would share.
    environment.seed(stream_seed(seed, "training episodes"))
    curve_seed = stream_seed(seed, "learning curve")
    evaluation = EvalCallback(make_world(config.evaluation_episodes), observe, config, progress, curve_seed)
    model.set_logger(Logger(None, []))  # the default makes a folder among the temporary files
    model.learn(config.steps, callback=evaluation)
    return model, evaluation.curve


def to_policy(model: SAC) -> SquashedGaussianPolicy:
    """Return the actor of a model, with its architecture and activation, on the CPU and in evaluation mode.

    Raises:
        TypeError: the observations are not vectors, the actions are not a Box, the observations are normalised by
            ``VecNormalize``, or the actor is more than an MLP with one of the usual activation functions.
    """
    space, observations = model.action_space, model.observation_space.shape
    if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1 or observations is None or len(observations) != 1:
        raise TypeError(
            f"a model with vectors of observations and actions was expected, got {model.observation_space} and {space}"
        )
    if model.get_vec_normalize_env() is not None:
        raise TypeError(
            "a model of plain observations was expected, got one trained with VecNormalize, whose statistics a saved "
            "policy does not hold; use model.save and VecNormalize.save"
        )
    actor = model.policy.actor
    try:
        widths, activation = _architecture(actor)
        parts: dict[str, Any] = {"body": actor.latent_pi, "mean": actor.mu, "log_std": actor.log_std}
        policy = SquashedGaussianPolicy(observations[0], space.low, space.high, widths, activation)
        policy.load_state_dict({f"{p}.{k}": v for p, part in parts.items() for k, v in part.state_dict().items()})
    except (AttributeError, RuntimeError, ValueError) as error:
        raise TypeError(f"a model with a plain MLP as its actor was expected ({error}), got {actor}") from error
    return policy.eval()


def _architecture(actor: Any) -> tuple[list[int], str]:
    """Return the widths of the hidden layers of an actor and the name of its activation function.

    Raises:
        ValueError: it is no MLP, that is no alternation of linear layers and one activation function.
    """
    if type(actor.features_extractor) is not FlattenExtractor:
        raise ValueError(f"its features extractor is {type(actor.features_extractor).__name__}; encode in a wrapper")
    linear, activations = list(actor.latent_pi)[::2], list(actor.latent_pi)[1::2]
    names = {str(cls()): name for name, cls in ACTIVATIONS.items()}
    found = {names.get(str(each), "") for each in activations}
    if len(linear) != len(activations) or not all(type(each) is torch.nn.Linear for each in linear):
        raise ValueError("its hidden layers are not linear layers with an activation each")
    if len(found) > 1 or "" in found:
        raise ValueError(f"its activation function is none of {', '.join(ACTIVATIONS)} with default arguments")
    return [each.out_features for each in linear], found.pop() if found else "relu"


def save_policy(model: SAC, folder: str | Path) -> None:
    """Write the actor of a model as a folder of safetensors and JSON, without pickle; `load_policy` reads it.

    Raises:
        ArtifactError: the folder holds other things or cannot be written to, or a weight is not finite.
        TypeError: the actor is not a `SquashedGaussianPolicy`.
    """
    to_policy(model).save(folder)


class EvalCallback(BaseCallback):
    """Evaluate the deterministic policy on the same episodes, at regular numbers of steps.

    Args:
        world: batch of worlds, one for each episode.
        observe: what the policy sees.
        config: ``evaluate_every``.
        progress: called with the number of steps done and the curve so far.
        seed: of the episodes.

    Attributes:
        curve: learning curve so far.
    """

    def __init__(
        self,
        world: TaskWorld,
        observe: Observe,
        config: SACConfig,
        progress: Callable[[int, LearningCurve], None],
        seed: int,
    ) -> None:
        super().__init__()
        self.curve = LearningCurve()
        self._world = world
        self._observe = observe
        self._config = config
        self._progress = progress
        self._seed = seed

    def _on_step(self) -> bool:
        if self.num_timesteps // self._config.evaluate_every > len(self.curve.steps):
            result = self._evaluate()
            self.curve.steps.append(self.num_timesteps)
            self.curve.success.append(result.success)
            self.curve.return_.append(result.return_mean)
        self._progress(self.num_timesteps, self.curve)
        return True

    def _evaluate(self) -> Evaluation:
        with torch.no_grad():
            return evaluate_policy(self._world, self._observe, self.model, seed=self._seed)
