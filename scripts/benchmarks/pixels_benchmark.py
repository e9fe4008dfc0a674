"""The ray tracer and MuJoCo's own renderer under OSMesa, measured in turn in one process a scene.

Run as a module, this file measures one scene and prints the figures: ``MUJOCO_GL`` must be set before MuJoCo is
imported.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..experiments.executors import available_cores
from ..experiments.experiment import Grid, MeasureJob
from ..experiments.jobs import JobProgress, Resources

if TYPE_CHECKING:
    import mujoco
    import numpy as np

    from ...envs.mujoco_envs.mujoco_scene import MujocoScene


@dataclass(frozen=True)
class PixelsBenchmarkConfig:
    """Set the size of the benchmark of ray-traced pixels.

    Attributes:
        scenes: ids of environments as `make_env` takes them, each after the package that registers it.
        resolutions: heights and widths of the pictures, in pixels.
        batch: pictures drawn at once, of successive states of an episode.
        rounds: number of times that each renderer draws the batch, in turn.
    """

    scenes: tuple[str, ...] = (
        "gymnasium HalfCheetah-v5",
        "gymnasium Pusher-v5",
        "gymnasium Reacher-v5",
        "gymnasium_robotics AdroitHandDoor-v1",
        "gymnasium_robotics PointMaze_UMaze-v3",
        "ogbench cube-single-v0",
        "ogbench scene-v0",
        "shimmy dm_control/manipulator-bring_ball-v0",
        "shimmy dm_control/finger-spin-v0",
    )
    resolutions: tuple[int, ...] = (64, 128)
    batch: int = 8
    rounds: int = 4


class RendererError(RuntimeError):
    """A scene could not be measured, for example because OSMesa is not installed."""


@dataclass(frozen=True)
class SceneFigures:
    """Figures of one scene at one resolution.

    Attributes:
        tracer_ms: median milliseconds of the ray tracer for a picture.
        osmesa_ms: median milliseconds of MuJoCo's renderer under OSMesa.
        times_faster: median over the rounds of how many times faster the ray tracer was.
        times_faster_at_least: least of them.
        tracer_cpu_ms: median milliseconds of CPU time of the ray tracer for a picture, summed over its threads.
        osmesa_cpu_ms: that of OSMesa.
        times_less_cpu: median over the rounds of how many times less CPU time the ray tracer took.
        difference: mean difference of the pictures in grey levels, with one ray a pixel.
        difference_smooth: with two times two rays a pixel.
        start_s: seconds until the first picture.
    """

    tracer_ms: float
    osmesa_ms: float
    times_faster: float
    times_faster_at_least: float
    tracer_cpu_ms: float
    osmesa_cpu_ms: float
    times_less_cpu: float
    difference: float
    difference_smooth: float
    start_s: float


def pixels_experiment(config: PixelsBenchmarkConfig, seeds: Sequence[int]) -> Grid:
    """Return the experiment that measures every scene with every seed.

    All scenes of a seed share a folder of compiled kernels: the first scene compiles, the others find them.

    Args:
        config: size of the benchmark.
        seeds: seeds of the episodes.
    """

    def jobs(folder: Path) -> list[MeasureJob]:
        made: list[MeasureJob] = []
        for seed in seeds:
            for number, scene in enumerate(config.scenes):
                title = f"{scene.split()[1]}, seed {seed}"
                output = folder / f"{number}-{seed}.json"
                measure = partial(measure_in_process, scene, seed, config, str(folder / f"kernels-{seed}"))
                alone = Resources(available_cores())
                made.append(MeasureJob(title, output, measure, "", "", seed, needs=made[-1:], resources=alone))
        return made

    return Grid("pixels", asdict(config), seeds, jobs)


def measure_in_process(
    scene: str, seed: int, config: PixelsBenchmarkConfig, kernels: str, show: JobProgress
) -> dict[str, float]:
    """Measure a scene in a process of its own.

    Args:
        scene: package and id of the environment.
        seed: seed of the episode.
        config: size of the benchmark.
        kernels: folder of compiled kernels.
        show: is not called: a scene takes seconds.

    Raises:
        RendererError: the scene could not be measured.
    """
    settings = json.dumps({**asdict(config), "scenes": [scene]})
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", __name__, settings, str(seed)],
        env={**os.environ, "MUJOCO_GL": "osmesa", "PYOPENGL_PLATFORM": "osmesa", "WARP_CACHE_PATH": kernels},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        reason = run.stderr.strip().splitlines()[-1:] or ["no message"]
        raise RendererError(
            f"{scene!r} could not be measured: {reason[0]}; the benchmark needs the environments' packages, and OSMesa "
            "(Debian: apt-get install libosmesa6)"
        )
    measured: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return measured


def measure_scene(scene: str, seed: int, config: PixelsBenchmarkConfig) -> dict[str, float]:
    """Return the figures of a scene, by ``"scene, H × W: name"``."""
    began = time.perf_counter()
    states = _states(scene, seed, config.batch)
    made = time.perf_counter() - began
    figures: dict[str, float] = {}
    for resolution in config.resolutions:
        measured = _measure(states, resolution, config.rounds)
        label = f"{scene.split()[1]}, {resolution} × {resolution}"
        figures |= {f"{label}: {field.name}": getattr(measured, field.name) for field in fields(measured)}
    return {**figures, f"{scene.split()[1]}: seconds_to_make_the_environment": made}


@dataclass(frozen=True)
class _State:
    """A model with a copy of its data, as `ScenePainter` takes it."""

    model: mujoco.MjModel
    data: mujoco.MjData


def _states(scene: str, seed: int, number: int) -> tuple[Any, list[_State]]:
    """Return an environment and copies of successive states of an episode of random actions."""
    from ...envs.env_factory import make_env
    from ...envs.mujoco_envs.mujoco_scene import MujocoScene

    package, name = scene.split()
    env = make_env(name, imports=[package])
    env.reset(seed=seed)
    env.action_space.seed(seed)
    found = MujocoScene(env)
    states = []
    for _ in range(number):
        env.step(env.action_space.sample())
        states.append(_State(found.model, copy.copy(found.data)))
    return env, states


def _measure(made: tuple[Any, list[_State]], resolution: int, rounds: int) -> SceneFigures:
    import numpy as np

    from ...envs.mujoco_envs.cameras import default_viewpoint
    from ...envs.mujoco_envs.scene_painter import ScenePainter

    env, states = made
    scenes: list[MujocoScene] = list(states)  # type: ignore[arg-type]
    viewpoint = default_viewpoint(env, states[0].model)
    size = (resolution, resolution)
    began = time.perf_counter()
    painter = ScenePainter(viewpoint, size, num_scenes=len(states))
    painter.draw(scenes[:1])
    start = time.perf_counter() - began
    theirs = _OpenGLPainter(states[0].model, viewpoint.camera_of(states[0].model), resolution)
    smooth = ScenePainter(viewpoint, size, samples=2, num_scenes=len(states)).draw(scenes)
    pictures, reference = painter.draw(scenes), theirs.draw(states)
    # (rounds, renderers, elapsed and CPU seconds)
    times = np.array([[_seconds(painter.draw, scenes), _seconds(theirs.draw, states)] for _ in range(rounds)])
    (tracer, tracer_cpu), (opengl, opengl_cpu) = np.median(times, 0) / len(states) * 1000
    ratios = times[:, 1] / times[:, 0]
    return SceneFigures(
        tracer_ms=float(tracer),
        osmesa_ms=float(opengl),
        times_faster=float(np.median(ratios[:, 0])),
        times_faster_at_least=float(ratios[:, 0].min()),
        tracer_cpu_ms=float(tracer_cpu),
        osmesa_cpu_ms=float(opengl_cpu),
        times_less_cpu=float(np.median(ratios[:, 1])),
        difference=_difference(pictures, reference),
        difference_smooth=_difference(smooth, reference),
        start_s=start,
    )


class _OpenGLPainter:
    """MuJoCo's own renderer."""

    def __init__(self, model: mujoco.MjModel, camera: mujoco.MjvCamera, resolution: int) -> None:
        import mujoco

        model.vis.global_.offwidth = max(model.vis.global_.offwidth, resolution)
        model.vis.global_.offheight = max(model.vis.global_.offheight, resolution)
        self._renderer = mujoco.Renderer(model, resolution, resolution)
        self._camera = camera

    def draw(self, states: list[_State]) -> np.ndarray[Any, Any]:
        import numpy as np

        pictures = []
        for state in states:
            self._renderer.update_scene(state.data, self._camera)
            pictures.append(self._renderer.render().copy())
        return np.stack(pictures)


def _seconds(draw: Callable[[Any], Any], scenes: Any) -> tuple[float, float]:
    """Return the elapsed seconds of drawing, and the CPU seconds of all threads."""
    began, began_cpu = time.perf_counter(), time.process_time()
    draw(scenes)
    return time.perf_counter() - began, time.process_time() - began_cpu


def _difference(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    import numpy as np

    return float(np.abs(one.astype(int) - other.astype(int)).mean())


if __name__ == "__main__":
    given: dict[str, Any] = json.loads(sys.argv[1])
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    chosen = PixelsBenchmarkConfig(**given)
    sys.stdout.write(json.dumps(measure_scene(chosen.scenes[0], int(sys.argv[2]), chosen)) + "\n")
