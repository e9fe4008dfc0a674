"""Soft actor-critic: its learning curve, and the policy that it leaves behind."""

import tempfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from equiact.agents.evaluation.rollouts import evaluate_policy
from equiact.agents.policies.gaussian_policy import ACTIVATIONS, SquashedGaussianPolicy
from equiact.agents.policies.sac import LearningCurve, SACConfig, load_policy, save_policy, to_policy, train_sac
from equiact.agents.policies.sb3_vec_env import observe_state
from equiact.envs.worlds.soccer import Soccer
from equiact.envs.worlds.world import Info
from equiact.representations.learning.config import ConfigError
from numpy.typing import NDArray
from stable_baselines3 import SAC, TD3
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

EPISODES = 5
"""Episodes of an evaluation; the training has eight worlds."""


class RecordedSoccer(Soccer):
    """A world that records the initial states of the evaluations."""

    starts: list[NDArray[Any]]

    def reset(self, worlds: NDArray[np.intp], generators: Any) -> Info:
        info = super().reset(worlds, generators)
        if self.num_worlds == EPISODES:
            self.starts.append(observe_state(self, None).copy())
        return info


Trained = tuple[SAC, LearningCurve, list[tuple[int, int]], list[NDArray[Any]]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A short training, what was reported, and the states that every evaluation began with; it leaves no files."""
    temporary = tmp_path_factory.mktemp("temporary")
    starts: list[NDArray[Any]] = []
    reports: list[tuple[int, int]] = []

    def make_world(num_worlds: int) -> Soccer:
        world = RecordedSoccer(num_worlds, resolution=(16, 16), device="cpu", max_episode_steps=40)
        world.starts = starts
        return world

    config = SACConfig(steps=600, gradient_steps=1, evaluate_every=200, evaluation_episodes=EPISODES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(temporary))
        model, curve = train_sac(
            make_world,
            observe_state,
            config,
            seed=0,
            progress=lambda done, curve: reports.append((done, len(curve.steps))),
        )
    assert not [*temporary.glob("SB3*")], "Stable-Baselines3 makes a folder for its log"
    return model, curve, reports, starts


def test_the_learning_curve_is_kept(trained: Trained) -> None:
    _, curve, reports, starts = trained
    assert curve.steps == [200, 400, 600]
    assert len(curve.success) == len(curve.return_) == 3
    assert all(0 <= rate <= 1 and (5 * rate) % 1 == 0 for rate in curve.success)
    assert [done for done, _ in reports] == list(range(8, 601, 8))
    assert all(points == done // 200 for done, points in reports)
    assert len(starts) == 3
    for start in starts[1:]:
        np.testing.assert_array_equal(start, starts[0])
    assert len(np.unique(starts[0], axis=0)) == EPISODES


def test_a_learning_curve_tells_when_success_came() -> None:
    curve = LearningCurve([100, 200, 300], [0.1, 0.9, 0.8], [-1.0, 1.0, 0.9])
    assert curve.steps_to(0.9) == 200
    assert curve.steps_to(0.05) == 100
    assert curve.steps_to(0.95) is None
    assert set(curve.as_dict()) == {"steps", "success", "return"}


def states() -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(-1, 1, (20, 4)).astype(np.float32)


def test_a_saved_policy_acts_alike(trained: Trained, tmp_path: Path) -> None:
    model = trained[0]
    save_policy(model, tmp_path / "policy")
    save_policy(model, tmp_path / "policy")  # as a run that was stopped after it does
    policy = load_policy(tmp_path / "policy")
    expected = model.predict(states(), deterministic=True)[0]
    np.testing.assert_array_equal(policy.predict(states())[0], expected)
    np.testing.assert_allclose(policy.predict(states()[0])[0], expected[0], atol=1e-6)
    assert np.abs(expected).max() <= 0.3 + 1e-6
    assert np.ptp(expected, axis=0).min() > 0


def test_samples_have_the_distribution_of_the_model(trained: Trained) -> None:
    model, policy = trained[0], to_policy(trained[0])
    torch.manual_seed(0)
    many = np.repeat(states()[:1], 4000, 0)
    ours, theirs = policy.predict(many, deterministic=False)[0], model.predict(many, deterministic=False)[0]
    np.testing.assert_allclose(ours.mean(0), theirs.mean(0), atol=0.02)
    np.testing.assert_allclose(ours.std(0), theirs.std(0), atol=0.02)


def test_observations_of_another_size_are_refused(trained: Trained) -> None:
    with pytest.raises(ValueError, match=r"observations \(B, 4\) were expected, got \(20, 3\)"):
        to_policy(trained[0]).predict(states()[:, :3])


def test_a_model_without_a_gaussian_actor_is_refused() -> None:
    with pytest.raises(TypeError, match="plain MLP"):
        to_policy(TD3("MlpPolicy", gym.make("Pendulum-v1"), device="cpu", buffer_size=10))  # type: ignore[arg-type]


ARCHITECTURES: dict[str, dict[str, Any]] = {
    "one layer": {"net_arch": [64]},
    "no hidden layer": {"net_arch": []},
    "actor and critic differ": {"net_arch": {"pi": [16, 8], "qf": [64]}},
    **{name: {"net_arch": [16, 16], "activation_fn": cls} for name, cls in ACTIVATIONS.items()},
}


def pendulum_model(**policy: Any) -> SAC:
    return SAC("MlpPolicy", gym.make("Pendulum-v1"), policy_kwargs=policy, device="cpu", buffer_size=10, seed=0)


@pytest.mark.parametrize("policy", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_a_model_of_the_users_own_keeps_its_architecture_and_activation(policy: dict[str, Any], tmp_path: Path) -> None:
    model = pendulum_model(**policy)
    save_policy(model, tmp_path / "policy")
    given = 3 * np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    expected = model.predict(given, deterministic=True)[0]
    np.testing.assert_allclose(load_policy(tmp_path / "policy").predict(given)[0], expected, atol=1e-6)
    assert np.ptp(expected) > 0


class Scaled(FlattenExtractor):
    """A features extractor of someone else."""

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(observations)


class Unusual(torch.nn.ReLU6):
    """An activation function of someone else."""


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"features_extractor_class": Scaled}, "its features extractor is Scaled; encode in a wrapper"),
        ({"activation_fn": Unusual}, "its activation function is none of relu, tanh"),
    ],
)
def test_an_actor_that_would_come_back_as_another_is_not_saved(
    policy: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(TypeError, match=message):
        save_policy(pendulum_model(net_arch=[8], **policy), tmp_path / "policy")
    assert not (tmp_path / "policy").exists()


def test_state_dependent_exploration_is_not_saved() -> None:
    model = SAC("MlpPolicy", gym.make("Pendulum-v1"), use_sde=True, device="cpu", buffer_size=10)
    with pytest.raises(TypeError, match="plain MLP"):
        to_policy(model)


def test_a_model_of_normalised_observations_is_not_saved_without_them(tmp_path: Path) -> None:
    env = VecNormalize(DummyVecEnv([lambda: gym.make("Pendulum-v1")]))
    model = SAC("MlpPolicy", env, policy_kwargs={"net_arch": [8]}, device="cpu", buffer_size=10)
    with pytest.raises(TypeError, match="trained with VecNormalize, whose statistics a saved policy does not hold"):
        save_policy(model, tmp_path / "policy")


@pytest.mark.parametrize(
    ("low", "high", "net_arch"),
    [
        ([-1.0], [-1.0], [8]),
        ([-1.0], [float("inf")], [8]),
        ([float("nan")], [1.0], [8]),
        ([-1.0, 0.0], [1.0], [8]),
        ([], [], [8]),
        ([-1.0], [1.0], [0]),
        ([-1.0], [1.0], [2.5]),
    ],
)
def test_bounds_and_widths_that_make_no_sense_are_refused(low: Any, high: Any, net_arch: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        SquashedGaussianPolicy(4, low, high, net_arch)


@pytest.mark.parametrize("wrong", [{"gamma": 1.5}, {"net_arch": ()}, {"lr": 0.0}, {"evaluate_every": 0}])
def test_a_hyperparameter_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SACConfig(**wrong)


def test_trainings_with_other_seeds_share_no_episode() -> None:
    """Neither in the training nor in the learning curve, nor between the two, nor with the evaluation of any seed."""
    seen: list[NDArray[Any]] = []

    class Recorded(Soccer):
        def reset(self, worlds: NDArray[np.intp], generators: Any) -> Info:
            info = super().reset(worlds, generators)
            seen.append(observe_state(self, worlds).copy())
            return info

    def make_world(num_worlds: int) -> Soccer:
        return Recorded(num_worlds, resolution=(8, 8), device="cpu", max_episode_steps=4)

    config = SACConfig(steps=32, learning_starts=32, evaluate_every=32, evaluation_episodes=EPISODES, net_arch=(4,))
    states = []
    for seed in (0, 1):
        seen.clear()
        train_sac(make_world, observe_state, config, seed=seed)
        evaluate_policy(make_world(EPISODES), observe_state, lambda o: np.zeros((len(o), 2)), seed=seed)
        states.append(np.unique(np.concatenate(seen), axis=0))
        assert len(states[-1]) >= 8 + 2 * EPISODES
    together = np.concatenate(states)
    assert len(np.unique(together, axis=0)) == len(together)
