"""`equiact benchmark`: what the README claims, measured again, over seeds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from scripts.commands import HELD_OUT_SEED, Command, collect_transitions, resolve, train_encoder
from scripts.demo import encoder_evaluation
from scripts.jobs import run_jobs
from scripts.progress import bar
from scripts.rl import Job
from scripts.runs import FIRST_SEED, commit, over_seeds, read_json, write_json
from scripts.symmetry import benchmark_symmetry

if TYPE_CHECKING:
    from envs.transitions import Transitions
    from representations.agent_object import AgentObjectEncoder


@dataclass(frozen=True)
class Benchmark(Command):
    """Measure what the README claims, over seeds, and write it to results/. Stopped, it goes on at the next seed."""

    resumes = True
    what: Annotated[Literal["encoder", "rl", "render", "class-pose", "stabilizers"], tyro.conf.Positional] = "encoder"
    """The agent-object encoder's errors and speed; reinforcement learning on it; frames a second; or encoders of class
    and pose, and of symmetric objects, against others."""
    world: str | None = None
    """Name of the world; Soccer if none is given, and for class-pose and stabilizers all of theirs."""
    quick: bool = False
    """Of class-pose and stabilizers, one seed of a size for two cores; the full size, the papers', is for a GPU."""
    seeds: int | None = None
    """How many seeds, from 100 (and --seed more) on; five if no number is given, one if it is quick."""
    add: bool = False
    """Of class-pose and stabilizers, keep the other seeds of the result file: not all need be run at once."""
    transitions: int = 20_000
    """How many transitions to learn from."""
    rl_steps: int = 24_000
    """Steps of reinforcement learning."""
    results: Path = Path("results")
    """Folder of the result files."""
    work: Path = Path("runs/benchmark")
    """Folder of what is made on the way, a part a seed."""

    def run(self) -> dict[str, Any]:
        from envs import task_class

        number = (1 if self.quick else 5) if self.seeds is None else self.seeds
        if number < 1:
            raise ValueError(f"at least one seed is needed, got --seeds {number}")
        seeds = [FIRST_SEED + self.seed + index for index in range(number)]
        if self.what in ("class-pose", "stabilizers"):
            return benchmark_symmetry(
                self.what,
                quick=self.quick,
                seeds=seeds,
                add=self.add,
                world=self.world,
                device=self.device,
                results=self.results,
                work=self.work,
            )
        if self.add:
            raise ValueError(f"seeds are added to the results of class-pose and stabilizers alone, not of {self.what}")
        measure = {"encoder": self._encoder, "rl": self._rl, "render": self._render}[self.what]
        task_class(self._world)
        rows = [self._cached(seed, measure) for seed in seeds]
        name = {"encoder": "agent_object", "rl": "reinforcement", "render": "render"}[self.what]
        result = over_seeds(rows, seeds)
        write_json(self.results / f"{name}_{self._world.lower()}.json", result)
        return {label: figure["mean"] for label, figure in result["figures"].items()}

    @property
    def _world(self) -> str:
        return self.world or "Soccer"

    def _cached(self, seed: int, measure: Callable[[int], dict[str, float]]) -> dict[str, Any]:
        """What was measured for this seed before, or now, and the commit that measured it."""
        path = self.work / self._world / f"{self.what}-{seed}.json"
        settings = {"transitions": self.transitions, "rl_steps": self.rl_steps}
        if not path.exists():
            write_json(path, {"commit": commit(), "settings": settings, "figures": measure(seed)})
        row: dict[str, Any] = read_json(path)
        if row.get("settings") != settings:
            raise ValueError(
                f"{path} was measured with {row.get('settings', 'unknown settings')}, now {settings} is asked for; "
                "choose another --work or remove it"
            )
        return row

    def _encoder(self, seed: int) -> dict[str, float]:
        transitions = collect_transitions(self._world, self.transitions, seed, self.device)
        checkpoint = self.work / self._world / f"encoder-{seed}.checkpoint"
        bare = [bare_transitions_per_second(transitions, resolve(self.device))]
        encoder, report = train_encoder(transitions, seed=seed, device=self.device, checkpoint=checkpoint)
        bare.append(bare_transitions_per_second(transitions, resolve(self.device)))
        held_out = collect_transitions(self._world, 4000, seed + HELD_OUT_SEED, self.device, "Held-out data")
        encoder.to("cpu").save(self.work / self._world / f"encoder-{seed}")
        rows = encoder_evaluation(encoder, held_out, self._world)["rows"]
        trained, untrained, chance = rows["trained"], rows["untrained"], rows["chance"]
        speed = report.transitions / report.seconds
        milliseconds = encode_milliseconds(encoder, held_out)
        checkpoint.unlink()
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
            "training, s": report.seconds,
            "transitions/s": speed,
            "share of the bare network's speed": 2 * speed / sum(bare),
            "encode one frame on one core, ms": milliseconds,
        }

    def _rl(self, seed: int) -> dict[str, float]:
        """Soft actor-critic on the encoder that ``benchmark encoder`` trained with this seed, and on true state."""
        from agents.evaluation import evaluate, random_policy
        from agents.reinforcement import EVALUATION_SEED, load_policy
        from agents.vec_env import observe_latents, observe_state
        from envs import task_class
        from representations.encoder import Encoder

        folder = self.work / self._world / f"encoder-{seed}"
        policies = self.work / self._world / f"policies-{seed}"
        jobs = [
            Job(name, self._world, source, self.rl_steps, seed, self.device, policies / name)
            for name, source in (("encoder", folder), ("true_state", None))
        ]
        run_jobs([job for job in jobs if not job.curve_file.exists()])
        batch = task_class(self._world)(200, device=self.device)
        start = EVALUATION_SEED + seed
        see = observe_latents(Encoder.load(folder))
        reached = {job.name: _steps_to(job.curve_file, 0.95) for job in jobs}
        return {
            "success on the encoder": evaluate(batch, see, load_policy(jobs[0].folder), seed=start).success,
            "success on true state": evaluate(batch, observe_state, load_policy(jobs[1].folder), seed=start).success,
            "success of random actions": evaluate(batch, observe_state, random_policy(batch, seed), seed=start).success,
            "steps to 95 % on the encoder": reached["encoder"],
            "steps to 95 % on true state": reached["true_state"],
            "steps, encoder : true state": reached["encoder"] / reached["true_state"],
        }

    def _render(self, seed: int) -> dict[str, float]:
        import numpy as np

        from envs import task_class

        batch = task_class(self._world)(256, device=self.device)
        batch.reset(np.arange(256), [np.random.default_rng(seed + index) for index in range(256)])
        action = np.random.default_rng(seed).uniform(-0.3, 0.3, (256, batch.group.dim + batch.commands))
        acting = bare = 0.0
        with bar("Drawing", 20, "rounds") as update:
            for done in range(20):
                began = time.perf_counter()
                batch.step(action)
                batch.render()
                middle = time.perf_counter()
                batch.render()
                acting, bare = acting + middle - began, bare + time.perf_counter() - middle
                update(done + 1)
        rate = 20 * 256 / acting
        return {"frames/s, physics included": rate, "share of the bare ray tracer": bare / acting}


def bare_transitions_per_second(transitions: Transitions, device: str) -> float:
    """Transitions a second of forward, backward and update of the same networks alone, on batches in memory.

    Stage by stage as in training, weighted by how many transitions each stage saw.
    """
    import torch
    from torch import nn

    from representations.agent_object import AgentObjectEncoder, AgentObjectLearner
    from representations.encoder import as_tensor, to_images

    height, width, channels = transitions.frames.shape[1:]
    encoder = AgentObjectEncoder((height, width, channels), transitions.group).to(device)
    learner = AgentObjectLearner(encoder, transitions)
    networks: dict[str, nn.Module] = {
        "agent": nn.Sequential(learner.encoder.agent_trunk, learner.encoder.agent_head),
        "contrast": learner.embedder,
    }
    object_ = nn.Sequential(learner.encoder.object_trunk, learner.encoder.object_head)
    seconds = seen = 0.0
    for stage in learner.stages():
        network = networks.get(stage.name, object_)
        images = to_images(as_tensor(transitions.frames[: 2 * stage.batch_size]).to(device))
        optimizer = torch.optim.Adam(network.parameters(), 1e-3, fused=True)
        repeats = 60
        for repeat in range(repeats + 5):
            if repeat == 5:
                began = time.perf_counter()
            optimizer.zero_grad()
            network(images).pow(2).mean().backward()
            optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds += stage.steps * (time.perf_counter() - began) / repeats
        seen += stage.steps * stage.batch_size
    return seen / seconds


def encode_milliseconds(encoder: AgentObjectEncoder, transitions: Transitions) -> float:
    """Median time of encoding a single frame on one core."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times = []
    for index in range(300):
        began = time.perf_counter()
        encoder.encode(transitions.frames[index : index + 1])
        times.append(time.perf_counter() - began)
    torch.set_num_threads(threads)
    return 1000 * sorted(times)[len(times) // 2]


def _steps_to(curve_file: Path, success: float) -> float:
    """Steps at which the curve first reached this success, or twice its length where it never did."""
    from agents.reinforcement import LearningCurve

    saved = read_json(curve_file)
    curve = LearningCurve(saved["steps"], saved["success"], saved["return"])
    return float(curve.steps_to(success) or 2 * curve.steps[-1])
