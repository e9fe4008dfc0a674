"""Image decoders: latents ``(B, size)`` to images ``(B, C, H, W)``."""

from __future__ import annotations

from torch import Tensor, nn


def decoder(size: int, shape: tuple[int, int, int]) -> nn.Module:
    """Return a network from latents to images, for visualisation and for learning by reconstruction.

    Args:
        size: coordinates of the latent.
        shape: height, width and channels of the images.
    """
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
    """Cut images to a size."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, images: Tensor) -> Tensor:
        return images[..., : self.height, : self.width]
