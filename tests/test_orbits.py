"""Contract of every world with classes and poses: group action, stabilizers, snapshots, transitions."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
from equiact.envs.data.collect import collect
from equiact.envs.data.trajectories import episode_ids
from equiact.envs.lie_groups.group import GroupError
from equiact.envs.lie_groups.group_space import GroupSpace
from equiact.envs.worlds.orbit_world import OrbitWorld
from equiact.envs.worlds.registry import REGISTRY, world_class
from gymnasium.utils.env_checker import check_env

NAMES = [name for name, world_cls in REGISTRY.items() if issubclass(world_cls, OrbitWorld)]
all_worlds = pytest.mark.parametrize("name", NAMES)
unblocked = pytest.mark.parametrize("name", sorted(set(NAMES) - {"Apartments", "Sprites", "MultiSprites"}))
PUBLISHED = {
    "Apartments": ("SE2", 2),
    "Arrows": ("SO2", 5),
    "Chairs": ("SO3", 3),
    "ColouredArrows": ("SO2", 25),
    "DoubleArrows": ("SO2xSO2", 2),
    "Models": ("SO2", 5),
    "MultiSprites": ("R6", 27),
    "Shapes": ("SO2xSO2xSO2", 4),
    "Solids": ("SO3", 3),
    "Sprites": ("R3", 3),
}
ORDERS = {
    "Arrows": [1, 2, 3, 4, 5],
    "ColouredArrows": [m for m in range(1, 6) for _ in range(5)],
    "DoubleArrows": [6, 15],
    "Models": [1, 2, 3, 4, 5],
    "Solids": [12, 24, 60],
}


def make(name, count, resolution=(64, 64)):
    world = world_class(name)(count, resolution=resolution, device="cpu")
    world.reset(np.arange(count), np.random.default_rng(0).spawn(count))
    return world


def differing(one, other):
    """Return the share of pixels that differ by more than rounding, for each image."""
    return (np.abs(one.astype(int) - other.astype(int)).max(-1) > 24).mean((1, 2))


@all_worlds
def test_gymnasium_accepts_it(name):
    env = gym.make(f"equiact/{name}-v0", resolution=(16, 16), device="cpu", render_mode="rgb_array").unwrapped
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*alternative render modes.*")
        check_env(env)


@all_worlds
def test_groups_and_numbers_of_classes_are_those_of_the_papers(name):
    world_cls = world_class(name)
    group, orbits = PUBLISHED[name]
    assert (world_cls.group.name, len(world_cls.orbits)) == (group, orbits)


@all_worlds
def test_sampled_actions_are_elements(name):
    world = make(name, 3, (8, 8))
    space = world.batched_action_space()
    assert isinstance(space, GroupSpace)
    space.seed(0)
    for _ in range(20):
        action = space.sample()
        assert space.contains(action)
        world.group.validate(action)


def test_an_action_space_contains_every_action_that_a_world_accepts():
    turns, motions = (
        GroupSpace(world_class("Arrows").group),
        GroupSpace(world_class("Apartments").group, (1.0, 1.0, 1.0)),
    )
    assert not turns.contains(np.array([0.5, 0.5], np.float32)), "within the bounds, but no turn"
    assert not turns.contains(np.array([np.nan, 0.0])) and not turns.contains(np.array([[1.0, 0.0]]))
    assert not turns.contains(np.array(["1", "0"])) and turns.contains(turns.group.exp(np.array([0.3])))
    assert motions.contains(np.array([7.0, 0.0, 1.0, 0.0])), "worlds accept larger motions than are sampled"
    assert (motions.low.min(), motions.high.max()) == (-1.0, 1.0)
    motions.seed(0)
    assert all(motions.contains(motions.sample()) for _ in range(200)), "motions along arcs reach farther than strides"


@all_worlds
def test_poses_are_moved_from_the_left_by_the_displacement(name):
    world = make(name, 20, (8, 8))
    space = world.batched_action_space()
    space.seed(0)
    moved = 0
    for _ in range(10):
        before, action = world.pose.copy(), space.sample()
        info = world.step(action).info
        np.testing.assert_allclose(info["agent_pose"], world.group.compose(info["displacement"], before), atol=1e-9)
        moved += np.isclose(info["displacement"], action, atol=1e-5).all(1).sum()
        world.group.validate(world.pose)
    assert moved > 10, "most worlds do what they are asked to, now and then"


@pytest.mark.parametrize("name", ["Sprites", "MultiSprites"])
def test_sprites_are_everywhere_equally_often(name):
    """Also at the bounds, where clipped poses would accumulate."""
    world, poses = make(name, 100, (8, 8)), []
    space = world.batched_action_space()
    space.seed(0)
    for _ in range(30):
        world.step(space.sample())
        poses.append(world.pose.copy())
    low, high = world.reach if name == "Sprites" else (-world.reach, world.reach)
    share = (np.concatenate(poses) - low) / np.subtract(high, low)
    assert share.min() >= 0 and share.max() <= 1
    for coordinate in share.T:
        tenths = np.histogram(coordinate, 10, (0, 1))[0] / len(share)
        np.testing.assert_allclose(tenths, 0.1, atol=0.03)


@unblocked
def test_actions_are_performed_without_obstacles(name):
    world = make(name, 20, (8, 8))
    action = world.group.random(np.random.default_rng(1), 20)
    np.testing.assert_allclose(world.step(action).info["displacement"], action, atol=1e-9)


@all_worlds
def test_frames_depend_on_class_and_pose_only(name):
    world = make(name, 6)
    orbit, pose, frames = world.orbit.copy(), world.pose.copy(), world.render()
    for _ in range(3):
        world.step(world.group.exp(np.random.default_rng(2).normal(size=(6, world.group.tangent_dim))))
    np.testing.assert_array_equal(world.render_at(orbit, pose), frames)


def test_edges_are_drawn_smooth():
    """Edges have grey pixels, which show motions of less than a pixel."""
    frames = make("Arrows", 5).render()
    assert {0, 255} < set(np.unique(frames).tolist())


@all_worlds
def test_classes_look_different_in_the_same_pose(name):
    world_cls = world_class(name)
    world = make(name, len(world_cls.orbits))
    frames = world.render_at(np.arange(len(world_cls.orbits)), np.tile(world.pose[0], (len(world_cls.orbits), 1)))
    for index in range(len(frames)):
        others = np.delete(frames, index, 0)
        assert differing(others, frames[[index] * len(others)]).min() > 0.0


@pytest.mark.parametrize("name", sorted(ORDERS))
def test_the_stabilizer_does_not_change_frames(name):
    world_cls = world_class(name)
    for orbit, order in enumerate(ORDERS[name]):
        world = make(name, order)
        stabilizer = world.stabilizer(orbit)
        assert stabilizer.shape == (order, world.group.dim)
        gaps = world.group.squared_distance(stabilizer[:, None], stabilizer[None])
        assert (gaps[~np.eye(order, dtype=bool)] > 0.1).all(), "its elements are distinct"
        pose = world.group.random(np.random.default_rng(orbit), 1)
        first = world.render_at(np.full(order, orbit), np.tile(pose, (order, 1)))
        same = world.render_at(np.full(order, orbit), world.group.compose(np.tile(pose, (order, 1)), stabilizer))
        assert differing(same, first).max() < 0.01, world_cls.orbits[orbit]


@all_worlds
def test_all_other_elements_change_frames(name):
    """Poses of different cosets of the stabilizer, far from each other, have different frames."""
    world = make(name, 200)
    generator = np.random.default_rng(3)
    world.reset(np.arange(200), generator.spawn(200))
    pose, orbit = world.pose.copy(), world.orbit.copy()
    other = np.stack([world.random_pose(generator, index) for index in orbit])
    gap = np.array(
        [
            world.group.squared_distance(other[[i]], world.group.compose(pose[[i]], world.stabilizer(orbit[i]))).min()
            for i in range(200)
        ]
    )
    changed = differing(world.render_at(orbit, pose), world.render_at(orbit, other))
    assert (gap > 0.3).sum() > 20
    assert (changed[gap > 0.3] > 0).all()


@all_worlds
def test_restore_continues_from_a_snapshot(name):
    world = make(name, 4, (16, 16))
    actions = np.stack([world.group.random(np.random.default_rng(seed), 4) for seed in range(3)])
    world.step(actions[0])
    snapshot = world.save()
    first = [world.step(action) for action in actions[1:]]
    frames = world.render()
    world.reset(np.arange(4), np.random.default_rng(9).spawn(4))
    world.restore(snapshot)
    for action, expected in zip(actions[1:], first, strict=True):
        np.testing.assert_array_equal(world.step(action).info["agent_pose"], expected.info["agent_pose"])
    np.testing.assert_array_equal(world.render(), frames)


@all_worlds
def test_worlds_that_do_not_act_do_not_change(name):
    world = make(name, 3, (8, 8))
    before, frames = world.pose.copy(), world.render()
    world.step(world.group.exp(np.full((3, world.group.tangent_dim), 0.2)), np.array([0, 2]))
    np.testing.assert_array_equal(world.pose[1], before[1])
    np.testing.assert_array_equal(world.render()[1], frames[1])


@pytest.mark.parametrize(
    ("name", "action", "message"),
    [
        ("Solids", 2 * np.eye(3).reshape(1, 9), "no element of SO3.*orthogonal"),
        ("Solids", np.diag([1.0, 1.0, -1.0]).reshape(1, 9), "no element of SO3.*determinant 1"),
        ("Arrows", [[np.nan, 0.0]], "finite"),
        ("Arrows", [[0.5, 0.5]], "no element of SO2"),
        ("Chairs", np.eye(3)[None], "shape"),
    ],
)
def test_actions_off_the_group_are_refused(name, action, message):
    with pytest.raises(GroupError, match=message):
        make(name, 1, (8, 8)).step(np.asarray(action))
    world = make(name, 1, (8, 8))
    if np.shape(action)[1:] == (world.group.dim,):
        with pytest.raises(GroupError, match=message):
            world.render_at(np.zeros(1, int), np.asarray(action))


def test_render_at_needs_a_class_and_a_pose_for_every_world():
    world = world_class("Arrows")(2, device="cpu", resolution=(16, 16))
    poses = world.group.exp(np.zeros((2, 1)))
    with pytest.raises(
        ValueError, match=r"for each of 2 worlds were expected, got classes of shape \(2,\) and poses of"
    ):
        world.render_at(np.zeros(2, int), poses[0])
    with pytest.raises(ValueError, match=r"classes are 0 to 4 \(1 arrow.*\), got \[0 5\]"):
        world.render_at(np.array([0, 5]), poses)


def test_a_robot_does_not_walk_through_walls():
    world = make("Apartments", 100, (8, 8))
    ahead = world.group.inverse(np.tile([0.3, 0.0, 1.0, 0.0], (100, 1)))
    blocked = np.zeros(100, bool)
    for _ in range(20):
        info = world.step(ahead).info
        blocked |= np.allclose(info["displacement"], world.group.identity(), atol=1e-9)
        assert world.has_room(world.robot(world.pose)[:, :2], world.orbit).all()
    assert blocked.all(), "five metres ahead there is a wall"


@all_worlds
def test_its_experience_is_transitions_with_orbits(name):
    worlds = gym.make_vec(f"equiact/{name}-v0", num_envs=4, resolution=(8, 8), device="cpu")
    data = collect(worlds, 50, seed=0)
    assert data.group == world_class(name).group.name
    before, after = data.ground_truth["agent_pose"][data.start], data.ground_truth["agent_pose"][data.end]
    group = world_class(name).group
    np.testing.assert_allclose(group.compose(data.displacement, before), after, atol=1e-5)
    np.testing.assert_array_equal(data.ground_truth["orbit"][data.start], data.ground_truth["orbit"][data.end])
    assert len(np.unique(episode_ids(data))) >= 4
