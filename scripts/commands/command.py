"""Base class of the commands, with the options that all share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class Command:
    """Options that every command has."""

    resumes: ClassVar[bool] = False
    """Whether the same command resumes where it was stopped."""
    seed: int = 0
    """Seed of all random numbers."""
    device: Device = "auto"
    """Device to compute on; auto takes a GPU if there is one."""
    json: bool = False
    """Print the result as JSON on standard output."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if isinstance(value := getattr(self, field.name), Path):
                object.__setattr__(self, field.name, value.expanduser())

    @classmethod
    def default_config(cls, arguments: Sequence[str]) -> Any:
        """Return the configuration whose fields are options of the command; None for no such options.

        Args:
            arguments: what follows the name of the command.
        """
        return None

    @classmethod
    def for_arguments(cls, arguments: Sequence[str]) -> type[Self]:
        """Return the class whose fields are the options for these arguments.

        The fields of the configuration (`default_config`) become options. The values of the YAML file that ``--config``
        names become defaults.

        Args:
            arguments: what follows the name of the command.

        Raises:
            ConfigError: the file is damaged, has an unknown key, or a value of another type or out of range.
        """
        from .config_options import preview, read_yaml, with_defaults

        config = cls.default_config(arguments)
        if config is None:
            return cls
        path = preview(arguments, "config")["config"]
        values = {} if path is None else read_yaml(path)
        return with_defaults(cls, values, config=config, source=path or "the command line")

    def require_at_least(self, **least: int) -> None:
        """Check numbers among the options.

        Args:
            **least: smallest value of each option, by name; None is allowed.

        Raises:
            ValueError: a value is smaller.
        """
        for name, smallest in least.items():
            value = getattr(self, name)
            if value is not None and value < smallest:
                raise ValueError(f"expected --{name.replace('_', '-')} of at least {smallest}, got {value}")

    def check_output(self, option: str, kind: str) -> Path:
        """Check that an artefact may be written to the folder that an option names, before the work begins.

        Args:
            option: name of the option, such as ``"output_dir"``.
            kind: kind of the artefact, such as ``"encoder"``.

        Returns:
            The resolved folder.

        Raises:
            ArtifactError: things of others are there, such as a data set that another program wrote.
        """
        from ...envs.storage.artifacts import ArtifactError, check_output_folder

        folder: Path = getattr(self, option)
        try:
            return check_output_folder(folder, kind)
        except ArtifactError as error:
            found = describe_foreign_dataset(folder)
            if found is None:
                raise
            name = option.replace("_", "-")
            raise ArtifactError(
                f"expected --{name} to be a new folder or one with a {kind} that equiact wrote, got {folder} with "
                f"{found}; nothing was changed. Choose another --{name}"
            ) from error

    def run(self) -> dict[str, Any]:
        """Do the work, and return the result to print."""
        raise NotImplementedError


def describe_foreign_dataset(folder: Path) -> str | None:
    """Return which data set of another program a folder holds, in words; None if it holds none."""
    from ...envs.storage.artifacts import ArtifactError, read_json

    for name, program, key in (
        ("data/metadata.json", "Minari", "dataset_id"),
        ("meta/info.json", "LeRobot", "robot_type"),
        ("info.json", "LeRobot", "robot_type"),
    ):
        try:
            content = read_json(folder / name)
        except (ArtifactError, OSError):
            continue
        if isinstance(content, dict):
            about = f" {content[key]!r}" if isinstance(content.get(key), str) else ""
            return f"a {program} data set{about} that another program wrote"
    return None
