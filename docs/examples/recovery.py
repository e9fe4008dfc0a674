"""Wrap a policy of Stable-Baselines3 so that it returns to the states that it knows."""

import gymnasium as gym
import numpy as np
from equiact import RecoveryConfig, RecoveryPolicy, Trigger
from equiact.agents.recovery.action_maps import LinearActionMap
from equiact.agents.recovery.calibration import calibrate_recovery
from equiact.representations.densities.kernel import KernelConfig, KernelDensity
from stable_baselines3 import PPO


class JointAngles(gym.ObservationWrapper):
    """Observe the angles of the joints, too, as the encoders of a robot measure them."""

    def __init__(self, env):
        super().__init__(env)
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (12,), np.float64)

    def observation(self, observation):
        return np.append(observation, self.unwrapped.data.qpos[:2])


def record(policy, steps):
    """Return observations before and after each action, and the actions."""
    before, actions, after = [], [], []
    observation, _ = env.reset(seed=0)
    for _ in range(steps):
        action = policy(observation)
        before.append(observation)
        actions.append(action)
        observation, _, terminated, truncated, _ = env.step(action)
        after.append(observation)
        if terminated or truncated:
            observation, _ = env.reset()
    return np.array(before), np.array(actions), np.array(after)


env = JointAngles(gym.make("Reacher-v5"))
base = PPO("MlpPolicy", env, n_steps=64, seed=0, device="cpu")  # yours, trained

# 1. The density of the states that the policy knows. The latent is the pair of angles: torques move it.
known, _, _ = record(lambda observation: base.predict(observation)[0], steps=500)
density = KernelDensity(2, config=KernelConfig(kernels=500))
density.fit(known[:, -2:])

# 2. What displacement a torque performs, besides that of the velocity.
env.action_space.seed(0)
before, actions, after = record(lambda observation: env.action_space.sample(), steps=1000)
action_map = LinearActionMap.fit(
    actions,
    after[:, -2:] - before[:, -2:],
    features=lambda observations: observations[:, 6:8],
    observations=before,
)

# 3. The thresholds of all alarms, on clean episodes of the policy.
watching = RecoveryPolicy(
    base,
    lambda observations: observations[:, -2:],
    density,
    Trigger.never(),
    RecoveryConfig(step=0.05, restart=False),
    action_map=action_map,
)
trigger = calibrate_recovery(env, watching, episodes=60, seed=1, false_alarms=0.05)

# 4. Use it like the policy itself.
policy = watching.with_trigger(trigger)
observation, _ = env.reset(seed=2)
action, state = policy.predict(observation, None, episode_start=True)
assert env.action_space.contains(action)
