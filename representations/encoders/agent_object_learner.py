"""Training of the agent–object encoder: its losses, its labels of contact and its first map of the object.

The method, its source and the deviations from it are in `equiact.representations.encoders.agent_object`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from scipy.spatial import cKDTree
from torch import Tensor, nn
from torch.nn import functional

from ...envs.data.transitions import Transitions
from ..learning.contact_labels import UNCERTAIN, contact_information, moved_beyond_noise, robust_bce
from ..learning.initial_maps import locate_by_paths, orient_by_contacts
from ..learning.learner import Loss, Stage
from ..learning.object_movement import movement
from ..learning.pair_sampling import PairSampler
from ..learning.segment_geometry import distance_to_segment, whiten_ellipse
from .agent_object import AgentObjectEncoder
from .backbones import make_backbone
from .encoder import as_tensor, to_images
from .registry import register_learner

_ENCODED_AT_ONCE = 64


@register_learner(AgentObjectEncoder)
class AgentObjectLearner(nn.Module):
    """Train an `AgentObjectEncoder` on transitions.

    Stage ``agent``: ``minimise E ‖z'_int − z_int − a‖²`` over single steps. Stage ``agent, far``: the same over single
    steps and over many. Stage ``contrast``: InfoNCE of an embedding ``w``. Stage ``locate``:
    ``minimise E ‖z_ext − M·q(w)‖²``. Stage ``contact``: ``minimise −E log P(contact label)`` with
    ``P(contact) = sigmoid((r − d)/s)``.

    Args:
        network: the encoder.
        transitions: frames and displacements; the ground truth is not read.

    Attributes:
        network: the encoder.
        agent: position of the agent in every frame, ``(F, n)``; set before the contrastive stage.
        contact: label of every transition, ``(N,)``: 1 contact, 0 none, ½ uncertain.
        target_position: first map of the object, ``(F, n)``.
        target_orientation: first map of its orientation, ``(F, 2)``, if it is elongated.

    Raises:
        ValueError: the transitions have another group or image shape than the encoder.
    """

    agent: Tensor
    contact: Tensor
    target_position: Tensor
    target_orientation: Tensor
    has_orientation: Tensor

    def __init__(self, network: AgentObjectEncoder, transitions: Transitions) -> None:
        super().__init__()
        network.require_fitting(transitions)
        self.network = network
        self.config = network.config
        trunk = make_backbone(self.config.backbone, network.shape)
        device = next(network.parameters()).device
        head = nn.Linear(trunk.features, self.config.contrast.embedding_dim)
        self.embedder = nn.Sequential(trunk, head).to(device)
        self._frames = as_tensor(transitions.frames).to(device)
        self._start = as_tensor(transitions.start).to(device)
        self._end = as_tensor(transitions.end).to(device)
        displacement = as_tensor(transitions.displacement).to(device)
        network.unit.copy_(displacement.pow(2).sum(1).mean().sqrt())
        self._displacement = displacement / network.unit
        self._pairs = PairSampler(transitions, self.config.pairs, self.config.optim.batch_size, device)
        self._register_labels(len(transitions), len(transitions.frames), device)

    def _register_labels(self, count: int, frames: int, device: torch.device) -> None:
        dim, elongated = self.network.dim, self.config.elongated
        self.register_buffer("agent", torch.zeros(frames, dim, device=device))
        self.register_buffer("target_position", torch.zeros(frames, dim, device=device))
        self.register_buffer("target_orientation", torch.zeros(frames, 2 * elongated, device=device))
        self.register_buffer("has_orientation", torch.zeros((), device=device))
        self.register_buffer("contact", torch.full((count,), UNCERTAIN, device=device))

    def stages(self) -> list[Stage]:
        """Return the stages: agent (two), contrast, locate, contact, refinement, orient if elongated, refinement."""
        encoder, optim = self.network, self.config.optim
        agent = [*encoder.agent_trunk.parameters(), *encoder.agent_head.parameters()]
        embedding = list(self.embedder.parameters())
        object_ = [*encoder.object_trunk.parameters(), *encoder.object_head.parameters()]
        size = optim.batch_size

        def contact(name: str, lr: float) -> Stage:
            parameters = [*object_, encoder.log_radii, encoder.log_softness]
            return Stage(name, optim.contact_steps, self.contact_loss, parameters, size, lr, begin=self._label)

        def locate(name: str, steps: int, begin: Callable[[], None]) -> Stage:
            return Stage(name, steps, self.locating_loss, object_, size, optim.lr, begin)

        contrast = (self.contrastive_loss, embedding, optim.contrast_batch_size, optim.lr, self._store_agent)
        orient = locate("orient", optim.orient_steps, self._orient_by_embedding)
        return [
            Stage("agent", optim.agent_steps, self.agent_loss, agent, size, optim.lr),
            Stage("agent, far", optim.far_agent_steps, self.far_agent_loss, agent, size, optim.lr),
            Stage("contrast", optim.contrast_steps, *contrast),
            locate("locate", optim.locate_steps, self._locate_by_embedding),
            contact("contact", optim.lr),
            contact("contact, again", optim.refinement_lr),
            *([orient] if self.config.elongated else []),
            contact("contact, last", optim.refinement_lr),
        ]

    def embed(self, images: Tensor) -> Tensor:
        """Return the contrastive embedding ``w`` of the state of the object, ``(B, k)`` on the sphere."""
        return functional.normalize(self.embedder(images), dim=1)

    def agent_loss(self, generator: torch.Generator) -> Loss:
        """Return ``E ‖z'_int − z_int − a‖²`` over single steps."""
        error = self._step_error(self.config.optim.batch_size, generator)
        return error, {"agent_error": error.detach().sqrt() * self.network.unit}

    def far_agent_loss(self, generator: torch.Generator) -> Loss:
        """Return ``E ‖z'_int − z_int − a‖²`` over single steps, plus the same between distant frames of a trajectory.

        Half of the images belong to single steps.
        """
        error, unit = self._step_error((self.config.optim.batch_size + 1) // 2, generator), self.network.unit
        views = self._pairs.draw(generator)
        moved, first, second = self._pairs.pair(views, {"agent": self.network.locate_agent(views.images)})
        far = (second["agent"] - first["agent"] - moved / unit).pow(2).sum(1).mean()
        return error + far, {
            "agent_error": error.detach().sqrt() * unit,
            "agent_error_far": far.detach().sqrt() * unit,
        }

    def _step_error(self, size: int, generator: torch.Generator) -> Tensor:
        chosen = self._draw(size, generator)
        before, after = self.network.locate_agent(self._images(chosen)).chunk(2)
        return (after - before - self._displacement[chosen]).pow(2).sum(1).mean()

    def contrastive_loss(self, generator: torch.Generator) -> Loss:
        """Return InfoNCE of the embeddings of the two frames of a transition.

        ``−log softmax_j(−‖w_i − w'_j‖²/τ − ‖z_i + a_i − z'_j‖²/τ_int)`` at ``j = i``.
        """
        contrast = self.config.contrast
        chosen = self._draw_neighbours(self.config.optim.contrast_batch_size, generator)
        before, after = self.embed(self._images(chosen)).chunk(2)
        arrived = self.agent[self._start[chosen]] + self._displacement[chosen]
        elsewhere = torch.cdist(arrived, self.agent[self._end[chosen]]).pow(2)
        # −‖w − w'‖² = 2 w·w' − 2 on the sphere
        logits = 2 * before @ after.T / contrast.temperature - elsewhere / contrast.agent_temperature
        loss = functional.cross_entropy(logits, torch.arange(len(chosen), device=logits.device))
        return loss, {}

    def locating_loss(self, generator: torch.Generator) -> Loss:
        """Return ``E ‖z_ext − M·q(w)‖²``, the error of the network from the first map of the object.

        The first map of the orientation is added once `orient_by_contacts` has found it.
        """
        size = 2 * self.config.optim.batch_size
        chosen = torch.randint(len(self._frames), (size,), generator=generator).to(self._frames.device)
        position, orientation = self.network.locate_object(self._frame_images(chosen))
        error = (position - self.target_position[chosen]).pow(2).sum(1)
        if orientation is not None:
            turned = (orientation - self.target_orientation[chosen]).pow(2).sum(1)
            error = error + self.has_orientation * turned
        return error.mean(), {}

    def contact_loss(self, generator: torch.Generator) -> Loss:
        """Return the negative log-likelihood of the labels of contact, and the movement of objects without contact.

        ``P(contact) = sigmoid((r − d)/s)``. The identity touches nothing: every last frame of a transition is used as
        one more transition without contact, in which the agent stays where it is.
        """
        chosen = self._draw(self.config.optim.batch_size, generator)
        position, orientation = self.network.locate_object(self._images(chosen))
        state = position if orientation is None else torch.cat([position, self.has_orientation * orientation], 1)
        before, after = state.chunk(2)
        loss = self._contact_nll(chosen, before, after, self.network.log_radii, self.network.log_softness)
        return loss, {
            "contacts": (self.contact == 1).float().mean(),
            "uncertain": (self.contact == UNCERTAIN).float().mean(),
            "radius": self.network.radii.max(),
            "softness": self.network.log_softness.detach().exp() * self.network.unit,
        }

    def label_contacts(self, position: Tensor) -> None:
        """Label as contacts the transitions in which the object moves more than the noise of its position.

        The noise is measured where the agent moves away from the object, within 60° of straight away by default: that
        leaves room for an error of ``z_ext``, and for the ends of a long object.

        Args:
            position: ``(F, n)``, ``z_ext`` of every frame.
        """
        config = self.config.contact
        moved_by = movement(position, self._start, self._end)
        start, end = self._paths
        away = functional.cosine_similarity(end - start, start - position[self._start], dim=1) > config.away_cosine
        quantiles = config.still_quantile, config.moved_quantile
        labels = moved_beyond_noise(moved_by, moved_by[away], quantiles, config.false_discovery_rate)
        self.contact[:], threshold = labels
        self.contact[away & (self.contact == 1)] = UNCERTAIN
        self.network.contact_threshold.fill_(threshold)

    def _contact_nll(
        self, chosen: Tensor, before: Tensor, after: Tensor, log_radii: Tensor, log_softness: Tensor
    ) -> Tensor:
        """Return the loss of the chosen transitions for an object in these states before and after."""
        config = self.config.contact
        contact = (self.contact[chosen] == 1).float()
        still = (self.contact[chosen] == 0).float()
        start, end = self.agent[self._start[chosen]], self.agent[self._end[chosen]]
        path = torch.cat([start, end]), torch.cat([end, end])
        logit, identity = self._contact_logit(torch.cat([before, after]), *path, log_radii, log_softness).chunk(2)
        wrong = config.label_error
        touch = contact * robust_bce(logit, wrong) + still * robust_bce(-logit, wrong)
        moved = (after - before).pow(2).sum(1)
        return (touch + config.still_weight * still * moved + config.stay_weight * functional.softplus(identity)).mean()

    def _contact_logit(
        self, state: Tensor, start: Tensor, end: Tensor, log_radii: Tensor, log_softness: Tensor
    ) -> Tensor:
        """Return ``(r − d)/s``, positive where the segment meets the ellipse of the object."""
        centre, orientation = state[:, : self.network.dim], state[:, self.network.dim :]
        radii = log_radii.exp()
        to_start, to_end = start - centre, end - centre
        if self.config.elongated:
            to_start, to_end = (whiten_ellipse(point, orientation, radii) for point in (to_start, to_end))
        else:
            to_start, to_end = to_start / radii, to_end / radii
        distance = distance_to_segment(torch.zeros_like(centre), to_start, to_end)
        softness = log_softness.exp().clamp_min(self.config.contact.min_softness)
        return (1 - distance) * log_radii.mean().exp() / softness

    @torch.no_grad()
    def _store_agent(self) -> None:
        """Store the position of the agent in every frame, and move the origin to its mean.

        No loss says where the origin is. At a random place it can be so far away that the network of the object needs
        all its updates to reach it.
        """
        agent = self._over_frames(self.network.locate_agent)
        self.network.agent_head.bias.sub_(agent.mean(0))
        self.agent[:] = agent - agent.mean(0)

    @torch.no_grad()
    def _locate_by_embedding(self) -> None:
        """Find the first map of the object: the one whose place tells most about the movements of the embedding."""
        embedding, window = self._over_frames(self.embed), self.config.contact.window
        moved_by = [movement(embedding, self._start, self._end, frames) for frames in (1, window)]
        maps = [self._map_by_paths(embedding, moved_by[-1], share) for share in self.config.contact.initial_shares]

        def information(position: Tensor) -> float:
            distance = distance_to_segment(position[self._start], *self._paths)
            return sum(contact_information(each, distance) for each in moved_by)

        self.target_position[:] = max(maps, key=information)

    def _map_by_paths(self, embedding: Tensor, moved_by: Tensor, share: float) -> Tensor:
        """Return a first map: alternate between labels for a share of contacts and positions of the object."""
        config = self.config.contact
        for _ in range(config.map_rounds):
            contact = moved_by > torch.quantile(moved_by, 1 - share)
            position = locate_by_paths(embedding, self._start, self._end, *self._paths, contact, config.initial_fit)
            moved_by = movement(position, self._start, self._end, config.window)
        return position

    @property
    def _paths(self) -> tuple[Tensor, Tensor]:
        """Return the positions of the agent before and after every transition, ``(N, n)`` each."""
        return self.agent[self._start], self.agent[self._end]

    @torch.no_grad()
    def _label(self) -> None:
        """Label contacts by the positions that the encoder predicts now."""
        self.label_contacts(self._over_frames(lambda images: self.network.locate_object(images)[0]))

    @torch.no_grad()
    def _orient_by_embedding(self) -> None:
        """Find the orientation and both radii that explain the contacts, given the positions of the object."""
        self._label()
        self.target_position[:] = self._over_frames(lambda images: self.network.locate_object(images)[0])
        everything = torch.arange(len(self._start), device=self._start.device)

        def loss(orientation: Tensor, log_radii: Tensor, log_softness: Tensor) -> Tensor:
            state = torch.cat([self.target_position, orientation], 1)
            return self._contact_nll(everything, state[self._start], state[self._end], log_radii, log_softness)

        radius = self.network.log_radii.mean().exp()
        found = orient_by_contacts(self._over_frames(self.embed), loss, radius, self.config.contact.orientation)
        self.target_orientation[:], self.network.log_radii[:], self.network.log_softness[...] = found
        self.target_orientation[:] = functional.normalize(self.target_orientation, dim=1)
        self.has_orientation.fill_(1.0)  # the contact stages before took the object to be round

    @torch.no_grad()
    def _over_frames(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Return a function of all frames, in evaluation mode."""
        was_training = self.training
        self.eval()
        result = torch.cat([function(to_images(part)) for part in torch.split(self._frames, _ENCODED_AT_ONCE)])
        self.train(was_training)
        return result

    def _draw(self, size: int, generator: torch.Generator) -> Tensor:
        return torch.randint(len(self._start), (size,), generator=generator).to(self._start.device)

    def _draw_neighbours(self, size: int, generator: torch.Generator) -> Tensor:
        """Return groups of transitions whose agents end close to each other: a random half of each neighbourhood."""
        groups, ends = self.config.contrast.groups_per_batch, self._neighbours.data
        centres = torch.randint(len(ends), (groups,), generator=generator)
        each = size // groups
        count = min(2 * each, len(ends))
        _, near = self._neighbours.query(ends[centres.numpy()], k=count)
        picks = [torch.from_numpy(row)[torch.randperm(count, generator=generator)[:each]] for row in near]
        return torch.cat(picks).to(self._start.device)

    @cached_property
    def _neighbours(self) -> Any:
        return cKDTree(self.agent[self._end].cpu().numpy())

    def _images(self, chosen: Tensor) -> Tensor:
        return self._frame_images(torch.cat([self._start[chosen], self._end[chosen]]))

    def _frame_images(self, index: Tensor) -> Tensor:
        return to_images(self._frames.index_select(0, index))  # several times faster than indexing with []
