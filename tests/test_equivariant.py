"""The equivariant encoder: spans of steps, and that it learns where the hand is."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from envs.collect import collect, roam
from representations.baselines.autoencoder import Autoencoder, AutoencoderLearner
from representations.equivariant import EquivariantEncoder, EquivariantLearner
from representations.training import fit


def explored(count, seed, resolution=32):
    worlds = gym.make_vec("envs:equiact/Push-v0", num_envs=16, resolution=(resolution, resolution), device="cpu")
    return collect(worlds, count, seed, policy=roam(worlds))


def error(encoder, transitions):
    """Root-mean-square distance of the latent from the hand, up to one translation, in metres."""
    difference = encoder.eval().encode(transitions.frames)["agent"] - transitions.truth["agent_pose"]
    return float(np.sqrt(((difference - difference.mean(0)) ** 2).sum(1).mean()))


def test_roaming_sees_the_whole_workspace():
    transitions = explored(3000, 0, resolution=16)
    low, high = transitions.truth["agent_pose"].min(0), transitions.truth["agent_pose"].max(0)
    np.testing.assert_allclose(low, [-0.28, -0.24, 0.016], atol=0.02)
    np.testing.assert_allclose(high, [0.28, 0.26, 0.25], atol=0.02)
    assert transitions.touched is not None and transitions.touched.mean() > 0.05


def test_the_hand_is_found_within_seconds():
    torch.manual_seed(0)
    encoder, held_out = EquivariantEncoder((32, 32, 3), "R3"), explored(500, 1)
    learner = EquivariantLearner(encoder, explored(2000, 0), scale=0.2)
    untrained = error(encoder, held_out)
    fit(learner.train(), learner.stages(), seed=0)
    assert error(encoder, held_out) < untrained / 4


def test_only_fitting_transitions_are_taken():
    transitions = explored(50, 0, resolution=16)
    with pytest.raises(ValueError, match=r"group R2.*R3"):
        EquivariantLearner(EquivariantEncoder((16, 16, 3), "R2"), transitions)
    with pytest.raises(ValueError, match=r"\(32, 32, 3\).*\(16, 16, 3\)"):
        EquivariantLearner(EquivariantEncoder((32, 32, 3), "R3"), transitions)
    with pytest.raises(ValueError, match="needs translations"):
        EquivariantEncoder((16, 16, 3), "SE2")


@pytest.mark.parametrize("variational", [False, True])
def test_autoencoders_reconstruct_better_as_they_learn(variational):
    torch.manual_seed(0)
    transitions = explored(300, 0, resolution=16)
    encoder = Autoencoder((16, 16, 3), "R3", variational=variational)
    learner = AutoencoderLearner(encoder, transitions, scale=0.1)
    before = learner.loss(200, torch.Generator().manual_seed(0))[1]["reconstruction"]
    fit(learner, learner.stages(), seed=0)
    assert learner.loss(200, torch.Generator().manual_seed(0))[1]["reconstruction"] < 0.5 * before
    assert encoder.eval().encode(transitions.frames[:4])["agent"].shape == (4, 3)
