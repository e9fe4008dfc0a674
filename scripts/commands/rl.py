"""The command ``equiact rl``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from ..benchmarks.policy_training import PolicyTrainingJob
from ..benchmarks.run_folder import has_keys
from ..progress import progress_bar
from .command import Command
from .registry import register_command

if TYPE_CHECKING:
    from ...agents.policies.sac import SACConfig


@register_command("rl")
@dataclass(frozen=True)
class Rl(Command):
    """Train a policy with soft actor-critic, on the latents of a frozen encoder or on the ground-truth state.

    Writes the policy to the output folder, and its learning curve to a folder beside it, named OUTPUT_DIR-report.

    The options after --output-dir are the hyper-parameters of soft actor-critic.
    """

    config: Path | None = None
    """YAML file with values of options, such as `world: Push`. Options on the command line take precedence."""
    encoder: Path | None = Path("runs/encoder")
    """Folder of the encoder; None for the ground-truth state."""
    world: str = "Soccer"
    """Name of the world whose task to learn."""
    output_dir: Path = Path("runs/policy")
    """Folder of the policy; a policy that is there is replaced."""
    hyperparameters: tyro.conf.Suppress[Any] = None
    """Configuration of soft actor-critic; the default if None."""

    @classmethod
    def default_config(cls, arguments: Sequence[str]) -> SACConfig:
        from ...agents.policies.sac import SACConfig

        return SACConfig()

    def run(self) -> dict[str, Any]:
        from ...envs.storage.artifacts import check_output_folder, folder_lock, read_card
        from ...envs.storage.output_paths import check_folder
        from ...envs.worlds.registry import task_world_class

        folder = check_output_folder(self.output_dir, "policy")
        task_world_class(self.world)
        if self.encoder is not None:
            read_card(self.encoder, "encoder")
        name = "ground-truth state" if self.encoder is None else "encoder"
        config = self.hyperparameters or self.default_config(())
        job = PolicyTrainingJob(name, self.world, self.encoder, config, self.seed, self.device, self.output_dir)
        name = job.curve_file.name
        check_folder(job.curve_file.parent, "learning curve", lambda path: path.name == name and has_keys(path, "job"))
        with folder_lock(folder), progress_bar(job.title, config.steps, "steps") as update:
            job.run(lambda done, total, unit="steps", note="": update(done, note=note))
        return {"folder": str(self.output_dir), "curve": str(job.curve_file)}
