"""Demonstrations, and policies that are cloned from them."""

import numpy as np
import pytest
import torch
from equiact.agents.baselines.dagger import DaggerConfig, dagger
from equiact.agents.policies.behavior_cloning import BCConfig, BCLearner, BCPolicy
from equiact.agents.policies.demonstrations import demonstrate, density_conditions
from equiact.envs.data.minari_dataset import load_transitions, save_transitions
from equiact.envs.data.trajectories import episode_ids
from equiact.envs.data.transitions import equal
from equiact.envs.storage.artifacts import ArtifactError
from equiact.envs.worlds.registry import world_class
from equiact.representations.learning.config import ConfigError, OptimConfig
from equiact.representations.learning.training import train_learner

SHAPE = (24, 24, 3)


def make(count=6):
    return world_class("Pick")(count, resolution=SHAPE[:2], device="cpu")


@pytest.fixture(scope="module")
def demonstrations():
    return demonstrate(make(), 8, seed=0)


def policy(steps=16_000):
    torch.manual_seed(0)
    config = BCConfig(optim=OptimConfig(steps=steps, lr=1e-3, batch_size=32))
    return BCPolicy(SHAPE, 3, 1, 0.04, config).eval()


def test_demonstrations_are_episodes_of_the_expert(demonstrations):
    episode = episode_ids(demonstrations)
    assert episode.max() == 7
    ends = np.append(episode[1:] != episode[:-1], True)
    goal_reached = demonstrations.ground_truth["object_pose"][demonstrations.end[ends]]
    assert (goal_reached[:, 2] < 0.03).all(), "each ends with the object laid down"
    assert demonstrations.action is not None and demonstrations.action.shape == (len(demonstrations), 4)
    moved = np.diff(demonstrations.ground_truth["agent_pose"], axis=0)[demonstrations.start]
    np.testing.assert_allclose(demonstrations.displacement, moved, atol=1e-6)


def test_demonstrations_of_a_seed_are_the_same(demonstrations):
    assert equal(demonstrations, demonstrate(make(), 8, seed=0))
    assert not equal(demonstrations, demonstrate(make(), 8, seed=1))


def test_noise_is_carried_out_and_not_recorded():
    noisy = demonstrate(make(), 6, seed=0, noise=0.01)
    assert noisy.action is not None
    error = noisy.displacement - noisy.action[:, :3]
    assert 0.003 < error.std() < 0.02
    assert np.linalg.norm(noisy.action[:, :2], axis=1).max() < 0.04 + 1e-6, "labels are the expert's"


def test_demonstrations_are_saved_without_loss(demonstrations, tmp_path):
    save_transitions(demonstrations, tmp_path / "demonstrations")
    assert equal(load_transitions(tmp_path / "demonstrations"), demonstrations)


def test_states_say_how_each_episode_began(demonstrations):
    first, episode, commands = density_conditions(demonstrations, 3)
    assert first.shape == (8, *SHAPE)
    np.testing.assert_array_equal(episode, episode_ids(demonstrations))
    begins = np.append(True, episode[1:] != episode[:-1])
    np.testing.assert_array_equal(first[0], demonstrations.frames[0])
    assert (commands[begins] == 1).all() and (commands == -1).any()


def test_an_action_is_a_displacement_and_a_command(demonstrations):
    actions, _ = policy().predict(demonstrations.observations[:5])
    assert actions.shape == (5, 4)
    assert np.abs(actions[:, :3]).max() <= 0.04 + 1e-7
    assert set(np.unique(actions[:, 3])) <= {-1.0, 1.0}
    np.testing.assert_allclose(policy().predict(demonstrations.observations[0])[0], actions[0], atol=1e-6)


def test_what_lies_ahead_ends_with_the_episode(demonstrations):
    learner = BCLearner(policy(), demonstrations)
    pose = demonstrations.ground_truth["agent_pose"]
    episode = episode_ids(demonstrations)
    for index in (0, 3, int(np.flatnonzero(episode == 0)[-1]), len(episode) - 1):
        last = np.flatnonzero(episode == episode[index])[-1]
        for at, horizon in enumerate(BCConfig().horizons):
            until = demonstrations.end[min(index + horizon - 1, last)]
            expected = (pose[until] - pose[demonstrations.start[index]]) / np.sqrt(horizon) / 0.04
            np.testing.assert_allclose(learner._future[index, 3 * at : 3 * at + 3], expected, atol=1e-4)


def test_errors_count_by_their_square(demonstrations):
    """A policy that always says zero is wrong by the sizes of the displacements, in units of its limit."""
    zero = policy()
    for layer in (zero.action, zero.future):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    learner = BCLearner(zero, demonstrations)
    chosen = torch.randint(len(demonstrations), (50,), generator=torch.Generator().manual_seed(0))
    loss, parts = learner.loss(torch.Generator().manual_seed(0), 50)
    now = np.square(demonstrations.action[chosen, :3] / 0.04).sum(1).mean()
    ahead = np.square(learner._future[chosen].numpy()).sum(1).mean()
    assert float(parts["displacement"]) == pytest.approx(now, rel=1e-4)
    assert float(loss) == pytest.approx(now + ahead + 0.5 * np.log(2), rel=1e-4)


def test_cloning_lowers_the_error_on_other_demonstrations():
    held_out, learned = demonstrate(make(), 8, seed=5), policy(steps=3200).train()
    before = float(BCLearner(learned, held_out).loss(torch.Generator().manual_seed(0), 200)[0].detach())
    learner = BCLearner(learned, demonstrate(make(), 60, seed=1))
    train_learner(learner, seed=0)
    assert float(BCLearner(learned, held_out).loss(torch.Generator().manual_seed(0), 200)[0].detach()) < 0.8 * before


def test_a_policy_comes_back_as_it_was_saved(tmp_path, demonstrations):
    policy().save(tmp_path / "policy")
    loaded = BCPolicy.load(tmp_path / "policy")
    frames = demonstrations.observations[:3]
    np.testing.assert_array_equal(loaded.predict(frames)[0], policy().predict(frames)[0])


def test_a_policy_that_was_altered_is_refused(tmp_path):
    policy().save(tmp_path / "policy")
    (weights,) = (tmp_path / "policy").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(ArtifactError, match=r"altered|damaged"):
        BCPolicy.load(tmp_path / "policy")


@pytest.mark.parametrize(
    ("shape", "dim", "commands", "limit"),
    [(SHAPE, 0, 1, 0.04), (SHAPE, 3, -1, 0.04), (SHAPE, 3, 1, 0.0), (SHAPE, 3, 1, float("nan"))],
)
def test_a_policy_needs_a_size_and_a_limit(shape, dim, commands, limit):
    with pytest.raises(ValueError, match="dim at least 1, commands at least 0 and a finite limit"):
        BCPolicy(shape, dim, commands, limit)


def test_hyper_parameters_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="horizons"):
        BCConfig(horizons=(0,))
    with pytest.raises(ConfigError, match="must not be empty"):
        BCConfig(channels=())


def test_transitions_without_actions_are_no_demonstrations(demonstrations):
    from dataclasses import replace

    with pytest.raises(ValueError, match=r"actions \(N, 4\) were expected, got actions None"):
        BCLearner(policy(), replace(demonstrations, action=None))


def test_what_a_learner_did_is_not_what_lies_ahead(demonstrations):
    """Without the expert's own steps nothing is learned of what lies ahead; the labels still count."""
    learned = policy().train()
    learner = BCLearner(learned, demonstrations, by_expert=np.zeros(len(demonstrations), bool))
    loss, _ = learner.loss(torch.Generator().manual_seed(0), 32)
    loss.backward()
    assert not learned.future.weight.grad.any() and learned.action.weight.grad.any()


def test_dagger_counts_its_labels():
    seen = []
    world = world_class("Pick")(4, resolution=SHAPE[:2], device="cpu", max_episode_steps=40)
    learned, data = dagger(
        policy(steps=48), world, 120, seed=0, config=DaggerConfig(rounds=2), progress=lambda *done: seen.append(done)
    )
    assert len(data) == 120
    assert seen == [(done, len(seen)) for done in range(1, len(seen) + 1)] and len(seen) % 3 == 0
    assert learned.predict(data.observations[:2])[0].shape == (2, 4)


def test_dagger_that_was_stopped_ends_at_the_same_weights(tmp_path):
    def learn(progress=lambda done, total: None):
        torch.manual_seed(0)
        world = world_class("Pick")(4, resolution=SHAPE[:2], device="cpu", max_episode_steps=40)
        kept = tmp_path / "dagger"
        config = DaggerConfig(rounds=2)
        return dagger(policy(steps=48), world, 120, seed=0, config=config, checkpoint=kept, progress=progress)[0]

    def stop(done, total):
        if done == total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(stop)
    seen = []
    resumed = learn(lambda done, total: seen.append((done, total)))
    assert seen[0][0] == seen[0][1] // 2 + 1, "it went on in the round it was stopped in"
    for path in tmp_path.iterdir():
        path.unlink()
    for key, value in learn().state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value), key


def test_offline_reinforcement_learning_imitates_what_it_is_shown(demonstrations):
    pytest.importorskip("torchrl", reason="TorchRL is an extra")
    from equiact.agents.baselines.iql import IQLConfig, IQLLearner

    def error():
        """Return the mean squared error: the mean of the actions is what is learned."""
        actions, _ = learned.predict(demonstrations.observations)
        return np.square(actions[:, :3] - demonstrations.action[:, :3]).mean()

    learned = policy().train()
    before = error()
    learner = IQLLearner(learned, demonstrations, IQLConfig(optim=OptimConfig(steps=480, lr=1e-3, batch_size=32)))
    assert float(learner._reward.max()) == 1.0 and int(learner._ends.sum()) == 8, "one end an episode"
    train_learner(learner, seed=0)
    assert error() < 0.9 * before


def test_without_torchrl_it_says_what_to_install(demonstrations, monkeypatch):
    from equiact.agents.baselines import iql

    monkeypatch.setattr(iql, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'equiact\[offline\]'"):
        iql.IQLLearner(policy(), demonstrations)


def few_worlds():
    return world_class("Push")(2, resolution=(8, 8), device="cpu", max_episode_steps=25)


def initial_states(transitions):
    """Return where the object is when each episode starts, as a set of positions."""
    first = np.setdiff1d(transitions.start, transitions.end)
    return {tuple(position) for position in transitions.ground_truth["object_pose"][first].tolist()}


def test_dagger_with_other_seeds_starts_from_other_states(monkeypatch):
    """Worlds are so few that every part needs several batches; nor are the states those of demonstrations."""
    monkeypatch.setattr("equiact.agents.baselines.dagger.train_learner", lambda *given, **options: None)
    learner, parts = BCPolicy((8, 8, 3), 3, 1, 0.04).eval(), []
    for seed in (0, 1):
        _, data = dagger(learner, few_worlds(), 240, seed=seed, config=DaggerConfig(rounds=1))
        parts += [initial_states(data), initial_states(demonstrate(few_worlds(), 4, seed))]
        assert len(parts[-2]) >= 8, "several batches of two worlds in both parts"
    assert len(set.union(*parts)) == sum(map(len, parts)), "no state twice"


def test_dagger_seeds_all_that_it_draws_apart(monkeypatch):
    """Demonstrations, labelled batches and updates of 30 seeds and 4 rounds have seeds that are far apart."""
    drawn = []

    def demonstrated(world, episodes, seed, **options):
        drawn.append(seed)
        return recorded

    world = few_worlds()
    recorded = demonstrate(world, 2, seed=0)
    monkeypatch.setattr("equiact.agents.baselines.dagger.demonstrate", demonstrated)
    monkeypatch.setattr(
        "equiact.agents.baselines.dagger.train_learner", lambda learner, seed, **options: drawn.append(seed)
    )
    learner = BCPolicy((8, 8, 3), 3, 1, 0.04)
    for seed in [*range(20), *range(2000, 2010)]:
        dagger(learner, world, 10 * len(recorded), seed=seed)
    assert len(drawn) > 30 * 13
    assert np.diff(sorted(drawn)).min() > 10_000
