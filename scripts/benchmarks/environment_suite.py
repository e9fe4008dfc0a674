"""Environments of other packages, and what equiact needs to be told about each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import gymnasium as gym


@dataclass(frozen=True)
class ForeignEnvironment:
    """An environment of another package, as the options of ``equiact collect`` describe it.

    Attributes:
        package: the package that it comes from.
        env: Gymnasium id.
        displacement: rule of the displacement.
        perturbation: what its policy is evaluated under.
        imports: packages that register the environment.
        group: group that acts; None for that of the rule.
        env_options: arguments of the environment, each as ``key=value``.
        action_repeat: number of steps of the environment for which each action is held.
        draws: whether equiact draws its images by ray tracing. If not, it observes or renders them itself.
        viewpoint: camera of the drawn images.
        encoder: name of the encoder.
        encoder_options: hyper-parameters that differ from its default.
        image_key: entry of Dict observations that holds the image.
    """

    package: str
    env: str
    displacement: str
    perturbation: str
    imports: tuple[str, ...] = ()
    group: str | None = None
    env_options: tuple[str, ...] = ()
    action_repeat: int = 1
    draws: bool = True
    viewpoint: dict[str, Any] = field(default_factory=dict)
    encoder: str = "translation"
    encoder_options: dict[str, Any] = field(default_factory=dict)
    image_key: str | None = None

    @property
    def name(self) -> str:
        """Return the id without its namespace."""
        return self.env.rpartition("/")[2]

    def make(self, resolution: tuple[int, int]) -> tuple[gym.Env[Any, Any], str]:
        """Return one copy, which observes images and reports displacements, and the name of the group."""
        from ..environment_collection import CollectionEnv

        env, group = CollectionEnv(
            env=self.env,
            imports=self.imports,
            env_options=self.env_options,
            action_repeat=self.action_repeat,
            displacement=self.displacement,
            group=self.group,
            image_key=self.image_key,
            viewpoint=self.viewpoint,
            pixels=self.draws,
            resolution=resolution,
            num_envs=1,
        ).make()
        single: Any = env
        return single, group


_SHORT = ("max_episode_steps=50",)
_LONG = ("max_episode_steps=500",)
_FROM_ABOVE = {"azimuth": 90.0, "elevation": -90.0}
_WHOLE_IMAGE = {"backbone": "strided"}
"""For robots of several links: where the agent is does not show in a few pixels."""
_FAR = {"horizon": 20}
"""For small motions: pairs of images many steps apart."""

FOREIGN_ENVIRONMENTS = (
    ForeignEnvironment(
        "gymnasium", "Pusher-v5", "body:tips_arm", "force:body=tips_arm,magnitude=20,onset=10,duration=10",
        env_options=_SHORT, viewpoint={"lookat": (0.45, -0.2, -0.2), "distance": 1.8, **_FROM_ABOVE},
        encoder_options=_WHOLE_IMAGE,
    ),
    ForeignEnvironment(
        "gymnasium", "Reacher-v5", "body:fingertip", "joint-velocity:joints=joint0,magnitude=5,onset=10",
        env_options=_SHORT, viewpoint={"lookat": (0.0, 0.0, 0.0), "distance": 0.7, **_FROM_ABOVE},
    ),
    ForeignEnvironment(
        "gymnasium", "InvertedPendulum-v5", "joints:slider", "impulse:body=pole,magnitude=3,onset=3",
        env_options=_SHORT,
    ),
    ForeignEnvironment(
        "gymnasium-robotics", "PointMaze_UMaze-v3", "body:particle",
        "drag:body=particle,magnitude=0.05,onset=10,duration=5",
        imports=("gymnasium_robotics",), env_options=_LONG, action_repeat=10,
        viewpoint={"lookat": (0.0, 0.0, 0.0), "distance": 6.0, **_FROM_ABOVE}, encoder_options=_FAR,
    ),
    ForeignEnvironment(
        "gymnasium-robotics", "AdroitHandDoor-v1", "body:palm", "camera-shift:magnitude=0.2,onset=5,duration=20",
        imports=("gymnasium_robotics",), group="R3", env_options=_SHORT, viewpoint={"camera": "fixed"},
    ),
    ForeignEnvironment(
        "ogbench", "pointmaze-medium-v0", "body:torso", "action-delay:magnitude=5,onset=0,duration=50",
        imports=("ogbench",), env_options=_LONG, action_repeat=10,
        viewpoint={"lookat": (10.0, 10.0, 0.0), "distance": 40.0, **_FROM_ABOVE}, encoder_options=_FAR,
    ),
    ForeignEnvironment(
        "ogbench", "cube-single-v0", "site:ur5e/robotiq/pinch",
        "move-object:body=object_0,magnitude=0.1,onset=10", imports=("ogbench",), group="R3", env_options=_SHORT,
        encoder_options=_WHOLE_IMAGE,
    ),
    ForeignEnvironment(
        "dm_control", "dm_control/point_mass-easy-v0", "body:pointmass",
        "force:body=pointmass,magnitude=1,onset=10,duration=10", imports=("shimmy",), env_options=_LONG,
        action_repeat=10, viewpoint={"camera": "fixed"}, encoder_options=_FAR,
    ),
    ForeignEnvironment(
        "dm_control", "dm_control/finger-spin-v0", "joints:proximal",
        "torque:body=distal,magnitude=1,onset=10,duration=10",
        imports=("shimmy",), group="SO2", env_options=_SHORT, viewpoint={"camera": "cam0"}, encoder="class-pose",
        encoder_options=_WHOLE_IMAGE,
    ),
    ForeignEnvironment(
        "dm_control", "dm_control/reacher-easy-v0", "body:finger", "action-dropout:magnitude=0.5,onset=0,duration=50",
        imports=("shimmy",), env_options=_LONG, action_repeat=10, viewpoint={"camera": "fixed"},
    ),
    ForeignEnvironment(
        "gym-pusht", "gym_pusht/PushT-v0", "difference:info.pos_agent", "action-noise:magnitude=50,onset=0,duration=50",
        imports=("gym_pusht",), group="R2", env_options=("obs_type=pixels", "max_episode_steps=50"), draws=False,
    ),
    ForeignEnvironment(
        "highway-env", "parking-v0", "difference:observation.observation[0:2]",
        "blackout:magnitude=1,onset=10,duration=20", imports=("highway_env",), group="R2",
        env_options=("render_mode=rgb_array", "max_episode_steps=50"), draws=False,
    ),
)  # fmt: skip
"""The environments of the table in ``docs/environments.md``."""
