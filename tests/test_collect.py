"""Collection: every transition is what one action did, in our worlds and in environments of others."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
from equiact.envs.batched_envs.batch_step import BatchObservation, BatchStep
from equiact.envs.data.collect import collect
from equiact.envs.data.exploration import ObjectExploration
from equiact.envs.data.policy import PersistentPolicy, RandomPolicy
from equiact.envs.data.rollout import rollout
from equiact.envs.data.transition_recorder import TransitionRecorder
from equiact.envs.data.transitions import Transitions, equal
from equiact.envs.data.transitions_checks import warn_about_content
from equiact.envs.lie_groups.group import GroupError
from equiact.envs.lie_groups.translations import Translations
from gymnasium.vector import AutoresetMode, SyncVectorEnv

SMALL = {"resolution": (16, 16), "device": "cpu"}


def make_worlds(num_envs=4, **options):
    return gym.make_vec("equiact/Soccer-v0", num_envs=num_envs, **SMALL | options)


def make_world(**options):
    return gym.make("equiact/Soccer-v0", **SMALL | options)


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
        return self.render_at(), {}

    def step(self, action):
        before = self.place
        self.place = (before + [(0, 1), (1, 0), (0, -1), (-1, 0)][action]).clip(0, 15)
        self.elapsed += 1
        return self.render_at(), 0.0, self.elapsed >= self.length, False, {"moved": {"by": self.place - before}}

    def render_at(self):
        self.canvas[:] = 0
        self.canvas[tuple(self.place)] = 255
        return self.canvas if self.observe == "frames" else self.place.astype(float)

    def render(self):
        self.render_at()
        return self.canvas if self.render_mode == "rgb_array" else None


def moved(info):
    return info["moved"]["by"]


def places(frames):
    """Where the dot is in each frame."""
    return np.array([np.argwhere(frame[..., 0])[0] for frame in frames])


def assert_true_of_worlds(transitions):
    """Displacement, truth and touch are those between the frame a transition starts from and the one it leads to."""
    agent, object_ = transitions.ground_truth["agent_pose"], transitions.ground_truth["object_pose"]
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
        poses = [transitions.ground_truth[name][frame] for name in ("agent_pose", "object_pose")]
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


def test_actions_are_random_unless_a_policy_is_given():
    """Only a policy that is passed on purpose may read the ground truth."""
    worlds = make_worlds(8)
    random = collect(worlds, transitions=800, seed=0)
    assert equal(random, collect(worlds, transitions=800, seed=0, policy=RandomPolicy(worlds)))
    assert random.touched.mean() < 0.1


def test_scripted_exploration_meets_the_object():
    worlds = make_worlds(8)
    assert collect(worlds, transitions=800, seed=0, policy=ObjectExploration(worlds)).touched.mean() > 0.2
    aimless = collect(worlds, transitions=800, seed=0, policy=ObjectExploration(worlds, approach=0.0))
    assert aimless.touched.mean() < 0.2


def test_exploration_moves_in_all_directions():
    displacement = collect(make_worlds(8), transitions=800, seed=0).displacement
    assert np.abs(displacement.mean(0)).max() < 0.05
    assert (displacement.min(0) < -0.25).all() and (displacement.max(0) > 0.25).all()


def test_persistent_actions_cross_the_workspace():
    worlds = gym.make_vec("equiact/Push-v0", num_envs=16, **SMALL)
    spread = {}
    for policy in (PersistentPolicy(worlds), RandomPolicy(worlds)):
        transitions = collect(worlds, 2000, 0, policy=policy)
        pose = transitions.ground_truth["agent_pose"]
        spread[type(policy)] = pose.std(0) / np.ptp(worlds.unwrapped.world.reach, axis=0)
    assert (spread[PersistentPolicy] > 0.31).all()  # 0.29 is a uniform distribution
    assert (spread[PersistentPolicy] > 1.1 * spread[RandomPolicy]).all()


@pytest.mark.parametrize("change", [0.05, 0.5, 1.0])
def test_persistent_actions_change_as_often_as_they_should(change):
    env = gym.vector.SyncVectorEnv([lambda: Dot(), lambda: Dot()])
    env.single_action_space = gym.spaces.Box(-1.0, 1.0, (2,))
    policy, state, actions = PersistentPolicy(env, change=change), None, []
    policy.seed(np.random.default_rng(1))
    for _ in range(1500):
        action, state = policy.predict(np.zeros((2, 3)), state)
        actions.append(action)
    changed = (np.diff(actions, axis=0) != 0).all(-1)
    assert changed.mean() == pytest.approx(change, abs=0.03)
    both = (changed[:, 0] & changed[:, 1]).mean()
    assert both == pytest.approx(change**2, abs=0.03)  # each environment changes by itself


def test_persistent_actions_of_other_kinds():
    transitions = collect(Dot(), 40, 0, policy=PersistentPolicy(Dot(), change=0.2), group="R2", displacement=moved)
    assert (transitions.displacement[1:] == transitions.displacement[:-1]).all(1).mean() > 0.3
    for change in (0, 1.5):
        with pytest.raises(ValueError, match=rf"\(0, 1\], got {change}"):
            PersistentPolicy(Dot(), change=change)


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
    assert transitions.ground_truth == {}
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
    with pytest.raises(ValueError, match=r"info has no 'displacement'; pass displacement= one of \['odometry'\]"):
        collect(Named(), transitions=5, seed=0)
    with pytest.raises(ValueError, match=r"declares no group; say which one acts, for example group='R2'"):
        collect(Dot(), transitions=5, seed=0, displacement=moved)
    with pytest.raises(GroupError, match="unknown group 'SU2'"):
        collect(Dot(), transitions=5, seed=0, displacement=moved, group="SU2")
    with pytest.raises(GroupError, match=r"displacement must have shape \(\.\.\., 3\).* R3, got \(1, 2\)"):
        collect(Dot(), transitions=5, seed=0, displacement=moved, group="R3")
    with pytest.raises(ValueError, match="must observe uint8 RGB frames or be made with render_mode='rgb_array'"):
        collect(Dot(observe="state"), transitions=5, seed=0, displacement=moved, group="R1")


class Copied(Dot):
    """A dot whose frames are arrays of their own, as mode SAME_STEP requires."""

    def render_at(self):
        return super().render_at().copy()


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_vector_environments_may_reset_in_any_way(mode):
    lengths = (2, 5, 3)
    worlds = SyncVectorEnv([lambda length=length: Copied(length=length) for length in lengths], autoreset_mode=mode)
    assert_true_of_dots(collect(worlds, transitions=50, seed=0, displacement=moved, group="R2"), 50)


class Flawed(Dot):
    """A dot with something wrong about it."""

    def __init__(self, flaw):
        super().__init__(length=100)
        self.flaw = flaw

    def render_at(self):
        return np.zeros_like(super().render_at()) if self.flaw == "dark" else super().render_at()

    def step(self, action):
        *rest, info = super().step(action)
        by = np.asarray(info["moved"]["by"], float)
        if self.elapsed == 20:
            by = {"outlier": by + 1e8, "nan": by * np.nan}.get(self.flaw, by)
        return *rest, {"moved": {"by": 0 * by if self.flaw == "idle" else by}}


@pytest.mark.parametrize(
    ("flaw", "message"),
    [
        ("dark", "all frames are alike"),
        ("idle", "all displacements are the identity: nothing moved"),
        ("outlier", r"the displacement of transition 19 is 1e\+08 times as large as the median"),
    ],
)
def test_useless_data_is_warned_of(flaw, message):
    with pytest.warns(UserWarning, match=message):
        collect(Flawed(flaw), transitions=50, seed=0, displacement=moved, group="R2")


@pytest.mark.parametrize(("change", "seen"), [(15, False), (16, True), (-16, True)])
def test_motion_that_the_images_do_not_show_is_warned_of(change, seen):
    frames = np.full((21, 8, 8, 3), 100, np.uint8)
    frames[1::2, 3, 4, 1] += np.array(change).astype(np.uint8)
    steps = np.arange(20)
    data = Transitions(frames, steps, steps + 1, np.tile(np.float32([0.1, 0.2]), (20, 1)), "R2")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_about_content(data)
    assert ["in 100% of the transitions with a displacement no pixel" in str(each.message) for each in caught] == [
        True
    ] * (not seen)


def test_transitions_without_motion_need_not_show_any():
    frames = np.random.default_rng(0).integers(0, 255, (21, 8, 8, 3), np.uint8)
    frames[5:] = frames[5]
    steps, moved = np.arange(20), np.zeros((20, 2), np.float32)
    moved[:5] = 0.1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_about_content(Transitions(frames, steps, steps + 1, moved, "R2"))


def test_displacements_that_are_not_finite_are_refused():
    with pytest.raises(GroupError, match="displacement must be finite"):
        collect(Flawed("nan"), transitions=50, seed=0, displacement=moved, group="R2")


def test_a_displacement_for_each_environment_is_expected():
    worlds = SyncVectorEnv([Dot, Dot])
    with pytest.raises(ValueError, match=r"a row for each of 2 environments, got shape \(3, 2\)"):
        collect(worlds, transitions=5, seed=0, displacement=lambda info: np.zeros((3, 2)), group="R2")


def test_a_policy_may_be_a_function_of_observations():
    seen = []

    def right(observation):
        seen.append(observation.shape)
        return np.ones(len(observation), int)

    data = collect(Dot(), transitions=20, seed=0, displacement=moved, group="R2", policy=right)
    assert (data.displacement[:, 1] == 0).all() and (data.displacement[:, 0] >= 0).all()
    assert seen[0] == (1, 16, 16, 3), "a policy gets a batch, of a single environment too"


def test_policies_with_a_number_called_seed_collect_too():
    """Models of Stable-Baselines3 keep their seed as a number."""

    class Model:
        seed = 7

        def predict(self, observation, state=None, episode_start=None, deterministic=True):
            return np.ones(len(observation), int), state

    assert len(collect(Dot(), transitions=5, seed=0, displacement=moved, group="R2", policy=Model())) == 5


def odometer(reports, **options):
    """Return a class of dots that report their displacement, and touches, where ``reports`` says so."""

    class Odometer(Dot):
        def __init__(self, index):
            super().__init__(length=4)
            self.index = index

        def step(self, action):
            *rest, info = super().step(action)
            told = {"odometry": moved(info), "touched": True, "agent_pose": self.place * 1.0}
            return *rest, {key: value for key, value in told.items() if reports(key, self.index, self.elapsed)}

    return SyncVectorEnv([lambda i=i: Odometer(i) for i in range(2)], **options)


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("at", [2, 4], ids=["within an episode", "at its end"])
@pytest.mark.filterwarnings("ignore:.*draw into one buffer")
def test_a_displacement_that_one_environment_does_not_report_is_refused(mode, at):
    envs = odometer(lambda key, index, time: (index, time) != (1, at), autoreset_mode=mode)
    envs.envs[1].render_at = lambda: Dot.render_at(envs.envs[1]).copy()
    with pytest.raises(ValueError, match=f"info of environment 1 has no 'odometry' in step {at}; report it"):
        collect(envs, 20, 0, displacement="odometry", group="R2")


def test_touches_that_are_not_always_reported_are_left_out():
    def gather(reports):
        return collect(odometer(reports), 20, 0, displacement="odometry", group="R2")

    assert gather(lambda key, index, time: True).touched.all()
    for reports in (lambda index, time: time != 2, lambda index, time: index, lambda index, time: time != 1 or index):
        part = gather(lambda key, index, time, reports=reports: key != "touched" or reports(index, time))
        assert part.touched is None and len(part) == 20
    assert gather(lambda key, index, time: True).ground_truth == {}, "no pose is reported after a reset"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"transitions": 0}, ValueError, "transitions must be an integer of at least 1, got 0"),
        ({"transitions": 2e4}, ValueError, "transitions must be an integer of at least 1, got 20000.0"),
        ({"transitions": 2.5}, ValueError, "transitions must be an integer of at least 1, got 2.5"),
        ({"transitions": float("nan")}, ValueError, "transitions must be an integer of at least 1, got nan"),
        ({"transitions": True}, ValueError, "transitions must be an integer of at least 1, got True"),
        ({"max_idle_steps": 0}, ValueError, "max_idle_steps must be an integer of at least 1, got 0"),
        ({"seed": None}, ValueError, "seed must be an integer of at least 0, got None"),
        ({"seed": 1.5}, ValueError, "seed must be an integer of at least 0, got 1.5"),
        ({"autoreset": "foo"}, ValueError, r"autoreset must be one of \['NextStep', 'SameStep', 'Disabled'\]"),
        ({"env": None}, TypeError, "env must be a Gymnasium environment, single or vector, got NoneType"),
        ({"group": 3}, GroupError, "the name of a group must be text, such as 'R2', got 3"),
        ({"displacement": lambda info: "far"}, ValueError, "displacement must be numbers, got"),
        ({"displacement": lambda info: [1j, 0]}, ValueError, "displacement must be numbers, got complex"),
    ],
)
def test_impossible_arguments_are_refused(options, error, message):
    given = {"env": Dot(), "transitions": 5, "seed": 0, "displacement": moved, "group": "R2"}
    with pytest.raises(error, match=message):
        collect(**given | options)


def test_integers_may_be_of_any_type():
    def gather(integer):
        options = {"displacement": moved, "group": "R2", "max_idle_steps": integer(9)}
        return collect(Dot(), integer(10), integer(3), **options)

    assert equal(gather(np.int64), gather(int))


class Growing(Copied):
    """A dot on a canvas that grows."""

    def render_at(self):
        return np.pad(super().render_at(), ((0, self.elapsed), (0, 0), (0, 0)))


class Blind(Dot):
    """A dot that shows no image: its ``render`` is the one of `gym.Env`."""

    render = gym.Env.render


def test_images_must_be_there_and_keep_their_shape():
    with pytest.raises(ValueError, match=r"all frames must have one shape, got \(17, 16, 3\) after \(16, 16, 3\)"):
        collect(Growing(), transitions=5, seed=0, displacement=moved, group="R2")
    for env in (Blind(observe="state"), SyncVectorEnv([lambda: Blind(observe="state")])):
        with pytest.raises(ValueError, match="must observe uint8 RGB frames or be made with render_mode='rgb_array'"):
            collect(env, transitions=5, seed=0, displacement=moved, group="R2")


def test_a_policy_may_act_on_the_images():
    """Also where the observation is something else."""

    class Looks:
        acts_on_frames = True

        def predict(self, observation, state=None, episode_start=None, deterministic=True):
            seen.append(observation.shape)
            return np.arange(len(observation)) % 4, None

    options = {"observe": "place", "render_mode": "rgb_array"}
    for env, count in ((Dot(**options), 1), (SyncVectorEnv([lambda: Dot(**options)] * 2), 2)):
        seen = []
        collect(env, transitions=4, seed=0, displacement=moved, group="R2", policy=Looks())
        assert set(seen) == {(count, 16, 16, 3)}
    with pytest.raises(ValueError, match="expected frames=True for a policy that acts on images"):
        next(rollout(make_worlds(2), Looks(), seed=0))


def test_every_step_is_passed_on():
    steps = []
    collect(make_worlds(2), transitions=10, seed=0, on_step=steps.append)
    assert sum(int(step.valid.sum()) for step in steps) == 10
    assert all(step.action.shape == (2, 2) for step in steps)


def test_ground_truth_that_one_environment_did_not_report_is_left_out():
    def seen(*reported):
        info = {"agent_pose": np.ones((2, 2)), "_agent_pose": np.array(reported), "moved": np.ones((2, 2))}
        return BatchObservation(None, np.zeros((2, 4, 4, 3), np.uint8), info)

    no, yes = np.zeros(2, bool), np.ones(2, bool)
    for reported in ((True, True), (True, False)):
        recorder, end = TransitionRecorder(Translations(2), "moved", batched=True), seen(*reported)
        recorder.add(BatchStep(seen(True, True), np.zeros(2), np.zeros(2), no, no, yes, end, end, no))
        assert ("agent_pose" in recorder.transitions(2).ground_truth) == all(reported)


@pytest.mark.parametrize("vectorized", [False, True])
def test_the_group_of_a_wrapper_is_found(vectorized: bool) -> None:
    pytest.importorskip("mujoco")
    from equiact import BodyDisplacement, RayTracedPixels

    def make() -> gym.Env:
        moving = BodyDisplacement(gym.make("Reacher-v5"), body="fingertip", group="R2")
        return RayTracedPixels(moving, lookat=(0, 0, 0), distance=0.7, resolution=(16, 16))

    env = gym.vector.SyncVectorEnv([make, make]) if vectorized else make()
    assert collect(env, 6, seed=0).group == "R2"


def test_a_coordinate_that_never_moves_is_named() -> None:
    pytest.importorskip("mujoco")
    from equiact import BodyDisplacement, RayTracedPixels

    moving = BodyDisplacement(gym.make("HalfCheetah-v5"), body="torso", group="R2", plane="xy")
    with pytest.warns(UserWarning, match="coordinate 1 of the displacement is always 0"):
        collect(RayTracedPixels(moving, resolution=(16, 16)), 6, seed=0)
