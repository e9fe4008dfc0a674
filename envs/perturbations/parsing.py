"""Read perturbations from text, such as ``force:body=torso,magnitude=1,2,4,onset=20,duration=5``."""

from __future__ import annotations

import itertools
import re
from dataclasses import MISSING, fields
from typing import Any

from ..named_registry import RegistryError
from .errors import PerturbationError, closest
from .perturbation import Perturbation
from .registry import PERTURBATION_REGISTRY


def parse_perturbation(text: str) -> list[Perturbation]:
    """Return the perturbations that a text describes, one for each magnitude.

    A text is ``name:key=value,key=value``. The keys are the attributes of the perturbation. Several magnitudes are
    separated by commas, the first and the last step of a random onset by ``-``, and the three numbers of a vector and
    the names of joints by spaces.

    Raises:
        PerturbationError: the name, a key or a value is unknown; the message names the closest one.

    Example:
        >>> for each in parse_perturbation("force:body=torso,magnitude=1,2,onset=10-50,duration=5"):
        ...     print(each)
        force:magnitude=1,onset=10-50,duration=5,body=torso
        force:magnitude=2,onset=10-50,duration=5,body=torso
        >>> parse_perturbation("blackout:onzet=3")
        Traceback (most recent call last):
        equiact.envs.perturbations.errors.PerturbationError: blackout: unknown key 'onzet'; did you mean 'onset'? Choose
        from magnitude, onset, duration, key
    """
    if not isinstance(text, str):
        raise PerturbationError(f"expected a text, such as 'force:body=torso,magnitude=1', got {text!r}")
    name, _, rest = text.strip().partition(":")
    try:
        cls = PERTURBATION_REGISTRY.get(name.strip())
    except RegistryError as error:
        raise PerturbationError(str(error)) from None
    values = _values(name, rest)
    known = {field.name: field for field in fields(cls)}
    for key in values:
        if key not in known:
            raise PerturbationError(f"{name}: unknown key {key!r}{closest(key, known)}")
    missing = [key for key, field in known.items() if field.default is MISSING and key not in values]
    if missing:
        raise PerturbationError(f"{name}: expected a value of {missing[0]}, such as '{name}:…,{missing[0]}=…'")
    kinds = {key: getattr(field.type, "__name__", str(field.type)) for key, field in known.items()}
    options = {key: [_value(name, key, each, kinds[key]) for each in found] for key, found in values.items()}
    return [cls(**dict(zip(options, chosen, strict=True))) for chosen in itertools.product(*options.values())]


def parse_condition(text: str) -> list[tuple[Perturbation, ...]]:
    """Return sets of perturbations that act together: texts of `parse_perturbation`, separated by ``;``.

    Where several have more than one magnitude, every combination is a set of its own.

    Raises:
        PerturbationError: see `parse_perturbation`.

    Example:
        >>> for together in parse_condition("action-noise:magnitude=0.1,0.2; action-delay:magnitude=3"):
        ...     print(*together)
        action-noise:magnitude=0.1 action-delay:magnitude=3
        action-noise:magnitude=0.2 action-delay:magnitude=3
    """
    return list(itertools.product(*(parse_perturbation(each) for each in str(text).split(";"))))


def _values(name: str, text: str) -> dict[str, list[str]]:
    """Return the texts of each key; only the magnitude may have several."""
    found: dict[str, list[str]] = {}
    key = ""
    for piece in text.split(",") if text.strip() else []:
        before, sign, after = piece.partition("=")
        if sign:
            key = before.strip()
            if key in found:
                raise PerturbationError(f"{name}: expected one value of {key}, got a second one in {piece.strip()!r}")
            found[key] = []
        elif key != "magnitude":
            raise PerturbationError(
                f"{name}: expected key=value, got {piece.strip()!r}; only magnitude takes several values, and vectors "
                "and names are separated by spaces"
            )
        found[key].append((after if sign else piece).strip())
    return found


def _value(name: str, key: str, text: str, kind: str) -> Any:
    """Return a value of the type of its attribute."""
    if not text:
        raise PerturbationError(f"{name}: {key} has no value")
    if key == "onset":
        return _onset(name, text)
    if kind == "bool":
        if text.lower() not in ("true", "false"):
            raise PerturbationError(f"{name}: {key} must be true or false, got {text!r}")
        return text.lower() == "true"
    if kind in ("int", "float"):
        return _number(name, key, text, int if kind == "int" else float)
    if "float" in kind or kind == "Direction":
        numbers = _numbers(text)
        return text if numbers is None else numbers
    return text


def _onset(name: str, text: str) -> Any:
    match = re.fullmatch(r"(\d+)(?:\s*-\s*(\d+))?", text)
    if match is None:
        raise PerturbationError(f"{name}: onset must be a step, or two such as 10-50, got {text!r}")
    return int(match[1]) if match[2] is None else (int(match[1]), int(match[2]))


def _number(name: str, key: str, text: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError:
        expected = "a whole number" if kind is int else "a number"
        raise PerturbationError(f"{name}: {key} must be {expected}, got {text!r}") from None


def _numbers(text: str) -> Any:
    """Return a number or a tuple of them; None if the text is something else."""
    try:
        values = tuple(map(float, text.split()))
    except ValueError:
        return None
    return values[0] if len(values) == 1 else values
