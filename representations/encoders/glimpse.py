"""A look at an object from near: a crop of the image around its position, and features of the crop."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .backbones import make_backbone


class Glimpse(nn.Module):
    """Crop images around positions in the plane, and compute features of the crops.

    A network that sees the whole image must learn an orientation anew at every place. One that sees the crop need not.
    The camera is an affine map from the plane to the image. It need not be exact: the crop is wider than the object.

    Args:
        backbone: name of the image network.
        channels: of the images.
        side: of the crops, in pixels.

    Attributes:
        features: width of the output.
        camera: ``(2, 3)``, affine map from the plane to the image, whose coordinates (x, y) go from −1 to 1.
        half_width: half the width of the crops, in these coordinates.
    """

    camera: Tensor
    half_width: Tensor

    def __init__(self, backbone: str, channels: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.trunk = make_backbone(backbone, (side, side, channels))
        self.features = self.trunk.features
        self.register_buffer("camera", torch.eye(2, 3))
        self.register_buffer("half_width", torch.ones(()))

    def forward(self, images: Tensor, position: Tensor) -> Tensor:
        """Return features ``(B, features)`` of images ``(B, C, H, W)`` around positions ``(B, 2)``."""
        features: Tensor = self.trunk(self.crop(images, position))
        return features

    def crop(self, images: Tensor, position: Tensor) -> Tensor:
        """Return crops ``(B, C, side, side)`` around positions ``(B, 2)``; the edge of the image is continued."""
        centre = position @ self.camera[:, :2].T + self.camera[:, 2]
        line = (torch.arange(self.side, device=images.device) + 0.5) * (2 / self.side) - 1
        offset = self.half_width * torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)
        grid = centre[:, None, None] + offset
        return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def fit_camera(changes: Tensor, *positions: Tensor) -> Tensor:
    """Compute where points are in the image, from what differs from the background.

    The centroid of the differences is ``Σ_k λ_k P(z_k)``, where ``P`` is the affine map that is sought and ``λ_k`` the
    share of agent or object ``k`` in the differences. So the sum of the coefficients of all positions in a linear
    regression is the linear part of ``P``.

    Args:
        changes: ``(F, H, W)``, by how much each pixel differs from the background (`background_changes`).
        positions: ``(F, n)`` each, positions of the agent and of objects.

    Returns:
        ``(2, n + 1)``, see `Glimpse.camera`.

    Raises:
        ValueError: nothing differs from the background.
    """
    total = changes.sum((1, 2))
    if not (total > 0).any():
        raise ValueError("expected images that differ from each other, got none: nothing moves in them")
    seen = total > 0
    rows, columns = (
        (torch.arange(count, device=changes.device) + 0.5) * (2 / count) - 1 for count in changes.shape[1:]
    )
    centroid = torch.stack([changes.sum(1) @ columns, changes.sum(2) @ rows], 1)[seen] / total[seen, None]
    ones = torch.ones(len(centroid), 1, device=changes.device)
    design = torch.cat([*(each[seen] for each in positions), ones], 1)
    coefficients = (torch.linalg.pinv(design.double()) @ centroid.double()).to(centroid.dtype)
    linear = coefficients[:-1].unflatten(0, (len(positions), -1)).sum(0)
    return torch.cat([linear, coefficients[-1:]]).T


def background_changes(images: Tensor, background: Tensor) -> Tensor:
    """Return by how much each pixel of images ``(F, C, H, W)`` differs from the background, ``(F, H, W)``.

    Args:
        images: the images.
        background: ``(C, H, W)``, such as the median of images.

    Example:
        >>> images = torch.zeros(3, 1, 1, 2)
        >>> images[2, 0, 0, 1] = 1
        >>> background_changes(images, images.median(0).values)[2].tolist()
        [[0.0, 1.0]]
    """
    return (images - background).abs().sum(1)
