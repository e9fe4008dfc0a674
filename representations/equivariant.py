"""The equivariant encoder: a latent in which the agent's displacements are translations, and nothing else moves.

Reichlin, Marchetti, Yin, Ghadirzadeh, Kragic, *Back to the manifold: recovering from out-of-distribution states*, IROS
2022 (arXiv:2207.08673). ``E‖E(o_{t+T}) − E(o_t) − Σ a‖²`` over spans of ``T ∈ {1, 2, 3}`` steps, on exploratory data
that the demonstrations of a task need not cover, and an anchor that puts the origin where episodes start.

Deviations from the paper, and why
----------------------------------
* The sum runs over the displacements that were *performed* (odometry), not the commands: a blocked arm stays.
* The anchor is ``‖mean E(o_0)‖²``, not ``mean ‖E(o_0)‖²``: starts differ by centimetres, which the latent should show.
* Lengths are in units of the data's root-mean-square displacement, so that nothing is tuned by world.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from envs.groups import Translations, group_from_name
from envs.transitions import Transitions, spans
from representations.encoder import Encoder, as_tensor, to_images
from representations.networks import make_backbone
from representations.training import Stage


class EquivariantEncoder(Encoder):
    """Position of the agent, in the units of the displacements, up to one translation.

    Args:
        shape: height, width and channels of the images.
        group: ``"R<n>"``, the translations by which the agent moves.
        backbone: ``"spatial_softmax"``, which suits positions, or ``"resnet18"``.

    Latents: ``agent`` ``(B, n)``.
    """

    def __init__(self, shape: tuple[int, int, int], group: str, backbone: str = "spatial_softmax") -> None:
        super().__init__(shape, group)
        acting = group_from_name(group)
        if not isinstance(acting, Translations):
            raise ValueError(f"the equivariant encoder needs translations ('R2', 'R3', …), got the group {group!r}")
        self.backbone = backbone
        self.dim = acting.dim
        self.trunk = make_backbone(backbone, self.shape)
        self.head = nn.Linear(self.trunk.features, self.dim)
        self.unit: Tensor
        self.register_buffer("unit", torch.ones(()))

    @property
    def latent_dim(self) -> int:
        return self.dim

    def latents(self, images: Tensor) -> dict[str, Tensor]:
        return {"agent": self.head(self.trunk(images)) * self.unit}


class EquivariantLearner(nn.Module):
    """Trains an `EquivariantEncoder` on transitions.

    Args:
        encoder: what to train.
        transitions: frames and displacements; their truths are not read.
        scale: factor on the number of updates.
        horizon: longest span, in steps.

    Raises:
        ValueError: the transitions' group or frames are not the encoder's.
    """

    def __init__(
        self, encoder: EquivariantEncoder, transitions: Transitions, scale: float = 1.0, horizon: int = 3
    ) -> None:
        super().__init__()
        encoder.require_fitting(transitions)
        self.encoder = encoder
        self._scale = scale
        device = next(encoder.parameters()).device
        start, end, displacement = spans(transitions, horizon)
        heads = np.setdiff1d(transitions.start, transitions.end)
        unit = as_tensor(transitions.displacement).pow(2).sum(1).mean().sqrt()
        encoder.unit.copy_(unit)
        self._frames = as_tensor(transitions.frames).to(device)
        self._start, self._end = as_tensor(start).to(device), as_tensor(end).to(device)
        self._displacement = as_tensor(displacement).to(device) / encoder.unit
        self._heads = as_tensor(heads if len(heads) else transitions.start).to(device)

    def stages(self) -> list[Stage]:
        """What to minimise."""
        parameters = list(self.encoder.parameters())
        steps = max(1, round(self._scale * 4000))
        return [Stage("equivariance", steps, lambda generator: self.loss(64, generator), parameters, 64)]

    def loss(self, size: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """``E ‖E(o_{t+T}) − E(o_t) − Σ a‖² + ‖mean E(o_0)‖²``."""
        chosen = self._draw(self._start, size, generator)
        heads = self._heads[self._draw(self._heads, 8, generator)]
        images = to_images(self._frames.index_select(0, torch.cat([self._start[chosen], self._end[chosen], heads])))
        latent = self.encoder.head(self.encoder.trunk(images))
        before, after, first = latent.split([size, size, len(heads)])
        loss = (after - before - self._displacement[chosen]).pow(2).sum(1).mean()
        return loss + 0.1 * first.mean(0).pow(2).sum(), {"error": loss.detach().sqrt() * self.encoder.unit}

    def _draw(self, among: Tensor, size: int, generator: torch.Generator) -> Tensor:
        return torch.randint(len(among), (size,), generator=generator).to(among.device)
