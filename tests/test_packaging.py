"""The package installs under one import name, is complete, and needs no simulator to encode."""

import ast
import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tarfile
import textwrap
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import equiact
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("agents", "envs", "representations", "scripts")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def python(code: str, cwd: Path | str = "/", executable: str | Path = sys.executable, isolated: bool = False) -> str:
    """Run code in a process of its own and return what it printed; with ``isolated`` only site-packages are read."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(executable), *(["-I"] if isolated else []), "-c", textwrap.dedent(code)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def package_folders() -> list[str]:
    folders = [path.parent for top in FOLDERS for path in (ROOT / top).rglob("__init__.py")]
    return sorted(".".join(["equiact", *folder.relative_to(ROOT).parts]) for folder in folders)


def requirements_of(extra: str = "") -> list[Requirement]:
    """Return the requirements that pyproject.toml states for an extra, or for the installation without extras."""
    project = PROJECT["project"]
    return [
        Requirement(line) for line in (project["optional-dependencies"][extra] if extra else project["dependencies"])
    ]


def with_their_dependencies(requirements: list[Requirement]) -> set[str]:
    """Return the distributions that pip would install for requirements."""
    waiting, found = [(each.name, each.extras) for each in requirements], set()
    while waiting:
        name, extras = waiting.pop()
        found.add(canonicalize_name(name))
        for line in metadata.requires(name) or []:
            needed = Requirement(line)
            wanted = needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras or {""})
            if wanted and canonicalize_name(needed.name) not in found:
                waiting.append((needed.name, needed.extras))
    return found


def not_installed_by(requirements: list[Requirement]) -> list[str]:
    """Return the top-level modules of this environment that an installation of requirements would lack."""
    installed = with_their_dependencies(requirements)
    modules = metadata.packages_distributions().items()
    hidden = [name for name, owners in modules if not {canonicalize_name(owner) for owner in owners} & installed]
    return sorted(set(hidden) - {"equiact", "pip", "setuptools", "pkg_resources", "_distutils_hack"})


def copy_sources(target: Path) -> Path:
    for name in FOLDERS:
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__.py", "py.typed", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, target / name)
    return target


def build(what: str, source: Path, output: Path) -> Path:
    output.mkdir(exist_ok=True)
    code = f"from setuptools import build_meta; print(build_meta.build_{what}({str(output)!r}))"
    return output / python(code, source).splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(
        "wheel", copy_sources(tmp_path_factory.mktemp("source")), tmp_path_factory.getbasetemp() / "wheel_dist"
    )


def test_packages_are_the_folders() -> None:
    assert sorted(PROJECT["tool"]["setuptools"]["packages"]) == sorted(["equiact", *package_folders()])


def test_wheel_holds_every_module_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    modules = {f"equiact/{path.relative_to(ROOT)}" for top in FOLDERS for path in (ROOT / top).rglob("*.py")}
    assets = {f"equiact/{path.relative_to(ROOT)}" for path in (ROOT / "envs/worlds/assets").glob("*.xml")}
    assert names == modules | assets | {"equiact/__init__.py", "equiact/py.typed"}


def test_version_is_written_once() -> None:
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert "version" not in PROJECT["project"]
    assert python("import equiact; print(equiact.__version__)") == equiact.__version__


def test_core_dependencies_hold_no_simulator() -> None:
    core = " ".join(PROJECT["project"]["dependencies"])
    assert not [name for name in ("mujoco", "stable-baselines3", "minari", "tyro", "matplotlib") if name in core]
    assert {"sim", "rl", "data", "cli", "all"} <= PROJECT["project"]["optional-dependencies"].keys()


BROUGHT_BY_A_DEPENDENCY = {
    "_typeshed": "mypy",
    "cycler": "matplotlib",
    "imageio_ffmpeg": "imageio[ffmpeg]",
    "pyarrow": "minari[arrow]",
    "warp": "mujoco-warp",
}


def imported_modules(path: Path) -> set[str]:
    """Return the top-level modules outside this package and the standard library that a file imports."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            modules.add(str(node.module))
    return {module.partition(".")[0] for module in modules} - sys.stdlib_module_names


def test_every_import_is_a_declared_dependency() -> None:
    """The installation tests read the dependencies of this environment, so a forgotten one would not show there."""
    extras = PROJECT["project"]["optional-dependencies"]
    declared = {canonicalize_name(each.name) for extra in ("", *extras) for each in requirements_of(extra)}
    owners = metadata.packages_distributions()
    imported = {name: path for top in FOLDERS for path in (ROOT / top).rglob("*.py") for name in imported_modules(path)}
    undeclared = {
        name: path
        for name, path in imported.items()
        if not {canonicalize_name(owner) for owner in owners.get(name, [name])} & declared
    }
    assert undeclared.keys() - BROUGHT_BY_A_DEPENDENCY.keys() == set(), undeclared


def test_every_public_name_resolves() -> None:
    for name in equiact._EXPORTS:
        assert getattr(equiact, name) is not None
    assert {*equiact.__all__} == {"__version__", *equiact._EXPORTS} <= {*dir(equiact), "__version__"}
    with pytest.raises(AttributeError, match="public names are"):
        _ = equiact.nothing_like_this


def test_type_checkers_see_the_public_names() -> None:
    block = next(node for node in ast.parse((ROOT / "__init__.py").read_text()).body if isinstance(node, ast.If))
    seen = {
        alias.asname: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert seen == equiact._EXPORTS


def test_import_is_cheap() -> None:
    code = """
        import gymnasium, sys, time
        start = time.perf_counter()
        import equiact
        loaded = {name.split(".")[0] for name in sys.modules}
        assert not loaded & {"torch", "mujoco", "warp", "stable_baselines3", "minari", "scipy"}, loaded
        print(time.perf_counter() - start)
    """
    assert min(float(python(code)) for _ in range(3)) < 0.5


HIDE = """
import sys

class Hide:
    'Make the import of modules fail as if they were not installed.'

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hide())
"""


def python_without_extras(code: str) -> str:
    """Run code where only what ``pip install equiact`` brings can be imported."""
    hidden = not_installed_by(requirements_of())
    assert {"mujoco", "stable_baselines3", "minari", "matplotlib", "tyro"} <= {*hidden}
    assert not {"numpy", "torch", "zuko", "yaml"} & {*hidden}
    return python(HIDE.format(hidden=hidden) + textwrap.dedent(code))


def test_encoder_loads_and_encodes_without_extras(tmp_path: Path) -> None:
    code = f"""
        import numpy as np
        from equiact import AgentObjectEncoder, Transitions, load_encoder
        AgentObjectEncoder((32, 32, 3), "R2").save({str(tmp_path / "encoder")!r})
        latents = load_encoder({str(tmp_path / "encoder")!r}).encode(np.zeros((2, 32, 32, 3), np.uint8))
        print(sorted(latents), latents["agent"].shape)
    """
    assert python_without_extras(code) == "['agent', 'object'] (2, 2)"


def test_a_missing_extra_is_named_and_left_out_of_star_imports() -> None:
    code = """
        from equiact import *
        try:
            from equiact import EncoderFeatures
        except ImportError as error:
            print(error)
        import equiact
        print(sorted(set(equiact._EXPORTS) - set(equiact.__all__)), AgentObjectEncoder.__name__)
    """
    error, names = python_without_extras(code).splitlines()
    assert error == "equiact.EncoderFeatures needs the package stable_baselines3; run: pip install 'equiact[rl]'"
    assert names == "['EncoderFeatures', 'VecEncodeObservation'] AgentObjectEncoder"


def test_extras_named_in_errors_exist() -> None:
    owners = metadata.packages_distributions()
    for module, extra in equiact._EXTRAS.items():
        assert {canonicalize_name(owner) for owner in owners[module]} & with_their_dependencies(requirements_of(extra))


@pytest.mark.parametrize("foreign", [("envs", "agents", "scripts", "representations")])
def test_works_in_a_project_with_its_own_packages(tmp_path: Path, foreign: tuple[str, ...]) -> None:
    """Most RL projects have folders of these names; openai-agents installs a top-level package ``agents``."""
    for name in foreign:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"WHOSE = 'the project: {name}'\n")
    code = """
        import json, gymnasium, envs, agents, scripts
        import equiact
        import equiact.agents.policies, equiact.scripts.commands
        print(json.dumps([envs.WHOSE, agents.WHOSE, scripts.WHOSE]), gymnasium.spec("equiact/Soccer-v0").id)
    """
    own, identifier = python(code, tmp_path).rsplit(" ", 1)
    assert json.loads(own) == ["the project: envs", "the project: agents", "the project: scripts"]
    assert identifier == "equiact/Soccer-v0"


def test_makes_an_environment_from_a_project_with_its_own_envs(tmp_path: Path) -> None:
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "__init__.py").write_text("")
    code = """
        import gymnasium as gym, envs
        env = gym.make("equiact:equiact/Soccer-v0", resolution=(16, 16))
        print(env.reset(seed=0)[0].shape)
    """
    assert python(code, tmp_path) == "(16, 16, 3)"


def test_new_names_in_the_changelog_exist() -> None:
    release = (ROOT / "CHANGELOG.md").read_text().split("\n## ")[1]
    names = re.findall(
        r"`equiact((?:\.\w+)+)`", "".join(line.split("|")[2] for line in re.findall(r"^\|.*", release, re.M))
    )
    assert len(names) > 10
    for name in names:
        assert pkgutil.resolve_name(f"equiact:{name[1:]}" if name.count(".") == 1 else f"equiact{name}") is not None


def test_ci_runs_every_stated_python() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())["jobs"]["test"]
    stated = [line.split(" :: ")[-1] for line in PROJECT["project"]["classifiers"] if "Python :: 3." in line]
    assert workflow["strategy"]["matrix"]["python"] == stated
    assert "bash scripts/test.sh" in [step.get("run") for step in workflow["steps"]]


def test_nothing_is_installed_under_a_common_name(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert tops == {"equiact"}


def other_site_packages() -> str:
    """Return the folder that holds the dependencies of this environment."""
    import numpy

    return str(Path(numpy.__file__).parent.parent)


@pytest.fixture(scope="module")
def empty_venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment without this package.

    Its dependencies are read from the environment of the tests, since they are gigabytes. That all are declared is
    checked by `test_every_import_is_a_declared_dependency` and by the tests that hide undeclared ones.
    """
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return folder


def install(venv: Path, *arguments: str) -> None:
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    run = subprocess.run(
        [*pip, "--no-build-isolation", "--force-reinstall", *arguments], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr


CHECK = """
    import sys; sys.path.append({dependencies!r})
    import equiact, gymnasium
    from importlib.metadata import version
    assert version("equiact") == equiact.__version__
    assert equiact.__file__.startswith({where!r}), equiact.__file__
    from equiact import AgentObjectEncoder
    gymnasium.spec("equiact/Soccer-v0")
    import agents
    print(agents.WHOSE)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["wheel", "sdist", "editable"])
def test_installs_in_an_empty_environment_beside_openai_agents(
    how: str, wheel: Path, empty_venv: Path, tmp_path: Path
) -> None:
    site = next((empty_venv / "lib").glob("python*/site-packages"))
    (site / "agents").mkdir(exist_ok=True)  # as openai-agents does
    (site / "agents" / "__init__.py").write_text("WHOSE = 'openai-agents'\n")
    for name in ("setuptools", "_distutils_hack", "pkg_resources"):  # builds need setuptools; there is no network
        if (folder := Path(other_site_packages()) / name).exists():
            shutil.copytree(folder, site / name, dirs_exist_ok=True)
    source = tmp_path / "source"
    source.mkdir()
    if how == "wheel":
        install(empty_venv, str(wheel))
    elif how == "sdist":
        archive = build("sdist", copy_sources(source), tmp_path / "dist")
        with tarfile.open(archive) as opened:
            assert any(name.endswith("assets/soccer.xml") for name in opened.getnames())
        install(empty_venv, str(archive))
    else:
        install(empty_venv, "--editable", str(copy_sources(source)))
    where = str(source) if how == "editable" else str(site)
    code = CHECK.format(dependencies=other_site_packages(), where=where)
    assert python(code, tmp_path, empty_venv / "bin" / "python", isolated=True) == "openai-agents"
