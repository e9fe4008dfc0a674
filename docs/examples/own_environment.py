"""Train an encoder in an environment that equiact does not know."""

import gymnasium as gym
import numpy as np
from equiact import AgentObjectConfig, collect, scale_steps, train_encoder


class DotAndBox(gym.Env):
    """A dot moves by the action and pushes a box; both are drawn on an image of 32 × 32 pixels."""

    observation_space = gym.spaces.Box(0, 255, (32, 32, 3), np.uint8)
    action_space = gym.spaces.Box(-0.2, 0.2, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.dot, self.box = self.np_random.uniform(-0.8, 0.8, (2, 2))
        return self._draw(), {}

    def step(self, action):
        before = self.dot
        self.dot = np.clip(before + action, -0.8, 0.8)
        if np.linalg.norm(self.dot - self.box) < 0.2:
            self.box = np.clip(self.dot + action / max(np.linalg.norm(action), 1e-6) * 0.25, -0.8, 0.8)
        return self._draw(), 0.0, False, False, {"odometry": self.dot - before}

    def _draw(self):
        frame = np.zeros((32, 32, 3), np.uint8)
        for position, colour in ((self.box, (255, 0, 0)), (self.dot, (255, 255, 255))):
            column, row = ((position + 1) * 16).astype(int)
            frame[row - 1 : row + 2, column - 1 : column + 2] = colour
        return frame


transitions = collect(DotAndBox(), 400, seed=0, displacement="odometry", group="R2")
config = scale_steps(AgentObjectConfig(), 0.005)  # few updates, for a quick look; leave this line out to train in full
encoder = train_encoder(transitions, config, seed=0)

positions = encoder.encode(transitions.frames)
assert positions["agent"].shape == positions["object"].shape == (len(transitions.frames), 2)
