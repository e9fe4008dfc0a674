"""Saved policies: what is altered, damaged or too large is refused before it acts or takes memory."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from equiact.agents.policies.behavior_cloning import BCConfig, BCPolicy
from equiact.agents.policies.gaussian_policy import SquashedGaussianPolicy
from equiact.agents.policies.saved_policies import load_policy
from equiact.envs.storage.artifacts import ArtifactError, read_artifact, weights_path, write_artifact

Saved = BCPolicy | SquashedGaussianPolicy

MAKERS: dict[str, Callable[[], Saved]] = {
    "behaviour cloning": lambda: BCPolicy((16, 16, 3), 3, 1, 0.05, BCConfig(hidden=16)),
    "soft actor-critic": lambda: SquashedGaussianPolicy(4, [-0.3, -0.3], [0.3, 0.3], [16, 16]),
}
policies = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def save(make: Callable[[], Saved], folder: Path) -> Saved:
    torch.manual_seed(0)
    policy = make()
    policy.save(folder)
    return policy


@policies
def test_any_policy_comes_back_as_it_was_saved(make: Callable[[], Saved], tmp_path: Path) -> None:
    policy = save(make, tmp_path / "policy")
    loaded = load_policy(tmp_path / "policy")
    assert type(loaded) is type(policy) and not loaded.training
    for key, value in policy.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key


@policies
def test_sixty_of_sixty_flipped_bits_are_refused(make: Callable[[], Saved], tmp_path: Path) -> None:
    """In the card and in the weights."""
    save(make, tmp_path / "policy")
    generator = np.random.default_rng(0)
    for path in (tmp_path / "policy" / "card.json", weights_path(tmp_path / "policy")):
        content = path.read_bytes()
        for bit in generator.choice(8 * len(content), 30, replace=False):
            damaged = bytearray(content)
            damaged[bit // 8] ^= 1 << (bit % 8)
            path.write_bytes(bytes(damaged))
            with pytest.raises(ArtifactError):
                load_policy(tmp_path / "policy")
        path.write_bytes(content)
    load_policy(tmp_path / "policy")


@pytest.mark.parametrize(
    ("maker", "entry", "value"),
    [("behaviour cloning", "limit", 50.0), ("soft actor-critic", "low", [-1e9, -0.3])],
)
def test_a_card_altered_by_hand_is_refused(maker: str, entry: str, value: Any, tmp_path: Path) -> None:
    save(MAKERS[maker], tmp_path / "policy")
    path = tmp_path / "policy" / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {entry: value}, indent=2) + "\n")
    with pytest.raises(ArtifactError, match="sha256"):
        load_policy(tmp_path / "policy")


@policies
def test_a_policy_with_nan_is_not_saved(make: Callable[[], Saved], tmp_path: Path) -> None:
    policy = make()
    with torch.no_grad():
        next(policy.parameters()).fill_(float("nan"))
    with pytest.raises(ArtifactError, match="finite"):
        policy.save(tmp_path / "policy")
    assert not (tmp_path / "policy").exists()


WRONG: dict[str, list[dict[str, Any]]] = {
    "behaviour cloning": [
        {"limit": -1.0},
        {"limit": "large"},
        {"shape": [8000, 8000, 10**6]},
        {"shape": [16, 16]},
        {"dim": 10**10},
        {"dim": 2},
        {"commands": -1},
        {"config": {"hidden": 10**9}},
        {"config": {"widht": 3}},
        {"policy": "diffusion"},
    ],
    "soft actor-critic": [
        {"net_arch": [40_000, 40_000]},
        {"net_arch": [10**10]},
        {"net_arch": "wide"},
        {"net_arch": [16, 16, 16]},
        {"observations": 6},
        {"observations": None},
        {"low": [0.3, -0.3]},
        {"low": [0.0, -0.3, -0.3]},
        {"low": ["a", "b"]},
        {"policy": None},
        {"activation": "swish"},
        {"activation": ["relu"]},
        {"activation": None},
    ],
}


@pytest.mark.parametrize(
    ("maker", "change"), [(maker, change) for maker, changes in WRONG.items() for change in changes], ids=str
)
def test_a_card_that_does_not_describe_its_weights_is_refused(
    maker: str, change: dict[str, Any], tmp_path: Path
) -> None:
    """Though its hash is right; sizes are compared before anything is allocated."""
    save(MAKERS[maker], tmp_path / "policy")
    card, tensors = read_artifact(tmp_path / "policy", "policy")
    write_artifact(tmp_path / "policy", "policy", card | change, tensors)
    with pytest.raises(ArtifactError, match="expected"):
        load_policy(tmp_path / "policy")


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "no folder": shutil.rmtree,
    "no card": lambda folder: (folder / "card.json").unlink(),
    "no weights": lambda folder: weights_path(folder).unlink(),
    "card that is no JSON": lambda folder: (folder / "card.json").write_text("{"),
    "card that is empty": lambda folder: (folder / "card.json").write_text("{}"),
    "card that is a list": lambda folder: (folder / "card.json").write_text("[]"),
    "weights of half the length": lambda folder: weights_path(folder).write_bytes(
        weights_path(folder).read_bytes()[:1000]
    ),
    "weights that are empty": lambda folder: weights_path(folder).write_bytes(b""),
    "weights that are a pickle": lambda folder: weights_path(folder).write_bytes(b"\x80\x04N."),
}


@policies
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_policy_is_refused(damage: Callable[[Path], Any], make: Callable[[], Saved], tmp_path: Path) -> None:
    save(make, tmp_path / "policy")
    damage(tmp_path / "policy")
    with pytest.raises(ArtifactError):
        load_policy(tmp_path / "policy")


def test_a_policy_of_another_class_is_refused(tmp_path: Path) -> None:
    save(MAKERS["soft actor-critic"], tmp_path / "policy")
    with pytest.raises(ArtifactError, match="expected a behavior-cloning policy"):
        BCPolicy.load(tmp_path / "policy")


@policies
def test_a_folder_with_other_things_is_not_replaced(make: Callable[[], Saved], tmp_path: Path) -> None:
    folder = tmp_path / "policy"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(ArtifactError):
        make().save(folder)
    assert (folder / "thesis.tex").read_text() == "years of work"


def test_a_card_of_before_there_were_activations_means_relu(tmp_path: Path) -> None:
    policy = save(MAKERS["soft actor-critic"], tmp_path / "policy")
    card, tensors = read_artifact(tmp_path / "policy", "policy")
    del card["activation"]
    write_artifact(tmp_path / "policy", "policy", card, tensors)
    observations = np.random.default_rng(0).normal(size=(5, 4))
    np.testing.assert_array_equal(
        load_policy(tmp_path / "policy").predict(observations)[0], policy.predict(observations)[0]
    )
