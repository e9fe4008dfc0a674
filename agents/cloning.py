"""Behaviour cloning: a policy from pixels to actions, learned from demonstrations alone.

Beside the next action the network predicts where the demonstrator will have moved in 2, 4 and 8 steps. Experts move as
fast as they may, so that one action says in which direction something lies, but not how far; what lies ahead does, and
with it the same network learns the same actions from a fraction of the updates. Only the next action is carried out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from envs.transitions import Transitions, chains
from representations.encoder import as_tensor, to_images
from representations.networks import SpatialSoftmaxCNN
from representations.storage import load_network, save_network
from representations.training import Stage

HORIZONS = (2, 4, 8)
"""Steps ahead, beside the next one, of which the displacement is predicted while learning."""


class ClonedPolicy(nn.Module):
    """Images to actions: displacements, and commands that are one of two things (below zero or not).

    A policy as Stable-Baselines3 has them: `predict`.

    Args:
        shape: height, width and channels of the images.
        dim: coordinates of the displacement.
        commands: coordinates of an action behind the displacement.
        limit: largest coordinate of a displacement.
    """

    def __init__(self, shape: tuple[int, int, int], dim: int, commands: int, limit: float) -> None:
        super().__init__()
        height, width, channels = shape
        self.shape = (height, width, channels)
        self.dim, self.commands, self.limit = dim, commands, limit
        self.trunk = SpatialSoftmaxCNN(self.shape, maps=32, features=128, channels=(16, 32), halvings=2)
        self.body = nn.Sequential(nn.Linear(128, 128), nn.ReLU())
        self.action = nn.Linear(128, dim + commands)
        self.future = nn.Linear(128, dim * len(HORIZONS))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The next action and what lies ahead.

        Returns:
            Displacement in units of ``limit`` and logits of the commands, ``(B, dim + commands)``; the displacements
            within each of `HORIZONS`, in units of ``limit`` times the root of the horizon, ``(B, dim · horizons)``.
        """
        body = self.body(self.trunk(images))
        return self.action(body), self.future(body)

    def predict(
        self,
        observation: NDArray[Any],
        state: Any = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[Any], None]:
        """Actions ``(B, dim + commands)`` for images ``(B, H, W, C)`` uint8; one action for one image."""
        single = observation.ndim == 3
        with torch.no_grad():
            output, _ = self(to_images(as_tensor(np.ascontiguousarray(observation[None] if single else observation))))
        displacement = self.limit * output[:, : self.dim].clamp(-1, 1)
        commands = torch.where(output[:, self.dim :] < 0, -1.0, 1.0)
        actions = torch.cat([displacement, commands], 1).numpy()
        return (actions[0] if single else actions), None

    def save(self, folder: str | Path) -> None:
        """Write the policy as a folder of safetensors and a JSON card."""
        own = {"shape": list(self.shape), "dim": self.dim, "commands": self.commands, "limit": self.limit}
        save_network(folder, self, own)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a policy; nothing that is read is executed.

        Raises:
            NetworkFileError: a file is missing, truncated or altered.
        """
        return load_network(folder, cls)


class Cloning(nn.Module):
    """Trains a `ClonedPolicy` on demonstrations.

    Args:
        policy: what to train.
        demonstrations: transitions that know the action of the demonstrator.
        scale: factor on the number of updates.
        shown: ``(N,)`` whether the demonstrator's action was carried out, as it is everywhere unless a learner acted:
            what a learner did next is not what the demonstrator would have.

    Raises:
        ValueError: the transitions have no actions, or of another size.
    """

    def __init__(
        self,
        policy: ClonedPolicy,
        demonstrations: Transitions,
        scale: float = 1.0,
        shown: NDArray[np.bool_] | None = None,
    ) -> None:
        super().__init__()
        size = policy.dim + policy.commands
        if demonstrations.action is None or demonstrations.action.shape[1] != size:
            found = None if demonstrations.action is None else demonstrations.action.shape
            raise ValueError(f"demonstrations with actions (N, {size}) were expected, got actions {found}")
        self.policy = policy
        self._scale = scale
        self._frames = as_tensor(demonstrations.frames)
        self._start = as_tensor(demonstrations.start)
        self._action = as_tensor(demonstrations.action)
        self._future = torch.from_numpy(_ahead(demonstrations)) / policy.limit
        self._shown = torch.ones(len(demonstrations)) if shown is None else torch.from_numpy(shown).float()

    def stages(self) -> list[Stage]:
        """What to minimise."""
        steps = max(1, round(self._scale * 16_000))
        parameters = list(self.policy.parameters())
        return [Stage("cloning", steps, lambda generator: self.loss(32, generator), parameters, 32, 1e-3)]

    def loss(self, size: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared errors of the displacement and of those ahead, and cross-entropy of the commands."""
        chosen = torch.randint(len(self._start), (size,), generator=generator)
        output, ahead = self.policy(to_images(self._frames.index_select(0, self._start[chosen])))
        dim, action = self.policy.dim, self._action[chosen]
        displacement = (output[:, :dim] - action[:, :dim] / self.policy.limit).pow(2).sum(1).mean()
        future = (self._shown[chosen] * (ahead - self._future[chosen]).pow(2).sum(1)).mean()
        commanded = (action[:, dim:] >= 0).float()
        commands = functional.binary_cross_entropy_with_logits(output[:, dim:], commanded)
        loss = displacement + future + 0.5 * commands
        return loss, {"displacement": displacement.detach(), "commands": commands.detach()}


def _ahead(demonstrations: Transitions) -> NDArray[np.float32]:
    """Displacement within each of `HORIZONS` steps, or to the episode's end, over the root of the horizon."""
    episode = chains(demonstrations)
    last = np.searchsorted(episode, episode, side="right") - 1
    total = np.cumsum(np.concatenate([np.zeros_like(demonstrations.displacement[:1]), demonstrations.displacement]), 0)
    index = np.arange(len(episode))
    parts = [(total[np.minimum(index + horizon, last + 1)] - total[index]) / np.sqrt(horizon) for horizon in HORIZONS]
    return np.concatenate(parts, 1).astype(np.float32)
