"""One seed of the recovery experiment: its data and its trained networks, all kept in a folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..experiments.jobs import JobProgress, silent
from ..progress import ProgressCallback
from .data_conditions import DataCondition
from .recovery_config import RecoveryExperimentConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ...agents.policies.behavior_cloning import BCPolicy
    from ...envs.data.transitions import Transitions
    from ...envs.worlds.task_world import TaskWorld
    from ...envs.wrappers.task_perturbation import TaskPerturbation
    from ...representations.densities.conditional_density import SceneDensity
    from ...representations.encoders.encoder import Encoder

SHAPE = (64, 64, 3)
"""Height, width and channels of the frames."""


@dataclass(frozen=True)
class RecoveryRun:
    """Collect data and train networks for one seed of the experiment; a `RecoveryMethod` builds policies from them.

    Attributes:
        task: ``"push"`` or ``"pick"``.
        seed: seed of all random numbers.
        folder: folder of everything that is made.
        config: configuration of the experiment.
        device: device of the simulator.
    """

    task: str
    seed: int
    folder: Path
    config: RecoveryExperimentConfig
    device: str = "cpu"

    @property
    def world_cls(self) -> type[TaskWorld]:
        """Return the class of the world."""
        from ...envs.worlds.registry import task_world_class

        return task_world_class(self.task.capitalize())

    @property
    def episode_steps(self) -> int:
        """Return the number of steps after which an episode ends."""
        return self.config.episode_length or self.world_cls.episode_steps

    @property
    def perturbation(self) -> TaskPerturbation:
        """Return the perturbation of the main comparison."""
        from ...envs.wrappers.task_perturbation import TaskPerturbation

        return TaskPerturbation(self.config.magnitude, onset=self.config.onset)

    @property
    def perturbation_seed(self) -> int:
        """Return the seed of the directions of perturbations, which no training draws from."""
        from ...envs.data.seeds import stream_seed

        return stream_seed(self.seed, "perturbations")

    def make_world(self, count: int, steps: int | None = None) -> TaskWorld:
        """Return a batch of worlds, whose episodes end after ``episode_steps``, or another number of steps."""
        return self.world_cls(count, device=self.device, max_episode_steps=steps or self.episode_steps)

    def started_world(self, count: int, offset: int, steps: int | None = None) -> TaskWorld:
        """Return a batch of worlds at the start of episodes, which the seed plus an offset determines."""
        import numpy as np

        world = self.make_world(count, steps)
        world.reset(np.arange(count), np.random.default_rng(self.seed + offset).spawn(count))
        return world

    # Data -------------------------------------------------------------------------------------------------------------

    def collect_demonstrations(self, show: JobProgress) -> None:
        """Record the demonstrations of the expert."""
        from ...envs.data.minari_dataset import save_transitions

        save_transitions(self.demonstrate(self.config.demonstrations, show=show), self.folder / "demonstrations")

    def collect_exploration(self, show: JobProgress) -> None:
        """Collect transitions all over the workspace, with random actions that are repeated for a while."""
        import gymnasium as gym

        from ...envs.data.collect import collect
        from ...envs.data.minari_dataset import save_transitions
        from ...envs.data.policy import PersistentPolicy

        worlds = gym.make_vec(f"equiact/{self.world_cls.__name__}-v0", num_envs=64, device=self.device)
        count = self.config.exploration_transitions
        data = collect(
            worlds,
            count,
            self.seed,
            policy=PersistentPolicy(worlds),
            progress=lambda done: show(done, count, "transitions"),
        )
        save_transitions(data, self.folder / "exploration")

    def demonstrate(
        self, count: int, *, offset: int = 0, noise: float = 0.0, show: JobProgress = silent
    ) -> Transitions:
        """Record episodes of the expert; see `demonstrations.demonstrate`."""
        from ...agents.policies.demonstrations import demonstrate

        worlds = self.make_world(min(50, count))
        return demonstrate(
            worlds, count, self.seed + offset, noise=noise, progress=lambda done: show(done, count, "episodes")
        )

    def load(self, name: str) -> Transitions:
        """Return the ``"demonstrations"`` or the ``"exploration"``."""
        from ...envs.data.minari_dataset import load_transitions

        return load_transitions(self.folder / name)

    def demonstrated_steps(self) -> NDArray[np.int64]:
        """Return the number of steps before each step of the demonstrations in its episode, ``(N,)``."""
        import numpy as np

        from ...envs.data.trajectories import episode_ids

        episode = episode_ids(self.load("demonstrations"))
        return np.arange(len(episode)) - np.searchsorted(episode, episode)

    def median_length(self) -> float:
        """Return the median number of steps of a demonstration."""
        import numpy as np

        from ...envs.data.trajectories import episode_ids

        return float(np.median(np.bincount(episode_ids(self.load("demonstrations")))))

    @property
    def odometry(self) -> DataCondition:
        """Return what noisy odometry does to displacements."""
        return DataCondition(noise=self.config.odometry_noise, bias=self.config.odometry_bias)

    # Training ---------------------------------------------------------------------------------------------------------

    def train_encoder(self, name: str, show: JobProgress) -> None:
        """Train an encoder on exploration and demonstrations with noisy odometry, and save it."""
        import torch

        from ...envs.data.transitions import concatenate
        from ...representations.encoders.registry import make_encoder, make_learner
        from ...representations.learning.checkpoints import remove_checkpoint

        parts = [self.load(name) for name in ("exploration", "demonstrations")]
        data = self.odometry.apply(concatenate([replace(each, action=None) for each in parts]), self.seed)
        torch.manual_seed(self.seed)
        encoder = make_encoder(self.encoder_config(name), SHAPE, data.group)
        self.fit(name, make_learner(encoder, data), data.fingerprint, show)
        encoder.data_fingerprint = data.fingerprint
        encoder.save(self.folder / name)
        remove_checkpoint(self.checkpoint(name))

    def encoder_config(self, name: str) -> Any:
        """Return the configuration of an encoder of the comparison, or of a registered one."""
        from ...representations.encoders.registry import encoder_config

        known = {
            "equivariant": self.config.encoder,
            "VAE": replace(self.config.autoencoder, variational=True),
            "autoencoder": replace(self.config.autoencoder, variational=False),
        }
        return known.get(name) or encoder_config(name)

    def fit_density(self, encoder: str, family: str, show: JobProgress) -> None:
        """Fit a density to the demonstrations in the latent of an encoder, and save it."""
        import torch

        from ...agents.policies.demonstrations import density_conditions
        from ...representations.densities.conditional_density import SceneDensity

        demonstrations, dim = self.load("demonstrations"), self.world_cls.group.dim
        first, episode, commands = density_conditions(demonstrations, dim)
        latent = self.encoder(encoder).encode(demonstrations.frames)["agent"][demonstrations.start]
        torch.manual_seed(self.seed)
        density = SceneDensity(SHAPE, dim, commands.shape[1], family, self.config.density)
        density.fit_scenes(
            torch.from_numpy(latent), first, episode, commands, seed=self.seed, callbacks=[_callback(show)]
        )
        density.eval().save(self.density_folder(encoder, family))

    def fit(self, name: str, learner: Any, fingerprint: str, show: JobProgress) -> None:
        """Train a learner; resume from its checkpoint."""
        from ...representations.learning.training import train_learner

        train_learner(
            learner,
            seed=self.seed,
            data_fingerprint=fingerprint,
            checkpoint=self.checkpoint(name),
            callbacks=[_callback(show)],
        )

    def checkpoint(self, name: str) -> Path:
        """Return the checkpoint of what is trained under a name."""
        return self.folder / f"{name}.checkpoint"

    # Policies ---------------------------------------------------------------------------------------------------------

    def new_policy(self) -> BCPolicy:
        """Return a policy with random weights, which the seed determines."""
        import torch

        from ...agents.policies.behavior_cloning import BCPolicy

        torch.manual_seed(self.seed)
        world_cls = self.world_cls
        return BCPolicy(SHAPE, world_cls.group.dim, world_cls.commands, world_cls.max_displacement, self.config.policy)

    def trained_policy(self, name: str) -> BCPolicy:
        """Return a trained policy without recovery."""
        from ...agents.policies.behavior_cloning import BCPolicy

        return BCPolicy.load(self.folder / name)

    def encoder(self, name: str) -> Encoder:
        """Return a trained encoder."""
        from ...representations.encoders.encoder import load_encoder

        return load_encoder(self.folder / name)

    def density(self, encoder: str, family: str) -> SceneDensity:
        """Return the density of a family in the latent of an encoder."""
        from ...representations.densities.conditional_density import SceneDensity

        return SceneDensity.load(self.density_folder(encoder, family))

    def trigger_folder(self, name: str) -> Path:
        """Return the folder of the trigger of a recovery method."""
        return self.folder / "triggers" / name

    def density_folder(self, encoder: str, family: str) -> Path:
        """Return the folder of the density of a family in the latent of an encoder."""
        return self.folder / "densities" / f"{encoder}, {family}"


def _callback(show: JobProgress) -> ProgressCallback:
    return ProgressCallback(lambda done, total, stage, note: show(done, total, "updates", note))
