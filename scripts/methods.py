"""The methods that are compared: what encodes in each of them, and what trains that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from envs.orbits import OrbitWorld
    from envs.transitions import Transitions
    from representations.acted import PairLearner

OURS = {"class-pose": "class and pose", "stabilizers": "set of poses", "harmonics": "harmonics"}
"""What ours are called in tables, by their names on the command line."""
METHODS = {
    "class-pose": (
        OURS["class-pose"],
        OURS["harmonics"],
        "MDP homomorphism",
        "linear",
        "neural renderer",
        "autoencoder",
    ),
    "stabilizers": (OURS["harmonics"], OURS["stabilizers"], "one pose", "neural renderer"),
}
"""Which are compared in each benchmark."""
GATHER = {"Solids": 5.0}
"""λ of a set's elements where it is not 1, as in the paper."""


class Method(NamedTuple):
    """How to learn from actions."""

    encoder: type[Any]
    learner: type[Any]


def method_of(name: str) -> Method:
    """The method of a name in `METHODS`."""
    from representations.baselines import dynamics, neural_renderer
    from representations.class_pose import ClassPoseEncoder, ClassPoseLearner
    from representations.harmonic_encoder import HarmonicEncoder, HarmonicLearner
    from representations.stabilizers import StabilizerEncoder, StabilizerLearner

    one_pose = Method(ClassPoseEncoder, ClassPoseLearner)
    return {
        OURS["class-pose"]: one_pose,
        OURS["harmonics"]: Method(HarmonicEncoder, HarmonicLearner),
        OURS["stabilizers"]: Method(StabilizerEncoder, StabilizerLearner),
        "one pose": one_pose,
        "MDP homomorphism": Method(dynamics.MDPHomomorphism, dynamics.DynamicsLearner),
        "linear": Method(dynamics.LinearDynamics, dynamics.DynamicsLearner),
        "neural renderer": Method(neural_renderer.NeuralRenderer, neural_renderer.NeuralRendererLearner),
        "autoencoder": Method(dynamics.AutoencoderDynamics, dynamics.AutoencoderDynamicsLearner),
    }[name]


def elements(kind: type[OrbitWorld]) -> int:
    """Size of the sets of poses in a world: a third more than its largest stabilizer has, at least 10."""
    largest = max(len(kind.stabilizer(orbit)) for orbit in range(len(kind.orbits)))
    return max(10, -(-4 * largest // 3))


def make_learner(
    name: str, kind: type[OrbitWorld], data: Transitions, backbone: str, device: str, scale: float = 1.0
) -> PairLearner[Any]:
    """What trains a method's encoder, untrained, on data of a world.

    Raises:
        ValueError: the method is not for the group.
    """
    method = method_of(name)
    of_sets = {"elements": elements(kind)} if name in (OURS["harmonics"], OURS["stabilizers"]) else {}
    gathers = {"gather": GATHER.get(kind.__name__, 1.0)} if name == OURS["stabilizers"] else {}
    encoder = method.encoder(data.frames.shape[1:], data.group, backbone, **of_sets)
    learner: PairLearner[Any] = method.learner(encoder.to(device), data, scale, **gathers)
    return learner


def suits(name: str, group: str) -> bool:
    """Whether a method is for a group."""
    try:
        require_suiting(name, group)
    except ValueError:
        return False
    return True


def require_suiting(name: str, group: str) -> None:
    """Check that a method is for a group.

    Raises:
        ValueError: it is not.
    """
    try:
        method_of(name).encoder((16, 16, 3), group, "strided")
    except ValueError as error:
        raise ValueError(f"{name} cannot learn {group}: {error}; choose another --encoder") from error
