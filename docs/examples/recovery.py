"""Wrap a policy of Stable-Baselines3 so that it returns to the states that it knows."""

import gymnasium as gym
import numpy as np
import torch
from equiact import RecoveryConfig, RecoveryPolicy, calibrate_trigger, scale_steps
from equiact.representations.densities.mixture import MixtureConfig, MixtureDensity
from stable_baselines3 import PPO


def joint_angles(observations):
    """Return a latent on which actions act as translations: Reacher observes cosines and sines of its two joints."""
    return np.arctan2(observations[:, 2:4], observations[:, :2])


def episode(policy, seed):
    """Return the latents of one clean episode."""
    observation, _ = env.reset(seed=seed)
    seen, done = [], False
    while not done:
        seen.append(observation)
        observation, _, terminated, truncated, _ = env.step(policy.predict(observation)[0])
        done = terminated or truncated
    return torch.tensor(joint_angles(np.array(seen)), dtype=torch.float32)


env = gym.make("Reacher-v5")
base = PPO("MlpPolicy", env, n_steps=64, seed=0, device="cpu")  # yours, trained

density = MixtureDensity(dim=2, config=scale_steps(MixtureConfig(), 0.1))
density.fit(torch.cat([episode(base, seed) for seed in range(10)]))
held_out = [density.log_prob(episode(base, seed)).detach().numpy() for seed in range(100, 120)]

policy = RecoveryPolicy(
    base,
    joint_angles,
    density,
    calibrate_trigger(held_out, false_alarms=0.05),
    RecoveryConfig(step=0.1),
    to_action=lambda displacement, observations: np.clip(10 * displacement, -1, 1),  # a torque
    to_latent=lambda actions: 0.1 * actions,
)
observation, _ = env.reset(seed=0)
action, state = policy.predict(observation[None], None, np.array([True]))
assert action.shape == (1, 2)
