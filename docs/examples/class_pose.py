"""Learn class and pose of chairs that rotate in space, and predict the latent after a rotation."""

import gymnasium as gym
import numpy as np
import torch
from equiact import ClassPoseConfig, collect, scale_steps, train_encoder

worlds = gym.make_vec("equiact/Chairs-v0", num_envs=8, resolution=(32, 32))
transitions = collect(worlds, 400, seed=0)
config = ClassPoseConfig(backbone="strided")  # the default, resnet18, is made for a GPU
config = scale_steps(config, 0.002)  # few updates, for a quick look; leave this line out to train in full
encoder = train_encoder(transitions, config, seed=0)

start, end = transitions.frames[transitions.start], transitions.frames[transitions.end]
latents = {name: torch.from_numpy(values) for name, values in encoder.encode(start).items()}
predicted = encoder.act(torch.from_numpy(transitions.displacement), latents)
observed = encoder.encode(end)
error = np.linalg.norm(predicted["pose"].numpy() - observed["pose"], axis=1)
print(f"distance of predicted and observed pose: {error.mean():.2f}")
assert predicted["pose"].shape == (400, 9)  # rotation matrices
