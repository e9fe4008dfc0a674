"""The demo: collect data, train an encoder, train policies on it, and evaluate both; all is kept in a folder."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...agents.policies.sac import SACConfig
from ...envs.storage.artifacts import read_json, write_json
from ...representations.encoders.agent_object import AgentObjectConfig
from ...representations.learning.checkpoints import remove_checkpoint
from ...representations.learning.config import check_range
from ..collect_and_train import collect_transitions, held_out_transitions, train_encoder_with_bar
from ..experiments.scheduler import RunJobs, run_jobs
from ..progress import progress_bar
from .agent_object_evaluation import evaluation_for_report
from .policy_training import PolicyTrainingJob


@dataclass(frozen=True)
class DemoConfig:
    """Set the data, the training and the evaluation of the demo.

    Attributes:
        transitions: number of transitions to train the encoder on.
        held_out: number of held-out transitions to measure the encoder on.
        episodes: number of episodes to evaluate each policy on.
        video_episodes: number of episodes in the video.
        encoder: hyper-parameters of the encoder.
        sac: hyper-parameters of soft actor-critic.

    Raises:
        ConfigError: a value is out of range.
    """

    transitions: int = 20_000
    held_out: int = 4000
    episodes: int = 200
    video_episodes: int = 6
    encoder: AgentObjectConfig = field(default_factory=AgentObjectConfig)
    sac: SACConfig = field(default_factory=SACConfig)

    def __post_init__(self) -> None:
        for name in ("transitions", "held_out", "episodes", "video_episodes"):
            check_range(self, name, at_least=1)


@dataclass(frozen=True)
class DemoRun:
    """Run the demo in a folder, step by step; steps that are done are not repeated.

    Attributes:
        world: name of the world.
        config: configuration.
        seed: seed of all random numbers.
        device: device of the simulator and the encoder.
        folder: the folder.
        run_jobs: runs the jobs that train the policies.
    """

    world: str
    config: DemoConfig
    seed: int
    device: str
    folder: Path
    run_jobs: RunJobs = run_jobs

    def train_encoder(self) -> None:
        """Train and measure the encoder, unless that is done."""
        if (self.folder / "encoder_evaluation.json").exists():
            return
        encoder = self.config.encoder
        transitions = collect_transitions(
            self.world,
            self.config.transitions,
            self.seed,
            self.device,
            beside=self.folder / "encoder",
            encoder=encoder,
        )
        checkpoint = self.folder / "encoder.checkpoint"
        encoder, report = train_encoder_with_bar(
            transitions, self.config.encoder, seed=self.seed, device=self.device, checkpoint=checkpoint
        )
        write_json(self.folder / "training.json", vars(report))
        held_out = held_out_transitions(self.world, self.config.held_out, self.seed, self.device)
        evaluation = evaluation_for_report(encoder.to("cpu"), held_out, self.world)
        encoder.metrics = evaluation["rows"]["trained"]
        encoder.save(self.folder / "encoder")
        write_json(self.folder / "encoder_evaluation.json", evaluation)
        remove_checkpoint(checkpoint)

    def train_policies(self) -> None:
        """Train policies on the encoder's latents and on ground-truth state side by side, unless that is done."""
        sources = (("encoder", self.folder / "encoder"), ("true_state", None))
        jobs = [
            PolicyTrainingJob(
                name, self.world, encoder, self.config.sac, self.seed, self.device, self.folder / "policies" / name
            )
            for name, encoder in sources
        ]
        self.run_jobs(jobs)
        write_json(self.folder / "rl.json", {job.name: read_json(job.curve_file) for job in jobs})

    def evaluate(self) -> dict[str, Any]:
        """Evaluate the policies, write the video, and return the results of the summary."""
        from ...agents.evaluation.rollouts import EVALUATION, evaluate_policy, random_policy
        from ...agents.policies.sac import load_policy
        from ...agents.policies.sb3_vec_env import observe_latents, observe_state
        from ...envs.data.seeds import stream_seed
        from ...envs.worlds.registry import task_world_class
        from ...representations.encoders.agent_object import AgentObjectEncoder
        from ..reports.rollout_video import write_video

        world_cls = task_world_class(self.world)
        batch = world_cls(self.config.episodes, device=self.device)
        encoder = AgentObjectEncoder.load(self.folder / "encoder")
        see = observe_latents(encoder)
        policies: dict[str, tuple[Any, Any]] = {
            "encoder": (see, load_policy(self.folder / "policies" / "encoder")),
            "true_state": (observe_state, load_policy(self.folder / "policies" / "true_state")),
            "random": (observe_state, random_policy(batch, self.seed)),
        }
        results = {}
        with progress_bar("Evaluating", len(policies), "policies") as update:
            for done, (name, (observe, policy)) in enumerate(policies.items(), 1):
                results[name] = evaluate_policy(batch, observe, policy, seed=self.seed).as_dict()
                update(done)
        write_json(self.folder / "evaluation.json", results)
        video, policy = self.folder / "rollout.mp4", policies["encoder"][1]
        first_seed = stream_seed(self.seed, EVALUATION)
        write_video(video, world_cls, encoder, policy, seed=first_seed, episodes=self.config.video_episodes)
        return {**self._encoder_figures(), **_policy_figures(results), "render_fps": frames_per_second(batch)}

    def _encoder_figures(self) -> dict[str, Any]:
        trained = read_json(self.folder / "encoder_evaluation.json")["rows"]["trained"]
        training = read_json(self.folder / "training.json")
        names = ("agent_rmse_pct", "object_rmse_pct", "isometry_error", "contact_precision", "contact_recall")
        return {
            **{name: trained[name] for name in names},
            "train_seconds": training["seconds"],
            "train_transitions_per_s": training["transitions"] / training["seconds"],
        }


def _policy_figures(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "rl_success": results["encoder"]["success"],
        "rl_success_interval": results["encoder"]["success_interval"],
        "random_success": results["random"]["success"],
        "true_state_success": results["true_state"]["success"],
    }


def frames_per_second(batch: Any, repeats: int = 5) -> float:
    """Return the frames per second of stepping a batch of worlds and rendering it."""
    import numpy as np

    began = time.monotonic()
    for _ in range(repeats):
        batch.step(np.zeros((batch.num_worlds, batch.group.dim + batch.commands)))
        batch.render()
    return float(repeats * batch.num_worlds / (time.monotonic() - began))
