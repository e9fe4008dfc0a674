"""Configurations: what Python, files and cards may hold, and the names of encoders that they belong to."""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from equiact.envs.data.transitions import Transitions
from equiact.envs.named_registry import RegistryError
from equiact.representations.encoders.agent_object import AgentObjectConfig, AgentObjectEncoder
from equiact.representations.encoders.encoder import Encoder, load_encoder
from equiact.representations.encoders.registry import (
    ENCODERS,
    encoder_class,
    encoder_config,
    encoder_of_config,
    load_config,
    load_config_file,
    make_encoder,
    make_learner,
    register_encoder,
    register_learner,
)
from equiact.representations.learning.config import (
    ConfigError,
    OptimConfig,
    check_range,
    from_dict,
    scale_steps,
    to_dict,
)
from equiact.representations.learning.data_checks import DataError, require_trainable
from equiact.representations.learning.learner import Learner, Loss, Stage
from equiact.representations.learning.training import train_encoder
from equiact.scripts.commands.train import Train
from torch import Tensor, nn

all_encoders = pytest.mark.parametrize("name", ENCODERS.names())


def group_of(name: str) -> str:
    return "SO3" if name == "harmonics" else "R2"


def leaves(config: Any, prefix: str = "") -> dict[str, Any]:
    """Return all values of a configuration by their paths."""
    found: dict[str, Any] = {}
    for each in dataclasses.fields(config):
        value, path = getattr(config, each.name), f"{prefix}{each.name}"
        found |= leaves(value, f"{path}.") if dataclasses.is_dataclass(value) else {path: value}
    return found


@all_encoders
def test_configurations_of_encoders_come_back_from_json(name: str) -> None:
    config = encoder_config(name)
    stored = json.loads(json.dumps(to_dict(config), allow_nan=False))
    assert from_dict(type(config), stored) == config
    assert from_dict(type(config), {}) == config
    assert hash(config) == hash(from_dict(type(config), stored)), "frozen, and of values that can be compared"


@all_encoders
def test_every_number_of_a_configuration_is_checked(name: str) -> None:
    config = encoder_config(name)
    for path, value in leaves(config).items():
        if isinstance(value, bool | str) or not isinstance(value, int | float):
            continue
        *outer, last = path.split(".")
        for wrong in (math.nan, "many", None):
            values: dict[str, Any] = {last: wrong}
            for key in reversed(outer):
                values = {key: values}
            with pytest.raises(ConfigError, match=last):
                from_dict(type(config), values)


def test_unknown_keys_are_refused_with_the_key_that_was_meant() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'optim\.agent_step'; did you mean 'optim\.agent_steps'\?"):
        from_dict(AgentObjectConfig, {"optim": {"agent_step": 3}})
    with pytest.raises(
        ConfigError, match=r"unknown key 'x'; choose from backbone, contact, contrast, object_shape, odometry, optim"
    ):
        from_dict(AgentObjectConfig, {"x": 3})
    with pytest.raises(ConfigError, match=r"optim must be a mapping of keys, got 3"):
        from_dict(AgentObjectConfig, {"optim": 3})


def test_values_out_of_range_are_refused_with_their_path() -> None:
    with pytest.raises(ConfigError, match=r"optim\.lr must be above 0, got -1"):
        from_dict(AgentObjectConfig, {"optim": {"lr": -1}})
    with pytest.raises(ConfigError, match="steps must be at least 1, got 0"):
        OptimConfig(steps=0)
    with pytest.raises(ConfigError, match="lr must be above 0, got nan"):
        OptimConfig(lr=math.nan)

    @dataclass(frozen=True)
    class Range:
        values: tuple[float, ...] = (0.5, 2.0)

    with pytest.raises(ConfigError, match="values must be at least 0 and at most 1, got 2"):
        check_range(Range(), "values", at_least=0, at_most=1)


def test_numbers_of_updates_are_scaled_everywhere_and_nothing_else() -> None:
    config = AgentObjectConfig()
    before, after = leaves(config), leaves(scale_steps(config, 0.01))
    changed = {path: value for path, value in after.items() if value != before[path]}
    assert changed == {
        "optim.agent_steps": 10,
        "optim.far_agent_steps": 10,
        "optim.contrast_steps": 7,
        "optim.locate_steps": 8,
        "optim.contact_steps": 8,
        "optim.orient_steps": 9,
        "optim.outline_steps": 5,
        "contact.contact_map.steps": 3,
        "shape.fit.steps": 1,
    }
    assert scale_steps(OptimConfig(steps=3), 1e-9).steps == 1


@all_encoders
def test_encoders_are_made_from_names_and_configurations(name: str) -> None:
    config = encoder_config(name)
    assert encoder_of_config(config) is encoder_class(name)
    for given in (name, config):
        encoder = make_encoder(given, (32, 32, 3), group_of(name))
        assert type(encoder) is encoder_class(name) and encoder.config == config


def test_names_and_configurations_of_no_encoder_are_refused() -> None:
    with pytest.raises(RegistryError, match="unknown encoder 'class_pose'; did you mean 'class-pose'"):
        make_encoder("class_pose", (32, 32, 3), "R2")
    with pytest.raises(ConfigError, match="name or the configuration of an encoder, got 3; names are agent-object"):
        make_encoder(3, (32, 32, 3), "R2")


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_configurations_are_read_from_files(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"config.{suffix}"
    text = "encoder: agent-object\nworld: Soccer\nseed: 3\nbackbone: resnet18\noptim:\n  lr: 1e-3\n"
    values = {"encoder": "agent-object", "world": "Soccer", "seed": 3, "backbone": "resnet18", "optim": {"lr": 1e-3}}
    path.write_text(json.dumps(values) if suffix == "json" else text)
    config, options = load_config_file(path)
    assert config == load_config(path) == from_dict(AgentObjectConfig, {"backbone": "resnet18", "optim": {"lr": 1e-3}})
    assert isinstance(config.optim.lr, float)
    assert options == {"seed": 3, "world": "Soccer"}


def test_files_of_the_command_line_are_read(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    own = {each.name for each in dataclasses.fields(Train)} - {"config", "encoder", "hyperparameters", "json"}
    path.write_text("encoder: class-pose\n" + "".join(f"{name}: 1\n" for name in own))
    config, options = load_config_file(path)
    assert config == encoder_config("class-pose") and options.keys() == own


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "a mapping of keys"),
        ("[1]", "a mapping of keys"),
        ("encoder: [", "a readable YAML or JSON file"),
        ("backbone: strided", "the key 'encoder'"),
        ("encoder: 3", "the key 'encoder'"),
        ("encoder: class-pose\noptim: {steps: 0}", "optim.steps must be at least 1"),
        ("encoder: class-pose\nbackbnoe: strided", "did you mean 'backbone'"),
    ],
)
def test_files_that_hold_no_configuration_are_refused_by_name(text: str, error: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=error) as caught:
        load_config(path)
    assert str(path) in str(caught.value)
    with pytest.raises(ConfigError, match="missing"):
        load_config(tmp_path / "missing.yaml")


def walk(count: int = 200, size: int = 8, group: str = "R2") -> Transitions:
    """Return transitions of a bright dot that moves by known displacements."""
    generator = np.random.default_rng(0)
    place = np.zeros((count + 1, 2))
    for i in range(count):
        place[i + 1] = np.clip(place[i] + generator.uniform(-1, 1, 2), 0, size - 1)
    frames = np.zeros((count + 1, size, size, 3), np.uint8)
    row, column = place.round().astype(int).T
    frames[np.arange(count + 1), row, column] = 255
    displacement = np.diff(place, axis=0).astype(np.float32)
    return Transitions(frames, np.arange(count), np.arange(1, count + 1), displacement, group)


@dataclass(frozen=True)
class LinearConfig:
    """Set the hyper-parameters of the encoder of this test."""

    optim: OptimConfig = field(default_factory=lambda: OptimConfig(steps=300, lr=1e-2, batch_size=32))


@register_encoder("test-linear")
class LinearEncoder(Encoder):
    """Encode a position as a linear function of the pixels."""

    config_class = LinearConfig
    config: LinearConfig

    def __init__(self, shape: tuple[int, int, int], group: str, config: LinearConfig | None = None) -> None:
        super().__init__(shape, group, config)
        self.head = nn.Linear(math.prod(self.shape), 2)

    @property
    def latent_dim(self) -> int:
        return 2

    def latents(self, images: Tensor) -> dict[str, Tensor]:
        return {"agent": self.head(images.flatten(1))}


@register_learner(LinearEncoder)
class LinearLearner(nn.Module):
    """Train the encoder of this test."""

    def __init__(self, network: LinearEncoder, transitions: Transitions) -> None:
        super().__init__()
        self.network, self._transitions = network, transitions

    def stages(self) -> list[Stage]:
        optim = self.network.config.optim
        return [Stage("linear", optim.steps, self.loss, list(self.parameters()), optim.batch_size, optim.lr)]

    def loss(self, generator: torch.Generator) -> Loss:
        optim, data = self.network.config.optim, self._transitions
        chosen = torch.randint(len(data), (optim.batch_size,), generator=generator).numpy()
        before, after = (torch.from_numpy(data.frames[index[chosen]]) for index in (data.start, data.end))
        error = self.network(after) - self.network(before) - torch.from_numpy(data.displacement[chosen])
        return error.pow(2).sum(1).mean(), {}


def test_a_users_encoder_trains_saves_and_loads(tmp_path: Path) -> None:
    transitions = walk()
    encoder = train_encoder(transitions, "test-linear", seed=1)
    assert isinstance(encoder, LinearEncoder) and not encoder.training
    assert encoder.data_fingerprint == transitions.fingerprint
    latent = encoder.encode(transitions.frames)["agent"]
    error = latent[transitions.end] - latent[transitions.start] - transitions.displacement
    assert np.square(error).sum(1).mean() < 0.5 * np.square(transitions.displacement).sum(1).mean()
    encoder.save(tmp_path / "encoder")
    np.testing.assert_array_equal(load_encoder(tmp_path / "encoder").encode(transitions.frames)["agent"], latent)
    assert isinstance(make_learner(encoder, transitions), Learner)


def test_the_seed_decides_the_encoder_and_no_other_random_number() -> None:
    config = LinearConfig(OptimConfig(steps=3, batch_size=8))
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    first, second, other = (train_encoder(walk(), config, seed=seed).head.weight for seed in (1, 1, 2))
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert torch.equal(torch.rand(1), expected)


def test_an_encoder_without_a_learner_is_refused() -> None:
    @dataclass(frozen=True)
    class NoLearnerConfig:
        pass

    class NoLearner(LinearEncoder):
        config_class = NoLearnerConfig
        learner_class = None

    with pytest.raises(RegistryError, match="NoLearner has no learner; decorate one with @register_learner"):
        make_learner(NoLearner((8, 8, 3), "R2", NoLearnerConfig()), walk())


def test_classes_that_are_not_configured_are_not_registered() -> None:
    @dataclass
    class Thawed:
        steps: int = 3

    @dataclass(frozen=True)
    class WithoutDefault:
        steps: int

    for config_class, error in ((int, "a frozen dataclass"), (Thawed, "frozen"), (WithoutDefault, "default")):
        with pytest.raises(ConfigError, match=error):
            register_encoder("test-wrong")(type("Wrong", (LinearEncoder,), {"config_class": config_class}))
    with pytest.raises(ConfigError, match=r"already the configuration of LinearEncoder; derive one"):
        register_encoder("test-wrong")(type("Wrong", (LinearEncoder,), {}))
    with pytest.raises(RegistryError, match="'agent-object' is already registered"):
        register_encoder("agent-object")(type("Wrong", (AgentObjectEncoder,), {"config_class": _OtherConfig}))


@dataclass(frozen=True)
class _OtherConfig(AgentObjectConfig):
    pass


def changed(**changes: Any) -> Transitions:
    return dataclasses.replace(walk(), **changes)


def with_outlier() -> Transitions:
    displacement = walk().displacement.copy()
    displacement[17] = 1e8
    return changed(displacement=displacement)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: walk(10), r"at least 16 transitions, half of the largest batch, got 10"),
        (lambda: changed(frames=np.full((201, 8, 8, 3), 7, np.uint8)), "all frames are alike"),
        (lambda: changed(displacement=np.zeros((200, 2), np.float32)), "all displacements are the identity"),
        (with_outlier, r"the displacement of transition 17 is .* times as large"),
    ],
    ids=["few", "constant images", "zero displacements", "outlier"],
)
def test_transitions_on_which_nothing_can_be_learned_are_refused(make: Any, error: str) -> None:
    with pytest.raises(DataError, match=error):
        train_encoder(make(), "test-linear")


def test_transitions_of_another_group_are_refused() -> None:
    angle = np.linspace(0, 1, 200, dtype=np.float32)
    rotations = np.stack([np.cos(angle), np.sin(angle)], 1)
    with pytest.raises(ValueError, match="needs translations"):
        train_encoder(dataclasses.replace(walk(size=16), displacement=rotations, group="SO2"), "agent-object")


def test_the_largest_batch_says_how_many_transitions_are_needed():
    stages = [Stage(str(size), 1, None, [], size) for size in (32, 8)]
    with pytest.raises(DataError, match="at least 16 transitions"):
        require_trainable(walk(10), stages)
