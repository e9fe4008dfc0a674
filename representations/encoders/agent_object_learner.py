"""Training of the agent–object encoder: its losses, its labels of contact and its first map of the object.

The method, its source and the deviations from it are in `equiact.representations.encoders.agent_object`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from scipy.spatial import cKDTree
from torch import Tensor, nn
from torch.nn import functional

from ...envs.data.transitions import Transitions
from ..learning.contact_labels import contact_information, label_nll, movement_nll
from ..learning.contact_mixture import label_contacts
from ..learning.initial_maps import locate_by_contacts, locate_by_paths
from ..learning.learner import Loss, Stage
from ..learning.object_movement import movement
from ..learning.odometry import Odometry
from ..learning.pair_sampling import PairSampler
from ..learning.segment_geometry import distance_to_segment
from .agent_object import AgentObjectEncoder
from .backbones import SpatialSoftmaxCNN
from .encoder import as_tensor, to_images
from .object_shape_learner import ObjectShapeLearner
from .registry import register_learner

_ENCODED_AT_ONCE = 64


@register_learner(AgentObjectEncoder)
class AgentObjectLearner(nn.Module):
    """Train an `AgentObjectEncoder` on transitions.

    Stage ``agent``: ``minimise E ‖z'_int − z_int − a‖²`` over single steps. Stage ``agent, far``: the same over single
    steps and over many. Stage ``contrast``: InfoNCE of an embedding ``w``. Stage ``locate``:
    ``minimise E ‖z_ext − M·q‖²`` with points ``q`` in the image. Stage ``contact``:
    ``minimise −E log(P p₁ + (1 − P) p₀)`` with the probability of contact ``P = sigmoid((r − d)/s)`` and the densities
    ``p₁`` and ``p₀`` of the movement with contact and without.
    Stages ``orient`` and ``outline``: see `ObjectShapeLearner`.

    Args:
        network: the encoder.
        transitions: frames and displacements; the ground truth is not read.

    Attributes:
        network: the encoder.
        agent: position of the agent in every frame, ``(F, n)``; set before the contrastive stage.
        contact: probability of contact in every transition, ``(N,)``.
        evidence: what the movement alone says of contact (`ContactMixture.evidence`), ``(N,)``.
        target_position: first map of the object, ``(F, n)``.
        shape: learns the outline and the orientation; None if the object is round.

    Raises:
        ValueError: the transitions have another group or image shape than the encoder.
    """

    agent: Tensor
    contact: Tensor
    evidence: Tensor
    target_position: Tensor
    shape: ObjectShapeLearner | None

    def __init__(self, network: AgentObjectEncoder, transitions: Transitions) -> None:
        super().__init__()
        network.require_fitting(transitions)
        self.network = network
        self.config = network.config
        device = next(network.parameters()).device
        trunk = SpatialSoftmaxCNN(network.shape, self.config.contrast.points)
        head = nn.Linear(trunk.features, self.config.contrast.embedding_dim)
        self.embedder = nn.Sequential(trunk, head).to(device)
        self._points = trunk.points
        self._frames = as_tensor(transitions.frames).to(device)
        self._start = as_tensor(transitions.start).to(device)
        self._end = as_tensor(transitions.end).to(device)
        displacement = as_tensor(transitions.displacement).to(device)
        network.unit.copy_(displacement.pow(2).sum(1).mean().sqrt())
        self.odometry = Odometry(transitions, float(network.unit), self.config.odometry, device)
        self._register_labels(len(transitions), len(transitions.frames), device)
        outlined = self.config.has_outline
        self.shape = (
            ObjectShapeLearner(network, self._frames, self._start, self._end, self.agent, self.contact)
            if outlined
            else None
        )

    def _register_labels(self, count: int, frames: int, device: torch.device) -> None:
        dim = self.network.dim
        self.register_buffer("agent", torch.zeros(frames, dim, device=device))
        self.register_buffer("target_position", torch.zeros(frames, dim, device=device))
        self.register_buffer("contact", torch.zeros(count, device=device))
        self.register_buffer("evidence", torch.zeros(count, device=device))

    def stages(self) -> list[Stage]:
        """Return the stages: agent (two), contrast, locate, contact (three; or two, orient, and outline (two))."""
        encoder, optim = self.network, self.config.optim
        agent = [*encoder.agent_trunk.parameters(), *encoder.agent_head.parameters()]
        embedding = list(self.embedder.parameters())
        object_ = [*encoder.object_trunk.parameters(), *encoder.object_head.parameters()]
        size = optim.batch_size

        def contact(name: str, lr: float) -> Stage:
            parameters = [*object_, encoder.outline.coefficients, encoder.log_softness]
            return Stage(name, optim.contact_steps, self.contact_loss, parameters, size, lr, begin=self._label)

        contrast = (self.contrastive_loss, embedding, optim.contrast_batch_size, optim.lr, self._store_agent)
        locate = (self.locating_loss, object_, size, optim.lr, self._locate_by_embedding)
        return [
            Stage("agent", optim.agent_steps, self.agent_loss, agent, size, optim.lr),
            Stage(
                "agent, far", optim.far_agent_steps, self.far_agent_loss, agent, size, optim.lr, self._judge_odometry
            ),
            Stage("contrast", optim.contrast_steps, *contrast),
            Stage("locate", optim.locate_steps, *locate),
            contact("contact", optim.lr),
            contact("contact, again", optim.refinement_lr),
            *(self.shape.stages() if self.shape else [contact("contact, last", optim.refinement_lr)]),
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
        latents = {"agent": self.network.locate_agent(views.images), "step": views.step}
        displacement, first, second = self._pairs.pair(views, latents)
        moved = second["agent"] - first["agent"]
        far = self.odometry.path_error(moved - displacement / unit, second["step"] - first["step"])
        return error + far, {
            "agent_error": error.detach().sqrt() * unit,
            "agent_error_far": far.detach().sqrt() * unit,
            "odometry_bias": self.odometry.bias.norm() * unit,
            "odometry_lag": self.odometry.lag.float(),
            "odometry_noise": self.odometry.noise.sqrt() * unit,
        }

    def _step_error(self, size: int, generator: torch.Generator) -> Tensor:
        chosen = self.odometry.draw(size, generator)
        before, after = self.network.locate_agent(self._images(chosen)).chunk(2)
        return self.odometry.step_error(after - before, chosen)

    def contrastive_loss(self, generator: torch.Generator) -> Loss:
        """Return InfoNCE of the embeddings of the two frames of a transition.

        ``−log softmax_j(−‖w_i − w'_j‖²/τ − ‖z'_i − z'_j‖²/τ_int)`` at ``j = i``.
        """
        contrast = self.config.contrast
        chosen = self._draw_neighbours(self.config.optim.contrast_batch_size, generator)
        before, after = self.embed(self._images(chosen)).chunk(2)
        arrived = self.agent[self._end[chosen]]
        elsewhere = torch.cdist(arrived, arrived).pow(2)
        # −‖w − w'‖² = 2 w·w' − 2 on the sphere
        logits = 2 * before @ after.T / contrast.temperature - elsewhere / contrast.agent_temperature
        loss = functional.cross_entropy(logits, torch.arange(len(chosen), device=logits.device))
        return loss, {}

    def locating_loss(self, generator: torch.Generator) -> Loss:
        """Return ``E ‖z_ext − M·q‖²``, the error of the network from the first map of the object."""
        size = 2 * self.config.optim.batch_size
        chosen = torch.randint(len(self._frames), (size,), generator=generator).to(self._frames.device)
        position = self.network.locate_roughly(self._frame_images(chosen))
        return (position - self.target_position[chosen]).pow(2).sum(1).mean(), {}

    def contact_loss(self, generator: torch.Generator) -> Loss:
        """Return the negative log-likelihood of the movements (`movement_nll`), and the movement without contact.

        ``P(contact) = sigmoid((r − d)/s)``. The identity touches nothing: every last frame of a transition is used as
        one more transition without contact, in which the agent stays where it is.
        """
        chosen = self._draw(self.config.optim.batch_size, generator)
        before, after = self.network.locate_roughly(self._images(chosen)).chunk(2)
        outline, log_softness, evidence = self.network.outline, self.network.log_softness, self.evidence[chosen]
        touching, staying = self._logits(chosen, before, after, outline.coefficients[0], log_softness)
        touch = movement_nll(touching, evidence, self.config.contact.label_error)
        contact = torch.sigmoid(touching + evidence).detach()
        return self._with_rest(touch, contact, after - before, staying), {
            "contacts": self.contact.mean(),
            "radius": outline.radius.detach() * self.network.unit,
            "softness": log_softness.detach().exp() * self.network.unit,
        }

    def label_contacts(self, position: Tensor) -> None:
        """Compute the probability of contact in every transition, with the outline as it is (`label_contacts`).

        Args:
            position: ``(F, n)``, ``z_ext`` of every frame.
        """
        outline, config = self.network.outline, self.config.contact
        moved_by, radius = movement(position, self._start, self._end), outline.radius.detach()
        clearance = distance_to_segment(position[self._start], *self._paths) - radius
        softness = self.network.log_softness.detach().exp().clamp_min(config.min_softness)
        labels = label_contacts(moved_by, clearance, radius, softness, config.mixture)
        self.contact[:], self.evidence[:] = labels.contact, labels.evidence
        self.network.contact_threshold.fill_(labels.threshold)

    def _logits(
        self, chosen: Tensor, before: Tensor, after: Tensor, log_radius: Tensor, log_softness: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the logits of contact of transitions with a round object, and of an agent that stays at their ends.

        Args:
            chosen: ``(B,)``, the transitions.
            before: ``(B, n)``, position of the object at their start.
            after: ``(B, n)``, at their end.
            log_radius: logarithm of the radius of contact, ``()``.
            log_softness: logarithm of the softness, ``()``.
        """
        start, end = self.agent[self._start[chosen]], self.agent[self._end[chosen]]
        radius, softness = log_radius.exp(), log_softness.exp().clamp_min(self.config.contact.min_softness)
        touching = (radius - distance_to_segment(before, start, end)) / softness
        return touching, (radius - distance_to_segment(after, end, end)) / softness

    def _with_rest(self, touch: Tensor, contact: Tensor, moved: Tensor, staying: Tensor) -> Tensor:
        """Return the mean loss: of contact, of the movement of objects that rest, and of an agent that stays.

        Args:
            touch: ``(B,)``, loss of the contact.
            contact: ``(B,)``, its probability.
            moved: ``(B, n)``, movement of the object.
            staying: ``(B,)``, logit of the contact of an agent that stays.
        """
        config = self.config.contact
        rest = (1 - contact) * moved.pow(2).sum(1)
        return (touch + config.still_weight * rest + config.stay_weight * functional.softplus(staying)).mean()

    @torch.no_grad()
    def _judge_odometry(self) -> None:
        """Estimate the errors of the displacements from where the agent is seen; warn if they are late or early."""
        self.odometry.estimate(self._over_frames(self.network.locate_agent), self.config.pairs.longest_trajectory)
        if lag := int(self.odometry.lag):
            warnings.warn(
                f"displacements are recorded {abs(lag)} step(s) too {'late' if lag > 0 else 'early'}, as frames show; "
                "the training takes this into account; where you use the encoder beside displacements, shift them too",
                stacklevel=2,
            )

    @cached_property
    def _pairs(self) -> PairSampler:
        device = self._start.device
        return PairSampler(self.odometry.shifted(), self.config.pairs, self.config.optim.batch_size, device)

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
        points = self.points()
        self.start_from(points, self.find_objects(points)[:, 0])

    def points(self) -> Tensor:
        """Return the points in the image from which the embedding of every frame is computed, ``(F, 2·points)``."""
        return self._over_frames(self._points)

    @torch.no_grad()
    def find_objects(self, points: Tensor, count: int = 1) -> Tensor:
        """Return first maps of objects: those whose places tell most about the movements of the embedding.

        Args:
            points: ``(F, k)``, points in every frame.
            count: ``K``, number of objects.

        Returns:
            ``(F, K, n)`` positions.
        """
        embedding, window = self._over_frames(self.embed), self.config.contact.window
        moved_by = [movement(embedding, self._start, self._end, frames) for frames in (1, window)]
        shares = self.config.contact.initial_shares
        maps = [self._map_by_paths(points, moved_by[-1], share, count) for share in shares]
        start, end = (each[:, None] for each in self._paths)

        def information(position: Tensor) -> float:
            nearest = distance_to_segment(position[self._start], start, end).amin(1)
            return sum(contact_information(each, nearest) for each in moved_by)

        return max(maps, key=information)

    @torch.no_grad()
    def start_from(self, points: Tensor, position: Tensor) -> None:
        """Fit scale and radius of contact of a first map to the likelihood of contact; the network then learns it.

        Probabilities of contact, and positions and a radius that fit to them, are computed in turns.

        Args:
            points: ``(F, k)``, points in every frame.
            position: ``(F, n)``, first map of the object.
        """
        config, outline, softness = self.config.contact, self.network.outline, self.network.log_softness
        everything = torch.arange(len(self._start), device=self._start.device)

        def loss(located: Tensor, log_radius: Tensor, log_softness: Tensor) -> Tensor:
            before, after = located[self._start], located[self._end]
            touching, staying = self._logits(everything, before, after, log_radius, log_softness)
            touch = label_nll(touching, self.contact, config.label_error)
            return self._with_rest(touch, self.contact, after - before, staying)

        for _ in range(config.map_rounds):
            self.label_contacts(position)
            start = position, loss, outline.coefficients[0], softness, config.contact_map
            position, outline.coefficients[0], softness[...] = locate_by_contacts(points, *start)
        self.target_position[:] = position

    def _map_by_paths(self, points: Tensor, moved_by: Tensor, share: float, count: int) -> Tensor:
        """Return first maps: alternate between labels for a share of contacts and positions of the objects."""
        config = self.config.contact
        for _ in range(config.map_rounds):
            contact = moved_by > torch.quantile(moved_by, 1 - share)
            position = locate_by_paths(points, self._start, self._end, *self._paths, contact, config.initial_fit, count)
            moved_by = movement(position.flatten(1), self._start, self._end, config.window)
        return position

    @property
    def _paths(self) -> tuple[Tensor, Tensor]:
        """Return the positions of the agent before and after every transition, ``(N, n)`` each."""
        return self.agent[self._start], self.agent[self._end]

    @torch.no_grad()
    def _label(self) -> None:
        """Label contacts by the positions that the encoder predicts now."""
        self.label_contacts(self._over_frames(self.network.locate_roughly))

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
