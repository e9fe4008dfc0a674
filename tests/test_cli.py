"""The command line: help for newcomers, JSON for machines, and an answer to bad input."""

import json
import signal
import subprocess
from pathlib import Path

import pytest

from representations.agent_object import AgentObjectEncoder
from scripts.benchmark import Benchmark
from scripts.cli import COMMANDS, main
from scripts.demo import Demo
from scripts.doctor import Doctor, _own
from scripts.runs import CODE, commit, over_seeds, write_json
from scripts.train import Train


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert all(option in shown for option in ("--seed", "--device", "--json"))


@pytest.mark.parametrize("command", [["train"], ["collect"], ["demo"], ["rl"], ["benchmark", "encoder"]], ids=" ".join)
def test_an_unknown_world_names_those_there_are(
    command: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = "--work" if command[0] == "benchmark" else "--out"
    assert main([*command, "--world", "Cricket", folder, str(tmp_path / "made")]) == 1
    assert "Soccer" in capsys.readouterr().err
    assert not (tmp_path / "made").exists(), "nothing is claimed for what cannot be done"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["recover", "--onset", "80", "--out"], "nothing is left to recover in"),
        (["recover", "--seeds", "0", "--out"], "at least one seed is needed"),
        (["benchmark", "--seeds", "0", "--work"], "at least one seed is needed"),
        (["demo", "--rl-steps", "100", "--out"], "a learning curve needs at least 2000 steps"),
        (["demo", "--world", "Sprites", "--out"], "a world without an object and a task"),
        (["benchmark", "encoder", "--world", "Sprites", "--work"], "a world without an object and a task"),
    ],
)
def test_what_cannot_end_well_is_not_begun(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([*arguments, str(tmp_path / "made")]) == 1
    assert message in " ".join(capsys.readouterr().err.split())


def test_collect_refuses_a_folder_of_other_things_before_it_collects(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "thesis.tex").touch()
    monkeypatch.setattr("scripts.collect.collect_transitions", lambda *options: pytest.fail("it collected"))
    assert main(["collect", "--out", str(tmp_path)]) == 1
    assert "choose another folder or delete it" in " ".join(capsys.readouterr().err.split())


def test_rows_of_another_benchmark_are_not_taken(tmp_path: Path) -> None:
    kept = tmp_path / "Soccer" / "render-100.json"
    write_json(kept, {"commit": "abc", "settings": {"transitions": 5, "rl_steps": 24000}, "figures": {"frames/s": 1.0}})
    with pytest.raises(ValueError, match=r"now .* is asked for; choose another --work"):
        Benchmark(what="render", seeds=1, results=tmp_path, work=tmp_path).run()
    assert Benchmark(what="render", seeds=1, transitions=5, results=tmp_path, work=tmp_path).run() == {"frames/s": 1.0}


def test_a_tampered_encoder_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    AgentObjectEncoder((16, 16, 3), "R2").save(tmp_path / "encoder")
    weights = tmp_path / "encoder" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert main(["evaluate", "--encoder", str(tmp_path / "encoder")]) == 1
    assert "truncated or altered" in " ".join(capsys.readouterr().err.split())


def test_collect_writes_data_and_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["collect", "--transitions", "100", "--out", str(tmp_path / "data"), "--json", "--device", "cpu"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["transitions"] == 100
    assert (tmp_path / "data").is_dir()


def test_a_demo_does_not_go_on_in_the_folder_of_another(tmp_path: Path) -> None:
    write_json(tmp_path / "demo.json", {"world": "Soccer", "transitions": 1, "rl_steps": 1, "seed": 0})
    with pytest.raises(ValueError, match="choose another --out"):
        Demo(out=tmp_path).run()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_told_to_stop_says_that_it_can_go_on(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    for kind in (Doctor, Train):
        monkeypatch.setattr(kind, "run", lambda self: signal.raise_signal(number))
    try:
        assert main(["doctor"]) == 130
        assert "goes on where it was" not in capsys.readouterr().err, "it does not"
        assert main(["train"]) == 130
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert "goes on where it was" in capsys.readouterr().err


def test_figures_are_over_what_all_seeds_have() -> None:
    rows = [{"commit": "a", "figures": {"both": 1.0, "one": 2.0}}, {"commit": "b", "figures": {"both": 2.0}}]
    result = over_seeds(rows, [100, 101])
    assert result["figures"].keys() == {"both"} and result["commit"] == "a, b"
    assert result["figures"]["both"]["mean"] == 1.5


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(tmp_path / "result.json", {"kept": True})

    def full(self: Path, text: str) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        write_json(tmp_path / "result.json", {"kept": False})
    assert json.loads((tmp_path / "result.json").read_text()) == {"kept": True}


def test_the_doctor_sees_a_package_that_shadows_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "agentsshadow").mkdir()
    (tmp_path / "agentsshadow" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    assert _own("agents")().well
    finding = _own("agentsshadow")()
    assert not finding.well
    assert "comes first on sys.path" in finding.mend


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
