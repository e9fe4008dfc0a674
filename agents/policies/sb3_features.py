"""Use a trained encoder in Stable-Baselines3: as the features extractor of a policy, or as an environment wrapper."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.preprocessing import get_flattened_obs_dim, is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from torch import Tensor, nn

from ...envs.storage.json_cards import CARD
from ...representations.encoders.encoder import Encoder, flatten_latents
from .encode_observation import EncodedSpace, as_encoder
from .image_layout import ImageLayout, find_layouts

_MEMO = "equiact_encoders"
"""Attribute of an observation space that holds the cards of the encoders which see it.

Stable-Baselines3 saves the space in the file of a model, beside all weights: with the card the model loads anywhere.
"""


class EncoderFeatures(BaseFeaturesExtractor):
    """The latents of a saved encoder as features: for ``CnnPolicy``, ``MultiInputPolicy`` and any algorithm.

    Images may be channels first, and stacks of frames, which become ``frames * latent_dim`` features. Of a Dict
    observation, such as that of a goal environment with hindsight experience replay, the images are encoded and the
    other entries appended as they are.

    A model saves the architecture and the weights of the encoder in its own file, so that it loads where the folder is
    not.

    Args:
        observation_space: of uint8 images, plainly or in a Dict.
        encoder: folder of the encoder, or the encoder, which is copied.
        frozen: whether the encoder stays as it is to the last bit (no gradient, evaluation mode), or is fine-tuned.
        keys: entries of a Dict observation to encode; all with images that the encoder sees by default.

    Raises:
        ArtifactError: there is no encoder in the folder, or it is damaged.
        ValueError: the observations hold other images than the encoder sees.

    Example:
        ``SAC("CnnPolicy", env, policy_kwargs={"features_extractor_class": EncoderFeatures,
        "features_extractor_kwargs": {"encoder": "runs/demo/encoder"}, "share_features_extractor": True})``
    """

    def __init__(
        self,
        observation_space: gym.Space[Any],
        encoder: Encoder | str | Path,
        frozen: bool = True,
        keys: Sequence[str] | None = None,
    ) -> None:
        loaded, memo = _load_or_rebuild(encoder, observation_space)
        layouts = find_layouts(observation_space, loaded.shape, keys)
        _require_no_other_images(observation_space, layouts, loaded)
        sizes = {key: layout.frames * loaded.latent_dim for key, layout in layouts.items()}
        if isinstance(observation_space, gym.spaces.Dict):
            sizes |= {key: get_flattened_obs_dim(s) for key, s in observation_space.items() if key not in layouts}
        super().__init__(observation_space, sum(sizes.values()))
        self.encoder = loaded.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self.frozen = frozen
        self._layouts, self._digests = layouts, memo["digests"]
        self._source = "the encoder" if isinstance(encoder, Encoder) else str(encoder)
        vars(observation_space).setdefault(_MEMO, {})[self._source] = memo
        if frozen:
            _freeze(self.encoder)
        self._ready = _has_weights(self.encoder)
        self.register_load_state_dict_post_hook(_check_weights)  # type: ignore[no-untyped-call]

    def forward(self, observations: Tensor | dict[str, Tensor]) -> Tensor:
        """Return the features ``(B, features_dim)`` of preprocessed observations, whose images are in [0, 1].

        Raises:
            ValueError: the images have another shape, or values above 1.
        """
        if isinstance(observations, Tensor):
            return self._encode(None, observations)
        parts = [
            self._encode(key, value) if key in self._layouts else value.flatten(1)
            for key, value in ((key, observations[key]) for key in self._observation_space.spaces)  # type: ignore[attr-defined]
        ]
        return torch.cat(parts, 1)

    def _encode(self, key: str | None, images: Tensor) -> Tensor:
        if not self._ready:
            raise RuntimeError(
                f"expected an encoder in {self._source}, got nothing there, and no weights from the file of a model; "
                "a new model needs the folder of the encoder"
            )
        layout = self._layouts[key]
        frames = layout.to_frames(images).permute(0, 3, 1, 2)
        if layout.has_frame_axis:  # four axes are no image to Stable-Baselines3, which leaves them as they are
            frames = frames / 255
        if bool(frames.max() > 1):
            raise ValueError(
                f"expected images in [0, 1], got values up to {float(frames.max()):g}; the encoder needs the scaling "
                "of Stable-Baselines3: leave normalize_images=True, and let the environment observe uint8"
            )
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            features: Tensor = flatten_latents(self.encoder.float_latents(frames))
        return features.reshape(len(images), -1)

    def train(self, mode: bool = True) -> Self:
        """Set the training mode of everything but a frozen encoder, whose batch statistics must not change."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def apply(self, fn: Callable[[nn.Module], None]) -> Self:
        """Apply a function to this module, but not to the encoder, whose weights PPO and A2C would draw anew."""
        fn(self)
        return self

    def require_pretrained(self) -> None:
        """Raise unless the encoder's weights are those that it was saved with, to the last bit.

        Raises:
            RuntimeError: they are not, as after fine-tuning.
        """
        for name, digest in _digests(self.encoder).items():
            if digest != self._digests.get(name):
                raise RuntimeError(
                    f"{name} is not what {self._source} holds: the policy re-initialised or trained the encoder; "
                    "pass frozen=True to keep it"
                )


class VecEncodeObservation(VecEnvWrapper):
    """`EncodeObservation` for Stable-Baselines3's vector environments.

    Args:
        venv: a vector environment that observes uint8 images, plainly or in a Dict.
        encoder: the encoder, or its folder.
        keys: entries of a Dict observation to encode; all with images that the encoder sees by default.

    Raises:
        ValueError: the environment observes something else than the encoder sees; or its goals are images, whose reward
            cannot be computed from latents.
    """

    def __init__(self, venv: VecEnv, encoder: Encoder | str | Path, keys: Sequence[str] | None = None) -> None:
        self.encoder = as_encoder(encoder)
        self._observed = EncodedSpace(venv.observation_space, self.encoder, keys)
        if self._observed.encodes_goals and venv.has_attr("compute_reward"):
            raise ValueError(
                "expected goals that are not images, because compute_reward of the environments reads them; wrap each "
                "environment in EncodeObservation(env, encoder, goal_threshold=...) instead"
            )
        super().__init__(venv, observation_space=self._observed.space)

    def reset(self) -> NDArray[np.float32] | dict[str, NDArray[Any]]:
        encoded: NDArray[np.float32] | dict[str, NDArray[Any]] = self._observed.encode(self.venv.reset())
        return encoded

    def step_wait(self) -> Any:
        observation, reward, done, infos = self.venv.step_wait()
        for index in np.flatnonzero(done):
            infos[index]["terminal_observation"] = self._observed.encode_one(infos[index]["terminal_observation"])
        return self._observed.encode(observation), reward, done, infos


def _load_or_rebuild(encoder: Encoder | str | Path, space: gym.Space[Any]) -> tuple[Encoder, dict[str, Any]]:
    """Return an encoder of its own, and its card with the digests of its weights.

    If the folder is gone, the encoder is rebuilt from the card that a saved model keeps in its observation space; the
    model then loads the weights from its own file.
    """
    if isinstance(encoder, Encoder):
        loaded = copy.deepcopy(encoder).eval()
    else:
        saved = getattr(space, _MEMO, {}).get(str(encoder))
        if saved is not None and not (Path(encoder).expanduser() / CARD).exists():
            return _without_weights(Encoder.from_card(saved["card"], f"the model saved with {encoder}")), saved
        loaded = Encoder.load(encoder)
    return loaded, {"card": loaded.card(), "digests": _digests(loaded)}


def _without_weights(encoder: Encoder) -> Encoder:
    """Return an encoder whose weights are NaN, so that it cannot be used before it got those of a saved model."""
    with torch.no_grad():
        for value in encoder.state_dict().values():
            if value.is_floating_point():
                value.fill_(torch.nan)
    return encoder.eval()


def _has_weights(encoder: Encoder) -> bool:
    return not any(value.isnan().any() for value in encoder.state_dict().values() if value.is_floating_point())


def _digests(encoder: Encoder) -> dict[str, str]:
    """Return the SHA-256 of each tensor of an encoder."""
    return {
        name: hashlib.sha256(np.ascontiguousarray(value.detach().cpu().numpy()).tobytes()).hexdigest()
        for name, value in encoder.state_dict().items()
    }


def _check_weights(module: nn.Module, incompatible_keys: Any) -> None:
    """Note whether an extractor has weights, after a state was loaded."""
    vars(module)["_ready"] = _has_weights(module.encoder)  # type: ignore[arg-type]


def _require_no_other_images(space: gym.Space[Any], layouts: dict[str | None, ImageLayout], encoder: Encoder) -> None:
    """Raise if a Dict observation has images that would be appended to the features pixel by pixel."""
    entries = space.spaces.items() if isinstance(space, gym.spaces.Dict) else ()
    others = [f"{key} {entry.shape}" for key, entry in entries if key not in layouts and is_image_space(entry)]
    if others:
        raise ValueError(
            f"expected images {encoder.shape} in every image entry, as the encoder sees, got {', '.join(others)}, "
            "which would become features pixel by pixel; resize them or remove them with a wrapper of the environment"
        )


def _freeze(module: nn.Module) -> None:
    """Make every parameter a buffer: what averages parameters, as the critic's target does, would round them away."""
    for part in module.modules():
        for name, value in list(part.named_parameters(recurse=False)):
            delattr(part, name)
            part.register_buffer(name, value.detach())
