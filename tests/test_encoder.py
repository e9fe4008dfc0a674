"""Contract of every encoder: named latents of uint8 images, one image at a time, with gradients where they belong."""

import re
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from equiact.representations.encoders.agent_object import AgentObjectConfig, AgentObjectEncoder
from equiact.representations.encoders.encoder import Encoder, ObservationError, to_images
from equiact.representations.encoders.registry import ENCODERS, encoder_class, encoder_config
from equiact.representations.learning.config import ConfigError, from_dict
from numpy.typing import NDArray

SHAPE = (32, 32, 3)
NOT_IN_LATENTS = {
    "agent-object": r"outline.coefficients|log_softness",
    "agent-objects": r"parts.\d.(outline.coefficients|log_softness)|parts.1.agent_.*",
    "autoencoder-dynamics": r"transition.*",
    "mdp-homomorphism": r"transition.*",
}
"""Parameters of the likelihood of contact, of transitions, and of the agent of further objects, which do not determine
the latents; regular expressions."""

OURS = [name for name, encoder_cls in ENCODERS.items() if encoder_cls.__module__.startswith("equiact.")]
"""Names of the encoders of the package, without those that other tests register."""

all_encoders = pytest.mark.parametrize("name", OURS)
all_backbones = pytest.mark.parametrize("backbone", ["spatial_softmax", "resnet18"])


def make(name: str = "agent-object", seed: int = 0, group: str | None = None, **config: Any) -> Encoder:
    torch.manual_seed(seed)
    encoder_cls = encoder_class(name)
    group = group or ("SO3" if name == "harmonics" else "R2")
    return encoder_cls(SHAPE, group, from_dict(encoder_cls.config_class, config))


def random_images(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE), dtype=np.uint8)


def warm_up(encoder: Encoder) -> Encoder:
    """Change the batch statistics, if there are any, from their initial values."""
    with torch.no_grad():
        encoder.latents(to_images(torch.from_numpy(random_images(8, seed=9))))
    return encoder.eval()


@all_encoders
@all_backbones
def test_latents_reach_every_parameter(name: str, backbone: str) -> None:
    encoder = make(name, backbone=backbone)
    latents = encoder.latents(to_images(torch.from_numpy(random_images(8))))
    torch.stack([(latent**2).sum() for latent in latents.values()]).sum().backward()
    idle = {name for name, value in encoder.named_parameters() if value.grad is None}
    assert idle == {key for key, _ in encoder.named_parameters() if re.fullmatch(NOT_IN_LATENTS.get(name, ""), key)}
    for key, value in encoder.named_parameters():
        if value.ndim > 1 and value.grad is not None:
            assert value.grad.abs().max() > 0, key


@all_encoders
@all_backbones
def test_encode_returns_arrays_for_arrays_and_tensors_for_tensors(name: str, backbone: str) -> None:
    encoder = make(name, backbone=backbone).eval()
    images = random_images(3)
    arrays, tensors = encoder.encode(images), encoder.encode(torch.from_numpy(images))
    assert list(arrays) == list(tensors)
    assert sum(latent[0].size for latent in arrays.values()) == encoder.latent_dim
    for key, array in arrays.items():
        assert isinstance(array, np.ndarray)
        assert array.dtype == np.float32
        assert len(array) == 3
        tensor = tensors[key]
        assert isinstance(tensor, torch.Tensor)
        assert not tensor.requires_grad
        np.testing.assert_array_equal(array, tensor.numpy())
    flat = np.concatenate([latent.reshape(3, -1) for latent in arrays.values()], 1)
    np.testing.assert_array_equal(encoder.encode_flat(images), flat)
    np.testing.assert_array_equal(encoder.encode_flat(torch.from_numpy(images)).numpy(), flat)
    np.testing.assert_allclose(encoder(torch.from_numpy(images)).detach().numpy(), flat, atol=1e-6)
    assert encoder.encode_flat(images[:0]).shape == (0, encoder.latent_dim)


@pytest.mark.parametrize(
    ("options", "shapes"),
    [
        ({"group": "R2"}, {"agent": (5, 2), "object": (5, 2)}),
        ({"group": "R3"}, {"agent": (5, 3), "object": (5, 3)}),
        ({"object_shape": "any"}, {"agent": (5, 2), "object": (5, 2), "orientation": (5, 2)}),
    ],
)
def test_names_and_shapes_of_agent_object_latents(options: dict[str, Any], shapes: dict[str, Any]) -> None:
    latents = make(**options).encode(random_images(5))
    assert {key: latent.shape for key, latent in latents.items()} == shapes


@all_encoders
@all_backbones
def test_the_latents_of_an_image_do_not_depend_on_its_batch(name: str, backbone: str) -> None:
    encoder = warm_up(make(name, backbone=backbone))
    images = random_images(6)
    together = encoder.encode(images)
    for i in range(6):
        for key, alone in encoder.encode(images[i : i + 1]).items():
            np.testing.assert_allclose(together[key][i], alone[0], atol=1e-5, err_msg=key)
    differ = [np.ptp(latent, axis=0).max() for latent in together.values()]
    assert min(differ) > 1e-5, "all images have the same latents"


@all_encoders
def test_encode_does_not_change_its_input_and_accepts_read_only_frames(name: str) -> None:
    encoder, images = make(name).eval(), random_images(2)
    images.flags.writeable = False
    before = images.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.encode(images)
    np.testing.assert_array_equal(images, before)


@all_encoders
@pytest.mark.parametrize(
    ("images", "expected", "got"),
    [
        (random_images(2) / np.float32(255), "uint8", "float32"),
        (random_images(2).astype(np.int64), "uint8", "int64"),
        (random_images(2)[:, :16], r"32, 32, 3", r"\(2, 16, 32, 3\)"),
        (random_images(2)[..., :1], r"32, 32, 3", r"\(2, 32, 32, 1\)"),
        (random_images(2).transpose(0, 3, 1, 2), r"32, 32, 3", r"\(2, 3, 32, 32\)"),
        (random_images(1)[0], r"32, 32, 3", r"\(32, 32, 3\)"),
    ],
)
def test_other_images_are_refused(name: str, images: NDArray[Any], expected: str, got: str) -> None:
    with pytest.raises(ObservationError, match=f"{expected}.*were expected, got .*{got}"):
        make(name).encode(images)


def test_orientation_is_a_unit_vector() -> None:
    orientation = make(object_shape="any").encode(random_images(16))["orientation"]
    np.testing.assert_allclose(np.linalg.norm(orientation, axis=1), 1, atol=1e-5)
    assert np.ptp(orientation, axis=0).max() > 1e-5


def test_encoding_during_training_uses_no_batch_statistics_and_changes_nothing() -> None:
    encoder = warm_up(make("class-pose", backbone="strided"))
    expected, before = encoder.encode(random_images(3)), {k: v.clone() for k, v in encoder.state_dict().items()}
    encoder.train()
    for key, latent in encoder.encode(random_images(3)).items():
        np.testing.assert_array_equal(latent, expected[key])
    assert encoder.training and all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())


def test_images_that_are_no_array_are_refused() -> None:
    images: Any = [[0]]
    with pytest.raises(ObservationError, match="array or a tensor was expected, got list"):
        make().encode(images)


def test_views_are_encoded_as_their_copies() -> None:
    """Such as RGB views of BGR images, and mirrored images: torch has no negative strides."""
    encoder, images = make(), random_images(3)
    for view in (images[..., ::-1], images[:, ::-1], images[::-1], images[:, :, ::-1, ::-1]):
        for key, latent in encoder.encode(view.copy()).items():
            np.testing.assert_array_equal(encoder.encode(view)[key], latent)


@all_encoders
@pytest.mark.parametrize("shape", [(32, 32), (0, 32, 3), (32, -1, 3), (32.5, 32, 3), (True, 32, 3), "abc", 32])
def test_shapes_of_no_image_are_refused(name: str, shape: Any) -> None:
    with pytest.raises(ValueError, match="shape of three positive numbers"):
        encoder_class(name)(shape, "SO3")


@pytest.mark.parametrize(("backbone", "pixels"), [("spatial_softmax", 4), ("strided", 16), ("resnet18", 8)])
def test_images_too_small_for_the_backbone_are_refused(backbone: str, pixels: int) -> None:
    config = AgentObjectConfig(backbone=backbone)
    AgentObjectEncoder((pixels, pixels, 3), "R2", config)
    with pytest.raises(ValueError, match=rf"at least {pixels} pixels a side, got 1 × 1"):
        AgentObjectEncoder((1, 1, 3), "R2", config)


def test_the_configuration_of_another_encoder_is_refused() -> None:
    with pytest.raises(
        ConfigError, match="AgentObjectEncoder needs a configuration AgentObjectConfig, got Translation"
    ):
        AgentObjectEncoder(SHAPE, "R2", encoder_config("translation"))
