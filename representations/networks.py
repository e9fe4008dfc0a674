"""Image backbones: ``(B, C, H, W)`` float images in [0, 1] to ``(B, features)``."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


class Backbone(nn.Module):
    """An image network.

    Attributes:
        features: width of its output.
    """

    features: int


class SpatialSoftmaxCNN(Backbone):
    """Convolutions, then the expected position of each feature map's softmax, then one hidden layer.

    The ``k``-th map ``h_k`` becomes the point ``Σ_uv (u, v) softmax(h_k)_uv`` in [-1, 1]²: where something is, to less
    than a pixel, and nothing else. Positions come out almost linear, which is why this starts where a plain CNN of the
    same cost does not (Levine et al., *End-to-end training of deep visuomotor policies*, JMLR 2016).

    Args:
        shape: height, width and channels of the images.
        maps: number of points.
        features: width of the hidden layer, and of the output.
        channels: of the convolutions before the last.
        halvings: how many of them, from the first on, halve the resolution.
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
        height, width, colours = shape
        self.features = features
        # First, so that a seed draws the weights that the published figures were measured with.
        last = nn.Conv2d(channels[-1], maps, 3, padding=1)
        layers: list[nn.Module] = [nn.Conv2d(colours, channels[0], 5, stride=2, padding=2), nn.ReLU()]
        for index, (before, after) in enumerate(pairwise(channels), 1):
            layers += [nn.Conv2d(before, after, 3, stride=1 + (index < halvings), padding=1), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers, last)
        # Peaked from the start: a softmax over a thousand pixels is flat under the usual weights, and one network in
        # twenty never found where to look.
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
        maps = self.convolutions(images)
        weight = maps.flatten(2).softmax(-1).view(maps.shape)
        points = torch.cat([weight.sum(2) @ self.columns, weight.sum(3) @ self.rows], 1)
        return functional.relu(self.hidden(points))


class StridedCNN(Backbone):
    """Four convolutions that halve the resolution, then one hidden layer: what is seen, wherever it is.

    Every layer is normalised over the batch (Ioffe and Szegedy, ICML 2015): it learns turns in half the updates.

    Args:
        shape: height, width and channels of the images, of at least 16 pixels a side.
    """

    features = 256

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
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


class ResNet18(Backbone):
    """ResNet-18 with its stem for small images (a 3×3 convolution, no pooling), trained from scratch.

    He et al., *Deep residual learning for image recognition*, CVPR 2016.

    Args:
        shape: height, width and channels of the images.
    """

    features = 512

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
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


BACKBONES: dict[str, Callable[[tuple[int, int, int]], Backbone]] = {
    "spatial_softmax": SpatialSoftmaxCNN,
    "strided": StridedCNN,
    "resnet18": ResNet18,
}


def make_backbone(name: str, shape: tuple[int, int, int]) -> Backbone:
    """A backbone by name.

    Raises:
        ValueError: no backbone has that name.
    """
    if name not in BACKBONES:
        raise ValueError(f"there is no backbone {name!r}; choose from {sorted(BACKBONES)}")
    return BACKBONES[name](shape)


def decoder(size: int, shape: tuple[int, int, int]) -> nn.Module:
    """From latents ``(B, size)`` to images: for looking, and for those that learn by reconstruction."""
    height, width, channels = shape
    small = (-(-height // 8), -(-width // 8))
    return nn.Sequential(
        nn.Linear(size, 64 * small[0] * small[1]),
        nn.ReLU(),
        nn.Unflatten(1, (64, *small)),
        nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(16, channels, 4, stride=2, padding=1),
        _Crop(height, width),
    )


class _Crop(nn.Module):
    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, images: Tensor) -> Tensor:
        return images[..., : self.height, : self.width]
