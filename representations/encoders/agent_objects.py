"""The agent–objects encoder: positions of an agent and of several objects, from images and displacements.

It is the agent–object encoder (`equiact.representations.encoders.agent_object`) with a network for each object. Which
object was touched is not told. First maps of all objects are fitted together, each contact belonging to one of them
(`locate_by_paths`); from there on, each object is learned as the only one is. A contact with another object is no
contact for it: the agent is elsewhere, and it does not move.

Extends Reichlin et al., *Learning geometric representations of objects via interaction*, ECML 2023 (arXiv:2309.05346),
which has one object.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import cast

from torch import Tensor, nn

from ..learning.config import ConfigError, check_range
from .agent_object import AgentObjectConfig, AgentObjectEncoder
from .encoder import Encoder
from .registry import register_encoder


@dataclass(frozen=True)
class AgentObjectsConfig(AgentObjectConfig):
    """Set the hyper-parameters of an `AgentObjectsEncoder`: those of an `AgentObjectEncoder`, and how many objects.

    Attributes:
        objects: number of objects, which are round.

    Raises:
        ConfigError: a value is out of range, or the objects are not round.

    Example:
        >>> AgentObjectsConfig(objects=3).one_object().object_shape
        'round'
    """

    objects: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "objects", at_least=1)
        if self.has_outline:
            raise ConfigError("object_shape must be 'round' for several objects, got 'any'; use 'agent-object' for one")

    def one_object(self) -> AgentObjectConfig:
        """Return the configuration of the encoder of one of the objects."""
        return AgentObjectConfig(**{each.name: getattr(self, each.name) for each in fields(AgentObjectConfig)})


@register_encoder("agent-objects")
class AgentObjectsEncoder(Encoder):
    """Encode the positions of the agent and of several objects, in the units of the displacements.

    Latents: ``agent`` ``(B, n)``, and ``object_1`` … ``object_K`` ``(B, n)``. Their order is arbitrary.

    Source: Reichlin et al., *Learning geometric representations of objects via interaction*, ECML 2023
    (arXiv:2309.05346), for one object.

    Args:
        shape: height, width and channels of the images.
        group: ``"R<n>"``, the translations by which the agent moves.
        config: hyper-parameters.

    Attributes:
        parts: an agent–object encoder for each object. All have the same agent.

    Raises:
        ValueError: the group is not ``"R<n>"``.

    Example:
        >>> import torch
        >>> encoder = AgentObjectsEncoder((64, 64, 3), "R2", AgentObjectsConfig(objects=2))
        >>> latents = encoder.encode(torch.zeros(5, 64, 64, 3, dtype=torch.uint8))
        >>> {name: tuple(latent.shape) for name, latent in latents.items()}
        {'agent': (5, 2), 'object_1': (5, 2), 'object_2': (5, 2)}
    """

    config_class = AgentObjectsConfig
    config: AgentObjectsConfig

    def __init__(self, shape: tuple[int, int, int], group: str, config: AgentObjectsConfig | None = None) -> None:
        super().__init__(shape, group, config)
        self.parts = nn.ModuleList(
            AgentObjectEncoder(shape, group, self.config.one_object()) for _ in range(self.config.objects)
        )

    @property
    def latent_dim(self) -> int:
        return (1 + self.config.objects) * self.part(0).dim

    def part(self, index: int) -> AgentObjectEncoder:
        """Return the encoder of the agent and of one object; metrics of one object measure it."""
        return cast(AgentObjectEncoder, self.parts[index])

    def latents(self, images: Tensor) -> dict[str, Tensor]:
        first = self.part(0)
        objects = (self.part(index) for index in range(self.config.objects))
        return {
            "agent": first.locate_agent(images) * first.unit,
            **{f"object_{index}": each.locate_roughly(images) * each.unit for index, each in enumerate(objects, 1)},
        }


def encoders_of_objects(encoder: object) -> list[AgentObjectEncoder]:
    """Return an agent–object encoder for each object that an encoder sees; none if it is of another kind."""
    if isinstance(encoder, AgentObjectsEncoder):
        return [encoder.part(index) for index in range(encoder.config.objects)]
    return [encoder] if isinstance(encoder, AgentObjectEncoder) else []
