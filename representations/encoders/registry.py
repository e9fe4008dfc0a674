"""Names of encoders, of their configurations and learners; configuration files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ...envs.named_registry import RegistryError
from ..learning.config import ConfigError, from_dict
from .encoder_names import ENCODERS as ENCODERS

if TYPE_CHECKING:
    from ...envs.data.transitions import Transitions
    from ..learning.learner import Learner
    from .encoder import Encoder

Shape = tuple[int, int, int]
EncoderType = TypeVar("EncoderType", bound="type[Encoder]")
LearnerType = TypeVar("LearnerType", bound="type[Any]")

_ENCODER_OF_CONFIG: dict[type[Any], type[Encoder]] = {}

COMMAND_KEYS = frozenset(
    {
        "channel_first",
        "data",
        "decoder_steps",
        "device",
        "displacement",
        "format",
        "ground_truth",
        "group",
        "held_out",
        "held_out_share",
        "image_key",
        "logger",
        "output_dir",
        "seed",
        "steps_scale",
        "transitions",
        "world",
    }
)
"""Keys of a configuration file that belong to the command `equiact train`, and not to the encoder."""


def register_encoder(name: str) -> Callable[[EncoderType], EncoderType]:
    """Return a decorator that registers an encoder class under a name.

    The name is used on the command line, in configuration files and in the cards of saved encoders.

    Args:
        name: name of the encoder, such as ``"class-pose"``.

    Raises:
        RegistryError: another class has this name.
        ConfigError: the class has no ``config_class`` of its own that is a frozen dataclass with defaults.
    """

    def add(encoder_cls: EncoderType) -> EncoderType:
        _require_config_class(encoder_cls)
        other = _ENCODER_OF_CONFIG.get(encoder_cls.config_class)
        if other is not None and other.registered_name != name:
            raise ConfigError(
                f"{encoder_cls.config_class.__name__} is already the configuration of {other.__name__}; "
                f"derive one from it for {encoder_cls.__name__}"
            )
        ENCODERS.add(name, encoder_cls)
        _ENCODER_OF_CONFIG[encoder_cls.config_class] = encoder_cls
        encoder_cls.registered_name = name
        return encoder_cls

    return add


def register_learner(encoder_cls: type[Encoder]) -> Callable[[LearnerType], LearnerType]:
    """Return a decorator that makes a class the learner of an encoder class.

    The learner is built as ``SomeLearner(encoder, transitions)``. Subclasses of the encoder inherit it.

    Args:
        encoder_cls: class of the encoder.
    """

    def add(learner_cls: LearnerType) -> LearnerType:
        encoder_cls.learner_class = learner_cls
        return learner_cls

    return add


def encoder_class(name: str) -> type[Encoder]:
    """Return the class of the encoder with a name.

    Raises:
        RegistryError: no encoder has this name.
    """
    encoder_cls: type[Encoder] = ENCODERS.get(name)
    return encoder_cls


def encoder_config(name: str) -> Any:
    """Return the default configuration of the encoder with a name.

    Raises:
        RegistryError: no encoder has this name.
    """
    return encoder_class(name).config_class()


def encoder_of_config(config: Any) -> type[Encoder]:
    """Return the class of the encoder that a configuration belongs to.

    Raises:
        ConfigError: it belongs to no registered encoder.
    """
    if type(config) not in _ENCODER_OF_CONFIG:
        names = ", ".join(ENCODERS.names())
        raise ConfigError(f"expected the name or the configuration of an encoder, got {config!r}; names are {names}")
    return _ENCODER_OF_CONFIG[type(config)]


def make_encoder(name_or_config: Any, shape: Shape, group: str) -> Encoder:
    """Return a new encoder.

    Args:
        name_or_config: configuration of an encoder, or the name of one with its default configuration.
        shape: height, width and channels of the images.
        group: name of the group that acts, such as ``"R2"``.

    Raises:
        RegistryError: no encoder has this name.
        ConfigError: the configuration belongs to no registered encoder.
        ValueError: the encoder does not suit the group or the shape.
    """
    if isinstance(name_or_config, str):
        return encoder_class(name_or_config)(shape, group)
    return encoder_of_config(name_or_config)(shape, group, name_or_config)


def make_learner(encoder: Encoder, transitions: Transitions) -> Learner:
    """Return the learner that trains an encoder on transitions.

    Raises:
        DataError: nothing can be learned from the transitions.
        RegistryError: the encoder has no learner.
        ValueError: the transitions do not fit the encoder.
    """
    from ..learning.data_checks import require_trainable

    if encoder.learner_class is None:
        ENCODERS.discover()  # the learner may be in another file than the encoder
    if encoder.learner_class is None:
        raise RegistryError(
            f"{type(encoder).__name__} has no learner; decorate one with @register_learner({type(encoder).__name__})"
        )
    learner: Learner = encoder.learner_class(encoder, transitions)
    require_trainable(transitions, learner.stages())
    return learner


def load_config(path: str | Path) -> Any:
    """Return the configuration in a YAML or JSON file.

    The key ``encoder`` names the encoder; the other keys are those of its configuration. Keys of the command, such as
    ``world``, are left out: `load_config_file` returns them, too.

    Raises:
        ConfigError: the file is not YAML or JSON, ``encoder`` is missing, or a key or value is wrong.
        RegistryError: no encoder has this name.
    """
    return load_config_file(path)[0]


def load_config_file(path: str | Path) -> tuple[Any, dict[str, Any]]:
    """Return the configuration in a YAML or JSON file, and the options of the command in it (`COMMAND_KEYS`).

    Raises:
        ConfigError: the file is not YAML or JSON, ``encoder`` is missing, or a key or value is wrong.
        RegistryError: no encoder has this name.
    """
    values = _read_mapping(Path(path))
    name = values.pop("encoder", None)
    if not isinstance(name, str):
        raise ConfigError(
            f"expected the key 'encoder' in {path}, such as 'encoder: class-pose', got {name!r}; "
            "only the command line can choose it by the world"
        )
    options = {key: values.pop(key) for key in sorted(COMMAND_KEYS & values.keys())}
    try:
        return from_dict(encoder_class(name).config_class, values), options
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else _parse_yaml(text)
    except (OSError, ValueError) as error:
        raise ConfigError(f"expected a readable YAML or JSON file at {path}, got: {error}") from error
    if not isinstance(values, Mapping):
        raise ConfigError(f"expected a mapping of keys in {path}, got {type(values).__name__}")
    return {str(key): value for key, value in values.items()}


def _parse_yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise ImportError("YAML files need the package pyyaml; run pip install 'equiact[cli]', or use JSON") from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _require_config_class(encoder_cls: type[Encoder]) -> None:
    config_class = getattr(encoder_cls, "config_class", None)
    if not (isinstance(config_class, type) and is_dataclass(config_class)):
        raise ConfigError(f"{encoder_cls.__name__} needs the class attribute config_class, a frozen dataclass")
    if not config_class.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise ConfigError(f"{config_class.__name__} must be frozen; write @dataclass(frozen=True)")
    try:
        config_class()
    except TypeError as error:
        raise ConfigError(f"{config_class.__name__} must have a default for every field: {error}") from error
