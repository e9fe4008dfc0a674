"""The command ``equiact train``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import tyro

from ..benchmarks.encoder_methods import require_suiting, suggest_config, suggest_encoder
from ..benchmarks.result_files import provenance
from ..benchmarks.run_folder import has_keys
from ..collect_and_train import (
    LoggerName,
    collect_transitions,
    held_out_transitions,
    make_loggers,
    new_learner,
    require_logger,
    train_with_bar,
)
from ..training_data import load_data_of, require_measurable, split_held_out
from .command import Command
from .config_options import preview, read_yaml, with_defaults
from .registry import register_command

if TYPE_CHECKING:
    from ...envs.data.transitions import Transitions
    from ...envs.worlds.world import World
    from ...representations.learning.callbacks import TrainingReport

DECODER_TITLE = "Training a visualisation decoder"
TrainWithBar = Callable[..., "TrainingReport"]
"""Has the signature of `collect_and_train.train_with_bar`."""
DEFAULT_WORLD = "Soccer"
FIGURES = ("map.png", "orbits.png", "plans.png", "predictions.png")
"""Names of the figures that may be in the report folder."""


@register_command("train")
@dataclass(frozen=True)
class Train(Command):
    """Train an encoder on transitions of a world or of a dataset, and measure it on held-out transitions.

    Writes the encoder to the output folder, and the training report to a folder beside it, named OUTPUT_DIR-report. For
    encoders of class and pose the report has figures of the orbits, of predicted images, and of a map (SE2) or of plans
    (rotations). Run the same command again to resume.

    The options after --logger are the hyper-parameters of the encoder. They depend on --encoder and --world:
    `equiact train --encoder class-pose --world Chairs --help` shows those of the class-pose encoder.
    """

    resumes = True
    config: Path | None = None
    """YAML file with values of options: `encoder: class-pose`, hyper-parameters such as `optim: {lr: 1e-3}`, and
    options of this command such as `world: Chairs`. Options on the command line take precedence."""
    encoder: str | None = None
    """Name of the encoder; by default the one that suits the world, and agent-object for a dataset without --world."""
    world: str | None = None
    """Name of the world to collect transitions from, and to measure the encoder in; Soccer if there is no dataset."""
    data: Path | None = None
    """Folder of a dataset to train on, such as `equiact collect` writes. Without --world, its last episodes are held
    out, and the encoder is measured on them with the ground truth that they have."""
    transitions: int = 20_000
    """Number of transitions to collect if there is no dataset."""
    held_out: int = 4000
    """Number of held-out transitions to measure the encoder on."""
    output_dir: Path = Path("runs/encoder")
    """Folder of the encoder; an encoder that is there is replaced."""
    decoder_steps: int = 4000
    """Number of updates of the decoder that draws predicted images, for encoders of class and pose; 0 for no images."""
    logger: LoggerName = "none"
    """Where to log the losses: TensorBoard files in the report folder, Weights & Biases, or trackio."""
    hyperparameters: tyro.conf.Suppress[Any] = None
    """Configuration of the encoder; the one suggested for the world if None."""

    @classmethod
    def for_arguments(cls, arguments: Sequence[str]) -> type[Self]:
        given = preview(arguments, "config", "encoder", "world", "data")
        values = {} if given["config"] is None else read_yaml(given["config"])
        chosen = {**values, **{name: value for name, value in given.items() if value is not None}}
        world_cls = _world_class(chosen.get("world"), chosen.get("data"))
        encoder = str(chosen.get("encoder") or suggest_encoder(world_cls))
        return with_defaults(
            cls,
            {**values, "encoder": encoder},
            config=suggest_config(encoder, world_cls),
            source=given["config"] or "the command line",
        )

    @property
    def world_cls(self) -> type[World] | None:
        """Class of the world; None for a dataset without one."""
        return _world_class(self.world, self.data)

    @property
    def encoder_name(self) -> str:
        """Name of the encoder."""
        return self.encoder or suggest_encoder(self.world_cls)

    @property
    def report_dir(self) -> Path:
        """Folder of the training report and the figures."""
        return self.output_dir.with_name(f"{self.output_dir.name}-report")

    def run(self, train_with_bar: TrainWithBar = train_with_bar) -> dict[str, Any]:
        from ...envs.storage.artifacts import check_output_folder, folder_lock

        folder = check_output_folder(self.output_dir, "encoder")
        self._check()
        with folder_lock(folder):
            return self._train(train_with_bar)

    def _check(self) -> None:
        """Check the options and the places that are written to.

        Raises:
            ValueError: a number is too small, the encoder cannot learn in the world, or things of others are there.
            ImportError: the logger is not installed.
        """
        from ...envs.storage.output_paths import check_folder
        from ...representations.learning.checkpoints import check_checkpoint

        self.require_at_least(transitions=1, held_out=32, decoder_steps=0)
        require_logger(self.logger)
        if self.world_cls is not None:
            require_suiting_world(self.encoder_name, self.world or DEFAULT_WORLD)
        for checkpoint in self._checkpoints():
            check_checkpoint(checkpoint)
        reported = has_keys(self.report_dir / "training.json", "history", "commit")
        ours = {"tensorboard", *(("training.json", *FIGURES) if reported else ())}
        check_folder(self.report_dir, "training report", lambda path: path.name in ours)

    def _train(self, train_with_bar: TrainWithBar) -> dict[str, Any]:
        from ...envs.storage.artifacts import write_json
        from ...representations.learning.checkpoints import remove_checkpoint
        from ..benchmarks.trained_encoder import measure_trained

        transitions, held_out = self._load_or_collect()
        config = self.hyperparameters or suggest_config(self.encoder_name, self.world_cls)
        learner: Any = new_learner(transitions, config, seed=self.seed, device=self.device)
        if held_out is None:
            held_out = held_out_transitions(self.world or DEFAULT_WORLD, self.held_out, self.seed, self.device)
        encoder = learner.network
        require_measurable(encoder, held_out)
        loggers = make_loggers(self.logger, self.report_dir / "tensorboard", self.output_dir.name)
        report = train_with_bar(
            "Training the encoder",
            learner,
            transitions,
            seed=self.seed,
            checkpoint=self._checkpoint(),
            callbacks=loggers,
        )
        encoder.eval().data_fingerprint = transitions.fingerprint
        encoder.metrics = measure_trained(encoder, self.world_cls, held_out)
        used = self._use(encoder, held_out)
        encoder.save(self.output_dir)
        write_json(self.report_dir / "training.json", {**vars(report), **provenance()})
        decoder = self._train_decoder(encoder, transitions, train_with_bar)
        self._draw(encoder, decoder, held_out, used)
        for checkpoint in self._checkpoints():
            remove_checkpoint(checkpoint)
        return {
            **encoder.metrics,
            "seconds": report.seconds,
            "transitions_per_second": report.transitions / report.seconds,
            "folder": str(self.output_dir),
        }

    def _load_or_collect(self) -> tuple[Transitions, Transitions | None]:
        """Return the transitions to train on, and the held-out ones if they are part of the dataset.

        Raises:
            ValueError: the dataset is of another world, or too small.
        """
        from ...envs.data.minari_dataset import load_transitions

        if self.data is None:
            world = self.world or DEFAULT_WORLD
            return collect_transitions(world, self.transitions, self.seed, self.device), None
        if self.world_cls is not None:
            return load_data_of(self.world_cls, self.data), None
        return split_held_out(load_transitions(self.data), self.held_out)

    def _use(self, encoder: Any, held_out: Transitions) -> Any:
        """Add the metrics of the downstream use of the encoder, and return its result, if there is one."""
        from ...envs.worlds.orbit_world import OrbitWorld
        from ..benchmarks.encoder_runs import evaluate_downstream

        world_cls: Any = self.world_cls
        used = evaluate_downstream(encoder, world_cls, held_out) if _is_subclass(world_cls, OrbitWorld) else None
        if used:
            encoder.metrics |= used.metrics
        return used

    def _draw(self, encoder: Any, decoder: Any, held_out: Transitions, used: Any) -> None:
        """Draw the figures of an encoder of class and pose."""
        from ...agents.downstream.mapping import LocalisationResult
        from ...agents.downstream.planning import PlanningResult
        from ...envs.worlds.orbit_world import OrbitWorld
        from ...representations.encoders.class_pose_base import ClassPoseBase
        from ..reports.orbit_figures import draw_map, draw_orbits, draw_plans, draw_predictions

        world_cls: Any = self.world_cls
        if decoder is not None:
            draw_predictions(self.report_dir / "predictions.png", decoder, held_out)
        if isinstance(encoder, ClassPoseBase) and _is_subclass(world_cls, OrbitWorld):
            draw_orbits(self.report_dir / "orbits.png", world_cls, encoder.to("cpu"), held_out)
        if isinstance(used, LocalisationResult):
            draw_map(self.report_dir / "map.png", world_cls, used, held_out)
        if isinstance(used, PlanningResult):
            draw_plans(self.report_dir / "plans.png", used)

    def _train_decoder(self, encoder: Any, transitions: Transitions, train_with_bar: TrainWithBar) -> Any:
        """Return a visualisation decoder of an encoder of class and pose, on the CPU; None for other encoders."""
        import torch

        from ...representations.learning.config import OptimConfig
        from ...representations.learning.visualization_decoder import (
            VisualizationDecoder,
            VisualizationDecoderConfig,
            VisualizationDecoderLearner,
        )

        if not self._trains_decoder():
            return None
        torch.manual_seed(self.seed)
        config = VisualizationDecoderConfig(optim=OptimConfig(steps=self.decoder_steps))
        learner = VisualizationDecoderLearner(VisualizationDecoder(encoder, config), transitions)
        checkpoint = self._checkpoint("-decoder")
        train_with_bar(DECODER_TITLE, learner, transitions, seed=self.seed, checkpoint=checkpoint)
        return learner.network.eval().to("cpu")

    def _trains_decoder(self) -> bool:
        from ...representations.encoders.class_pose_base import ClassPoseBase
        from ...representations.encoders.registry import encoder_class

        return self.decoder_steps > 0 and issubclass(encoder_class(self.encoder_name), ClassPoseBase)

    def _checkpoint(self, suffix: str = "") -> Path:
        return self.output_dir.with_name(f"{self.output_dir.name}{suffix}.checkpoint")

    def _checkpoints(self) -> list[Path]:
        """Return the checkpoints that this run writes."""
        return [self._checkpoint(), *([self._checkpoint("-decoder")] if self._trains_decoder() else [])]


def _world_class(world: Any, data: Any) -> type[World] | None:
    """Return the class of a world; None for a dataset without one."""
    from ...envs.worlds.registry import world_class

    if world is None and data is not None:
        return None
    return world_class(DEFAULT_WORLD if world is None else str(world))


def _is_subclass(world_cls: type[World] | None, base: type[Any]) -> bool:
    return world_cls is not None and issubclass(world_cls, base)


def require_suiting_world(name: str, world: str) -> None:
    """Check that an encoder can learn in a world.

    Raises:
        ValueError: it cannot.
    """
    from ...envs.worlds.orbit_world import OrbitWorld
    from ...envs.worlds.registry import task_world_class, world_class
    from ...representations.encoders.class_pose_base import ClassPoseBase
    from ...representations.encoders.registry import encoder_class

    world_cls = world_class(world)
    if name == "agent-object":
        task_world_class(world)
    if issubclass(encoder_class(name), ClassPoseBase) and not issubclass(world_cls, OrbitWorld):
        raise ValueError(f"{world} has no classes and poses to encode; choose --encoder agent-object")
    if name == "class-pose" and issubclass(world_cls, OrbitWorld):
        world_cls.require_free()
    require_suiting(name, world_cls.group.name)
