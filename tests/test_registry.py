"""Registries: discovery of modules and plugins, unknown names, redefinition."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest
from equiact.envs.lie_groups.group import GroupError
from equiact.envs.lie_groups.registry import group_from_name
from equiact.envs.named_registry import Registry, RegistryError


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of two modules that register themselves, in the registry ``colours.NAMES``."""
    folder = tmp_path / "colours"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from equiact.envs.named_registry import Registry\nNAMES = Registry('colour', 'colours')\n"
    )
    for name in ("red", "blue"):
        (folder / f"{name}.py").write_text(
            f"from . import NAMES\n@NAMES.register('{name}')\ndef paint():\n    return NAMES.names()\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "colours"]:
        del sys.modules[name]


def test_a_new_entry_is_one_file(package: Path):
    import colours  # type: ignore[import-not-found]

    assert "colours.red" not in sys.modules, "modules are imported at the first look-up"
    assert colours.NAMES.names() == ["blue", "red"]
    (entry,) = [entry for name, entry in colours.NAMES.items() if name == "red"]
    assert (entry(), colours.NAMES.name_of(entry)) == (["blue", "red"], "red")
    with pytest.raises(RegistryError, match=r"unknown colour 'rad'; did you mean 'red'\? Choose from blue, red"):
        colours.NAMES.get("rad")


def test_a_module_that_fails_is_reported_again(package: Path):
    import colours

    (package / "green.py").write_text("1 / 0\n")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            colours.NAMES.names()


WORLD = """
    from equiact import register_world, world_class
    @register_world("Futsal")
    class Futsal(world_class("Soccer")):
        max_displacement = 0.1
"""
GROUP = """
    from equiact import register_group
    from equiact.envs.lie_groups.cyclic import Cyclic
    register_group("Clock<n>")(Cyclic)
"""
ENCODER = """
    from dataclasses import dataclass
    from equiact import Encoder, register_encoder
    @dataclass(frozen=True)
    class PixelConfig:
        scale: float = 1.0
    @register_encoder("pixels")
    class Pixels(Encoder):
        config_class = PixelConfig
"""
USE = """
    import warnings
    warnings.simplefilter("always")
    import sys, equiact, gymnasium
    assert not [name for name in sys.modules if name.startswith("installed_plugins")], "plugins wait for a look-up"
    assert "torch" not in sys.modules
    print(equiact.group_from_name("Clock12").order)
    assert "installed_plugins.encoders" in sys.modules
    from equiact.representations.encoders.registry import encoder_class
    print(encoder_class("pixels").__name__, equiact.world_class("Futsal").__name__)
    print(gymnasium.make("installed_plugins.worlds:equiact/Futsal-v0", resolution=(8, 8), device="cpu").spec.id)
    print(gymnasium.make_vec("equiact/Futsal-v0", 2, resolution=(8, 8), device="cpu").num_envs)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder of installed packages: one with plugins of every kind, and a broken plugin."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "installed_plugins").mkdir()
    for name, code in {"__init__": "", "worlds": WORLD, "groups": GROUP, "encoders": ENCODER}.items():
        (folder / "installed_plugins" / f"{name}.py").write_text(textwrap.dedent(code))
    info = folder / "installed_plugins-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: installed-plugins\nVersion: 1.0\n")
    plugins = "".join(f"{name} = installed_plugins.{name}\n" for name in ("encoders", "groups", "worlds", "missing"))
    (info / "entry_points.txt").write_text(f"[equiact.plugins]\n{plugins}")
    return folder


def run_with(site: Path, code: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(site)}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/")


def test_plugins_of_every_kind_register(site: Path):
    done = run_with(site, USE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["12", "Pixels", "Futsal", "equiact/Futsal-v0", "2"]
    broken = "the plugin 'missing' (installed_plugins.missing) failed to import"
    assert done.stderr.count("failed to import: ") == done.stderr.count(broken) == 1, "once, and no other"


@pytest.mark.slow
@pytest.mark.parametrize("module", ["worlds", "groups", "encoders"])
def test_a_plugin_may_be_imported_first(site: Path, module: str):
    done = run_with(site, f"import installed_plugins.{module}, equiact; print(equiact.group_from_name('Clock3').order)")
    assert (done.returncode, done.stdout.split()) == (0, ["3"]), done.stderr


def test_a_name_belongs_to_one_entry():
    entries = Registry("shape")

    def cell():
        @entries.register("square")
        class Square:
            """A class in a cell of a notebook."""

        return Square

    cell()
    again = cell()
    assert entries.get("square") is again, "a cell that runs twice replaces its class"
    with pytest.raises(RegistryError, match=r"the shape 'square' is already registered as .*choose another name"):
        entries.add("square", SimpleNamespace)
    with pytest.raises(RegistryError, match="is not a registered shape"):
        entries.name_of(SimpleNamespace)


def test_an_entry_is_found_by_the_path_of_its_module(package: Path):
    import colours

    assert colours.NAMES.resolve("colours.red:paint")() == ["blue", "red"]
    assert colours.NAMES.resolve("red") is colours.NAMES.get("red")
    for path in ("colours.red:nothing", "no_such_module:paint", ":", "..:x", "a:b:c", "colours.red:"):
        with pytest.raises(RegistryError, match=r"there is no colour '.*write 'module:Name'"):
            colours.NAMES.resolve(path)
    with pytest.raises(RegistryError, match=r"unknown colour 'colours.red:paint'"):
        colours.NAMES.get("colours.red:paint")  # a name from a file imports nothing


def test_names_are_text_and_entries_of_one_kind():
    entries = Registry("dictionary", base="builtins:dict")
    for name in (None, 3, "", " ", "a:b"):
        with pytest.raises(RegistryError, match="the name of a dictionary must be text without ':'"):
            entries.add(name, dict)
    for entry in (int, {}, None):
        with pytest.raises(RegistryError, match="'x' is not a subclass of builtins:dict, but "):
            entries.add("x", entry)
    for name in (None, 3):
        with pytest.raises(RegistryError, match="the name of a dictionary must be text, got"):
            entries.get(name)
    assert entries.names() == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (None, "the name of a group must be text.*got None"),
        (3, "the name of a group must be text.*got 3"),
        ("", "unknown group ''"),
        ("R0", "unknown group 'R0'"),
        ("pathlib:Path", "unknown group 'pathlib:Path'"),
        ("R1000000000000", r"at most 1024 coordinates.*pass max_dim"),
        ("x".join(["R1"] * 2000), r"at most 1024 coordinates.*pass max_dim"),
        ("R" + "9" * 5000, "unknown group 'R999"),
    ],
)
def test_impossible_groups_are_refused(name, message):
    with pytest.raises(GroupError, match=message):
        group_from_name(name)


def test_the_limit_of_coordinates_can_be_raised():
    assert group_from_name("R2000", max_dim=2000).dim == 2000
    assert len(group_from_name("x".join(["R1"] * 1024)).factors) == 1024


def test_what_a_path_leads_to_is_of_the_right_kind():
    with pytest.raises(RegistryError, match="'pathlib:Path' is not a subclass of builtins:dict"):
        Registry("dictionary", base="builtins:dict").resolve("pathlib:Path")


def test_a_class_of_another_module_is_another_entry():
    entries = Registry("shape")
    first, second = (type("Square", (), {"__module__": module}) for module in ("one", "two"))
    entries.add("square", first)
    with pytest.raises(RegistryError, match="already registered"):
        entries.add("square", second)
