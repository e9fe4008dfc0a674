"""Check transitions before training: data on which nothing can be learned are refused, with what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...envs.data.transitions_checks import ContentLimits, content_problems
from .learner import Stage

if TYPE_CHECKING:
    from ...envs.data.transitions import Transitions

LIMITS = ContentLimits(min_side=1)
"""An encoder refuses images that are too small for it itself."""


class DataError(ValueError):
    """Nothing can be learned from the transitions."""


def require_trainable(transitions: Transitions, stages: Sequence[Stage] = (), limits: ContentLimits = LIMITS) -> None:
    """Check that something can be learned from transitions.

    Args:
        transitions: the transitions.
        stages: stages of a learner, whose largest batch the transitions must fill by half.
        limits: bounds of what is normal.

    Raises:
        DataError: there are fewer transitions than half the largest batch, or the content is useless (see
            `content_problems`): frames or displacements that are all alike, or a displacement far larger than others.
    """
    needed = max((stage.batch_size for stage in stages), default=2) // 2
    if len(transitions) < needed:
        raise DataError(
            f"expected at least {needed} transitions, half of the largest batch, got {len(transitions)}; "
            "collect more, or choose a smaller batch_size"
        )
    for problem in content_problems(transitions, limits):
        raise DataError(f"expected transitions to learn from, but {problem}")
