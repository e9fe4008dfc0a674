"""What the commands have in common: options, and the steps of the main job with their progress bars."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from scripts.progress import bar

if TYPE_CHECKING:
    from envs.transitions import Transitions
    from representations.acted import PairLearner
    from representations.agent_object import AgentObjectEncoder, AgentObjectLearner
    from representations.training import Report

Device = Literal["auto", "cpu", "cuda"]

HELD_OUT_SEED = 500_000
"""Added to a seed for the data that encoders are measured on."""


@dataclass(frozen=True)
class Command:
    """Options that every command has."""

    resumes: ClassVar[bool] = False
    """Whether the same command goes on where it was stopped."""
    seed: int = 0
    """Seed of everything random."""
    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""
    json: bool = False
    """Print the result as JSON on standard output, for machines."""

    def run(self) -> dict[str, Any]:
        """Do it, and return what to print."""
        raise NotImplementedError


def collect_transitions(world: str, count: int, seed: int, device: str, what: str = "Collecting") -> Transitions:
    """Transitions of one of our worlds, with a progress bar."""
    with bar(f"{what} (compiles once)", count, "transitions") as update:
        return random_actions(world, count, seed, device, lambda done: update(done, description=what))


def random_actions(world: str, count: int, seed: int, device: str, progress: Callable[[int], None]) -> Transitions:
    """Transitions of one of our worlds."""
    import gymnasium as gym

    from envs import world_class
    from envs.collect import collect

    world_class(world)
    worlds = gym.make_vec(f"envs:equiact/{world}-v0", num_envs=64, device=device)
    return collect(worlds, count, seed, progress=progress)


def train_encoder(
    transitions: Transitions,
    *,
    seed: int,
    device: str,
    backbone: str = "spatial_softmax",
    elongated: bool = False,
    checkpoint: Path | None = None,
) -> tuple[AgentObjectEncoder, Report]:
    """An encoder trained on the transitions, with a progress bar; resumes from the checkpoint if there is one."""
    import torch

    from representations.agent_object import AgentObjectEncoder, AgentObjectLearner

    torch.manual_seed(seed)
    height, width, channels = transitions.frames.shape[1:]
    encoder = AgentObjectEncoder((height, width, channels), transitions.group, backbone, elongated)
    learner = AgentObjectLearner(encoder.to(resolve(device)), transitions)
    report = fit_with_bar("Training the encoder", learner, transitions, seed, checkpoint)
    return encoder.eval(), report


def fit_with_bar(
    what: str,
    learner: AgentObjectLearner | PairLearner[Any],
    transitions: Transitions,
    seed: int,
    checkpoint: Path | None = None,
) -> Report:
    """Run all stages of a learner, with a progress bar; resumes from the checkpoint if there is one."""
    from representations.training import fit

    stages = learner.stages()
    with bar(what, sum(stage.steps for stage in stages), "updates") as update:

        def show(stage: str, done: int, total: int, metrics: dict[str, float]) -> None:
            note = f"loss {metrics['loss']:.4f}" if metrics else None
            update(done, note=note, description=f"{what}: {stage}")

        data = transitions.fingerprint
        return fit(learner, stages, seed=seed, data=data, checkpoint=checkpoint, progress=show)


def resolve(device: str) -> str:
    """The torch device for ``auto``, ``cpu`` or ``cuda``.

    Raises:
        ValueError: ``cuda`` where there is none.
    """
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device 'cuda' was asked for, but torch finds no CUDA device; use 'cpu' or 'auto'")
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
