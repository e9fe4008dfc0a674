"""Behaviour cloning: learn a policy from images to actions from demonstrations alone.

Besides the next action the network predicts the displacement within 2, 4 and 8 steps, as an auxiliary loss. Experts
move at their highest speed, so one action tells in which direction the target lies, but not how far away. The
displacement over several steps does, and with it the network learns the same actions from a fraction of the updates.
`BCPolicy` carries out the next action only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ...envs.data.trajectories import episode_ids
from ...envs.data.transitions import Transitions
from ...envs.storage.artifacts import ArtifactError, ArtifactLimits, load_into, write_artifact
from ...representations.encoders.backbones import SpatialSoftmaxCNN
from ...representations.encoders.encoder import as_tensor, require_images, to_images
from ...representations.learning.config import ConfigError, OptimConfig, check_range, from_dict, to_dict
from ...representations.learning.data_checks import require_trainable
from ...representations.learning.learner import Loss, Stage
from .policy_card import KIND, read_policy

NAME = "behavior-cloning"
"""The entry ``policy`` of the card of a saved `BCPolicy`."""


@dataclass(frozen=True)
class BCConfig:
    """Set the hyper-parameters of behaviour cloning.

    Attributes:
        horizons: numbers of steps within which displacements are predicted, in the auxiliary loss.
        command_weight: weight of the cross-entropy of the commands.
        future_weight: weight of the auxiliary loss; 0 leaves it out.
        points: number of points of the spatial softmax.
        features: width of the layer after the spatial softmax.
        channels: channels of the convolutions before the last.
        stride2_layers: number of convolutions, from the first on, with stride 2, which halve the resolution.
        hidden: width of the last hidden layer.
        optim: how the loss is minimised.

    Raises:
        ConfigError: a value is out of range.

    Example:
        >>> BCConfig(optim=OptimConfig(steps=1000, lr=1e-3, batch_size=32)).horizons
        (2, 4, 8)
    """

    horizons: tuple[int, ...] = (2, 4, 8)
    command_weight: float = 0.5
    future_weight: float = 1.0
    points: int = 32
    features: int = 128
    channels: tuple[int, ...] = (16, 32)
    stride2_layers: int = 2
    hidden: int = 128
    optim: OptimConfig = OptimConfig(steps=48_000, lr=1e-3, batch_size=32)

    def __post_init__(self) -> None:
        for name in ("horizons", "points", "features", "channels", "stride2_layers", "hidden"):
            check_range(self, name, at_least=1)
        for name in ("command_weight", "future_weight"):
            check_range(self, name, at_least=0)
        if not (self.channels and self.horizons):
            raise ConfigError(f"channels and horizons must not be empty, got {self.channels} and {self.horizons}")


class BCPolicy(nn.Module):
    """A policy from images to actions: a displacement, and commands that are -1 or 1.

    ``a = (limit · clip(f_1(o), −1, 1), sign f_2(o))`` with a convolutional network ``f``. It is a `Policy`, as in
    Stable-Baselines3.

    Args:
        shape: height, width and channels of the images.
        dim: number of coordinates of the displacement.
        commands: number of coordinates of an action after the displacement.
        limit: largest absolute coordinate of a displacement.
        config: hyper-parameters of the network and of the training.

    Raises:
        ConfigError: the configuration is that of something else.
        ValueError: ``dim``, ``commands`` or ``limit`` is out of range.

    Example:
        >>> policy = BCPolicy((16, 16, 3), dim=2, commands=0, limit=0.1)
        >>> policy.predict(np.zeros((4, 16, 16, 3), np.uint8))[0].shape
        (4, 2)
    """

    def __init__(
        self, shape: tuple[int, int, int], dim: int, commands: int, limit: float, config: BCConfig | None = None
    ) -> None:
        super().__init__()
        self.config = BCConfig() if config is None else config
        if not isinstance(self.config, BCConfig):
            raise ConfigError(f"BCPolicy needs a BCConfig, got {config!r}")
        if dim < 1 or commands < 0 or not (0 < limit < math.inf):
            raise ValueError(
                "dim at least 1, commands at least 0 and a finite limit above 0 were expected, "
                f"got {dim}, {commands} and {limit}"
            )
        height, width, channels = shape
        self.shape = (height, width, channels)
        self.dim, self.commands, self.limit = dim, commands, limit
        net = self.config
        self.trunk = SpatialSoftmaxCNN(self.shape, net.points, net.features, net.channels, net.stride2_layers)
        self.body = nn.Sequential(nn.Linear(net.features, net.hidden), nn.ReLU())
        self.action = nn.Linear(net.hidden, dim + commands)
        self.future = nn.Linear(net.hidden, dim * len(net.horizons))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Predict the next action and the displacements within several steps.

        Args:
            images: ``(B, C, H, W)`` float in [0, 1].

        Returns:
            The next displacement in units of ``limit`` and the logits of the commands, ``(B, dim + commands)``; and the
            displacements within ``h`` steps, for each ``h`` of ``horizons``, in units of ``limit · √h``,
            ``(B, dim · len(horizons))``.
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
        """Return actions ``(B, dim + commands)`` for images ``(B, H, W, C)`` uint8, or one action for one image.

        Raises:
            ObservationError: the images have another type or shape, such as float images.
        """
        single = np.ndim(observation) == 3
        images = observation[None] if single else observation
        require_images(images, self.shape)
        with torch.no_grad():
            batch = as_tensor(np.ascontiguousarray(images)).to(self.action.weight.device)
            output, _ = self(to_images(batch))
        displacement = self.limit * output[:, : self.dim].clamp(-1, 1)
        commands = torch.where(output[:, self.dim :] < 0, -1.0, 1.0)
        actions = torch.cat([displacement, commands], 1).cpu().numpy()
        return (actions[0] if single else actions), None

    def save(self, folder: str | Path) -> None:
        """Write the policy as a folder: the weights (safetensors) and a card (JSON) with one hash over both.

        Args:
            folder: a new folder, or one with a saved policy, which is replaced.

        Raises:
            ArtifactError: the folder holds other things or cannot be written to, or a weight is not finite.
        """
        card = {
            "policy": NAME,
            "shape": list(self.shape),
            "dim": self.dim,
            "commands": self.commands,
            "limit": self.limit,
            "config": to_dict(self.config),
        }
        write_artifact(folder, KIND, card, self.state_dict())

    @classmethod
    def load(cls, folder: str | Path, limits: ArtifactLimits | None = None) -> Self:
        """Read a saved policy; nothing that is read is executed.

        Args:
            folder: folder that `save` wrote.
            limits: largest sizes to accept.

        Returns:
            The policy, in evaluation mode.

        Raises:
            ArtifactError: a file is missing, damaged or altered, or holds another policy.
        """
        limits = limits or ArtifactLimits()
        card, tensors = read_policy(folder, NAME, limits)
        try:
            config = from_dict(BCConfig, card["config"])
            shape, dim, commands, limit = card["shape"], card["dim"], card["commands"], float(card["limit"])
        except (ConfigError, KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"expected the card of a policy in {folder}, got a wrong entry: {error}") from error
        return load_into(lambda: cls(shape, dim, commands, limit, config), tensors, folder, limits)


class BCLearner(nn.Module):
    """Train a `BCPolicy` on demonstrations.

    ``minimise E ‖f_1(o) − a_1 / limit‖² + future_weight · E Σ_h ‖d_h(o) − Σ_{i<h} Δ_i / (limit √h)‖²
    + command_weight · E BCE(f_2(o), a_2)``

    where ``a_1`` is the displacement and ``a_2`` are the commands of the expert's action, ``Δ_i`` the displacements
    that were performed in this and the following steps of the episode, and ``d_h`` the auxiliary predictions.

    Source: Pomerleau, *ALVINN*, NeurIPS 1988, with an auxiliary loss of our own.

    Args:
        network: the policy, whose ``config`` has the hyper-parameters.
        demonstrations: transitions with the expert's actions.
        by_expert: ``(N,)`` bool, whether the expert's action was carried out; everywhere if not given. Where a learner
            acted (DAgger), the following displacements are not the expert's: the auxiliary loss leaves them out.
        config: hyper-parameters of the training instead of those of the policy.

    Raises:
        ValueError: the transitions have no actions, actions of another size, or frames of another shape; or nothing
            can be learned from them.
    """

    def __init__(
        self,
        network: BCPolicy,
        demonstrations: Transitions,
        by_expert: NDArray[np.bool_] | None = None,
        config: BCConfig | None = None,
    ) -> None:
        super().__init__()
        action = require_demonstrations(network, demonstrations)
        self.network = network
        self.config = network.config if config is None else config
        self._frames = as_tensor(demonstrations.frames)
        self._start = as_tensor(demonstrations.start)
        self._action = as_tensor(action)
        self._future = torch.from_numpy(_future_displacements(demonstrations, network.config.horizons))
        self._future /= network.limit
        self._by_expert = torch.ones(len(demonstrations)) if by_expert is None else torch.from_numpy(by_expert).float()

    def stages(self) -> list[Stage]:
        """Return the one stage, with all parameters of the policy."""
        optim, parameters = self.config.optim, list(self.network.parameters())
        return [Stage("behaviour cloning", optim.steps, self.loss, parameters, optim.batch_size, optim.lr)]

    def loss(self, generator: torch.Generator, batch_size: int | None = None) -> Loss:
        """Return the loss of a batch, and its parts for displacements and commands.

        Args:
            generator: draws the batch.
            batch_size: number of transitions; that of the configuration if not given.
        """
        size = self.config.optim.batch_size if batch_size is None else batch_size
        chosen = torch.randint(len(self._start), (size,), generator=generator)
        output, ahead = self.network(to_images(self._frames.index_select(0, self._start[chosen])))
        dim, action = self.network.dim, self._action[chosen]
        displacement = (output[:, :dim] - action[:, :dim] / self.network.limit).pow(2).sum(1).mean()
        future = (self._by_expert[chosen] * (ahead - self._future[chosen]).pow(2).sum(1)).mean()
        commands = _command_loss(output[:, dim:], action[:, dim:])
        loss = displacement + self.config.future_weight * future + self.config.command_weight * commands
        return loss, {"displacement": displacement.detach(), "commands": commands.detach()}


def require_demonstrations(policy: BCPolicy, demonstrations: Transitions) -> NDArray[np.float32]:
    """Return the actions of demonstrations, if they fit a policy and something can be learned from them.

    Raises:
        DataError: frames or displacements are all alike, or a displacement is far larger than the others.
        ValueError: the transitions have no actions, actions of another size, or frames of another shape.
    """
    size = policy.dim + policy.commands
    if demonstrations.action is None or demonstrations.action.shape[1] != size:
        found = None if demonstrations.action is None else demonstrations.action.shape
        raise ValueError(f"demonstrations with actions (N, {size}) were expected, got actions {found}")
    if demonstrations.displacement.shape[1] != policy.dim:
        raise ValueError(
            f"displacements (N, {policy.dim}) were expected, got {demonstrations.displacement.shape}; "
            "set dim of the policy to the dimension of the group"
        )
    if demonstrations.frames.shape[1:] != policy.shape:
        raise ValueError(f"frames of shape {policy.shape} were expected, got {demonstrations.frames.shape[1:]}")
    require_trainable(demonstrations)
    return demonstrations.action


def _command_loss(logits: Tensor, action: Tensor) -> Tensor:
    """Return the cross-entropy of the commands; zero if there are none, where a mean would be NaN."""
    if not logits.shape[1]:
        return logits.new_zeros(())
    return functional.binary_cross_entropy_with_logits(logits, (action >= 0).float())


def _future_displacements(demonstrations: Transitions, horizons: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the displacement within each horizon, or until the episode ends, over the root of the horizon."""
    episode = episode_ids(demonstrations)
    last = np.searchsorted(episode, episode, side="right") - 1
    total = np.cumsum(np.concatenate([np.zeros_like(demonstrations.displacement[:1]), demonstrations.displacement]), 0)
    index = np.arange(len(episode))
    parts = [(total[np.minimum(index + horizon, last + 1)] - total[index]) / np.sqrt(horizon) for horizon in horizons]
    return np.concatenate(parts, 1).astype(np.float32)
