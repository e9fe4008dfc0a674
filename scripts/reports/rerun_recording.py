"""Record an episode for the Rerun viewer: frames, rewards, latents, density and alarms on one time line."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ...agents.evaluation.episode import EpisodeStep
    from ...agents.evaluation.paired_episodes import PairedEpisodes
    from ...agents.evaluation.perturbation_report import PerturbationReport
    from ...agents.recovery.episode_state import RecoveryStep
    from ...envs.data.policy import Policy
    from ...envs.simulation.state_layout import Pixels


class RerunRecording:
    """Record the steps of one episode.

    The time line ``step`` counts the steps. Entities are ``frame``, ``reward``, ``action/0`` and so on; with a
    `RecoveryPolicy` also ``latent/0`` and so on, ``log_density``, ``innovation``, ``dwell``, and ``recovering``, which
    is 1 where recovery acts.

    Args:
        name: name of the episode, shown in the viewer.
        policy: the policy that acts.
        camera: draws the environment; None for no frames.

    Raises:
        ModuleNotFoundError: rerun is not installed.
    """

    def __init__(self, name: str, policy: Policy, camera: Callable[[], Pixels] | None = None) -> None:
        self._rerun = _import_rerun()
        self._stream = self._rerun.RecordingStream("equiact", recording_id=name)
        self._policy, self._camera = policy, camera

    def add(self, step: EpisodeStep) -> None:
        """Record a step."""
        self._stream.set_time("step", sequence=step.index)
        self._log_values({"reward": step.reward, **_numbered("action", step.action)})
        report = getattr(self._policy, "report", None)
        if report is not None:
            self._log_values(_recovery_values(report))
        if self._camera is not None:
            self._stream.log("frame", self._rerun.Image(self._camera()).compress(jpeg_quality=90))

    def save(self, path: Path) -> None:
        """Write the recording to a file, which appears complete or not at all."""
        from ...envs.storage.file_access import write_atomically

        with tempfile.TemporaryDirectory() as folder:
            part = Path(folder) / "episode.rrd"
            self._stream.save(part)
            self._stream.flush()
            self._stream.disconnect()
            write_atomically(path, part.read_bytes())

    def _log_values(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._stream.log(name, self._rerun.Scalars(value))


def record_episode(
    path: Path,
    report: PerturbationReport,
    trials: PairedEpisodes,
    policy: Policy,
    camera: Callable[[], Pixels] | None = None,
) -> None:
    """Play the most telling perturbed trial again, and write it to a file of Rerun.

    Args:
        path: the file, which ends in ``.rrd``.
        report: the trials.
        trials: plays them again.
        policy: the policy under evaluation.
        camera: draws the environment in which they are played; None for no frames.

    Raises:
        ModuleNotFoundError: rerun is not installed.
    """
    from .perturbation_film import choose_trials

    ((seed, condition),) = choose_trials(report, 1)
    recording = RerunRecording(f"{condition.name}, seed {seed}", policy, camera)
    trials.replay(seed, condition, "policy", on_step=recording.add)
    recording.save(path)


def _numbered(name: str, values: Any) -> dict[str, float]:
    """Return the entries of an array of numbers as ``name/0`` and so on; nothing for other things."""
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        return {}
    return {f"{name}/{index}": float(value) for index, value in enumerate(array.reshape(-1))}


def _recovery_values(report: RecoveryStep) -> dict[str, float]:
    return {
        **_numbered("latent", report.latent[0]),
        "log_density": float(report.log_density[0]),
        "innovation": float(report.innovation[0]),
        "dwell": float(report.dwell[0]),
        "recovering": float(report.blend[0] < 0.5),
    }


def _import_rerun() -> Any:
    try:
        import rerun
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "a Rerun recording needs the package rerun-sdk; run: pip install 'equiact[rerun]'", name="rerun"
        ) from error
    return rerun
