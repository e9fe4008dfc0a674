"""The base class of all encoders: a map from images to named latents, saved as a folder."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from ...envs.data.transitions import Transitions
from ...envs.lie_groups.registry import group_from_name
from ...envs.lie_groups.translations import Translations
from ...envs.named_registry import RegistryError
from ...envs.storage.artifacts import ArtifactError, ArtifactLimits, load_into, read_artifact, write_artifact
from ..learning.config import ConfigError, from_dict, to_dict
from ..learning.devices import resolve_device
from .encoder_names import ENCODERS
from .hub import HubMixin

Array = TypeVar("Array", np.ndarray[Any, Any], Tensor)

KIND = "encoder"
CHUNK = 1024
"""Images that are encoded at a time, so that memory does not grow with their number."""


class ObservationError(ValueError):
    """The images are not like those that the encoder was trained on."""


class Encoder(HubMixin, nn.Module, ABC):
    """Map images to named latents on which a group acts.

    A subclass sets ``config_class``, implements `latents` and `latent_dim`, and is decorated with
    `equiact.representations.encoders.registry.register_encoder`.

    Args:
        shape: height, width and channels of the images.
        group: name of the group that acts on the latents, such as ``"R2"``.
        config: hyper-parameters, an instance of ``config_class``; its defaults if none are given.

    Attributes:
        shape: height, width and channels of the images.
        group: name of the group.
        config: hyper-parameters.
        metrics: metrics on held-out data, for the card of the saved encoder.
        data_fingerprint: fingerprint of the transitions that the encoder was trained on, for the card.
        measured_on: where ``metrics`` were measured: values by name that JSON can hold, for the card.

    Raises:
        ConfigError: the configuration is that of another encoder.
        ValueError: the shape is not three positive numbers.
    """

    config_class: ClassVar[type[Any]]
    """Class of the configuration, a frozen dataclass."""
    learner_class: ClassVar[type[Any] | None] = None
    """Class of the learner, which `register_learner` sets."""
    registered_name: ClassVar[str]
    """Name of the encoder, which `register_encoder` sets."""
    group_valued: ClassVar[frozenset[str]] = frozenset({"pose", "poses"})
    """Names of the latents that hold elements of the group; they stay on it in half precision, too."""

    def __init__(self, shape: tuple[int, int, int], group: str, config: Any = None) -> None:
        super().__init__()
        self.shape = _checked_shape(shape)
        self.group = group
        self.config = self.config_class() if config is None else config
        if not isinstance(self.config, self.config_class):
            raise ConfigError(
                f"{type(self).__name__} needs a configuration {self.config_class.__name__}, got {config!r}"
            )
        self.metrics: dict[str, float] = {}
        self.data_fingerprint = ""
        self.measured_on: dict[str, Any] = {}

    @abstractmethod
    def latents(self, images: Tensor) -> dict[str, Tensor]:
        """Return named latents ``(B, ...)`` of float images ``(B, C, H, W)`` in [0, 1], with gradients."""

    @property
    @abstractmethod
    def latent_dim(self) -> int:
        """Number of coordinates of all latents together."""

    def forward(self, observations: Tensor) -> Tensor:
        """Return all latents side by side, ``(B, latent_dim)``, of uint8 images ``(B, H, W, C)``, with gradients."""
        return flatten_latents(self.float_latents(to_images(observations)))

    def float_latents(self, images: Tensor) -> dict[str, Tensor]:
        """Return named float32 latents ``(B, ...)`` in whatever precision the weights are, or autocast computes.

        Latents in half precision become float32, and those that hold group elements are projected to the group. In
        float32 they are those of `latents`, to the last bit.

        Args:
            images: ``(B, C, H, W)`` float in [0, 1].

        Example:
            >>> from equiact.representations.encoders.class_pose import ClassPoseEncoder
            >>> encoder = ClassPoseEncoder((32, 32, 3), "SO2").eval().to(torch.bfloat16)
            >>> pose = encoder.float_latents(torch.rand(4, 3, 32, 32))["pose"]
            >>> pose.dtype, bool((pose.norm(dim=1) - 1).abs().max() < 1e-6)
            (torch.float32, True)
        """
        latents = self.latents(images.to(self._dtype()))
        return {name: self._as_float32(name, latent) for name, latent in latents.items()}

    def _dtype(self) -> torch.dtype:
        """Return the precision of the weights."""
        return next(value.dtype for value in chain(self.parameters(), self.buffers()) if value.is_floating_point())

    def _as_float32(self, name: str, latent: Tensor) -> Tensor:
        if latent.dtype == torch.float32:
            return latent
        latent = latent.float()
        return group_from_name(self.group).project(latent) if name in self.group_valued else latent

    def encode(self, observations: Array) -> dict[str, Array]:
        """Return named latents of uint8 images, without gradients and in evaluation mode.

        Args:
            observations: ``(B, H, W, C)`` uint8, NumPy or torch (on any device).

        Returns:
            A dictionary of ``(B, ...)`` float32 latents, NumPy or torch as the images.

        Raises:
            ObservationError: the shape or the type is another one, such as float images.
        """
        self._require(observations)
        given = as_tensor(observations) if isinstance(observations, np.ndarray) else observations
        device = next(chain(self.parameters(), self.buffers())).device
        with torch.no_grad(), _evaluating(self):
            parts = [self.float_latents(to_images(part.to(device))) for part in torch.split(given, CHUNK)]
        latents = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        if isinstance(observations, np.ndarray):
            return {name: latent.cpu().numpy() for name, latent in latents.items()}
        return latents

    def encode_flat(self, observations: Array) -> Array:
        """Return all latents of uint8 images side by side, ``(B, latent_dim)``; otherwise as `encode`.

        Raises:
            ObservationError: the shape or the type is another one, such as float images.
        """
        return flatten_latents(self.encode(observations))

    def save(self, folder: str | Path) -> None:
        """Write the encoder as a folder: the weights (safetensors) and a card (JSON) with one hash over both.

        Args:
            folder: a new folder, or one with a saved encoder, which is replaced.

        Raises:
            ArtifactError: the folder holds other things or cannot be written to, or a weight is not finite.
            RegistryError: the class of the encoder is not registered.
        """
        write_artifact(folder, KIND, self.card(), self.state_dict())

    def card(self) -> dict[str, Any]:
        """Return what describes the encoder beside its weights: class, configuration, group, input and metrics.

        Raises:
            RegistryError: the class of the encoder is not registered.
        """
        name = vars(type(self)).get("registered_name")
        if name is None:
            raise RegistryError(f'{type(self).__name__} has no name; decorate it with @register_encoder("some-name")')
        return {
            "encoder": name,
            "config": to_dict(self.config),
            "group": self.group,
            "input": {"shape": list(self.shape), "dtype": "uint8", "range": [0, 255], "layout": "BHWC, RGB"},
            "data_fingerprint": self.data_fingerprint,
            "metrics": {key: _finite(value) for key, value in self.metrics.items()},
            "measured_on": self.measured_on,
        }

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu", limits: ArtifactLimits | None = None) -> Self:
        """Read a saved encoder; nothing that is read is executed.

        Args:
            folder: folder that `save` wrote.
            device: ``"cpu"``, ``"cuda"``, or ``"auto"``, which takes a GPU if there is one.
            limits: largest sizes to accept.

        Returns:
            The encoder, in evaluation mode.

        Raises:
            ArtifactError: a file is missing, damaged or altered, or holds another class of encoder than ``cls``.
            ValueError: there is no such device.
        """
        limits, where = limits or ArtifactLimits(), resolve_device(device)
        card, tensors = read_artifact(folder, KIND, limits)
        encoder = load_into(cls._maker(card, folder), tensors, folder, limits)
        encoder.metrics = {str(k): math.nan if v is None else float(v) for k, v in dict(card["metrics"]).items()}
        encoder.data_fingerprint = str(card.get("data_fingerprint", ""))
        encoder.measured_on = dict(card.get("measured_on", {}))
        return encoder.to(where)

    @classmethod
    def from_card(cls, card: Mapping[str, Any], source: str = "a card") -> Self:
        """Return an encoder with the architecture that a card describes, and untrained weights.

        Args:
            card: what `card` returned.
            source: where the card is from, for messages.

        Raises:
            ArtifactError: the card is damaged, or that of another class of encoder than ``cls``.
        """
        return cls._maker(card, source)()

    @classmethod
    def _maker(cls, card: Mapping[str, Any], source: str | Path) -> Callable[[], Self]:
        """Return a function that makes the untrained encoder of a card, after checking the card."""
        try:
            encoder_cls = ENCODERS.get(str(card["encoder"]))
            config = from_dict(encoder_cls.config_class, card["config"])
            shape, group = card["input"]["shape"], card["group"]
            # Read again by `load`: here only whether they can be read.
            _ = [float(value or 0) for value in dict(card["metrics"]).values()], dict(card.get("measured_on", {}))
        except RegistryError as error:
            raise ArtifactError(f"{source}: {error}; import the module that registers it first") from error
        except (ConfigError, KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"expected the card of an encoder in {source}, got a wrong entry: {error}") from error
        if not issubclass(encoder_cls, cls):
            raise ArtifactError(
                f"expected an encoder of the class {cls.__name__} in {source}, got {encoder_cls.__name__}"
            )
        return lambda: encoder_cls(shape, group, config)

    def require_fitting(self, transitions: Transitions) -> None:
        """Check that transitions have the group and the image shape of this encoder.

        Raises:
            ValueError: they have another group or shape.
        """
        if transitions.group != self.group:
            raise ValueError(f"the encoder is for the group {self.group}, the transitions have {transitions.group}")
        if transitions.frames.shape[1:] != self.shape:
            raise ValueError(f"frames of shape {self.shape} were expected, got {transitions.frames.shape[1:]}")

    def _require(self, observations: Any) -> None:
        require_images(observations, self.shape)


def require_images(observations: Any, shape: tuple[int, int, int]) -> None:
    """Check that observations are uint8 images ``(B, *shape)``.

    Raises:
        ObservationError: they have another type or shape.
    """
    if not isinstance(observations, np.ndarray | Tensor):
        raise ObservationError(f"a NumPy array or a tensor was expected, got {type(observations).__name__}")
    if observations.dtype not in (np.uint8, torch.uint8):
        raise ObservationError(
            f"uint8 images with values from 0 to 255 were expected, got {observations.dtype}; "
            "images scaled to [0, 1] must be scaled back: (255 * images).round() as uint8"
        )
    if observations.ndim != 4 or tuple(observations.shape[1:]) != tuple(shape):
        expected = ", ".join(map(str, shape))
        advice = "; use image[None] for a single image" if observations.ndim == 3 else ""
        raise ObservationError(f"images (B, {expected}) were expected, got {tuple(observations.shape)}{advice}")


def load_encoder(folder: str | Path, device: str = "cpu", *, limits: ArtifactLimits | None = None) -> Encoder:
    """Read a saved encoder of any class; nothing that is read is executed.

    Args:
        folder: folder that `Encoder.save` wrote.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"``, which takes a GPU if there is one.
        limits: largest sizes to accept.

    Returns:
        The encoder, in evaluation mode.

    Raises:
        ArtifactError: a file is missing, damaged or altered.
        ValueError: there is no such device.
    """
    return Encoder.load(folder, device, limits)


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def flatten_latents(latents: Mapping[str, Array]) -> Array:
    """Return named latents ``(B, ...)`` side by side, ``(B, latent_dim)``.

    Example:
        >>> flatten_latents({"agent": np.zeros((4, 2)), "poses": np.zeros((4, 3, 2))}).shape
        (4, 8)
    """
    flat: list[Any] = [latent.reshape(len(latent), math.prod(latent.shape[1:])) for latent in latents.values()]
    joined: Any = np.concatenate(flat, 1) if isinstance(flat[0], np.ndarray) else torch.cat(flat, 1)
    return cast("Array", joined)


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode for a while."""
    if not module.training:
        yield
        return
    module.eval()
    try:
        yield
    finally:
        module.train()


def translation_dim(group: str, encoder: str) -> int:
    """Return ``n`` of the group ``"R<n>"``.

    Args:
        group: name of the group.
        encoder: name of the encoder, for the message.

    Raises:
        ValueError: the group is another one.
    """
    acting = group_from_name(group)
    if not isinstance(acting, Translations):
        raise ValueError(f"the {encoder} encoder needs translations ('R2', 'R3', …), got the group {group!r}")
    return acting.dim


def as_tensor(array: np.ndarray[Any, Any]) -> Tensor:
    """Return an array as a tensor that shares its memory, to be read only.

    Views with negative strides, such as ``image[..., ::-1]``, are copied, because torch has none.
    """
    if any(stride < 0 for stride in array.strides):
        array = array.copy()
    with warnings.catch_warnings():
        # torch warns of read-only arrays, as those of `Transitions`.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)


def to_images(observations: Tensor) -> Tensor:
    """Return uint8 images ``(B, H, W, C)`` as float images ``(B, C, H, W)`` in [0, 1], in channels-last memory."""
    return observations.permute(0, 3, 1, 2).float().mul_(1 / 255)


def _checked_shape(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    values = list(shape) if isinstance(shape, tuple | list | torch.Size) else [shape]
    whole = [isinstance(size, int | np.integer) and not isinstance(size, bool) and size > 0 for size in values]
    if len(values) != 3 or not all(whole):
        raise ValueError(f"expected a shape of three positive numbers (height, width, channels), got {shape!r}")
    height, width, channels = map(int, values)
    return height, width, channels
