"""Recovery in a maze of OGBench, an environment that nobody here wrote, against simple rivals.

`docs/how-to/recover_in_your_environment.md` shows the table that `python tests/test_recovery_pointmaze.py` prints.
"""

import sys
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import pytest
import torch
from equiact.agents.recovery.action_maps import LinearActionMap
from equiact.agents.recovery.calibration import calibrate_recovery
from equiact.agents.recovery.config import RecoveryConfig
from equiact.agents.recovery.conformal import Trigger
from equiact.agents.recovery.recovery_policy import RecoveryPolicy
from equiact.representations.densities.registry import make_density
from gymnasium.vector import SyncVectorEnv

SHOVE = 6.0
"""Units by which the point is moved by hand; a corridor is 4 units wide."""


class ShovedMaze(gym.Wrapper):
    """A maze from one place to another, in which the point may be shoved once, at a random time and in any direction.

    Walls stop the point as ever. OGBench draws initial positions from NumPy's global generator, so it is seeded too.
    """

    def __init__(self, shove=0.0, steps=15):
        super().__init__(gym.make("ogbench:pointmaze-large-v0", max_episode_steps=400))
        self.shove, self.steps = shove, steps

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            np.random.seed(seed)
            self.generator = np.random.default_rng([seed, 1])
        observation, _ = self.env.reset(seed=seed, options={"task_id": 3})
        angle = self.generator.uniform(0, 2 * np.pi)
        self.onset, self.elapsed = int(self.generator.integers(20, 100)), 0
        self.move = self.shove / self.steps * np.array([np.cos(angle), np.sin(angle)])
        return observation, {}

    def step(self, action):
        if self.onset <= self.elapsed < self.onset + self.steps:
            self.unwrapped.data.qpos[:] += self.move
        self.elapsed += 1
        return self.env.step(action)


def demonstrations(noise, episodes=20, seed=1000):
    """Return positions, and actions of OGBench's oracle in them; noise disturbs what is carried out (DART)."""
    env, generator, positions, actions = ShovedMaze(), np.random.default_rng(seed), [], []
    for episode in range(episodes):
        position, _ = env.reset(seed=seed + episode)
        done = False
        while not done:
            subgoal, _ = env.unwrapped.get_oracle_subgoal(env.unwrapped.get_xy(), env.unwrapped.cur_goal_xy)
            action = (subgoal - position) / max(np.linalg.norm(subgoal - position), 1e-9)
            positions.append(position)
            actions.append(action)
            position, _, terminated, truncated, _ = env.step(np.clip(action + generator.normal(0, noise, 2), -1, 1))
            done = terminated or truncated
    return np.array(positions, np.float32), np.array(actions, np.float32)


def clone(positions, actions, seed, steps=5000):
    """Return a policy that was cloned from demonstrations."""
    torch.manual_seed(seed)
    mean, scale = positions.mean(0), positions.std(0)
    linear, relu = torch.nn.Linear, torch.nn.ReLU
    network = torch.nn.Sequential(linear(2, 128), relu(), linear(128, 128), relu(), linear(128, 2))
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    inputs, targets = torch.from_numpy((positions - mean) / scale), torch.from_numpy(actions)
    for _ in range(steps):
        batch = torch.randint(len(inputs), (256,))
        loss = (network(inputs[batch]) - targets[batch]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()

    def act(observation):
        with torch.no_grad():
            action = network(torch.from_numpy(((observation - mean) / scale).astype(np.float32)))
        return action.numpy().clip(-1, 1)

    return act


def learn_action_map(count=2000):
    """Return what displacement an action performs, learned from random actions."""
    env, generator = ShovedMaze(), np.random.default_rng(5)
    before, _ = env.reset(seed=5)
    actions, displacements = generator.uniform(-1, 1, (count, 2)), []
    for action in actions:
        after, _, terminated, truncated, _ = env.step(action)
        displacements.append(after - before)
        before = env.reset()[0] if terminated or truncated else after
    return LinearActionMap.fit(actions, np.array(displacements))


def with_recovery(base, positions, action_map, alarms=("density", "innovation", "dwell"), **config):
    """Return a calibrated recovery policy around a base policy."""
    density = make_density("nearest", 2)
    density.fit(positions[::3])
    space = gym.spaces.Box(-1, 1, (2,), np.float32)
    watching = RecoveryPolicy(
        base,
        lambda observation: observation,
        density,
        Trigger.never(),
        RecoveryConfig(step=0.2, **config),
        action_map=action_map,
        action_space=space,
    )
    env = SyncVectorEnv([ShovedMaze] * 20)
    return watching.with_trigger(calibrate_recovery(env, watching, episodes=100, seed=77, alarms=alarms))


@dataclass(frozen=True)
class Outcome:
    """Success in each episode, and whether recovery acted."""

    success: np.ndarray
    acted: np.ndarray


def play(policy, shove, episodes, first_seed):
    """Play paired episodes: the same seeds give the same initial positions and shoves."""
    envs = [ShovedMaze(shove) for _ in range(episodes)]
    observation = np.stack([env.reset(seed=first_seed + index)[0] for index, env in enumerate(envs)])
    running, success, acted = np.ones(episodes, bool), np.zeros(episodes, bool), np.zeros(episodes, bool)
    state, start = None, np.ones(episodes, bool)
    while running.any():
        if isinstance(policy, RecoveryPolicy):
            action, state = policy.predict(observation, state, start)
            acted |= running & (policy.report.blend < 0.5)
        else:
            action = policy(observation)
        start = np.zeros(episodes, bool)
        for index in np.flatnonzero(running):
            observation[index], _, terminated, truncated, info = envs[index].step(action[index])
            running[index] = not (terminated or truncated)
            success[index] = info["success"] > 0
    return Outcome(success, acted)


def policies(training_seed):
    """Return the policies of the comparison, by name."""
    positions, actions = demonstrations(noise=0.0)
    noisy_positions, noisy_actions = demonstrations(noise=0.5)
    base, noisy = clone(positions, actions, training_seed), clone(noisy_positions, noisy_actions, training_seed)
    action_map = learn_action_map()
    yield "base policy", base
    yield "recovery, back to the last known place", with_recovery(base, positions, action_map, restart=False)
    yield "recovery, back to the start", with_recovery(base, positions, action_map, restart=True)
    yield "towards the nearest demonstration", with_recovery(base, positions, action_map, ("density",), climb=True)
    yield "cloned from noisy demonstrations (DART)", noisy
    yield "DART with recovery", with_recovery(noisy, noisy_positions, action_map, restart=False)


@pytest.mark.slow
def test_going_back_to_the_last_known_place_helps_in_a_maze_of_others():
    pytest.importorskip("ogbench", reason="the maze is OGBench's")
    named = policies(training_seed=0)
    _, base = next(named)
    _, recovery = next(named)
    clean, shoved = play(base, 0.0, 100, 0), play(base, SHOVE, 100, 0)
    safe, rescued = play(recovery, 0.0, 100, 0), play(recovery, SHOVE, 100, 0)
    assert clean.success.mean() > 0.9 and shoved.success.mean() < 0.9, "shoves are a problem of the base policy"
    assert safe.success.mean() > clean.success.mean() - 0.05 and safe.acted.mean() < 0.15
    assert rescued.acted.mean() > 0.9, "a shove is noticed"
    assert (rescued.success & ~shoved.success).sum() >= 10
    assert (shoved.success & ~rescued.success).sum() <= 2


def main():
    """Print the table of the documentation: three trained policies, 100 paired episodes each."""
    torch.set_num_threads(1)
    rows = {}
    for seed in range(3):
        first = None
        for name, policy in policies(seed):
            clean, shoved = play(policy, 0.0, 100, 100 * seed), play(policy, SHOVE, 100, 100 * seed)
            first = first or shoved
            rows.setdefault(name, []).append(
                [
                    clean.success.mean(),
                    shoved.success.mean(),
                    (shoved.success & ~first.success).sum(),
                    (~shoved.success & first.success).sum(),
                    clean.acted.mean(),
                ]
            )
            sys.stderr.write(f"{seed} {name} {np.round(rows[name][-1], 3).tolist()}\n")
    lines = ["| policy | clean | shoved | rescued | harmed | false alarms |", "|---|---|---|---|---|---|"]
    for name, values in rows.items():
        clean, shoved, rescued, harmed, acted = np.array(values).T
        spread = f"{shoved.mean():.1%} ({shoved.min():.0%} to {shoved.max():.0%})"
        counts = f"{int(rescued.sum())} | {int(harmed.sum())} | {acted.mean():.1%}"
        lines.append(f"| {name} | {clean.mean():.1%} | {spread} | {counts} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
