"""Texts that name a policy: ``[prefix:]place[,option=value]``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


class PolicyLoadError(ValueError):
    """A text does not name a policy, the policy cannot be loaded, or it needs consent first."""


@dataclass(frozen=True)
class PolicySpec:
    """The parts of a text that names a policy.

    Attributes:
        text: the text as it was given.
        prefix: what comes before the first colon, such as ``"sac"`` or ``"lerobot"``; empty if there is none.
        place: path, name of a function or repository.
        options: what follows the commas, by name.

    Example:
        >>> spec = PolicySpec.parse("sac:model.zip,vec_normalize=stats.pkl")
        >>> spec.prefix, spec.place, spec.options
        ('sac', 'model.zip', {'vec_normalize': 'stats.pkl'})
    """

    text: str
    prefix: str
    place: str
    options: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, spec: str | Path) -> PolicySpec:
        """Split a text into its parts; the path of something that exists is never split.

        Raises:
            PolicyLoadError: it is empty or no text, or an option has no value.
        """
        if not isinstance(spec, str | Path) or not str(spec).strip():
            raise PolicyLoadError(f"expected a policy as text, such as 'model.zip' or 'module:function', got {spec!r}")
        text = str(spec)
        if isinstance(spec, Path) or Path(text).expanduser().exists():
            return cls(text, "", text)
        place, *rest = text.split(",")
        options = dict(_option(part, text) for part in rest)
        if Path(place).expanduser().exists():
            return cls(text, "", place, options)
        prefix, separator, remainder = place.partition(":")
        return cls(text, prefix, remainder, options) if separator else cls(text, "", place, options)

    @property
    def path(self) -> Path:
        """Return the place as a path."""
        return Path(self.place).expanduser()

    def require_options(self, *known: str) -> None:
        """Raise unless all options are known.

        Raises:
            PolicyLoadError: one is not.
        """
        unknown = sorted(self.options.keys() - set(known))
        if unknown:
            expected = f"the option {' or '.join(known)}" if known else "no options"
            raise PolicyLoadError(f"expected {expected} in {self.text!r}, got {', '.join(unknown)}")


def _option(part: str, text: str) -> tuple[str, str]:
    name, separator, value = part.partition("=")
    if not (separator and name.strip() and value.strip()):
        raise PolicyLoadError(f"expected 'option=value' after each comma of {text!r}, got {part!r}")
    return name.strip(), value.strip()
