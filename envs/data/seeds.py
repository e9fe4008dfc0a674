"""Seeds of independent streams of random numbers, derived from the one seed of a run."""

from __future__ import annotations

import numpy as np

from ..arguments import integer_argument


def stream_seed(seed: int, stream: str) -> int:
    """Return the seed of one stream of random numbers of a run, between 0 and 2⁶³ − 1.

    Episode ``i`` is usually seeded with ``seed + i``, as Gymnasium does it. Runs with neighbouring seeds would share
    most of their episodes, and evaluation could overlap with training. Seeds of streams are far apart:
    ``numpy.random.SeedSequence`` draws them from the seed and the name of the stream.

    Args:
        seed: seed of the run, at least 0.
        stream: name of what is drawn, such as ``"evaluation"``.

    Raises:
        ValueError: the seed is no integer of at least 0, or the name is empty.

    Example:
        >>> world_seeds = [stream_seed(seed, "evaluation") for seed in (0, 1)]
        >>> abs(world_seeds[1] - world_seeds[0]) > 10**12
        True
    """
    if not stream:
        raise ValueError("expected the name of a stream, such as 'evaluation', got an empty text")
    entropy = [integer_argument("seed", seed, 0), *stream.encode()]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))
