"""Learn equivariant representations from images and actions, and use them in policies.

``import equiact`` registers the worlds with Gymnasium, such as ``gymnasium.make("equiact/Soccer-v0")``. It loads
neither torch nor a simulator: a public name is imported when it is first used.

Example:
    >>> import equiact
    >>> "AgentObjectEncoder" in dir(equiact)
    True
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from . import envs as envs

if TYPE_CHECKING:
    from .agents.downstream.mapping import PlaceMap as PlaceMap
    from .agents.downstream.planning import plan_action as plan_action
    from .agents.evaluation.perturbed_evaluation import evaluate_perturbations as evaluate_perturbations
    from .agents.evaluation.rollouts import evaluate_policy as evaluate_policy
    from .agents.exploration.learned_exploration import ExplorationConfig as ExplorationConfig
    from .agents.exploration.learned_exploration import explore as explore
    from .agents.policies.behavior_cloning import BCPolicy as BCPolicy
    from .agents.policies.encode_observation import EncodeObservation as EncodeObservation
    from .agents.policies.encode_observation import VectorEncodeObservation as VectorEncodeObservation
    from .agents.policies.policy_loading import resolve_policy as resolve_policy
    from .agents.policies.sb3_features import EncoderFeatures as EncoderFeatures
    from .agents.policies.sb3_features import VecEncodeObservation as VecEncodeObservation
    from .agents.policies.stitched_encoder import RelativeEncoder as RelativeEncoder
    from .agents.policies.stitched_encoder import StitchedEncoder as StitchedEncoder
    from .agents.recovery.action_maps import AbsoluteActionMap as AbsoluteActionMap
    from .agents.recovery.action_maps import FunctionActionMap as FunctionActionMap
    from .agents.recovery.action_maps import LinearActionMap as LinearActionMap
    from .agents.recovery.calibration import calibrate_recovery as calibrate_recovery
    from .agents.recovery.config import RecoveryConfig as RecoveryConfig
    from .agents.recovery.conformal import Trigger as Trigger
    from .agents.recovery.conformal import calibrate_trigger as calibrate_trigger
    from .agents.recovery.recovery_policy import RecoveryPolicy as RecoveryPolicy
    from .envs.data.collect import collect as collect
    from .envs.data.minari_dataset import load_transitions as load_transitions
    from .envs.data.minari_dataset import save_transitions as save_transitions
    from .envs.data.policy import Policy as Policy
    from .envs.data.policy import as_policy as as_policy
    from .envs.data.transitions import Transitions as Transitions
    from .envs.data_formats.dataset_loading import load_dataset as load_dataset
    from .envs.data_formats.displacement_rule import DisplacementRule as DisplacementRule
    from .envs.data_formats.lerobot_writer import save_lerobot as save_lerobot
    from .envs.env_factory import make_env as make_env
    from .envs.lie_groups.group import Group as Group
    from .envs.lie_groups.registry import group_from_name as group_from_name
    from .envs.lie_groups.registry import register_group as register_group
    from .envs.mujoco_envs.body_displacement import BodyDisplacement as BodyDisplacement
    from .envs.mujoco_envs.cameras import Viewpoint as Viewpoint
    from .envs.mujoco_envs.ray_traced_pixels import RayTracedPixels as RayTracedPixels
    from .envs.mujoco_envs.ray_traced_pixels import VectorRayTracedPixels as VectorRayTracedPixels
    from .envs.mujoco_envs.restorable_env import RestorableEnv as RestorableEnv
    from .envs.perturbations.parsing import parse_perturbation as parse_perturbation
    from .envs.perturbations.perturbation import Perturbation as Perturbation
    from .envs.perturbations.perturbed_env import PerturbedEnv as PerturbedEnv
    from .envs.perturbations.receipt import Receipt as Receipt
    from .envs.perturbations.registry import register_perturbation as register_perturbation
    from .envs.worlds.registry import register_world as register_world
    from .envs.worlds.registry import world_class as world_class
    from .envs.wrappers.task_perturbation import TaskPerturbation as TaskPerturbation
    from .representations.analysis.dimension.jacobian_rank import jacobian_rank as jacobian_rank
    from .representations.analysis.hyperbolic.alignment import alignment_test as alignment_test
    from .representations.analysis.hyperbolic.alignment import delaunay_alignment as delaunay_alignment
    from .representations.analysis.lattices.latent_periods import estimate_periods as estimate_periods
    from .representations.analysis.lattices.lll import lll_reduce as lll_reduce
    from .representations.analysis.lattices.move_reduction import projection_reduce as projection_reduce
    from .representations.analysis.stitching.alignments import isometric_alignment as isometric_alignment
    from .representations.analysis.symmetry.action_encoder import discover_action_group as discover_action_group
    from .representations.analysis.symmetry.group_recovery import discover_group as discover_group
    from .representations.densities.registry import register_density as register_density
    from .representations.encoders.agent_object import AgentObjectConfig as AgentObjectConfig
    from .representations.encoders.agent_object import AgentObjectEncoder as AgentObjectEncoder
    from .representations.encoders.agent_objects import AgentObjectsConfig as AgentObjectsConfig
    from .representations.encoders.agent_objects import AgentObjectsEncoder as AgentObjectsEncoder
    from .representations.encoders.class_pose import ClassPoseConfig as ClassPoseConfig
    from .representations.encoders.class_pose import ClassPoseEncoder as ClassPoseEncoder
    from .representations.encoders.encoder import Encoder as Encoder
    from .representations.encoders.encoder import load_encoder as load_encoder
    from .representations.encoders.harmonic_encoder import HarmonicConfig as HarmonicConfig
    from .representations.encoders.harmonic_encoder import HarmonicEncoder as HarmonicEncoder
    from .representations.encoders.onnx_export import export_onnx as export_onnx
    from .representations.encoders.pose_set_encoder import PoseSetConfig as PoseSetConfig
    from .representations.encoders.pose_set_encoder import PoseSetEncoder as PoseSetEncoder
    from .representations.encoders.registry import load_config as load_config
    from .representations.encoders.registry import register_encoder as register_encoder
    from .representations.encoders.registry import register_learner as register_learner
    from .representations.encoders.translation_encoder import TranslationConfig as TranslationConfig
    from .representations.encoders.translation_encoder import TranslationEncoder as TranslationEncoder
    from .representations.learning.config import ConfigError as ConfigError
    from .representations.learning.config import OptimConfig as OptimConfig
    from .representations.learning.config import scale_steps as scale_steps
    from .representations.learning.training import train_encoder as train_encoder
    from .representations.learning.training import train_learner as train_learner
    from .representations.metrics.registry import register_metric as register_metric

__version__ = "0.2.0"

_EXPORTS = {
    "AbsoluteActionMap": "agents.recovery.action_maps",
    "AgentObjectConfig": "representations.encoders.agent_object",
    "AgentObjectEncoder": "representations.encoders.agent_object",
    "AgentObjectsConfig": "representations.encoders.agent_objects",
    "AgentObjectsEncoder": "representations.encoders.agent_objects",
    "BCPolicy": "agents.policies.behavior_cloning",
    "BodyDisplacement": "envs.mujoco_envs.body_displacement",
    "ClassPoseConfig": "representations.encoders.class_pose",
    "ClassPoseEncoder": "representations.encoders.class_pose",
    "ConfigError": "representations.learning.config",
    "DisplacementRule": "envs.data_formats.displacement_rule",
    "EncodeObservation": "agents.policies.encode_observation",
    "Encoder": "representations.encoders.encoder",
    "EncoderFeatures": "agents.policies.sb3_features",
    "ExplorationConfig": "agents.exploration.learned_exploration",
    "FunctionActionMap": "agents.recovery.action_maps",
    "Group": "envs.lie_groups.group",
    "HarmonicConfig": "representations.encoders.harmonic_encoder",
    "HarmonicEncoder": "representations.encoders.harmonic_encoder",
    "LinearActionMap": "agents.recovery.action_maps",
    "OptimConfig": "representations.learning.config",
    "Perturbation": "envs.perturbations.perturbation",
    "PerturbedEnv": "envs.perturbations.perturbed_env",
    "PlaceMap": "agents.downstream.mapping",
    "Policy": "envs.data.policy",
    "PoseSetConfig": "representations.encoders.pose_set_encoder",
    "PoseSetEncoder": "representations.encoders.pose_set_encoder",
    "RayTracedPixels": "envs.mujoco_envs.ray_traced_pixels",
    "Receipt": "envs.perturbations.receipt",
    "RecoveryConfig": "agents.recovery.config",
    "RecoveryPolicy": "agents.recovery.recovery_policy",
    "RelativeEncoder": "agents.policies.stitched_encoder",
    "RestorableEnv": "envs.mujoco_envs.restorable_env",
    "StitchedEncoder": "agents.policies.stitched_encoder",
    "TaskPerturbation": "envs.wrappers.task_perturbation",
    "Transitions": "envs.data.transitions",
    "TranslationConfig": "representations.encoders.translation_encoder",
    "TranslationEncoder": "representations.encoders.translation_encoder",
    "Trigger": "agents.recovery.conformal",
    "VecEncodeObservation": "agents.policies.sb3_features",
    "VectorEncodeObservation": "agents.policies.encode_observation",
    "VectorRayTracedPixels": "envs.mujoco_envs.ray_traced_pixels",
    "Viewpoint": "envs.mujoco_envs.cameras",
    "alignment_test": "representations.analysis.hyperbolic.alignment",
    "as_policy": "envs.data.policy",
    "calibrate_recovery": "agents.recovery.calibration",
    "calibrate_trigger": "agents.recovery.conformal",
    "collect": "envs.data.collect",
    "delaunay_alignment": "representations.analysis.hyperbolic.alignment",
    "discover_action_group": "representations.analysis.symmetry.action_encoder",
    "discover_group": "representations.analysis.symmetry.group_recovery",
    "estimate_periods": "representations.analysis.lattices.latent_periods",
    "evaluate_perturbations": "agents.evaluation.perturbed_evaluation",
    "evaluate_policy": "agents.evaluation.rollouts",
    "explore": "agents.exploration.learned_exploration",
    "export_onnx": "representations.encoders.onnx_export",
    "group_from_name": "envs.lie_groups.registry",
    "isometric_alignment": "representations.analysis.stitching.alignments",
    "jacobian_rank": "representations.analysis.dimension.jacobian_rank",
    "lll_reduce": "representations.analysis.lattices.lll",
    "load_config": "representations.encoders.registry",
    "load_dataset": "envs.data_formats.dataset_loading",
    "load_encoder": "representations.encoders.encoder",
    "load_transitions": "envs.data.minari_dataset",
    "make_env": "envs.env_factory",
    "parse_perturbation": "envs.perturbations.parsing",
    "plan_action": "agents.downstream.planning",
    "projection_reduce": "representations.analysis.lattices.move_reduction",
    "register_density": "representations.densities.registry",
    "register_encoder": "representations.encoders.registry",
    "register_group": "envs.lie_groups.registry",
    "register_learner": "representations.encoders.registry",
    "register_metric": "representations.metrics.registry",
    "register_perturbation": "envs.perturbations.registry",
    "register_world": "envs.worlds.registry",
    "resolve_policy": "agents.policies.policy_loading",
    "save_lerobot": "envs.data_formats.lerobot_writer",
    "save_transitions": "envs.data.minari_dataset",
    "scale_steps": "representations.learning.config",
    "train_encoder": "representations.learning.training",
    "train_learner": "representations.learning.training",
    "world_class": "envs.worlds.registry",
}
"""Public names and the modules that define them."""

_EXTRAS = {"mujoco": "sim", "mujoco_warp": "sim", "warp": "sim", "minari": "data", "stable_baselines3": "rl"}
"""Modules that are not always installed, and the extra of the installation that brings each."""
_REQUIRED = {"agents.policies.sb3_features": "stable_baselines3"}
"""Modules of this package that cannot be imported without one of an extra."""


def _is_installed(module: str) -> bool:
    """Return whether a module can be imported, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


_MISSING = {module for module, needed in _REQUIRED.items() if not _is_installed(needed)}
__all__ = ["__version__", *(name for name, module in _EXPORTS.items() if module not in _MISSING)]


def __getattr__(name: str) -> Any:
    """Import a public name, or a subpackage, at its first use.

    Raises:
        AttributeError: the package has no public name like this.
        ModuleNotFoundError: the name needs a package that is not installed; the message names the extra to install.
    """
    if name in ("agents", "representations", "scripts"):
        return importlib.import_module(f".{name}", __name__)
    if name not in _EXPORTS:
        raise AttributeError(
            f"module 'equiact' has no attribute {name!r}; public names are {', '.join(sorted(_EXPORTS))}"
        )
    try:
        value = getattr(importlib.import_module(f".{_EXPORTS[name]}", __name__), name)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRAS:
            raise
        needed = f"equiact.{name} needs the package {package}; run: pip install 'equiact[{_EXTRAS[package]}]'"
        raise ModuleNotFoundError(needed, name=package) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted({*globals(), *_EXPORTS})
