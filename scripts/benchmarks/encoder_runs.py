"""Jobs of the encoder benchmarks: collect data; train, measure and keep one encoder."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ...envs.storage.artifacts import check_output_folder, read_json, write_json
from ...envs.storage.atomic_folder import DATA
from ..collect_and_train import HELD_OUT_SEED, held_out_of, sample_transitions, train_for_job
from ..experiments.jobs import Job, JobProgress, Resources
from ..experiments.provenance import provenance
from ..experiments.records import MeasuredRun
from .encoder_methods import encoder_of_label, suggest_config
from .run_folder import is_complete

if TYPE_CHECKING:
    from ...agents.downstream.mapping import LocalisationResult
    from ...agents.downstream.planning import PlanningResult
    from ...envs.data.transitions import Transitions
    from ...envs.worlds.orbit_world import OrbitWorld
    from ...representations.encoders.encoder import Encoder

Measure = Callable[..., dict[str, float]]
"""Has the signature of `measure`."""


@dataclass(frozen=True)
class BenchmarkSize:
    """Set how much data a benchmark has, and for how long it trains.

    Attributes:
        transitions: number of transitions to train on.
        held_out: number of transitions to measure on.
        backbone: name of the backbone.
        updates: number of updates of an encoder whose default is 6,000; others are scaled alike.
    """

    transitions: int
    held_out: int
    backbone: str
    updates: int

    def configure(self, encoder: str, world_cls: type[OrbitWorld]) -> Any:
        """Return the configuration of an encoder in a world."""
        from ...representations.encoders.registry import encoder_config
        from ...representations.learning.config import scale_steps

        factor = self.updates / encoder_config("class-pose").optim.steps
        return scale_steps(suggest_config(encoder, world_cls, self.backbone), factor)


@dataclass(frozen=True)
class CollectionJob:
    """Collect transitions with random actions, for all methods of a seed, and keep them until all are trained.

    Attributes:
        world: name of the world.
        count: number of transitions.
        seed: seed of the initial states and the actions.
        device: device of the simulator.
        folder: folder of the benchmark.
    """

    needs: ClassVar[Sequence[Job]] = ()

    world: str
    count: int
    seed: int
    device: str
    folder: Path

    @property
    def resources(self) -> Resources:
        """Return what it occupies while it runs."""
        return Resources.on(self.device)

    @property
    def title(self) -> str:
        """Return the name in the progress display."""
        return f"{self.world}, {self.count:,} transitions, seed {self.seed}"

    @property
    def output(self) -> Path:
        """Return the folder of the dataset."""
        return self.folder / f"{self.world}-{self.count}-{self.seed}"

    @property
    def done(self) -> bool:
        """Return whether the dataset is there."""
        return is_complete(self.output)

    def run(self, show: JobProgress) -> None:
        """Collect the transitions and save them."""
        from ...envs.data.minari_dataset import save_transitions

        transitions = sample_transitions(
            self.world, self.count, self.seed, self.device, lambda done: show(done, self.count, "transitions")
        )
        save_transitions(transitions, self.output)

    def load(self) -> Transitions:
        """Return the transitions."""
        from ...envs.data.minari_dataset import load_transitions

        return load_transitions(self.output)


@dataclass(frozen=True)
class RemovalJob:
    """Remove data when all runs that need them are done.

    Attributes:
        data: jobs that collected the data.
        needs: jobs that need the data.
        output: file that says that the data were removed.
    """

    data: Sequence[CollectionJob]
    needs: Sequence[Job]
    output: Path

    resources: ClassVar[Resources] = Resources()

    @property
    def title(self) -> str:
        """Return the name in the progress display."""
        return f"Removing {len(self.data)} data sets of {self.data[0].world}"

    @property
    def done(self) -> bool:
        """Return whether the data were removed."""
        return self.output.exists()

    def run(self, show: JobProgress) -> None:
        """Remove the data; a README.md beside them is kept."""
        from ...envs.data.minari_dataset import check_dataset_folder

        for job in self.data:
            if job.done:
                shutil.rmtree(check_dataset_folder(job.output) / DATA)
                with contextlib.suppress(OSError):
                    job.output.rmdir()
        write_json(self.output, {"removed": [job.output.name for job in self.data]})


@dataclass(frozen=True)
class BenchmarkRun:
    """Train, measure and keep the encoder of one method in one world with one seed.

    Attributes:
        world: name of the world.
        method: label of the method in tables.
        seed: seed of the data, the weights and the batches.
        size: amount of data and training.
        device: device of the simulator and the encoder.
        folder: folder of the benchmark.
    """

    world: str
    method: str
    seed: int
    size: BenchmarkSize
    device: str
    folder: Path

    @property
    def title(self) -> str:
        """Return the name in the progress display."""
        return f"{self.world}, {self.method}, seed {self.seed}"

    @property
    def name(self) -> str:
        """Return the name of its files."""
        return f"{self.world}-{self.method.replace(' ', '_')}-{self.seed}"

    @property
    def output(self) -> Path:
        """Return the file of its figures, which is written last."""
        return self.folder / f"{self.name}.json"

    @property
    def encoder_folder(self) -> Path:
        """Return the folder of the encoder."""
        return self.folder / self.name

    @property
    def training_file(self) -> Path:
        """Return the file of the training report; where it exists, the encoder is not trained again."""
        return self.folder / "training" / f"{self.name}.json"

    @property
    def checkpoint(self) -> Path:
        """Return the checkpoint of the training."""
        return self.folder / f"{self.name}.checkpoint"

    @cached_property
    def world_cls(self) -> type[OrbitWorld]:
        """Return the class of the world."""
        from ...envs.worlds.registry import world_class

        world_cls: type[Any] = world_class(self.world)
        return world_cls

    @property
    def training_data(self) -> CollectionJob:
        """Return the job that collects the data to train on."""
        return CollectionJob(self.world, self.size.transitions, self.seed, self.device, self.folder)

    @property
    def held_out(self) -> CollectionJob:
        """Return the job that collects the data to measure on."""
        seed = self.seed + HELD_OUT_SEED
        return CollectionJob(self.world, self.size.held_out, seed, self.device, self.folder)

    @property
    def done(self) -> bool:
        """Return whether its figures are there."""
        return self.output.exists()

    @property
    def needs(self) -> list[CollectionJob]:
        """Return the jobs that must be done before."""
        return [self.held_out] if self.training_file.exists() else [self.training_data, self.held_out]

    @property
    def resources(self) -> Resources:
        """Return what it occupies while it runs."""
        return Resources.on(self.device)

    def measured(self) -> MeasuredRun:
        """Return what was measured, once it is done."""
        found = read_json(self.output)
        return MeasuredRun(self.world, self.method, self.seed, found["values"], seconds=found["seconds"])

    def check_outputs(self) -> None:
        """Check, before the work begins, that nothing of others is where the run writes.

        Raises:
            ValueError: a file or folder of another kind is there.
        """
        from ...envs.data.minari_dataset import check_dataset_folder
        from ...representations.learning.checkpoints import check_checkpoint

        for job in self.needs:
            check_dataset_folder(job.output)
        check_output_folder(self.encoder_folder, "encoder")
        check_checkpoint(self.checkpoint)

    def run(self, show: JobProgress, measure: Measure | None = None) -> None:
        """Train the encoder, unless that is done, and measure it.

        Args:
            show: shows the progress.
            measure: computes the figures, by default `measure`.
        """
        from ...representations.encoders.encoder import load_encoder
        from ...representations.learning.training import resolve_device

        if not self.training_file.exists():
            self.train(show)
        began = time.monotonic()
        encoder = load_encoder(self.encoder_folder, resolve_device(self.device))
        held_out = self.held_out.load()
        figures = (measure or measure_encoder)(
            encoder, self.world_cls, held_out, lambda done, total: show(done, total, "measures")
        )
        if used := evaluate_downstream(encoder, self.world_cls, held_out):
            figures |= used.metrics
        trained = read_json(self.training_file)["seconds"]
        write_json(self.output, {"values": figures, "seconds": trained + time.monotonic() - began})

    def train(self, show: JobProgress) -> None:
        """Train the encoder and save it; resume where training was stopped."""
        from ...representations.learning.checkpoints import remove_checkpoint

        data = self.training_data.load()
        config = self.size.configure(encoder_of_label(self.method), self.world_cls)
        encoder, report = train_for_job(
            data, config, seed=self.seed, device=self.device, checkpoint=self.checkpoint, show=show
        )
        encoder.save(self.encoder_folder)
        write_json(self.training_file, {**vars(report), **provenance()})
        remove_checkpoint(self.checkpoint)


def measure_encoder(
    encoder: Encoder,
    world_cls: type[OrbitWorld],
    held_out: Transitions,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, float]:
    """Compute all metrics of an encoder on held-out data of a world.

    Args:
        encoder: the encoder.
        world_cls: the world, whose stabilizers are known.
        held_out: transitions that the encoder was not trained on.
        progress: called with the number of metrics computed, and of all.

    Raises:
        ValueError: the data have another group or frames than the encoder.
    """
    from ...representations.metrics.registry import evaluate_metrics

    encoder.require_fitting(held_out)
    return evaluate_metrics(encoder, held_out_of(world_cls, held_out), progress=progress)


def evaluate_downstream(
    encoder: Encoder, world_cls: type[OrbitWorld], held_out: Transitions
) -> LocalisationResult | PlanningResult | None:
    """Use class and pose: localise a robot on a map (SE2), or plan and execute rotations into a goal (rotation groups).

    Returns:
        The result, or None where the encoder has no class and pose, or the group is another one.
    """
    from ...agents.downstream.mapping import localise
    from ...agents.downstream.planning import execute_plans
    from ...representations.encoders.class_pose_base import ClassPoseBase

    if isinstance(encoder, ClassPoseBase) and encoder.group == "SE2":
        return localise(encoder, world_cls, held_out)
    if isinstance(encoder, ClassPoseBase) and world_cls.group.is_rotation_group:
        return execute_plans(encoder, world_cls)
    return None
