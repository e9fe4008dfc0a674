"""The benchmark of environments of other packages: what each needs, and what comes out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...envs.storage.artifacts import check_output_file, folder_lock, read_json, write_json
from ..progress import progress_bar
from .environment_run import EnvironmentRun, EnvironmentRunConfig
from .environment_suite import FOREIGN_ENVIRONMENTS, ForeignEnvironment
from .result_files import REPORTED_SEED, commit, provenance


def run_environment_benchmark(seed: int, results: Path, work_dir: Path, config: EnvironmentRunConfig) -> dict[str, Any]:
    """Run all environments that are not done, and write ``environments.json``.

    Args:
        seed: seed of everything, added to `REPORTED_SEED`.
        results: folder of the result file.
        work_dir: folder of data sets, encoders and policies.
        config: the amount of work.

    Returns:
        The figures of every environment.

    Raises:
        ValueError: an earlier run in the work folder has another configuration or commit.
        ArtifactError: a file cannot be written, or another process works in the folder.
    """
    path = check_output_file(results / "environments.json")
    identity = {"seed": REPORTED_SEED + seed, "config": asdict(config), "commit": commit()}
    rows: dict[str, Any] = {}
    with folder_lock(work_dir), progress_bar("Environments", len(FOREIGN_ENVIRONMENTS), "environments") as update:
        for done, environment in enumerate(FOREIGN_ENVIRONMENTS, 1):
            rows[environment.name] = _figures(environment, work_dir, identity, config)
            update(done, note=environment.name)
    figures = {f"{name}: {column}": value for name, row in rows.items() for column, value in row.items()}
    write_json(path, {**provenance(), "seeds": [REPORTED_SEED + seed], "config": asdict(config), "figures": figures})
    return rows


def _figures(
    environment: ForeignEnvironment, work_dir: Path, identity: dict[str, Any], config: EnvironmentRunConfig
) -> dict[str, Any]:
    """Return the figures of an environment; those of an earlier run with the same identity, if there is one."""
    folder = work_dir / environment.name
    file = folder / "figures.json"
    if file.exists():
        earlier = read_json(file)
        if earlier["identity"] != identity:
            raise ValueError(
                f"expected {file} of the same seed, configuration and commit, got {earlier['identity']} instead of "
                f"{identity}; choose another --work-dir, or remove the folder"
            )
        found: dict[str, Any] = earlier["figures"]
        return found
    figures = {**_needs(environment), **EnvironmentRun(environment, identity["seed"], folder, config).run()}
    write_json(file, {"identity": identity, "figures": figures})
    return figures


def _needs(environment: ForeignEnvironment) -> dict[str, Any]:
    """Return what equiact must be told about an environment, as text."""
    return {
        "package": environment.package,
        "pixels": "ray-traced" if environment.draws else "its own",
        "displacement": environment.displacement,
        "action_repeat": str(environment.action_repeat),
        "encoder": ", ".join([environment.encoder, *(f"{k} {v}" for k, v in environment.encoder_options.items())]),
        "perturbation": environment.perturbation,
    }
