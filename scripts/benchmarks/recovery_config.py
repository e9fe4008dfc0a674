"""Configuration of the recovery experiment."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...agents.baselines.dagger import DaggerConfig
from ...agents.baselines.iql import IQLConfig
from ...agents.policies.behavior_cloning import BCConfig
from ...representations.baselines.autoencoder import AutoencoderConfig
from ...representations.densities.conditional_density import SceneDensityConfig
from ...representations.encoders.translation_encoder import TranslationConfig
from ...representations.learning.config import check_range
from .recovery_grid import RecoveryGridConfig


@dataclass(frozen=True)
class RecoveryExperimentConfig:
    """Set the data, the training and the trials of the recovery experiment.

    Attributes:
        demonstrations: number of episodes of the expert to learn from.
        exploration_transitions: number of transitions that the encoders are trained on beside the demonstrations.
        pairs: number of paired trials.
        ablation_pairs: number of paired trials of every ablation.
        calibration_episodes: number of episodes to calibrate a trigger on.
        alignment_episodes: number of held-out demonstrations to measure encoder and density on.
        alignment_distances: metres by which held-out states are displaced to measure the gradient's direction.
        magnitude: metres a step by which the arm is dragged in a random direction, for 35 steps; then it idles for 10.
        onset: number of steps before the drag begins.
        grid: perturbations of the main comparison.
        odometry_noise: standard deviation of the noise of noisy odometry in each coordinate, and of the displacements
            that encoders learn from, in root-mean-square displacements.
        odometry_bias: length of their constant bias, in root-mean-square displacements.
        dart_noise: standard deviation in metres of the noise in noisy demonstrations (DART); 0.01 for pushing, and
            0.007, the best of four values, for picking by default.
        episode_length: steps after which an episode ends; the world's own number by default.
        policy: hyper-parameters of behaviour cloning.
        dagger: hyper-parameters of DAgger.
        iql: hyper-parameters of implicit Q-learning.
        encoder: hyper-parameters of the equivariant encoder.
        autoencoder: hyper-parameters of the autoencoders.
        density: hyper-parameters of the densities.

    Raises:
        ConfigError: a value is out of range.
    """

    demonstrations: int = 1000
    exploration_transitions: int = 12_000
    pairs: int = 100
    ablation_pairs: int = 50
    calibration_episodes: int = 120
    alignment_episodes: int = 60
    alignment_distances: tuple[float, ...] = (0.1, 0.2)
    magnitude: float = 0.01
    onset: int = 1
    grid: RecoveryGridConfig = field(default_factory=RecoveryGridConfig)
    odometry_noise: float = 0.05
    odometry_bias: float = 0.02
    dart_noise: float | None = None
    episode_length: int | None = None
    policy: BCConfig = field(default_factory=BCConfig)
    dagger: DaggerConfig = field(default_factory=DaggerConfig)
    iql: IQLConfig = field(default_factory=IQLConfig)
    encoder: TranslationConfig = field(default_factory=TranslationConfig)
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    density: SceneDensityConfig = field(default_factory=SceneDensityConfig)

    def __post_init__(self) -> None:
        for name in ("demonstrations", "exploration_transitions", "pairs", "ablation_pairs", "calibration_episodes"):
            check_range(self, name, at_least=1)
        check_range(self, "alignment_episodes", at_least=1)
        check_range(self, "magnitude", above=0)
        check_range(self, "onset", at_least=0)
        for name in ("odometry_noise", "odometry_bias"):
            check_range(self, name, at_least=0)

    def noise_of(self, task: str) -> float:
        """Return the noise of noisy demonstrations of a task, in metres."""
        return {"push": 0.01, "pick": 0.007}.get(task, 0.01) if self.dart_noise is None else self.dart_noise
