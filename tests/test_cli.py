"""The command line: help, configurations from YAML and options, JSON output, and answers to bad input."""

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from equiact.envs.named_registry import RegistryError
from equiact.envs.storage.artifacts import folder_lock, write_tensor_file
from equiact.representations.encoders.agent_object import AgentObjectConfig, AgentObjectEncoder
from equiact.representations.encoders.class_pose import ClassPoseConfig
from equiact.representations.learning.checkpoints import remove_checkpoint
from equiact.representations.learning.config import ConfigError, OptimConfig
from equiact.scripts.benchmarks.run_folder import claim_folder
from equiact.scripts.cli import main, parse, print_result
from equiact.scripts.commands.command import Command
from equiact.scripts.commands.config_options import with_defaults
from equiact.scripts.commands.doctor import check_extra, check_import
from equiact.scripts.commands.registry import COMMAND_REGISTRY, command_names, register_command
from equiact.scripts.commands.train import Train
from equiact.scripts.experiments.provenance import CODE, ROOT, commit


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    """Return standard error as one line."""
    return " ".join(capsys.readouterr().err.replace("│", " ").split())


@pytest.mark.parametrize("name", command_names())
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*name.split(), "--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    draws = name not in ("doctor", "tables")
    computes = draws and name not in ("benchmark-pixels", "perturb")  # these use the CPU
    assert "--json" in shown and ("--seed " in shown, "--device " in shown) == (draws, computes)
    assert "``" not in shown, "help is plain text"


def test_the_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in command_names())
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("equiact ")


@pytest.mark.parametrize("arguments", [["analyze"], ["analyze", "--help"]])
def test_the_first_word_alone_names_its_commands(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "analyze dimension" in shown and "benchmark" not in shown


@pytest.mark.parametrize(("given", "used"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_that_wait_sleep_unless_the_user_says_otherwise(given: str | None, used: str) -> None:
    """The variable is read when torch is imported, so it must be there before, also in a fresh process."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    code = (
        "import os, sys; from equiact.scripts.cli import main; assert 'torch' not in sys.modules; main(['--version']); "
        "print(os.environ['OMP_WAIT_POLICY'])"
    )
    command = [sys.executable, "-c", code]
    chosen = {"OMP_WAIT_POLICY": given} if given else {}
    done = subprocess.run(command, env=environment | chosen, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == used


def test_an_unknown_command_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 1
    assert "unknown command 'trian'; did you mean 'train'?" in error_of(capsys)


def test_a_command_is_one_file(capsys: pytest.CaptureFixture[str]) -> None:
    @register_command("test-greeting")
    @dataclass(frozen=True)
    class Greeting(Command):
        """Print a greeting."""

        to: str = "world"
        """Whom to greet."""

        def run(self) -> dict[str, Any]:
            return {"greeting": f"hello, {self.to}"}

    try:
        assert main(["test-greeting", "--to", "you", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"greeting": "hello, you"}
        with pytest.raises(RegistryError, match="already registered"):
            register_command("test-greeting")(Command)
    finally:
        COMMAND_REGISTRY._entries.pop("test-greeting")


def test_hyperparameters_of_the_encoder_are_options_of_train(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--encoder", "class-pose", "--world", "Chairs", "--help"])
    shown = capsys.readouterr().out
    assert all(option in shown for option in ("--optim.lr", "--loss.temperature", "--class-dim", "--pairs.views"))
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    shown = capsys.readouterr().out
    assert "--optim.agent-steps" in shown and "--class-dim" not in shown


def write_yaml(folder: Path, text: str) -> str:
    path = folder / "my.yaml"
    path.write_text(text)
    return str(path)


def test_options_take_precedence_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    path = write_yaml(
        tmp_path,
        "encoder: class-pose\nworld: Sprites\ntransitions: 300\noutput_dir: runs/mine\n"
        "optim: {steps: 30, lr: 1.0e-3}\nloss: {temperature: 0.3}\n",
    )
    command: Any = parse("train", ["--config", path, "--optim.lr", "1e-2", "--transitions", "400"])
    assert (command.encoder, command.world, command.transitions) == ("class-pose", "Sprites", 400)
    assert command.output_dir == Path("runs/mine")
    config = command.hyperparameters
    assert (config.optim.steps, config.optim.lr, config.loss.temperature, config.class_dim) == (30, 1e-2, 0.3, 8)
    assert config.backbone == "strided", "what is suggested for the world stays"


def test_suggestions_depend_on_the_world() -> None:
    solids: Any = parse("train", ["--world", "Solids", "--encoder", "pose-set"])
    assert solids.hyperparameters.num_poses == 80 and solids.hyperparameters.loss.set_cohesion == 5.0
    assert parse("train", ["--world", "Arrows"]).encoder == "harmonics"  # type: ignore[attr-defined]
    assert parse("train", ["--world", "Chairs"]).encoder == "class-pose"  # type: ignore[attr-defined]
    assert parse("train", []).hyperparameters == AgentObjectConfig()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "encoder: class-pose\nloss: {temprature: 1}",
            "unknown key 'loss.temprature'; did you mean 'loss.temperature'",
        ),
        ("encoder: class-pose\nwrold: Chairs", "unknown key 'wrold'; did you mean 'world'"),
        ("encoder: class-pose\noptim: {lr: -1}", "lr must be above 0, got -1"),
        ("encoder: class-pose\noptim: {lr: fast}", "optim.lr"),
        ("encoder: class-pose\nworld: Chairs\ntransitions: many", "transitions"),
        ("encoder: clas-pose\nworld: Chairs", "unknown encoder 'clas-pose'; did you mean 'class-pose'"),
        ("- 1", "expected a mapping of keys to values"),
        ("a: [", "expected a YAML file"),
    ],
)
def test_a_damaged_configuration_is_refused_before_work(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_yaml(tmp_path, text)
    assert main(["train", "--config", path, "--output-dir", str(tmp_path / "encoder")]) == 1
    assert message in error_of(capsys)
    assert not (tmp_path / "encoder").exists()


def test_a_value_out_of_range_is_refused_before_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--optim.lr", "-1", "--output-dir", str(tmp_path / "encoder")])
    assert "Error parsing --optim.lr: must be above 0, got -1" in error_of(capsys)
    with pytest.raises(SystemExit):
        main(["train", "--optim.lrr", "1"])
    assert "Perhaps you meant: --optim.lr" in error_of(capsys)


def test_a_missing_configuration_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected a YAML file at .*nowhere"):
        parse("rl", ["--config", str(tmp_path / "nowhere.yaml")])


def test_other_commands_take_configurations_too(tmp_path: Path) -> None:
    path = write_yaml(tmp_path, "world: Push\nseed: 3\n")
    command: Any = parse("rl", ["--config", path, "--seed", "4"])
    assert command.world == "Push" and command.seed == 4


@pytest.mark.parametrize("command", [["train"], ["collect"], ["demo"], ["rl"], ["benchmark", "encoder"]], ids=" ".join)
def test_an_unknown_world_names_those_there_are(
    command: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = "--work-dir" if command[0] == "benchmark" else "--output-dir"
    assert main([*command, "--world", "Cricket", folder, str(tmp_path / "made")]) == 1
    error = capsys.readouterr().err
    assert "Soccer" in error and "Collecting" not in error
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["recover", "--onset", "80", "--output-dir"], "no step is left to recover in"),
        (["recover", "--num-seeds", "0", "--output-dir"], "expected --num-seeds of at least 1, got 0"),
        (["benchmark", "--num-seeds", "0", "--work-dir"], "expected --num-seeds of at least 1, got 0"),
        (["demo", "--rl-steps", "100", "--output-dir"], "a learning curve needs at least 2000 steps"),
        (["demo", "--world", "Sprites", "--output-dir"], "a world without an object and a task"),
        (["benchmark", "encoder", "--world", "Sprites", "--work-dir"], "a world without an object and a task"),
        (["collect", "--transitions", "0", "--output-dir"], "expected --transitions of at least 1, got 0"),
        (["train", "--transitions", "0", "--output-dir"], "expected --transitions of at least 1, got 0"),
        (["train", "--held-out", "1", "--output-dir"], "expected --held-out of at least 32, got 1"),
        (["train", "--decoder-steps", "-1", "--output-dir"], "expected --decoder-steps of at least 0, got -1"),
        (["train", "--logger", "wandb", "--output-dir"], "--logger wandb needs the package wandb; run pip install"),
        (["evaluate", "--episodes", "0", "--policy"], "expected --episodes of at least 1, got 0"),
    ],
)
def test_bad_options_are_refused_before_work(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([*arguments, str(tmp_path / "made")]) == 1
    error = error_of(capsys)
    assert message in error and "Collecting" not in error
    assert not list(tmp_path.iterdir()), "nothing is written"


@pytest.mark.parametrize("command", ["collect", "train", "rl", "demo"])
def test_a_folder_with_other_things_is_refused_before_work(
    command: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("chapter 1")
    assert main([command, "--output-dir", str(tmp_path)]) == 1
    assert "with other things in it: thesis.tex" in error_of(capsys)
    assert (tmp_path / "thesis.tex").read_text() == "chapter 1"


@pytest.mark.parametrize("command", ["collect", "train", "rl", "demo"])
def test_a_folder_that_another_process_writes_to_is_refused(
    command: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    AgentObjectEncoder((16, 16, 3), "R2").save(tmp_path / "encoder")
    options = ["--encoder", str(tmp_path / "encoder")] if command == "rl" else []
    with folder_lock(tmp_path / "made"):
        assert main([command, *options, "--output-dir", str(tmp_path / "made")]) == 1
    error = error_of(capsys)
    assert "another process works here" in error and str(os.getpid()) in error


@pytest.mark.parametrize("suffix", ["", "-decoder"])
def test_a_file_in_place_of_a_checkpoint_is_refused_before_work(
    suffix: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    notes = tmp_path / f"mine{suffix}.checkpoint"
    notes.write_text("my notes")
    assert main(["train", "--world", "Sprites", "--output-dir", str(tmp_path / "mine")]) == 1
    error = error_of(capsys)
    assert "is not a checkpoint" in error and "Collecting" not in error
    assert notes.read_text() == "my notes"


def test_only_checkpoints_are_removed(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("notes", "empty", "ours")]
    files[0].write_text("my notes")
    files[1].touch()
    write_tensor_file(files[2], "checkpoint", {}, {"a": torch.zeros(1)})
    for file in [*files, tmp_path / "missing"]:
        remove_checkpoint(file)
    assert [file.exists() for file in files] == [True, True, False]


def test_a_report_folder_with_a_file_of_the_user_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "mine-report").mkdir()
    (tmp_path / "mine-report" / "map.png").write_text("my map")
    assert main(["train", "--output-dir", str(tmp_path / "mine")]) == 1
    assert "with other things in it: map.png" in error_of(capsys)


def test_a_missing_policy_is_named_before_work(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    AgentObjectEncoder((64, 64, 3), "R2").save(tmp_path / "encoder")
    options = ["--encoder", str(tmp_path / "encoder"), "--world", "Soccer", "--policy", str(tmp_path / "nowhere")]
    assert main(["evaluate", *options]) == 1
    error = error_of(capsys)
    assert "nowhere" in error and "Held-out" not in error
    AgentObjectEncoder((16, 16, 3), "R2").save(tmp_path / "encoder")
    assert main(["evaluate", *options[:4]]) == 1
    error = error_of(capsys)
    assert "got R2 and (16, 16, 3); check --encoder and --world" in error and "Held-out" not in error


def test_a_value_from_a_file_is_named_by_its_option(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write_yaml(tmp_path, "transitions: -5\n")
    assert main(["train", "--config", path, "--output-dir", str(tmp_path / "made")]) == 1
    assert "expected --transitions of at least 1, got -5" in error_of(capsys)


def test_the_home_folder_is_found_in_every_path() -> None:
    command: Any = parse("rl", ["--encoder", "~/encoder", "--output-dir=~/policy"])
    assert (command.encoder, command.output_dir) == (Path.home() / "encoder", Path.home() / "policy")


def test_quick_comes_from_the_command_line_or_the_file(tmp_path: Path) -> None:
    quick = write_yaml(tmp_path, "quick: true\n")
    for arguments, pairs in (
        ([], 100),
        (["--quick"], 50),
        (["--quick", "--no-quick"], 100),
        (["--config", quick], 50),
        (["--config", quick, "--no-quick"], 100),
    ):
        command: Any = parse("recover", arguments)
        assert (command.quick, command.experiment.config.pairs) == (pairs == 50, pairs), arguments


def test_json_has_null_for_what_is_not_finite(capsys: pytest.CaptureFixture[str]) -> None:
    print_result({"a": math.nan, "b": [math.inf, 1.5], "c": {"d": -math.inf}}, as_json=True)
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5], "c": {"d": None}}


HIDE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "{name}":
            raise ModuleNotFoundError("No module named '{name}'", name="{name}")
sys.meta_path.insert(0, Hidden())
from equiact.scripts.cli import main
sys.exit(main({arguments}))
"""


@pytest.mark.parametrize(
    ("name", "arguments", "hint"),
    [
        ("tyro", ["train"], "equiact[cli]"),
        ("rich", [], "equiact[cli]"),
        ("yaml", ["train", "--config", "a.yaml"], "equiact[cli]"),
        ("warp", ["collect", "--output-dir", "made"], "equiact[sim]"),
    ],
)
def test_a_missing_package_is_named_in_one_line(name: str, arguments: list[str], hint: str, tmp_path: Path) -> None:
    code = HIDE.format(name=name, arguments=arguments)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 1 and f"pip install '{hint}'" in " ".join(run.stderr.split())
    assert "Traceback" not in run.stderr


def test_output_that_nobody_reads_ends_quietly() -> None:
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(
            [sys.executable, "-m", "equiact.scripts.cli", "--version"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert run.returncode == 1 and run.stderr == "OSError: [Errno 28] No space left on device\n"
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "equiact.scripts.cli", "--version"]
    closed = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert closed.returncode == 1 and closed.stderr == ""


def test_a_terminal_without_unicode_shows_a_question_mark() -> None:
    code = "import sys; from equiact.scripts.cli import main; main(['--version']); print('\u2713')"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert run.stdout.endswith("?\n"), run.stderr


def test_a_tampered_encoder_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    AgentObjectEncoder((16, 16, 3), "R2").save(tmp_path / "encoder")
    card = tmp_path / "encoder" / "card.json"
    card.write_text(card.read_text().replace('"R2"', '"R3"'))
    assert main(["evaluate", "--encoder", str(tmp_path / "encoder")]) == 1
    assert "does not match its sha256" in error_of(capsys)


def test_collect_writes_data_and_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    options = ["--transitions", "100", "--output-dir", str(tmp_path / "data"), "--json", "--device", "cpu"]
    assert main(["collect", *options]) == 1
    assert "expected at least 212 transitions" in capsys.readouterr().err
    options += ["--explore", "random"]
    assert main(["collect", *options]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert result["transitions"] == 100
    assert (tmp_path / "data").is_dir()
    assert "Collecting: 100/100 transitions" in captured.err, "a redirected run shows its progress"


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    claim_folder(tmp_path / "run", "demo.json", {"world": "Soccer", "seed": 0})
    assert claim_folder(tmp_path / "run", "demo.json", {"world": "Soccer", "seed": 0}) == tmp_path / "run"
    with pytest.raises(ValueError, match=r"holds a run with seed = 0, now 1; choose another folder"):
        claim_folder(tmp_path / "run", "demo.json", {"world": "Soccer", "seed": 1})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_says_whether_it_can_resume(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    @dataclass(frozen=True)
    class Interrupted(Command):
        def run(self) -> dict[str, Any]:
            signal.raise_signal(number)
            return {}

    @dataclass(frozen=True)
    class Resuming(Interrupted):
        resumes = True

    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it
    for name, command_cls in (("test-interrupted", Interrupted), ("test-resuming", Resuming)):
        register_command(name)(command_cls)
    try:
        assert main(["test-interrupted"]) == 130
        assert "to resume" not in capsys.readouterr().err
        assert main(["test-resuming"]) == 130
        assert "Run the same command again to resume" in capsys.readouterr().err
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        for name in ("test-interrupted", "test-resuming"):
            COMMAND_REGISTRY._entries.pop(name)


def test_the_doctor_finds_a_package_that_shadows_equiact(tmp_path: Path) -> None:
    assert check_import().well
    finding = check_import(expected=tmp_path)
    assert not finding.well and "comes first on sys.path" in finding.hint
    assert check_import().found == str(ROOT)


def test_the_doctor_tells_needed_from_optional_extras() -> None:
    assert check_extra("sim").well and check_extra("sim").found == "installed"
    assert check_extra("wandb").well and "(optional)" in check_extra("wandb").found
    assert check_extra("wandb").sign == "–" and "✓" in check_extra("sim").sign


def test_results_do_not_make_a_checkout_dirty_but_code_does(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(
            ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *arguments], check=True
        )

    (tmp_path / "envs").mkdir()
    for name in ("envs/file", *(name for name in CODE if "." in name), "agents", "representations", "scripts"):
        (tmp_path / name).write_text("1")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "first")
    clean = commit(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "figures.json").write_text("{}")
    assert len(clean) == 12 and commit(tmp_path) == clean
    (tmp_path / "envs" / "file").write_text("2")
    assert commit(tmp_path) == f"{clean}-dirty"
    (tmp_path / "envs" / "file").write_text("1")
    (tmp_path / "envs" / "new").write_text("3")
    assert commit(tmp_path) == f"{clean}-dirty"
    assert commit(tmp_path.parent / "nowhere").startswith("equiact ")
    assert commit().startswith("equiact ") or (ROOT / ".git").exists()


def test_a_file_changes_one_nested_value_and_keeps_its_neighbours():
    made = with_defaults(Train, {"optim": {"steps": 30}}, config=ClassPoseConfig(optim=OptimConfig(lr=1e-2)))
    default = {field.name: field.default for field in dataclasses.fields(made)}["hyperparameters"]
    assert (default.optim.steps, default.optim.lr) == (30, 1e-2)
