"""Worlds for Stable-Baselines3, evaluation, and the bookkeeping of training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm
from stable_baselines3 import SAC

from agents import reinforcement
from agents.evaluation import Evaluation, evaluate, random_policy, wilson_interval
from agents.reinforcement import LearningCurve, load_policy, policy_act, save_policy, train_sac
from agents.vec_env import WorldVecEnv, observe_latents, observe_pixels, observe_state
from envs import task_class
from envs.soccer import AGENT_RADIUS, BALL_RADIUS, GOAL, Soccer
from envs.task import TaskWorld
from envs.world import Info, Outcome
from representations.agent_object import AgentObjectEncoder


def make_world(num_worlds: int = 4, max_episode_steps: int = 40, resolution: int = 16) -> TaskWorld:
    return task_class("Soccer")(
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
            truth = np.concatenate([info["agent_pose"], info["object_pose"]]).astype(np.float32)
            assert ("terminal_observation" in info) == ("episode" in info) == bool(done[i])
            if not done[i]:
                np.testing.assert_array_equal(observation[i], truth)
                assert not info["TimeLimit.truncated"]
                continue
            ends += 1
            np.testing.assert_array_equal(info["terminal_observation"], truth)
            assert not np.array_equal(observation[i], truth)
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
    good = evaluate(make_world(40), observe_state, striker, seed=7)
    assert good == evaluate(make_world(40), observe_state, striker, seed=7)
    assert good != evaluate(make_world(40), observe_state, striker, seed=8)
    assert good.episodes == 40
    assert good.success >= 0.8
    assert good.length_mean < 30
    idle = evaluate(make_world(40), observe_state, zero, seed=7)
    assert idle.success == 0
    assert idle.success_interval[0] == pytest.approx(0, abs=1e-9)
    assert idle.length_mean == 40
    assert idle.return_mean == pytest.approx(-0.05 * 40, abs=0.05)
    assert good.return_mean > idle.return_mean + 2
    world = make_world(40)
    assert evaluate(world, observe_state, random_policy(world, 0), seed=7).success < good.success / 2


def test_an_evaluation_does_not_depend_on_what_was_played_before() -> None:
    world = make_world(8)
    first = evaluate(world, observe_state, striker, seed=3)
    evaluate(world, observe_state, random_policy(world, 1), seed=4)
    assert evaluate(world, observe_state, striker, seed=3) == first


class Counted(Soccer):
    """A world in which success is said on given steps of each world, whatever happens: step 0 is the reset."""

    goals: tuple[set[int], ...] = ()
    clock = 0

    def reset(self, worlds: NDArray[np.intp], generators: Any) -> Info:
        self.clock = 0
        info = super().reset(worlds, generators)
        return info | {"success": self._said()}

    def step(self, action: NDArray[Any]) -> Outcome:
        self.clock += 1
        outcome = super().step(action)
        said = self._said()
        late = np.full(self.num_worlds, self.clock >= self.max_episode_steps) & ~said
        return Outcome(np.ones(self.num_worlds), said, late, outcome.info | {"success": said})

    def _said(self) -> NDArray[np.bool_]:
        return np.array([self.clock in goals for goals in self.goals])


def test_only_what_happens_within_an_episode_counts() -> None:
    world = Counted(4, resolution=(8, 8), device="cpu", max_episode_steps=6)
    world.goals = ({0}, {3}, {9}, {2, 5})  # at reset; in time; too late; twice
    result = evaluate(world, observe_state, zero, seed=0)
    assert result.success == 0.5
    assert result.length_mean == (6 + 3 + 6 + 2) / 4
    assert result.return_mean == result.length_mean


def test_evaluation_as_json() -> None:
    fields = Evaluation(0.5, (0.2, 0.8), 1.0, 2.0, 4).as_dict()
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


def test_a_learning_curve_tells_when_success_came() -> None:
    curve = LearningCurve([100, 200, 300], [0.1, 0.9, 0.8], [-1.0, 1.0, 0.9])
    assert curve.steps_to(0.9) == 200
    assert curve.steps_to(0.05) == 100
    assert curve.steps_to(0.95) is None
    assert set(curve.as_dict()) == {"steps", "success", "return"}


@pytest.fixture(scope="module")
def trained() -> tuple[SAC, LearningCurve, list[Any], list[NDArray[Any]]]:
    """A short training, what progress was told, and the states that every evaluation began with."""
    starts: list[NDArray[Any]] = []
    told: list[tuple[int, int]] = []
    original = reinforcement.evaluate

    def spy(world: TaskWorld, observe: Any, act: Any, **options: Any) -> Evaluation:
        seen: list[NDArray[Any]] = []

        def look(world: TaskWorld, worlds: Any = None) -> NDArray[Any]:
            state = observe_state(world, worlds)
            if not seen:
                starts.append(state.copy())
            seen.append(state)
            return state

        return original(world, look, act, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reinforcement, "evaluate", spy)
        patch.setitem(reinforcement.SAC_OPTIONS, "gradient_steps", 1)
        model, curve = train_sac(
            make_world,
            observe_state,
            steps=600,
            seed=0,
            evaluate_every=200,
            evaluation_episodes=5,
            progress=lambda done, curve: told.append((done, len(curve.steps))),
        )
    return model, curve, told, starts


def test_the_learning_curve_is_kept(trained: tuple[SAC, LearningCurve, list[Any], list[NDArray[Any]]]) -> None:
    _, curve, told, starts = trained
    assert curve.steps == [200, 400, 600]
    assert len(curve.success) == len(curve.return_) == 3
    assert all(0 <= rate <= 1 and (5 * rate) % 1 == 0 for rate in curve.success)
    assert [done for done, _ in told] == list(range(8, 601, 8))
    assert all(points == done // 200 for done, points in told)
    assert len(starts) == 3
    for start in starts[1:]:
        np.testing.assert_array_equal(start, starts[0])
    assert len(np.unique(starts[0], axis=0)) == 5


def test_a_saved_policy_acts_alike(trained: tuple[SAC, Any, Any, Any], tmp_path: Path) -> None:
    model = trained[0]
    save_policy(model, tmp_path / "policy")
    save_policy(model, tmp_path / "policy")  # as a run that was stopped after it does
    act, states = load_policy(tmp_path / "policy"), np.random.default_rng(0).uniform(-1, 1, (20, 4)).astype(np.float32)
    expected = policy_act(model)(states)
    np.testing.assert_array_equal(act(states), expected)
    assert np.abs(expected).max() <= 0.3 + 1e-6
    assert np.ptp(expected, axis=0).min() > 0


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "no folder": lambda folder: [path.unlink() for path in folder.iterdir()],
    "no card": lambda folder: (folder / "policy.json").unlink(),
    "no weights": lambda folder: (folder / "policy.safetensors").unlink(),
    "card that is no JSON": lambda folder: (folder / "policy.json").write_text("{"),
    "card that is empty": lambda folder: (folder / "policy.json").write_text("{}"),
    "card that is a list": lambda folder: (folder / "policy.json").write_text("[]"),
    "weights of half the length": lambda folder: (folder / "policy.safetensors").write_bytes(
        (folder / "policy.safetensors").read_bytes()[:1000]
    ),
    "weights that are empty": lambda folder: (folder / "policy.safetensors").write_bytes(b""),
    "weights that are a pickle": lambda folder: (folder / "policy.safetensors").write_bytes(b"\x80\x04N."),
    "other observation": lambda folder: (folder / "policy.json").write_text(
        (folder / "policy.json").read_text().replace('"observation": [\n    4', '"observation": [\n    6')
    ),
    "bounds that do not match": lambda folder: (folder / "policy.json").write_text(
        (folder / "policy.json").read_text().replace('"low": [', '"low": [ 0.0, ')
    ),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_policy_is_refused(
    damage: Callable[[Path], Any], trained: tuple[SAC, Any, Any, Any], tmp_path: Path
) -> None:
    save_policy(trained[0], tmp_path / "policy")
    damage(tmp_path / "policy")
    with pytest.raises(ValueError, match="does not hold a policy"):
        load_policy(tmp_path / "policy")
