"""Seeds of independent streams of random numbers."""

import numpy as np
import pytest
from equiact.envs.data.seeds import stream_seed

STREAMS = ["evaluation", "learning curve", "training episodes", "perturbations", "a", "b", "batch 1", "batch 10"]


def test_streams_are_far_apart_between_seeds_and_names() -> None:
    """So far that no two share an episode if episode ``i`` starts from the seed plus ``i``."""
    seeds = [stream_seed(seed, name) for seed in [*range(200), *range(2000, 2050)] for name in STREAMS]
    assert np.diff(sorted(seeds)).min() > 1_000_000
    assert min(seeds) > 1_000_000, "and none is near a seed that a user would choose"
    assert max(seeds) < 2**63


def test_a_stream_is_fixed_by_seed_and_name() -> None:
    """It is ``numpy.random.SeedSequence`` of the seed and the name, and the same on every machine."""
    words = np.random.SeedSequence([3, *b"evaluation"]).generate_state(2)
    assert stream_seed(3, "evaluation") == (int(words[0]) + (int(words[1]) << 32)) >> 1
    assert stream_seed(np.int64(3), "evaluation") == stream_seed(3, "evaluation")


@pytest.mark.parametrize("seed", [-1, 1.5, True, None])
def test_seeds_that_are_none_are_refused(seed: object) -> None:
    with pytest.raises(ValueError, match="seed must be an integer of at least 0, got"):
        stream_seed(seed, "evaluation")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected the name of a stream"):
        stream_seed(0, "")
