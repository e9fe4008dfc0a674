"""Supervised positions: what an agent–object encoder could reach if it were told where everything is.

This is an upper bound for evaluation. It reads the ground truth of its training data, which a robot does not have, so
no command trains it.
"""

from __future__ import annotations

import torch
from torch import nn

from ...envs.data.transitions import Transitions
from ..encoders.agent_object import AgentObjectEncoder
from ..encoders.encoder import as_tensor, to_images
from ..learning.learner import Loss, Stage

POSITIONS = ("agent_pose", "object_pose")
"""Names of the ground truth that is read."""


class SupervisedPositionLearner(nn.Module):
    """Train an `AgentObjectEncoder` on ground-truth positions.

    ``minimise E ‖z_int − p_agent‖² + E ‖z_ext − p_object‖²``, in units of the root-mean-square displacement.

    Args:
        network: the encoder.
        transitions: frames with the ground truth ``agent_pose`` and ``object_pose``.
        steps: number of updates, each on as many frames as an update of `AgentObjectLearner`.

    Attributes:
        network: the encoder.

    Raises:
        ValueError: the transitions have another group or image shape than the encoder, or lack the ground truth.
    """

    def __init__(self, network: AgentObjectEncoder, transitions: Transitions, steps: int) -> None:
        super().__init__()
        network.require_fitting(transitions)
        missing = set(POSITIONS) - set(transitions.ground_truth)
        if missing:
            raise ValueError(
                f"expected transitions with the ground truth {', '.join(POSITIONS)}, they lack {sorted(missing)}; "
                "collect them in a world that reports it"
            )
        self.network = network
        self._steps = steps
        device = next(network.parameters()).device
        network.unit.copy_(as_tensor(transitions.displacement).pow(2).sum(1).mean().sqrt())
        self._frames = as_tensor(transitions.frames).to(device)
        self._agent, self._object = (
            as_tensor(transitions.ground_truth[name]).to(device) / network.unit for name in POSITIONS
        )

    def stages(self) -> list[Stage]:
        """Return one stage, which minimises `loss` over the networks of agent and object."""
        network, optim = self.network, self.network.config.optim
        parts = (network.agent_trunk, network.agent_head, network.object_trunk, network.object_head)
        parameters = [parameter for part in parts for parameter in part.parameters()]
        return [Stage("positions", self._steps, self.loss, parameters, optim.batch_size, optim.lr)]

    def loss(self, generator: torch.Generator) -> Loss:
        """Return the mean squared distance of both predicted positions from the ground truth."""
        size = 2 * self.network.config.optim.batch_size
        chosen = torch.randint(len(self._frames), (size,), generator=generator).to(self._frames.device)
        images = to_images(self._frames.index_select(0, chosen))
        agent = (self.network.locate_agent(images) - self._agent[chosen]).pow(2).sum(1).mean()
        object_ = (self.network.locate_object(images)[0] - self._object[chosen]).pow(2).sum(1).mean()
        errors = {"agent_error": agent.detach().sqrt(), "object_error": object_.detach().sqrt()}
        return agent + object_, {name: error * self.network.unit for name, error in errors.items()}
