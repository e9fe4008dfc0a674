"""The benchmarks ``encoder``, ``rl`` and ``render``: the agent-object encoder, policies on it, and the renderer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...agents.exploration.learned_exploration import Exploration, ExplorationConfig
from ...agents.policies.image_sac import ImageSACConfig
from ...agents.policies.sac import SACConfig
from ...envs.storage.artifacts import read_json
from ...representations.encoders.agent_object import AgentObjectConfig
from ...representations.learning.config import to_dict
from ...representations.learning.devices import resolve_device
from ..collect_and_train import sample_held_out, train_for_job
from ..experiments.executors import available_cores
from ..experiments.experiment import Grid, MeasureJob
from ..experiments.jobs import JobProgress, Resources, chosen_device
from ..experiments.records import Value
from .agent_object_evaluation import compare_encoder
from .encoder_rivals import RIVALS, train_rival
from .policy_training import ImagePolicyTrainingJob, PolicyTrainingJob
from .speed import bare_transitions_per_second, encode_milliseconds

if TYPE_CHECKING:
    from ...envs.data.transitions import Transitions


@dataclass(frozen=True)
class AgentObjectBenchmark:
    """Set the size of the benchmarks ``encoder``, ``rl`` and ``render``.

    Attributes:
        world: name of the world.
        transitions: number of transitions to train the encoder on.
        held_out: number of held-out transitions.
        evaluation_episodes: number of episodes to evaluate each policy on.
        success: success rate whose first step is reported.
        render_worlds: number of worlds that are rendered at a time.
        render_rounds: number of times that they are stepped and rendered.
        threads: number of threads of the encoder's training.
        exploration: hyper-parameters of the exploration, but for its encoder, which is ``encoder``.
        encoder: hyper-parameters of the encoder.
        sac: hyper-parameters of soft actor-critic.
        image_sac: hyper-parameters of soft actor-critic on frames, but for its number of steps: that is the number of
            steps of ``sac`` and of the transitions that the encoder is trained on.

    Raises:
        RegistryError: no world has this name, or it has no task.
    """

    world: str = "Soccer"
    transitions: int = 20_000
    held_out: int = 4000
    evaluation_episodes: int = 200
    success: float = 0.95
    render_worlds: int = 256
    render_rounds: int = 20
    threads: int = 2
    exploration: ExplorationConfig = field(default_factory=ExplorationConfig)
    encoder: AgentObjectConfig = field(default_factory=AgentObjectConfig)
    sac: SACConfig = field(default_factory=SACConfig)
    image_sac: ImageSACConfig = field(default_factory=ImageSACConfig)

    def __post_init__(self) -> None:
        from ...envs.worlds.registry import task_world_class

        task_world_class(self.world)

    def experiment(self, what: str, seeds: Sequence[int], device: str = "auto") -> Grid:
        """Return the experiment ``"encoder"``, ``"rl"`` or ``"render"`` with these seeds."""
        name, make = {
            "encoder": ("agent_object", self._encoder_jobs),
            "rl": ("reinforcement", self._rl_jobs),
            "render": ("render", self._render_jobs),
        }[what]
        return Grid(
            f"{name}_{self.world.lower()}",
            {**to_dict(self), "device": chosen_device(device)},
            seeds,
            lambda folder: [job for seed in seeds for job in make(folder, seed, device)],
            store="agent_object",
        )

    def _encoder_jobs(self, folder: Path, seed: int, device: str) -> list[MeasureJob]:
        """Return the jobs of the data, of the encoder, and of each rival."""
        return [
            self._exploration_job(folder, seed, device),
            self._encoder_job(folder, seed, device),
            *(self._rival_job(name, folder, seed, device) for name in RIVALS),
        ]

    def _exploration_job(self, folder: Path, seed: int, device: str) -> MeasureJob:
        resources = Resources.on(device, self.threads)
        measure = partial(measure_exploration, self, seed, device, folder / f"data-{seed}")
        title = f"{self.world}, exploration, seed {seed}"
        return MeasureJob(title, folder / f"data-{seed}.json", measure, "", "", seed, resources=resources)

    def _encoder_job(self, folder: Path, seed: int, device: str) -> MeasureJob:
        resources = Resources.on(device, self.threads)
        needs = [self._exploration_job(folder, seed, device)]
        measure = partial(measure_encoder, self, seed, device, folder / f"data-{seed}", folder / f"encoder-{seed}")
        title, output = f"{self.world}, encoder, seed {seed}", folder / f"encoder-{seed}.json"
        return MeasureJob(title, output, measure, "", "", seed, needs, resources)

    def _rival_job(self, name: str, folder: Path, seed: int, device: str) -> MeasureJob:
        resources = Resources.on(device, self.threads)
        output = folder / f"rival-{name.replace(' ', '_')}-{seed}.json"
        needs, data = [self._exploration_job(folder, seed, device)], folder / f"data-{seed}"
        measure = partial(measure_rival, self, name, seed, device, data, output.with_suffix(".checkpoint"))
        title = f"{self.world}, encoder {name}, seed {seed}"
        return MeasureJob(title, output, measure, "", "", seed, needs, resources)

    def _rl_jobs(self, folder: Path, seed: int, device: str) -> list[MeasureJob]:
        encoder, policies = folder / f"encoder-{seed}", folder / f"policies-{seed}"
        needs = (self._encoder_job(folder, seed, device),)
        jobs = [
            PolicyTrainingJob(name, self.world, source, self.sac, seed, "cpu", policies / name, needs)
            for name, source in (("encoder", encoder), ("true_state", None))
        ]
        image_jobs = [
            self._image_policy_job(name, pad, seed, policies)
            for name, pad in zip(IMAGE_POLICIES, (0, self.image_sac.pad), strict=True)
        ]
        measure = partial(measure_policies, self, seed, encoder, jobs, image_jobs)
        title, output = f"{self.world}, policies, seed {seed}", folder / f"rl-{seed}.json"
        return [MeasureJob(title, output, measure, "", "", seed, needs=[*jobs, *image_jobs])]

    def _image_policy_job(self, name: str, pad: int, seed: int, folder: Path) -> ImagePolicyTrainingJob:
        steps = self.sac.steps + self.transitions
        config = replace(self.image_sac, pad=pad, sac=replace(self.image_sac.sac, steps=steps))
        output = folder / f"{name.replace(' ', '_')}.json"
        return ImagePolicyTrainingJob(name, self.world, config, self.evaluation_episodes, seed, "cpu", output)

    def _render_jobs(self, folder: Path, seed: int, device: str) -> list[MeasureJob]:
        resources = Resources.on(device, available_cores())
        measure = partial(measure_rendering, self, seed, device)
        title = f"{self.world}, rendering, seed {seed}"
        return [MeasureJob(title, folder / f"render-{seed}.json", measure, "", "", seed, resources=resources)]


POLICIES = ("on the encoder", "on ground-truth state")
"""What policies of the benchmark ``rl`` observe, as in the rows of its table."""
IMAGE_POLICIES = ("CnnPolicy", "CnnPolicy with random shifts")
"""Policies of the benchmark ``rl`` that learn from frames, as in the rows of its table."""


def measure_exploration(
    benchmark: AgentObjectBenchmark, seed: int, device: str, folder: Path, show: JobProgress
) -> dict[str, float]:
    """Collect transitions with self-directed exploration, keep them, and return the shares of contacts by round.

    Args:
        benchmark: size of the benchmark.
        seed: seed of the world, the actions and the encoders between the rounds.
        device: device of the simulator and the encoders.
        folder: folder of the data set.
        show: shows the progress.
    """
    import gymnasium as gym

    from ...agents.exploration.learned_exploration import explore
    from ...envs.data.minari_dataset import save_transitions

    worlds, count = gym.make_vec(f"equiact/{benchmark.world}-v0", num_envs=64, device=device), benchmark.transitions
    began = time.monotonic()
    found = explore(
        worlds,
        count,
        seed,
        config=replace(benchmark.exploration, encoder=benchmark.encoder),
        device=device,
        work_dir=folder.with_name(f"{folder.name}-rounds"),
        progress=lambda done: show(done, count, "transitions"),
    )
    seconds = time.monotonic() - began
    save_transitions(found.transitions, folder)
    return {**_contacts(found), "exploration, s": seconds}


def _contacts(found: Exploration) -> dict[str, float]:
    """Return the shares of contacts in the first and the last round, in per cent: as learned, and the true ones."""
    if found.transitions.touched is None:
        raise ValueError("expected a world that reports which transitions touched the object")
    ends = np.cumsum([each.transitions for each in found.rounds])[:-1]
    touched = [100 * float(part.mean()) for part in np.split(found.transitions.touched, ends)]
    learned = [100 * each.contact_share for each in found.rounds if each.contact_share is not None]
    return {
        "exploration rounds": float(len(found.rounds)),
        "contacts of random actions": touched[0],
        "contacts in the last round": touched[-1],
        **({"contacts in the last round, as learned": learned[-1]} if learned else {}),
    }


def measure_encoder(
    benchmark: AgentObjectBenchmark, seed: int, device: str, data: Path, folder: Path, show: JobProgress
) -> dict[str, float]:
    """Train an encoder and save it; return its errors beside those of an untrained one and of chance, and its speed.

    Args:
        benchmark: size of the benchmark.
        seed: seed of the held-out data, the weights and the batches.
        device: device of the simulator and the encoder.
        data: folder of the data set to train on.
        folder: folder of the encoder.
        show: shows the progress.
    """
    from ...envs.data.minari_dataset import load_transitions
    from ...representations.learning.checkpoints import check_checkpoint, remove_checkpoint

    checkpoint = check_checkpoint(folder.with_name(f"{folder.name}.checkpoint"))
    transitions = load_transitions(data)
    bare = [bare_transitions_per_second(transitions, benchmark.encoder, resolve_device(device))]
    encoder, report = train_for_job(
        transitions, benchmark.encoder, seed=seed, device=device, checkpoint=checkpoint, show=show
    )
    bare.append(bare_transitions_per_second(transitions, benchmark.encoder, resolve_device(device)))
    held_out = _held_out(benchmark, seed, device, show)
    encoder.to("cpu").save(folder)
    rows = compare_encoder(encoder, held_out, benchmark.world)
    speed = report.transitions / report.seconds
    remove_checkpoint(checkpoint)
    return {
        **_errors(rows),
        "training, s": report.seconds,
        "transitions/s": speed,
        "share of the bare network's speed": 2 * speed / sum(bare),
        "encode one frame on one core, ms": encode_milliseconds(encoder, held_out),
    }


def _held_out(benchmark: AgentObjectBenchmark, seed: int, device: str, show: JobProgress) -> Transitions:
    count = benchmark.held_out
    return sample_held_out(benchmark.world, count, seed, device, lambda done: show(done, count, "transitions"))


def measure_rival(
    benchmark: AgentObjectBenchmark,
    name: str,
    seed: int,
    device: str,
    data: Path,
    checkpoint: Path,
    show: JobProgress,
) -> dict[str, float]:
    """Train a rival of the encoder on the same transitions, and return its errors.

    Args:
        benchmark: size of the benchmark.
        name: name of the rival, one of `RIVALS`.
        seed: seed of the held-out data, the weights and the batches.
        device: device of the simulator and the rival.
        data: folder of the data set to train on.
        checkpoint: file to resume the training from if it exists.
        show: shows the progress.
    """
    from ...envs.data.minari_dataset import load_transitions
    from ...envs.worlds.registry import task_world_class
    from ...representations.metrics.position_metrics import locate, rmse

    side, transitions = task_world_class(benchmark.world).arena_side, load_transitions(data)
    rival = train_rival(
        name, benchmark.encoder, transitions, side, seed=seed, device=device, checkpoint=checkpoint, show=show
    )
    found = locate(rival, _held_out(benchmark, seed, device, show))
    return {
        f"agent RMSE, {name}": 100 * rmse(found.agent_predicted, found.agent) / side,
        f"object RMSE, {name}": 100 * rmse(found.object_predicted, found.object) / side,
    }


def measure_policies(
    benchmark: AgentObjectBenchmark,
    seed: int,
    encoder: Path,
    jobs: Sequence[PolicyTrainingJob],
    image_jobs: Sequence[ImagePolicyTrainingJob],
    show: JobProgress,
) -> dict[str, Value]:
    """Return the outcomes of policies on an encoder, on ground-truth state and on frames, and the steps they took.

    Args:
        benchmark: size of the benchmark.
        seed: seed of the policies and of the initial states.
        encoder: folder of the encoder.
        jobs: jobs that trained the policies, in the order of `POLICIES`.
        image_jobs: jobs that trained and evaluated the policies on frames, in the order of `IMAGE_POLICIES`.
        show: shows the progress.
    """
    from ...agents.evaluation.rollouts import evaluate_policy, random_policy
    from ...agents.policies.sac import load_policy
    from ...agents.policies.sb3_vec_env import observe_latents, observe_state
    from ...envs.worlds.registry import task_world_class
    from ...representations.encoders.encoder import load_encoder

    batch = task_world_class(benchmark.world)(benchmark.evaluation_episodes, device="cpu")
    players = {
        POLICIES[0]: (observe_latents(load_encoder(encoder)), load_policy(jobs[0].folder)),
        POLICIES[1]: (observe_state, load_policy(jobs[1].folder)),
        "random actions": (observe_state, random_policy(batch, seed)),
    }
    figures: dict[str, Value] = {}
    for done, (name, (observe, policy)) in enumerate(players.items()):
        show(done, len(players), "policies")
        figures[f"{name}: success"] = evaluate_policy(batch, observe, policy, seed=seed).outcomes
    label = f"steps to {benchmark.success:.0%}".replace("%", " %")
    for name, job in zip(POLICIES, jobs, strict=True):
        figures[f"{name}: {label}"] = steps_to(job.curve_file, benchmark.success)
    for name, image_job in zip(IMAGE_POLICIES, image_jobs, strict=True):
        figures[f"{name}: success"] = image_job.outcomes()
        figures[f"{name}: {label}"] = steps_to(image_job.curve_file, benchmark.success)
    return figures


def measure_rendering(benchmark: AgentObjectBenchmark, seed: int, device: str, show: JobProgress) -> dict[str, float]:
    """Return the frames per second of stepping and rendering, and their share of rendering alone."""
    import numpy as np

    from ...envs.worlds.registry import task_world_class

    count, rounds = benchmark.render_worlds, benchmark.render_rounds
    batch = task_world_class(benchmark.world)(count, device=device)
    batch.reset(np.arange(count), [np.random.default_rng(seed + index) for index in range(count)])
    action = np.random.default_rng(seed).uniform(-0.3, 0.3, (count, batch.group.dim + batch.commands))
    acting = bare = 0.0
    for done in range(rounds):
        began = time.perf_counter()
        batch.step(action)
        batch.render()
        middle = time.perf_counter()
        batch.render()
        acting, bare = acting + middle - began, bare + time.perf_counter() - middle
        show(done + 1, rounds, "rounds")
    return {"frames/s, physics included": rounds * count / acting, "share of the bare ray tracer": bare / acting}


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

    saved: dict[str, Any] = read_json(curve_file)
    curve = LearningCurve(saved["steps"], saved["success"], saved["return"])
    return float(curve.steps_to(success) or 2 * curve.steps[-1])
