"""Stitching on the digits of scikit-learn: heads of some networks on the encoders of others, without training."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from ....representations.analysis.stitching.densification import DensificationConfig, topological_densification_loss
from ....representations.analysis.stitching.relative_maps import cosine_relative, robust_relative

MAPS = ("absolute", "cosine", "robust")
"""What a head reads: latents, or their plain or robust relative coordinates."""


@dataclass(frozen=True)
class DigitsConfig:
    """Set the experiment.

    Attributes:
        activations: activation functions of the encoders; each is trained with several seeds.
        seeds: number of seeds.
        width: units of the hidden layer.
        latent_dim: units of the latent, behind an activation.
        anchors: number of anchors, drawn from the training images.
        steps: updates of each network.
        per_class: images of each digit in a batch.
        lr: learning rate of Adam.
        densification: scale and weight of topological densification.
    """

    activations: tuple[str, ...] = ("ReLU", "Tanh", "GELU")
    seeds: int = 2
    width: int = 64
    latent_dim: int = 24
    anchors: int = 48
    steps: int = 400
    per_class: int = 12
    lr: float = 3e-3
    densification: DensificationConfig = field(default_factory=lambda: DensificationConfig(beta=1.0, weight=0.01))


@dataclass(frozen=True)
class Digits:
    """Images ``(n, 64)`` in [0, 1] and labels, for training and testing, and the indices of the anchors."""

    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    anchors: Tensor


class DigitsNetwork(nn.Module):
    """An encoder of two layers and a linear head on its latents or on their relative coordinates.

    Args:
        config: sizes.
        activation: name of the activation function in torch.
        relative: one of `MAPS`.
    """

    def __init__(self, config: DigitsConfig, activation: str, relative: str) -> None:
        super().__init__()
        self.relative = relative
        act: type[nn.Module] = getattr(nn, activation)
        self.encoder = nn.Sequential(
            nn.Linear(64, config.width), act(), nn.Linear(config.width, config.latent_dim), act()
        )
        self.head = nn.Linear(config.latent_dim if relative == "absolute" else config.anchors, 10)

    def coordinates(self, latents: Tensor, anchors: Tensor, reference: Tensor) -> Tensor:
        """Return what the head reads of latents ``(B, dim)``; ``reference`` has their mean and deviation."""
        if self.relative == "absolute":
            return latents
        return (
            cosine_relative(latents, anchors)
            if self.relative == "cosine"
            else robust_relative(latents, anchors, reference)
        )


def measure_digits(config: DigitsConfig, seed: int) -> dict[str, float]:
    """Return the accuracy of own and of stitched heads, with and without densification, by ``"row: column"``.

    Args:
        config: the experiment.
        seed: seed of the split, the anchors and the networks.
    """
    digits = load_digits(config, seed)
    figures: dict[str, float] = {}
    for relative, densified in product(MAPS, (False, True)):
        networks = [
            train_network(config, digits, activation, relative, densified, 100 * seed + index)
            for index, activation in enumerate(config.activations * config.seeds)
        ]
        own, stitched = stitched_accuracy(networks, digits)
        name = "digits, densified" if densified else "digits"
        figures[f"{name}: {relative}"] = stitched
        figures[f"{name}, own head: {relative}"] = own
    return figures


def load_digits(config: DigitsConfig, seed: int) -> Digits:
    """Return half of the digits for training and half for testing.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    try:
        from sklearn import datasets
    except ImportError as error:
        raise ImportError("the digits need scikit-learn; run pip install 'equiact[analysis]'") from error
    images, labels = datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(images))
    given, target = torch.from_numpy(images[order] / 16).float(), torch.from_numpy(labels[order]).long()
    half = len(given) // 2
    return Digits(given[:half], target[:half], given[half:], target[half:], torch.arange(config.anchors))


def train_network(
    config: DigitsConfig, digits: Digits, activation: str, relative: str, densified: bool, seed: int
) -> DigitsNetwork:
    """Train an encoder and a head together; the anchors are encoded anew in every update."""
    torch.manual_seed(seed)
    network = DigitsNetwork(config, activation, relative)
    optimizer = torch.optim.Adam(network.parameters(), config.lr)
    rows = [torch.nonzero(digits.labels == digit)[:, 0] for digit in range(10)]
    for step in range(config.steps):
        chosen = torch.cat([each[torch.randint(len(each), (config.per_class,))] for each in rows])
        latents, anchors = network.encoder(digits.images[chosen]), network.encoder(digits.images[digits.anchors])
        loss = nn.functional.cross_entropy(
            network.head(network.coordinates(latents, anchors, latents)), digits.labels[chosen]
        )
        if densified:
            weight = config.densification.weight_at(step, config.steps)
            loss = loss + weight * topological_densification_loss(
                latents, digits.labels[chosen], config.densification.beta
            )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return network.eval()


@torch.no_grad()
def stitched_accuracy(networks: list[DigitsNetwork], digits: Digits) -> tuple[float, float]:
    """Return the mean accuracy of heads on their own encoders, and on the encoders of all other networks."""
    table = np.zeros((len(networks), len(networks)))
    for column, encoding in enumerate(networks):
        latents, anchors, reference = (
            encoding.encoder(images) for images in (digits.test_images, digits.images[digits.anchors], digits.images)
        )
        given = encoding.coordinates(latents, anchors, reference)
        for row, reading in enumerate(networks):
            table[row, column] = float((reading.head(given).argmax(1) == digits.test_labels).double().mean())
    own = np.eye(len(networks), dtype=bool)
    return float(table[own].mean()), float(table[~own].mean())
