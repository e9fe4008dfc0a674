"""Decide whether an episode was a success, in any environment."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .episode import Episode

SuccessLike: TypeAlias = "str | Callable[[Episode], bool] | SuccessCriterion | None"
"""What `success_criterion` accepts."""

INFO_KEYS = ("is_success", "success")
"""Entries of the info in which environments report success."""


class SuccessError(ValueError):
    """A success criterion is unknown, or does not fit the environment."""


class SuccessOutcome(NamedTuple):
    """Hold the judgement of one episode.

    Attributes:
        success: whether it was a success; None if nothing tells.
        step: number of steps until the success was shown; None without success.
    """

    success: bool | None
    step: int | None


@dataclass(frozen=True)
class SuccessCriterion:
    """Judge episodes.

    Attributes:
        name: how the criterion was given, such as ``"return>=100"``.
        judge: returns the outcome of an episode.
        is_event: success happens at a step of its own, so that the time until it says how long a recovery took.
    """

    name: str
    judge: Callable[[Episode], SuccessOutcome]
    is_event: bool


def success_criterion(spec: SuccessLike = None) -> SuccessCriterion:
    """Return the criterion that a text, a function or None stands for.

    | spec | success |
    |---|---|
    | None | ``info["is_success"]`` or ``info["success"]`` in any step; unknown if the environment reports neither |
    | ``"is_success"``, ``"success"`` | this entry of the info in any step; an error if it is never there |
    | ``"terminated"`` | the episode reached an end of its own |
    | ``"truncated"`` | the episode lasted until time ran out, such as a robot that did not fall |
    | ``"return>=X"`` | the sum of rewards is at least X |
    | ``"module:function"``, a function | the function of the `Episode` is true |

    Raises:
        SuccessError: there is no such criterion.

    Example:
        >>> criterion = success_criterion("return>=2")
        >>> criterion.judge(Episode(np.array([1.0, 0.5, 1.0]), True, False, ({},) * 3, None, None))
        SuccessOutcome(success=True, step=3)
    """
    if isinstance(spec, SuccessCriterion):
        return spec
    if spec is None:
        return SuccessCriterion("reported by the environment", _reported, is_event=True)
    if callable(spec):
        return _from_function(getattr(spec, "__name__", type(spec).__name__), spec)
    if not isinstance(spec, str):
        raise SuccessError(f"expected a text or a function of an episode as success, got {spec!r}")
    text = spec.replace(" ", "")
    if text in INFO_KEYS:
        return SuccessCriterion(text, lambda episode: _required_entry(episode, text), is_event=True)
    if text == "terminated":
        return SuccessCriterion(text, lambda e: SuccessOutcome(e.terminated, _end(e, e.terminated)), is_event=True)
    if text == "truncated":
        return SuccessCriterion(text, _lasted, is_event=False)
    if text.startswith("return>="):
        return _from_return(text)
    if ":" in text:
        return _from_function(text, _imported_function(text))
    raise SuccessError(
        f"unknown success {spec!r}; expected 'is_success', 'success', 'terminated', 'truncated', 'return>=X', "
        "'module:function' or a function of an episode"
    )


def _end(episode: Episode, success: bool) -> int | None:
    return len(episode) if success else None


def _lasted(episode: Episode) -> SuccessOutcome:
    success = episode.truncated and not episode.terminated
    return SuccessOutcome(success, _end(episode, success))


def _reported(episode: Episode) -> SuccessOutcome:
    """Return what the environment reports under any of the usual entries."""
    for key in INFO_KEYS:
        if any(key in info for info in episode.infos):
            return _entry(episode, key)
    return SuccessOutcome(None, None)


def _required_entry(episode: Episode, key: str) -> SuccessOutcome:
    if not any(key in info for info in episode.infos):
        found = sorted({str(each) for info in episode.infos for each in info})
        raise SuccessError(
            f"expected info[{key!r}] in a step of every episode, got entries {found}; choose another success, such as "
            "'return>=X' or 'module:function'"
        )
    return _entry(episode, key)


def _entry(episode: Episode, key: str) -> SuccessOutcome:
    values = [_truth(info[key], key) if key in info else False for info in episode.infos]
    return SuccessOutcome(True, values.index(True) + 1) if any(values) else SuccessOutcome(False, None)


def _truth(value: Any, key: str) -> bool:
    """Return a reported truth value; numbers, such as the 0.0 and 1.0 of Meta-World, are true from a half on."""
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "biuf" or not math.isfinite(float(array.reshape(()))):
        raise SuccessError(f"expected a truth value in info[{key!r}], got {value!r}")
    return float(array.reshape(())) >= 0.5


def _from_return(text: str) -> SuccessCriterion:
    try:
        least = float(text.removeprefix("return>="))
    except ValueError:
        least = math.nan
    if not math.isfinite(least):
        raise SuccessError(f"expected a finite number after 'return>=', got {text!r}")

    def judge(episode: Episode) -> SuccessOutcome:
        success = episode.total_reward >= least
        return SuccessOutcome(success, _end(episode, success))

    return SuccessCriterion(f"return>={least:g}", judge, is_event=False)


def _from_function(name: str, function: Callable[[Episode], Any]) -> SuccessCriterion:
    def judge(episode: Episode) -> SuccessOutcome:
        found = function(episode)
        if not isinstance(found, bool | np.bool_):
            raise SuccessError(f"the success function {name!r} must return True or False, got {found!r}")
        return SuccessOutcome(bool(found), _end(episode, bool(found)))

    return SuccessCriterion(name, judge, is_event=False)


def _imported_function(path: str) -> Callable[[Episode], Any]:
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SuccessError(f"there is no function {path!r}: {error}; write 'module:function'") from error
    if not callable(found):
        raise SuccessError(f"expected a function of an episode at {path!r}, got {found!r}")
    function: Callable[[Episode], Any] = found
    return function
