"""Training of the agent–objects encoder: that of the agent–object encoder, from first maps of all objects."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from ...envs.data.transitions import Transitions
from ..learning.learner import Stage
from .agent_object_learner import AgentObjectLearner
from .agent_objects import AgentObjectsEncoder
from .registry import register_learner


@register_learner(AgentObjectsEncoder)
class AgentObjectsLearner(nn.Module):
    """Train an `AgentObjectsEncoder` on transitions.

    The stages ``agent``, ``agent, far`` and ``contrast`` of `AgentObjectLearner` are done once. First maps of all
    objects follow (`locate_by_paths`), and then the stages ``locate`` and ``contact`` of each object.

    Source: Reichlin et al., ECML 2023 (arXiv:2309.05346), for one object.

    Args:
        network: the encoder.
        transitions: frames and displacements; the ground truth is not read.

    Attributes:
        network: the encoder.
        parts: a learner for each object; the first one trains the agent and the embedding.
        maps: first maps of the objects, ``(F, K, n)``; set before the first stage ``locate``.

    Raises:
        ValueError: the transitions have another group or image shape than the encoder.
    """

    maps: Tensor

    def __init__(self, network: AgentObjectsEncoder, transitions: Transitions) -> None:
        super().__init__()
        network.require_fitting(transitions)
        self.network = network
        objects, first = network.config.objects, network.part(0)
        self.parts = nn.ModuleList(AgentObjectLearner(network.part(each), transitions) for each in range(objects))
        places = torch.zeros(len(transitions.frames), objects, first.dim, device=first.unit.device)
        self.register_buffer("maps", places)

    def stages(self) -> list[Stage]:
        """Return the stages: agent (two), contrast; and locate and contact (three) of each object."""
        stages = self._part(0).stages()
        located = [stage.name for stage in stages].index("locate")
        for index in range(len(self.parts)):
            own = self._part(index).stages()[located:]
            own[0] = replace(own[0], begin=partial(self._begin, index))
            stages[located + index * len(own) :] = [
                replace(stage, name=f"object {index + 1}, {stage.name}") for stage in own
            ]
        return stages

    @torch.no_grad()
    def _begin(self, index: int) -> None:
        """Find all objects before the first one is learned; give each its map, and the agent that was learned."""
        first, own = self._part(0), self._part(index)
        points = first.points()
        if index == 0:
            self.maps[:] = first.find_objects(points, len(self.parts))
        else:
            own.agent[:] = first.agent
            for name in ("agent_trunk", "agent_head"):
                getattr(own.network, name).load_state_dict(getattr(first.network, name).state_dict())
        own.start_from(points, self.maps[:, index])

    def _part(self, index: int) -> AgentObjectLearner:
        return cast(AgentObjectLearner, self.parts[index])
