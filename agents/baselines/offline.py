"""Offline reinforcement learning on demonstrations: implicit Q-learning, from TorchRL (the extra ``offline``).

Kostrikov, Nair, Levine, *Offline reinforcement learning with implicit Q-learning*, ICLR 2022. The reward of a step is
``0.9^(T − t)``, ``T − t`` steps before its episode's end, as in Reichlin et al., IROS 2022 (who use CQL).
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, cast

import torch
from torch import Tensor, nn

from agents.cloning import ClonedPolicy
from envs.transitions import Transitions, chains
from representations.encoder import as_tensor, to_images
from representations.training import Stage

DISCOUNT, EXPECTILE, TEMPERATURE, FOLLOW = 0.99, 0.7, 3.0, 0.005


def installed() -> bool:
    """Whether TorchRL is there."""
    return find_spec("torchrl") is not None


class OfflineLearner(nn.Module):
    """Trains a `ClonedPolicy` by implicit Q-learning: imitation, weighted by how much better an action is than usual.

    The critics read the actor's features, and do not shape them.

    Args:
        policy: what to train.
        demonstrations: transitions that know the action of the demonstrator.
        scale: factor on the number of updates, as of `agents.cloning.Cloning`.

    Raises:
        ModuleNotFoundError: TorchRL is not installed.
        ValueError: the transitions have no actions.
    """

    def __init__(self, policy: ClonedPolicy, demonstrations: Transitions, scale: float = 1.0) -> None:
        super().__init__()
        if not installed():
            raise ModuleNotFoundError("offline reinforcement learning needs TorchRL: pip install -e '.[offline]'")
        if demonstrations.action is None:
            raise ValueError("demonstrations with actions were expected, got transitions without")
        from torchrl.objectives import SoftUpdate

        self.policy = policy
        self.objective = _objective(policy)
        self._follow = SoftUpdate(self.objective, tau=FOLLOW)
        self._scale = scale
        self._frames = as_tensor(demonstrations.frames)
        self._start, self._end = as_tensor(demonstrations.start), as_tensor(demonstrations.end)
        action = torch.tensor(demonstrations.action)
        action[:, : policy.dim] /= policy.limit
        self._action = action
        episode = torch.from_numpy(chains(demonstrations))
        last = torch.searchsorted(episode, episode, right=True) - 1
        left = last - torch.arange(len(episode))
        self._reward, self._ends = 0.9 ** left.float(), left == 0

    def stages(self) -> list[Stage]:
        """What to minimise."""
        steps = max(1, round(self._scale * 16_000))
        parameters = [p for p in self.parameters() if p.requires_grad]
        return [Stage("implicit Q-learning", steps, lambda g: self.loss(32, g), parameters, 32, 1e-3)]

    def loss(self, size: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """The losses of actor, critic and value, added; the target critic follows."""
        from tensordict import TensorDict

        self._follow.step()
        chosen = torch.randint(len(self._start), (size,), generator=generator)
        before, after = (self._frames.index_select(0, each[chosen]) for each in (self._start, self._end))
        body = self.policy.body(self.policy.trunk(to_images(before)))
        with torch.no_grad():
            following = self.policy.body(self.policy.trunk(to_images(after)))
        ends = self._ends[chosen, None]
        batch = TensorDict(
            {
                "body": body,
                "features": body.detach(),
                "action": self._action[chosen],
                "next": {
                    "features": following,
                    "reward": self._reward[chosen, None],
                    "done": ends,
                    "terminated": ends,
                },
            },
            [size],
        )
        losses = self.objective(batch)
        parts = {name: losses[f"loss_{name}"] for name in ("actor", "qvalue", "value")}
        total: Tensor = sum(parts.values(), torch.zeros(()))
        return total, {name: part.detach() for name, part in parts.items()}


class _Gaussian(nn.Module):
    """The mean of the policy's action, with a learned spread."""

    def __init__(self, policy: ClonedPolicy) -> None:
        super().__init__()
        self.mean = policy.action
        self.log_spread = nn.Parameter(torch.full((policy.dim + policy.commands,), -1.0))

    def forward(self, body: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        mean = self.mean(body)
        return mean, self.log_spread.clamp(-3, 1).exp().expand_as(mean)


class _Critic(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(inputs, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 1)
        )

    def forward(self, *inputs: Tensor) -> Tensor:
        value: Tensor = self.layers(torch.cat(inputs, -1))
        return value


def _objective(policy: ClonedPolicy) -> nn.Module:
    from tensordict.nn import TensorDictModule
    from torchrl.modules import IndependentNormal, ProbabilisticActor
    from torchrl.objectives import IQLLoss, ValueEstimators

    width, size = policy.action.in_features, policy.dim + policy.commands
    # The objective keeps for the critic what the actor reads: hence the features among its keys.
    module = TensorDictModule(_Gaussian(policy), in_keys=["body", "features"], out_keys=["loc", "scale"])
    actor = ProbabilisticActor(
        module, in_keys=["loc", "scale"], distribution_class=IndependentNormal, distribution_kwargs={"tanh_loc": False}
    )
    critic = TensorDictModule(_Critic(width + size), in_keys=["features", "action"], out_keys=["state_action_value"])
    value = TensorDictModule(_Critic(width), in_keys=["features"], out_keys=["state_value"])
    objective: Any = IQLLoss(actor, critic, value, expectile=EXPECTILE, temperature=TEMPERATURE)
    objective.make_value_estimator(ValueEstimators.TD0, gamma=DISCOUNT)
    return cast(nn.Module, objective)
