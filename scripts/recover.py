"""`equiact recover`: policies that find their way back, in paired trials against those that do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from scripts.commands import HELD_OUT_SEED, Command
from scripts.progress import bar, console
from scripts.runs import FIRST_SEED, commit, over_seeds, read_json, write_json

if TYPE_CHECKING:
    from agents.cloning import ClonedPolicy
    from agents.recovery import Policy, RecoveryPolicy
    from agents.trials import Trial
    from envs.perturbation import Perturbation
    from envs.transitions import Transitions
    from envs.world import World
    from representations.density import Density
    from representations.equivariant import EquivariantEncoder
    from representations.training import Progress

CALIBRATION_EPISODES = 200
DART_NOISE = 0.01
"""Metres, of what is added to the expert's displacements in noise-injected demonstrations."""


@dataclass(frozen=True)
class Recover(Command):
    """Clone an expert, push the arm in mid-episode, and count who still succeeds. Stopped, it goes on at the next seed.

    Writes `summary.json` in the folder of the run and, unless it is quick, results/recovery_<task>.json.
    """

    task: Literal["push", "pick"] = "push"
    """Push a puck onto a goal, or pick a peg up and place it there."""
    quick: bool = False
    """50 pairs and one seed instead of 200 pairs and five seeds."""
    demonstrations: int = 500
    """Episodes of the expert to learn from."""
    magnitude: float = 0.04
    """Metres a step by which the arm is dragged, 35 steps long in a random direction, before it idles for 10."""
    onset: int = 4
    """Steps before the drag begins."""
    out: Path = Path("runs/recover")
    """Folder of everything that is made."""
    results: Path = Path("results")
    """Folder of the result files of the full experiment."""

    def run(self) -> dict[str, Any]:
        seeds = [self.seed] if self.quick else [FIRST_SEED + index for index in range(5)]
        rows = [self._cached(seed) for seed in seeds]
        result = over_seeds(rows, seeds)
        folder = self.out / self.task
        summary = {label: figure["mean"] for label, figure in result["figures"].items()}
        write_json(folder / "summary.json", {**summary, **{k: v for k, v in result.items() if k != "figures"}})
        if not self.quick:
            write_json(self.results / f"recovery_{self.task}.json", result)
        console.print(f"\nEverything is in [bold]{folder}[/bold]")
        return summary

    def _cached(self, seed: int) -> dict[str, Any]:
        settings = [self.demonstrations, self.magnitude, self.onset, 50 if self.quick else 200]
        path = self.out / self.task / f"seed-{seed}" / "figures.json"
        if path.exists() and read_json(path)["settings"] != settings:
            raise ValueError(
                f"{path} was measured with {read_json(path)['settings']}, now {settings} is asked for "
                "(demonstrations, magnitude, onset, pairs); choose another --out or remove it"
            )
        if not path.exists():
            figures = _Experiment(self, seed, path.parent).figures()
            write_json(path, {"commit": commit(), "settings": settings, "figures": figures})
        row: dict[str, Any] = read_json(path)
        return row


class _Experiment:
    """Everything that one seed trains and measures; what is trained is kept in the folder."""

    def __init__(self, command: Recover, seed: int, folder: Path) -> None:
        from envs.perturbation import Perturbation

        self._command, self._seed, self._folder = command, seed, folder
        self._world = command.task.capitalize()
        self._pairs = 50 if command.quick else 200
        self._perturbation: Perturbation = Perturbation(command.magnitude, onset=command.onset)

    def figures(self) -> dict[str, float]:
        """Train every method, calibrate, and play the paired trials."""
        demonstrations = self._demonstrate("Demonstrations", self._seed)
        base = self._clone("behaviour cloning", demonstrations)
        encoder = self._encoder()
        density = self._density(encoder, demonstrations)
        recovery = self._recovery(base, encoder, density)
        others: dict[str, Policy] = {
            "recovery as published": self._published(base, encoder, demonstrations),
            "DART": self._clone("DART", self._demonstrate("Noisy demonstrations", self._seed, DART_NOISE)),
            "DAgger": self._dagger(len(demonstrations)),
        }
        return self._trials(base, recovery, others)

    def _trials(self, base: Policy, recovery: RecoveryPolicy, others: dict[str, Policy]) -> dict[str, float]:
        import numpy as np

        from agents.trials import mcnemar

        world = self._make(self._pairs)
        world.reset(np.arange(self._pairs), np.random.default_rng(self._seed + HELD_OUT_SEED).spawn(self._pairs))
        initial = world.save()

        def play(what: str, policy: Policy, perturbation: Perturbation | None) -> Trial:
            return self._play(world, initial, what, policy, perturbation)

        clean, careful = play("clean", base, None), play("clean, with recovery", recovery, None)
        pushed = play("pushed", base, self._perturbation)
        recovered = play("pushed, with recovery", recovery, self._perturbation)
        gained = recovered.recovery_steps[np.isfinite(recovered.recovery_steps)]
        figures = {
            "clean_success": float(clean.success.mean()),
            "clean_success_with_recovery": float(careful.success.mean()),
            "pushed_success": float(pushed.success.mean()),
            "recovered_success": float(recovered.success.mean()),
            "harmed": float((clean.success & ~careful.success).mean()),
            "harmed_when_pushed": float((pushed.success & ~recovered.success).mean()),
            "false_interventions": float(careful.triggered[clean.success].mean()),
            "mcnemar_p": mcnemar(pushed.success, recovered.success),
            "pairs": float(self._pairs),
            "push_receipt_mean": float(pushed.receipt.mean()),
            "recovery_steps_median": float(np.median(gained)) if len(gained) else float("nan"),
        }
        for name, policy in others.items():
            figures[f"{name}: clean_success"] = float(play(f"clean, {name}", policy, None).success.mean())
            trial = play(f"pushed, {name}", policy, self._perturbation)
            figures[f"{name}: pushed_success"] = float(trial.success.mean())
        return figures

    def _play(self, world: World, initial: Any, what: str, policy: Policy, perturbation: Perturbation | None) -> Trial:
        from agents.trials import run

        with bar(f"Trials: {what}", world.max_episode_steps, "steps") as update:
            return run(world, initial, policy, perturbation, seed=self._seed, on_step=update)

    def _make(self, count: int) -> World:
        from envs import world_class

        return world_class(self._world)(count, device=self._command.device)

    def _demonstrate(self, what: str, seed: int, noise: float = 0.0) -> Transitions:
        from agents.demonstrations import demonstrate

        count = self._command.demonstrations
        with bar(what, count, "episodes") as update:
            return demonstrate(self._make(min(50, count)), count, seed, noise=noise, progress=update)

    def _clone(self, name: str, demonstrations: Transitions) -> ClonedPolicy:
        from agents.cloning import ClonedPolicy, Cloning

        folder = self._folder / name.replace(" ", "-")
        if not folder.exists():
            policy = self._new_policy()
            self._fit(name, Cloning(policy, demonstrations), demonstrations.fingerprint)
            policy.save(folder)
        return ClonedPolicy.load(folder)

    def _new_policy(self) -> ClonedPolicy:
        import torch

        from agents.cloning import ClonedPolicy
        from envs import world_class

        kind = world_class(self._world)
        torch.manual_seed(self._seed)
        return ClonedPolicy((64, 64, 3), kind.group.dim, kind.commands, kind.max_displacement)

    def _dagger(self, labels: int) -> ClonedPolicy:
        from agents.baselines.dagger import dagger
        from agents.cloning import ClonedPolicy

        folder = self._folder / "dagger"
        if not folder.exists():
            with bar("DAgger", 4, "rounds") as update:
                world = self._make(50)
                policy, _ = dagger(self._new_policy(), world, labels, seed=self._seed, on_round=update)
            policy.save(folder)
        return ClonedPolicy.load(folder)

    def _encoder(self) -> EquivariantEncoder:
        import gymnasium as gym
        import torch

        from envs.collect import collect, roam
        from representations.equivariant import EquivariantEncoder, EquivariantLearner

        folder = self._folder / "encoder"
        if not folder.exists():
            worlds = gym.make_vec(f"envs:equiact/{self._world}-v0", num_envs=64, device=self._command.device)
            with bar("Exploring", 12_000, "transitions") as update:
                data = collect(worlds, 12_000, self._seed, policy=roam(worlds), progress=update)
            torch.manual_seed(self._seed)
            encoder = EquivariantEncoder((64, 64, 3), data.group)
            self._fit("the encoder", EquivariantLearner(encoder, data), data.fingerprint)
            encoder.save(folder)
        return EquivariantEncoder.load(folder)

    def _fit(self, what: str, learner: Any, data: str) -> None:
        from representations.training import fit

        stages = learner.stages()
        checkpoint = self._folder / f"{what.replace(' ', '-')}.checkpoint"
        with bar(f"Learning: {what}", sum(stage.steps for stage in stages), "updates") as update:
            fit(learner, stages, seed=self._seed, data=data, checkpoint=checkpoint, progress=_shown(update))

    def _density(self, encoder: EquivariantEncoder, demonstrations: Transitions, family: str = "mixture") -> Density:
        import torch

        from agents.demonstrations import states
        from representations.density import SceneDensity

        torch.manual_seed(self._seed)
        first, episode, commands = states(demonstrations, encoder.dim)
        latent = encoder.encode(demonstrations.frames)["agent"][demonstrations.start]
        density = SceneDensity(encoder.shape, encoder.dim, commands.shape[1], family)
        with bar("Learning: the density", 3000, "updates") as update:
            density.fit_scenes(
                torch.from_numpy(latent), first, episode, commands, seed=self._seed, progress=_shown(update)
            )
        return density.eval()

    def _recovery(self, base: Policy, encoder: EquivariantEncoder, density: Density) -> RecoveryPolicy:
        """Calibrated on clean episodes of the base policy in which it succeeded."""
        import numpy as np

        from agents.recovery import RecoveryPolicy, Trigger, calibrate

        world = self._make(CALIBRATION_EPISODES)
        generators = np.random.default_rng(self._seed + 2 * HELD_OUT_SEED).spawn(CALIBRATION_EPISODES)
        world.reset(np.arange(CALIBRATION_EPISODES), generators)
        step, commands = world.max_displacement, world.commands
        watching = RecoveryPolicy(base, encoder, density, Trigger(-np.inf, 1.0), step=step, commands=commands)
        trial = self._play(world, world.save(), "calibration", watching, None)
        succeeded = [int(index) for index in np.flatnonzero(trial.success)]
        density_, innovation, dwell = (
            [trial.episode(name, index) for index in succeeded] for name in ("log_density", "innovation", "dwell")
        )
        trigger = calibrate(density_, innovation, dwell)
        return RecoveryPolicy(base, encoder, density, trigger, step=step, commands=commands)

    def _published(self, base: Policy, encoder: EquivariantEncoder, demonstrations: Transitions) -> RecoveryPolicy:
        """The paper's density and direction, its trigger calibrated on held-out demonstrations."""
        from agents.demonstrations import states
        from agents.recovery import RecoveryPolicy, calibrate
        from representations.encoder import as_tensor

        density = self._density(encoder, demonstrations, "diagonal mixture")
        held_out = self._demonstrate("Held-out demonstrations", self._seed + HELD_OUT_SEED)
        first, episode, commands = states(held_out, encoder.dim)
        latent = as_tensor(encoder.encode(held_out.frames)["agent"][held_out.start])
        value, _ = density.score(latent, density.context_of(first[episode], commands))
        trigger = calibrate([value.numpy()[episode == index] for index in range(len(first))])
        step, size = self._make(1).max_displacement, commands.shape[1]
        return RecoveryPolicy(base, encoder, density, trigger, step=step, commands=size, as_published=True)


def _shown(update: Callable[..., None]) -> Progress:
    """A bar's update as what training calls."""

    def show(stage: str, done: int, total: int, metrics: dict[str, float]) -> None:
        update(done, note=f"loss {metrics['loss']:.3f}" if metrics else None)

    return show
