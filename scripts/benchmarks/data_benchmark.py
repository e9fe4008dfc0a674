"""The benchmark ``data``: the agent–object encoder on data that other people have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...representations.encoders.agent_object import AgentObjectConfig
from ...representations.encoders.agent_objects import AgentObjectsConfig, AgentObjectsEncoder
from ...representations.learning.config import to_dict
from ..collect_and_train import HELD_OUT_SEED, sample_held_out, sample_transitions, train_for_job
from ..experiments.experiment import Grid, MeasureJob, Values
from ..experiments.jobs import JobProgress, Resources, chosen_device
from .data_conditions import CONDITIONS
from .drawn_scenes import CHANGES, SCENES
from .drawn_scenes import SIDE as SCENE_SIDE
from .encoder_rivals import SUPERVISED, train_rival
from .pusht_data import require_pusht

if TYPE_CHECKING:
    from ...envs.data.transitions import Transitions

Measure = Callable[..., Values]
"""Has the signature of `measure_condition`."""
WORLD = "Soccer"
ALL_OBJECTS = "all objects"
"""Method of the encoder that is told how many objects there are, and learns all of them."""
WITH_SUPERVISED = ("random actions", "10,000 transitions", "5,000 transitions")
"""Conditions with a supervised upper bound; it reads neither contacts nor displacements."""


@dataclass(frozen=True)
class DataBenchmark:
    """Set the size of the benchmark ``data``.

    Attributes:
        transitions: number of transitions that are collected.
        held_out: number of held-out transitions.
        threads: number of threads of a training.
        encoder: hyper-parameters of the encoder in Soccer.
        any_shape: hyper-parameters of the encoder in gym-pusht.
    """

    transitions: int = 20_000
    held_out: int = 4000
    threads: int = 1
    encoder: AgentObjectConfig = field(default_factory=AgentObjectConfig)
    any_shape: AgentObjectConfig = field(default_factory=partial(AgentObjectConfig, object_shape="any"))

    def experiments(self, seeds: Sequence[int], device: str = "auto") -> list[Grid]:
        """Return the experiments in Soccer, in every condition, in gym-pusht, and in drawn scenes.

        Raises:
            ImportError: a package that the experiment in gym-pusht needs is not installed.
        """
        require_pusht()
        conditions = {name: asdict(condition) for name, condition in CONDITIONS.items()}
        conditions |= {name: asdict(scene) for name, scene in {**SCENES, **CHANGES}.items()}
        configuration = {**to_dict(self), "conditions": conditions, "device": chosen_device(device)}
        jobs = {
            "agent_object_data": self._soccer_jobs,
            "agent_object_pusht": self._pusht_jobs,
            "agent_object_scenes": self._scene_jobs,
        }
        return [Grid(name, configuration, seeds, partial(_for_all, seeds, make, device)) for name, make in jobs.items()]

    def _soccer_jobs(self, folder: Path, seed: int, device: str) -> list[MeasureJob]:
        data = folder / f"data-{seed}"
        collected = MeasureJob(
            f"{WORLD}, random actions, seed {seed}",
            folder / f"data-{seed}.json",
            partial(collect_soccer, self, seed, device, data),
            "",
            "",
            seed,
            resources=Resources.on(device, self.threads),
        )

        def job(name: str, method: str, measure: Measure) -> MeasureJob:
            run = f"{name.replace(' ', '_')}{method and '-'}{method}-{seed}"
            measured = partial(measure, self, name, seed, device, data, folder / f"{run}.checkpoint")
            title = f"{WORLD}, {name}{method and ', '}{method}, seed {seed}"
            resources = Resources.on(device, self.threads)
            return MeasureJob(title, folder / f"{run}.json", measured, name, method, seed, [collected], resources)

        return [
            *(job(name, "", measure_condition) for name in CONDITIONS),
            *(job(name, SUPERVISED, measure_supervised) for name in WITH_SUPERVISED),
        ]

    def _pusht_jobs(self, folder: Path, seed: int, device: str) -> list[MeasureJob]:
        return [
            MeasureJob(
                f"gym-pusht, random targets, seed {seed}",
                folder / f"random-{seed}.json",
                partial(measure_pusht, self, seed, device, folder / f"random-{seed}.checkpoint"),
                "random targets",
                "",
                seed,
                resources=Resources.on(device, self.threads),
            )
        ]

    def _scene_jobs(self, folder: Path, seed: int, device: str) -> list[MeasureJob]:
        def job(name: str, method: str, measure: Measure) -> MeasureJob:
            run = f"{name.replace(' ', '_')}{method and '-'}{method.replace(' ', '_')}-{seed}"
            measured = partial(measure, self, name, seed, device, folder / f"{run}.checkpoint")
            title = f"drawn discs, {name}{method and ', '}{method}, seed {seed}"
            resources = Resources.on(device, self.threads)
            return MeasureJob(title, folder / f"{run}.json", measured, name, method, seed, resources=resources)

        several = [name for name, scene in SCENES.items() if scene.objects > 1]
        return [
            *(job(name, "", measure_scene) for name in SCENES),
            *(job(name, ALL_OBJECTS, measure_all_objects) for name in several),
        ]


def _for_all(
    seeds: Sequence[int], make: Callable[[Path, int, str], list[MeasureJob]], device: str, folder: Path
) -> list[MeasureJob]:
    return [job for seed in seeds for job in make(folder, seed, device)]


def collect_soccer(benchmark: DataBenchmark, seed: int, device: str, folder: Path, show: JobProgress) -> Values:
    """Collect transitions with random actions, keep them, and return the share of contacts."""
    from ...envs.data.minari_dataset import save_transitions

    count = benchmark.transitions
    transitions = sample_transitions(WORLD, count, seed, device, lambda done: show(done, count, "transitions"))
    save_transitions(transitions, folder)
    return {"contacts, %": _contact_percent(transitions)}


def _contact_percent(transitions: Transitions) -> float:
    if transitions.touched is None:
        raise ValueError("expected a world that reports which transitions touch the object")
    return 100 * float(transitions.touched.mean())


def measure_condition(
    benchmark: DataBenchmark, name: str, seed: int, device: str, data: Path, checkpoint: Path, show: JobProgress
) -> Values:
    """Train an encoder on the data of Soccer in one condition, and return its errors.

    Args:
        benchmark: size of the benchmark.
        name: name of the condition, one of `CONDITIONS`.
        seed: seed of the condition, of the held-out data, the weights and the batches.
        device: device of the simulator and the encoder.
        data: folder of the data set.
        checkpoint: file to resume the training from if it exists.
        show: shows the progress.
    """
    from ...envs.data.minari_dataset import load_transitions
    from ...envs.worlds.registry import task_world_class
    from ...representations.metrics.position_metrics import chance, evaluate_encoder

    count = benchmark.held_out
    transitions = CONDITIONS[name].apply(load_transitions(data), seed)
    encoder = _train(transitions, benchmark.encoder, seed, device, checkpoint, show)
    held_out = sample_held_out(WORLD, count, seed, device, lambda done: show(done, count, "transitions"))
    at_random = sample_transitions(
        WORLD, count, seed + HELD_OUT_SEED, device, lambda done: show(done, count, "transitions")
    )
    side = task_world_class(WORLD).arena_side
    found, by_chance = evaluate_encoder(encoder, held_out, side), chance(held_out, side)
    return {
        "transitions": float(len(transitions)),
        "contacts, %": _contact_percent(transitions),
        "agent RMSE, %": found["agent_rmse_pct"],
        "object RMSE, %": found["object_rmse_pct"],
        "object RMSE, chance": by_chance["object_rmse_pct"],
        "contact precision": found["contact_precision"],
        "contact recall": found["contact_recall"],
        **_evidence(encoder, at_random),
    }


def measure_supervised(
    benchmark: DataBenchmark, name: str, seed: int, device: str, data: Path, checkpoint: Path, show: JobProgress
) -> Values:
    """Train the encoder on the true positions, an upper bound; the arguments are those of `measure_condition`."""
    from ...envs.data.minari_dataset import load_transitions
    from ...envs.worlds.registry import task_world_class
    from ...representations.metrics.position_metrics import locate, rmse

    count, side = benchmark.held_out, task_world_class(WORLD).arena_side
    encoder = train_rival(
        SUPERVISED,
        benchmark.encoder,
        CONDITIONS[name].apply(load_transitions(data), seed),
        side,
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        show=show,
    )
    found = locate(encoder, sample_held_out(WORLD, count, seed, device, lambda done: show(done, count, "transitions")))
    return {
        "agent RMSE, %": 100 * rmse(found.agent_predicted, found.agent) / side,
        "object RMSE, %": 100 * rmse(found.object_predicted, found.object) / side,
    }


def _evidence(encoder: Any, held_out: Transitions) -> Values:
    """Return the evidence that an object was found, as a user sees it, and whether it is said that none was."""
    from ...representations.metrics.object_evidence import doubt_of_object, object_evidence
    from ...representations.metrics.registry import HeldOut

    found = object_evidence(encoder, HeldOut(held_out))
    evidence = {"evidence of an object": found["object_evidence"]} if "object_evidence" in found else {}
    return {**evidence, "object refused": float(doubt_of_object(found) is not None)}


def measure_scene(
    benchmark: DataBenchmark, name: str, seed: int, device: str, checkpoint: Path, show: JobProgress
) -> Values:
    """Train an encoder in a drawn scene and return its errors; with one object, also where something was changed.

    Args:
        benchmark: size of the benchmark.
        name: name of the scene, one of `SCENES`.
        seed: seed of all data, the weights and the batches.
        device: device of the encoder.
        checkpoint: file to resume the training from if it exists.
        show: shows the progress.
    """
    scene, collected, count = SCENES[name], benchmark.transitions, benchmark.held_out
    transitions = scene.collect(collected, seed, lambda done: show(done, collected, "transitions"))
    encoder = _train(transitions, benchmark.encoder, seed, device, checkpoint, show)
    held_out = scene.collect(count, seed + HELD_OUT_SEED)
    values = {
        "contacts, %": _contact_percent(transitions),
        **scene_errors(encoder, held_out),
        **_evidence(encoder, held_out),
    }
    if name != next(iter(SCENES)):
        return values
    changed = {change: each.collect(count, seed + HELD_OUT_SEED) for change, each in CHANGES.items()}
    return values | {
        f"{metric}, {change}": value
        for change, data in changed.items()
        for metric, value in scene_errors(encoder, data).items()
        if metric.endswith("RMSE, %")
    }


def scene_errors(encoder: Any, held_out: Transitions) -> Values:
    """Return the errors of the agent, and of the object that is the nearest to what the encoder takes for it.

    The predictions are moved by the mean error of the agent: an object that was not found must not move it.

    Args:
        encoder: the encoder.
        held_out: transitions of a scene that it was not trained on.
    """
    from ...representations.metrics.position_metrics import rmse

    latents, truth = encoder.encode(held_out.frames), held_out.ground_truth
    agent = truth["agent_pose"]
    offset = (latents["agent"] - agent).mean(0)
    errors = {
        key: rmse(latents["object"] - offset, pose) for key, pose in truth.items() if key.startswith("object_pose")
    }
    nearest = truth[min(errors, key=lambda key: errors[key])]
    return {
        "agent RMSE, %": 100 * rmse(latents["agent"] - offset, agent) / SCENE_SIDE,
        "object RMSE, %": 100 * min(errors.values()) / SCENE_SIDE,
        "object RMSE, chance": 100 * rmse(nearest.mean(0, keepdims=True), nearest) / SCENE_SIDE,
    }


def measure_all_objects(
    benchmark: DataBenchmark, name: str, seed: int, device: str, checkpoint: Path, show: JobProgress
) -> Values:
    """Train an encoder of all objects of a drawn scene, and return its errors; the arguments are as `measure_scene`'s.

    The error of the objects is the largest one, in the order of the latents in which the sum of errors is the smallest.
    """
    scene, collected, count = SCENES[name], benchmark.transitions, benchmark.held_out
    transitions = scene.collect(collected, seed, lambda done: show(done, collected, "transitions"))
    config = AgentObjectsConfig(**vars(benchmark.encoder), objects=scene.objects)
    encoder = _train(transitions, config, seed, device, checkpoint, show)
    held_out = scene.collect(count, seed + HELD_OUT_SEED)
    return {
        "contacts, %": _contact_percent(transitions),
        **all_object_errors(encoder, held_out),
        **_evidence(encoder, held_out),
    }


def all_object_errors(encoder: AgentObjectsEncoder, held_out: Transitions) -> Values:
    """Return the errors of the agent, and the largest error of an object, as `scene_errors` does for one.

    Args:
        encoder: the encoder.
        held_out: transitions of a scene with as many objects, that it was not trained on.
    """
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    from ...representations.metrics.position_metrics import rmse

    latents, truth = encoder.encode(held_out.frames), held_out.ground_truth
    offset = (latents["agent"] - truth["agent_pose"]).mean(0)
    poses = [pose for key, pose in truth.items() if key.startswith("object_pose")]
    seen = [latent - offset for key, latent in latents.items() if key.startswith("object_")]
    errors = np.array([[rmse(latent, pose) for pose in poses] for latent in seen])
    return {
        "agent RMSE, %": 100 * rmse(latents["agent"] - offset, truth["agent_pose"]) / SCENE_SIDE,
        "object RMSE, %": 100 * float(errors[linear_sum_assignment(errors)].max()) / SCENE_SIDE,
        "object RMSE, chance": 100 * max(rmse(pose.mean(0, keepdims=True), pose) for pose in poses) / SCENE_SIDE,
    }


def measure_pusht(benchmark: DataBenchmark, seed: int, device: str, checkpoint: Path, show: JobProgress) -> Values:
    """Train an encoder on gym-pusht with random targets, and return its errors.

    Args:
        benchmark: size of the benchmark.
        seed: seed of all data, the weights and the batches.
        device: device of the encoder.
        checkpoint: file to resume the training from if it exists.
        show: shows the progress.
    """
    from .pusht_data import collect_pusht, pusht_errors

    count, held_out = benchmark.transitions, benchmark.held_out
    transitions = collect_pusht(count, seed, lambda done: show(done, count, "transitions"))
    encoder = _train(transitions, benchmark.any_shape, seed, device, checkpoint, show)
    return pusht_errors(
        encoder, collect_pusht(held_out, seed + HELD_OUT_SEED, lambda done: show(done, held_out, "transitions"))
    )


def _train(
    transitions: Transitions, config: AgentObjectConfig, seed: int, device: str, checkpoint: Path, show: JobProgress
) -> Any:
    from ...representations.learning.checkpoints import check_checkpoint, remove_checkpoint

    checkpoint = check_checkpoint(checkpoint)
    encoder, _ = train_for_job(transitions, config, seed=seed, device=device, checkpoint=checkpoint, show=show)
    remove_checkpoint(checkpoint)
    return encoder.to("cpu")
