"""Options of the commands that read a data set: how data of others are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from ..training_data import DataSource, own_group, require_encoder_fits

if TYPE_CHECKING:
    from ...envs.data.transitions import Transitions
    from ...representations.encoders.encoder import Encoder

DATA_OPTIONS = "data_options"
"""Entry of ``Encoder.measured_on`` with the options that the data of the training were read with."""


def _parse_flag(values: Sequence[str]) -> bool:
    """Return the value of a flag: true if nothing follows it."""
    known = {"": True, "true": True, "false": False}
    text = " ".join(values).lower()
    if text not in known:
        raise ValueError(f"expected nothing, true or false, got {text!r}")
    return known[text]


OptionalFlag = Annotated[
    bool | None,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs="*",
        metavar="[{true,false}]",
        instance_from_str=_parse_flag,
        is_instance=lambda value: value is None or isinstance(value, bool),
        str_from_instance=lambda value: [str(value).lower()],
    ),
]
"""Optional flag: true, false, or None if it is not given."""


@dataclass(frozen=True)
class DataOptions:
    """Options that say how a data set of others is read, of `Train`, `Evaluate` and `Encode`."""

    displacement: str | None = None
    """Rule of the displacement in data of others: column:NAME, difference:NAME, or module:function. For a trained
    encoder, that of its training by default."""
    image_key: str | None = None
    """Name of the images in data of others; needed if there are several. For a trained encoder, that of its training
    by default."""
    group: str | None = None
    """Group that acts in data of others, such as R2 or SE2. For a trained encoder, its group by default."""
    format: str | None = None
    """Format of the data set: equiact, minari, lerobot, robomimic or npz; detected by default."""
    channel_first: OptionalFlag = None
    """Images in data of others have the shape (C, H, W). For a trained encoder, as in its training by default; false
    for (H, W, C)."""

    @property
    def given(self) -> dict[str, Any]:
        """Return the options that are given."""
        named = {field.name: getattr(self, field.name) for field in fields(DataOptions)}
        return {name: value for name, value in named.items() if value is not None}

    @property
    def record(self) -> dict[str, Any]:
        """Return what the card of the encoder keeps of them, an entry of ``measured_on``; nothing if none is given."""
        return {DATA_OPTIONS: self.given} if self.given else {}

    def source_of(self, path: Path, ground_truth: tuple[str, ...] = ()) -> DataSource:
        """Return a data set that is read with the given options.

        Args:
            path: folder or file of the data set.
            ground_truth: columns that are kept for evaluation, each as ``NAME=COLUMN``.
        """
        return _source(path, self.given, ground_truth)

    def load_for(self, encoder: Encoder, path: Path, ground_truth: tuple[str, ...] = ()) -> Transitions:
        """Return the transitions of a data set for a trained encoder.

        Options that are not given are those with which the data of its training were read.

        Args:
            encoder: the encoder.
            path: folder or file of the data set.
            ground_truth: columns that are kept for evaluation, each as ``NAME=COLUMN``.

        Raises:
            ValueError: the data set cannot be read, or does not fit the encoder.
        """
        is_foreign = path.exists() and not states_itself(path)
        taken = self._taken_from(encoder) if is_foreign else {}
        options = {"group": encoder.group} if is_foreign else {}
        try:
            transitions = _source(path, {**options, **taken, **self.given}, ground_truth).load()
            require_encoder_fits(encoder, transitions, f"--data {path}")
        except ValueError as error:
            if not taken:
                raise
            raise type(error)(
                f"{error}. It was read with {_described(taken)}, as in the training of the encoder; give other options "
                "if this data set has others"
            ) from error
        return transitions

    def _taken_from(self, encoder: Encoder) -> dict[str, Any]:
        """Return the options of the encoder's training that are not given.

        Raises:
            ValueError: the rule of the displacement is a function, which would execute code.
        """
        taken = {name: value for name, value in recorded_options(encoder).items() if name not in self.given}
        rule = taken.get("displacement")
        if rule is not None and not rule.startswith(("column:", "difference:")):
            raise ValueError(
                f"expected --displacement: the encoder was trained with the function {rule}, and a function is called "
                "only if you give it; repeat the option, or give column:NAME or difference:NAME"
            )
        return taken


def recorded_options(encoder: Encoder) -> dict[str, Any]:
    """Return the options with which the data of an encoder's training were read; none if none were given.

    Raises:
        ValueError: the card of the encoder has other entries there.
    """
    recorded = encoder.measured_on.get(DATA_OPTIONS, {})
    known: dict[str, type] = {field.name: str for field in fields(DataOptions)} | {"channel_first": bool}
    valid = isinstance(recorded, Mapping) and all(isinstance(value, known.get(k, ())) for k, value in recorded.items())
    if not valid:
        raise ValueError(
            f"expected {DATA_OPTIONS} with {', '.join(known)} in the card of the encoder, got {recorded!r}; take "
            "another copy of it"
        )
    return dict(recorded)


def states_itself(path: Path) -> bool:
    """Return whether equiact wrote a data set, which states its displacement and group."""
    from ...envs.data_formats.lerobot_card import CARD_PATH

    return own_group(path) is not None or (path / CARD_PATH).is_file()


def _source(path: Path, options: Mapping[str, Any], ground_truth: tuple[str, ...]) -> DataSource:
    return DataSource(path, **{"ground_truth": ground_truth, **options})


def _described(options: Mapping[str, Any]) -> str:
    """Return options as they are typed."""
    values = {name: str(value).lower() if isinstance(value, bool) else value for name, value in options.items()}
    return ", ".join(f"--{name.replace('_', '-')} {value}" for name, value in values.items())
