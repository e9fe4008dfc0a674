"""Add a group and a world, and learn class and pose in it: balloons that are scaled by positive numbers."""

import gymnasium as gym
import mujoco
import numpy as np
import torch
from equiact import ClassPoseConfig, Group, collect, register_group, register_world, scale_steps, train_encoder
from equiact.envs.worlds.orbit_world import OrbitWorld
from equiact.envs.worlds.scene_builder import add_mocap_body, make_scene


@register_group("Scalings")
class Scalings(Group):
    """Positive numbers under multiplication; a tangent is a logarithm."""

    name, dim, tangent_dim = "Scalings", 1, 1
    condition = "it must be positive"

    def identity(self):
        return np.ones(1)

    def compose(self, g, h):
        return g * h

    def inverse(self, g):
        return 1 / g

    def exp(self, tangent):
        return tangent.exp() if isinstance(tangent, torch.Tensor) else np.exp(tangent)

    def log(self, g):
        return g.log() if isinstance(g, torch.Tensor) else np.log(g)

    def embed(self, g):  # the distance of logarithms does not change when both elements are scaled
        return self.log(g)

    def project(self, raw):
        return self.exp(raw)

    def random(self, generator, count):
        return np.exp(generator.uniform(-0.5, 0.5, (count, 1)))

    def violation(self, g):
        return np.where(g > 0, 0.0, 1.0)[..., 0]


@register_world("Balloons")
class Balloons(OrbitWorld):
    """A round and a long balloon, seen from above."""

    group = Scalings()
    orbits = ("round", "long")
    max_tangent = (0.5,)

    @classmethod
    def model(cls):
        spec = make_scene(4.0, fovy=40, shaded=True)
        for name, size in zip(cls.orbits, ([0.4, 0.4, 0.4], [0.25, 0.6, 0.25]), strict=True):
            body = add_mocap_body(spec, name)
            body.add_geom(type=mujoco.mjtGeom.mjGEOM_ELLIPSOID, size=size, rgba=[0.9, 0.2, 0.2, 1])
        return spec.compile()

    def apply_constraints(self, before, wanted, orbit):
        return np.clip(wanted, 0.5, 2.0)

    def update_scene(self, worlds):
        height = 4.0 - 4.0 / self.pose[worlds, 0]  # nearer to the camera looks larger
        for index, name in enumerate(self.orbits):
            self.set_body_pose(name, worlds, np.stack([0 * height, 0 * height, height], 1))
            self.set_visible(name, worlds, self.orbit[worlds] == index)


worlds = gym.make_vec("equiact/Balloons-v0", num_envs=8, resolution=(32, 32))
transitions = collect(worlds, 200, seed=0)
config = ClassPoseConfig(backbone="strided")  # the default, resnet18, is made for a GPU
config = scale_steps(config, 0.005)  # few updates, for a quick look; leave this line out to train in full
encoder = train_encoder(transitions, config, seed=0)

latents = encoder.encode(transitions.frames)
assert (latents["pose"] > 0).all()
pose = transitions.ground_truth["agent_pose"]
assert np.allclose(transitions.displacement * pose[transitions.start], pose[transitions.end])
