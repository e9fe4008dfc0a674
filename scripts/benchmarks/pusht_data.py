"""Data of gym-pusht with ground truth, and the errors of an encoder of agent and block on them."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import gymnasium as gym
    from numpy.typing import NDArray

    from ...envs.data.transitions import Transitions
    from ...representations.encoders.agent_object import AgentObjectEncoder

SIDE = 512.0
"""Side of the arena in pixels, the unit of positions."""
AGENT_RADIUS = 15.0
BAR = (-60.0, 0.0, 60.0, 30.0)
STEM = (-15.0, 30.0, 15.0, 120.0)
"""Boxes of the block in the frame of its body: least x and y, largest x and y."""
EPISODE = 100
"""Steps of an episode."""


def require_pusht() -> None:
    """Check that all is installed, before the work begins.

    Raises:
        ImportError: it is not.
    """
    if find_spec("gym_pusht") is None or find_spec("shapely") is None:
        raise ImportError("the benchmark in gym-pusht needs two packages; run pip install 'equiact[pusht]'")


def make_pusht() -> gym.Env[Any, Any]:
    """Return the environment, which observes 64 × 64 images."""
    import gym_pusht  # registers the environment
    import gymnasium as gym

    options: dict[str, Any] = {
        "obs_type": "pixels",
        "observation_width": 64,
        "observation_height": 64,
        "max_episode_steps": EPISODE,
    }
    return gym.make(f"{gym_pusht.__name__}/PushT-v0", **options)


def collect_pusht(count: int, seed: int, progress: Callable[[int], None] = lambda done: None) -> Transitions:
    """Collect transitions with random targets of the agent, and the ground truth of every frame for evaluation.

    Args:
        count: number of transitions, rounded up to whole episodes.
        seed: seed of the initial states and the actions.
        progress: called with the number of transitions so far.
    """
    from ...envs.data.transitions import Transitions

    env, generator, episodes, done = make_pusht(), np.random.default_rng(seed), [], 0
    while done < count:
        image, info = env.reset(seed=int(generator.integers(2**31)))
        images, agent, block, ended = [image], [info["pos_agent"]], [info["block_pose"]], False
        while not ended:
            image, _, terminated, truncated, info = env.step(generator.uniform(0, SIDE, 2).astype(np.float32))
            images.append(image)
            agent.append(info["pos_agent"])
            block.append(info["block_pose"])
            ended = terminated or truncated
        truth = {"agent_pose": np.array(agent, np.float32), "object_pose": np.array(block, np.float32)}
        moved = np.diff(truth["agent_pose"], axis=0)
        episodes.append({"images": np.array(images), "displacement": moved, "ground_truth": truth})
        done += len(moved)
        progress(min(done, count))
    env.close()
    return Transitions.from_episodes(episodes, group="R2")


def pusht_errors(encoder: AgentObjectEncoder, held_out: Transitions) -> dict[str, float]:
    """Return the errors of an encoder that was trained with ``object_shape="any"``.

    Args:
        encoder: the encoder.
        held_out: transitions of `collect_pusht` that it was not trained on.
    """
    from ...representations.metrics.object_pose_metrics import fixed_point_errors, orientation_errors

    latents = encoder.encode(held_out.frames)
    agent, block = held_out.ground_truth["agent_pose"], held_out.ground_truth["object_pose"]
    offset = (latents["agent"] - agent).mean(0)
    position, angle = block[:, :2], block[:, 2]
    turned = orientation_errors(latents["orientation"], angle, int(encoder.outline.order))
    middle = np.hypot(*(position - position.mean(0)).T)
    return {
        "agent RMSE, %": _rms_percent(np.hypot(*(latents["agent"] - offset - agent).T)),
        "block RMSE, %": _rms_percent(fixed_point_errors(latents["object"], position, angle)),
        "block RMSE, chance": _rms_percent(middle),
        "orientation, median, °": float(np.median(turned)),
        "outline overlap": outline_overlap(encoder, latents, held_out),
    }


def _rms_percent(errors: NDArray[np.floating[Any]]) -> float:
    return 100 * float(np.sqrt(np.square(errors).mean())) / SIDE


def outline_overlap(encoder: AgentObjectEncoder, latents: Any, held_out: Transitions) -> float:
    """Return intersection over union of the learned outline and that of the block, both grown by the agent's radius.

    The outline is placed by what the encoder says of the held-out frames: in the frame of the block its mean position
    and its mean orientation.
    """
    from shapely.affinity import rotate, translate
    from shapely.geometry import Polygon, box

    from ...representations.metrics.object_pose_metrics import reference_angle

    agent, block = held_out.ground_truth["agent_pose"], held_out.ground_truth["object_pose"]
    angle = block[:, 2]
    seen = latents["object"] - (latents["agent"] - agent).mean(0) - block[:, :2]
    cosine, sine = np.cos(angle), np.sin(angle)
    x, y = (cosine * seen[:, 0] + sine * seen[:, 1]).mean(), (cosine * seen[:, 1] - sine * seen[:, 0]).mean()
    turned = reference_angle(latents["orientation"], angle, int(encoder.outline.order))
    learned = Polygon(encoder.outline_polygon.numpy()).buffer(0)
    learned = translate(rotate(learned, turned, origin=(0, 0), use_radians=True), x, y)
    true = box(*BAR).union(box(*STEM)).buffer(AGENT_RADIUS)
    return float(learned.intersection(true).area / learned.union(true).area)
