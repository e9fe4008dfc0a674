"""Learn where an agent and a ball are, save the encoder, and use its latents in a policy."""

import gymnasium as gym
import numpy as np
from equiact import AgentObjectConfig, EncodeObservation, collect, load_encoder, scale_steps, train_encoder
from equiact.representations.metrics.position_metrics import evaluate_encoder

worlds = gym.make_vec("equiact/Soccer-v0", num_envs=8, resolution=(32, 32))
transitions = collect(worlds, 400, seed=0)
config = scale_steps(AgentObjectConfig(), 0.003)  # few updates, for a quick look; leave this line out to train in full
encoder = train_encoder(transitions, config, seed=0)

held_out = collect(worlds, 200, seed=1)
metrics = evaluate_encoder(encoder, held_out, arena_side=2.0)
print(f"agent: error of {metrics['agent_rmse_pct']:.1f} % of the side")

encoder.save("soccer-encoder")
env = EncodeObservation(gym.make("equiact/Soccer-v0", resolution=(32, 32)), load_encoder("soccer-encoder"))
observation, _ = env.reset(seed=0)
assert observation.shape == (4,) and np.isfinite(observation).all()  # agent and ball, two coordinates each
