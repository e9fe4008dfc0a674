"""Demonstrations: episodes of an expert, or of a learner that an expert labels, as `Transitions` with actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.experts import Expert, expert
from envs.simulator import Float
from envs.task import TaskWorld
from envs.transitions import Transitions, chains

Acting = Callable[[NDArray[np.uint8], Float], Float]
"""From frames and the expert's actions to the actions that are carried out."""


def demonstrate(
    world: TaskWorld,
    episodes: int,
    seed: int,
    *,
    noise: float = 0.0,
    act: Acting | None = None,
    only_successes: bool = True,
    teacher: Expert = expert,
    progress: Callable[[int], None] = lambda done: None,
) -> Transitions:
    """Record episodes in which an expert says at every step what to do.

    Args:
        world: a batch of worlds; as many episodes are recorded at a time.
        episodes: how many to keep.
        seed: of initial states and noise.
        noise: standard deviation of what is added to the expert's displacements when they are carried out, in metres;
            the recorded actions are without it (DART: Laskey et al., CoRL 2017).
        act: carries out other actions than the expert's, such as a learner's (DAgger: Ross et al., AISTATS 2011).
        only_successes: leave out episodes in which the task was not achieved.
        teacher: the expert.
        progress: called with the number of episodes kept so far.

    Returns:
        The episodes one after another, each a chain of transitions, with the expert's ``action`` in every step.

    Raises:
        RuntimeError: in a whole batch no episode succeeded.
    """
    generator = np.random.default_rng(seed)
    kept: list[_Episode] = []
    while len(kept) < episodes:
        batch = _play(world, generator, noise, act, teacher)
        chosen = [episode for episode in batch if episode.success or not only_successes]
        if not chosen:
            raise RuntimeError(f"none of {len(batch)} episodes succeeded: the expert cannot do this task")
        kept += chosen
        progress(min(len(kept), episodes))
    return _joined(kept[:episodes], world.group.name)


def states(demonstrations: Transitions, dim: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.float64]]:
    """What a density of demonstrations is conditioned on.

    Args:
        demonstrations: transitions with actions.
        dim: coordinates of an action's displacement; commands follow.

    Returns:
        The first frame of every episode ``(E, H, W, C)``, which episode each transition is from ``(N,)``, and the
        commands given last before it, -1 or 1, ``(N, commands)``; 1 at first.
    """
    if demonstrations.action is None:
        raise ValueError("demonstrations with actions were expected, got transitions without")
    episode = chains(demonstrations)
    begins = np.append(True, episode[1:] != episode[:-1])
    given = np.where(demonstrations.action[:, dim:] < 0, -1.0, 1.0)
    before = np.concatenate([np.ones_like(given[:1]), given[:-1]])
    before[begins] = 1.0
    return demonstrations.frames[demonstrations.start[begins]], episode, before


class _Episode:
    """One world's frames, poses, actions and displacements."""

    def __init__(self) -> None:
        self.frames: list[NDArray[np.uint8]] = []
        self.truth: dict[str, list[Float]] = {"agent_pose": [], "object_pose": []}
        self.action: list[Float] = []
        self.displacement: list[Float] = []
        self.touched: list[bool] = []
        self.success = False


def _play(
    world: TaskWorld, generator: np.random.Generator, noise: float, act: Acting | None, teacher: Expert
) -> list[_Episode]:
    everyone = np.arange(world.num_worlds)
    info = world.reset(everyone, generator.spawn(world.num_worlds))
    episodes = [_Episode() for _ in everyone]
    running = everyone
    while running.size:
        frames = world.render(running)
        _note(episodes, running, frames, info)
        label = teacher(world)
        carried = label.copy()
        if act is not None:
            carried[running] = act(frames, label[running])
        carried[:, : world.group.dim] += noise * generator.normal(size=(world.num_worlds, world.group.dim))
        outcome = world.step(carried, running)
        info = outcome.info
        for index in running:
            episodes[index].action.append(label[index])
            episodes[index].displacement.append(info["displacement"][index])
            episodes[index].touched.append(bool(info["touched"][index]))
            episodes[index].success |= bool(info["success"][index])
        ended = running[(outcome.terminated | outcome.truncated)[running]]
        if ended.size:
            _note(episodes, ended, world.render(ended), info)
        running = np.setdiff1d(running, ended)
    return episodes


def _note(episodes: list[_Episode], worlds: NDArray[Any], frames: NDArray[np.uint8], info: dict[str, Any]) -> None:
    for index, frame in zip(worlds, frames, strict=True):
        episodes[index].frames.append(frame)
        for name, values in episodes[index].truth.items():
            values.append(info[name][index].copy())


def _joined(episodes: list[_Episode], group: str) -> Transitions:
    lengths = np.array([len(episode.action) for episode in episodes])
    first = np.cumsum(lengths + 1) - (lengths + 1)
    start = np.concatenate([at + np.arange(length) for at, length in zip(first, lengths, strict=True)])
    return Transitions(
        frames=np.concatenate([np.stack(episode.frames) for episode in episodes]),
        start=start,
        end=start + 1,
        displacement=np.concatenate([episode.displacement for episode in episodes]).astype(np.float32),
        group=group,
        truth={
            name: np.concatenate([episode.truth[name] for episode in episodes]).astype(np.float32)
            for name in episodes[0].truth
        },
        touched=np.concatenate([episode.touched for episode in episodes]),
        action=np.concatenate([episode.action for episode in episodes]).astype(np.float32),
    )
