"""Contract of every world with a task and of its Gymnasium environments, the registry, and details of single worlds."""

import subprocess
import sys
import warnings
from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
from equiact.agents.policies.experts import expert
from equiact.envs.lie_groups.group import GroupError
from equiact.envs.worlds.registry import REGISTRY, register_world, task_world_class, world_class, world_names
from equiact.envs.worlds.soccer import GOAL, GOAL_HALF_WIDTH, GOAL_LINE
from equiact.envs.worlds.task_world import TaskWorld
from gymnasium.utils.env_checker import check_env as check_with_gymnasium
from stable_baselines3.common.env_checker import check_env as check_with_sb3

SMALL = {"resolution": (16, 16), "device": "cpu"}
CLEAR = {"Pick": 0.15, "Push": 0.15, "Soccer": 0.3}
"""Metres between the agent's path and the object's centre beyond which they cannot touch."""
PARTS = {"Pick": (slice(0, 2), slice(5, 7)), "Push": (slice(0, 2), slice(5, 7)), "Soccer": (slice(0, 2), slice(2, 4))}
"""Where the planar positions of agent and object are in the state."""

all_worlds = pytest.mark.parametrize(
    "name", [name for name, world_cls in REGISTRY.items() if issubclass(world_cls, TaskWorld)]
)


def make_env(name, **options):
    return gym.make(f"equiact/{name}-v0", **SMALL | options)


def make_vec(name, num_envs, **options):
    return gym.make_vec(f"equiact/{name}-v0", num_envs=num_envs, **SMALL | options)


def make_world(name, num_worlds, **options):
    world = world_class(name)(num_worlds, **SMALL | options)
    world.reset(np.arange(num_worlds), [np.random.default_rng(i) for i in range(num_worlds)])
    return world


def act(world, displacement):
    """Return the action that performs displacements, with the gripper open."""
    return np.concatenate([displacement, np.ones((*displacement.shape[:-1], world.commands))], -1)


def assert_same_info(got, expected):
    """Two infos of the contract, or one world's row of a vector environment's."""
    for key, value in expected.items():
        np.testing.assert_array_equal(got[key], value, err_msg=key)


def distance_to_path(point, start, path):
    """From each point to the segment from ``start`` to ``start + path``."""
    share = (path * (point - start)).sum(-1) / np.maximum((path**2).sum(-1), 1e-12)
    return np.linalg.norm(start + np.clip(share, 0, 1)[..., None] * path - point, axis=-1)


def random_steps(name, steps=60, num_worlds=32, seed=0):
    """Steps of random actions, every fourth towards the object: agent and object before, action, outcome, after."""
    world = make_world(name, num_worlds, max_episode_steps=steps + 1)
    generator = np.random.default_rng(seed)
    for _ in range(steps):
        agent, object_ = world.agent_pose(), world.object_pose()
        action = generator.uniform(-world.max_displacement, world.max_displacement, agent.shape)
        towards = np.clip(object_ - agent, -world.max_displacement, world.max_displacement)
        action = np.where(generator.random((num_worlds, 1)) < 0.25, towards, action)
        outcome = world.step(act(world, action))
        yield agent, object_, action, outcome, world.agent_pose(), world.object_pose()


def stack(name):
    """`random_steps`, stacked: poses before, actions, infos by key, poses after."""
    agents, objects, actions, outcomes, new_agents, new_objects = zip(*random_steps(name), strict=True)
    info = {key: np.stack([outcome.info[key] for outcome in outcomes]) for key in outcomes[0].info}
    return *map(np.stack, (agents, objects, actions)), info, np.stack(new_agents), np.stack(new_objects)


@all_worlds
def test_gymnasium_and_sb3_accept_it(name):
    env = make_env(name, render_mode="rgb_array", resolution=(40, 40)).unwrapped
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*symmetric and normalized Box action space.*")
        warnings.filterwarnings("ignore", message=".*Not able to test alternative render modes.*")
        check_with_gymnasium(env)
        check_with_sb3(env)


@all_worlds
@pytest.mark.parametrize("num_envs", [1, 3])
def test_vector_environments_are_batches(name, num_envs):
    env = make_vec(name, num_envs)
    frames, info = env.reset(seed=0)
    assert env.num_envs == num_envs
    assert frames.shape == (num_envs, 16, 16, 3)
    assert env.observation_space.contains(frames)
    frames, reward, terminated, truncated, info = env.step(env.action_space.sample())
    assert env.observation_space.contains(frames)
    assert reward.shape == terminated.shape == truncated.shape == (num_envs,)
    assert info["displacement"].shape == (num_envs, env.unwrapped.group.dim)


@all_worlds
def test_info_keeps_its_contract(name):
    env = make_env(name)
    dim = env.unwrapped.group.dim
    _, initial = env.reset(seed=0)
    assert np.array_equal(initial["displacement"], env.unwrapped.group.identity())
    assert initial["touched"] is False
    assert initial["success"] is False
    for info in (initial, env.step(env.action_space.sample())[4]):
        assert set(info) == {"displacement", "agent_pose", "object_pose", "touched", "success"}
        assert {key: np.shape(value) for key, value in info.items() if np.ndim(value)} == dict.fromkeys(
            ("displacement", "agent_pose", "object_pose"), (dim,)
        )
        assert isinstance(info["touched"], bool) and isinstance(info["success"], bool)


@all_worlds
def test_frames_and_infos_are_not_overwritten_by_later_steps(name):
    env = make_env(name)
    frame, info = env.reset(seed=0)
    kept = frame.copy(), {key: np.copy(value) for key, value in info.items()}
    for _ in range(3):
        env.step(env.action_space.high)
    np.testing.assert_array_equal(frame, kept[0])
    assert_same_info(info, kept[1])


@all_worlds
def test_a_seed_determines_everything(name):
    def run(env, seed):
        frame, info = env.reset(seed=seed)
        actions = np.random.default_rng(0).uniform(-0.3, 0.3, (12, *env.action_space.shape)).astype(np.float32)
        return [(frame, info)] + [(step[0], step[4]) for step in map(env.step, actions)]

    env = make_env(name)
    first, other, again, elsewhere = run(env, 1), run(env, 2), run(env, 1), run(make_env(name), 1)
    assert any((a[0] != b[0]).any() for a, b in zip(first, other, strict=True))
    for expected, *got in zip(first, again, elsewhere, strict=True):
        for frame, info in got:
            np.testing.assert_array_equal(frame, expected[0])
            assert_same_info(info, expected[1])


@all_worlds
def test_episodes_of_one_seed_differ(name):
    env = make_env(name)
    poses = [env.reset(seed=seed)[1]["object_pose"] for seed in (0, None, None)]
    assert len(np.unique(poses, axis=0)) == 3


@all_worlds
def test_a_world_of_a_vector_environment_equals_a_single_one(name):
    """World ``i`` of a batch seeded with ``s`` is the environment seeded with ``s + i``, also after it was reset."""
    count, seed, steps = 3, 5, 4
    worlds = make_vec(name, count, max_episode_steps=steps)
    singles = [make_env(name, max_episode_steps=steps) for _ in range(count)]
    ended = np.zeros(count, bool)
    frames, info = worlds.reset(seed=seed)
    for i, single in enumerate(singles):
        frame, expected = single.reset(seed=seed + i)
        np.testing.assert_array_equal(frames[i], frame)
        assert_same_info({key: values[i] for key, values in info.items()}, expected)
    generator = np.random.default_rng(0)
    for _ in range(2 * steps + 2):
        actions = generator.uniform(-0.3, 0.3, worlds.action_space.shape).astype(np.float32)
        frames, reward, terminated, truncated, info = worlds.step(actions)
        for i, single in enumerate(singles):
            if ended[i]:
                (frame, expected), rest = single.reset(), (0.0, False, False)
            else:
                frame, *rest, expected = single.step(actions[i])
            np.testing.assert_array_equal(frames[i], frame)
            assert (reward[i], terminated[i], truncated[i]) == tuple(rest)
            assert_same_info({key: values[i] for key, values in info.items()}, expected)
        ended = terminated | truncated
    assert worlds.unwrapped.world.max_episode_steps == steps


@all_worlds
def test_an_episode_is_truncated_at_its_last_step(name):
    env = make_env(name, max_episode_steps=3)
    env.reset(seed=0)
    still = np.zeros(env.action_space.shape, np.float32)
    assert [env.step(still)[3] for _ in range(3)] == [False, False, True]
    env.reset()
    assert env.step(still)[3] is False


@all_worlds
def test_worlds_in_a_batch_do_not_end_together(name):
    """A reset of one world must not change the length of the episodes of others."""
    world = make_world(name, 2, max_episode_steps=3)
    still = act(world, np.zeros((2, world.group.dim)))
    world.step(still)
    world.reset(np.array([1]), [np.random.default_rng(9)])
    assert [world.step(still).truncated.tolist() for _ in range(3)] == [[False, False], [True, False], [True, True]]


@all_worlds
def test_displacement_is_the_difference_of_true_poses(name):
    agent, _, _, info, new_agent, new_object = stack(name)
    np.testing.assert_array_equal(info["agent_pose"], new_agent)
    np.testing.assert_array_equal(info["object_pose"], new_object)
    np.testing.assert_allclose(info["displacement"], new_agent - agent, rtol=0, atol=1e-12)
    assert np.abs(info["displacement"]).mean() > 0.15 * world_class(name).max_displacement


@all_worlds
def test_agent_stays_in_the_arena(name):
    *_, new_agent, _ = stack(name)
    low, high = world_class(name).reach
    assert (new_agent > low - 2e-3).all() and (new_agent < high + 2e-3).all()
    assert (new_agent.max((0, 1)) > high - 0.1 * (high - low)).any(), "random actions must have led to its edge"


@all_worlds
def test_object_moves_only_when_it_is_met(name):
    agent, object_, action, info, _, new_object = stack(name)
    clear = distance_to_path(object_, agent, action) > CLEAR[name]
    moved = np.linalg.norm(new_object - object_, axis=-1)
    assert clear.mean() > 0.1 and info["touched"].mean() > 0.03
    np.testing.assert_allclose(new_object[clear], object_[clear], rtol=0, atol=1e-4)
    assert not info["touched"][clear].any()
    assert (moved[info["touched"]] > 1e-4).all()
    assert (moved[~info["touched"]] <= 1e-4).all()


@all_worlds
def test_displacement_is_the_command_unless_something_blocks(name):
    agent, object_, action, info, _, _ = stack(name)
    low, high = world_class(name).reach
    target = agent + action
    inside = ((target >= low) & (target <= high)).all(-1)
    free = inside & (distance_to_path(object_, agent, action) > CLEAR[name])
    error = np.abs(info["displacement"] - action).max(-1)
    assert free.mean() > 0.1 and (~inside).mean() > 0.01
    assert error[free].max() < 2e-3
    past_the_wall = np.maximum(np.maximum(target - high, low - target), 0).max(-1)
    np.testing.assert_array_less(past_the_wall[~inside] - 2e-3, error[~inside])


@all_worlds
def test_commands_beyond_the_limit_are_clipped(name):
    world = make_world(name, 8)
    limit = world.max_displacement
    start = world.simulator.save()
    clipped = world.step(act(world, np.full((8, world.group.dim), limit))).info
    world.simulator.restore(start)
    assert_same_info(world.step(5 * act(world, np.full((8, world.group.dim), limit))).info, clipped)


def pushed(name):
    """A batch in which some agents have just run into their objects, with the action that stays in place."""
    world = make_world(name, 16)
    touched = np.zeros(16, bool)
    for _ in range(8):
        touched |= world.step(act(world, world.object_pose() - world.agent_pose())).info["touched"]
    assert touched.any()
    return world, act(world, np.zeros_like(world.agent_pose()))


@all_worlds
def test_everything_comes_to_rest(name):
    """The agent within a step, an object that falls a few steps later."""
    world, still = pushed(name)
    agent = world.agent_pose()
    world.step(still)
    assert np.abs(world.agent_pose() - agent).max() < 1e-2
    for _ in range(5):
        world.step(still)
    before = world.object_pose(), world.agent_pose()
    world.step(still)
    assert np.abs(world.agent_pose() - before[1]).max() < 5e-3
    assert np.abs(world.object_pose() - before[0]).max() < 5e-3


def test_soccers_ball_rests_between_steps():
    world, still = pushed("Soccer")
    before = world.object_pose()
    world.step(still)
    assert np.abs(world.object_pose() - before).max() < 1e-2


def test_soccer_starts_anywhere():
    world = make_world("Soccer", 200)
    agent, object_ = world.agent_pose(), world.object_pose()
    assert np.linalg.norm(agent - object_, axis=-1).min() > 0.2
    assert (agent.std(0) > 0.4).all() and (object_.std(0) > 0.3).all()


@all_worlds
def test_initial_states_differ_and_nothing_touches(name):
    world = make_world(name, 100)
    agent, object_ = world.agent_pose(), world.object_pose()
    assert (agent.std(0) > 0.008).all() and (object_[:, :2].std(0) > 0.02).all()
    outcome = world.step(act(world, np.zeros_like(agent)))
    assert not outcome.info["touched"].any()
    assert np.abs(outcome.info["displacement"]).max() < 1e-3


@all_worlds
def test_actions_that_are_no_displacements_are_refused(name):
    single, worlds = make_env(name).unwrapped, make_vec(name, 2).unwrapped
    single.reset(seed=0)
    worlds.reset(seed=0)
    dim = single.group.dim + single.world.commands
    before = worlds.world.simulator.save()
    for env, shape in ((single, (dim,)), (worlds, (2, dim))):
        with pytest.raises(GroupError, match=f"action must be finite to be an element of {env.group.name}, got nan"):
            env.step(np.full(shape, np.nan, np.float32))
        with pytest.raises(GroupError, match=r"action must have shape \(\d, "):
            env.step(np.zeros((*shape[:-1], dim + 1), np.float32))
        with pytest.raises(GroupError, match="action must have shape"):
            env.step(np.zeros((3, *shape), np.float32))
    with pytest.raises(GroupError, match=rf"action must have shape \(2, {dim}\), got \(1, {dim}\)"):
        worlds.step(np.zeros((1, dim), np.float32))
    np.testing.assert_array_equal(worlds.world.simulator.state, before)


@all_worlds
def test_frames_show_agent_and_object(name):
    """Moving either changes the frame."""
    world = make_world(name, 1, resolution=(64, 64))
    frames = [world.render()[0]]
    across = world.arena_side / 4
    for part in PARTS[name]:
        world.simulator.field("qpos")[0, part] = np.where(world.simulator.field("qpos")[0, part] > 0, -across, across)
        world.simulator.forward()
        frames.append(world.render()[0])
    changes = [(np.abs(a.astype(int) - b).max(-1) > 20).sum() for a, b in pairwise(frames)]
    assert min(changes) > 20


@all_worlds
def test_rendering_gives_the_observation(name):
    env = make_env(name, render_mode="rgb_array")
    frame, _ = env.reset(seed=0)
    np.testing.assert_array_equal(env.render(), frame)
    worlds = make_vec(name, 2, render_mode="rgb_array")
    frames, _ = worlds.reset(seed=0)
    np.testing.assert_array_equal(worlds.render(), frames)
    for make in (lambda **options: make_env(name, **options).unwrapped, lambda **options: make_vec(name, 1, **options)):
        with pytest.raises(ValueError, match="render_mode must be None or 'rgb_array', got 'human'"):
            make(render_mode="human")


def test_unknown_worlds_are_refused():
    with pytest.raises(ValueError, match=r"unknown world 'Chess'; choose from .*Pick, Push, .*Soccer"):
        world_class("Chess")
    with pytest.raises(ValueError, match=r"unknown world 'Socer'; did you mean 'Soccer'\?"):
        world_class("Socer")
    with pytest.raises(ValueError, match=r"no world 'no_such:World': .*write 'module:Name'"):
        world_class("no_such:World")
    with pytest.raises(ValueError, match=r"'pathlib:Path' is not a subclass of .*World"):
        world_class("pathlib:Path")
    with pytest.raises(ValueError, match=r"Arrows is a world without an object and a task; choose from Pick"):
        task_world_class("Arrows")


def test_worlds_are_registered_by_name_and_with_gymnasium():
    assert {"Apartments", "Pick", "Push", "Soccer", "Sprites"} <= set(world_names())
    for name in world_names():
        assert f"equiact/{name}-v0" in gym.registry
        assert REGISTRY.name_of(world_class(name)) == name
    env = gym.make("equiact:equiact/Soccer-v0", **SMALL)
    assert isinstance(env.unwrapped.world, world_class("Soccer"))
    env.close()


def test_a_world_of_ones_own_is_one_decorated_class():
    @register_world("Futsal")
    class Futsal(world_class("Soccer")):
        max_displacement = 0.1

    env = make_env("Futsal")
    assert env.action_space.high.tolist() == pytest.approx([0.1, 0.1])
    with pytest.raises(ValueError, match="the world 'Futsal' is already registered as"):
        register_world("Futsal")(type("Other", (Futsal,), {}))
    assert world_class(f"{Futsal.__module__}:{TaskWorld.__name__}") is TaskWorld, "by path, of this module"


def test_what_is_no_world_leaves_nothing_registered():
    names, known = world_names(), set(gym.registry)
    for name in ("bad name!", "", "a:b", "a/b", None, 3):
        with pytest.raises(ValueError, match=f"the name of a world consists of letters.*got {name!r}"):
            register_world(name)(world_class("Soccer"))
    for entry in (int, world_class("Soccer")(1, **SMALL), None):
        with pytest.raises(ValueError, match=r"'Other' is not a subclass of .*World, but "):
            register_world("Other")(entry)
    assert (world_names(), set(gym.registry)) == (names, known)


@pytest.mark.parametrize("steps", [3, 100])
def test_gymnasium_sets_the_length_of_episodes(steps):
    def play(env):
        env.reset(seed=0)
        action = np.zeros(env.action_space.shape, np.float32)
        return [bool(np.all(env.step(action)[3])) for _ in range(steps)]

    short = [make_env("Soccer", max_episode_steps=steps), make_vec("Soccer", 2, max_episode_steps=steps)]
    short.append(make_vec("Soccer", 2, max_episode_steps=steps, vectorization_mode="sync"))
    for env in short:
        assert play(env) == [False] * (steps - 1) + [True]
    assert make_env("Soccer").spec.max_episode_steps == make_vec("Soccer", 2).world.max_episode_steps == 40
    assert gym.spec("equiact/Push-v0").max_episode_steps == 120


@pytest.mark.parametrize("steps", [0, -1, 1.5, float("nan"), "5", True])
def test_impossible_lengths_of_episodes_are_refused(steps):
    with pytest.raises(ValueError, match=f"max_episode_steps must be an integer of at least 1, got {steps!r}"):
        make_vec("Soccer", 2, max_episode_steps=steps)


def test_numbers_of_worlds_are_integers_of_any_type():
    assert make_vec("Arrows", np.int64(2)).action_space.sample().shape == (2, 2)
    for count in (1.5, True, 0, None, "2"):
        with pytest.raises(ValueError, match=f"num_worlds must be an integer of at least 1, got {count!r}"):
            make_vec("Soccer", count)


def test_a_batch_must_be_reset_before_a_step():
    with pytest.raises(gym.error.ResetNeeded, match="call reset before step"):
        make_vec("Soccer", 2).step(np.zeros((2, 2)))


@pytest.mark.parametrize("action", [None, "left", 1j], ids=str)
def test_actions_are_real_numbers(action):
    with pytest.raises(GroupError, match="action must be real numbers, got"):
        make_world("Soccer", 1).step(np.full((1, 2), action))


@all_worlds
def test_seeds_are_integers_of_any_type(name):
    env, worlds = make_env(name), make_vec(name, 2)
    first, again = env.reset(seed=np.int64(4)), env.reset(seed=4)
    np.testing.assert_array_equal(first[0], again[0])
    assert_same_info(first[1], again[1])
    batches = [worlds.reset(seed=seed)[0] for seed in (np.int64(4), 4, [4, 5], np.array([4, 5]))]
    for frames in batches:
        np.testing.assert_array_equal(frames, batches[0])
    with pytest.raises(ValueError, match="one seed for each of 2 worlds was expected, got 3"):
        worlds.reset(seed=[1, 2, 3])


def test_a_closed_environment_says_so():
    env, worlds = make_env("Soccer"), make_vec("Soccer", 2)
    for each in (env, worlds):
        each.reset(seed=0)
        each.close()
        with pytest.raises(RuntimeError, match="this simulator is closed; make a new environment"):
            each.step(each.action_space.sample())


@pytest.mark.parametrize("resolution", [(0, 0), (-1, 4), (10**7, 10**7)])
def test_impossible_resolutions_are_refused(resolution):
    with pytest.raises(ValueError, match="resolution"):
        gym.make("equiact/Soccer-v0", resolution=resolution, device="cpu")


WITHOUT_MUJOCO = """
import sys
for name in ("mujoco", "mujoco_warp", "warp"): sys.modules[name] = None
import gymnasium, equiact
from equiact.envs import world_names
assert "Soccer" in world_names()
try: gymnasium.make("equiact/Soccer-v0")
except ImportError as error: print(type(error).__name__, error)
"""


def test_without_mujoco_worlds_are_listed_and_say_what_to_install():
    run = subprocess.run([sys.executable, "-c", WITHOUT_MUJOCO], capture_output=True, text=True, check=True, cwd="/")
    assert "MissingSimulatorError" in run.stdout and "pip install 'equiact[sim]'" in run.stdout


def shoot(agent, ball):
    """Get behind the ball, around it if need be, and push it towards the goal."""
    to_goal = (GOAL - ball) / np.linalg.norm(GOAL - ball, axis=-1, keepdims=True)
    offset = agent - ball
    along = (offset * to_goal).sum(-1, keepdims=True)
    aside = offset - along * to_goal
    width = np.linalg.norm(aside, axis=-1, keepdims=True)
    aside = np.where(width > 1e-6, aside / np.maximum(width, 1e-6), to_goal[:, ::-1] * [-1, 1])
    behind = ball - 0.26 * to_goal - agent
    around = np.where(width > 0.24, aside * (0.35 - width) - 0.15 * to_goal, 0.3 * aside)
    push = np.where((along < -0.15) & (width < 0.03), 0.3 * to_goal, behind)
    action = np.where((along > -0.2) & (width < 0.3) & ~((along < -0.15) & (width < 0.03)), around, push)
    return action * np.minimum(1, 0.3 / np.maximum(np.abs(action).max(-1, keepdims=True), 1e-9))


def test_soccer_can_be_won():
    world = make_world("Soccer", 20)
    scored, returns = np.zeros(20, bool), np.zeros(20)
    for _ in range(world.max_episode_steps):
        outcome = world.step(shoot(world.agent_pose(), world.object_pose()))
        ball = world.object_pose()
        returns += np.where(scored, 0, outcome.reward)
        goal = (ball[:, 0] > GOAL_LINE) & (np.abs(ball[:, 1]) < GOAL_HALF_WIDTH)
        np.testing.assert_array_equal(outcome.info["success"], goal)
        np.testing.assert_array_equal(outcome.terminated, goal)
        assert not (outcome.terminated & outcome.truncated).any()
        scored |= goal
    assert scored.mean() > 0.8
    assert returns[scored].min() > 0.5


def test_soccer_is_seldom_won_by_chance():
    world = make_world("Soccer", 50)
    generator = np.random.default_rng(0)
    won = np.zeros(50, bool)
    for _ in range(world.max_episode_steps):
        won |= world.step(generator.uniform(-0.3, 0.3, (50, 2))).terminated
    assert won.mean() < 0.3


def test_soccer_rewards_progress():
    """Pushing the ball towards the goal pays, pushing it away costs, and a goal pays most."""
    world = make_world("Soccer", 3)
    world.simulator.field("qpos")[:] = [[-0.25, 0, 0, 0], [0.25, 0, 0, 0], [0.5, 0, 0.75, 0]]
    world.simulator.forward()
    towards, away, goal = world.step(np.array([[0.3, 0], [-0.3, 0], [0.3, 0]])).reward
    assert away < -0.1 < 0.1 < towards < 2 < goal


def test_soccer_ball_leaves_the_pitch_only_through_the_goal():
    _, _, _, _, _, ball = stack("Soccer")
    in_goal = (ball[..., 0] > 0.75) & (np.abs(ball[..., 1]) < GOAL_HALF_WIDTH)
    assert np.abs(ball[~in_goal]).max() < 0.79
    assert np.abs(ball[~in_goal]).max() > 0.74, "the ball must have been at the wall"


def test_soccer_ball_in_a_corner_can_be_freed():
    """A ball that is stuck for good ends the task: the agent must get behind it everywhere."""
    for corner in ([-0.74, -0.74], [-0.74, 0.74], [0.74, -0.74], [0.74, 0.74]):
        world = make_world("Soccer", 1)
        ball = np.array(corner)
        world.simulator.field("qpos")[:] = [*np.sign(ball) * 1.0, *ball]
        world.simulator.forward()
        world.step(-np.sign(ball)[None] * 0.3)
        assert np.linalg.norm(world.object_pose()[0]) < np.linalg.norm(ball) - 0.05


@pytest.mark.parametrize("name", ["Pick", "Push"])
def test_experts_do_the_task(name):
    world = make_world(name, 100)
    done = np.zeros(100, bool)
    for _ in range(world.max_episode_steps):
        done |= world.step(expert(world)).info["success"]
    assert done.mean() >= 0.97


@pytest.mark.parametrize("name", ["Pick", "Push"])
def test_tasks_are_not_done_by_chance(name):
    world = make_world(name, 50)
    generator = np.random.default_rng(0)
    done = np.zeros(50, bool)
    for _ in range(world.max_episode_steps):
        done |= world.step(generator.uniform(world.action_space.low, world.action_space.high, (50, 4))).info["success"]
    assert done.mean() < 0.1


def test_a_grasp_holds_by_friction_and_lets_go():
    world = make_world("Pick", 20)
    for _ in range(12):
        world.step(expert(world))
    held = world.object_pose()[:, 2] > 0.06
    assert held.mean() > 0.5, "the expert must have lifted some"
    for _ in range(3):
        world.step(np.tile([0.0, 0.0, 0.0, -1.0], (20, 1)))
    assert (world.object_pose()[held, 2] > 0.06).all()
    for _ in range(3):
        world.step(np.tile([0.0, 0.0, 0.0, 1.0], (20, 1)))
    assert (world.object_pose()[held, 2] < 0.04).all()


@all_worlds
def test_restore_continues_from_a_snapshot(name):
    """Bit for bit, with the number of elapsed steps."""
    world = make_world(name, 4, max_episode_steps=6)
    generator = np.random.default_rng(0)
    actions = generator.uniform(world.action_space.low, world.action_space.high, (6, 4, *world.action_space.shape))
    for action in actions[:2]:
        world.step(action)
    snapshot = world.save()
    first = [world.step(action) for action in actions[2:]]
    frames = world.render()
    world.restore(snapshot)
    for action, expected in zip(actions[2:], first, strict=True):
        outcome = world.step(action)
        assert_same_info(outcome.info, expected.info)
        np.testing.assert_array_equal(outcome.truncated, expected.truncated)
    np.testing.assert_array_equal(world.render(), frames)


@all_worlds
def test_worlds_that_do_not_act_do_not_change(name):
    world = world_class(name)(3, device="cpu", max_episode_steps=2)
    world.reset(np.arange(3), np.random.default_rng(0).spawn(3))
    before = world.simulator.save()
    outcomes = [world.step(np.tile(world.action_space.high, (3, 1)), np.array([0, 2])) for _ in range(2)]
    assert (np.abs(world.agent_pose() - start_of(world, before)).max(1) > 1e-3).tolist() == [True, False, True]
    np.testing.assert_array_equal(world.object_pose()[1], outcomes[0].info["object_pose"][1])
    assert outcomes[1].truncated.tolist() == [True, False, True]


def start_of(world, state):
    """Poses of the agents in a saved state; the world stays as it is."""
    now = world.save()
    world.simulator.restore(state)
    poses = world.agent_pose()
    world.restore(now)
    return poses
