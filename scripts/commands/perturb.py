"""The command ``equiact perturb``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from ..benchmarks.run_folder import claimed
from ..environment_options import parse_assignments
from ..experiments.provenance import provenance
from ..progress import console, progress_bar
from .command import Command, Device
from .perturb_checks import check_recording, require_camera
from .registry import register_command
from .source_fingerprints import fingerprint, source_fingerprint

if TYPE_CHECKING:
    import gymnasium as gym

    from ...agents.evaluation.perturbation_report import PerturbationReport
    from ...agents.evaluation.trial_records import PolicyRole, TrialRecord
    from ...envs.data.policy import Policy
    from ..reports.perturbation_film import Camera

    Policies = dict[PolicyRole, Policy]

CLAIM = "perturbation-run.json"
"""Name of the file with the configuration of a run."""


@register_command("perturb")
@dataclass(frozen=True, kw_only=True)
class Perturb(Command):
    """Evaluate a policy under perturbations, in paired episodes that start from the same states.

    Plays every episode clean and under every perturbation. Writes report.html, report.json, episodes.jsonl (one line a
    trial) and film.mp4 to OUTPUT_DIR. Run the same command again to resume.
    """

    resumes = True
    device: tyro.conf.Suppress[Device] = "cpu"
    env: str
    """Environment: an id of Gymnasium such as Pusher-v5, package:id, or module:function."""
    policy: str
    """Policy: a file of Stable-Baselines3 (.zip), an ONNX file, a folder of equiact or LeRobot, or module:function."""
    perturbation: tyro.conf.UseAppendAction[tuple[str, ...]]
    """Perturbation, such as force:body=torso,magnitude=1,2,4; one condition for each magnitude. Repeat the option for
    several perturbations."""
    imports: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(name="import")] = ()
    """Package to import first, because it registers the environment. May be repeated."""
    env_option: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Option of the environment as KEY=VALUE, with a JSON value or text, such as max_episode_steps=200. May be
    repeated."""
    action_repeat: int = 1
    """Number of steps of the environment for which each action is held; they count as one step."""
    camera: str | None = None
    """Camera of the film, by name, for environments of MuJoCo; by default what the environment renders."""
    trust_policy: bool = False
    """Load a policy file that can execute code, such as a file of Stable-Baselines3. Do it for files you trust."""
    compare: str | None = None
    """Second policy for the same episodes; the report counts harmed and rescued episodes."""
    episodes: int = 100
    """Number of episodes; each is played under every condition."""
    success: str | None = None
    """Success: is_success, success, terminated, truncated, return>=X or module:function; by default what the info
    reports."""
    null_action: Literal["zero", "hold"] = "zero"
    """Action in steps in which a perturbation keeps the policy from acting: zero for torques, velocities and
    displacements, hold (the last action) for absolute targets."""
    films: int = 3
    """Number of episodes in the film; 0 for no film."""
    rerun: Path | None = None
    """File (.rrd) to which a Rerun recording of an episode is written; none by default. Missing folders are created; a
    recording of equiact is replaced, anything else is refused."""
    output_dir: Path = Path("runs/perturb")
    """Folder of the report."""

    def run(self) -> dict[str, Any]:
        from ...agents.evaluation.perturbed_evaluation import make_conditions, make_policies
        from ...agents.evaluation.success import success_criterion

        self.require_at_least(episodes=1, films=0, action_repeat=1, seed=0)
        check_recording(self.rerun)
        conditions = make_conditions(self.perturbation)  # reports errors in the options before anything is made
        success_criterion(self.success)
        policies = make_policies(self._load(self.policy), None if self.compare is None else self._load(self.compare))
        env = self._make_env()
        for perturbation in {each for condition in conditions for each in condition.perturbations}:
            perturbation.check(env)
        env.reset(seed=self.seed)
        require_camera(env, self.camera)
        stage = self._prepare_stage()
        with claimed(self.output_dir, CLAIM, self._settings(), **provenance()) as folder:
            report = self._evaluate(folder, env, policies)
            page = self._write(folder, report, policies, stage)
        console.print(f"\nEverything is in [bold]{self.output_dir}[/bold]; open [bold]{page}[/bold]")
        return _result(report)

    def _load(self, spec: str) -> Policy:
        from ...agents.policies.policy_loading import resolve_policy

        return resolve_policy(spec, trust=self.trust_policy)

    def _settings(self) -> dict[str, Any]:
        """Return what determines the trials, to be compared when the command resumes."""
        return {
            "env": self.env,
            "imports": list(self.imports),
            "env_source": source_fingerprint(self.env),
            "env_options": self._env_options(),
            "action_repeat": self.action_repeat,
            "policy": self.policy,
            "policy_sha256": fingerprint(self.policy),
            "compare": self.compare,
            "compare_sha256": None if self.compare is None else fingerprint(self.compare),
            "perturbations": list(self.perturbation),
            "episodes": self.episodes,
            "success": self.success,
            "success_source": None if self.success is None else source_fingerprint(self.success),
            "null_action": self.null_action,
            "seed": self.seed,
        }

    def _env_options(self) -> dict[str, Any]:
        return parse_assignments(self.env_option)

    def _make_env(self, **options: Any) -> gym.Env[Any, Any]:
        from ...envs.env_factory import make_env

        options = {**options, **self._env_options()}
        return make_env(self.env, imports=self.imports, action_repeat=self.action_repeat, **options)

    def _evaluate(self, folder: Path, env: gym.Env[Any, Any], policies: Policies) -> PerturbationReport:
        """Play the episodes that are not done, and append their trials to the file of the folder."""
        from ...agents.evaluation.perturbation_report import EPISODES_FILE
        from ...agents.evaluation.perturbed_evaluation import evaluate_perturbations
        from ...agents.evaluation.trial_records import read_records, record_lines, write_records

        file = folder / EPISODES_FILE
        finished = read_records(file) if file.exists() else []
        write_records(file, finished)  # without what a dying process left incomplete
        with progress_bar("Playing paired episodes", self.episodes, "episodes") as update, file.open("a") as lines:
            done = len({record.seed for record in finished})

            def keep(records: list[TrialRecord]) -> None:
                nonlocal done
                lines.write(record_lines(records))
                lines.flush()
                done += 1
                update(min(done, self.episodes))

            report = evaluate_perturbations(
                env,
                policies["policy"],
                self.perturbation,
                episodes=self.episodes,
                seed=self.seed,
                success=self.success,
                compare=policies.get("compare"),
                null_action=self.null_action,
                finished=finished,
                on_episode=keep,
            )
        env.close()
        return report

    def _write(self, folder: Path, report: PerturbationReport, policies: Policies, stage: FilmStage | None) -> Path:
        """Write everything that is made from the trials, and return the path of the page."""
        from ..reports.perturbation_report import write_perturbation_page

        made = provenance()
        report.write_files(folder, **made)
        notes = [] if stage is None or stage.camera is not None else [stage.note]
        film = None if stage is None else self._draw(folder / "film.mp4", report, policies, stage, notes)
        compared = {} if self.compare is None else {"Other policy": self.compare}
        settings = {"Policy": self.policy, **compared, "Command": made["command"], "Commit": made["commit"]}
        return write_perturbation_page(folder / "report.html", report, film=film, notes=notes, settings=settings)

    def _draw(
        self, film: Path, report: PerturbationReport, policies: Policies, stage: FilmStage, notes: list[str]
    ) -> Path | None:
        """Write the recording and the film; return the film, or None after adding a note if there is none."""
        from ...agents.evaluation.paired_episodes import PairedEpisodes, PairingError
        from ...agents.evaluation.success import success_criterion
        from ..reports.perturbation_film import film_episodes
        from ..reports.rerun_recording import record_episode

        criterion = success_criterion(self.success)
        trials = PairedEpisodes(
            stage.env, policies, report.conditions, criterion, report.recovery_config, null_action=self.null_action
        )
        if self.rerun is not None:
            record_episode(self.rerun, report, trials, policies["policy"], stage.camera)
        if not self.films or stage.camera is None:
            return None
        try:
            film_episodes(film, report, trials, stage.camera, count=self.films)
        except PairingError as error:
            notes.append(f"There is no film: {error}.")
            return None
        finally:
            stage.env.close()
        return film

    def _prepare_stage(self) -> FilmStage | None:
        """Return an environment for pictures, made before the work begins; None if none are wanted.

        Raises:
            CannotDrawError: a camera was asked for, but the environment cannot be drawn by it.
        """
        from ..reports.perturbation_film import CannotDrawError, make_camera

        if not self.films and self.rerun is None:
            return None
        env = self._drawable_env()
        env.reset(seed=self.seed)
        try:
            return FilmStage(env, make_camera(env, self.camera))
        except CannotDrawError as error:
            if self.camera is not None:
                raise
            return FilmStage(env, None, f"There is no film: {error}.")

    def _drawable_env(self) -> gym.Env[Any, Any]:
        """Return a new environment that draws itself, if it can."""
        from ...envs.env_factory import MakeEnvError

        try:
            return self._make_env(render_mode="rgb_array")
        except MakeEnvError:  # a function without this argument
            return self._make_env()


@dataclass(frozen=True)
class FilmStage:
    """An environment in which episodes are played again for pictures.

    Attributes:
        env: the environment.
        camera: draws it; None if nothing can.
        note: why nothing can.
    """

    env: gym.Env[Any, Any]
    camera: Camera | None
    note: str = ""


def _result(report: PerturbationReport) -> dict[str, Any]:
    """Return the figures to print: the success rate, or the mean return, of each policy under each condition."""
    from ...agents.evaluation.perturbed_evaluation import missing_effect

    found: dict[str, Any] = {}
    for summary in report.summaries():
        name = summary.condition if summary.policy == "policy" else f"{summary.condition}, other policy"
        receipts = ", ".join(map(str, summary.receipts)) or None
        if missing_effect(summary) is not None:
            receipts = f"no effect ({receipts})"
        found[name] = {"success": summary.success, "return": summary.return_mean, "receipt": receipts}
    return found
