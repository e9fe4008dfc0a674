"""Turn arrays of NumPy into those of Arrow, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def flat_values(array: Any) -> NDArray[Any]:
    """Return the numbers in an array of Arrow, of which entries may be lists, one after another."""
    import pyarrow as pa

    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    while pa.types.is_list(array.type) or pa.types.is_large_list(array.type) or pa.types.is_fixed_size_list(array.type):
        array = array.flatten()
    return np.asarray(array.to_numpy(zero_copy_only=False))


def fixed_lists(values: NDArray[Any]) -> Any:
    """Return the rows of an array ``(N, k)`` as lists of Arrow; single numbers if ``k`` is 1."""
    import pyarrow as pa

    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return flat if values.shape[1] == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
