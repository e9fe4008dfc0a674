"""Combine rows of batches of observations and infos."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .batch_step import Mask


def replace_rows(base: dict[str, Any], new: dict[str, Any], rows: Mask) -> dict[str, Any]:
    """Return a batched info with some rows taken from another one; keys of either are kept.

    Gymnasium's masks ``_key`` tell which rows report a ``key``. Where the other info has no such key they become false.

    >>> replace_rows({"x": np.array([1, 2])}, {"x": np.array([8, 9])}, np.array([False, True]))["x"].tolist()
    [1, 9]
    """
    merged = dict(base)
    for key in base.keys() - new.keys():
        if key.startswith("_") and isinstance(base[key], np.ndarray) and base[key].dtype == bool:
            merged[key] = base[key] & ~rows
    for key, values in new.items():
        old = base.get(key)
        if isinstance(values, dict):
            merged[key] = replace_rows(old if isinstance(old, dict) else {}, values, rows)
        elif isinstance(old, np.ndarray) and isinstance(values, np.ndarray) and old.shape == values.shape:
            merged[key] = np.where(rows.reshape(-1, *[1] * (old.ndim - 1)), values, old)
        else:
            merged[key] = values
    return merged


def replace_observation_rows(base: Any, final: Any, rows: Mask) -> Any:
    """Return a copy of a batch of observations, with the given rows taken from ``info["final_obs"]``.

    ``final`` is an object array with one observation per row, or a batch like ``base``.
    """
    if isinstance(base, dict):
        return {key: replace_observation_rows(base[key], _entry(final, key, rows), rows) for key in base}
    merged = np.array(base)
    for row in np.flatnonzero(rows):
        merged[row] = final[row]
    return merged


def count_rows(observation: Any) -> int:
    """Return the number of observations in a batch of arrays, dicts or tuples.

    >>> count_rows({"image": np.zeros((3, 8, 8, 3)), "state": np.zeros((3, 2))})
    3
    """
    if isinstance(observation, Mapping):
        return count_rows(next(iter(observation.values())))
    return count_rows(observation[0]) if isinstance(observation, tuple) else len(observation)


def select_rows(observation: Any, rows: Any) -> Any:
    """Return some rows of a batch of observations of arrays, dicts or tuples.

    Args:
        observation: the batch.
        rows: a mask ``(n,)`` bool, indices or a slice.
    """
    if isinstance(observation, Mapping):
        return {key: select_rows(value, rows) for key, value in observation.items()}
    if isinstance(observation, tuple):
        return tuple(select_rows(value, rows) for value in observation)
    return observation[rows]


def equal_rows(one: Any, other: Any, count: int) -> Mask:
    """Return in which of ``count`` rows two batches of observations are the same, ``(count,)`` bool."""
    if isinstance(one, dict):
        every: Mask = np.logical_and.reduce([equal_rows(one[key], other[key], count) for key in one])
        return every
    same: Mask = (np.asarray(one) == np.asarray(other)).reshape(count, -1).all(1)
    return same


def _entry(final: Any, key: str, rows: Mask) -> Any:
    """Return one entry of Dict observations, which come as a dict of batches or as an array of dicts."""
    if isinstance(final, dict):
        return final[key]
    return {int(row): final[row][key] for row in np.flatnonzero(rows)}
