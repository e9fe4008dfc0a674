"""The pose-set encoder: an invariant class, and a set of group elements as the pose of an object with symmetries.

Pérez Rey, Marchetti, Kragic, Jarnikov, Holenderski, *Equivariant representation learning in the presence of
stabilizers*, ECML PKDD 2023 (arXiv:2301.05231). The stabilizer of ``x`` is the subgroup of elements with ``g·x = x``;
the pose of ``x`` is a coset of it. The encoder returns a class ``φ_E`` and ``N`` elements ``φ_1 … φ_N`` that estimate
the coset, and is trained on ``y = g·x`` with

    L = E Σ_i min_j d(φ_i(y), g·φ_j(x))² + λ E mean_ij d(φ_i(y), φ_j(y))² + InfoNCE(φ_E).

The second term makes surplus elements equal: as many stay distinct as the stabilizer has elements.

Deviations from the paper
-------------------------
* Those of `equiact.representations.encoders.class_pose`; two images of a trajectory, not four: with four, and therefore
  fewer trajectories in a batch, symmetry orders of Arrows were missed.
* **λ is annealed** from 20 times its value. Before the pose is learned, a set that is spread evenly over the group has
  the lowest loss. Many elements map such a set to itself, and the second term has no gradient there: it stays, and
  every object seems to have ``N`` symmetries. A set that starts as one element splits only where one element cannot
  follow the object.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

from ..learning.config import OptimConfig, check_range
from ..learning.learner import Stage
from ..learning.losses import ClassPoseLossConfig
from ..learning.pair_sampling import PairSamplingConfig
from .class_pose_base import ClassPoseBase, ClassPoseBaseConfig
from .class_pose_learner import ClassPoseLearner
from .pose_heads import PoseHead, PoseSetHead
from .registry import register_encoder


@dataclass(frozen=True)
class PoseSetLossConfig(ClassPoseLossConfig):
    """Set the weights of the losses of a `PoseSetEncoder`, beside those of `ClassPoseLossConfig`.

    Attributes:
        set_cohesion: λ, the weight of the term that makes surplus poses equal; 1 in the paper, 5 for solids.
        annealing: factors on λ, one after another, each for the same share of the updates.

    Raises:
        ConfigError: a value is out of range.
    """

    set_cohesion: float = 1.0
    annealing: tuple[float, ...] = (20.0, 10.0, 5.0, 2.0, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "set_cohesion", at_least=0)
        check_range(self, "annealing", at_least=0)


@dataclass(frozen=True)
class PoseSetConfig(ClassPoseBaseConfig):
    """Set the hyper-parameters of a `PoseSetEncoder`.

    With ``optim.lr = 3e-3`` the poses of a set separate before the object's pose is learned.

    Attributes:
        num_poses: ``N``, at least the order of the largest stabilizer that is to be found.

    Raises:
        ConfigError: a value is out of range.

    Example:
        >>> PoseSetConfig(num_poses=4_000_000)
        Traceback (most recent call last):
        equiact.representations.learning.config.ConfigError: num_poses must be at least 1 and at most 10000, got 4000000
    """

    num_poses: int = 10
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(steps=6000, lr=1e-3))
    pairs: PairSamplingConfig = field(default_factory=lambda: PairSamplingConfig(views=2))
    loss: PoseSetLossConfig = field(default_factory=PoseSetLossConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "num_poses", at_least=1, at_most=10_000)


class PoseSetLearner(ClassPoseLearner["PoseSetEncoder"]):
    """Train a `PoseSetEncoder`: one stage for each factor on λ, ``minimise L_poses(λ) + InfoNCE(φ_E)``.

    Args:
        network: the encoder.
        transitions: frames and displacements; the ground truth is not read.

    Raises:
        ValueError: the group or the frames of the transitions are not those of the encoder.
    """

    def stages(self) -> list[Stage]:
        """Return a stage for each factor on λ, or a single stage if λ is 0."""
        config, (whole,) = self.network.config.loss, super().stages()
        if config.set_cohesion == 0 or not config.annealing:
            return [replace(whole, loss=partial(self.loss, set_cohesion=config.set_cohesion))]
        steps = max(1, whole.steps // len(config.annealing))
        return [
            replace(
                whole,
                name=f"pairs, λ × {factor:g}",
                steps=steps,
                loss=partial(self.loss, set_cohesion=factor * config.set_cohesion),
            )
            for factor in config.annealing
        ]


@register_encoder("pose-set")
class PoseSetEncoder(ClassPoseBase):
    """An invariant class on the unit sphere, and a set of poses, for objects with symmetries.

    Latents: ``class`` ``(B, class_dim)``, of length 1, and ``poses`` ``(B, N, group.dim)``, with
    ``g·(e, {h_i}) = (e, {g·h_i})``. Source: arXiv:2301.05231.

    Args:
        shape: height, width and channels of the images.
        group: name of the group that acts, such as ``"SO3"``.
        config: hyper-parameters.
    """

    config_class = PoseSetConfig
    learner_class = PoseSetLearner
    config: PoseSetConfig

    def __init__(self, shape: tuple[int, int, int], group: str, config: PoseSetConfig = PoseSetConfig()) -> None:
        super().__init__(shape, group, config)

    def make_pose_head(self, features: int) -> PoseHead:
        """Return a `PoseSetHead`."""
        return PoseSetHead(features, self.acting, self.config.num_poses, self.config.loss)
