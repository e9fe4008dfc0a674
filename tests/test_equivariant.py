"""The translation encoder and the autoencoder: training, and the data that they accept."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from equiact.envs.data.collect import collect
from equiact.envs.data.exploration import WaypointExploration
from equiact.representations.baselines.autoencoder import Autoencoder, AutoencoderConfig, AutoencoderLearner
from equiact.representations.encoders.translation_encoder import (
    TranslationConfig,
    TranslationEncoder,
    TranslationLearner,
)
from equiact.representations.learning.config import OptimConfig, scale_steps
from equiact.representations.learning.training import train_learner


def explored(count, seed, resolution=32):
    worlds = gym.make_vec("equiact/Push-v0", num_envs=16, resolution=(resolution, resolution), device="cpu")
    return collect(worlds, count, seed, policy=WaypointExploration(worlds))


def error(encoder, transitions):
    """Return the root-mean-square distance of the latent from the hand, up to one translation, in metres."""
    difference = encoder.eval().encode(transitions.frames)["agent"] - transitions.ground_truth["agent_pose"]
    return float(np.sqrt(((difference - difference.mean(0)) ** 2).sum(1).mean()))


def test_roaming_sees_the_whole_workspace():
    transitions = explored(3000, 0, resolution=16)
    low, high = transitions.ground_truth["agent_pose"].min(0), transitions.ground_truth["agent_pose"].max(0)
    np.testing.assert_allclose(low, [-0.28, -0.24, 0.016], atol=0.02)
    np.testing.assert_allclose(high, [0.28, 0.26, 0.25], atol=0.02)
    assert transitions.touched is not None and transitions.touched.mean() > 0.05


def test_the_hand_is_found_within_seconds():
    torch.manual_seed(0)
    encoder = TranslationEncoder((32, 32, 3), "R3", scale_steps(TranslationConfig(), 0.2))
    held_out, learner = explored(500, 1), TranslationLearner(encoder, explored(2000, 0))
    untrained = error(encoder, held_out)
    train_learner(learner, seed=0)
    assert error(encoder, held_out) < untrained / 4


def test_only_fitting_transitions_are_taken():
    transitions = explored(50, 0, resolution=16)
    with pytest.raises(ValueError, match=r"group R2.*R3"):
        TranslationLearner(TranslationEncoder((16, 16, 3), "R2"), transitions)
    with pytest.raises(ValueError, match=r"\(32, 32, 3\).*\(16, 16, 3\)"):
        TranslationLearner(TranslationEncoder((32, 32, 3), "R3"), transitions)
    with pytest.raises(ValueError, match="needs translations"):
        TranslationEncoder((16, 16, 3), "SE2")


@pytest.mark.parametrize("variational", [False, True])
def test_autoencoders_reconstruct_better_as_they_learn(variational):
    torch.manual_seed(0)
    transitions = explored(300, 0, resolution=16)
    config = AutoencoderConfig(variational=variational, optim=OptimConfig(steps=250, lr=1e-3))
    encoder = Autoencoder((16, 16, 3), "R3", config)
    learner = AutoencoderLearner(encoder, transitions)
    before = learner.loss(torch.Generator().manual_seed(0))[1]["reconstruction"]
    train_learner(learner, seed=0)
    assert learner.loss(torch.Generator().manual_seed(0))[1]["reconstruction"] < 0.5 * before
    assert encoder.eval().encode(transitions.frames[:4])["agent"].shape == (4, 3)
