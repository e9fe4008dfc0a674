"""Small environments in which the effect of a perturbation is known exactly."""

import gymnasium as gym
import mujoco
import numpy as np

BLOCKS = """
<mujoco>
  <option timestep="0.01" gravity="0 0 0" density="1.2"/>
  <worldbody>
    <light name="lamp" pos="0 0 3" diffuse="0.6 0.6 0.6"/>
    <camera name="eye" pos="0 -3 1" xyaxes="1 0 0 0 0.3 1"/>
    <body name="ball" pos="0 0 1">
      <freejoint name="ball"/>
      <geom name="ball" type="box" size="0.1 0.1 0.1" mass="2" rgba="0.8 0.2 0.2 1"/>
    </body>
    <body name="puck" pos="1 0 0">
      <joint name="puck_x" type="slide" axis="1 0 0"/>
      <joint name="puck_y" type="slide" axis="0 1 0" range="-0.5 0.5"/>
      <geom name="puck" type="sphere" size="0.1" mass="0.5"/>
    </body>
    <body name="arm" pos="-1 0 0">
      <joint name="shoulder" axis="0 0 1"/>
      <geom type="capsule" fromto="0 0 0 0.5 0 0" size="0.05" mass="1" contype="0" conaffinity="0"/>
      <body name="hand" pos="0.5 0 0">
        <joint name="elbow" axis="0 0 1"/>
        <geom type="capsule" fromto="0 0 0 0.3 0.2 0" size="0.05" mass="1" contype="0" conaffinity="0"/>
        <body name="tip" pos="0.3 0.2 0">
          <geom type="sphere" size="0.02" mass="0.1" contype="0" conaffinity="0"/>
          <body name="bead">
            <joint name="bead" type="slide" axis="1 0 0"/>
            <geom type="sphere" size="0.02" mass="0.1" contype="0" conaffinity="0"/>
          </body>
        </body>
      </body>
    </body>
    <body name="wall" pos="5 0 0"><geom type="box" size="0.1 1 1"/></body>
    <body name="marker" pos="0 0 2" mocap="true"><geom type="sphere" size="0.02" contype="0" conaffinity="0"/></body>
  </worldbody>
  <actuator>
    <motor name="push" joint="puck_x" ctrlrange="-1 1"/>
    <motor name="turn" joint="shoulder" ctrlrange="-1 1"/>
  </actuator>
</mujoco>
"""


class Blocks(gym.Env):
    """A free box of 2 kg, a puck of 0.5 kg on slides, an arm of two hinges and a mocap body, without gravity.

    With ``pictures`` it observes 4 grey levels, which depend on lights, colours and cameras of the model.
    """

    def __init__(self, pictures=False, frame_skip=2, fails_at=None):
        self.model = mujoco.MjModel.from_xml_string(BLOCKS)
        self.data = mujoco.MjData(self.model)
        self.frame_skip, self.fails_at, self.count = frame_skip, fails_at, 0
        self.action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float64)
        state = gym.spaces.Box(-np.inf, np.inf, (self.model.nq + self.model.nv,), np.float64)
        picture = gym.spaces.Box(0, 255, (2, 2, 3), np.uint8)
        self.observation_space = gym.spaces.Dict(image=picture, state=state) if pictures else state

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        mujoco.mj_forward(self.model, self.data)
        self.count = 0
        return self._observation(), {}

    def step(self, action):
        self.count += 1
        if self.count == self.fails_at:
            raise RuntimeError("the motor burnt out")
        self.data.ctrl[:] = action
        mujoco.mj_step(self.model, self.data, self.frame_skip)
        return self._observation(), 0.0, False, False, {}

    def _observation(self):
        state = np.concatenate([self.data.qpos, self.data.qvel])
        if not isinstance(self.observation_space, gym.spaces.Dict):
            return state
        model = self.model
        shades = [model.light_diffuse.mean(), model.geom_rgba[0, :3].mean(), abs(model.cam_pos).mean() / 4]
        picture = np.zeros((2, 2, 3), np.uint8)
        picture[0, 0] = np.clip(255 * np.array(shades), 0, 255)
        picture[1, 1] = 255 * abs(model.cam_quat[0, :3])
        return {"image": picture, "state": state}


class Recorder(gym.Env):
    """It keeps the actions that are carried out, and shows the number of steps; it ends after ``steps`` steps."""

    def __init__(self, action_space, observation_space=None, steps=100):
        self.action_space, self.steps = action_space, steps
        self.observation_space = observation_space or gym.spaces.Box(-10.0, 100.0, (3,), np.float32)
        self.actions = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.actions = []
        return self._observation(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.actions.append(action)
        return self._observation(), 1.0, len(self.actions) >= self.steps, False, {}

    def _observation(self):
        def full(space):
            return np.full(space.shape, len(self.actions), space.dtype)

        if isinstance(self.observation_space, gym.spaces.Dict):
            return {key: full(space) for key, space in self.observation_space.spaces.items()}
        return full(self.observation_space)


def play(env, steps, action=None, seed=0):
    """Reset, take steps with the same action or with seeded random ones, and return observations and infos."""
    rng = np.random.default_rng(seed)
    observations, infos = [env.reset(seed=seed)[0]], []
    for _ in range(steps):
        chosen = random_action(env.action_space, rng) if action is None else action
        observation, _, terminated, truncated, info = env.step(chosen)
        observations.append(observation)
        infos.append(info)
        if terminated or truncated:
            break
    return observations, infos


def random_action(space, rng):
    """Return an action that does not depend on the random state of the space."""
    if isinstance(space, gym.spaces.Discrete):
        return int(space.start + rng.integers(space.n))
    return rng.uniform(np.maximum(space.low, -1), np.minimum(space.high, 1)).astype(space.dtype)
