"""The translation encoder and the autoencoder: training, and the data that they accept."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from equiact.envs.data.collect import collect
from equiact.envs.data.policy import PersistentPolicy
from equiact.envs.data.transitions import Transitions
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
    return collect(worlds, count, seed, policy=PersistentPolicy(worlds))


def error(encoder, transitions):
    """Return the root-mean-square distance of the latent from the hand, up to one translation, in metres."""
    difference = encoder.eval().encode(transitions.frames)["agent"] - transitions.ground_truth["agent_pose"]
    return float(np.sqrt(((difference - difference.mean(0)) ** 2).sum(1).mean()))


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


def steps_of(episodes, length=3, seed=0):
    """Return episodes of a square at random places, with random displacements."""
    generator = np.random.default_rng(seed)
    frames = np.zeros((episodes * (length + 1), 16, 16, 3), np.uint8)
    for frame, (row, column) in zip(frames, generator.integers(0, 13, (len(frames), 2)), strict=True):
        frame[row : row + 4, column : column + 4] = 255
    start = np.concatenate([episode * (length + 1) + np.arange(length) for episode in range(episodes)])
    displacement = generator.normal(size=(len(start), 2)).astype(np.float32)
    return Transitions(frames, start, start + 1, displacement, "R2")


def origin_term(weight, transitions):
    """Return the part of the loss that a weight of the origin adds."""
    losses = []
    for each in (0.0, weight):
        torch.manual_seed(0)
        config = TranslationConfig(origin_weight=each, origin_batch_size=4000, horizon=1)
        learner = TranslationLearner(TranslationEncoder((16, 16, 3), "R2", config), transitions)
        network = learner.network.eval()
        with torch.no_grad():  # latents that differ more than they are away from the origin
            network.head.weight.mul_(30)
            starts = network.encode(transitions.frames[:: 3 + 1])["agent"] / float(network.unit)
            network.head.bias.add_(torch.from_numpy(0.1 - starts.mean(0)))
            losses.append(float(learner.loss(torch.Generator().manual_seed(0))[0]))
    return losses[1] - losses[0], network


@pytest.mark.parametrize("episodes", [1, 2])
def test_the_loss_anchors_the_mean_start_of_episodes_at_the_origin(episodes):
    """It adds ``λ ‖mean E(o_0)‖²``, of the mean and not the mean of the squares, in units of the displacements."""
    transitions = steps_of(episodes)
    added, encoder = origin_term(3.0, transitions)
    starts = encoder.encode(transitions.frames[:: 3 + 1])["agent"] / float(encoder.unit)
    assert len(starts) == episodes
    assert added == pytest.approx(3.0 * np.square(starts.mean(0)).sum(), rel=0.05)
    assert episodes == 1 or np.square(starts).sum(1).mean() > 1.5 * np.square(starts.mean(0)).sum()


def test_the_loss_is_the_error_of_predicted_latents():
    """Of one transition: ``‖E(o_1) − E(o_0) − a‖²``, in units of the root-mean-square displacement."""
    transitions = steps_of(1, length=1)
    torch.manual_seed(0)
    encoder = TranslationEncoder((16, 16, 3), "R2", TranslationConfig(origin_weight=0.0))
    loss, _ = TranslationLearner(encoder, transitions).loss(torch.Generator().manual_seed(0))
    before, after = encoder.eval().encode(transitions.frames)["agent"]
    displacement = transitions.displacement[0]
    error = (after - before - displacement) / np.linalg.norm(displacement)
    assert float(loss.detach()) == pytest.approx(np.square(error).sum(), rel=1e-4)
