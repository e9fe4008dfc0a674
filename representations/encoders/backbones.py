"""Image backbones: networks from float images ``(B, C, H, W)`` in [0, 1] to features ``(B, features)``."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...envs.named_registry import Registry


class Backbone(nn.Module):
    """Base class of image networks; register one with `register_backbone` and use its name in a configuration.

    Attributes:
        features: width of the output.
    """

    features: int


BACKBONES: Registry[Callable[[tuple[int, int, int]], Backbone]] = Registry(
    "backbone", "equiact.representations.encoders"
)
"""Classes of backbones, or functions that make one for images of a shape, by name."""

register_backbone = BACKBONES.register


@register_backbone("spatial_softmax")
class SpatialSoftmaxCNN(Backbone):
    """Compute points in the image: convolutions, a spatial softmax for each feature map, and one hidden layer.

    The ``k``-th map ``h_k`` becomes the point ``Σ_uv (u, v) softmax(h_k)_uv`` in [-1, 1]², which has sub-pixel accuracy
    and is almost linear in the position of what the map responds to (Levine et al., *End-to-end training of deep
    visuomotor policies*, JMLR 2016). It suits latents that are positions.

    Args:
        shape: height, width and channels of the images.
        maps: number of points.
        features: width of the hidden layer, and of the output.
        channels: channels of the convolutions before the last.
        halvings: number of these convolutions, from the first on, that halve the resolution.

    Raises:
        ValueError: a side of the images is smaller than 4 pixels.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        maps: int = 8,
        features: int = 64,
        channels: tuple[int, ...] = (16,),
        halvings: int = 1,
    ) -> None:
        super().__init__()
        _require_side(shape, 4)
        height, width, colours = shape
        self.features = features
        # Created first: the published figures were measured with this order of random weights.
        last = nn.Conv2d(channels[-1], maps, 3, padding=1)
        layers: list[nn.Module] = [nn.Conv2d(colours, channels[0], 5, stride=2, padding=2), nn.ReLU()]
        for index, (before, after) in enumerate(pairwise(channels), 1):
            layers += [nn.Conv2d(before, after, 3, stride=1 + (index < halvings), padding=1), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers, last)
        # With the usual weights a softmax over a thousand pixels is flat, and one network in twenty did not learn.
        with torch.no_grad():
            last.weight.mul_(5.0)
        self.hidden = nn.Linear(2 * maps, features)
        self.rows: Tensor
        self.columns: Tensor
        coarser = 2**halvings
        self.register_buffer("rows", torch.linspace(-1, 1, -(-height // coarser)), persistent=False)
        self.register_buffer("columns", torch.linspace(-1, 1, -(-width // coarser)), persistent=False)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        return functional.relu(self.hidden(self.points(images)))

    def points(self, images: Tensor) -> Tensor:
        """Return the points in [-1, 1]², all columns before all rows, ``(B, 2·maps)``."""
        maps = self.convolutions(images)
        weight = maps.flatten(2).softmax(-1).view(maps.shape)
        return torch.cat([weight.sum(2) @ self.columns, weight.sum(3) @ self.rows], 1)


@register_backbone("strided")
class StridedCNN(Backbone):
    """Compute features of the whole image: four convolutions that halve the resolution, and one hidden layer.

    Every layer has batch normalisation (Ioffe and Szegedy, ICML 2015), with which rotations need half the updates. It
    suits classes and poses on a CPU.

    Args:
        shape: height, width and channels of the images, of at least 16 pixels a side.

    Raises:
        ValueError: a side of the images is smaller than 16 pixels.
    """

    features = 256

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        _require_side(shape, 16)
        height, width, channels = shape
        layers: list[nn.Module] = []
        for out in (16, 32, 64, 64):
            layers += [nn.Conv2d(channels, out, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
            channels, height, width = out, height // 2, width // 2
        self.convolutions = nn.Sequential(*layers)
        self.hidden = nn.Sequential(
            nn.Linear(channels * height * width, self.features, bias=False), nn.BatchNorm1d(self.features)
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        return functional.relu(self.hidden(self.convolutions(images).flatten(1)))


@register_backbone("resnet18")
class ResNet18(Backbone):
    """Compute features with a ResNet-18 for small images (a 3×3 convolution first, no pooling), trained from scratch.

    He et al., *Deep residual learning for image recognition*, CVPR 2016. It suits classes and poses on a GPU.

    Args:
        shape: height, width and channels of the images, of at least 8 pixels a side.

    Raises:
        ValueError: a side of the images is smaller than 8 pixels.
    """

    features = 512

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        _require_side(shape, 8)
        self.stem = nn.Sequential(
            nn.Conv2d(shape[2], 64, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()
        )
        widths = [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1)]
        widths += [(128, 256, 2), (256, 256, 1), (256, 512, 2), (512, 512, 1)]
        self.blocks = nn.Sequential(*(_ResidualBlock(*each) for each in widths))

    def forward(self, images: Tensor) -> Tensor:
        pooled: Tensor = self.blocks(self.stem(images)).mean((2, 3))
        return pooled


class _ResidualBlock(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(width_in, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or width_in != width:
            self.shortcut = nn.Sequential(nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.main(x) + self.shortcut(x))


def make_backbone(name: str, shape: tuple[int, int, int]) -> Backbone:
    """Return a new backbone.

    Args:
        name: name of a registered backbone, such as ``"resnet18"``.
        shape: height, width and channels of the images.

    Raises:
        RegistryError: no backbone has that name.
        ValueError: the images are too small for it.

    Example:
        >>> make_backbone("strided", (64, 64, 3)).features
        256
    """
    return BACKBONES.get(name)(shape)


def _require_side(shape: tuple[int, int, int], pixels: int) -> None:
    """Check that both sides of the images have some pixels.

    Raises:
        ValueError: they have fewer.
    """
    if min(shape[:2]) < pixels:
        raise ValueError(
            f"expected images of at least {pixels} pixels a side, got {shape[0]} × {shape[1]}; "
            "choose a higher resolution or another backbone"
        )
