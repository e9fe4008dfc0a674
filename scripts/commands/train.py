"""The command ``equiact train``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import tyro

from ..benchmarks.encoder_methods import suggest_config
from ..benchmarks.run_folder import has_keys
from ..collect_and_train import (
    DECODER_TITLE,
    LoggerName,
    collect_transitions,
    held_out_transitions,
    make_loggers,
    new_learner,
    require_logger,
    train_decoder_with_bar,
    train_with_bar,
)
from ..experiments.provenance import provenance
from ..held_out_measurement import HeldOutMeasurement, measure_after_training
from ..training_data import (
    DataSource,
    load_data_of,
    require_learnable,
    require_measurable,
    require_suiting_world,
    split_held_out,
)
from .command import Command
from .config_options import preview, read_yaml, with_defaults
from .data_options import DataOptions
from .encoder_choice import DEFAULT_WORLD, default_encoder, default_world_class, report_slow_backbone
from .registry import register_command

if TYPE_CHECKING:
    from ...envs.data.transitions import Transitions
    from ...envs.worlds.world import World
    from ...representations.learning.callbacks import TrainingReport

__all__ = ["DECODER_TITLE", "Train"]

TrainWithBar = Callable[..., "TrainingReport"]
"""Has the signature of `collect_and_train.train_with_bar`."""


@register_command("train")
@dataclass(frozen=True)
class Train(DataOptions, Command):
    """Train an encoder on a data set or on transitions of a world, and measure it on held-out transitions.

    Writes the encoder to the output folder, and the training report to a folder beside it, named OUTPUT_DIR-report. Run
    the same command again to resume.

    With --data and without --world, whole episodes of the data set are held out. The encoder is measured on them
    without ground truth: error of predicted latents, hits, contacts, coverage; and with the ground truth that the data
    set has. The report is a page, report.html, with figures. With --world the encoder is measured in that world.

    The options after --logger are the hyper-parameters of the encoder. They depend on --encoder and --world:
    `equiact train --encoder class-pose --world Chairs --help` shows those of the class-pose encoder.
    """

    resumes = True
    config: Path | None = None
    """YAML file with values of options: `encoder: class-pose`, hyper-parameters such as `optim: {lr: 1e-3}`, and
    options of this command such as `world: Chairs`. Options on the command line take precedence."""
    encoder: str | None = None
    """Name of the encoder; by default the one that suits the world, or the group of the data set."""
    data: Path | None = None
    """Data set to train on: of equiact, Minari, LeRobot or robomimic, or arrays of NumPy."""
    ground_truth: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Column of data of others to measure with, NAME=COLUMN, such as agent_pose=observation.state; may be repeated."""
    held_out_share: float = 0.2
    """Share of the transitions of a data set that is held out, in whole episodes."""
    world: str | None = None
    """Name of the world to collect transitions from, and to measure the encoder in; Soccer if there is no data set."""
    transitions: int = 20_000
    """Number of transitions to collect if there is no data set."""
    held_out: int | None = None
    """Number of held-out transitions to collect in the world; 4000 by default."""
    output_dir: Path = Path("runs/encoder")
    """Folder of the encoder; an encoder that is there is replaced."""
    decoder_steps: int = 4000
    """Number of updates of the decoder that draws predicted images, for encoders of class and pose; 0 for no images."""
    steps_scale: float = 1.0
    """Factor of all numbers of updates, such as 0.1 for a short run; the saved configuration has the scaled numbers."""
    logger: LoggerName = "none"
    """Where to log the losses: TensorBoard files in the report folder, Weights & Biases, or trackio."""
    hyperparameters: tyro.conf.Suppress[Any] = None
    """Configuration of the encoder; the one suggested for the world if None."""

    @classmethod
    def for_arguments(cls, arguments: Sequence[str]) -> type[Self]:
        given = preview(arguments, "config", "encoder", "world", "data", "group")
        values = {} if given["config"] is None else read_yaml(given["config"])
        chosen = {**values, **{name: value for name, value in given.items() if value is not None}}
        world_cls = default_world_class(chosen.get("world"), chosen.get("data"))
        encoder = chosen.get("encoder") or default_encoder(world_cls, chosen.get("data"), chosen.get("group"))
        return with_defaults(
            cls,
            {**values, "encoder": str(encoder)},
            config=suggest_config(str(encoder), world_cls),
            source=given["config"] or "the command line",
        )

    @property
    def world_cls(self) -> type[World] | None:
        """Class of the world; None for a data set without one."""
        return default_world_class(self.world, self.data)

    @property
    def encoder_name(self) -> str:
        """Name of the encoder."""
        return self.encoder or default_encoder(self.world_cls, self.data, self.group)

    @property
    def report_dir(self) -> Path:
        """Folder of the training report and the figures."""
        return self.output_dir.with_name(f"{self.output_dir.name}-report")

    @property
    def source(self) -> DataSource | None:
        """The data set and how it is read; None without one."""
        return None if self.data is None else self.source_of(self.data, self.ground_truth)

    def run(self, train_with_bar: TrainWithBar = train_with_bar) -> dict[str, Any]:
        from ...envs.storage.artifacts import folder_lock

        folder = self.check_output("output_dir", "encoder")
        self._check()
        with folder_lock(folder):
            return self._train(train_with_bar)

    def _check(self) -> None:
        """Check the options and the places that are written to.

        Raises:
            ValueError: a number is out of range, the encoder cannot learn in the world, or things of others are there.
            ImportError: the logger is not installed.
        """
        from ...envs.data.episode_split import EpisodeSplitConfig
        from ...representations.learning.checkpoints import check_checkpoint

        self.require_at_least(transitions=1, held_out=32, decoder_steps=0)
        if not 0 < self.steps_scale < math.inf:
            raise ValueError(f"expected --steps-scale above 0, such as 0.1, got {self.steps_scale:g}")
        EpisodeSplitConfig(self.held_out_share)
        require_logger(self.logger)
        if self.world_cls is not None:
            require_suiting_world(self.encoder_name, self.world or DEFAULT_WORLD)
        elif self.held_out is not None:
            raise ValueError("--held-out counts transitions of a world; give --held-out-share with --data, or --world")
        for checkpoint in self._checkpoints():
            check_checkpoint(checkpoint)
        self._check_report_dir()

    def _check_report_dir(self) -> None:
        from ...envs.storage.output_paths import check_folder
        from ..reports.encoder_report import FILES
        from ..reports.figure_registry import all_figures

        figures = [f"{figure.name}.png" for figure in all_figures()]
        reported = has_keys(self.report_dir / "training.json", "history", "commit")
        ours = {"tensorboard", *(("training.json", *FILES, *figures) if reported else ())}
        check_folder(self.report_dir, "training report", lambda path: path.name in ours)

    def _train(self, train_with_bar: TrainWithBar) -> dict[str, Any]:
        from ...envs.storage.artifacts import write_json
        from ...representations.learning.checkpoints import remove_checkpoint

        transitions, held_out, about = self._load_or_collect()
        config = self._scaled_config()
        if self.data is not None:
            require_learnable(self.encoder_name, config, transitions, f"--data {self.data}")
        report_slow_backbone(config, self.device)
        learner: Any = new_learner(transitions, config, seed=self.seed, device=self.device)
        held_out = held_out or self._collect_held_out(learner.network)
        loggers = make_loggers(self.logger, self.report_dir / "tensorboard", self.output_dir.name)
        report = train_with_bar(
            "Training the encoder",
            learner,
            transitions,
            seed=self.seed,
            checkpoint=self._checkpoint(),
            callbacks=loggers,
        )
        encoder = learner.network.eval()
        encoder.data_fingerprint = transitions.fingerprint
        encoder.save(self.output_dir)  # before it is measured: whatever fails then, the training is not lost
        training = {**vars(report), **provenance()}
        write_json(self.report_dir / "training.json", training)
        measured, used = measure_after_training(encoder, self.world_cls, transitions, held_out, about)
        encoder.save(self.output_dir)
        decoder = self._train_decoder(encoder, transitions, train_with_bar)
        self._draw(encoder.to("cpu"), decoder, held_out, used, training, measured)
        for checkpoint in self._checkpoints():
            remove_checkpoint(checkpoint)
        return {
            **encoder.metrics,
            **({"not_measured": measured.missing} if measured.missing else {}),
            **({"warnings": measured.warnings} if measured.warnings else {}),
            "measured_on": encoder.measured_on["source"],
            "seconds": report.seconds,
            "transitions_per_second": report.transitions / report.seconds,
            "folder": str(self.output_dir),
        }

    def _load_or_collect(self) -> tuple[Transitions, Transitions | None, dict[str, Any]]:
        """Return the transitions to train on; the held-out ones if they are part of the data set, and what these are.

        Raises:
            ValueError: the data set cannot be read, is of another world, or too small.
        """
        if self.source is None:
            world = self.world or DEFAULT_WORLD
            transitions = collect_transitions(
                world,
                self.transitions,
                self.seed,
                self.device,
                beside=self.output_dir,
                encoder=self._scaled_config(),
            )
            return transitions, None, {"world": world}
        if self.world_cls is not None:
            return load_data_of(self.world_cls, self.source), None, {"world": self.world, **self.record}
        whole = self.source.load()
        split = split_held_out(whole, self.held_out_share)
        about = {"data": self.source.path.name, "dataset_fingerprint": whole.fingerprint, **self.record}
        return split.training, split.held_out, {**about, "held_out_share": self.held_out_share}

    def _scaled_config(self) -> Any:
        """Return the configuration of the encoder, with scaled numbers of updates."""
        from ...representations.learning.config import scale_steps

        config = self.hyperparameters or suggest_config(self.encoder_name, self.world_cls)
        return config if self.steps_scale == 1 else scale_steps(config, self.steps_scale)

    def _collect_held_out(self, encoder: Any) -> Transitions:
        """Collect held-out transitions of the world, and check that the encoder can be measured on them."""
        world = self.world or DEFAULT_WORLD
        held_out = held_out_transitions(world, self.held_out or 4000, self.seed, self.device)
        require_measurable(encoder, held_out)
        return held_out

    def _draw(
        self,
        encoder: Any,
        decoder: Any,
        held_out: Transitions,
        used: Any,
        training: dict[str, Any],
        measured: HeldOutMeasurement,
    ) -> None:
        """Draw the figures of the encoder's class; for a data set a whole report."""
        from ..reports.encoder_report import EncoderReport, write_encoder_report
        from ..reports.figure_registry import FigureInputs, draw_figures

        inputs = FigureInputs(encoder, held_out, self.world_cls, decoder, used)
        if self.world_cls is not None or self.data is None:
            draw_figures(self.report_dir, inputs)
            return
        history, name = training["history"], self.data.name
        report = EncoderReport(
            inputs, name, history, encoder.metrics, measured.missing, measured.warnings, provenance=training
        )
        write_encoder_report(self.report_dir, report)

    def _train_decoder(self, encoder: Any, transitions: Transitions, train_with_bar: TrainWithBar) -> Any:
        """Return a visualisation decoder of an encoder of class and pose; None for other encoders."""
        if not self._trains_decoder():
            return None
        checkpoint, steps = self._checkpoint("-decoder"), max(1, round(self.steps_scale * self.decoder_steps))
        return train_decoder_with_bar(
            encoder, transitions, train_with_bar, steps=steps, seed=self.seed, checkpoint=checkpoint
        )

    def _trains_decoder(self) -> bool:
        from ...representations.encoders.class_pose_base import ClassPoseBase
        from ...representations.encoders.registry import encoder_class

        return self.decoder_steps > 0 and issubclass(encoder_class(self.encoder_name), ClassPoseBase)

    def _checkpoint(self, suffix: str = "") -> Path:
        return self.output_dir.with_name(f"{self.output_dir.name}{suffix}.checkpoint")

    def _checkpoints(self) -> list[Path]:
        """Return the checkpoints that this run writes."""
        return [self._checkpoint(), *([self._checkpoint("-decoder")] if self._trains_decoder() else [])]
