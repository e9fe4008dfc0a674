"""Record demonstrations: episodes as `Transitions` in which an expert labels every step with its action.

The expert may carry out its own actions (behaviour cloning), noisy ones (DART), or only label the states that a learner
reaches (DAgger).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.batched_envs.world_episodes import WorldEpisodes
from ...envs.data.policy import GroundTruthPolicy, Policy, PolicyLike, as_policy
from ...envs.data.rollout import BatchObservation, rollout
from ...envs.data.trajectories import episode_ids
from ...envs.data.transitions import Transitions
from ...envs.simulation.state_layout import Float
from ...envs.worlds.task_world import TaskWorld
from .experts import expert as scripted_expert


def demonstrate(
    world: TaskWorld,
    episodes: int,
    seed: int,
    *,
    noise: float = 0.0,
    learner: PolicyLike | None = None,
    only_successes: bool = True,
    expert: Policy | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Transitions:
    """Record episodes in which an expert labels every step with its action.

    Args:
        world: a batch of worlds, all of which are recorded at a time.
        episodes: number of episodes to return.
        seed: of initial states and noise.
        noise: standard deviation in metres of the Gaussian noise added to displacements when they are carried out. The
            recorded actions are without noise (DART: Laskey et al., CoRL 2017).
        learner: a policy whose actions are carried out instead of the expert's (DAgger: Ross et al., AISTATS 2011).
        only_successes: leave out episodes in which the task was not achieved.
        expert: the policy that labels; the scripted expert of the world if None, which is privileged: it reads ground
            truth.
        progress: called with the number of episodes so far.

    Returns:
        The episodes one after another, with the expert's ``action`` in every step.

    Raises:
        RuntimeError: no episode of a whole batch succeeded.

    Example:
        >>> from equiact.envs.worlds.tabletop import Push
        >>> data = demonstrate(Push(2, resolution=(8, 8), device="cpu"), episodes=2, seed=0)
        >>> data.action.shape[1]
        4
    """
    generator = np.random.default_rng(seed)
    labels = GroundTruthPolicy(world, scripted_expert) if expert is None else expert
    kept: list[_Episode] = []
    while len(kept) < episodes:
        batch = _record(world, generator, noise, None if learner is None else as_policy(learner), labels)
        chosen = [episode for episode in batch if episode.success or not only_successes]
        if not chosen:
            raise RuntimeError(f"none of {len(batch)} episodes succeeded: the expert cannot do this task")
        kept += chosen
        progress(min(len(kept), episodes))
    return _join(kept[:episodes], world.group.name)


def density_conditions(
    demonstrations: Transitions, dim: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.float64]]:
    """Return what a density of demonstrations is conditioned on.

    Args:
        demonstrations: ``N`` transitions with actions, of ``E`` episodes.
        dim: number of coordinates of the displacement in an action; commands follow.

    Returns:
        First frame of every episode, ``(E, H, W, C)``; episode of each transition, ``(N,)``; and the commands of the
        step before it, -1 or 1, ``(N, commands)``, which are 1 in the first step of an episode.

    Raises:
        ValueError: the transitions have no actions.
    """
    if demonstrations.action is None:
        raise ValueError("demonstrations with actions were expected, got transitions without")
    episode = episode_ids(demonstrations)
    begins = np.append(True, episode[1:] != episode[:-1])
    given = np.where(demonstrations.action[:, dim:] < 0, -1.0, 1.0)
    before = np.concatenate([np.ones_like(given[:1]), given[:-1]])
    before[begins] = 1.0
    return demonstrations.frames[demonstrations.start[begins]], episode, before


class _LabellingPolicy:
    """Carries out the expert's or a learner's actions with noise, and remembers the expert's as labels.

    Args:
        episodes: the batch that it acts in, which knows the running episodes.
        expert: the policy that labels.
        learner: the policy whose actions are carried out; the expert if None.
        noise: draws noise ``(num_worlds, dim)`` for the displacements.
    """

    def __init__(
        self, episodes: WorldEpisodes, expert: Policy, learner: Policy | None, noise: Callable[[], Float]
    ) -> None:
        self._episodes, self._expert, self._learner, self._noise = episodes, expert, learner, noise
        self.label: Float = np.zeros((0, 0))

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Float, Any]:
        expert_state, learner_state = (None, None) if state is None else state
        label, expert_state = self._expert.predict(observation, expert_state, episode_start, deterministic)
        self.label = np.array(label, float)
        carried = self.label.copy()
        if self._learner is not None:
            # A policy without memory needs no actions for episodes that are over. One with memory keeps all its rows.
            running = self._episodes.running
            rows = running if learner_state is None else np.ones_like(running)
            carried[rows], learner_state = self._learner.predict(
                observation[rows], learner_state, episode_start[rows], deterministic
            )
        noise = self._noise()
        carried[:, : noise.shape[1]] += noise
        return carried, (expert_state, learner_state)


class _Episode:
    """Frames, poses, actions and displacements of one world."""

    def __init__(self) -> None:
        self.frames: list[NDArray[np.uint8]] = []
        self.ground_truth: dict[str, list[Float]] = {"agent_pose": [], "object_pose": []}
        self.action: list[Float] = []
        self.displacement: list[Float] = []
        self.touched: list[bool] = []
        self.success = False

    def add_frame(self, seen: BatchObservation, index: int) -> None:
        """Store the frame and the poses of world ``index``."""
        self.frames.append(seen.observation[index])
        for name, values in self.ground_truth.items():
            values.append(seen.info[name][index])

    def add_step(self, label: Float, info: dict[str, Any], index: int) -> None:
        """Store the action and the result of a step of world ``index``."""
        self.action.append(label[index])
        self.displacement.append(info["displacement"][index])
        self.touched.append(bool(info["touched"][index]))
        self.success |= bool(info["success"][index])


def _record(
    world: TaskWorld, generator: np.random.Generator, noise: float, learner: Policy | None, expert: Policy
) -> list[_Episode]:
    """Return one episode of every world."""
    count, dim = world.num_worlds, world.group.dim
    world.reset(np.arange(count), generator.spawn(count))
    batch = WorldEpisodes(world)
    acting = _LabellingPolicy(batch, expert, learner, lambda: noise * generator.normal(size=(count, dim)))
    episodes = [_Episode() for _ in range(count)]
    for step in rollout(batch, acting):
        for index in np.flatnonzero(step.valid).tolist():
            episodes[index].add_frame(step.start, index)
            episodes[index].add_step(acting.label, step.end.info, index)
        for index in np.flatnonzero(step.ended).tolist():
            episodes[index].add_frame(step.end, index)
    return episodes


def _join(episodes: list[_Episode], group: str) -> Transitions:
    lengths = np.array([len(episode.action) for episode in episodes])
    first = np.cumsum(lengths + 1) - (lengths + 1)
    start = np.concatenate([at + np.arange(length) for at, length in zip(first, lengths, strict=True)])
    return Transitions(
        frames=np.concatenate([np.stack(episode.frames) for episode in episodes]),
        start=start,
        end=start + 1,
        displacement=np.concatenate([episode.displacement for episode in episodes]).astype(np.float32),
        group=group,
        ground_truth={
            name: np.concatenate([episode.ground_truth[name] for episode in episodes]).astype(np.float32)
            for name in episodes[0].ground_truth
        },
        touched=np.concatenate([episode.touched for episode in episodes]),
        action=np.concatenate([episode.action for episode in episodes]).astype(np.float32),
    )
