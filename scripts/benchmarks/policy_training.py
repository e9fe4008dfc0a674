"""Jobs that train one policy with soft actor-critic: on latents of a frozen encoder, on ground truth, or on frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..experiments.jobs import Job, JobProgress, Resources
from ..experiments.provenance import provenance

if TYPE_CHECKING:
    from ...agents.policies.image_sac import ImageSACConfig
    from ...agents.policies.sac import LearningCurve, SACConfig


@dataclass(frozen=True)
class PolicyTrainingJob:
    """Train one policy, and save it with its learning curve.

    Attributes:
        name: name of what the policy observes.
        world: name of the world.
        encoder: folder of the encoder whose latents the policy observes; None for the ground-truth state.
        config: hyper-parameters.
        seed: seed of the policy and the training episodes.
        device: device of the simulator.
        folder: folder of the policy.
        needs: jobs that must be done before, such as that of the encoder.
    """

    name: str
    world: str
    encoder: Path | None
    config: SACConfig
    seed: int
    device: str
    folder: Path
    needs: Sequence[Job] = ()

    resources: ClassVar[Resources] = Resources()

    @property
    def output(self) -> Path:
        """Return the file that is written last."""
        return self.curve_file

    @property
    def curve_file(self) -> Path:
        """Return the file of the learning curve, which is written last."""
        return self.folder.with_name(f"{self.folder.name}-report") / "curve.json"

    @property
    def title(self) -> str:
        """Return the name in the progress display."""
        return f"Training the policy: {self.name.replace('true_state', 'ground-truth state')}"

    @property
    def done(self) -> bool:
        """Return whether the policy and its learning curve are there."""
        return self.curve_file.exists()

    def run(self, show: JobProgress) -> None:
        """Train the policy."""
        from ...agents.policies.sac import save_policy, train_sac
        from ...agents.policies.sb3_vec_env import observe_latents, observe_state
        from ...envs.storage.artifacts import write_json
        from ...envs.worlds.registry import task_world_class
        from ...representations.encoders.encoder import load_encoder

        world_cls = task_world_class(self.world)
        observe = observe_state if self.encoder is None else observe_latents(load_encoder(self.encoder))

        model, curve = train_sac(
            lambda count: world_cls(count, device=self.device),
            observe,
            self.config,
            seed=self.seed,
            progress=_shown(show, self.config.steps),
        )
        save_policy(model, self.folder)
        write_json(self.curve_file, {**curve.as_dict(), "job": self.settings, **provenance()})

    @property
    def settings(self) -> dict[str, Any]:
        """Return what determines the policy, as JSON types."""
        from ...representations.learning.config import to_dict

        encoder = None if self.encoder is None else str(self.encoder)
        return {
            "name": self.name,
            "world": self.world,
            "encoder": encoder,
            "seed": self.seed,
            "device": self.device,
            "config": to_dict(self.config),
        }


@dataclass(frozen=True)
class ImagePolicyTrainingJob:
    """Train one policy on frames, evaluate it, and keep its learning curve and evaluation.

    The policy itself is not kept: a convolutional actor cannot be saved without pickle.

    Attributes:
        name: name of the policy.
        world: name of the world.
        config: hyper-parameters.
        episodes: number of episodes of the evaluation.
        seed: seed of the policy, the training episodes and the evaluation.
        device: device of the simulator.
        curve_file: file of the learning curve and of the evaluation.
    """

    name: str
    world: str
    config: ImageSACConfig
    episodes: int
    seed: int
    device: str
    curve_file: Path

    needs: ClassVar[Sequence[Job]] = ()
    resources: ClassVar[Resources] = Resources()

    @property
    def output(self) -> Path:
        """Return the file of the learning curve and of the evaluation."""
        return self.curve_file

    @property
    def title(self) -> str:
        """Return the name in the progress display."""
        return f"Training the policy: {self.name}"

    @property
    def done(self) -> bool:
        """Return whether the learning curve and the evaluation are there."""
        return self.curve_file.exists()

    def run(self, show: JobProgress) -> None:
        """Train and evaluate the policy."""
        from ...agents.evaluation.rollouts import evaluate_policy
        from ...agents.policies.image_sac import train_image_sac
        from ...agents.policies.sb3_vec_env import observe_pixels
        from ...envs.storage.artifacts import write_json
        from ...envs.worlds.registry import task_world_class
        from ...representations.learning.config import to_dict

        world_cls = task_world_class(self.world)
        model, curve = train_image_sac(
            lambda count: world_cls(count, device=self.device),
            self.config,
            seed=self.seed,
            progress=_shown(show, self.config.sac.steps),
        )
        batch = world_cls(self.episodes, device=self.device)
        evaluation = evaluate_policy(batch, observe_pixels, model, seed=self.seed)
        job = {"name": self.name, "world": self.world, "seed": self.seed, "config": to_dict(self.config)}
        outcomes = list(evaluation.outcomes)
        write_json(self.curve_file, {**curve.as_dict(), "outcomes": outcomes, "job": job, **provenance()})

    def outcomes(self) -> tuple[bool, ...]:
        """Return whether each episode of the evaluation was a success."""
        from ...envs.storage.artifacts import read_json

        return tuple(read_json(self.curve_file)["outcomes"])


def _shown(show: JobProgress, steps: int) -> Callable[[int, LearningCurve], None]:
    """Return what shows the number of steps done, out of all steps, and the last success rate."""

    def progress(done: int, curve: LearningCurve) -> None:
        note = f"success {curve.success[-1]:.0%}" if curve.success else ""
        show(min(done, steps), steps, note=note)

    return progress
