"""The commands on environments and data sets of others: collect, train, evaluate and encode, and bad input."""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from equiact.envs.data.minari_dataset import load_transitions, save_transitions
from equiact.envs.storage.artifacts import read_npz
from equiact.representations.encoders.agent_object import AgentObjectEncoder
from equiact.representations.encoders.class_pose import ClassPoseConfig, ClassPoseEncoder
from equiact.representations.encoders.encoder import Encoder
from equiact.representations.encoders.translation_encoder import TranslationEncoder
from equiact.representations.learning.callbacks import TrainingReport
from equiact.representations.learning.config import OptimConfig
from equiact.scripts.cli import main
from equiact.scripts.collect_and_train import DECODER_TITLE, train_with_bar
from equiact.scripts.commands.command import describe_foreign_dataset
from equiact.scripts.commands.encoder_choice import report_slow_backbone
from equiact.scripts.commands.train import Train
from equiact.scripts.environment_options import CollectionRule, EnvironmentOptionError, parse_assignments
from equiact.scripts.held_out_measurement import _warnings
from equiact.scripts.reports.figure_registry import (
    FIGURES,
    FigureInputs,
    all_figures,
    draw_figures,
    register_figure,
    save_figure,
)

DOT = '''
import gymnasium as gym
import numpy as np


class Dot(gym.Env):
    """A dot that moves by its action, up to the border."""

    metadata = {"render_modes": ["rgb_array"]}

    def __init__(self, side=16, length=25, image=True):
        self.side, self.length, self.image = side, length, image
        self.action_space = gym.spaces.Box(-0.2, 0.2, (2,), np.float32)
        self.observation_space = gym.spaces.Dict(image=gym.spaces.Box(0, 255, (side, side, 3), np.uint8))
        if not image:
            self.observation_space = gym.spaces.Box(-1, 1, (2,), np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position, self.steps = self.np_random.uniform(-0.8, 0.8, 2), 0
        return self.observe(), {"position": self.position, "name": "dot"}

    def step(self, action):
        before, self.steps = self.position, self.steps + 1
        self.position = np.clip(before + action, -0.8, 0.8)
        info = {"position": self.position, "odometry": self.position - before, "name": "dot"}
        return self.observe(), 0.0, False, self.steps >= self.length, info

    def observe(self):
        if not self.image:
            return self.position
        frame = np.zeros((self.side, self.side, 3), np.uint8)
        column, row = ((self.position + 1) * self.side / 2).astype(int)
        frame[row - 1 : row + 2, column - 1 : column + 2] = 255
        return {"image": frame}


def make_dot(**options):
    return Dot(**options)


def odometry(info):
    return info["odometry"]


def right(observation):
    return np.tile([0.2, 0.0], (len(observation["image"]), 1)).astype(np.float32)
'''


@pytest.fixture
def dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of an environment of another package: a function of a module."""
    (tmp_path / "dot_package.py").write_text(DOT)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "dot_package", raising=False)
    return "dot_package:make_dot"


def collect(env: str, folder: Path, *options: str) -> int:
    """Run ``equiact collect`` on an environment."""
    count = [] if "--transitions" in options else ["--transitions", "60"]
    return main(["collect", "--env", env, "--output-dir", str(folder), "--json", *count, *options])


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    """Return standard error as one line."""
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("num_envs", ["1", "3"])
@pytest.mark.parametrize(
    "rule",
    [
        ("info:odometry", "--group", "R2"),
        ("difference:info.position",),
        ("difference:info.position[0:2]", "--group", "R2"),
        ("difference:env.position",),
        ("dot_package:odometry", "--group", "R2"),
    ],
    ids=" ".join,
)
def test_the_displacement_is_found_by_every_rule(
    rule: tuple[str, ...], num_envs: str, dot: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert collect(dot, tmp_path / "data", "--displacement", *rule, "--num-envs", num_envs) == 0
    assert json.loads(capsys.readouterr().out)["group"] == "R2"
    data = load_transitions(tmp_path / "data")
    assert len(data) == 60
    pixels = np.stack([np.argwhere(frame[..., 0]).mean(0)[::-1] for frame in data.frames])
    moved = (pixels[data.end] - pixels[data.start]) / 8
    assert np.abs(moved - data.displacement).max() < 0.15, "the frames move as the displacements say"
    assert np.abs(data.displacement).max() <= 0.2 + 1e-6, "no transition crosses a reset"


def test_options_of_the_environment_and_a_policy_are_used(dot: str, tmp_path: Path) -> None:
    options = ["--env-option", "side=24", "--env-option", "length=5", "--policy", "dot_package:right"]
    assert collect(dot, tmp_path / "data", "--displacement", "difference:info.position", *options) == 0
    data = load_transitions(tmp_path / "data")
    assert data.frames.shape[1:] == (24, 24, 3) and (data.displacement[:, 1] == 0).all()
    assert (data.displacement[:, 0] >= 0).all() and data.displacement[:, 0].max() == pytest.approx(0.2)


def test_a_repeated_action_is_one_transition(dot: str, tmp_path: Path) -> None:
    rule = ["--displacement", "difference:info.position", "--policy", "dot_package:right"]
    assert collect(dot, tmp_path / "data", *rule, "--action-repeat", "3") == 0
    data = load_transitions(tmp_path / "data")
    assert len(data) == 60 and data.displacement[:, 0].max() == pytest.approx(0.6)


def test_the_same_seed_collects_the_same_data(dot: str, tmp_path: Path) -> None:
    rule = ["--displacement", "difference:info.position", "--num-envs", "2"]
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        assert collect(dot, tmp_path / name, *rule, "--seed", seed) == 0
    prints = [load_transitions(tmp_path / name).fingerprint for name in "abc"]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        ([], ["expected --displacement", "difference:info.position", "info:odometry"]),
        (["--displacement", "info:odometry"], ["expected --group with --env"]),
        (["--displacement", "odometry"], ["expected --displacement as info:KEY, difference:info.KEY, body:NAME"]),
        (["--displacement", "difference:position"], ["difference:info.KEY, difference:observation.KEY or difference"]),
        (["--displacement", "difference:env.place"], ["'place': Dot has no 'place'"]),
        (
            ["--displacement", "difference:info.position", "--resolution", "8", "8"],
            ["expected no --resolution for images in Dict observations"],
        ),
        (
            ["--displacement", "difference:info.position", "--image-key", "render"],
            ["expected images", "--env-option render_mode=rgb_array"],
        ),
        (["--displacement", "difference:info.positon"], ["expected one column 'info.positon'", "info/position"]),
        (["--displacement", "difference:info.position", "--group", "R3"], ["expected 3 coordinates of R3", "got 2"]),
        (
            ["--displacement", "nowhere:move", "--group", "R2"],
            ["expected --displacement as", "No module named 'nowhere'"],
        ),
        (["--displacement", "info:odometri", "--group", "R2"], ["no 'odometri'; pass --displacement one of"]),
        (["--env-option", "size=3"], ["refuses its options (size=3)"]),
        (["--env-option", "side"], ["expected --env-option key=value, got 'side'"]),
        (["--env-option", "image=false", "--displacement", "info:odometry"], ["expected --group"]),
        (
            ["--env-option", "image=false", "--displacement", "difference:info.position"],
            ["expected images", "--env-option render_mode=rgb_array"],
        ),
        (["--camera", "top"], ["--camera is an option of ray-traced images; give --pixels, too"]),
        (["--world", "Soccer"], ["expected --env or --world, got both"]),
        (["--import", "nowhere"], ["there is no module 'nowhere'"]),
        (["--num-envs", "0"], ["expected --num-envs of at least 1, got 0"]),
        (["--action-repeat", "0"], ["expected --action-repeat of at least 1, got 0"]),
        (
            ["--action-repeat", "2", "--displacement", "info:odometry", "--group", "R2"],
            ["expected --displacement difference:", "with --action-repeat 2, got info"],
        ),
        (["--policy", "nowhere.zip"], ["nowhere.zip"]),
    ],
)
def test_bad_options_of_collect_are_answered(
    options: list[str], messages: list[str], dot: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert collect(dot, tmp_path / "data", *options) == 1
    error = error_of(capsys)
    assert all(message in error for message in messages), error
    assert not (tmp_path / "data").exists(), "nothing is written"


def test_options_of_environments_need_an_environment(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for option in (["--import", "shimmy"], ["--displacement", "info:a"], ["--pixels"], ["--action-repeat", "2"]):
        assert main(["collect", *option, "--output-dir", str(tmp_path / "data")]) == 1
        assert f"{option[0]} is an option of environments; give --env" in error_of(capsys)


def test_rules_and_assignments_are_read() -> None:
    rule = CollectionRule.parse("body:tips_arm,plane=xz,noise=0.01")
    assert (rule.kind, rule.name, rule.options) == ("body", "tips_arm", {"plane": "xz", "noise": 0.01})
    assert CollectionRule.parse("joints:a,b").name == "a,b"
    assert parse_assignments(["a=[1, 2]", "b=x=y", "c=null"]) == {"a": [1, 2], "b": "x=y", "c": None}
    with pytest.raises(EnvironmentOptionError, match="expected --env-option key=value, got '=3'"):
        parse_assignments(["=3"])


@pytest.fixture
def foreign(dot: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a data set that Minari wrote, with Dict observations, JPEG images and infos, as another program would."""
    minari = pytest.importorskip("minari")
    pytest.importorskip("h5py")
    from dot_package import Dot  # type: ignore[import-not-found]

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    env = Dot()
    env.action_space.seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an author and a description that are not given
        minari.create_dataset_from_buffers(
            "dot/random-v0",
            [episode_of(env, seed) for seed in range(8)],
            observation_space=env.observation_space,
            action_space=env.action_space,
        )
    return tmp_path / "minari" / "dot" / "random-v0"


def episode_of(env: gym.Env[Any, Any], seed: int) -> Any:
    """Return an episode of random actions as Minari's buffer."""
    from minari.data_collector.episode_buffer import EpisodeBuffer

    observation, info = env.reset(seed=seed)
    images, positions, actions, ends = [observation["image"]], [info["position"]], [], [False]
    while not ends[-1]:
        actions.append(env.action_space.sample())
        observation, _, _, ended, info = env.step(actions[-1])
        images.append(observation["image"])
        positions.append(info["position"])
        ends.append(ended)
    moves = np.diff(positions, axis=0, prepend=positions[:1])
    return EpisodeBuffer(
        id=seed,
        observations={"image": np.stack(images)},
        actions=np.stack(actions),
        rewards=[0.0] * len(actions),
        terminations=[False] * len(actions),
        truncations=ends[1:],
        infos={"position": np.stack(positions), "odometry": moves},
    )


FEW = ["--optim.steps", "20", "--optim.batch-size", "16", "--device", "cpu", "--json"]
RULE = ["--displacement", "difference:infos/position", "--group", "R2"]


def test_a_dataset_that_minari_wrote_is_trained_on_evaluated_and_encoded(
    foreign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in foreign.rglob("*") if path.is_file()}
    folder, options = tmp_path / "encoder", ["--data", str(foreign), *RULE]
    truth = ["--ground-truth", "agent_pose=infos/position"]
    assert main(["train", *options, *truth, "--encoder", "translation", "--output-dir", str(folder), *FEW]) == 0
    trained = json.loads(capsys.readouterr().out)
    assert trained["measured_on"] == "held-out episodes of the same data set"
    assert {"equivariance_ratio_1", "hit_rate_1", "agent_rigid_rmse"} <= trained.keys()
    assert main(["evaluate", "--encoder", str(folder), *options, *truth, "--device", "cpu", "--json"]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    assert evaluated["measured_on"]["source"] == "held-out episodes of the same data set"
    assert evaluated["equivariance_error_1"] == trained["equivariance_error_1"]
    assert evaluated["agent_rigid_rmse"] == trained["agent_rigid_rmse"]
    output = tmp_path / "latents.npz"
    assert main(["encode", "--encoder", str(folder), *options, "--output", str(output), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 8
    arrays = read_npz(output)
    assert arrays["agent"].shape == (8 * 26, 2) and arrays["step"].max() == 25
    assert json.loads(str(arrays["metadata"]))["group"] == "R2"
    assert before == {path: path.read_bytes() for path in foreign.rglob("*") if path.is_file()}, "only read"


def test_that_no_object_was_found_is_said_in_the_result_the_card_and_the_report(
    foreign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The images show a dot that moves, and nothing else."""
    folder, options = tmp_path / "encoder", ["--data", str(foreign), *RULE]
    short = ["--encoder", "agent-object", "--steps-scale", "0.003", "--device", "cpu", "--json"]
    assert main(["train", *options, "--output-dir", str(folder), *short]) == 0
    captured = capsys.readouterr()
    warnings = json.loads(captured.out)["warnings"]
    doubt = warnings[-1]
    assert "No object was found" in doubt or "cannot be told whether an object was found" in doubt
    assert doubt[:40] in captured.err
    assert Encoder.load(folder).measured_on["warnings"] == warnings
    page = (tmp_path / "encoder-report" / "report.html").read_text()
    assert "Not learned" in page and doubt[:40] in page
    assert main(["evaluate", "--encoder", str(folder), "--data", str(foreign), "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["warnings"] == warnings


def train_translation(folder: Path, *options: str) -> int:
    """Run ``equiact train`` with few updates of a translation encoder."""
    return main(["train", "--encoder", "translation", "--output-dir", str(folder), *options, *FEW])


def test_an_encoder_remembers_how_its_data_were_read(
    foreign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, output = tmp_path / "encoder", tmp_path / "latents.npz"
    key = ["--image-key", "observations/image", "--format", "minari"]
    assert train_translation(folder, "--data", str(foreign), *RULE, *key) == 0
    trained = json.loads(capsys.readouterr().out)
    options = {"displacement": RULE[1], "image_key": key[1], "group": "R2", "format": "minari"}
    assert Encoder.load(folder).measured_on["data_options"] == options
    short = ["--encoder", str(folder), "--data", str(foreign), "--device", "cpu", "--json"]
    assert main(["evaluate", *short]) == 0
    assert json.loads(capsys.readouterr().out)["equivariance_error_1"] == trained["equivariance_error_1"]
    assert main(["encode", *short, "--output", str(output)]) == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 8
    assert main(["evaluate", *short, "--displacement", "column:infos/odometry"]) == 0
    assert json.loads(capsys.readouterr().out)["measured_on"]["transitions"] > 0
    assert main(["evaluate", *short, "--displacement", "column:infos/nothing"]) == 1
    error = error_of(capsys)
    assert "It was read with --image-key observations/image, --group R2, --format minari, as in the training" in error
    assert "--displacement" not in error.partition("It was read")[2], "what is given does not come from the card"


def test_options_of_the_training_are_not_used_on_data_that_state_theirs(
    dot: str, foreign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from equiact import save_lerobot

    save_dots(dot, tmp_path / "data", capsys)
    pytest.importorskip("pyarrow")
    save_lerobot(load_transitions(tmp_path / "data"), tmp_path / "lerobot", fps=10, task="move")
    assert train_translation(tmp_path / "encoder", "--data", str(foreign), *RULE) == 0
    for data in ("data", "lerobot"):
        arguments = ["--encoder", str(tmp_path / "encoder"), "--data", str(tmp_path / data), "--device", "cpu"]
        assert main(["evaluate", *arguments]) == 0, error_of(capsys)
    assert main(["evaluate", "--encoder", str(tmp_path / "encoder"), "--data", str(tmp_path / "nowhere")]) == 1
    error = error_of(capsys)
    assert "got no such file or folder" in error and "It was read with" not in error


def save_arrays(path: Path, channel_first: bool) -> None:
    """Write arrays of random images and movements."""
    generator = np.random.default_rng(0)
    shape = (200, 3, 16, 16) if channel_first else (200, 16, 16, 3)
    moves = generator.normal(size=(200, 2)).astype(np.float32)
    np.savez(path, images=generator.integers(0, 256, shape, np.uint8), episode=np.arange(200) // 20, displacement=moves)


def test_the_order_of_the_channels_is_remembered_and_may_be_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_arrays(tmp_path / "first.npz", True)
    save_arrays(tmp_path / "last.npz", False)
    folder = tmp_path / "encoder"
    assert train_translation(folder, "--data", str(tmp_path / "first.npz"), "--group", "R2", "--channel-first") == 0
    arguments = ["evaluate", "--encoder", str(folder), "--device", "cpu", "--json", "--data"]
    assert main([*arguments, str(tmp_path / "first.npz")]) == 0
    assert main([*arguments, str(tmp_path / "last.npz")]) == 1
    error = error_of(capsys)
    assert "looks channel-last; leave --channel-first out" in error
    assert "It was read with --group R2, --channel-first true, as in the training of the encoder" in error
    assert main([*arguments, str(tmp_path / "last.npz"), "--channel-first", "false"]) == 0
    with pytest.raises(SystemExit):
        main([*arguments, str(tmp_path / "last.npz"), "--channel-first", "5"])


def test_a_function_in_a_card_is_not_called(foreign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoder = TranslationEncoder((16, 16, 3), "R2")
    encoder.measured_on = {"data_options": {"displacement": "os:getcwd"}}
    encoder.save(tmp_path / "encoder")
    arguments = ["evaluate", "--encoder", str(tmp_path / "encoder"), "--data", str(foreign), "--device", "cpu"]
    assert main(arguments) == 1
    assert "trained with the function os:getcwd, and a function is called only if you give it" in error_of(capsys)
    assert main([*arguments, *RULE]) == 0
    for damaged in ({"displacement": 3}, {"path": "/"}, ["R2"], {"channel_first": "true"}):
        encoder.measured_on = {"data_options": damaged}
        encoder.save(tmp_path / "encoder")
        assert main([*arguments, *RULE]) == 1
        assert "in the card of the encoder, got" in error_of(capsys)


def test_all_numbers_of_updates_are_scaled(dot: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_dots(dot, tmp_path / "data", capsys, "--transitions", "300")
    arguments = ["train", "--data", str(tmp_path / "data"), "--output-dir", str(tmp_path / "encoder"), *FEW]
    options = ["--encoder", "class-pose", "--backbone", "strided", "--decoder-steps", "30", "--steps-scale"]
    assert main([*arguments, *options, "0.1"]) == 0
    said = capsys.readouterr().err
    assert Encoder.load(tmp_path / "encoder").config.optim.steps == 2 and "resnet18" not in said
    for scale in ("0", "-1", "nan", "inf"):
        assert main([*arguments, *options, scale]) == 1
        assert "expected --steps-scale above 0" in error_of(capsys)


def test_the_updates_of_the_decoder_are_scaled_too(
    dot: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: dict[str, int] = {}

    def count(title: str, learner: Any, *rest: Any, **options: Any) -> TrainingReport:
        counts[title] = sum(stage.steps for stage in learner.stages())
        return train_with_bar(title, learner, *rest, **options)

    save_dots(dot, tmp_path / "data", capsys, "--transitions", "300")
    config = ClassPoseConfig(backbone="strided", optim=OptimConfig(steps=20, batch_size=16))
    folder = {"data": tmp_path / "data", "output_dir": tmp_path / "encoder", "device": "cpu"}
    Train(**folder, encoder="class-pose", hyperparameters=config, decoder_steps=30, steps_scale=0.1).run(count)
    assert counts == {"Training the encoder": 2, DECODER_TITLE: 3}


def test_a_backbone_that_is_slow_on_a_cpu_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for backbone, device, said in (("resnet18", "cpu", True), ("strided", "cpu", False)):
        report_slow_backbone(ClassPoseConfig(backbone=backbone), device)
        assert ("--backbone strided is faster" in error_of(capsys)) == said
    report_slow_backbone(object(), "cpu")
    monkeypatch.setattr("equiact.representations.learning.devices.resolve_device", lambda device: "cuda")
    report_slow_backbone(ClassPoseConfig(), "auto")
    assert not error_of(capsys)


def test_a_missing_rule_names_the_columns(foreign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--data", str(foreign), "--output-dir", str(tmp_path / "encoder"), *FEW[-3:]]) == 1
    error = error_of(capsys)
    assert "expected a rule for the displacement" in error and "pass --displacement, such as 'column:NAME'" in error
    assert "infos/odometry" in error and "infos/position" in error
    assert "also expected the group that acts" in error and "pass --group, such as 'R2'" in error
    assert not list(tmp_path.glob("encoder*"))


@pytest.mark.parametrize("command", ["collect", "train"])
def test_a_dataset_of_another_program_is_never_replaced(
    command: str, dot: str, foreign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in foreign.rglob("*") if path.is_file()}
    source = ["--env", dot] if command == "collect" else ["--data", str(foreign), *RULE]
    assert main([command, *source, "--output-dir", str(foreign)]) == 1
    error = error_of(capsys)
    assert "expected --output-dir to be a new folder" in error and "nothing was changed" in error
    assert "a Minari data set 'dot/random-v0' that another program wrote" in error
    assert before == {path: path.read_bytes() for path in foreign.rglob("*") if path.is_file()}


def test_datasets_of_other_programs_are_told_apart(tmp_path: Path) -> None:
    assert describe_foreign_dataset(tmp_path) is None
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "info.json").write_text('{"robot_type": "so100"}')
    assert describe_foreign_dataset(tmp_path) == "a LeRobot data set 'so100' that another program wrote"


def save_dots(dot: str, folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> None:
    """Write a data set of ours from the environment of dots."""
    assert collect(dot, folder, "--displacement", "difference:info.position", *options) == 0
    capsys.readouterr()


def test_another_group_or_shape_than_the_encoders_is_refused(
    dot: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_dots(dot, tmp_path / "data", capsys)
    for name, encoder in (
        ("group", TranslationEncoder((16, 16, 3), "R3")),
        ("shape", TranslationEncoder((8, 8, 3), "R2")),
    ):
        encoder.save(tmp_path / name)
        for command in (["evaluate"], ["encode", "--output", str(tmp_path / "latents.npz")]):
            assert main([*command, "--encoder", str(tmp_path / name), "--data", str(tmp_path / "data")]) == 1
            error = error_of(capsys)
            assert "of the encoder, got R2 and (16, 16, 3); check --encoder and --data" in error
    assert not (tmp_path / "latents.npz").exists()


def test_evaluate_asks_where_to_measure(dot: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    TranslationEncoder((64, 64, 3), "R2").save(tmp_path / "encoder")
    assert main(["evaluate", "--encoder", str(tmp_path / "encoder")]) == 1
    assert "expected --data or --world to measure the encoder on, got neither" in error_of(capsys)
    assert main(["evaluate", "--encoder", str(tmp_path / "encoder"), "--world", "Soccer"]) == 1
    assert "expected an agent-object encoder for --world, got translation; give --data" in error_of(capsys)
    assert main(["evaluate", "--encoder", str(tmp_path / "encoder"), "--world", "Soccer", "--data", "x"]) == 1
    assert "expected --data or --world, got both" in error_of(capsys)


def test_an_encoder_is_evaluated_on_other_data_than_its_own(
    dot: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_dots(dot, tmp_path / "data", capsys)
    TranslationEncoder((16, 16, 3), "R2").save(tmp_path / "encoder")
    arguments = ["--encoder", str(tmp_path / "encoder"), "--data", str(tmp_path / "data"), "--device", "cpu", "--json"]
    assert main(["evaluate", *arguments]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert measured["measured_on"]["transitions"] == 60
    assert measured["measured_on"]["source"] == "all transitions of a data set that the encoder was not trained on"
    assert measured["equivariance_ratio_1"] > 0


def test_latents_are_written_as_parquet_with_a_film(
    dot: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    import imageio.v3 as imageio

    save_dots(dot, tmp_path / "data", capsys, "--env-option", "length=10")
    encoder = ClassPoseEncoder((16, 16, 3), "R2", ClassPoseConfig(backbone="strided")).eval()
    encoder.save(tmp_path / "encoder")
    output, film = tmp_path / "out" / "latents.parquet", tmp_path / "out" / "film.mp4"
    arguments = ["encode", "--encoder", str(tmp_path / "encoder"), "--data", str(tmp_path / "data"), "--device", "cpu"]
    assert main([*arguments, "--output", str(output), "--film", str(film), "--film-episodes", "1", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    table, data = parquet.read_table(output), load_transitions(tmp_path / "data")
    assert table.column_names[:2] == ["episode", "step"] and table.num_rows == said["frames"]
    latents = encoder.encode(data.frames)
    assert {f"class_{index}" for index in range(8)} <= set(table.column_names)
    assert said["latents"] == {name: list(values.shape[1:]) for name, values in latents.items()}
    first = table["class_0"].to_numpy()[table["step"].to_numpy() == 0]
    starts = np.setdiff1d(data.start, data.end)
    np.testing.assert_allclose(np.sort(first), np.sort(latents["class"][starts, 0]), atol=1e-6)
    about = json.loads(table.schema.metadata[b"equiact"])
    assert (about["group"], about["encoder"], about["data"]) == ("R2", "class-pose", "data")
    assert about["data_fingerprint"] == data.fingerprint
    assert imageio.imread(film).shape == (11, 320, 640, 3)
    AgentObjectEncoder((16, 16, 3), "R2").save(tmp_path / "positions")
    arguments[2], marked = str(tmp_path / "positions"), tmp_path / "marked.mp4"
    written = ["--output", str(tmp_path / "positions.npz"), "--film", str(marked), "--film-episodes", "1"]
    assert main([*arguments, *written]) == 0
    assert imageio.imread(marked).shape == (11, 320, 960, 3), "a panel for the agent, and one for the object"
    assert imageio.imread(marked.with_suffix(".png")).shape == (4 * 320, 960, 3)
    (tmp_path / "other.png").write_bytes(b"of a user")
    assert main([*arguments, "--output", str(tmp_path / "b.npz"), "--film", str(tmp_path / "other.mp4")]) == 1
    assert "choose another path or delete it" in error_of(capsys)
    arguments[2] = str(tmp_path / "encoder")
    assert main([*arguments, "--output", str(output)]) == 0, "an own file is replaced"
    parquet.write_table(table.replace_schema_metadata(None), output)
    for path, message in ((output, "another kind of file"), (tmp_path / "latents.csv", "to end in .parquet or .npz")):
        assert main([*arguments, "--output", str(path)]) == 1
        assert message in error_of(capsys)
    assert main([*arguments, "--output", str(tmp_path / "a.npz"), "--film", str(tmp_path / "film.gif")]) == 1
    assert "expected --film to end in .mp4" in error_of(capsys)


def test_a_new_encoder_brings_its_own_figure(dot: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    @register_figure("test-figure", TranslationEncoder, "A line.")
    def draw(path: Path, inputs: FigureInputs) -> None:
        save_figure(path, lambda figure: figure.subplots().plot([0, 1]), (2, 2))

    save_dots(dot, tmp_path / "data", capsys)
    inputs = FigureInputs(TranslationEncoder((16, 16, 3), "R2"), load_transitions(tmp_path / "data"))
    try:
        assert [figure.name for figure in draw_figures(tmp_path, inputs)] == ["test-figure"]
        assert (tmp_path / "test-figure.png").stat().st_size > 100
        assert {"map", "orbits", "plans", "predictions"} < {figure.name for figure in all_figures()}
        other = FigureInputs(ClassPoseEncoder((16, 16, 3), "R2", ClassPoseConfig(backbone="strided")), inputs.held_out)
        assert draw_figures(tmp_path, other) == [], "neither a decoder nor a world is there"
    finally:
        FIGURES._entries.pop("test-figure")


def test_class_and_pose_are_trained_on_own_data_with_their_figure(
    dot: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_dots(dot, tmp_path / "data", capsys, "--transitions", "300")
    arguments = ["train", "--data", str(tmp_path / "data"), "--output-dir", str(tmp_path / "encoder")]
    options = ["--encoder", "class-pose", "--backbone", "strided", "--decoder-steps", "2"]
    assert main([*arguments, *options, *FEW]) == 0
    report = tmp_path / "encoder-report"
    assert (report / "predictions.png").exists() and not (report / "orbits.png").exists()
    assert "decoded from the predicted latent" in (report / "report.html").read_text()
    assert isinstance(Encoder.load(tmp_path / "encoder"), ClassPoseEncoder)


def test_pusht_is_collected_and_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gym_pusht")
    options = ["--env-option", "obs_type=pixels", "--displacement", "difference:info.pos_agent"]
    assert collect("gym_pusht:gym_pusht/PushT-v0", tmp_path / "data", "--transitions", "200", *options) == 0
    capsys.readouterr()
    arguments = ["train", "--data", str(tmp_path / "data"), "--encoder", "translation"]
    assert main([*arguments, "--output-dir", str(tmp_path / "encoder"), *FEW]) == 0
    assert json.loads(capsys.readouterr().out)["equivariance_ratio_1"] > 0
    assert load_transitions(tmp_path / "data").frames.shape[1:] == (96, 96, 3)


def test_data_of_equiact_are_read_back(dot: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_dots(dot, tmp_path / "data", capsys)
    save_transitions(load_transitions(tmp_path / "data"), tmp_path / "copy")
    save_dots(dot, tmp_path / "data", capsys)
    assert load_transitions(tmp_path / "data").fingerprint == load_transitions(tmp_path / "copy").fingerprint


def test_a_policy_acts_on_the_observation_beside_a_ray_traced_image() -> None:
    from equiact.envs.data.policy import as_policy
    from equiact.scripts.environment_collection import PolicyOnOwnObservation

    image = np.zeros((2, 4, 4, 3), np.uint8)
    of_state = PolicyOnOwnObservation(as_policy(lambda state: 2 * state))
    assert of_state.predict({"image": image, "state": np.ones((2, 3))})[0].tolist() == [[2.0] * 3] * 2
    of_dict = PolicyOnOwnObservation(as_policy(lambda entries: entries["a"] + entries["b"]))
    assert of_dict.predict({"image": image, "a": np.ones(2), "b": np.ones(2)})[0].tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    ("env", "package", "rule", "shape", "group"),
    [
        ("MiniGrid-Empty-8x8-v0", "minigrid", "difference:env.agent_pos", (40, 48, 3), "R2"),
        ("parking-v0", "highway_env", "difference:env.vehicle.position", (40, 48, 3), "R2"),
        ("CartPole-v1", "pygame", "difference:observation[0]", (40, 48, 3), "R1"),
    ],
)
def test_environments_that_draw_themselves_are_collected_from(
    env: str, package: str, rule: str, shape: tuple[int, ...], group: str, tmp_path: Path
) -> None:
    pytest.importorskip(package)
    drawn = ["--env-option", "render_mode=rgb_array", "--image-key", "render", "--resolution", "40", "48"]
    imports = ["--import", package] if env != "CartPole-v1" else []
    assert collect(env, tmp_path / "data", "--transitions", "120", "--displacement", rule, *drawn, *imports) == 0
    data = load_transitions(tmp_path / "data")
    assert data.frames.shape[1:] == shape and data.group == group and data.displacement.any()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env", "rule", "package"),
    [
        ("Pusher-v5", "body:tips_arm", None),
        ("dm_control/point_mass-easy-v0", "body:pointmass", "shimmy"),
        ("dm_control/reacher-easy-v0", "joints:shoulder,wrist", "shimmy"),
    ],
)
def test_mujoco_environments_go_from_collection_to_evaluation(
    env: str, rule: str, package: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if package is not None:
        pytest.importorskip(package)
        pytest.importorskip("dm_control")
    options = ["--displacement", rule, "--pixels", *(["--import", package] if package else [])]
    assert collect(env, tmp_path / "data", "--transitions", "300", *options) == 0
    assert json.loads(capsys.readouterr().out)["group"] == "R2"
    data = load_transitions(tmp_path / "data")
    assert data.frames.std() > 5 and np.abs(data.displacement).max() > 1e-4
    arguments = ["--data", str(tmp_path / "data"), "--device", "cpu", "--json"]
    folder = ["--output-dir", str(tmp_path / "encoder"), "--encoder", "translation", "--optim.steps", "30"]
    assert main(["train", *arguments, *folder]) == 0
    assert main(["evaluate", *arguments, "--encoder", str(tmp_path / "encoder")]) == 0
    assert "equiact" in (tmp_path / "encoder-report" / "report.html").read_text()


def test_a_robot_that_drives_has_poses_in_the_plane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "car_package.py").write_text(CAR)
    monkeypatch.syspath_prepend(tmp_path)
    rule = ["--displacement", "difference:info.pose", "--group", "SE2"]
    assert collect("car_package:Car", tmp_path / "data", *rule, "--num-envs", "1") == 0
    data = load_transitions(tmp_path / "data")
    assert data.group == "SE2" and data.displacement.shape == (60, 4)
    first = data.displacement[0]
    np.testing.assert_allclose(first, [0.0, 0.0, np.cos(0.1), np.sin(0.1)], atol=1e-6)
    # The car is at (1, 0) and turns by 0.1 about the origin of the world: the left action p' = g · p.
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["train", "--data", str(tmp_path / "data"), "--help"])
    assert "--class-dim" in capsys.readouterr().out, "class-pose is suggested for the group of the data set"


CAR = '''
import gymnasium as gym
import numpy as np


class Car(gym.Env):
    """A car on the unit circle around the origin."""

    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    observation_space = gym.spaces.Box(0, 255, (16, 16, 3), np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.angle = 0.0
        return self.draw(), {"pose": self.pose()}

    def step(self, action):
        self.angle += 0.1
        return self.draw(), 0.0, False, False, {"pose": self.pose()}

    def pose(self):
        return np.array([np.cos(self.angle), np.sin(self.angle), self.angle])

    def draw(self):
        return np.full((16, 16, 3), int(100 + 10 * self.angle) % 256, np.uint8)
'''


def test_images_of_other_layouts_are_named_and_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (200, 3, 16, 16), np.uint8)
    episode, moves = np.arange(200) // 20, generator.normal(size=(200, 2)).astype(np.float32)
    np.savez(tmp_path / "data.npz", images=images, episode=episode, displacement=moves)
    arguments = ["train", "--data", str(tmp_path / "data.npz"), "--group", "R2", "--encoder", "translation", *FEW]
    folder = ["--output-dir", str(tmp_path / "encoder")]
    assert main([*arguments, *folder]) == 1
    assert "which looks channel-first; pass --channel-first" in error_of(capsys)
    assert main([*arguments, *folder, "--channel-first"]) == 0
    assert Encoder.load(tmp_path / "encoder").shape == (16, 16, 3)


@pytest.mark.parametrize(("ratio", "said"), [(0.99, False), (1.0, True), (5.0, True)])
def test_an_encoder_that_predicts_worse_than_no_change_is_named(ratio: float, said: bool) -> None:
    assert ["not usable yet" in warning for warning in _warnings({"equivariance_ratio_1": ratio})] == [True] * said
