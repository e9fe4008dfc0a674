"""The benchmarks ``encoder``, ``rl`` and ``render``: the agent-object encoder, policies on it, and the renderer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...envs.storage.artifacts import check_output_file, folder_lock, read_json, write_json
from ..collect_and_train import collect_transitions, held_out_transitions, train_encoder_with_bar
from ..progress import progress_bar
from .agent_object_evaluation import compare_encoder
from .encoder_benchmark import BenchmarkPlaces
from .job_runner import RunJobs, run_jobs
from .policy_training import PolicyTrainingJob
from .result_files import commit, over_seeds
from .speed import bare_transitions_per_second, encode_milliseconds

if TYPE_CHECKING:
    from ...agents.policies.sac import SACConfig
    from ...representations.encoders.agent_object import AgentObjectConfig

RESULT_NAMES = {"encoder": "agent_object", "rl": "reinforcement", "render": "render"}
"""Begin of the name of the result file of each benchmark."""


@dataclass(frozen=True)
class AgentObjectBenchmarkConfig:
    """Set the size of the benchmarks ``encoder``, ``rl`` and ``render``.

    Attributes:
        transitions: number of transitions to train the encoder on.
        held_out: number of held-out transitions.
        rl_steps: number of steps of reinforcement learning.
        evaluation_episodes: number of episodes to evaluate each policy on.
        success: success rate whose first step is reported.
        render_worlds: number of worlds that are rendered at a time.
        render_rounds: number of times that they are stepped and rendered.
        encoder: hyper-parameters of the encoder; the default if None.
        sac: hyper-parameters of soft actor-critic, without ``steps``; the default if None.
    """

    transitions: int = 20_000
    held_out: int = 4000
    rl_steps: int = 24_000
    evaluation_episodes: int = 200
    success: float = 0.95
    render_worlds: int = 256
    render_rounds: int = 20
    encoder: AgentObjectConfig | None = None
    sac: SACConfig | None = None


@dataclass(frozen=True)
class AgentObjectBenchmark:
    """Measure one world over seeds, and keep the figures of every seed.

    Attributes:
        what: ``"encoder"``, ``"rl"`` or ``"render"``.
        world: name of the world.
        config: size of the benchmark.
        device: device of the simulator and the encoder.
        places: where to read and write.
        run_jobs: runs the jobs that train policies.
    """

    what: str
    world: str = "Soccer"
    config: AgentObjectBenchmarkConfig = AgentObjectBenchmarkConfig()
    device: str = "auto"
    places: BenchmarkPlaces = BenchmarkPlaces()
    run_jobs: RunJobs = run_jobs

    @property
    def folder(self) -> Path:
        """Folder of encoders, policies and figures of single seeds."""
        return self.places.work_dir / self.world

    def run(self, seeds: list[int]) -> dict[str, float]:
        """Measure all seeds that were not measured before, write the result file, and return the means.

        Raises:
            ValueError: the world has no task, or a seed was measured with another configuration.
            ArtifactError: the result file cannot be written, or another process works in the folder.
        """
        from ...envs.worlds.registry import task_world_class

        task_world_class(self.world)
        measures = {"encoder": self.measure_encoder, "rl": self.measure_rl, "render": self.measure_render}
        path = check_output_file(self.places.results / f"{RESULT_NAMES[self.what]}_{self.world.lower()}.json")
        with folder_lock(self.folder):
            rows = [self._cached(seed, measures[self.what]) for seed in seeds]
        result = over_seeds(rows, seeds)
        write_json(path, result)
        return {label: figure["mean"] for label, figure in result["figures"].items()}

    def _cached(self, seed: int, measure: Callable[[int], dict[str, float]]) -> dict[str, Any]:
        """Return the figures of a seed and the commit that measured them, from its file if it is there."""
        from ...representations.learning.config import to_dict

        path, settings = self.folder / f"{self.what}-{seed}.json", to_dict(self.config)
        if not path.exists():
            write_json(path, {"commit": commit(), "settings": settings, "figures": measure(seed)})
        row: dict[str, Any] = read_json(path)
        if row.get("settings") != settings:
            raise ValueError(
                f"{path} was measured with {row.get('settings', 'unknown settings')}, now {settings} is asked for; "
                "choose another --work-dir, or delete it"
            )
        return row

    def measure_encoder(self, seed: int) -> dict[str, float]:
        """Train an encoder, and return its errors beside those of an untrained one and of chance, and its speed."""
        from ...representations.encoders.agent_object import AgentObjectConfig
        from ...representations.learning.checkpoints import check_checkpoint, remove_checkpoint
        from ...representations.learning.training import resolve_device

        config = self.config.encoder or AgentObjectConfig()
        checkpoint = check_checkpoint(self.folder / f"encoder-{seed}.checkpoint")
        transitions = collect_transitions(self.world, self.config.transitions, seed, self.device)
        bare = [bare_transitions_per_second(transitions, config, resolve_device(self.device))]
        encoder, report = train_encoder_with_bar(
            transitions, config, seed=seed, device=self.device, checkpoint=checkpoint
        )
        bare.append(bare_transitions_per_second(transitions, config, resolve_device(self.device)))
        held_out = held_out_transitions(self.world, self.config.held_out, seed, self.device)
        encoder.to("cpu").save(self._encoder_folder(seed))
        rows = compare_encoder(encoder, held_out, self.world)
        speed = report.transitions / report.seconds
        milliseconds = encode_milliseconds(encoder, held_out)
        remove_checkpoint(checkpoint)
        return {
            **_errors(rows),
            "training, s": report.seconds,
            "transitions/s": speed,
            "share of the bare network's speed": 2 * speed / sum(bare),
            "encode one frame on one core, ms": milliseconds,
        }

    def measure_rl(self, seed: int) -> dict[str, float]:
        """Train policies on the encoder of this seed and on ground-truth state, and return their success rates."""
        from ...agents.evaluation.rollouts import evaluate_policy, random_policy
        from ...agents.policies.sac import EVALUATION_SEED, load_policy
        from ...agents.policies.sb3_vec_env import observe_latents, observe_state
        from ...envs.worlds.registry import task_world_class
        from ...representations.encoders.encoder import load_encoder

        encoder, state = self._train_policies(seed)
        batch = task_world_class(self.world)(self.config.evaluation_episodes, device=self.device)
        start, see = EVALUATION_SEED + seed, observe_latents(load_encoder(self._encoder_folder(seed)))
        random = random_policy(batch, seed)
        steps = [steps_to(job.curve_file, self.config.success) for job in (encoder, state)]
        label = f"{self.config.success:.0%}".replace("%", " %")
        return {
            "success on the encoder": evaluate_policy(batch, see, load_policy(encoder.folder), seed=start).success,
            "success on ground-truth state": evaluate_policy(
                batch, observe_state, load_policy(state.folder), seed=start
            ).success,
            "success of random actions": evaluate_policy(batch, observe_state, random, seed=start).success,
            f"steps to {label} on the encoder": steps[0],
            f"steps to {label} on ground-truth state": steps[1],
            "steps, encoder : ground-truth state": steps[0] / steps[1],
        }

    def _train_policies(self, seed: int) -> list[PolicyTrainingJob]:
        """Train the policies that are not trained, and return the jobs."""
        from ...agents.policies.sac import SACConfig

        config = replace(self.config.sac or SACConfig(), steps=self.config.rl_steps)
        folder = self.folder / f"policies-{seed}"
        jobs = [
            PolicyTrainingJob(name, self.world, source, config, seed, self.device, folder / name)
            for name, source in (("encoder", self._encoder_folder(seed)), ("true_state", None))
        ]
        self.run_jobs([job for job in jobs if not job.done], of=len(jobs))
        return jobs

    def measure_render(self, seed: int) -> dict[str, float]:
        """Return the frames per second of stepping and rendering, and their share of rendering alone."""
        import numpy as np

        from ...envs.worlds.registry import task_world_class

        count, rounds = self.config.render_worlds, self.config.render_rounds
        batch = task_world_class(self.world)(count, device=self.device)
        batch.reset(np.arange(count), [np.random.default_rng(seed + index) for index in range(count)])
        action = np.random.default_rng(seed).uniform(-0.3, 0.3, (count, batch.group.dim + batch.commands))
        acting = bare = 0.0
        with progress_bar("Rendering", rounds, "rounds") as update:
            for done in range(rounds):
                began = time.perf_counter()
                batch.step(action)
                batch.render()
                middle = time.perf_counter()
                batch.render()
                acting, bare = acting + middle - began, bare + time.perf_counter() - middle
                update(done + 1)
        rate = rounds * count / acting
        return {"frames/s, physics included": rate, "share of the bare ray tracer": bare / acting}

    def _encoder_folder(self, seed: int) -> Path:
        return self.folder / f"encoder-{seed}"


def _errors(rows: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return the errors of the benchmark ``encoder``, by the labels of its table."""
    trained, untrained, chance = rows["trained"], rows["untrained"], rows["chance"]
    return {
        "agent RMSE, % of the side": trained["agent_rmse_pct"],
        "object RMSE, % of the side": trained["object_rmse_pct"],
        "agent RMSE, untrained": untrained["agent_rmse_pct"],
        "object RMSE, untrained": untrained["object_rmse_pct"],
        "agent RMSE, chance": chance["agent_rmse_pct"],
        "object RMSE, chance": chance["object_rmse_pct"],
        "isometry error, m²": trained["isometry_error"],
        "R² of a linear probe, object": trained["object_probe_r2"],
        "contact precision": trained["contact_precision"],
        "contact recall": trained["contact_recall"],
    }


def steps_to(curve_file: Path, success: float) -> float:
    """Return the steps at which a learning curve first reached a success rate; twice its length if it never did."""
    from ...agents.policies.sac import LearningCurve

    saved = read_json(curve_file)
    curve = LearningCurve(saved["steps"], saved["success"], saved["return"])
    return float(curve.steps_to(success) or 2 * curve.steps[-1])
