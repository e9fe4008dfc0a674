"""The harmonic encoder: an invariant class, and harmonic vectors as the pose of an object with symmetries.

A set of poses (`equiact.representations.encoders.pose_set_encoder`) must be discontinuous: an object with a symmetry of
order six has no pose that follows it continuously through a full turn. And if sixty poses of an icosahedron are learned
by distances to the nearest one, a set that is spread evenly over the group and contains no information has almost the
lowest loss. Harmonic vectors follow every object continuously. For each degree ``m`` a matrix ``F_m`` has one column in
the plane and two in space, on which ``g`` acts by an orthogonal matrix (`Harmonics`). The encoder is trained on pairs
``y = g·x`` with

    L = E Σ_m ‖F_m(y) − D_m(g) F_m(x)‖² + w Σ_m E ‖F_mᵀ F_m − 1‖² + InfoNCE(φ_E),    w = 4/5.

In a degree in which the object has no invariant vectors (below 4 for a cube), the first term is twice the squared
length of a column; the second term does not outweigh it, and the column vanishes. The other columns become orthonormal
as far as there are as many. The stabilizer is the set of elements that leave all of them unchanged: it is computed
after the training, and neither its order nor the size of a set is a hyper-parameter of the training.

Limits
------
* Degrees are learned one after another, the lowest non-zero one first. While few are learned, an object may seem more
  symmetric than it is.
* The harmonics of a product of groups are those of its factors. If an object is unchanged only after two factors made
  half a turn together, half a turn of either is reported as a symmetry.

That equivariant features are linear in the harmonics of a group is known from Cohen and Welling, *Steerable CNNs*, ICLR
2017, and Thomas et al., *Tensor field networks*, 2018 (arXiv:1802.08219). Here they are learned from images and
actions, as poses are in Pérez Rey et al., ECML PKDD 2023 (arXiv:2301.05231).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..learning.config import OptimConfig, check_range
from .class_pose_base import ClassPoseBase, ClassPoseBaseConfig
from .class_pose_learner import ClassPoseLearner
from .group_harmonics import Harmonics, HarmonicSearchConfig
from .pose_heads import HarmonicHead, PoseHead
from .registry import register_encoder


@dataclass(frozen=True)
class HarmonicConfig(ClassPoseBaseConfig):
    """Set the hyper-parameters of a `HarmonicEncoder`.

    With ``optim.lr = 3e-3`` the classes of Shapes collapse.

    Attributes:
        num_poses: size of the sets that `HarmonicEncoder.poses` returns, at least the order of the largest stabilizer;
            not used in training.
        degree: highest degree of the harmonics. In the plane at least the order of the largest stabilizer; in space at
            least that about any axis, and 6 for the icosahedron.
        match_cosine: cosine of the vectors of one image and the rotated vectors of another above which the rotation
            maps one image to the other.
        min_length: length of all vectors below which an image has no reliable pose; the columns that are learned have
            length 1.
        same_class: cosine of two classes above which they are the same.
        search: how group elements between two vectors are found.

    Raises:
        ConfigError: a value is out of range.
    """

    num_poses: int = 80
    degree: int = 6
    match_cosine: float = 0.8
    min_length: float = 0.5
    same_class: float = 0.8
    search: HarmonicSearchConfig = field(default_factory=HarmonicSearchConfig)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(steps=6000, lr=1e-3))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "num_poses", at_least=1, at_most=10_000)
        check_range(self, "degree", at_least=1, at_most=30)
        for name in ("match_cosine", "same_class"):
            check_range(self, name, at_least=0, at_most=1)
        check_range(self, "min_length", at_least=0)


@register_encoder("harmonics")
class HarmonicEncoder(ClassPoseBase):
    """An invariant class on the unit sphere, and harmonic vectors of each degree, for objects with symmetries.

    Latents: ``class`` ``(B, class_dim)``, of length 1, and ``harmonics`` ``(B, basis.dim)``, with
    ``g·(e, f) = (e, D(g) f)``. Sources: see the module.

    Args:
        shape: height, width and channels of the images.
        group: name of the group that acts: ``"SO2"``, ``"SO3"`` or a product of them.
        config: hyper-parameters.

    Raises:
        GroupError: no harmonics are implemented for the group, or it is too large to be searched.
    """

    config_class = HarmonicConfig
    learner_class = ClassPoseLearner
    config: HarmonicConfig

    def __init__(self, shape: tuple[int, int, int], group: str, config: HarmonicConfig = HarmonicConfig()) -> None:
        super().__init__(shape, group, config)

    @property
    def basis(self) -> Harmonics:
        """The harmonics of the group."""
        return self.pose_head.basis  # type: ignore[return-value]

    def make_pose_head(self, features: int) -> PoseHead:
        """Return a `HarmonicHead`."""
        config = self.config
        return HarmonicHead(
            features,
            Harmonics(self.acting, config.degree, config.search),
            config.num_poses,
            config.loss,
            match_cosine=config.match_cosine,
            min_length=config.min_length,
            same_class=config.same_class,
        )
