"""Saved encoders: they come back to the last bit, and altered ones are refused."""

import hashlib
import json
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from equiact.envs.named_registry import RegistryError
from equiact.envs.storage.artifacts import CARD, ArtifactError, ArtifactLimits, weights_path, write_artifact
from equiact.envs.storage.json_cards import render_card
from equiact.representations.encoders.agent_object import AgentObjectEncoder
from equiact.representations.encoders.encoder import Encoder, load_encoder, to_images
from equiact.representations.encoders.registry import ENCODERS, encoder_class
from equiact.representations.learning.config import from_dict, to_dict
from numpy.typing import NDArray

SHAPE = (32, 32, 3)
OURS = [name for name, encoder_cls in ENCODERS.items() if encoder_cls.__module__.startswith("equiact.")]
"""Names of the encoders of the package, without those that other tests register."""


def make(name: str = "agent-object", seed: int = 0, **config: Any) -> Encoder:
    torch.manual_seed(seed)
    encoder_cls = encoder_class(name)
    return encoder_cls(SHAPE, "SO3" if name == "harmonics" else "R2", from_dict(encoder_cls.config_class, config))


def random_images(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, *SHAPE), dtype=np.uint8)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def assert_equal(loaded: Encoder, encoder: Encoder) -> None:
    assert type(loaded) is type(encoder)
    assert (loaded.shape, loaded.group, loaded.config) == (encoder.shape, encoder.group, encoder.config)
    assert loaded.metrics == encoder.metrics
    assert not loaded.training
    assert loaded.state_dict().keys() == encoder.state_dict().keys()
    for key, value in encoder.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key
    for key, latent in encoder.encode(random_images(4)).items():
        np.testing.assert_array_equal(loaded.encode(random_images(4))[key], latent)


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("backbone", ["spatial_softmax", "resnet18"])
def test_a_saved_encoder_is_loaded_to_the_last_bit(name: str, backbone: str, tmp_path: Path) -> None:
    encoder = make(name, backbone=backbone)
    with torch.no_grad():
        encoder.latents(to_images(torch.from_numpy(random_images(8))))  # changes batch statistics
    encoder.eval()
    encoder.metrics = {"agent_rmse": 0.1 + 0.2, "object_rmse": 1e-17}
    encoder.save(tmp_path / "deep" / "encoder")
    assert_equal(load_encoder(tmp_path / "deep" / "encoder"), encoder)


@pytest.mark.parametrize("name", OURS)
def test_a_pretrained_encoder_is_loaded_from_a_folder(name: str, tmp_path: Path) -> None:
    encoder = make(name).eval()
    encoder.save_pretrained(tmp_path / "encoder")
    assert (tmp_path / "encoder" / "README.md").exists()
    assert_equal(Encoder.from_pretrained(tmp_path / "encoder"), encoder)


def test_saving_again_replaces_the_encoder(tmp_path: Path) -> None:
    make(seed=0).save(tmp_path / "encoder")
    second = make(seed=1)
    second.save(tmp_path / "encoder")
    assert sorted(contents(tmp_path / "encoder")) == [CARD, weights_path(tmp_path / "encoder").name]
    assert_equal(load_encoder(tmp_path / "encoder"), second)


def test_an_encoder_is_not_saved_among_other_things(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / CARD).write_text("{}")
    with pytest.raises(ArtifactError, match="with other things in it"):
        make().save(tmp_path)
    assert contents(tmp_path) == {"thesis.tex": b"years of work", CARD: b"{}"}
    (tmp_path / "empty").mkdir()
    make().save(tmp_path / "empty")


def test_an_encoder_with_weights_that_are_not_finite_is_not_saved(tmp_path: Path) -> None:
    encoder = make()
    with torch.no_grad():
        next(encoder.parameters()).view(-1)[0] = torch.nan
    with pytest.raises(ArtifactError, match="expected finite tensors"):
        encoder.save(tmp_path / "encoder")


def edit_card(**changes: Any) -> Callable[[Path], None]:
    """Write other values into the card, signed anew; a function maps the old value to the new one."""

    def edit(folder: Path) -> None:
        card = json.loads((folder / CARD).read_text())
        for key, change in changes.items():
            card[key] = change(card[key]) if callable(change) else change
        (folder / CARD).write_bytes(render_card("encoder", card, folder))

    return edit


def drop_from_card(key: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        card = json.loads((folder / CARD).read_text())
        del card[key]
        (folder / CARD).write_bytes(render_card("encoder", card, folder))

    return edit


def edit_weights(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = weights_path(folder)
        path.write_bytes(change(path.read_bytes()))

    return edit


def edit_config(**changes: Any) -> Callable[[Path], None]:
    return edit_card(config=lambda old: old | changes)


def edit_input(shape: Any) -> Callable[[Path], None]:
    return edit_card(input=lambda old: old | {"shape": shape})


DAMAGES: dict[str, Callable[[Path], None]] = {
    "flipped bit": edit_weights(lambda weights: weights[:-5] + bytes([weights[-5] ^ 1]) + weights[-4:]),
    "truncated": edit_weights(lambda weights: weights[: len(weights) // 2]),
    "empty": edit_weights(lambda weights: b""),
    "no weights": lambda folder: weights_path(folder).unlink(),
    "no card": lambda folder: (folder / CARD).unlink(),
    "one character": lambda folder: (
        (folder / CARD).write_text((folder / CARD).read_text().replace('"R2"', '"R3"')) and None
    ),
    **{f"no {key}": drop_from_card(key) for key in ("encoder", "config", "input", "group", "metrics", "weights")},
    "unknown encoder": edit_card(encoder="agent-objet"),
    "an encoder of another module": edit_card(encoder="os:system"),
    "an encoder that is a list": edit_card(encoder=[]),
    "other backbone": edit_config(backbone="resnet18"),
    "no such backbone": edit_config(backbone="vgg"),
    "other shape of object": edit_config(object_shape="any"),
    "unknown hyper-parameter": edit_config(depth=3),
    "a configuration that is a list": edit_card(config=[1]),
    "a shape of words": edit_input(["a", "b", "c"]),
    "a shape of two numbers": edit_input([32, 32]),
    "a negative shape": edit_input([-32, 32, 3]),
    "other channels": edit_input([32, 32, 4]),
    "input without shape": edit_card(input={}),
    "input that is a list": edit_card(input=[]),
    "a group that is a number": edit_card(group=2),
    "other group": edit_card(group="R3"),
    "a rotation group": edit_card(group="SO2"),
    "metrics that are a number": edit_card(metrics=3),
    "metrics of text": edit_card(metrics={"agent_rmse": "small"}),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_an_altered_encoder_is_refused(damage: Callable[[Path], None], tmp_path: Path) -> None:
    make().save(tmp_path / "encoder")
    load_encoder(tmp_path / "encoder")
    damage(tmp_path / "encoder")
    with pytest.raises(ArtifactError, match=str(tmp_path / "encoder")):
        load_encoder(tmp_path / "encoder")


@pytest.mark.parametrize("name", OURS)
def test_a_card_cannot_ask_for_large_images_to_fill_the_memory(name: str, tmp_path: Path) -> None:
    """Load a signed card with another shape: it is refused, or the encoder does not depend on it."""
    make(name).save(tmp_path / "encoder")
    edit_input([80_000, 80_000, 3])(tmp_path / "encoder")
    try:
        loaded = load_encoder(tmp_path / "encoder")
    except ArtifactError:
        return
    assert sum(value.numel() for value in (*loaded.parameters(), *loaded.buffers())) < 2e7


def test_a_folder_of_another_class_of_encoder_is_refused(tmp_path: Path) -> None:
    make("translation").save(tmp_path / "encoder")
    with pytest.raises(ArtifactError, match=r"expected an encoder of the class AgentObjectEncoder in .*, got Trans"):
        AgentObjectEncoder.load(tmp_path / "encoder")


class Bomb:
    """Leave a file behind if it is ever unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("torch_file", [False, True], ids=["pickle", "torch.save"])
def test_weights_are_never_unpickled(torch_file: bool, tmp_path: Path) -> None:
    folder, mark = tmp_path / "encoder", tmp_path / "exploded"
    make().save(folder)
    path = weights_path(folder)
    if torch_file:
        torch.save(Bomb(mark), path)
    else:
        path.write_bytes(pickle.dumps(Bomb(mark)))
    sign_weights(folder, path)
    with pytest.raises(ArtifactError, match="expected intact safetensors"):
        load_encoder(folder)
    assert not mark.exists()


def sign_weights(folder: Path, path: Path) -> None:
    """Make a card match weights that were altered."""
    content = path.read_bytes()
    described = {"file": path.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    edit_card(weights=described)(folder)


def test_a_card_says_what_the_encoder_is(tmp_path: Path) -> None:
    encoder = make(object_shape="any")
    encoder.metrics = {"agent_rmse": 0.5, "contact_recall": float("nan")}
    encoder.data_fingerprint = "b947dac2"
    encoder.save(tmp_path / "encoder")
    card = json.loads((tmp_path / "encoder" / CARD).read_text())
    assert (card["kind"], card["encoder"], card["group"]) == ("encoder", "agent-object", "R2")
    assert card["config"] == to_dict(encoder.config)
    assert card["input"] == {"shape": [32, 32, 3], "dtype": "uint8", "range": [0, 255], "layout": "BHWC, RGB"}
    assert card["metrics"] == {"agent_rmse": 0.5, "contact_recall": None}, "NaN is not JSON"
    loaded = load_encoder(tmp_path / "encoder")
    assert loaded.metrics["agent_rmse"] == 0.5 and np.isnan(loaded.metrics["contact_recall"])
    assert loaded.data_fingerprint == "b947dac2"


def test_an_encoder_without_a_name_is_not_saved(tmp_path: Path) -> None:
    class Other(AgentObjectEncoder):
        pass

    with pytest.raises(RegistryError, match="Other has no name; decorate it with @register_encoder"):
        Other(SHAPE, "R2").save(tmp_path / "encoder")


def test_every_altered_character_of_a_card_is_refused(tmp_path: Path) -> None:
    make().save(tmp_path / "encoder")
    card = tmp_path / "encoder" / CARD
    text = card.read_text()
    for place in np.random.default_rng(0).choice(len(text), 80, replace=False):
        card.write_text(text[:place] + ("7" if text[place] != "7" else "8") + text[place + 1 :])
        with pytest.raises(ArtifactError):
            load_encoder(tmp_path / "encoder")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("translation", edit_card(input={"shape": [8000, 8000, 3]}, config={"backbone": "strided"})),
        ("pose-set", edit_config(num_poses=4_000_000)),
        ("pose-set", edit_config(num_poses=4e6)),
        ("class-pose", edit_config(class_dim=10**9)),
        ("agent-object", edit_card(group="R1000000000")),
    ],
    ids=["shape", "num_poses", "num_poses as a float", "class_dim", "group"],
)
def test_a_signed_card_that_asks_for_a_huge_network_is_refused_at_once(
    name: str, change: Callable[[Path], None], tmp_path: Path
) -> None:
    make(name).save(tmp_path / "encoder")
    change(tmp_path / "encoder")
    began = time.monotonic()
    with pytest.raises(ArtifactError, match=str(tmp_path / "encoder")):
        load_encoder(tmp_path / "encoder")
    assert time.monotonic() - began < 2


def test_the_largest_size_can_be_set(tmp_path: Path) -> None:
    make().save(tmp_path / "encoder")
    with pytest.raises(ArtifactError, match="ArtifactLimits"):
        Encoder.load(tmp_path / "encoder", limits=ArtifactLimits(max_bytes=1000))


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    encoder = make()
    encoder.save(tmp_path / "encoder")
    card = json.loads((tmp_path / "encoder" / CARD).read_text())
    write_artifact(
        tmp_path / "encoder", "encoder", card, encoder.state_dict() | {"agent_head.weight": torch.zeros(3, 64)}
    )
    with pytest.raises(ArtifactError, match=r"agent_head\.weight of shape \[2, 64\].*got \[3, 64\]"):
        load_encoder(tmp_path / "encoder")
