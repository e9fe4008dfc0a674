"""Training of the orientation and the outline of an object of any shape.

The method is described in `equiact.representations.encoders.agent_object`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..learning.contact_labels import label_nll
from ..learning.learner import Loss, Stage
from ..learning.rest_intervals import interval_means, rest_intervals
from ..learning.ring import ring_angles
from ..learning.shape_fit import OutlineFit, Paths, align_orientation, fit_outline, mirror
from .agent_object import AgentObjectEncoder
from .encoder import to_images
from .glimpse import background_changes, fit_camera

_AT_ONCE = 64
_BACKGROUND_FRAMES = 500
"""Frames of which the median is taken for the background."""


class ObjectShapeLearner(nn.Module):
    """Learn how an object is turned and where its edge is, when its position is roughly known.

    Stage ``orient``: ``minimise E ‖z_ext − z̄‖² + ‖o − ō‖²``, where ``z̄`` is the mean position over an interval in which
    the object rests, and ``ō`` the angle of its image on the ring of all such images. Stages ``outline``: ``minimise
    −E log P(contact) + ‖Δz_ext‖² + ‖Δo‖²`` (the last two without contact) and the loss of the stage before, where
    ``P(contact) = sigmoid(−d/s)`` and ``d`` is the clearance of the agent's path from the outline.

    Args:
        network: the encoder.
        frames: all frames, ``(F, H, W, C)``.
        start: ``(N,)``, index of the first frame of each transition.
        end: ``(N,)``, index of its last frame.
        agent: ``(F, 2)``, position of the agent in every frame; read when the stages begin.
        round_contact: ``(N,)``, probability of contact with a round object; read when the stages begin.

    Attributes:
        rough: position in every frame as the whole image tells it, ``(F, 2)``.
        target: mean position while the object rests, and its orientation on the ring, ``(F, 4)``.
        known: frames whose target is known, ``(F,)``.
        contact: probability of contact in every transition, ``(N,)``.
    """

    rough: Tensor
    target: Tensor
    known: Tensor
    contact: Tensor

    def __init__(
        self,
        network: AgentObjectEncoder,
        frames: Tensor,
        start: Tensor,
        end: Tensor,
        agent: Tensor,
        round_contact: Tensor,
    ) -> None:
        super().__init__()
        self._encoder = (network,)  # in a tuple, since its parameters belong to the learner that holds this one
        self.config = network.config
        self._frames, self._start, self._end = frames, start, end
        self._agent, self._round_contact = agent, round_contact
        device = frames.device
        self.register_buffer("rough", torch.zeros(len(frames), 2, device=device))
        self.register_buffer("target", torch.zeros(len(frames), 4, device=device))
        self.register_buffer("known", torch.zeros(len(frames), dtype=torch.bool, device=device))
        self.register_buffer("contact", torch.zeros(len(start), device=device))

    @property
    def network(self) -> AgentObjectEncoder:
        """The encoder."""
        return self._encoder[0]

    def stages(self) -> list[Stage]:
        """Return the stages: orient, outline (two)."""
        encoder, optim = self.network, self.config.optim
        look = [*encoder.glimpse.parameters(), *encoder.glimpse_head.parameters()]
        edge = [*encoder.outline.parameters(), encoder.log_softness]
        size = optim.batch_size

        def outline(name: str, begin: Callable[[], None]) -> Stage:
            return Stage(name, optim.outline_steps, self.outline_loss, [*look, *edge], size, optim.outline_lr, begin)

        return [
            Stage("orient", optim.orient_steps, self.orienting_loss, look, size, optim.orient_lr, self._find_ring),
            outline("outline", self._find_outline),
            outline("outline, again", self._refine_outline),
        ]

    def orienting_loss(self, generator: torch.Generator) -> Loss:
        """Return ``E ‖z_ext − z̄‖² + ‖o − ō‖²`` of frames in which both are known.

        The crops are shifted at random: the position that places them is rough.
        """
        known = self.known.nonzero()[:, 0]
        size = 2 * self.config.optim.batch_size
        chosen = known[torch.randint(len(known), (size,), generator=generator).to(known.device)]
        shift = torch.randn(size, 2, generator=generator).to(known.device) * self._crop_error
        state = self._state(chosen, shift)
        return (state - self.target[chosen]).pow(2).sum(1).mean(), {}

    def outline_loss(self, generator: torch.Generator) -> Loss:
        """Return the negative log-likelihood of contact, and the movement of objects without contact.

        The loss of the stage before is added with a small weight: few contacts tell an angle, and without it an object
        that never turns has the lower loss. Half of the transitions are drawn at random. The other half are probable
        contacts, and are weighted by their share, so that the mean is that over all transitions.
        """
        encoder, config, fit = self.network, self.config.contact, self.config.shape.fit
        encoder.glimpse.eval()  # batch normalisation keeps the statistics of all frames: half of these touch
        chosen, weight = self._draw(generator)
        state = self._state(torch.cat([self._start[chosen], self._end[chosen]]))
        before, after = state.chunk(2)
        path = self._paths(chosen, before)
        clearance = encoder.outline.clearance(path.start, path.end, path.orientation)
        softness = encoder.log_softness.exp() + fit.min_softness
        contact = self.contact[chosen]
        moved = (after - before).pow(2).sum(1)
        touch = label_nll(-clearance / softness, contact, fit.label_error)
        loss = (weight * (touch + config.still_weight * (1 - contact) * moved)).mean()
        loss = loss + self.config.shape.anchor * self.orienting_loss(generator)[0]
        return loss + fit.roughness * encoder.outline.roughness(), {
            "contacts": self.contact.mean(),
            "radius": encoder.outline.radius.detach() * encoder.unit,
            "softness": softness.detach() * encoder.unit,
        }

    def _draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return transitions, of which half are probable contacts, and their weights, whose mean is about one."""
        size, device = self.config.optim.batch_size, self.contact.device
        likely = (self.contact > 0.5).nonzero()[:, 0]
        anywhere = torch.randint(len(self.contact), (size - size // 2,), generator=generator).to(device)
        touching = likely[torch.randint(len(likely), (size // 2,), generator=generator).to(device)]
        chosen = torch.cat([anywhere, touching])
        share = len(likely) / len(self.contact)
        # Of all draws, those of probable contacts have the density ½ + ½/share, the others ½.
        weight = torch.where(self.contact[chosen] > 0.5, 2 / (1 + 1 / share), 2.0)
        return chosen, weight

    def _state(self, frame: Tensor, shift: Tensor | None = None) -> Tensor:
        """Return position and orientation in some frames, ``(B, 4)``, in the units of the data."""
        rough = self.rough[frame] if shift is None else self.rough[frame] + shift
        return torch.cat(self.network.look(to_images(self._frames.index_select(0, frame)), rough), 1)

    def _paths(self, chosen: Tensor, before: Tensor) -> Paths:
        """Return transitions as an object in these states sees them; the movement is that of `contact` (unset)."""
        position, orientation = before.chunk(2, 1)
        start, end = (self._agent[index[chosen]] - position for index in (self._start, self._end))
        return Paths(start, end, orientation, torch.zeros_like(start[:, 0]))

    @property
    def _crop_error(self) -> float:
        """Standard deviation of the random shifts of crops: a sixth of the radius of contact."""
        return float(self.network.outline.radius) / 6

    @torch.no_grad()
    def _find_ring(self) -> None:
        """Find where the object is in the image, and its angle while it rests: that of its image on a ring."""
        encoder, shape = self.network, self.config.shape
        self.rough[:] = self._over_frames(lambda frame: encoder.locate_roughly(self._images(frame)))
        background = self._background()
        some = torch.linspace(0, len(self._frames) - 1, min(len(self._frames), 4000)).long().to(self.rough.device)
        changes = torch.cat([self._changes(part, background) for part in torch.split(some, _AT_ONCE)])
        camera = fit_camera(changes, self._agent[some], self.rough[some])
        encoder.glimpse.camera[:] = camera
        scale = torch.linalg.det(camera[:, :2]).abs().sqrt()
        encoder.glimpse.half_width[...] = shape.crop_width * encoder.outline.radius * scale
        interval = rest_intervals(self._start, self._end, self._round_contact < shape.rest_below, len(self._frames))
        position = interval_means(self.rough, interval)
        length = torch.bincount(interval)
        longest = length.argsort(descending=True, stable=True)[: shape.intervals]
        longest = longest[length[longest] > 1]
        crops = torch.stack([self._resting_crop(interval, each, position, background) for each in longest])
        angle, _ = ring_angles(crops.flatten(1).double().cpu().numpy(), shape.neighbours)
        angles = torch.as_tensor(angle, dtype=self.target.dtype, device=self.target.device)
        row = torch.full_like(length, -1)
        row[longest] = torch.arange(len(longest), device=row.device)
        row = row[interval]
        self.known[:] = row >= 0
        orientation = torch.stack([angles.cos(), angles.sin()], 1)
        self.target[:] = torch.cat([position[interval], orientation[row.clamp_min(0)]], 1)

    def _resting_crop(self, interval: Tensor, chosen: Tensor, position: Tensor, background: Tensor) -> Tensor:
        """Return the crop of what differs from the background, the median over an interval, ``(1, side, side)``."""
        frame = (interval == chosen).nonzero()[:, 0]
        count = self.config.shape.frames_per_interval
        frame = frame[torch.linspace(0, len(frame) - 1, min(count, len(frame))).long().to(frame.device)]
        still = self._changes(frame, background).median(0).values[None, None]
        return self.network.glimpse.crop(still, position[chosen][None])[0]

    def _background(self) -> Tensor:
        """Return the median image, ``(C, H, W)``."""
        some = torch.linspace(0, len(self._frames) - 1, min(len(self._frames), _BACKGROUND_FRAMES)).long()
        return self._images(some.to(self._frames.device)).median(0).values

    def _changes(self, frame: Tensor, background: Tensor) -> Tensor:
        """Return by how much frames differ from the background, ``(B, H, W)``."""
        return background_changes(self._images(frame), background)

    @torch.no_grad()
    def _find_outline(self) -> None:
        """Find order, direction and outline by the contacts; turn the orientations in this direction."""
        encoder, shape = self.network, self.config.shape
        state = self._over_frames(self._state)
        paths = self._all_paths(state)
        start = encoder.outline, encoder.log_softness, paths
        aligned = align_orientation(*start, shape.largest_order, shape.fit)
        if aligned.evidence < shape.least_evidence:
            warnings.warn(
                f"contacts do not tell how the object is turned ({aligned.evidence:.1f} standard errors, expected at "
                f"least {shape.least_evidence:g}): it may be round, or there are too few contacts; do not use the "
                "orientation, or train with object_shape='round'",
                stacklevel=2,
            )
        encoder.outline.order.fill_(aligned.order)
        if aligned.mirrored:
            encoder.glimpse_head.weight[3] *= -1
            encoder.glimpse_head.bias[3] *= -1
            self.target[:, 2:] = mirror(self.target[:, 2:])
            paths = paths._replace(orientation=mirror(paths.orientation))
        self._take(fit_outline(encoder.outline, encoder.log_softness, paths, shape.fit))

    @torch.no_grad()
    def _refine_outline(self) -> None:
        """Fit the outline and the labels of contact again, in the states that the encoder predicts now."""
        encoder = self.network
        paths = self._all_paths(self._over_frames(self._state))
        self._take(fit_outline(encoder.outline, encoder.log_softness, paths, self.config.shape.fit))

    def _take(self, fit: OutlineFit) -> None:
        encoder = self.network
        encoder.outline.load_state_dict(fit.outline.state_dict())
        encoder.log_softness.copy_(fit.log_softness)
        encoder.contact_threshold.fill_(fit.threshold)
        self.contact[:] = fit.contact

    def _all_paths(self, state: Tensor) -> Paths:
        """Return all transitions as an object in these states ``(F, 4)`` sees them."""
        everything = torch.arange(len(self._start), device=self._start.device)
        moved = state[self._end] - state[self._start]
        arm = self.network.outline.radius / self.network.outline.order
        moved_by = (moved[:, :2].pow(2).sum(1) + arm**2 * moved[:, 2:].pow(2).sum(1)).sqrt()
        return self._paths(everything, state[self._start])._replace(moved_by=moved_by)

    def _over_frames(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Return a function of all frames, given their indices, in evaluation mode."""
        was_training = self.network.training
        self.network.eval()
        frames = torch.arange(len(self._frames), device=self._frames.device)
        result = torch.cat([function(part) for part in torch.split(frames, _AT_ONCE)])
        self.network.train(was_training)
        return result

    def _images(self, frame: Tensor) -> Tensor:
        return to_images(self._frames.index_select(0, frame))
