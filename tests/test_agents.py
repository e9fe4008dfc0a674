"""Worlds for Stable-Baselines3, and evaluation."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from equiact.agents.evaluation.rollouts import Evaluation, evaluate_policy, random_policy
from equiact.agents.evaluation.statistics import wilson_interval
from equiact.agents.policies.sb3_vec_env import WorldVecEnv, observe_latents, observe_pixels, observe_state
from equiact.envs.worlds.registry import task_world_class
from equiact.envs.worlds.soccer import AGENT_RADIUS, BALL_RADIUS, GOAL, Soccer
from equiact.envs.worlds.task_world import TaskWorld
from equiact.envs.worlds.world import Info, StepResult
from equiact.representations.encoders.agent_object import AgentObjectEncoder
from numpy.typing import NDArray
from scipy.stats import norm


def make_world(num_worlds: int = 4, max_episode_steps: int = 40, resolution: int = 16) -> TaskWorld:
    return task_world_class("Soccer")(
        num_worlds, resolution=(resolution, resolution), device="cpu", max_episode_steps=max_episode_steps
    )


def striker(state: NDArray[Any]) -> NDArray[Any]:
    """Walks around the ball to the spot behind it, then pushes it to the goal."""
    agent, ball = state[:, :2].astype(float), state[:, 2:].astype(float)
    to_goal = GOAL - ball
    to_goal /= np.linalg.norm(to_goal, axis=1, keepdims=True)
    behind = np.clip(ball - (AGENT_RADIUS + BALL_RADIUS + 0.03) * to_goal, -1, 1)
    side = np.stack([-to_goal[:, 1], to_goal[:, 0]], 1)
    ahead = ((agent - ball) * to_goal).sum(1, keepdims=True)
    offside = ((agent - ball) * side).sum(1, keepdims=True)
    around = ball + np.where(offside >= 0, 1, -1) * 0.4 * side - 0.3 * to_goal
    target = np.where((ahead > -0.1) & (np.abs(offside) < 0.5), around, behind)
    aligned = (ahead < -0.1) & (np.abs(offside) < 0.05)
    target = np.where(aligned, agent + 0.3 * to_goal, target)
    step = target - agent
    return step / np.maximum(1, np.abs(step).max(1, keepdims=True) / 0.3)


def zero(state: NDArray[Any]) -> NDArray[Any]:
    return np.zeros((len(state), 2))


def rollout(environment: WorldVecEnv, steps: int, seed: int) -> list[tuple[Any, ...]]:
    environment.seed(seed)
    generator = np.random.default_rng(0)
    history: list[tuple[Any, ...]] = [(environment.reset(),)]
    for _ in range(steps):
        history.append(environment.step(generator.uniform(-0.3, 0.3, (environment.num_envs, 2))))
    return history


def test_episodes_end_restart_and_are_told_of() -> None:
    environment = WorldVecEnv(make_world(3, max_episode_steps=5), observe_state)
    history = rollout(environment, 17, seed=0)
    returns, lengths, ends = np.zeros(3), np.zeros(3, int), 0
    for observation, reward, done, infos in history[1:]:
        returns, lengths = returns + reward, lengths + 1
        assert environment.observation_space.contains(observation[0])
        for i, info in enumerate(infos):
            ground_truth = np.concatenate([info["agent_pose"], info["object_pose"]]).astype(np.float32)
            assert ("terminal_observation" in info) == ("episode" in info) == bool(done[i])
            if not done[i]:
                np.testing.assert_array_equal(observation[i], ground_truth)
                assert not info["TimeLimit.truncated"]
                continue
            ends += 1
            np.testing.assert_array_equal(info["terminal_observation"], ground_truth)
            assert not np.array_equal(observation[i], ground_truth)
            assert info["episode"]["l"] == lengths[i] <= 5
            assert info["episode"]["r"] == pytest.approx(returns[i], abs=1e-4)
            assert info["TimeLimit.truncated"] != info["is_success"]
            returns[i], lengths[i] = 0, 0
    assert ends >= 9
    fresh = [step[0][i] for step in history[1:] for i in range(3) if step[2][i]]
    assert len(np.unique(np.round(fresh, 4), axis=0)) == len(fresh), "episodes start alike"


def test_a_goal_ends_an_episode_without_truncation() -> None:
    environment = WorldVecEnv(make_world(8), observe_state)
    environment.seed(0)
    state, goals = environment.reset(), 0
    for _ in range(40):
        state, _, done, infos = environment.step(striker(state))
        for i in np.flatnonzero(done):
            if infos[i]["is_success"]:
                goals += 1
                assert not infos[i]["TimeLimit.truncated"]
                assert infos[i]["terminal_observation"][2] > 0.87
                assert state[i][2] < 0.75
    assert goals >= 4


@pytest.mark.parametrize("observe", [observe_pixels, observe_state])
def test_the_seed_decides_the_trajectory(observe: Callable[..., NDArray[Any]]) -> None:
    first, again, other = (
        rollout(WorldVecEnv(make_world(2, max_episode_steps=4), observe), 9, seed) for seed in (5, 5, 6)
    )
    for a, b in zip(first, again, strict=True):
        for x, y in zip(a[:3], b[:3], strict=True):
            np.testing.assert_array_equal(x, y)
    assert not np.array_equal(first[0][0], other[0][0])
    assert not np.array_equal(first[0][0][0], first[0][0][1]), "all worlds start alike"


def test_what_is_observed_of_some_worlds_is_theirs() -> None:
    world = make_world(4, resolution=32)
    world.reset(np.arange(4), [np.random.default_rng(i) for i in range(4)])
    encoder = AgentObjectEncoder((32, 32, 3), "R2").eval()
    some = np.array([2, 0])
    for observe in (observe_pixels, observe_state, observe_latents(encoder)):
        np.testing.assert_allclose(observe(world, some), observe(world, None)[some], atol=1e-5)
    latents = encoder.encode(world.render())
    expected = np.concatenate([latents["agent"], latents["object"]], 1)
    np.testing.assert_allclose(observe_latents(encoder)(world, None), expected, atol=1e-6)


def test_evaluation_is_deterministic_and_tells_good_from_bad() -> None:
    good = evaluate_policy(make_world(40), observe_state, striker, seed=7)
    assert good == evaluate_policy(make_world(40), observe_state, striker, seed=7)
    assert good != evaluate_policy(make_world(40), observe_state, striker, seed=8)
    assert good.episodes == 40
    assert good.success >= 0.8
    assert good.length_mean < 30
    idle = evaluate_policy(make_world(40), observe_state, zero, seed=7)
    assert idle.success == 0
    assert idle.success_interval[0] == pytest.approx(0, abs=1e-9)
    assert idle.length_mean == 40
    assert idle.return_mean == pytest.approx(-0.05 * 40, abs=0.05)
    assert good.return_mean > idle.return_mean + 2
    world = make_world(40)
    assert evaluate_policy(world, observe_state, random_policy(world, 0), seed=7).success < good.success / 2


def test_an_evaluation_does_not_depend_on_what_was_played_before() -> None:
    world = make_world(8)
    first = evaluate_policy(world, observe_state, striker, seed=3)
    evaluate_policy(world, observe_state, random_policy(world, 1), seed=4)
    assert evaluate_policy(world, observe_state, striker, seed=3) == first


class Counted(Soccer):
    """A world in which success is said on given steps of each world, whatever happens: step 0 is the reset."""

    goals: tuple[set[int], ...] = ()
    clock = 0

    def reset(self, worlds: NDArray[np.intp], generators: Any) -> Info:
        self.clock = 0
        info = super().reset(worlds, generators)
        return info | {"success": self._said()}

    def step(self, action: NDArray[Any], worlds: NDArray[Any] | None = None) -> StepResult:
        self.clock += 1
        outcome = super().step(action, worlds)
        said = self._said()
        late = np.full(self.num_worlds, self.clock >= self.max_episode_steps) & ~said
        return StepResult(np.ones(self.num_worlds), said, late, outcome.info | {"success": said})

    def _said(self) -> NDArray[np.bool_]:
        return np.array([self.clock in goals for goals in self.goals])


def test_only_what_happens_within_an_episode_counts() -> None:
    world = Counted(4, resolution=(8, 8), device="cpu", max_episode_steps=6)
    world.goals = ({0}, {3}, {9}, {2, 5})  # at reset; in time; too late; twice
    result = evaluate_policy(world, observe_state, zero, seed=0)
    assert result.success == 0.5 and result.outcomes == (False, True, False, True)
    assert result.length_mean == (6 + 3 + 6 + 2) / 4
    assert result.return_mean == result.length_mean


def test_evaluation_as_json() -> None:
    fields = Evaluation(0.5, (0.2, 0.8), 1.0, 2.0, 4, (True, True, False, False)).as_dict()
    assert fields["success_interval"] == [0.2, 0.8]
    assert set(fields) == {"success", "success_interval", "return_mean", "length_mean", "episodes"}


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (10, 10), (1, 3), (95, 100), (500, 1000)])
def test_wilson_interval_is_the_formula(successes: int, trials: int) -> None:
    z, rate = norm.ppf(0.975), successes / trials
    centre = (rate + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(rate * (1 - rate) / trials + z**2 / (4 * trials**2))
    low, high = wilson_interval(successes, trials)
    assert (low, high) == pytest.approx((centre - half, centre + half), abs=1e-9)
    assert 0 <= low <= rate <= high <= 1


def test_success_after_the_end_of_an_episode_does_not_count():
    class Uneven(Counted):
        """The first world runs out of time before the second."""

        def step(self, action, worlds=None):
            outcome = super().step(action, worlds)
            outcome.truncated[0] |= self.clock >= 2
            return outcome

    world = Uneven(2, resolution=(8, 8), device="cpu", max_episode_steps=6)
    world.goals = ({4}, {5})
    assert evaluate_policy(world, observe_state, zero, seed=0).success == 0.5


def test_evaluations_with_neighbouring_seeds_share_no_episode() -> None:
    """Five seeds of a benchmark would share 36 of 40 initial states if episode ``i`` started from ``seed + i``."""
    starts: list[NDArray[Any]] = []

    def watched(observation: NDArray[Any]) -> NDArray[Any]:
        starts.append(observation.copy())
        return zero(observation)

    for seed in range(2000, 2005):
        before = len(starts)
        evaluate_policy(make_world(40, max_episode_steps=1), observe_state, watched, seed=seed)
        assert len(starts) == before + 1
    assert len(np.unique(np.concatenate(starts), axis=0)) == 5 * 40
