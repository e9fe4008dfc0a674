"""`equiact demo`: the main job from nothing to a report."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.commands import HELD_OUT_SEED, Command, collect_transitions, train_encoder
from scripts.jobs import run_jobs
from scripts.progress import bar, console
from scripts.rl import Job
from scripts.runs import provenance, read_json, write_json

if TYPE_CHECKING:
    from envs.transitions import Transitions
    from representations.agent_object import AgentObjectEncoder

EPISODES = 200


@dataclass(frozen=True)
class Demo(Command):
    """Collect, learn where things are, prove it, train an agent on it, evaluate, report. Stopped, it goes on."""

    resumes = True
    world: str = "Soccer"
    """Name of the world."""
    transitions: int = 20_000
    """How many transitions to learn from."""
    rl_steps: int = 24_000
    """Steps of reinforcement learning."""
    out: Path = Path("runs/demo")
    """Folder of everything that is made."""

    def run(self) -> dict[str, Any]:
        from agents.reinforcement import EVALUATE_EVERY
        from envs import task_class

        task_class(self.world)
        if self.rl_steps < EVALUATE_EVERY:
            raise ValueError(f"a learning curve needs at least {EVALUATE_EVERY} steps, got --rl-steps {self.rl_steps}")
        began = time.monotonic()
        self._claim_folder()
        self._encoder()
        self._policies()
        summary = {**self._evaluate(), "seed": self.seed, "world": self.world, "transitions": self.transitions}
        summary |= {"rl_steps": self.rl_steps, **provenance(), "demo_seconds": round(time.monotonic() - began, 1)}
        write_json(self.out / "summary.json", summary)
        self._report()
        console.print(f"\nEverything is in [bold]{self.out}[/bold]; open [bold]{self.out / 'report.html'}[/bold]")
        return summary

    def _claim_folder(self) -> None:
        """Go on in a folder of the same demo; refuse one of another."""
        settings = {
            "world": self.world,
            "transitions": self.transitions,
            "rl_steps": self.rl_steps,
            "seed": self.seed,
        }
        claim = self.out / "demo.json"
        if claim.exists() and read_json(claim) != settings:
            raise ValueError(
                f"{self.out} holds the demo {read_json(claim)}, this one is {settings}; "
                "choose another --out or remove it"
            )
        write_json(claim, settings)

    def _encoder(self) -> None:
        """Train and measure the encoder, unless that is done."""
        if (self.out / "encoder_evaluation.json").exists():
            return
        transitions = collect_transitions(self.world, self.transitions, self.seed, self.device)
        checkpoint = self.out / "encoder.checkpoint"
        encoder, report = train_encoder(transitions, seed=self.seed, device=self.device, checkpoint=checkpoint)
        write_json(self.out / "training.json", vars(report))
        held_out = collect_transitions(self.world, 4000, self.seed + HELD_OUT_SEED, self.device, "Held-out data")
        evaluation = encoder_evaluation(encoder.to("cpu"), held_out, self.world)
        encoder.metrics = evaluation["rows"]["trained"]
        encoder.save(self.out / "encoder")
        write_json(self.out / "encoder_evaluation.json", evaluation)
        checkpoint.unlink()

    def _policies(self) -> None:
        """Train on what the encoder sees and on true state, side by side, unless that is done."""
        jobs = [
            Job(
                name,
                self.world,
                encoder,
                self.rl_steps,
                self.seed,
                self.device,
                self.out / "policies" / name,
            )
            for name, encoder in (("encoder", self.out / "encoder"), ("true_state", None))
        ]
        run_jobs([job for job in jobs if not job.curve_file.exists()])
        write_json(self.out / "rl.json", {job.name: read_json(job.curve_file) for job in jobs})

    def _evaluate(self) -> dict[str, Any]:
        from agents.evaluation import evaluate, random_policy
        from agents.reinforcement import EVALUATION_SEED, load_policy
        from agents.vec_env import observe_latents, observe_state
        from envs import task_class
        from representations.agent_object import AgentObjectEncoder
        from scripts.video import write_video

        kind = task_class(self.world)
        batch = kind(EPISODES, device=self.device)
        encoder = AgentObjectEncoder.load(self.out / "encoder")
        see = observe_latents(encoder)
        policies = {
            "encoder": (see, load_policy(self.out / "policies" / "encoder")),
            "true_state": (observe_state, load_policy(self.out / "policies" / "true_state")),
            "random": (observe_state, random_policy(batch, self.seed)),
        }
        results = {}
        with bar("Evaluating", len(policies), "policies") as update:
            for done, (name, (observe, act)) in enumerate(policies.items(), 1):
                results[name] = evaluate(batch, observe, act, seed=EVALUATION_SEED + self.seed).as_dict()
                update(done)
        write_json(self.out / "evaluation.json", results)
        write_video(self.out / "rollout.mp4", kind, encoder, policies["encoder"][1], seed=EVALUATION_SEED + self.seed)
        return {**self._encoder_figures(), **_policy_figures(results), "render_fps": _render_fps(batch)}

    def _encoder_figures(self) -> dict[str, Any]:
        trained = read_json(self.out / "encoder_evaluation.json")["rows"]["trained"]
        training = read_json(self.out / "training.json")
        names = ("agent_rmse_pct", "object_rmse_pct", "isometry_error", "contact_precision", "contact_recall")
        return {
            **{name: trained[name] for name in names},
            "train_seconds": training["seconds"],
            "train_transitions_per_s": training["transitions"] / training["seconds"],
        }

    def _report(self) -> None:
        from scripts.report import write_report

        write_report(self.out)


def encoder_evaluation(encoder: AgentObjectEncoder, held_out: Transitions, world: str) -> dict[str, Any]:
    """Metrics of the encoder, of an untrained one and of chance; and what the report draws."""
    from envs import task_class
    from representations.agent_object import AgentObjectEncoder
    from representations.metrics import chance, evaluate_encoder, locate, object_moves

    side = task_class(world).arena_side
    located = locate(encoder, held_out)
    moves = object_moves(located, held_out)
    touched = held_out.touched
    every = max(1, len(held_out.frames) // 400)
    shown = {name: values[::every].round(4).tolist() for name, values in vars(located).items()}
    return {
        "rows": {
            "trained": evaluate_encoder(encoder, held_out, side),
            "untrained": evaluate_encoder(AgentObjectEncoder(**encoder.hyperparameters).eval(), held_out, side),
            "chance": chance(held_out, side),
        },
        "positions": shown,
        "object_moves": {"still": moves[~touched].tolist(), "touched": moves[touched].tolist()},  # type: ignore[operator]
        "threshold": float(encoder.contact_threshold * encoder.unit),
        "arena_side": side,
    }


def _policy_figures(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "rl_success": results["encoder"]["success"],
        "rl_success_interval": results["encoder"]["success_interval"],
        "random_success": results["random"]["success"],
        "true_state_success": results["true_state"]["success"],
    }


def _render_fps(batch: Any) -> float:
    """Frames a second of acting in the worlds and drawing them."""
    import numpy as np

    repeats = 5
    began = time.monotonic()
    for _ in range(repeats):
        batch.step(np.zeros((batch.num_worlds, batch.group.dim + batch.commands)))
        batch.render()
    return float(repeats * batch.num_worlds / (time.monotonic() - began))
