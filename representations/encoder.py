"""What every encoder is: a frozen-or-trained map from images to named latents, and a folder on disk one can trust."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from envs.transitions import Transitions
from representations.storage import CARD, WEIGHTS, replace_folder

Array = TypeVar("Array", np.ndarray[Any, Any], Tensor)

ENCODERS = {
    "AgentObjectEncoder": "representations.agent_object:AgentObjectEncoder",
    "Autoencoder": "representations.baselines.autoencoder:Autoencoder",
    "AutoencoderDynamics": "representations.baselines.dynamics:AutoencoderDynamics",
    "ClassPoseEncoder": "representations.class_pose:ClassPoseEncoder",
    "EquivariantEncoder": "representations.equivariant:EquivariantEncoder",
    "LinearDynamics": "representations.baselines.dynamics:LinearDynamics",
    "MDPHomomorphism": "representations.baselines.dynamics:MDPHomomorphism",
    "NeuralRenderer": "representations.baselines.neural_renderer:NeuralRenderer",
    "StabilizerEncoder": "representations.stabilizers:StabilizerEncoder",
    "HarmonicEncoder": "representations.harmonic_encoder:HarmonicEncoder",
}
"""Every encoder: its name and the class that makes it. A new encoder is one file and one line here."""

FORMAT = 1

CHUNK = 1024
"""Images that are encoded at a time, so that memory does not grow with their number."""


class EncoderFileError(ValueError):
    """A folder does not hold an encoder that can be trusted: something is missing, altered or does not match."""


class ObservationError(ValueError):
    """Observations are not what the encoder was trained on."""


class Encoder(nn.Module, ABC):
    """A map from images to named latents on which a group acts.

    Args:
        shape: height, width and channels of the images.
        group: name of the group that acts on the latents, such as ``"R2"``.

    Attributes:
        metrics: what was measured on held-out data when the encoder was trained; goes into its card.
    """

    def __init__(self, shape: tuple[int, int, int], group: str) -> None:
        super().__init__()
        height, width, channels = shape
        self.shape = (height, width, channels)
        self.group = group
        self.metrics: dict[str, float] = {}

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """Keyword arguments that make an encoder of the same architecture: attributes of the constructor's names."""
        values = {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @abstractmethod
    def latents(self, images: Tensor) -> dict[str, Tensor]:
        """Named latents ``(B, ...)`` of float images ``(B, C, H, W)`` in [0, 1]."""

    @property
    @abstractmethod
    def latent_dim(self) -> int:
        """Total number of coordinates of all latents."""

    def forward(self, observations: Tensor) -> Tensor:
        """All latents side by side, ``(B, latent_dim)``, of uint8 images ``(B, H, W, C)``."""
        return torch.cat([latent.flatten(1) for latent in self.latents(to_images(observations)).values()], 1)

    def encode(self, observations: Array) -> dict[str, Array]:
        """Named latents of uint8 images, without gradients, as in evaluation mode: each image on its own.

        Args:
            observations: ``(B, H, W, C)`` uint8, NumPy or torch (on any device).

        Returns:
            A dictionary of ``(B, ...)`` float32 latents, of the kind that was given.

        Raises:
            ObservationError: another shape or type, such as float images.
        """
        given = as_tensor(observations) if isinstance(observations, np.ndarray) else observations
        self._require(given)
        device = next(chain(self.parameters(), self.buffers())).device
        with torch.no_grad(), _evaluating(self):
            parts = [self.latents(to_images(part.to(device))) for part in torch.split(given, CHUNK)]
        latents = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        if isinstance(observations, np.ndarray):
            return {name: latent.cpu().numpy() for name, latent in latents.items()}
        return latents

    def save(self, folder: str | Path) -> None:
        """Write the encoder as a folder: weights (safetensors) and a JSON card. Replaces the folder as a whole."""
        folder = Path(folder)
        weights = save_tensors({name: value.contiguous() for name, value in self.state_dict().items()})
        card = {
            "format": FORMAT,
            "class": type(self).__name__,
            "hyperparameters": self.hyperparameters,
            "input": {"shape": list(self.shape), "dtype": "uint8", "range": [0, 255], "layout": "BHWC, RGB"},
            "group": self.group,
            "metrics": self.metrics,
            "sha256": hashlib.sha256(weights).hexdigest(),
        }
        replace_folder(folder, {WEIGHTS: weights, CARD: json.dumps(card, indent=2).encode()})

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> Self:
        """Read an encoder; nothing that is read is executed.

        Args:
            folder: what `save` wrote.
            device: where to put it.

        Raises:
            EncoderFileError: a file is missing, truncated or altered, or holds another class of encoder than ``cls``.
        """
        card = _read_card(Path(folder))
        kind = encoder_class(str(card["class"]))
        if not issubclass(kind, cls):
            raise EncoderFileError(f"{folder} holds a {card['class']}, a {cls.__name__} was expected")
        try:
            weights = (Path(folder) / WEIGHTS).read_bytes()
        except OSError as error:
            raise EncoderFileError(f"{folder} has no readable {WEIGHTS}: {error}") from error
        if hashlib.sha256(weights).hexdigest() != card["sha256"]:
            raise EncoderFileError(f"{WEIGHTS} in {folder} is truncated or altered: its hash is not the card's")
        try:
            encoder = kind(**card["hyperparameters"])
            encoder.load_state_dict(load_tensors(weights))
            consistent = encoder.group == card["group"] and list(encoder.shape) == card["input"]["shape"]
            encoder.metrics = dict(card["metrics"])
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
            raise EncoderFileError(f"{folder}: the card does not match the weights: {error}") from error
        if not consistent:
            raise EncoderFileError(f"{folder}: the card contradicts itself about its group or its input's shape")
        return encoder.to(device).eval()

    def require_fitting(self, transitions: Transitions) -> None:
        """Check that transitions are of this encoder's group and frames.

        Raises:
            ValueError: they are not.
        """
        if transitions.group != self.group:
            raise ValueError(f"the encoder is for the group {self.group}, the transitions have {transitions.group}")
        if transitions.frames.shape[1:] != self.shape:
            raise ValueError(f"frames of shape {self.shape} were expected, got {transitions.frames.shape[1:]}")

    def _require(self, observations: Tensor) -> None:
        if observations.dtype != torch.uint8:
            raise ObservationError(
                f"uint8 images with values from 0 to 255 were expected, got {observations.dtype}; "
                "images scaled to [0, 1] must be scaled back: (255 * images).round() as uint8"
            )
        if observations.ndim != 4 or tuple(observations.shape[1:]) != self.shape:
            expected = ", ".join(map(str, self.shape))
            raise ObservationError(f"images (B, {expected}) were expected, got {tuple(observations.shape)}")


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    if not module.training:
        yield
        return
    module.eval()
    try:
        yield
    finally:
        module.train()


def as_tensor(array: np.ndarray[Any, Any]) -> Tensor:
    """The same memory as a tensor, to be read only: torch warns of arrays that are read-only, as `Transitions` are."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)


def to_images(observations: Tensor) -> Tensor:
    """uint8 ``(B, H, W, C)`` to float ``(B, C, H, W)`` in [0, 1], in channels-last memory."""
    return observations.permute(0, 3, 1, 2).float().mul_(1 / 255)


def encoder_class(name: str) -> type[Encoder]:
    """The class of the encoder with this name.

    Raises:
        EncoderFileError: there is no such encoder.
    """
    if name not in ENCODERS:
        raise EncoderFileError(f"there is no encoder {name!r}; choose from {sorted(ENCODERS)}")
    module, attribute = ENCODERS[name].split(":")
    kind: type[Encoder] = getattr(importlib.import_module(module), attribute)
    return kind


def _read_card(folder: Path) -> dict[str, Any]:
    try:
        card = json.loads((folder / CARD).read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise EncoderFileError(f"{folder} has no readable {CARD}: {error}") from error
    if not isinstance(card, dict):
        raise EncoderFileError(f"{folder / CARD} is not a JSON object")
    missing = {"format", "class", "hyperparameters", "input", "group", "metrics", "sha256"} - set(card)
    if missing:
        raise EncoderFileError(f"{folder / CARD} lacks {sorted(missing)}")
    if card["format"] != FORMAT:
        raise EncoderFileError(f"{folder / CARD} has format {card['format']}, this version reads format {FORMAT}")
    return card
