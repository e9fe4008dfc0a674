"""Collection: every transition is what one action did, in our worlds and in environments of others."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from envs.collect import collect, explore
from envs.groups import GroupError, Translations
from envs.transitions import equal

SMALL = {"resolution": (16, 16), "device": "cpu"}


def make_worlds(num_envs=4, **options):
    return gym.make_vec("envs:equiact/Soccer-v0", num_envs=num_envs, **SMALL | options)


def make_world(**options):
    return gym.make("envs:equiact/Soccer-v0", **SMALL | options)


class Dot(gym.Env):
    """An environment as others write them: a dot on a grid of pixels, and its own words for what it did.

    Every frame is drawn into the same buffer, and an episode ends after ``length`` steps in another place.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 1}  # noqa: RUF012

    def __init__(self, observe="frames", length=3, render_mode=None):
        self.observe, self.length, self.render_mode = observe, length, render_mode
        self.action_space = gym.spaces.Discrete(4)
        frames = gym.spaces.Box(0, 255, (16, 16, 3), np.uint8)
        self.observation_space = frames if observe == "frames" else gym.spaces.Box(0, 15, (2,), np.float64)
        self.canvas = np.zeros((16, 16, 3), np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.integers(0, 16, 2)
        self.elapsed = 0
        return self.look(), {}

    def step(self, action):
        before = self.place
        self.place = (before + [(0, 1), (1, 0), (0, -1), (-1, 0)][action]).clip(0, 15)
        self.elapsed += 1
        return self.look(), 0.0, self.elapsed >= self.length, False, {"moved": {"by": self.place - before}}

    def look(self):
        self.canvas[:] = 0
        self.canvas[tuple(self.place)] = 255
        return self.canvas if self.observe == "frames" else self.place.astype(float)

    def render(self):
        self.look()
        return self.canvas if self.render_mode == "rgb_array" else None


def moved(info):
    return info["moved"]["by"]


def places(frames):
    """Where the dot is in each frame."""
    return np.array([np.argwhere(frame[..., 0])[0] for frame in frames])


def assert_true_of_worlds(transitions):
    """Displacement, truth and touch are those between the frame a transition starts from and the one it leads to."""
    agent, object_ = transitions.truth["agent_pose"], transitions.truth["object_pose"]
    start, end = transitions.start, transitions.end
    np.testing.assert_allclose(transitions.displacement, agent[end] - agent[start], rtol=0, atol=1e-6)
    moves = np.linalg.norm(object_[end] - object_[start], axis=-1)
    sure = np.abs(moves - 1e-4) > 1e-6
    np.testing.assert_array_equal(transitions.touched[sure], (moves > 1e-4)[sure])
    assert moves.max() < 1, "the object is placed anew when a world is reset"


@pytest.mark.parametrize("make", [make_worlds, make_world])
@pytest.mark.parametrize("length", [1, 3, 40])
def test_no_transition_crosses_a_reset(make, length):
    transitions = collect(make(max_episode_steps=length), transitions=60, seed=0)
    assert len(transitions) == 60
    assert_true_of_worlds(transitions)
    assert np.linalg.norm(transitions.displacement, axis=-1).mean() > 0.05
    if length == 1:
        assert not np.intersect1d(transitions.start, transitions.end).size


def test_frames_belong_to_their_truth():
    """What the frame of a transition shows is what the simulator draws for its true poses."""
    transitions = collect(make_worlds(max_episode_steps=5), transitions=40, seed=1)
    world = make_world().unwrapped.world
    for frame in range(0, len(transitions.frames), 7):
        poses = [transitions.truth[name][frame] for name in ("agent_pose", "object_pose")]
        world.simulator.field("qpos")[0] = np.concatenate(poses)
        world.simulator.forward()
        difference = np.abs(world.render()[0].astype(int) - transitions.frames[frame])
        assert np.mean(difference > 8) < 0.01  # truth is rounded to float32


def test_frames_are_stored_once():
    transitions = collect(make_worlds(2), transitions=60, seed=0)
    assert len(transitions.frames) == 62
    np.testing.assert_array_equal(np.union1d(transitions.start, transitions.end), np.arange(62))


def test_the_seed_determines_everything():
    worlds = make_worlds()
    first = collect(worlds, transitions=100, seed=3)
    assert equal(collect(worlds, transitions=100, seed=3), first), "what was collected before leaves no trace"
    assert equal(collect(make_worlds(), transitions=100, seed=3), first)
    assert not equal(collect(worlds, transitions=100, seed=4), first)


def test_a_batch_of_one_collects_what_a_single_world_does():
    alone, batch = (collect(env, transitions=50, seed=2) for env in (make_world(), make_worlds(1)))
    assert equal(alone, batch)


def test_exploration_meets_the_object():
    worlds = make_worlds(8)
    assert collect(worlds, transitions=800, seed=0).touched.mean() > 0.2
    aimless = collect(worlds, transitions=800, seed=0, policy=explore(worlds, approach=0.0))
    assert aimless.touched.mean() < 0.2


def test_exploration_moves_in_all_directions():
    displacement = collect(make_worlds(8), transitions=800, seed=0).displacement
    assert np.abs(displacement.mean(0)).max() < 0.05
    assert (displacement.min(0) < -0.25).all() and (displacement.max(0) > 0.25).all()


def test_progress_is_reported():
    seen = []
    collect(make_worlds(4), transitions=10, seed=0, progress=seen.append)
    assert seen == [4, 8, 10]


def assert_true_of_dots(transitions, count):
    assert len(transitions) == count
    assert transitions.group == "R2"
    before, after = places(transitions.observations), places(transitions.next_observations)
    np.testing.assert_array_equal(transitions.displacement, after - before)
    assert len(np.unique(transitions.displacement, axis=0)) >= 4
    assert transitions.truth == {}
    assert transitions.touched is None


@pytest.mark.parametrize("options", [{}, {"observe": "state", "render_mode": "rgb_array"}], ids=["observed", "drawn"])
def test_single_environments_of_others(options):
    transitions = collect(Dot(**options), transitions=50, seed=0, displacement=moved, group="R2")
    assert_true_of_dots(transitions, 50)
    again = collect(Dot(**options), transitions=50, seed=0, displacement=moved, group=Translations(2))
    assert equal(transitions, again)


@pytest.mark.parametrize("options", [{}, {"observe": "state", "render_mode": "rgb_array"}], ids=["observed", "drawn"])
@pytest.mark.parametrize("lengths", [(3, 3), (2, 5, 3)], ids=["end together", "end apart"])
def test_vector_environments_of_others(options, lengths):
    def make():
        return SyncVectorEnv([lambda length=length: Dot(length=length, **options) for length in lengths])

    transitions = collect(make(), transitions=50, seed=0, displacement=moved, group="R2")
    assert_true_of_dots(transitions, 50)
    assert equal(transitions, collect(make(), transitions=50, seed=0, displacement=moved, group="R2"))


class Dial(Dot):
    """A dot that says that it was turned; of what never happened Gymnasium says zero, which is no turn."""

    def step(self, action):
        *rest, _ = super().step(action)
        return *rest, {"turn": np.array([0.0, 1.0])}


def test_where_a_world_of_others_was_reset_no_displacement_is_asked_for():
    worlds = SyncVectorEnv([lambda length=length: Dial(length=length) for length in (2, 5)])
    transitions = collect(worlds, transitions=30, seed=0, displacement="turn", group="SO2")
    assert (transitions.displacement == [0, 1]).all()


class Named(Dot):
    """A dot that reports its displacement under a key of its own, and declares its group."""

    group = Translations(2)

    def step(self, action):
        *rest, info = super().step(action)
        return *rest, {"odometry": moved(info)}


def test_displacement_can_be_a_key_of_info():
    assert_true_of_dots(collect(Named(), transitions=30, seed=0, displacement="odometry"), 30)


def test_messages_for_what_is_missing():
    with pytest.raises(ValueError, match="at least 1 transition must be collected, got 0"):
        collect(make_worlds(1), transitions=0, seed=0)
    with pytest.raises(ValueError, match=r"info has no 'displacement'; pass displacement= one of \['odometry'\]"):
        collect(Named(), transitions=5, seed=0)
    with pytest.raises(ValueError, match=r"declares no group; say which one acts, for example group='R2'"):
        collect(Dot(), transitions=5, seed=0, displacement=moved)
    with pytest.raises(GroupError, match="unknown group 'SU2'"):
        collect(Dot(), transitions=5, seed=0, displacement=moved, group="SU2")
    with pytest.raises(GroupError, match=r"displacement must have shape \(\.\.\., 3\).* R3, got \(2,\)"):
        collect(Dot(), transitions=5, seed=0, displacement=moved, group="R3")
    with pytest.raises(ValueError, match="must observe uint8 RGB frames or be made with render_mode='rgb_array'"):
        collect(Dot(observe="state"), transitions=5, seed=0, displacement=moved, group="R1")


def test_vector_environments_that_reset_within_a_step_are_refused():
    worlds = SyncVectorEnv([Dot], autoreset_mode=AutoresetMode.SAME_STEP)
    with pytest.raises(ValueError, match="must reset on the next step"):
        collect(worlds, transitions=5, seed=0, displacement=moved, group="R2")
