"""What every encoder keeps to, and the folder it is saved as: what was saved comes back, what was altered does not."""

import errno
import hashlib
import json
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from representations import storage
from representations.agent_object import AgentObjectEncoder
from representations.encoder import (
    CARD,
    ENCODERS,
    WEIGHTS,
    Encoder,
    EncoderFileError,
    ObservationError,
    encoder_class,
    to_images,
)

SHAPE = (32, 32, 3)
TRANSITION = {f"transition.{layer}.{name}" for layer in (0, 2, 4) for name in ("weight", "bias")}
NOT_IN_LATENTS = {
    "AgentObjectEncoder": {"log_radii", "log_softness"},
    "AutoencoderDynamics": TRANSITION,
    "MDPHomomorphism": TRANSITION,
}
"""Parameters of the likelihood of contact, and of transitions, which say nothing about where anything is."""

all_encoders = pytest.mark.parametrize("name", sorted(ENCODERS))
all_backbones = pytest.mark.parametrize("backbone", ["spatial_softmax", "resnet18"])


def make(name: str = "AgentObjectEncoder", seed: int = 0, **options: Any) -> Encoder:
    torch.manual_seed(seed)
    kind: Any = encoder_class(name)
    group = "SO3" if name == "HarmonicEncoder" else "R2"
    made: Encoder = kind(**{"shape": SHAPE, "group": group} | options)
    return made


def random_images(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE), dtype=np.uint8)


def warm_up(encoder: Encoder) -> Encoder:
    """Give the batch statistics, where there are any, other values than those they start with."""
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
    assert idle == NOT_IN_LATENTS.get(name, set())
    for key, value in encoder.named_parameters():
        if value.ndim > 1 and value.grad is not None:
            assert value.grad.abs().max() > 0, key


@all_encoders
@all_backbones
def test_encode_returns_what_it_was_given(name: str, backbone: str) -> None:
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
    side_by_side = np.concatenate([latent.reshape(3, -1) for latent in arrays.values()], 1)
    np.testing.assert_allclose(encoder(torch.from_numpy(images)).detach().numpy(), side_by_side, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "shapes"),
    [
        ({"group": "R2"}, {"agent": (5, 2), "object": (5, 2)}),
        ({"group": "R3"}, {"agent": (5, 3), "object": (5, 3)}),
        ({"elongated": True}, {"agent": (5, 2), "object": (5, 2), "orientation": (5, 2)}),
    ],
)
def test_names_and_shapes_of_agent_object_latents(options: dict[str, Any], shapes: dict[str, Any]) -> None:
    latents = make(**options).encode(random_images(5))
    assert {key: latent.shape for key, latent in latents.items()} == shapes


@all_encoders
@all_backbones
def test_an_image_is_encoded_alike_in_any_batch(name: str, backbone: str) -> None:
    encoder = warm_up(make(name, backbone=backbone))
    images = random_images(6)
    together = encoder.encode(images)
    for i in range(6):
        for key, alone in encoder.encode(images[i : i + 1]).items():
            np.testing.assert_allclose(together[key][i], alone[0], atol=1e-5, err_msg=key)
    differ = [np.ptp(latent, axis=0).max() for latent in together.values()]
    assert min(differ) > 1e-5, "all images look the same to it"


@all_encoders
def test_encode_leaves_its_input_alone_and_takes_read_only_frames_silently(name: str) -> None:
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
    orientation = make(elongated=True).encode(random_images(16))["orientation"]
    np.testing.assert_allclose(np.linalg.norm(orientation, axis=1), 1, atol=1e-5)
    assert np.ptp(orientation, axis=0).max() > 1e-5


@all_encoders
@all_backbones
def test_what_is_saved_is_loaded_to_the_last_bit(name: str, backbone: str, tmp_path: Path) -> None:
    encoder = warm_up(make(name, backbone=backbone))
    for value in encoder.buffers():
        if value.ndim == 0 and value.is_floating_point():
            value.fill_(0.37)
    encoder.metrics = {"agent_rmse": 0.1 + 0.2, "object_rmse": 1e-17}
    encoder.save(tmp_path / "deep" / "encoder")
    loaded = Encoder.load(tmp_path / "deep" / "encoder")
    assert type(loaded) is type(encoder)
    assert loaded.metrics == encoder.metrics
    assert loaded.hyperparameters == encoder.hyperparameters
    assert not loaded.training
    assert loaded.state_dict().keys() == encoder.state_dict().keys()
    for key, value in encoder.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key
    for key, latent in encoder.encode(random_images(4)).items():
        np.testing.assert_array_equal(loaded.encode(random_images(4))[key], latent)


def test_saving_again_replaces_the_whole_folder(tmp_path: Path) -> None:
    make(seed=0).save(tmp_path / "encoder")
    (tmp_path / "encoder" / "stale.txt").write_text("of the encoder before")
    second = make(seed=1)
    second.save(tmp_path / "encoder")
    assert sorted(path.name for path in (tmp_path / "encoder").iterdir()) == sorted([CARD, WEIGHTS])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["encoder"]
    loaded = Encoder.load(tmp_path / "encoder")
    assert all(torch.equal(loaded.state_dict()[key], value) for key, value in second.state_dict().items())


def test_a_folder_of_other_things_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="holds other things, which would be lost; choose another folder"):
        make().save(tmp_path)
    assert (tmp_path / "thesis.tex").exists()
    (tmp_path / "empty").mkdir()
    make().save(tmp_path / "empty")


def test_encoding_while_training_neither_sees_the_batch_nor_changes_the_encoder() -> None:
    encoder = warm_up(make("ClassPoseEncoder", backbone="strided"))
    expected, before = encoder.encode(random_images(3)), {k: v.clone() for k, v in encoder.state_dict().items()}
    encoder.train()
    for key, latent in encoder.encode(random_images(3)).items():
        np.testing.assert_array_equal(latent, expected[key])
    assert encoder.training and all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())


def edit_card(**changes: Any) -> Callable[[Path], None]:
    """Write other values into the card; a function maps the old value to the new."""

    def edit(folder: Path) -> None:
        card = json.loads((folder / CARD).read_text())
        for key, change in changes.items():
            card[key] = change(card[key]) if callable(change) else change
        (folder / CARD).write_text(json.dumps(card))

    return edit


def drop_from_card(key: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        card = json.loads((folder / CARD).read_text())
        del card[key]
        (folder / CARD).write_text(json.dumps(card))

    return edit


def edit_weights(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda folder: (folder / WEIGHTS).write_bytes(change((folder / WEIGHTS).read_bytes())) and None


def write_card(text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / CARD).write_text(text) and None


def flip(weights: bytes) -> bytes:
    return weights[:-5] + bytes([weights[-5] ^ 1]) + weights[-4:]


TAMPERINGS: dict[str, Callable[[Path], None]] = {
    "flipped bit": edit_weights(flip),
    "truncated": edit_weights(lambda weights: weights[: len(weights) // 2]),
    "empty": edit_weights(lambda weights: b""),
    "no weights": lambda folder: (folder / WEIGHTS).unlink(),
    "no card": lambda folder: (folder / CARD).unlink(),
    "not JSON": write_card("{"),
    "not text": lambda folder: (folder / CARD).write_bytes(b"\xff\xfe\x00"),
    "a list": write_card("[]"),
    "a number": write_card("5"),
    "a null": write_card("null"),
    **{
        f"no {key}": drop_from_card(key)
        for key in ("format", "class", "hyperparameters", "input", "group", "metrics", "sha256")
    },
    "other format": edit_card(format=2),
    "unknown class": edit_card(**{"class": "Unknown"}),
    "a class of another module": edit_card(**{"class": "os:system"}),
    "other backbone": edit_card(hyperparameters=lambda old: old | {"backbone": "resnet18"}),
    "no such backbone": edit_card(hyperparameters=lambda old: old | {"backbone": "vgg"}),
    "elongated": edit_card(hyperparameters=lambda old: old | {"elongated": True}),
    "other size": edit_card(hyperparameters=lambda old: old | {"shape": [64, 64, 3]}),
    "shape of words": edit_card(hyperparameters=lambda old: old | {"shape": ["a", "b", "c"]}),
    "unknown hyperparameter": edit_card(hyperparameters=lambda old: old | {"depth": 3}),
    "hyperparameters that are a list": edit_card(hyperparameters=[1]),
    "a group that is a number": edit_card(hyperparameters=lambda old: old | {"group": 2}),
    "other group": edit_card(group="R3"),
    "other group throughout": edit_card(group="R3", hyperparameters=lambda old: old | {"group": "R3"}),
    "a rotation group throughout": edit_card(group="SO2", hyperparameters=lambda old: old | {"group": "SO2"}),
    "input without shape": edit_card(input={}),
    "input that is a list": edit_card(input=[]),
    "metrics that are a number": edit_card(metrics=3),
}


@pytest.mark.parametrize("tamper", TAMPERINGS.values(), ids=TAMPERINGS)
def test_an_altered_folder_is_refused(tamper: Callable[[Path], None], tmp_path: Path) -> None:
    make().save(tmp_path)
    Encoder.load(tmp_path)
    tamper(tmp_path)
    with pytest.raises(EncoderFileError, match=r"\w"):
        Encoder.load(tmp_path)


def test_a_folder_of_another_kind_of_encoder_is_refused(tmp_path: Path) -> None:
    class Other(AgentObjectEncoder):
        pass

    make().save(tmp_path)
    with pytest.raises(EncoderFileError, match=r"AgentObjectEncoder.*Other was expected"):
        Other.load(tmp_path)


class Bomb:
    """Leaves a file behind if it is ever unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("torch_file", [False, True], ids=["pickle", "torch.save"])
def test_weights_are_never_unpickled(torch_file: bool, tmp_path: Path) -> None:
    folder, mark = tmp_path / "encoder", tmp_path / "exploded"
    make().save(folder)
    if torch_file:
        torch.save(Bomb(mark), folder / WEIGHTS)
    else:
        (folder / WEIGHTS).write_bytes(pickle.dumps(Bomb(mark)))
    edit_card(sha256=hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest())(folder)
    with pytest.raises(EncoderFileError, match="does not match the weights"):
        Encoder.load(folder)
    assert not mark.exists()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_saving_on_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(seed=0).save(tmp_path / "encoder")
    before = contents(tmp_path)
    write, written = Path.write_bytes, []

    def run_out(path: Path, data: bytes) -> int:
        written.append(path)
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", run_out)
    with pytest.raises(OSError, match="No space left"):
        make(seed=1).save(tmp_path / "encoder")
    assert len(written) == 2
    assert contents(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["encoder"]


@pytest.mark.parametrize("failing", [1, 2])
def test_failing_to_rename_leaves_what_was_there(failing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(seed=0).save(tmp_path / "encoder")
    before = contents(tmp_path)
    replace, calls = storage.os.replace, []

    def fail(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == failing:
            raise PermissionError(errno.EACCES, "Permission denied")
        replace(source, target)

    monkeypatch.setattr(storage.os, "replace", fail)
    with pytest.raises(PermissionError):
        make(seed=1).save(tmp_path / "encoder")
    assert contents(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["encoder"]
