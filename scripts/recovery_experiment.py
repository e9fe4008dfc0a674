"""One seed of the recovery experiment: what it trains and plays, as jobs that keep what they have made."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.commands import HELD_OUT_SEED
from scripts.jobs import Show
from scripts.recovery_methods import (
    ABLATIONS,
    CLONED,
    DART_NOISE,
    ENCODERS,
    MAGNITUDES,
    METHODS,
    OFFLINE,
    OURS,
    RECOVERIES,
    SWEEP_PAIRS,
    Recovery,
    cell,
)
from scripts.runs import read_json, write_json

if TYPE_CHECKING:
    from agents.cloning import ClonedPolicy
    from agents.recovery import Policy, RecoveryPolicy
    from agents.trials import Trial
    from agents.trigger import Trigger
    from envs.perturbation import Perturbation
    from envs.task import TaskWorld
    from envs.transitions import Transitions
    from representations.density import SceneDensity
    from representations.encoder import Encoder
    from representations.training import Progress

CALIBRATION_EPISODES = 120
EXPLORATION = 12_000
"""Transitions that the encoders learn from."""
HOMING_EPISODES = 60
HOMING_DISTANCES = (0.1, 0.2)
"""Metres by which held-out states are displaced to see whether the gradient leads back."""


@dataclass(frozen=True)
class Seed:
    """Everything that one seed makes, kept in a folder.

    Attributes:
        task: ``"push"`` or ``"pick"``.
        seed: of everything random.
        folder: where it is kept.
        demonstrations: episodes of the expert.
        pairs: paired trials.
        magnitude: of the push, metres a step.
        onset: steps before it.
        onsets: of the pushes in the sweep.
        device: of the simulation.
        scale: factor on the updates of every network and on what encoders learn from.
    """

    task: str
    seed: int
    folder: Path
    demonstrations: int
    pairs: int
    magnitude: float
    onset: int
    onsets: tuple[int, ...]
    device: str
    scale: float = 1.0

    @property
    def world(self) -> type[TaskWorld]:
        from envs import task_class

        return task_class(self.task.capitalize())

    @property
    def push(self) -> Perturbation:
        from envs.perturbation import Perturbation

        return Perturbation(self.magnitude, onset=self.onset)

    def make(self, count: int) -> TaskWorld:
        """A batch of worlds."""
        return self.world(count, device=self.device)

    def started(self, count: int, offset: int) -> TaskWorld:
        """A batch of worlds at the start of episodes, which the seed and the offset fix."""
        import numpy as np

        world = self.make(count)
        world.reset(np.arange(count), np.random.default_rng(self.seed + offset).spawn(count))
        return world

    # What is learned from ---------------------------------------------------------------------------------------------

    def collect_demonstrations(self, show: Show) -> None:
        """Record the expert."""
        from envs.dataset import save_transitions

        save_transitions(self.demonstrate(self.demonstrations, show=show), self.folder / "demonstrations")

    def collect_exploration(self, show: Show) -> None:
        """Roam the workspace."""
        import gymnasium as gym

        from envs.collect import collect, roam
        from envs.dataset import save_transitions

        worlds = gym.make_vec(f"envs:equiact/{self.world.__name__}-v0", num_envs=64, device=self.device)
        count = round(self.scale * EXPLORATION)
        data = collect(
            worlds, count, self.seed, policy=roam(worlds), progress=lambda done: show(done, count, "transitions")
        )
        save_transitions(data, self.folder / "exploration")

    def demonstrate(
        self, count: int, *, offset: int = 0, noise: float = 0.0, show: Show = lambda *args, **options: None
    ) -> Transitions:
        """So many episodes of the expert."""
        from agents.demonstrations import demonstrate

        worlds = self.make(min(50, count))
        return demonstrate(
            worlds, count, self.seed + offset, noise=noise, progress=lambda done: show(done, count, "episodes")
        )

    def load(self, name: str) -> Transitions:
        """Demonstrations or exploration."""
        from envs.dataset import load_transitions

        return load_transitions(self.folder / name)

    # Networks ---------------------------------------------------------------------------------------------------------

    def train_policy(self, name: str, show: Show) -> None:
        """Clone the expert, with noise or without, or be corrected by it."""
        import torch

        from agents.baselines.dagger import dagger
        from agents.baselines.offline import OfflineLearner
        from agents.cloning import ClonedPolicy, Cloning

        torch.manual_seed(self.seed)
        kind = self.world
        policy = ClonedPolicy((64, 64, 3), kind.group.dim, kind.commands, kind.max_displacement)
        if name == "DAgger":
            labels = len(self.load("demonstrations"))
            dagger(
                policy,
                self.make(min(50, self.demonstrations)),
                labels,
                seed=self.seed,
                scale=self.scale,
                checkpoint=self._checkpoint(name),
                progress=lambda done, total: show(done, total, "updates"),
            )
        else:
            learner = OfflineLearner if name == OFFLINE else Cloning
            noise = DART_NOISE[self.task] if name == "DART" else 0.0
            data = self.demonstrate(self.demonstrations, noise=noise) if noise else self.load("demonstrations")
            self._fit(name, learner(policy, data, self.scale), data.fingerprint, show)
        policy.save(self.folder / name)
        for checkpoint in self.folder.glob(f"{self._checkpoint(name).name}*"):
            checkpoint.unlink()

    def train_encoder(self, name: str, show: Show) -> None:
        """Learn a latent of the agent from exploration."""
        import torch

        from representations.baselines.autoencoder import Autoencoder, AutoencoderLearner
        from representations.equivariant import EquivariantEncoder, EquivariantLearner

        data = self.load("exploration")
        torch.manual_seed(self.seed)
        encoder: Encoder
        learner: Any
        if name == "equivariant":
            encoder = EquivariantEncoder((64, 64, 3), data.group)
            learner = EquivariantLearner(encoder, data, self.scale)
        else:
            encoder = Autoencoder((64, 64, 3), data.group, variational=name == "VAE")
            learner = AutoencoderLearner(encoder, data, self.scale)
        self._fit(name, learner, data.fingerprint, show)
        encoder.save(self.folder / name)
        self._checkpoint(name).unlink()

    def fit_density(self, encoder: str, family: str, show: Show) -> None:
        """Fit a density to the demonstrations in an encoder's latent."""
        import torch

        from agents.demonstrations import states
        from representations.density import SceneDensity
        from representations.encoder import Encoder

        demonstrations, dim = self.load("demonstrations"), self.world.group.dim
        first, episode, commands = states(demonstrations, dim)
        latent = Encoder.load(self.folder / encoder).encode(demonstrations.frames)["agent"][demonstrations.start]
        torch.manual_seed(self.seed)
        density = SceneDensity((64, 64, 3), dim, commands.shape[1], family)
        density.fit_scenes(
            torch.from_numpy(latent),
            first,
            episode,
            commands,
            seed=self.seed,
            steps=max(1, round(self.scale * 3000)),
            progress=_shown(show),
        )
        density.eval().save(self.density_folder(encoder, family))

    def _fit(self, name: str, learner: Any, data: str, show: Show) -> None:
        from representations.training import fit

        checkpoint = self._checkpoint(name)
        fit(learner, learner.stages(), seed=self.seed, data=data, checkpoint=checkpoint, progress=_shown(show))

    def _checkpoint(self, name: str) -> Path:
        return self.folder / f"{name}.checkpoint"

    # Policies ---------------------------------------------------------------------------------------------------------

    def policy(self, name: str) -> Policy:
        """A policy to be tried."""
        return self.cloned(name) if name in CLONED else self.recovery(name)

    def cloned(self, name: str) -> ClonedPolicy:
        """A trained policy without recovery."""
        from agents.cloning import ClonedPolicy

        return ClonedPolicy.load(self.folder / name)

    def recovery(self, name: str, *, acts: bool = True) -> RecoveryPolicy:
        """A recovery policy, which acts or only watches; its trigger is calibrated once and kept."""
        from agents.trigger import Trigger
        from representations.encoder import Encoder

        wanted, kept = RECOVERIES[name], self.trigger_file(name)
        encoder = Encoder.load(self.folder / wanted.encoder)
        density = self.density(name)
        if not acts:
            return self._built(wanted, encoder, density, Trigger(-math.inf, 1.0))
        if not kept.exists():
            bounds = asdict(self._trigger(wanted, encoder, density))
            write_json(kept, {name: bound for name, bound in bounds.items() if math.isfinite(bound)})
        return self._built(wanted, encoder, density, Trigger(**read_json(kept)))

    def density(self, name: str) -> SceneDensity:
        """The density of a recovery policy."""
        from representations.density import SceneDensity

        wanted = RECOVERIES[name]
        return SceneDensity.load(self.density_folder(wanted.encoder, wanted.density))

    def trigger_file(self, name: str) -> Path:
        """Where the trigger of a recovery policy is."""
        return self.folder / "triggers" / f"{name}.json"

    def density_folder(self, encoder: str, family: str) -> Path:
        """Where the density of this family in an encoder's latent is."""
        return self.folder / "densities" / f"{encoder}, {family}"

    def _built(self, wanted: Recovery, encoder: Encoder, density: SceneDensity, trigger: Trigger) -> RecoveryPolicy:
        from agents.baselines.latent import latent_to_action
        from agents.recovery import RecoveryPolicy

        kind, options = self.world, dict[str, Any]()
        if wanted.encoder != "equivariant":
            options["to_action"] = latent_to_action(encoder, self.load("exploration"))
        return RecoveryPolicy(
            self.cloned(wanted.base),
            encoder,
            density,
            trigger,
            step=kind.max_displacement,
            commands=kind.commands,
            restart=wanted.restart,
            climb=wanted.climb,
            **options,
        )

    def _trigger(self, wanted: Recovery, encoder: Encoder, density: SceneDensity) -> Trigger:
        """Calibrated on clean episodes of the base in which it succeeded, or on held-out demonstrations."""
        import numpy as np
        import torch

        from agents.demonstrations import states
        from agents.trials import calibrate_by_playing
        from agents.trigger import Trigger, calibrate

        if wanted.calibration == "demonstrations":
            held_out = self.demonstrate(CALIBRATION_EPISODES, offset=4 * HELD_OUT_SEED)
            first, episode, commands = states(held_out, self.world.group.dim)
            latent = torch.from_numpy(encoder.encode(held_out.frames)["agent"][held_out.start])
            value, _ = density.score(latent, density.context_of(density.scene_of(first)[episode], commands))
            return calibrate([value.numpy()[episode == index] for index in range(len(first))])
        watching = self._built(replace(wanted, climb=False), encoder, density, Trigger(-np.inf, 1.0))
        world = self.started(CALIBRATION_EPISODES, 2 * HELD_OUT_SEED)
        return calibrate_by_playing(world, world.save(), watching, wanted.alarms)

    def measure(self, show: Show) -> None:
        """How far the encoder errs, and whether the densities' gradients lead home, on held-out demonstrations."""
        import numpy as np

        from agents.demonstrations import states
        from representations.encoder import Encoder
        from representations.homing import displaced, homing_cosine

        held_out, kind = self.demonstrate(HOMING_EPISODES, offset=3 * HELD_OUT_SEED), self.world
        first, episode, commands = states(held_out, kind.group.dim)
        latent = Encoder.load(self.folder / "equivariant").encode(held_out.observations)["agent"]
        true = held_out.truth["agent_pose"][held_out.start]
        shift = (latent - true).mean(0)
        figures = {"encoder_rmse_m": float(np.sqrt(np.square(latent - true - shift).sum(1).mean()))}
        for distance in HOMING_DISTANCES:
            away = displaced(latent, distance, kind.reach + shift, np.random.default_rng(self.seed))
            for name in (OURS, "recovery as published"):
                cosine = homing_cosine(self.density(name), latent, away, first, episode, commands)
                figures[f"{name}: cosine_{round(100 * distance)}cm"] = cosine
        write_json(self.folder / "measures.json", figures)

    # Trials -----------------------------------------------------------------------------------------------------------

    def conditions(self, name: str, sweep: bool) -> dict[str, tuple[int, Perturbation | None]]:
        """What happens in a policy's trials: their names, how many pairs, and the push."""
        from envs.perturbation import Perturbation

        if not sweep:
            pairs = min(self.pairs, SWEEP_PAIRS) if name in ABLATIONS else self.pairs
            return {"clean": (pairs, None), "pushed": (pairs, self.push)}
        return {
            cell(magnitude, onset): (min(self.pairs, SWEEP_PAIRS), Perturbation(magnitude, onset=onset))
            for onset in self.onsets
            for magnitude in MAGNITUDES
        }

    def play(self, name: str, sweep: bool, show: Show) -> None:
        """Play one policy's trials, of the main comparison or of the sweep, and keep their outcomes."""
        import numpy as np

        from agents.trials import run

        policy, kind = self.policy(name), self.world
        conditions = self.conditions(name, sweep)
        outcomes: dict[str, Any] = {}
        for index, (condition, (pairs, push)) in enumerate(conditions.items()):

            def on_step(step: int, index: int = index, condition: str = condition) -> None:
                done, total = index * kind.episode_steps + step, len(conditions) * kind.episode_steps
                show(done, total, "steps", condition)

            world = self.started(pairs, HELD_OUT_SEED)
            trial = run(world, world.save(), policy, push, seed=self.seed, on_step=on_step)
            outcomes |= {f"{condition}/{key}": value for key, value in _outcome(trial).items()}
        path = self.trials_file(name, sweep)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}")
        with beside.open("wb") as file:
            np.savez(file, **outcomes)
        beside.replace(path)

    def trials_file(self, name: str, sweep: bool = False) -> Path:
        """Where the outcomes of a policy's trials are."""
        return self.folder / ("sweep" if sweep else "trials") / f"{name}.npz"

    def outcomes(self, name: str, sweep: bool = False) -> dict[str, Any]:
        """What `play` kept: ``"condition/quantity"`` to arrays over pairs."""
        import numpy as np

        with np.load(self.trials_file(name, sweep), allow_pickle=False) as file:
            return {key: file[key] for key in file.files}


@dataclass(frozen=True)
class SeedJob:
    """Something that a seed makes, if its file is not there yet."""

    title: str
    work: Callable[..., None]
    arguments: tuple[Any, ...]
    makes: Path

    def run(self, show: Show) -> None:
        self.work(*self.arguments, show)


def jobs(seed: Seed, *, sweep: bool, ablations: bool) -> list[list[SeedJob]]:
    """All that a seed is to make, in stages that build on those before."""
    names = [*CLONED, *METHODS]
    recoveries = (RECOVERIES if ablations else METHODS).values()

    def job(what: str, work: Callable[..., None], makes: Path, *arguments: Any) -> SeedJob:
        return SeedJob(f"{seed.task} {seed.seed}: {what}", work, arguments, makes)

    def played(name: str, sweep: bool) -> SeedJob:
        what = f"play {name}{', sweep' if sweep else ''}"
        return job(what, seed.play, seed.trials_file(name, sweep), name, sweep)

    return [
        [
            job("demonstrations", seed.collect_demonstrations, seed.folder / "demonstrations"),
            job("exploration", seed.collect_exploration, seed.folder / "exploration"),
        ],
        [job(f"train {name}", seed.train_policy, seed.folder / name, name) for name in CLONED]
        + [job(f"train {name} encoder", seed.train_encoder, seed.folder / name, name) for name in ENCODERS],
        [
            job(f"fit {family} in {encoder}", seed.fit_density, seed.density_folder(encoder, family), encoder, family)
            for encoder, family in dict.fromkeys((each.encoder, each.density) for each in recoveries)
        ],
        [played(name, False) for name in names],
        [job("measure", seed.measure, seed.folder / "measures.json")],
        [played(name, True) for name in names] if sweep else [],
        [played(name, False) for name in ABLATIONS] if ablations else [],
    ]


def _outcome(trial: Trial) -> dict[str, Any]:
    keys = ("success", "length", "receipt", "triggered", "recovery_steps")
    return {key: getattr(trial, key) for key in keys}


def _shown(show: Show) -> Progress:
    """What training calls, as what a job shows."""

    def progress(stage: str, done: int, total: int, metrics: dict[str, float]) -> None:
        show(done, total, "updates", f"loss {metrics['loss']:.3f}" if metrics else "")

    return progress
