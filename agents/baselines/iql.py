"""Offline reinforcement learning on demonstrations: implicit Q-learning, by TorchRL (the extra ``offline``)."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, cast

import torch
from torch import Tensor, nn

from ...envs.data.trajectories import episode_ids
from ...envs.data.transitions import Transitions
from ...representations.encoders.encoder import as_tensor, to_images
from ...representations.learning.config import OptimConfig, check_range
from ...representations.learning.learner import Loss, Stage
from ..policies.behavior_cloning import BCPolicy, require_demonstrations


@dataclass(frozen=True)
class IQLConfig:
    """Set the hyper-parameters of implicit Q-learning.

    Attributes:
        discount: discount factor ``γ``.
        expectile: expectile ``τ`` of the value function; 0.5 is the mean.
        temperature: inverse temperature ``β`` of the advantage weights.
        target_rate: rate at which the target critic follows the critic.
        reward_decay: factor of the reward per step before the end of the episode.
        hidden: width of the hidden layers of critic and value function.
        optim: how the losses are minimised.

    Raises:
        ConfigError: a value is out of range.
    """

    discount: float = 0.99
    expectile: float = 0.7
    temperature: float = 3.0
    target_rate: float = 0.005
    reward_decay: float = 0.9
    hidden: int = 128
    optim: OptimConfig = OptimConfig(steps=16_000, lr=1e-3, batch_size=32)

    def __post_init__(self) -> None:
        for name in ("discount", "reward_decay"):
            check_range(self, name, at_least=0, at_most=1)
        for name in ("expectile", "target_rate"):
            check_range(self, name, above=0, at_most=1)
        check_range(self, "temperature", at_least=0)
        check_range(self, "hidden", at_least=1)


def is_installed() -> bool:
    """Return whether TorchRL is installed."""
    return find_spec("torchrl") is not None


class IQLLearner(nn.Module):
    """Train a `BCPolicy` by implicit Q-learning: imitation, weighted by the advantage of the demonstrated action.

    ``minimise E [L_τ(Q̄(s, a) − V(s))] + E (r + γ V(s′) − Q(s, a))² − E [exp(β (Q̄(s, a) − V(s))) log π(a | s)]``

    with ``L_τ(x) = |τ − 1[x < 0]| x²`` and a target critic ``Q̄``. The reward of a step is ``0.9^(T − t)``, where
    ``T − t`` is the number of steps before the end of the episode. Critic and value function read the features of the
    actor and send no gradient into them.

    Source: Kostrikov, Nair and Levine, *Offline reinforcement learning with implicit Q-learning*, ICLR 2022. The reward
    is that of Reichlin et al., IROS 2022, who use conservative Q-learning.

    Args:
        network: the policy.
        demonstrations: transitions with the expert's actions.
        config: hyper-parameters.

    Raises:
        ModuleNotFoundError: TorchRL is not installed.
        ValueError: the transitions have no actions, actions of another size, or frames of another shape.
    """

    def __init__(self, network: BCPolicy, demonstrations: Transitions, config: IQLConfig | None = None) -> None:
        super().__init__()
        if not is_installed():
            raise ModuleNotFoundError("offline reinforcement learning needs TorchRL: pip install 'equiact[offline]'")
        actions = require_demonstrations(network, demonstrations)
        from torchrl.objectives import SoftUpdate

        self.config = IQLConfig() if config is None else config
        self.network = network
        self.objective = _make_objective(network, self.config)
        self._target = SoftUpdate(self.objective, tau=self.config.target_rate)
        self._frames = as_tensor(demonstrations.frames)
        self._start, self._end = as_tensor(demonstrations.start), as_tensor(demonstrations.end)
        self._action = torch.tensor(actions)
        self._action[:, : network.dim] /= network.limit
        episode = torch.from_numpy(episode_ids(demonstrations))
        last = torch.searchsorted(episode, episode, right=True) - 1
        left = last - torch.arange(len(episode))
        self._reward, self._ends = self.config.reward_decay ** left.float(), left == 0

    def stages(self) -> list[Stage]:
        """Return the one stage, with the parameters of policy, critic and value function."""
        optim, parameters = self.config.optim, [p for p in self.parameters() if p.requires_grad]
        return [Stage("implicit Q-learning", optim.steps, self.loss, parameters, optim.batch_size, optim.lr)]

    def loss(self, generator: torch.Generator) -> Loss:
        """Return the sum of the losses of actor, critic and value function; move the target critic."""
        from tensordict import TensorDict

        self._target.step()
        size = self.config.optim.batch_size
        chosen = torch.randint(len(self._start), (size,), generator=generator)
        before, after = (self._frames.index_select(0, each[chosen]) for each in (self._start, self._end))
        body = self._features(before)
        with torch.no_grad():
            following = self._features(after)
        ends = self._ends[chosen, None]
        reward = {"reward": self._reward[chosen, None], "done": ends, "terminated": ends}
        batch = TensorDict(
            {
                "body": body,
                "features": body.detach(),
                "action": self._action[chosen],
                "next": {"features": following, **reward},
            },
            [size],
        )
        losses = self.objective(batch)
        parts = {name: losses[f"loss_{name}"] for name in ("actor", "qvalue", "value")}
        total: Tensor = sum(parts.values(), torch.zeros(()))
        return total, {name: part.detach() for name, part in parts.items()}

    def _features(self, frames: Tensor) -> Tensor:
        features: Tensor = self.network.body(self.network.trunk(to_images(frames)))
        return features


class _GaussianActor(nn.Module):
    """A Gaussian with the policy's action as its mean, and a learned standard deviation."""

    def __init__(self, policy: BCPolicy) -> None:
        super().__init__()
        self.mean = policy.action
        self.log_std = nn.Parameter(torch.full((policy.dim + policy.commands,), -1.0))

    def forward(self, body: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        mean = self.mean(body)
        return mean, self.log_std.clamp(-3, 1).exp().expand_as(mean)


class _Critic(nn.Module):
    """Two hidden layers and a scalar output."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1)
        )

    def forward(self, *inputs: Tensor) -> Tensor:
        value: Tensor = self.layers(torch.cat(inputs, -1))
        return value


def _make_objective(policy: BCPolicy, config: IQLConfig) -> nn.Module:
    """Return TorchRL's loss, with its critic and value function."""
    from tensordict.nn import TensorDictModule
    from torchrl.modules import IndependentNormal, ProbabilisticActor
    from torchrl.objectives import IQLLoss, ValueEstimators

    width, size = policy.action.in_features, policy.dim + policy.commands
    # The objective keeps the actor's inputs for the critic: hence the features among its keys.
    module = TensorDictModule(_GaussianActor(policy), in_keys=["body", "features"], out_keys=["loc", "scale"])
    actor = ProbabilisticActor(
        module, in_keys=["loc", "scale"], distribution_class=IndependentNormal, distribution_kwargs={"tanh_loc": False}
    )
    critic = TensorDictModule(
        _Critic(width + size, config.hidden), in_keys=["features", "action"], out_keys=["state_action_value"]
    )
    value = TensorDictModule(_Critic(width, config.hidden), in_keys=["features"], out_keys=["state_value"])
    objective: Any = IQLLoss(actor, critic, value, expectile=config.expectile, temperature=config.temperature)
    objective.make_value_estimator(ValueEstimators.TD0, gamma=config.discount)
    return cast(nn.Module, objective)
