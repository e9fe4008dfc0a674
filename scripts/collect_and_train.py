"""Steps that several commands and benchmarks share: collect data, train an encoder, show the progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .progress import ProgressCallback, console, progress_bar

if TYPE_CHECKING:
    from ..agents.exploration.approach_policy import Env
    from ..agents.exploration.learned_exploration import Exploration, ExplorationConfig
    from ..envs.data.transitions import Transitions
    from ..envs.worlds.world import World
    from ..representations.encoders.encoder import Encoder
    from ..representations.learning.callbacks import TrainingCallback, TrainingReport
    from ..representations.learning.learner import Learner
    from ..representations.metrics.registry import HeldOut
    from .experiments.jobs import JobProgress

LoggerName = Literal["none", "tensorboard", "wandb", "trackio"]

DECODER_TITLE = "Training a visualisation decoder"
"""Name of the training of a visualisation decoder in the display."""
HELD_OUT_SEED = 500_000
"""Added to a seed for held-out data."""


def collect_transitions(
    world: str, count: int, seed: int, device: str, *, beside: Path, encoder: Any = None
) -> Transitions:
    """Collect transitions to train on, and show the progress; with learned exploration if the encoder needs contacts.

    Args:
        world: name of the world.
        count: number of transitions.
        seed: seed of the initial states, the actions and the encoders between the rounds.
        device: device of the simulator and the encoders.
        beside: folder of the result; finished rounds of exploration, from which an interrupted one goes on, lie beside.
        encoder: configuration of the encoder that is to be trained; actions are random if it is of another kind than
            agent-object.
    """
    from ..agents.exploration.learned_exploration import ExplorationConfig
    from ..representations.encoders.agent_object import AgentObjectConfig
    from ..representations.learning.config import to_dict

    if has_object(world) and isinstance(encoder, AgentObjectConfig):
        options = {"world": world, "transitions": count, "seed": seed, "encoder": to_dict(encoder)}
        rounds, config = rounds_folder(beside, options), ExplorationConfig(encoder=encoder)
        return explore_world(world, count, seed, device, rounds, config).transitions
    return collect_at_random(world, count, seed, device)


def collect_at_random(world: str, count: int, seed: int, device: str) -> Transitions:
    """Collect transitions with random actions, and show the progress; see `sample_transitions`."""
    with progress_bar("Collecting (compiles once)", count, "transitions") as update:
        return sample_transitions(world, count, seed, device, lambda done: update(done, description="Collecting"))


def explore_world(
    world: str, count: int, seed: int, device: str, work_dir: Path, config: ExplorationConfig
) -> Exploration:
    """Explore 64 copies of a world with an object, and show the progress; see `explore_with_bar`."""
    import gymnasium as gym

    worlds = gym.make_vec(f"equiact/{world}-v0", num_envs=64, device=device)
    return explore_with_bar(worlds, count, seed, device=device, work_dir=work_dir, config=config)


def rounds_folder(beside: Path, options: Mapping[str, Any]) -> Path:
    """Return the folder for finished rounds of an exploration with these options, beside that of its result."""
    from .experiments.provenance import content_key

    return beside.with_name(f"{beside.name}.rounds-{content_key(options)}")


def explore_with_bar(
    env: Env, count: int, seed: int, *, device: str, work_dir: Path | None, **options: Any
) -> Exploration:
    """Explore an environment by itself, show the progress, the share of contacts in every round, and any doubt.

    Args:
        env: the environment.
        count: number of transitions.
        seed: seed of the environment, the actions and the encoders.
        device: device of the encoders.
        work_dir: folder for finished rounds, from which an interrupted exploration goes on.
        options: where displacements and images are, and the configuration, as for `explore`.
    """
    from ..agents.exploration.learned_exploration import explore

    with progress_bar("Exploring (compiles once)", count, "transitions") as update:
        collected = 0

        def show_collected(done: int) -> None:
            nonlocal collected
            collected = done
            update(done, description="Exploring", note="")

        def show_training(done: int, total: int, stage: str, note: str) -> None:
            update(collected, description="Exploring", note=f"learning, {stage}, {100 * done // total} %")

        callbacks = [ProgressCallback(show_training)]
        found = explore(
            env,
            count,
            seed,
            device=device,
            work_dir=work_dir,
            progress=show_collected,
            callbacks=callbacks,
            **options,
        )
        shares = [f"{100 * each.contact_share:.0f} %" for each in found.rounds if each.contact_share is not None]
        update(count, note=f"contacts by round: {', '.join(shares) or 'not known'}")
    if found.doubt:
        console.print(found.doubt, markup=False)
    return found


def has_object(world: str) -> bool:
    """Return whether a world has an object that the agent touches."""
    from ..envs.worlds.registry import world_class
    from ..envs.worlds.task_world import TaskWorld

    return issubclass(world_class(world), TaskWorld)


def sample_transitions(world: str, count: int, seed: int, device: str, progress: Callable[[int], None]) -> Transitions:
    """Collect transitions with random actions in 64 copies of a world.

    Args:
        world: name of the world.
        count: number of transitions.
        seed: seed of the initial states and the actions.
        device: device of the simulator.
        progress: called with the number of transitions so far.
    """
    import gymnasium as gym

    from ..envs.data.collect import collect
    from ..envs.worlds.registry import world_class

    world_class(world)
    worlds = gym.make_vec(f"equiact/{world}-v0", num_envs=64, device=device)
    return collect(worlds, count, seed, progress=progress)


def sample_held_out(world: str, count: int, seed: int, device: str, progress: Callable[[int], None]) -> Transitions:
    """Collect transitions to measure on; the arguments are those of `sample_transitions`.

    Where there is an object, a scripted policy reads its ground truth to touch it often, so that contacts are measured
    as well as the rest. Nothing is trained on them.
    """
    import gymnasium as gym

    from ..envs.data.collect import collect
    from ..envs.data.exploration import ObjectExploration

    if not has_object(world):
        return sample_transitions(world, count, seed + HELD_OUT_SEED, device, progress)
    worlds = gym.make_vec(f"equiact/{world}-v0", num_envs=64, device=device)
    return collect(worlds, count, seed + HELD_OUT_SEED, policy=ObjectExploration(worlds), progress=progress)


def held_out_transitions(world: str, count: int, seed: int, device: str) -> Transitions:
    """Collect transitions to measure on, and show the progress; see `sample_held_out`."""
    with progress_bar("Held-out data (compiles once)", count, "transitions") as update:
        return sample_held_out(world, count, seed, device, lambda done: update(done, description="Held-out data"))


def require_world_fits(fitted: Any, world_cls: type[World], source: str = "--encoder") -> None:
    """Check that a world has the group and the image shape of an encoder or of transitions, before it is simulated.

    Args:
        fitted: an encoder or transitions.
        world_cls: the world.
        source: option that names the encoder or the transitions, for messages.

    Raises:
        ValueError: it has another group or shape.
    """
    shape = tuple(fitted.frames.shape[1:] if hasattr(fitted, "frames") else fitted.shape)
    expected = (world_cls.group.name, (64, 64, 3))
    if (fitted.group, shape) != expected:
        raise ValueError(
            f"expected {source} with the group {expected[0]} and images {expected[1]} of {world_cls.__name__}, "
            f"got {fitted.group} and {shape}; check {source} and --world"
        )


def held_out_of(world_cls: type[World] | None, transitions: Transitions) -> HeldOut:
    """Return held-out transitions with the stabilizers and names of the classes of a world, if there is one."""
    from ..envs.worlds.orbit_world import OrbitWorld
    from ..representations.metrics.registry import HeldOut

    if world_cls is None or not issubclass(world_cls, OrbitWorld):
        return HeldOut(transitions)
    stabilizers = [world_cls.stabilizer(index) for index in range(len(world_cls.orbits))]
    return HeldOut(transitions, stabilizers, world_cls.orbits)


def new_learner(transitions: Transitions, config: Any, *, seed: int, device: str) -> Learner:
    """Return the learner of a new encoder, whose weights the seed determines.

    Args:
        transitions: frames and displacements; the ground truth is not read.
        config: configuration of an encoder.
        seed: seed of the weights.
        device: ``"cpu"``, ``"cuda"`` or ``"auto"``.

    Raises:
        ValueError: the encoder cannot be trained on these transitions.
    """
    import torch

    from ..representations.encoders.registry import make_encoder, make_learner
    from ..representations.learning.training import resolve_device

    height, width, channels = transitions.frames.shape[1:]
    torch.manual_seed(seed)
    encoder = make_encoder(config, (height, width, channels), transitions.group).to(resolve_device(device))
    return make_learner(encoder, transitions)


def train_with_bar(
    title: str,
    learner: Learner,
    transitions: Transitions,
    *,
    seed: int,
    checkpoint: Path | None = None,
    callbacks: Iterable[TrainingCallback] = (),
) -> TrainingReport:
    """Train a learner, and show the progress.

    Args:
        title: name of the task in the display.
        learner: what to train.
        transitions: the data, which a checkpoint must match.
        seed: seed of the batches.
        checkpoint: file to resume from if it exists.
        callbacks: receive reports, too.
    """
    from ..representations.learning.training import train_learner

    total = sum(stage.steps for stage in learner.stages())
    with progress_bar(title, total, "updates") as update:

        def show(done: int, total: int, stage: str, note: str) -> None:
            update(done, note=note, description=f"{title}: {stage}")

        shown = [ProgressCallback(show), *callbacks]
        fingerprint = transitions.fingerprint
        return train_learner(learner, seed=seed, data_fingerprint=fingerprint, checkpoint=checkpoint, callbacks=shown)


def train_encoder_with_bar(
    transitions: Transitions,
    config: Any,
    *,
    seed: int,
    device: str,
    checkpoint: Path | None = None,
    callbacks: Iterable[TrainingCallback] = (),
) -> tuple[Any, TrainingReport]:
    """Train a new encoder, and show the progress; resume from the checkpoint if it exists.

    Returns:
        The encoder, in evaluation mode, and the report.
    """
    learner: Any = new_learner(transitions, config, seed=seed, device=device)
    report = train_with_bar(
        "Training the encoder", learner, transitions, seed=seed, checkpoint=checkpoint, callbacks=callbacks
    )
    encoder: Encoder = learner.network
    encoder.data_fingerprint = transitions.fingerprint
    return encoder.eval(), report


def train_for_job(
    transitions: Transitions, config: Any, *, seed: int, device: str, checkpoint: Path, show: JobProgress
) -> tuple[Any, TrainingReport]:
    """Train a new encoder in a job, which shows the progress; resume from the checkpoint if it exists.

    Returns:
        The encoder, in evaluation mode, and the report.
    """
    from ..representations.learning.training import train_learner

    learner: Any = new_learner(transitions, config, seed=seed, device=device)
    callback = ProgressCallback(lambda done, total, stage, note: show(done, total, "updates", note))
    fingerprint = transitions.fingerprint
    report = train_learner(
        learner, seed=seed, data_fingerprint=fingerprint, checkpoint=checkpoint, callbacks=[callback]
    )
    learner.network.data_fingerprint = fingerprint
    return learner.network.eval(), report


def train_decoder_with_bar(
    encoder: Any,
    transitions: Transitions,
    train_with_bar: Callable[..., TrainingReport],
    *,
    steps: int,
    seed: int,
    checkpoint: Path,
) -> Any:
    """Train a visualisation decoder of an encoder of class and pose, and show the progress.

    Args:
        encoder: the encoder, which is frozen.
        transitions: the data.
        train_with_bar: trains a learner, with the signature of the function of this name.
        steps: number of updates.
        seed: seed of the weights and the batches.
        checkpoint: file to resume from if it exists.

    Returns:
        The decoder, in evaluation mode, on the CPU.
    """
    import torch

    from ..representations.learning.config import OptimConfig
    from ..representations.learning.visualization_decoder import (
        VisualizationDecoder,
        VisualizationDecoderConfig,
        VisualizationDecoderLearner,
    )

    torch.manual_seed(seed)
    config = VisualizationDecoderConfig(optim=OptimConfig(steps=steps))
    learner = VisualizationDecoderLearner(VisualizationDecoder(encoder, config), transitions)
    train_with_bar(DECODER_TITLE, learner, transitions, seed=seed, checkpoint=checkpoint)
    return learner.network.eval().to("cpu")


def require_logger(name: LoggerName) -> None:
    """Check that the package of a logger is installed, before the work begins.

    Raises:
        ImportError: it is not.
    """
    if name != "none" and find_spec(name) is None:
        raise ImportError(f"--logger {name} needs the package {name}; run pip install 'equiact[{name}]'")


def make_loggers(name: LoggerName, folder: Path, run: str) -> list[TrainingCallback]:
    """Return the callbacks that log training.

    Args:
        name: the logger.
        folder: folder of the TensorBoard files.
        run: name of the run in Weights & Biases and trackio.

    Raises:
        ImportError: the package of the logger is not installed.
    """
    from ..representations.learning import callbacks

    if name == "tensorboard":
        return [callbacks.TensorBoardLogger(folder)]
    if name == "wandb":
        return [callbacks.WandbLogger("equiact", name=run)]
    if name == "trackio":
        return [callbacks.TrackioLogger("equiact", name=run)]
    return []
