"""The agent–object encoder: where an agent is, and where the thing it touches is, from pixels and displacements.

Reichlin, Marchetti, Yin, Varava, Kragic, *Learning geometric representations of objects via interaction*, ECML 2023
(arXiv:2309.05346). A scene holds an agent and one object. The agent moves by a known displacement ``a``; the object
moves only when the agent meets it, by dynamics that nobody states. If

1. ``z'_int = z_int + a``,
2. the representation is injective, and
3. ``z_ext`` changes exactly when it is met on the segment from ``z_int`` to ``z_int + a``,

then ``(z_int, z_ext)`` are the true positions up to one common translation.

Deviations from the paper, and why
----------------------------------
* **Stages instead of one sum of losses**: agent, contrast, locate, contact; orient too, if the object is elongated.
  Each needs what the one before it yields, and one after the other there are no loss weights to balance.
* **Hard negatives.** The contrast between scenes is drawn among transitions whose agents end at nearly the same place
  (and, as in the paper's pseudo-code, the agent's distance is added for the others), so that the embedding gains
  nothing from encoding the agent.
* **Contact is decided on the whole data set**, not by Otsu's threshold in each batch, which jumps from batch to batch
  and, over all data, takes noise for moves. At first a fixed share of the transitions counts, those whose ``w`` moves
  most; then ``z_ext`` itself tells, whose noise is known from the transitions in which the agent draws back from the
  object (`moved_beyond_noise`): they see it from as near as the others, and cannot touch it. What is uncertain is left
  out.
* **A first map by least squares.** One in five of the first contacts is wrong, and a network that is pulled to the
  agent's paths learns to follow the agent. The first ``z_ext`` is a quadratic function of ``w`` instead, fitted to all
  data at once under a heavy-tailed likelihood (`locate_by_paths`), from which the network then learns.
* **A likelihood of contact** replaces the pull to the nearest point of the segment. Things have a size: the agent
  touches the object a radius away from its centre, ``P(contact) = sigmoid((r - d) / s)`` with ``d`` the distance of
  ``z_ext`` to the segment, and both ``r`` and ``s`` are learned. Transitions without contact teach as much as those
  with it, and the identity, which never touches, is one of them at every frame. The published loss shrinks ``z_ext`` by
  several per cent; this one does not. One label in a hundred may be wrong (`surprise`).
* **An elongated object** has two radii and a predicted angle θ; ``d`` is then measured after the linear map that makes
  its ellipse round. This is where the paper's covariance ``R(θ)ᵀ diag(σ₁², σ₂²) R(θ)`` went. Its orientation, too,
  begins as a quadratic function of ``w`` that explains all contacts at once (`orient_by_contacts`): by batches, the
  network finds none.
* A trunk each for agent, embedding and object: with a shared one the outcome depends on how their losses are weighted.

All lengths in the losses are in units of the data's root-mean-square displacement, so that nothing is tuned by world.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from scipy.spatial import cKDTree
from torch import Tensor, nn
from torch.nn import functional

from envs.groups import Translations, group_from_name
from envs.transitions import Transitions
from representations.contact import (
    distance_to_segment,
    locate_by_paths,
    moved_beyond_noise,
    orient_by_contacts,
    rounded,
    surprise,
)
from representations.encoder import Encoder, as_tensor, to_images
from representations.networks import make_backbone
from representations.training import Stage

SURE_CONTACTS = 0.2
"""Share of the transitions, those whose embedding moves most, that the first map takes for contacts.

Precision matters more than recall there. Data in which fewer transitions meet the object want a policy that seeks it.
"""


class AgentObjectEncoder(Encoder):
    """Positions of the agent and of the object, in the units of the displacements.

    Args:
        shape: height, width and channels of the images.
        group: ``"R<n>"``, the translations by which the agent moves.
        backbone: ``"spatial_softmax"``, which suits positions, or ``"resnet18"``.
        elongated: whether to learn the object's volume and orientation too (in the plane, ``"R2"``).

    Latents: ``agent`` ``(B, n)``, ``object`` ``(B, n)`` and, if elongated, ``orientation`` ``(B, 2)``:
    ``(cos 2θ, sin 2θ)`` of the long axis, which has no direction.
    """

    def __init__(
        self, shape: tuple[int, int, int], group: str, backbone: str = "spatial_softmax", elongated: bool = False
    ) -> None:
        super().__init__(shape, group)
        acting = group_from_name(group)
        if not isinstance(acting, Translations):
            raise ValueError(f"the agent-object encoder needs translations ('R2', 'R3', …), got the group {group!r}")
        if elongated and group != "R2":
            raise ValueError(f"an elongated object's orientation is learned in the plane, 'R2', got {group!r}")
        self.backbone, self.elongated = backbone, elongated
        self.dim = acting.dim
        self.agent_trunk = make_backbone(backbone, self.shape)
        self.agent_head = nn.Linear(self.agent_trunk.features, self.dim)
        self.object_trunk = make_backbone(backbone, self.shape)
        self.object_head = nn.Linear(self.object_trunk.features, self.dim + 2 * elongated)
        self.log_radii = nn.Parameter(torch.full((1 + elongated,), math.log(0.6)))
        self.log_softness = nn.Parameter(torch.tensor(math.log(0.2)))
        self.unit: Tensor
        self.contact_threshold: Tensor
        self.register_buffer("unit", torch.ones(()))
        self.register_buffer("contact_threshold", torch.ones(()))

    @property
    def latent_dim(self) -> int:
        return 2 * self.dim + 2 * self.elongated

    @property
    def radii(self) -> Tensor:
        """Learned distance of contact, agent's and object's radius together: along the long axis, and across it."""
        return self.log_radii.detach().exp() * self.unit

    def latents(self, images: Tensor) -> dict[str, Tensor]:
        position, orientation = self.locate_object(images)
        latents = {"agent": self.locate_agent(images) * self.unit, "object": position * self.unit}
        if orientation is not None:
            latents["orientation"] = orientation
        return latents

    def locate_agent(self, images: Tensor) -> Tensor:
        """``z_int`` in units of `unit`, ``(B, dim)``."""
        position: Tensor = self.agent_head(self.agent_trunk(images))
        return position

    def locate_object(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """``z_ext`` in units of `unit`, ``(B, dim)``, and its orientation ``(cos 2θ, sin 2θ)`` if it is elongated."""
        output = self.object_head(self.object_trunk(images))
        if not self.elongated:
            return output, None
        return output[:, : self.dim], functional.normalize(output[:, self.dim :], dim=1)


class AgentObjectLearner(nn.Module):
    """Trains an `AgentObjectEncoder` on transitions; holds what is known of every transition in buffers.

    Args:
        encoder: what to train.
        transitions: frames and displacements; their truths are not read.
        scale: factor on the number of updates of every stage.

    Raises:
        ValueError: the transitions' group or frames are not the encoder's.
    """

    def __init__(self, encoder: AgentObjectEncoder, transitions: Transitions, scale: float = 1.0) -> None:
        super().__init__()
        encoder.require_fitting(transitions)
        self.encoder = encoder
        trunk = make_backbone(encoder.backbone, encoder.shape)
        device = next(encoder.parameters()).device
        self.embedder = nn.Sequential(trunk, nn.Linear(trunk.features, 8)).to(device)
        self._frames = as_tensor(transitions.frames).to(device)
        self._start = as_tensor(transitions.start).to(device)
        self._end = as_tensor(transitions.end).to(device)
        displacement = as_tensor(transitions.displacement).to(device)
        encoder.unit.copy_(displacement.pow(2).sum(1).mean().sqrt())
        self._displacement = displacement / encoder.unit
        self._scale = scale
        count, frames = len(transitions), len(transitions.frames)
        self.agent: Tensor
        self.target: Tensor
        self.orientation: Tensor
        self.moved_by: Tensor
        self.contact: Tensor
        self.register_buffer("agent", torch.zeros(frames, encoder.dim, device=device))
        self.register_buffer("target", torch.zeros(frames, encoder.dim, device=device))
        self.register_buffer("orientation", torch.zeros(frames, 2 * encoder.elongated, device=device))
        self.oriented: Tensor
        self.register_buffer("oriented", torch.zeros((), device=device))
        self.register_buffer("moved_by", torch.zeros(count, device=device))
        self.register_buffer("contact", torch.full((count,), 0.5, device=device))

    def stages(self) -> list[Stage]:
        """What to minimise, in order."""
        encoder = self.encoder
        agent = [*encoder.agent_trunk.parameters(), *encoder.agent_head.parameters()]
        embedding = list(self.embedder.parameters())
        object_ = [*encoder.object_trunk.parameters(), *encoder.object_head.parameters()]
        contact = [*object_, encoder.log_radii, encoder.log_softness]

        def stage(name: str, steps: int, loss: Any, parameters: list[nn.Parameter], size: int, **more: Any) -> Stage:
            steps = max(1, round(self._scale * steps))
            return Stage(name, steps, lambda generator: loss(size, generator), parameters, size, **more)

        orient = stage("orient", 800, self.locating_loss, object_, 64, begin=self._orient_by_embedding)
        return [
            stage("agent", 2000, self.agent_loss, agent, 64),
            stage("contrast", 700, self.contrastive_loss, embedding, 128, begin=self._remember_agent),
            stage("locate", 800, self.locating_loss, object_, 64, begin=self._locate_by_embedding),
            stage("contact", 800, self.contact_loss, contact, 64, begin=self._label),
            stage("contact, again", 800, self.contact_loss, contact, 64, begin=self._label, learning_rate=2e-3),
            *([orient] if encoder.elongated else []),
            stage("contact, last", 800, self.contact_loss, contact, 64, begin=self._label, learning_rate=2e-3),
        ]

    def embed(self, images: Tensor) -> Tensor:
        """The contrastive embedding ``w``, ``(B, 8)`` on the sphere: the object's state in arbitrary coordinates."""
        return functional.normalize(self.embedder(images), dim=1)

    def agent_loss(self, size: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """``E ‖z'_int − z_int − a‖²``: the agent's position moves as the agent does."""
        chosen = self._draw(size, generator)
        before, after = self.encoder.locate_agent(self._images(chosen)).chunk(2)
        loss = (after - before - self._displacement[chosen]).pow(2).sum(1).mean()
        return loss, {"agent_error": loss.detach().sqrt() * self.encoder.unit}

    def contrastive_loss(self, size: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """InfoNCE of the embeddings of a transition's two frames, the agent's position discounted.

        ``−log softmax_j(−‖w_i − w'_j‖²/τ − ‖z_i + a_i − z'_j‖²/τ_int)`` at ``j = i``, ``τ = 0.05``, ``τ_int = 0.4``.
        """
        chosen = self._draw_neighbours(size, generator)
        before, after = self.embed(self._images(chosen)).chunk(2)
        arrived = self.agent[self._start[chosen]] + self._displacement[chosen]
        elsewhere = torch.cdist(arrived, self.agent[self._end[chosen]]).pow(2)
        logits = 2 * before @ after.T / 0.05 - elsewhere / 0.4  # −‖w − w'‖² = 2 w·w' − 2 on the sphere
        loss = functional.cross_entropy(logits, torch.arange(size, device=logits.device))
        return loss, {}

    def locating_loss(self, size: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """``E ‖z_ext − M·q(w)‖²``: the network takes over the first map of the object that `locate_by_paths` found.

        And of its orientation, once `orient_by_contacts` has found that.
        """
        chosen = torch.randint(len(self._frames), (2 * size,), generator=generator).to(self._frames.device)
        position, orientation = self.encoder.locate_object(self._frame_images(chosen))
        error = (position - self.target[chosen]).pow(2).sum(1)
        if orientation is not None:
            error = error + self.oriented * (orientation - self.orientation[chosen]).pow(2).sum(1)
        return error.mean(), {}

    def contact_loss(self, size: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """The likelihood of contact, ``sigmoid((r − d)/s)``, where it is known, and of staying where there was none.

        The identity touches nothing: every frame at the end of a transition is one more transition without contact,
        of the agent that stays where it is.
        """
        chosen = self._draw(size, generator)
        position, orientation = self.encoder.locate_object(self._images(chosen))
        state = position if orientation is None else torch.cat([position, self.oriented * orientation], 1)
        before, after = state.chunk(2)
        loss = self._disbelief(chosen, before, after, self.encoder.log_radii, self.encoder.log_softness)
        return loss, {
            "contacts": (self.contact == 1).float().mean(),
            "uncertain": (self.contact == 0.5).float().mean(),
            "radius": self.encoder.radii.max(),
            "softness": self.encoder.log_softness.detach().exp() * self.encoder.unit,
        }

    def _disbelief(
        self, chosen: Tensor, before: Tensor, after: Tensor, log_radii: Tensor, log_softness: Tensor
    ) -> Tensor:
        """Mean surprise at the contacts of the chosen transitions, for an object in these states before and after."""
        contact = (self.contact[chosen] == 1).float()
        still = (self.contact[chosen] == 0).float()
        start, end = self._path(chosen)
        path = torch.cat([start, end]), torch.cat([end, end])
        reach, rest = self._reach(torch.cat([before, after]), *path, log_radii, log_softness).chunk(2)
        touch = contact * surprise(reach) + still * surprise(-reach)
        stays = (after - before).pow(2).sum(1)
        return (touch + 2.5 * still * stays + 0.3 * functional.softplus(rest)).mean()

    def _reach(self, state: Tensor, start: Tensor, end: Tensor, log_radii: Tensor, log_softness: Tensor) -> Tensor:
        """``(r − d)/s``, positive where the segment reaches the object's ellipse."""
        centre, orientation = state[:, : self.encoder.dim], state[:, self.encoder.dim :]
        radii = log_radii.exp()
        to_start, to_end = start - centre, end - centre
        if self.encoder.elongated:
            to_start, to_end = (rounded(point, orientation, radii) for point in (to_start, to_end))
        else:
            to_start, to_end = to_start / radii, to_end / radii
        distance = distance_to_segment(torch.zeros_like(centre), to_start, to_end)
        return (1 - distance) * log_radii.mean().exp() / log_softness.exp().clamp_min(0.02)

    @torch.no_grad()
    def _remember_agent(self) -> None:
        """Note where the agent is in every frame, the origin put at its mean: no loss says where the origin is.

        Left where chance put it, it would be far enough at times for the object's network to spend its updates, and its
        units, on getting there.
        """
        agent = self._over_frames(self.encoder.locate_agent)
        self.encoder.agent_head.bias.sub_(agent.mean(0))
        self.agent[:] = agent - agent.mean(0)

    @torch.no_grad()
    def _locate_by_embedding(self) -> None:
        """Alternate between where the object is, given which transitions met it, and which did, given where it is."""
        embedding = self._over_frames(self.embed)
        self.moved_by[:] = (embedding[self._end] - embedding[self._start]).norm(dim=1)
        for _ in range(3):
            self.contact[:] = (self.moved_by > torch.quantile(self.moved_by, 1 - SURE_CONTACTS)).float()
            self.target[:] = locate_by_paths(
                embedding, self._start, self._end, self.agent[self._start], self.agent[self._end], self.contact == 1
            )
            self.moved_by[:] = (self.target[self._end] - self.target[self._start]).norm(dim=1)

    @torch.no_grad()
    def _label(self) -> None:
        """Label contacts by where the encoder sees the object now."""
        self.label_contacts(self._over_frames(lambda images: self.encoder.locate_object(images)[0]))

    def label_contacts(self, position: Tensor) -> None:
        """Label contacts by how far the object moved, against the noise of that where the agent draws back from it.

        Within 60° of straight away from it: that leaves room for an error of ``z_ext``, and for a long object's ends.

        Args:
            position: ``(F, n)``, ``z_ext`` of every frame.
        """
        self.moved_by[:] = (position[self._end] - position[self._start]).norm(dim=1)
        start, end = self.agent[self._start], self.agent[self._end]
        draws_back = functional.cosine_similarity(end - start, start - position[self._start], dim=1) > 0.5
        self.contact[:], threshold = moved_beyond_noise(self.moved_by, self.moved_by[draws_back])
        self.contact[draws_back & (self.contact == 1)] = 0.5
        self.encoder.contact_threshold.fill_(threshold)

    @torch.no_grad()
    def _orient_by_embedding(self) -> None:
        """Find the orientation and both radii that explain the contacts, given where the object is."""
        self._label()
        self.target[:] = self._over_frames(lambda images: self.encoder.locate_object(images)[0])
        everything = torch.arange(len(self._start), device=self._start.device)

        def loss(orientation: Tensor, log_radii: Tensor, log_softness: Tensor) -> Tensor:
            state = torch.cat([self.target, orientation], 1)
            return self._disbelief(everything, state[self._start], state[self._end], log_radii, log_softness)

        radius = self.encoder.log_radii.mean().exp()
        found = orient_by_contacts(self._over_frames(self.embed), loss, radius)
        self.orientation[:], self.encoder.log_radii[:], self.encoder.log_softness[...] = found
        self.orientation[:] = functional.normalize(self.orientation, dim=1)
        self.oriented.fill_(1.0)  # until now the object was taken to be round

    @torch.no_grad()
    def _over_frames(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        was_training = self.training
        self.eval()
        result = torch.cat([function(to_images(part)) for part in torch.split(self._frames, 64)])
        self.train(was_training)
        return result

    def _draw(self, size: int, generator: torch.Generator) -> Tensor:
        return torch.randint(len(self._start), (size,), generator=generator).to(self._start.device)

    def _draw_neighbours(self, size: int, generator: torch.Generator, groups: int = 4) -> Tensor:
        """A few groups of transitions whose agents end close to each other: a random half of each neighbourhood."""
        ends = self.agent[self._end].cpu().numpy()
        centres = torch.randint(len(ends), (groups,), generator=generator)
        each = size // groups
        count = min(2 * each, len(ends))
        tree = self._tree(ends)
        _, near = tree.query(ends[centres.numpy()], k=count)
        picks = [torch.from_numpy(row)[torch.randperm(count, generator=generator)[:each]] for row in near]
        return torch.cat(picks).to(self._start.device)

    def _tree(self, points: Any) -> cKDTree:
        if getattr(self, "_neighbours", None) is None:
            self._neighbours = cKDTree(points)
        return self._neighbours

    def _images(self, chosen: Tensor) -> Tensor:
        return self._frame_images(torch.cat([self._start[chosen], self._end[chosen]]))

    def _frame_images(self, index: Tensor) -> Tensor:
        return to_images(self._frames.index_select(0, index))  # several times faster than indexing with []

    def _path(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        return self.agent[self._start[chosen]], self.agent[self._end[chosen]]
