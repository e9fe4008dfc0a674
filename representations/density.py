"""How dense the demonstrations are in a latent space, and which way density grows.

Every density is conditioned on a context: the scene at the start of the episode, and the state of the gripper. The
families share a small interface, `Density`: ``fit``, ``log_prob`` and ``score``, the gradient ``∇_z log ρ(z | c)``.

Reichlin et al., *Back to the manifold: recovering from out-of-distribution states*, IROS 2022 (arXiv:2207.08673) use a
mixture density network; `MixtureDensity` is that one.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import zuko
from torch import Tensor, nn

from representations.encoder import as_tensor, to_images
from representations.networks import SpatialSoftmaxCNN
from representations.storage import load_network, save_network
from representations.training import Progress, Report, Stage, fit


class DensityError(ValueError):
    """There is no density of such data."""


class Density(nn.Module, ABC):
    """``ρ(z | c)``, standardised by the data it is fitted to.

    Args:
        dim: coordinates of ``z``.
        context: coordinates of ``c``; 0 for none.
    """

    def __init__(self, dim: int, context: int = 0) -> None:
        super().__init__()
        self.dim, self.context = dim, context
        self.mean: Tensor
        self.spread: Tensor
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("spread", torch.ones(()))

    @abstractmethod
    def standardised_log_prob(self, z: Tensor, context: Tensor) -> Tensor:
        """``log ρ`` of standardised ``z``, ``(B,)``."""

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """``log ρ(z | c)``, ``(B,)``, of ``z`` ``(B, dim)`` and ``c`` ``(B, context)``."""
        context = z.new_zeros(len(z), 0) if context is None else context
        return self.standardised_log_prob((z - self.mean) / self.spread, context) - self.dim * self.spread.log()

    def far_log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """What `score` climbs, ``(B,)``: the log density itself, unless that has a poor gradient far from the data."""
        return self.log_prob(z, context)

    def score(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``log ρ(z | c)``, ``(B,)``, and the way up from ``z``, the gradient of `far_log_prob`, ``(B, dim)``."""
        with torch.no_grad():
            value = self.log_prob(z, context)
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.far_log_prob(z, context).sum(), z)
        return value, gradient

    def scene_of(self, first: np.ndarray[Any, Any]) -> Tensor:
        """What is to be known of the first observations of episodes, ``(B, k)``; nothing here."""
        return torch.zeros(len(first), 0)

    def context_of(self, scene: Tensor, commands: np.ndarray[Any, Any]) -> Tensor | None:
        """The context of episodes with these scenes (`scene_of`) and last commands; None if there is none."""
        return None

    def standardise(self, z: Tensor) -> None:
        """Take mean and spread from data; the spread is one number, so that distances keep their meaning.

        Raises:
            DensityError: fewer than two different states, or one that is not finite.
        """
        if not torch.isfinite(z).all():
            raise DensityError("states must be finite, got NaN or infinity")
        spread = (z - z.mean(0)).pow(2).sum(1).mean().sqrt() if len(z) else torch.tensor(0.0)
        if not spread > 1e-9:
            raise DensityError(
                f"a density needs at least two different states, got {len(z)} that are all the same; record more"
            )
        self.mean.copy_(z.mean(0))
        self.spread.copy_(spread / math.sqrt(self.dim))

    def fit(
        self,
        z: Tensor,
        context: Tensor | None = None,
        *,
        seed: int = 0,
        steps: int = 2000,
        progress: Progress = lambda stage, done, total, metrics: None,
    ) -> Report:
        """Maximise the mean log density of data ``(N, dim)`` with contexts ``(N, context)``.

        Raises:
            DensityError: fewer than two different states, or one that is not finite.
        """
        self.standardise(z)
        return self._learn(z, z.new_zeros(len(z), 0) if context is None else context, seed, steps, progress)

    def _learn(self, z: Tensor, context: Tensor, seed: int, steps: int, progress: Progress) -> Report:
        def loss(generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
            chosen = torch.randint(len(z), (256,), generator=generator)
            return -self.log_prob(z[chosen], context[chosen]).mean(), {}

        return fit(self, [Stage("density", steps, loss, list(self.parameters()), 256)], seed=seed, progress=progress)


class MixtureDensity(Density):
    """A mixture density network: ten Gaussians, whose parameters are functions of the context (zuko).

    Unlike the paper's they are round, and no narrower than a fraction of the data's spread. Far from the data a
    diagonal Gaussian's gradient points along its narrowest axis rather than home, and its widest axis makes far places
    dense.

    Its gradient is that of the mixture convolved with a Gaussian, ``Σ_k w_k N(z; μ_k, (σ_k² + blur²) I)``: ten cm away
    the sharp mixture follows whichever component is widest, the blurred one the nearest. Trigger and likelihood are of
    the sharp one. (Annealed Langevin dynamics climbs blurred densities for the same reason: Song & Ermon, NeurIPS
    2019.)
    """

    covariance = "spherical"
    least_variance = 0.03
    blur = 0.8
    """Standard deviation of what it is convolved with, in units of the data's spread."""

    def __init__(self, dim: int, context: int = 0, components: int = 10) -> None:
        super().__init__(dim, context)
        options: dict[str, Any] = {"hidden_features": (64, 64)} if context else {}
        self.mixture = zuko.mixtures.GMM(
            dim, context, components, self.covariance, epsilon=self.least_variance, **options
        )

    def standardised_log_prob(self, z: Tensor, context: Tensor) -> Tensor:
        value: Tensor = self.mixture(context if self.context else None).log_prob(z)
        return value

    def far_log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        mixture = self.mixture(context if self.context else None)
        sharp = mixture.base.base_dist
        wider = zuko.distributions.DiagNormal(sharp.loc, (sharp.scale.square() + self.blur**2).sqrt())
        value: Tensor = zuko.distributions.Mixture(wider, mixture.logits).log_prob((z - self.mean) / self.spread)
        return value - self.dim * self.spread.log()


class DiagonalMixtureDensity(MixtureDensity):
    """The paper's mixture: its Gaussians are diagonal, as narrow as they like, and not blurred."""

    covariance = "diagonal"
    least_variance = 1e-4
    blur = 0.0


class FlowDensity(Density):
    """A neural spline flow (zuko): Durkan et al., *Neural spline flows*, NeurIPS 2019."""

    def __init__(self, dim: int, context: int = 0) -> None:
        super().__init__(dim, context)
        self.flow = zuko.flows.NSF(dim, context, transforms=2, hidden_features=(64, 64))

    def standardised_log_prob(self, z: Tensor, context: Tensor) -> Tensor:
        value: Tensor = self.flow(context if self.context else None).log_prob(z)
        return value


class KernelDensity(Density):
    """Gaussian kernels on the data, at most 5,000 of them, weighted by how near their contexts are: nothing is learned.

    ``log Σ_i k_c(c, c_i) N(z; z_i, h²) − log Σ_i k_c(c, c_i)``, the bandwidth ``h`` after Scott's rule.
    """

    context_bandwidth = 0.3

    def __init__(self, dim: int, context: int = 0) -> None:
        super().__init__(dim, context)
        self.points: Tensor
        self.contexts: Tensor
        self.register_buffer("points", torch.zeros(0, dim))
        self.register_buffer("contexts", torch.zeros(0, context))
        self.bandwidth: Tensor
        self.register_buffer("bandwidth", torch.ones(()))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        # As many points as were kept.
        self.points = torch.empty_like(state_dict.get(f"{prefix}points", self.points))
        self.contexts = torch.empty_like(state_dict.get(f"{prefix}contexts", self.contexts))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _learn(self, z: Tensor, context: Tensor, seed: int, steps: int, progress: Progress) -> Report:
        generator = torch.Generator().manual_seed(seed)
        kept = torch.randperm(len(z), generator=generator)[:5000]
        self.points = ((z - self.mean) / self.spread)[kept]
        self.contexts = context[kept]
        self.bandwidth.fill_(len(kept) ** (-1 / (self.dim + 4)))
        return Report()

    def standardised_log_prob(self, z: Tensor, context: Tensor) -> Tensor:
        near = -0.5 * (torch.cdist(context, self.contexts) / self.context_bandwidth).pow(2)
        squared = (z[:, None] - self.points).pow(2).sum(2) / self.bandwidth**2
        normalise = self.dim * (self.bandwidth * math.sqrt(2 * math.pi)).log()
        return self.total(near - 0.5 * squared) - near.logsumexp(1) - normalise

    def total(self, logarithms: Tensor) -> Tensor:
        """What all kernels together amount to, ``(B,)``, from their logarithms ``(B, points)``."""
        return logarithms.logsumexp(1)


class NearestDensity(KernelDensity):
    """The largest kernel instead of their sum: the gradient points at the nearest demonstrated state of such a scene.

    A measure of nearness, which does not integrate to one.
    """

    def total(self, logarithms: Tensor) -> Tensor:
        return logarithms.amax(1)


class SceneDensity(Density):
    """``ρ(z | o_0, g)``: of the scene in the first image ``o_0`` and the commands ``g`` given to the gripper.

    A small network reduces the first image to a few numbers; it is learned together with the density, as in the paper.
    Kernels have nothing to learn it by: theirs is the one that a mixture learned.

    Args:
        shape: height, width and channels of the images.
        dim: coordinates of ``z``.
        commands: coordinates of ``g``.
        family: of the density, one of `DENSITIES`.
        features: numbers to which the image is reduced.
    """

    def __init__(
        self, shape: tuple[int, int, int], dim: int, commands: int, family: str = "mixture", features: int = 8
    ) -> None:
        super().__init__(dim, features + commands)
        if family not in DENSITIES:
            raise DensityError(f"there is no family of densities {family!r}; choose from {sorted(DENSITIES)}")
        height, width, channels = shape
        self.shape, self.commands, self.family = (height, width, channels), commands, family
        self.features = features
        trunk = SpatialSoftmaxCNN(self.shape)
        self.scene = nn.Sequential(trunk, nn.Linear(trunk.features, features), nn.Tanh())
        self.density = DENSITIES[family](dim, features + commands)

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return self.density.log_prob(z, context)

    def far_log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return self.density.far_log_prob(z, context)

    def standardised_log_prob(self, z: Tensor, context: Tensor) -> Tensor:
        return self.density.standardised_log_prob(z, context)

    def save(self, folder: str | Path) -> None:
        """Write the density as a folder of safetensors and a JSON card."""
        own = {"shape": list(self.shape), "dim": self.dim, "commands": self.commands}
        save_network(folder, self, {**own, "family": self.family, "features": self.features})

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a density; nothing that is read is executed.

        Raises:
            NetworkFileError: a file is missing, truncated or altered.
        """
        return load_network(folder, cls)

    def scene_of(self, first: np.ndarray[Any, Any]) -> Tensor:
        with torch.no_grad():
            scene: Tensor = self.scene(to_images(as_tensor(first)))
        return scene

    def context_of(self, scene: Tensor, commands: np.ndarray[Any, Any]) -> Tensor:
        return torch.cat([scene, torch.from_numpy(commands).float()], 1)

    def fit_scenes(
        self,
        z: Tensor,
        first: np.ndarray[Any, Any],
        episode: np.ndarray[Any, Any],
        commands: np.ndarray[Any, Any],
        *,
        seed: int = 0,
        steps: int = 3000,
        progress: Progress = lambda stage, done, total, metrics: None,
    ) -> Report:
        """Maximise the mean log density of the states of demonstrations.

        Args:
            z: ``(N, dim)`` states.
            first: ``(E, H, W, C)`` uint8, the first image of every episode.
            episode: ``(N,)`` which episode a state is from.
            commands: ``(N, commands)``, given before it was reached.
            seed: of the batches.
            steps: number of updates.
            progress: called after every update.

        Raises:
            DensityError: fewer than two different states, or one that is not finite.
        """
        if isinstance(self.density, KernelDensity):
            learned = SceneDensity(self.shape, self.dim, self.commands, features=self.context - self.commands)
            report = learned.fit_scenes(z, first, episode, commands, seed=seed, steps=steps, progress=progress)
            self.scene.load_state_dict(learned.scene.state_dict())
            self.density.fit(z, self.context_of(self.scene_of(first)[episode], commands), seed=seed)
            return report
        self.density.standardise(z)
        images, of, given = as_tensor(first), torch.from_numpy(episode), torch.from_numpy(commands).float()

        def loss(generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
            # A few episodes, many states of each: an image costs a thousand times what a state does.
            drawn = torch.randint(len(images), (16,), generator=generator)
            scene = self.scene(to_images(images[drawn]))
            rows, states = _states_of(of, drawn, 16, generator)
            noisy = z[states] + 0.05 * self.density.spread * torch.randn(z[states].shape, generator=generator)
            return -self.log_prob(noisy, torch.cat([scene[rows], given[states]], 1)).mean(), {}

        stage = Stage("density", steps, loss, list(self.parameters()), 256, 1e-3)
        return fit(self, [stage], seed=seed, progress=progress)


def _states_of(episode: Tensor, drawn: Tensor, each: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """For each drawn episode some of its states: rows into ``drawn``, and indices of states."""
    begin = torch.searchsorted(episode, drawn)
    count = torch.searchsorted(episode, drawn, right=True) - begin
    offset = (torch.rand(len(drawn), each, generator=generator) * count[:, None]).long()
    rows = torch.arange(len(drawn))[:, None].expand(-1, each)
    return rows.flatten(), (begin[:, None] + offset).flatten()


DENSITIES: dict[str, type[Density]] = {
    "mixture": MixtureDensity,
    "diagonal mixture": DiagonalMixtureDensity,
    "flow": FlowDensity,
    "kernel": KernelDensity,
    "nearest": NearestDensity,
}
"""Every family of densities, by name."""
