"""Pictures of MuJoCo scenes from one viewpoint, without OpenGL."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..arguments import integer_argument
from ..simulation.dependencies import import_mujoco
from ..simulation.resolution import checked_resolution
from ..simulation.state_layout import Pixels
from .cameras import Viewpoint
from .mujoco_scene import MujocoScene

if TYPE_CHECKING:
    import mujoco

    from ..simulation.model_tracer import ModelTracer


class ScenePainter:
    """Draw scenes of any MuJoCo models from one viewpoint.

    Scenes whose models have the same shapes, meshes and textures are drawn together by one ray tracer. A model that an
    environment compiles anew gets a new tracer only if these differ. Poses, sizes, colours, materials, lights and
    cameras are read for every picture, so that randomised or perturbed values are seen.

    Args:
        viewpoint: the camera.
        resolution: height and width of a picture in pixels.
        samples: rays along each side of a pixel, whose mean is the pixel.
        num_scenes: largest number of scenes drawn at once.

    Attributes:
        max_frame_bytes: largest memory for the pictures of all scenes; a larger resolution is refused. Set it on the
            class to raise it.
        max_tracers: number of ray tracers that are kept for models seen before.

    Raises:
        MissingSimulatorError: MuJoCo, MuJoCo Warp or Warp is not installed.
        ValueError: the resolution or the number of samples is out of range.

    Example:
        >>> import gymnasium as gym
        >>> env = gym.make("Reacher-v5")
        >>> _ = env.reset(seed=0)
        >>> ScenePainter(Viewpoint(distance=0.8, elevation=-90), resolution=(8, 12)).draw([MujocoScene(env)]).shape
        (1, 8, 12, 3)
    """

    max_frame_bytes: ClassVar[int] = 8 * 2**30
    max_tracers: ClassVar[int] = 4

    def __init__(
        self, viewpoint: Viewpoint, resolution: tuple[int, int] = (64, 64), samples: int = 1, num_scenes: int = 1
    ) -> None:
        import_mujoco()
        self.viewpoint = viewpoint
        self.num_scenes = integer_argument("num_scenes", num_scenes, at_least=1)
        self.samples = integer_argument("samples", samples, at_least=1)
        limit = f"{type(self).__name__}.max_frame_bytes"
        self.resolution = checked_resolution(resolution, num_scenes, self.max_frame_bytes, limit)
        self._tracers: OrderedDict[str, ModelTracer] = OrderedDict()
        self._known: dict[int, _KnownModel] = {}

    def draw(self, scenes: Sequence[MujocoScene]) -> Pixels:
        """Return pictures of scenes as they are now, ``(n, height, width, 3)`` uint8.

        Raises:
            ValueError: there are more scenes than `num_scenes`, or a model lacks the camera.
        """
        if len(scenes) > self.num_scenes:
            raise ValueError(f"at most num_scenes={self.num_scenes} scenes are drawn at once, got {len(scenes)}")
        batches: dict[str, list[int]] = defaultdict(list)
        for index, scene in enumerate(scenes):
            batches[self._known_model(index, scene.model).fingerprint].append(index)
        frames = np.empty((len(scenes), *self.resolution, 3), np.uint8)
        for fingerprint, indices in batches.items():
            known = [self._known[index] for index in indices]
            worlds = [(one.model, scenes[index].data, one.camera) for one, index in zip(known, indices, strict=True)]
            frames[indices] = self._tracer(fingerprint, known[0].model).draw(worlds)
        return frames

    def close(self) -> None:
        """Free threads and memory; the next picture builds what it needs again."""
        for tracer in self._tracers.values():
            tracer.close()
        self._tracers.clear()
        self._known.clear()

    def _known_model(self, index: int, model: mujoco.MjModel) -> _KnownModel:
        """Return what is known about a scene's model, after looking at it if it is new or has changed."""
        for known in (self._known.get(index), *self._known.values()):  # scenes may share a model
            if known is not None and known.describes(model):
                break
        else:
            known = _KnownModel(model, self.viewpoint)
        self._known[index] = known
        return known

    def _tracer(self, fingerprint: str, model: mujoco.MjModel) -> ModelTracer:
        from ..simulation.model_tracer import ModelTracer

        if fingerprint not in self._tracers:
            while len(self._tracers) >= self.max_tracers:
                self._tracers.popitem(last=False)[1].close()
            self._tracers[fingerprint] = ModelTracer(model, self.num_scenes, self.resolution, self.samples)
        self._tracers.move_to_end(fingerprint)
        return self._tracers[fingerprint]

    def __deepcopy__(self, memo: dict[int, Any]) -> ScenePainter:
        return ScenePainter(self.viewpoint, self.resolution, self.samples, self.num_scenes)


class _KnownModel:
    """A model with its fingerprint and its camera."""

    def __init__(self, model: mujoco.MjModel, viewpoint: Viewpoint) -> None:
        from ..simulation.model_assets import model_fingerprint

        self.model = model
        self.fingerprint = model_fingerprint(model)
        self.camera = viewpoint.camera_of(model)
        self._groups = _groups(model)

    def describes(self, model: mujoco.MjModel) -> bool:
        """Return whether this is about a model as it is now."""
        return model is self.model and _groups(model) == self._groups


def _groups(model: mujoco.MjModel) -> tuple[bytes, ...]:
    """Return the fields that choose what is visible, which environments may change in place."""
    return model.geom_group.tobytes(), model.site_group.tobytes(), model.geom_dataid.tobytes()
