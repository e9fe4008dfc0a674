"""Data flows one way: envs -> representations -> agents -> scripts; a room imports only from rooms before it."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ["envs", "representations", "agents", "scripts"]


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("room", ROOMS)
def test_imports_follow_the_flow(room: str) -> None:
    later = set(ROOMS[ROOMS.index(room) + 1 :])
    against = [
        (path.name, name)
        for path in (ROOT / room).rglob("*.py")
        for name in imported(path)
        if name.split(".")[0] in later
    ]
    assert against == []


def test_representations_know_no_simulator() -> None:
    allowed = {"envs.transitions", "envs.groups"}
    for path in (ROOT / "representations").rglob("*.py"):
        ours = {name for name in imported(path) if name.split(".")[0] == "envs"}
        assert ours <= allowed, path


def test_importing_envs_and_encoders_loads_no_simulator() -> None:
    code = "import sys, json, envs, representations.agent_object; print(json.dumps([m for m in sys.modules]))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = {name.split(".")[0] for name in json.loads(run.stdout)}
    assert not loaded & {"mujoco", "mujoco_warp", "warp", "stable_baselines3", "minari", "matplotlib"}
