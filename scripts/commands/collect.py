"""The command ``equiact collect``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from ..collect_and_train import collect_at_random, explore_world, has_object, rounds_folder
from ..environment_collection import CollectionEnv, collect_in_environment, explore_in_environment
from .command import Command
from .config_options import preview
from .registry import register_command

if TYPE_CHECKING:
    from ...agents.exploration.learned_exploration import Exploration, ExplorationConfig

DEFAULT_WORLD = "Soccer"


@register_command("collect")
@dataclass(frozen=True)
class Collect(Command):
    """Collect transitions in a world or in any environment, and write them as a Minari data set.

    With --env the environment may be of any package. Say by --displacement where the displacement of the agent is, and
    by --pixels that images are to be drawn by ray tracing, without OpenGL, if it is a MuJoCo environment.

    Random actions seldom touch an object. With --explore learned only the first round is random: an agent-object
    encoder learns from it where the object is, half of the next actions go there, and so on. No ground truth is read.
    `equiact collect --explore learned --help` also shows the hyper-parameters of the exploration and its encoder.
    """

    config: Path | None = None
    """YAML file with values of options and, with --explore learned, hyper-parameters such as `encoder: {object_shape:
    any}`. Options on the command line take precedence."""
    world: str | None = None
    """Name of the world; Soccer if neither this nor --env is given."""
    env: str | None = None
    """Environment: a Gymnasium id such as Pusher-v5, package:id, or module:function."""
    imports: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(name="import")] = ()
    """Package that registers the environment when it is imported; may be repeated."""
    env_option: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Argument of the environment, key=value, with a JSON value or text; may be repeated."""
    action_repeat: int = 1
    """Number of steps of the environment for which each action is held; they are one transition. For environments that
    move less than a pixel in one step."""
    displacement: str | None = None
    """Displacement of the agent: info:KEY, difference:info.KEY (or observation.KEY, env.NAME), body:NAME, site:NAME,
    joints:NAME,NAME, or module:function of info. Options follow after commas: body:fingertip,plane=xz,noise=0.01."""
    group: str | None = None
    """Group that acts, such as R2 or SE2; by default that of the environment or of the rule."""
    explore: Literal["learned", "random"] | None = None
    """How to act without a policy: go to the object that was learned from the rounds before, or at random. By default
    learned in worlds with an object, and random elsewhere."""
    policy: str | None = None
    """Policy that acts on the environment's own observations: a folder, a .zip of Stable-Baselines3, an .onnx file, or
    module:function; see --explore for the default."""
    trust_policy: bool = False
    """Load a policy that is a pickle, which can execute any code. Only for files that you trust."""
    image_key: str | None = None
    """Entry of Dict observations that holds the image, needed if there are several; or render, for the images that the
    environment draws."""
    pixels: bool = False
    """Draw the images by ray tracing, in MuJoCo environments."""
    camera: str | None = None
    """Name of the camera of the model; by default the one of the environment's own renderer."""
    lookat: tuple[float, float, float] | None = None
    """Point that a free camera looks at, in metres."""
    distance: float | None = None
    """Distance of a free camera from that point, in metres."""
    azimuth: float | None = None
    """Direction of a free camera, in degrees from the x axis."""
    elevation: float | None = None
    """Angle of a free camera above the horizon, in degrees; negative to look down."""
    resolution: tuple[int, int] | None = None
    """Height and width of the images, in pixels; 64 64 for ray-traced ones by default, and others as they are."""
    num_envs: int = 4
    """Number of copies of the environment, which act in turn."""
    transitions: int = 20_000
    """Number of transitions."""
    output_dir: Path = Path("runs/data")
    """Folder of the data set; one that equiact wrote is replaced, anything else is refused."""
    hyperparameters: tyro.conf.Suppress[Any] = None
    """Configuration of learned exploration; the default one if None."""

    @classmethod
    def default_config(cls, arguments: Sequence[str]) -> ExplorationConfig | None:
        given = preview(arguments, "explore", "config")
        if given["explore"] != "learned" and given["config"] is None:
            return None
        from ...agents.exploration.learned_exploration import ExplorationConfig

        return ExplorationConfig()

    def run(self) -> dict[str, Any]:
        from ...envs.data.minari_dataset import save_transitions
        from ...envs.storage.artifacts import folder_lock

        self.require_at_least(transitions=1, num_envs=1, action_repeat=1, seed=0)
        folder = self.check_output("output_dir", "dataset")
        self._check()
        with folder_lock(folder):
            found = self._collect()
            save_transitions(found.transitions, folder)
        transitions, contacts = found.transitions, [each.contact_share for each in found.rounds]
        touched = transitions.touched
        return {
            "transitions": len(transitions),
            "frames": len(transitions.frames),
            **({} if touched is None and self.env else {"touched": 0.0 if touched is None else float(touched.mean())}),
            **({"contacts_by_round": contacts} if contacts else {}),
            **({"warnings": [found.doubt]} if found.doubt else {}),
            **({"group": transitions.group} if self.env else {}),
            "folder": str(self.output_dir),
        }

    def _check(self) -> None:
        """Check that options of an environment are given with --env only.

        Raises:
            ValueError: they are given without it, or with --world.
        """
        if self.env is not None and self.world is not None:
            raise ValueError(f"expected --env or --world, got both: {self.env} and {self.world}; leave one out")
        defaults = {field.name: field.default for field in fields(self)}
        given = [name for name in OF_ENVIRONMENTS if getattr(self, name) != defaults[name]]
        if self.env is None and given:
            option = "import" if given[0] == "imports" else given[0].replace("_", "-")
            raise ValueError(f"--{option} is an option of environments; give --env, or leave it out")
        if self.explore is not None and self.policy is not None:
            raise ValueError(
                f"expected --explore or --policy, got both: {self.explore} and {self.policy}; leave one out"
            )
        if self.explore == "learned" and self.env is None and not has_object(self._world):
            raise ValueError(
                f"expected a world with an object for --explore learned, got {self._world}; choose --explore random"
            )
        explores_otherwise = self.hyperparameters is not None and self.hyperparameters != type(self.hyperparameters)()
        if explores_otherwise and not self._learns():
            raise ValueError("expected --explore learned, since hyper-parameters of it are given; add it")
        if not self.pixels and (cameras := [name for name in given if name in CAMERA]):
            raise ValueError(f"--{cameras[0]} is an option of ray-traced images; give --pixels, too, or leave it out")

    def _collect(self) -> Exploration:
        """Return the transitions, and the rounds if the exploration was learned."""
        from ...agents.exploration.learned_exploration import Exploration
        from ...representations.learning.config import to_dict

        env = None if self.env is None else self._collection_env()
        if not self._learns():
            if env is None:
                return Exploration(collect_at_random(self._world, self.transitions, self.seed, self.device), ())
            collected = collect_in_environment(
                env, self.transitions, self.seed, policy=self.policy, trust_policy=self.trust_policy
            )
            return Exploration(collected, ())
        options = {name: getattr(self, name) for name in (*OF_ENVIRONMENTS, "env", "world", "transitions", "seed")}
        config = self._exploration
        options |= {"num_envs": self.num_envs, "config": to_dict(config)}
        rounds = rounds_folder(self.output_dir, options)
        if env is None:
            return explore_world(self._world, self.transitions, self.seed, self.device, rounds, config)
        return explore_in_environment(env, self.transitions, self.seed, self.device, rounds, config)

    @property
    def _exploration(self) -> ExplorationConfig:
        """Configuration of learned exploration."""
        from ...agents.exploration.learned_exploration import ExplorationConfig

        config: ExplorationConfig = self.hyperparameters or ExplorationConfig()
        return config

    @property
    def _world(self) -> str:
        return self.world or DEFAULT_WORLD

    def _learns(self) -> bool:
        """Return whether the exploration is learned."""
        if self.explore is None:
            return self.env is None and has_object(self._world)
        return self.explore == "learned"

    def _collection_env(self) -> CollectionEnv:
        return CollectionEnv(
            env=self.env or "",
            imports=self.imports,
            env_options=self.env_option,
            action_repeat=self.action_repeat,
            displacement=self.displacement,
            group=self.group,
            image_key=self.image_key,
            viewpoint={name: getattr(self, name) for name in CAMERA if getattr(self, name) is not None},
            pixels=self.pixels,
            resolution=self.resolution,
            num_envs=self.num_envs,
        )


CAMERA = ("camera", "lookat", "distance", "azimuth", "elevation")
"""Options of the viewpoint."""
OF_ENVIRONMENTS = (
    *("imports", "env_option", "action_repeat", "displacement", "group", "policy", "image_key", "pixels", "resolution"),
    *CAMERA,
)
"""Options that need ``--env``."""
