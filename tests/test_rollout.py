"""The rollout engine: every way of being reset, every kind of observation, and what a policy is."""

import re
import warnings
from itertools import islice

import gymnasium as gym
import numpy as np
import pytest
from equiact.envs.batched_envs.image_reader import FrameReader
from equiact.envs.batched_envs.world_episodes import WorldEpisodes
from equiact.envs.data.collect import collect
from equiact.envs.data.policy import GroundTruthPolicy, Policy, RandomPolicy, UniformPolicy, as_policy
from equiact.envs.data.rollout import as_batched, rollout
from equiact.envs.worlds.registry import world_class
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

MODES = list(AutoresetMode)
LENGTHS = (1, 2, 5)


class Clock(gym.Env):
    """Shows its number, its episode and its time as a colour; all frames share one buffer if asked.

    The displacement of a step is the time before it.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(self, index=0, length=3, kind="frames", render_mode=None, shared=True):
        self.index, self.length, self.kind, self.render_mode, self.shared = index, length, kind, render_mode, shared
        self.action_space = gym.spaces.Discrete(2)
        frames, number = gym.spaces.Box(0, 255, (8, 8, 3), np.uint8), gym.spaces.Box(0, 9, (1,), np.float64)
        spaces = {"frames": frames, "state": number, "dict": gym.spaces.Dict({"camera": frames, "state": number})}
        self.observation_space = spaces[kind]
        self.canvas, self.episode = np.zeros((8, 8, 3), np.uint8), -1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.time = self.episode + 1, 0
        return self.look(), {}

    def step(self, action):
        self.time += 1
        info = {"moved": np.array([self.time - 1.0]), "deep": {"time": self.time}}
        return self.look(), 1.0, self.time >= self.length, False, info

    def look(self):
        if not self.shared:
            self.canvas = self.canvas.copy()
        self.canvas[:] = self.index, self.episode, self.time
        return {"frames": self.canvas, "state": np.array([self.time * 1.0])}.get(
            self.kind, {"camera": self.canvas, "state": np.array([self.time * 1.0])}
        )

    def render(self):
        self.look()
        return self.canvas if self.render_mode else None


def sync(mode, **options):
    """Make three environments; Gymnasium cannot keep last observations of a shared buffer in mode SAME_STEP."""
    options.setdefault("shared", mode != AutoresetMode.SAME_STEP)
    makes = [lambda i=i, length=length: Clock(i, length, **options) for i, length in enumerate(LENGTHS)]
    return SyncVectorEnv(makes, autoreset_mode=mode, copy=False)


class Undeclared(VectorEnv):
    """Another vector environment without its declaration."""

    def __init__(self, env, tells=True):
        self.inner, self.tells, self.num_envs, self.metadata = env, tells, env.num_envs, {}
        self.action_space, self.observation_space = env.action_space, env.observation_space

    def reset(self, *, seed=None, options=None):
        return self.inner.reset(seed=seed, options=options)

    def step(self, actions):
        *rest, info = self.inner.step(actions)
        return *rest, info if self.tells else {key: info[key] for key in info if "final" not in key}


def gather(env, count=40, **options):
    return collect(env, count, 0, displacement="moved", group="R1", policy=RandomPolicy(env), **options)


def assert_steps(data):
    """Every transition goes one step ahead within one episode of one environment; the displacement is its own."""
    start, end = data.observations[:, 0, 0].astype(int), data.next_observations[:, 0, 0].astype(int)
    np.testing.assert_array_equal(end - start, np.tile([0, 0, 1], (len(data), 1)))
    np.testing.assert_array_equal(data.displacement[:, 0], start[:, 2])
    return start


def complete(start):
    """Return how far the episodes of each environment were followed."""
    return {index: int(start[start[:, 0] == index, 2].max(initial=-1)) + 1 for index in range(len(LENGTHS))}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["frames", "dict"])
def test_transitions_stay_within_episodes_in_every_mode(mode, kind):
    data = gather(sync(mode, kind=kind))
    assert complete(assert_steps(data)) == dict(enumerate(LENGTHS)), "the last step of an episode is there, too"


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
def test_frames_may_be_drawn_by_render(mode):
    data = gather(sync(mode, kind="state", render_mode="rgb_array"))
    assert complete(assert_steps(data)) == dict(enumerate(LENGTHS))


def test_a_last_frame_that_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match=r"the last frame of an episode cannot be drawn\. Make it with autoreset_mode"):
        gather(sync(AutoresetMode.SAME_STEP, kind="state", render_mode="rgb_array"))


@pytest.mark.parametrize("kind", ["frames", "dict"])
def test_single_environments_start_over(kind):
    assert assert_steps(gather(Clock(length=4, kind=kind), 20))[:, 2].max() == 3


def test_same_step_environments_lose_no_step():
    """No step is spent on resets: 40 transitions of 3 environments take 14 steps."""
    steps = list(islice(rollout(sync(AutoresetMode.SAME_STEP), lambda seen: np.zeros(len(seen), int), seed=0), 14))
    assert all(step.valid.all() for step in steps)
    for step in steps:
        np.testing.assert_array_equal(step.end.observation[:, 0, 0, 2], step.start.observation[:, 0, 0, 2] + 1)
        np.testing.assert_array_equal(step.next.observation[step.restarted, 0, 0, 2], 0)
        np.testing.assert_array_equal(step.end.info["deep"]["time"], step.end.observation[:, 0, 0, 2])
        np.testing.assert_array_equal(step.restarted, step.ended)


def test_last_observations_that_a_reset_overwrote_are_noticed():
    with pytest.warns(UserWarning, match="the environment seems to draw into one buffer, which its reset overwrites"):
        data = gather(sync(AutoresetMode.SAME_STEP, shared=True))
    assert_steps(data)


def test_what_was_yielded_does_not_change():
    """Observations are copies, though the environment draws all of them into one buffer."""
    steps = list(islice(rollout(Clock(length=9), lambda seen: np.zeros(len(seen), int)), 5))
    assert [int(step.end.observation[0, 0, 0, 2]) for step in steps] == [1, 2, 3, 4, 5]


def test_undeclared_environments_that_report_last_observations_lose_nothing():
    with pytest.warns(UserWarning, match=r"does not declare metadata\['autoreset_mode'\]"):
        data = gather(Undeclared(sync(AutoresetMode.SAME_STEP)))
    assert complete(assert_steps(data)) == dict(enumerate(LENGTHS))


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_undeclared_environments_that_report_nothing_are_handled_with_care(mode):
    with pytest.warns(UserWarning, match="the last transition of every episode is left out"):
        data = gather(Undeclared(sync(mode), tells=False))
    assert_steps(data)


@pytest.mark.parametrize("autoreset", ["SameStep", "SAME_STEP", AutoresetMode.SAME_STEP])
def test_the_mode_can_be_declared_by_the_caller(autoreset):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "in 100% of the transitions with a displacement")  # a clock counts in pixels
        data = gather(Undeclared(sync(AutoresetMode.SAME_STEP)), autoreset=autoreset)
    assert_steps(data)


def test_messages_about_modes():
    with pytest.raises(ValueError, match=r"autoreset must be one of \['NextStep', 'SameStep', 'Disabled'\], got 'x'"):
        gather(sync(AutoresetMode.NEXT_STEP), autoreset="x")
    with pytest.raises(ValueError, match=r"expected the last observation of an episode in info\['final_obs'\]"):
        gather(Undeclared(sync(AutoresetMode.SAME_STEP), tells=False), autoreset="SameStep")
    short = Undeclared(SyncVectorEnv([lambda: Clock(length=1)]), tells=False)
    with (
        pytest.warns(UserWarning, match="does not declare"),
        pytest.raises(ValueError, match="none of the last 20 steps"),
    ):
        gather(short, max_idle_steps=20)


class TwoCameras(Clock):
    def __init__(self):
        super().__init__(kind="dict")
        camera = self.observation_space["camera"]
        self.observation_space = gym.spaces.Dict({"left": camera, "right": camera})

    def look(self):
        view = super().look()["camera"]
        return {"left": 255 - view, "right": view}


def test_the_image_of_dict_observations_is_chosen_by_its_key():
    assert_steps(gather(TwoCameras(), image_key="right"))
    with pytest.raises(ValueError, match=r"several images; pass image_key= one of \['left', 'right'\]"):
        gather(TwoCameras())
    with pytest.raises(ValueError, match=r"no entry 'top'; pass image_key= one of \['left', 'right'\]"):
        gather(TwoCameras(), image_key="top")
    with pytest.raises(ValueError, match="image_key='x' was given, but observations are no Dict"):
        gather(Clock(), image_key="x")


class ChannelFirst(Clock):
    def look(self):
        return super().look().transpose(2, 0, 1)


def test_channel_first_frames_are_refused():
    with pytest.raises(ValueError, match=r"frames must have shape \(H, W, C\), got \(3, 8, 8\)"):
        gather(ChannelFirst())


@pytest.mark.parametrize("shape", [(1, 84, 84), (9, 84, 84), (12, 64, 48), (4, 17, 17)])
def test_stacks_of_channel_first_frames_are_refused_too(shape):
    frames = np.zeros((2, *shape), np.uint8)
    with pytest.raises(ValueError, match=r"got \(\d+, \d+, \d+\), which looks like \(C, H, W\)"):
        FrameReader().read(frames, render=lambda: None)
    channel_last = np.moveaxis(frames, 1, -1)
    assert FrameReader().read(channel_last, render=lambda: None).shape == channel_last.shape


class Reversed(Clock):
    """Turns BGR into RGB with a view."""

    def look(self):
        return super().look()[..., ::-1]


def test_views_are_accepted():
    assert gather(Reversed()).frames.flags.c_contiguous


class Remembers:
    """Counts the steps of each episode in its state, and what it was told of episodes."""

    def __init__(self):
        self.counts, self.observations = [], []

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        assert not deterministic
        count = np.where(episode_start, 0, 0 if state is None else state)
        self.counts.append(count)
        self.observations.append(observation[:, 0, 0, 2].copy())
        return np.zeros(len(observation), int), count + 1


@pytest.mark.parametrize("mode", MODES)
def test_policies_see_the_observation_remember_and_know_where_episodes_start(mode):
    policy = Remembers()
    for _ in islice(rollout(sync(mode), policy, deterministic=False), 12):
        pass
    np.testing.assert_array_equal(policy.counts, policy.observations)


def test_what_a_policy_is():
    policy = as_policy(lambda observation: observation + 1)
    assert isinstance(policy, Policy)
    assert as_policy(policy) is policy
    np.testing.assert_array_equal(policy.predict(np.array([1, 2]))[0], [2, 3])
    with pytest.raises(TypeError, match=r"expected a policy .* or a function from observations to actions, got int"):
        as_policy(3)
    with pytest.raises(TypeError, match="expected a Gymnasium environment, a batch of worlds or a BatchedEnv, got str"):
        as_batched("env")
    many = {"image": np.zeros((5, 8, 8, 3)), "state": np.zeros((5, 2))}
    assert UniformPolicy(gym.spaces.Box(-1, 1, (2,))).predict(many)[0].shape == (5, 2), "rows of Dict observations"
    with pytest.raises(ValueError, match="finite bounds"):
        UniformPolicy(gym.spaces.Box(-np.inf, np.inf, (2,)))


def make_world(count=3, steps=4):
    world = world_class("Soccer")(count, resolution=(16, 16), device="cpu", max_episode_steps=steps)
    world.reset(np.arange(count), np.random.default_rng(0).spawn(count))
    return world


def test_worlds_play_one_episode_each_and_are_drawn_only_while_they_run():
    world, drawn = make_world(), []
    world._elapsed[1] = 2  # this episode is over after two steps

    def observe(world, worlds):
        drawn.append(3 if worlds is None else len(worlds))
        return world.render(worlds)

    steps = list(rollout(WorldEpisodes(world, observe), lambda seen: np.full((len(seen), 2), 0.1)))
    assert [step.valid.tolist() for step in steps] == [[True] * 3, [True] * 3, [True, False, True], [True, False, True]]
    assert drawn == [3, 3, 3, 2, 2]
    assert sum(step.ended for step in steps).tolist() == [1, 1, 1]
    np.testing.assert_array_equal(steps[1].end.observation[1], steps[3].end.observation[1])
    assert (steps[2].reward[1], steps[2].terminated[1], steps[2].truncated[1]) == (0, False, False)


def test_ground_truth_is_given_at_construction_only():
    world = make_world(steps=2)
    policy = GroundTruthPolicy(world, lambda world: -world.agent_pose())
    first = next(rollout(world, policy))
    np.testing.assert_array_equal(first.action, -first.start.info["agent_pose"])


class Arm(Clock):
    """A clock whose actions are arrays."""

    def __init__(self, index=0, length=9, space=None):
        super().__init__(index, length)
        self.action_space = space or gym.spaces.Box(-1, 1, (2,))


class Constant:
    """A policy that always returns one thing."""

    def __init__(self, action):
        self.action = action

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        return self.action, None


def steps_with(env, action):
    return next(rollout(env, Constant(action), seed=0))


@pytest.mark.parametrize(
    ("count", "action", "message"),
    [
        (0, np.zeros(2), r"actions of shape \(1, 2\), one for each environment, got shape \(2,\)"),
        (0, np.zeros((1, 1)), r"actions of shape \(1, 2\).* got shape \(1, 1\)"),
        (0, np.zeros((2, 2)), r"actions of shape \(1, 2\).* got shape \(2, 2\)"),
        (3, np.zeros((1, 2)), r"actions of shape \(3, 2\).* got shape \(1, 2\)"),
        (3, np.zeros(2), r"actions of shape \(3, 2\).* got shape \(2,\)"),
        (3, 0.5, r"actions of shape \(3, 2\).* got shape \(\)"),
        (3, None, r"numbers of shape \(3, 2\), got .*None"),
        (3, "left", r"numbers of shape \(3, 2\), got .*left"),
        (3, np.zeros((3, 2), complex), r"numbers of shape \(3, 2\), got "),
        (3, [[0.0], [0.0, 1.0], []], r"numbers of shape \(3, 2\), got list|inhomogeneous"),
    ],
)
def test_actions_of_another_shape_are_refused(count, action, message):
    env = SyncVectorEnv([Arm] * count) if count else Arm()
    with pytest.raises(ValueError, match=message):
        steps_with(env, action)


@pytest.mark.parametrize(
    ("space", "action"),
    [
        (gym.spaces.Discrete(3), [1]),
        (gym.spaces.MultiDiscrete([2, 3]), np.array([[1, 2]])),
        (gym.spaces.Dict({"move": gym.spaces.Box(-1, 1, (2,))}), [{"move": np.zeros(2)}]),
        (gym.spaces.Tuple([gym.spaces.Box(-1, 1, (2,)), gym.spaces.Discrete(2)]), [(np.zeros(2), 1)]),
    ],
)
def test_spaces_of_every_kind_have_actions(space, action):
    assert steps_with(Arm(space=space), action).valid.all()
    assert next(rollout(Arm(space=space), RandomPolicy(Arm(space=space)))).valid.all()
    with pytest.raises(ValueError, match="the policy must return"):
        steps_with(Arm(space=space), [action, action])


def test_worlds_check_actions_too():
    with pytest.raises(ValueError, match=r"actions of shape \(3, 2\).* got shape \(1, 2\)"):
        steps_with(make_world(), np.zeros((1, 2)))


@pytest.mark.parametrize(
    ("space", "action", "allowed", "got"),
    [
        (gym.spaces.Discrete(3), [3], "0 to 2", r"\[3\]"),
        (gym.spaces.Discrete(3, start=2), [1], "2 to 4", r"\[1\]"),
        (gym.spaces.Discrete(3), [0.5], "0 to 2", r"\[0.5\]"),
        (gym.spaces.Discrete(3), [np.nan], "0 to 2", r"\[nan\]"),
        (gym.spaces.MultiDiscrete([2, 3]), np.array([[1, 3]]), r"\[0, 0\] to \[1, 2\]", r"\[\[1, 3\]\]"),
        (gym.spaces.MultiDiscrete([2, 3], start=[1, 0]), np.array([[0, 2]]), r"\[1, 0\] to", r"\[\[0, 2\]\]"),
        (gym.spaces.MultiBinary(2), np.array([[1, 2]]), "0 to 1", r"\[\[1, 2\]\]"),
    ],
)
def test_discrete_actions_out_of_range_are_refused(space, action, allowed, got):
    message = f"must return actions in {re.escape(str(space))}, whole numbers from {allowed}.*, got {got}; check"
    with pytest.raises(ValueError, match=message):
        steps_with(Arm(space=space), action)
