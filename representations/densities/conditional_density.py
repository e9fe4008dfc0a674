"""A density that is conditioned on the first image of the episode and on the commands to the gripper."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
from torch import Tensor, nn

from ...envs.storage.artifacts import ArtifactError, ArtifactLimits, load_into, read_artifact, write_artifact
from ..encoders.backbones import SpatialSoftmaxCNN
from ..encoders.encoder import as_tensor, require_images, to_images
from ..learning.config import ConfigError, OptimConfig, check_range, from_dict, to_dict
from ..learning.learner import Loss, Stage
from ..learning.training import TrainingCallback, TrainingReport, train_learner
from .density import Density, DensityConfig, DensityError, as_floats
from .kernel import KernelDensity
from .registry import DENSITIES, make_density

KIND = "density"


@dataclass(frozen=True)
class SceneDensityConfig:
    """Set the hyper-parameters of a `SceneDensity`.

    Attributes:
        image_features: number of features to which the first image is reduced.
        state_noise: standard deviation of the Gaussian noise on the states of a batch, in units of their spread.
        states_per_episode: number of states that are drawn of each episode in a batch. An image costs a thousand times
            what a state does, so a batch has few episodes and many states of each.
        optim: how the negative log likelihood is minimised; ``batch_size`` counts states.

    Raises:
        ConfigError: a value is out of range.
    """

    image_features: int = 8
    state_noise: float = 0.05
    states_per_episode: int = 16
    optim: OptimConfig = OptimConfig(steps=3000, lr=1e-3, batch_size=256)

    def __post_init__(self) -> None:
        check_range(self, "image_features", at_least=1)
        check_range(self, "state_noise", at_least=0)
        check_range(self, "states_per_episode", at_least=1, at_most=self.optim.batch_size)


class SceneDensity(Density):
    """The density of demonstrated states given the scene: ``ρ(z | h(o_0), g)``.

    ``o_0`` is the first image of the episode, ``g`` the last commands to the gripper, and ``h`` a small network with
    ``tanh`` outputs, which is trained together with the density:
    ``minimise −E log ρ(z + ε | h(o_0), g)`` with ``ε ~ N(0, (state_noise · s)² I)``.

    Kernel densities have no loss to train ``h`` with; they take the one that was trained together with a mixture.

    Source: Reichlin et al., *Back to the manifold: recovering from out-of-distribution states*, IROS 2022
    (arXiv:2207.08673).

    Args:
        shape: height, width and channels of the images.
        dim: number of coordinates of ``z``.
        commands: number of coordinates of ``g``.
        family: name or configuration of the family of densities, such as ``"mixture"``.
        config: hyper-parameters of the scene network and of the training.

    Attributes:
        scene: the network ``h``.
        density: the density given features and commands.
        family: name of the family.

    Raises:
        RegistryError: no family has this name.
        ConfigError: a configuration is of another class.

    Example:
        >>> density = SceneDensity((16, 16, 3), dim=2, commands=1)
        >>> scene = density.scene_of(np.zeros((4, 16, 16, 3), np.uint8))
        >>> density.context_of(scene, np.ones((4, 1))).shape
        torch.Size([4, 9])
    """

    config_class = SceneDensityConfig
    config: SceneDensityConfig

    def __init__(
        self,
        shape: tuple[int, int, int],
        dim: int,
        commands: int,
        family: str | DensityConfig = "mixture",
        config: SceneDensityConfig | None = None,
    ) -> None:
        features = (SceneDensityConfig() if config is None else config).image_features
        super().__init__(dim, features + commands, config)
        height, width, channels = shape
        self.shape, self.commands = (height, width, channels), commands
        trunk = SpatialSoftmaxCNN(self.shape)
        self.scene = nn.Sequential(trunk, nn.Linear(trunk.features, features), nn.Tanh())
        self.density = make_density(family, dim, features + commands)
        self.family = self.density.registered_name

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return self.density.log_prob(z, context)

    def far_log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return self.density.far_log_prob(z, context)

    def standardised_log_prob(self, u: Tensor, context: Tensor) -> Tensor:
        return self.density.standardised_log_prob(u, context)

    def standardise(self, z: Tensor) -> None:
        self.density.standardise(z)
        self.fitted = True

    def _learn(self, z: Tensor, context: Tensor, seed: int, callbacks: Iterable[TrainingCallback]) -> TrainingReport:
        return self.density._learn(z, context, seed, callbacks)

    def scene_of(self, first: np.ndarray[Any, Any]) -> Tensor:
        """Return the features ``(B, features)`` of first images ``(B, H, W, C)`` uint8.

        Raises:
            ObservationError: the images have another type or shape.
        """
        require_images(first, self.shape)
        with torch.no_grad():
            scene: Tensor = self.scene(to_images(as_tensor(first)))
        return scene

    def context_of(self, scene: Tensor, commands: np.ndarray[Any, Any]) -> Tensor:
        """Return features ``(B, features)`` and commands ``(B, commands)`` side by side."""
        return torch.cat([scene, torch.from_numpy(commands).float()], 1)

    def fit_scenes(
        self,
        z: Tensor,
        first: np.ndarray[Any, Any],
        episode: np.ndarray[Any, Any],
        commands: np.ndarray[Any, Any],
        *,
        seed: int = 0,
        callbacks: Iterable[TrainingCallback] = (),
    ) -> TrainingReport:
        """Maximise the mean log density of the states of demonstrations.

        Args:
            z: states ``(N, dim)``.
            first: first image of every episode, ``(E, H, W, C)`` uint8.
            episode: episode of each state, ``(N,)``, in ascending order.
            commands: commands of the step before each state, ``(N, commands)``.
            seed: seed of the batches.
            callbacks: receive reports after every update.

        Returns:
            The report of the training.

        Raises:
            DensityError: fewer than two different states, one that is not finite, or arrays of other lengths.
            ObservationError: the images have another type or shape.
        """
        z = as_floats("states", z)
        if isinstance(self.density, KernelDensity):
            learned = SceneDensity(self.shape, self.dim, self.commands, config=self.config)
            report = learned.fit_scenes(z, first, episode, commands, seed=seed, callbacks=callbacks)
            self.scene.load_state_dict(learned.scene.state_dict())
            self.density.fit(z, self.context_of(self.scene_of(first)[episode], commands), seed=seed)
            self.fitted = True
            return report
        learner = SceneDensityLearner(self, z, first, episode, commands)
        return train_learner(learner, seed=seed, callbacks=callbacks)

    def save(self, folder: str | Path) -> None:
        """Write the density as a folder: the weights (safetensors) and a card (JSON) with one hash over both.

        Args:
            folder: a new folder, or one with a saved density, which is replaced.

        Raises:
            ArtifactError: the folder holds other things or cannot be written to, or a weight is not finite.
            DensityError: the density was not fitted.
        """
        self.require_fitted()
        card = {
            "family": self.family,
            "family_config": to_dict(self.density.config),
            "config": to_dict(self.config),
            "shape": list(self.shape),
            "dim": self.dim,
            "commands": self.commands,
            "points": self.density.points,
        }
        write_artifact(folder, KIND, card, self.state_dict())

    @classmethod
    def load(cls, folder: str | Path, limits: ArtifactLimits | None = None) -> Self:
        """Read a saved density; nothing that is read is executed.

        Args:
            folder: folder that `save` wrote.
            limits: largest sizes to accept.

        Returns:
            The density, in evaluation mode.

        Raises:
            ArtifactError: a file is missing, damaged or altered, or the card does not describe the weights.
        """
        limits = limits or ArtifactLimits()
        card, tensors = read_artifact(folder, KIND, limits)
        try:
            config = from_dict(SceneDensityConfig, card["config"])
            family_cls = DENSITIES.get(card["family"])
            family = from_dict(family_cls.config_class, card["family_config"])
            shape, dim, commands, points = card["shape"], card["dim"], card["commands"], card["points"]
            least = family_cls.least_size(dim, config.image_features + commands, family)
        except (ConfigError, KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"expected the card of a density in {folder}, got a wrong entry: {error}") from error
        held = sum(value.numel() for value in tensors.values())
        if least > held:
            raise ArtifactError(
                f"expected a card that describes the {held} values in {folder}, got one of a density with at least "
                f"{least}; take another copy, or save it again"
            )

        def build() -> SceneDensity:
            density = cls(shape, dim, commands, family, config)
            density.density.allocate(points)
            return density

        return cast(Self, load_into(build, tensors, folder, limits))


class SceneDensityLearner(nn.Module):
    """Train a `SceneDensity` by maximum likelihood, together with its scene network.

    ``minimise −E log ρ(z + ε | h(o_0), g)`` with ``ε ~ N(0, (state_noise · s)² I)``.

    Args:
        network: the density; it is standardised to the states.
        z: states ``(N, dim)``.
        first: first image of every episode, ``(E, H, W, C)`` uint8.
        episode: episode of each state, ``(N,)``, in ascending order.
        commands: commands of the step before each state, ``(N, commands)``.

    Raises:
        DensityError: fewer than two different states, one that is not finite, or arrays of other lengths.
        ObservationError: the images have another type or shape.
    """

    def __init__(
        self,
        network: SceneDensity,
        z: Tensor,
        first: np.ndarray[Any, Any],
        episode: np.ndarray[Any, Any],
        commands: np.ndarray[Any, Any],
    ) -> None:
        super().__init__()
        z = as_floats("states", z)
        require_images(first, network.shape)
        _require_matching(z, len(first), episode, commands, network.commands)
        network.standardise(z)
        self.network = network
        self._z, self._images = z, as_tensor(first)
        self._episode, self._commands = torch.from_numpy(episode), torch.from_numpy(commands).float()

    def stages(self) -> list[Stage]:
        """Return the one stage, with all parameters of the density and the scene network."""
        optim = self.network.config.optim
        parameters = list(self.network.parameters())
        return [Stage("density", optim.steps, self.loss, parameters, optim.batch_size, optim.lr)]

    def loss(self, generator: torch.Generator) -> Loss:
        """Return the mean negative log density of noisy states of a few episodes."""
        config, density = self.network.config, self.network.density
        each = config.states_per_episode
        drawn = torch.randint(len(self._images), (config.optim.batch_size // each,), generator=generator)
        scene = self.network.scene(to_images(self._images[drawn]))
        rows, states = self._draw_states(drawn, each, generator)
        noise = torch.randn(self._z[states].shape, generator=generator)
        noisy = self._z[states] + config.state_noise * density.spread * noise
        context = torch.cat([scene[rows], self._commands[states]], 1)
        return -self.network.log_prob(noisy, context).mean(), {}

    def _draw_states(self, drawn: Tensor, each: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return rows of ``drawn`` and indices of states, ``each`` of every drawn episode."""
        begin = torch.searchsorted(self._episode, drawn)
        count = torch.searchsorted(self._episode, drawn, right=True) - begin
        offset = (torch.rand(len(drawn), each, generator=generator) * count[:, None]).long()
        rows = torch.arange(len(drawn))[:, None].expand(-1, each)
        return rows.flatten(), (begin[:, None] + offset).flatten()


def _require_matching(
    z: Tensor, episodes: int, episode: np.ndarray[Any, Any], commands: np.ndarray[Any, Any], width: int
) -> None:
    if episode.shape != (len(z),) or commands.shape != (len(z), width):
        raise DensityError(
            f"episodes ({len(z)},) and commands ({len(z)}, {width}) were expected for {len(z)} states, "
            f"got {episode.shape} and {commands.shape}"
        )
    if not np.array_equal(np.unique(episode), np.arange(episodes)) or (np.diff(episode) < 0).any():
        raise DensityError(f"episodes from 0 to {episodes - 1} in ascending order were expected, as many as images")
