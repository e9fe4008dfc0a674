"""Perturbations of our task worlds: what is refused, what they do, and that the receipt is what was done."""

import numpy as np
import pytest
from equiact.envs.perturbations.errors import PerturbationError
from equiact.envs.worlds.registry import world_class
from equiact.envs.worlds.task_world import TaskWorld
from equiact.envs.wrappers.task_perturbation import PerturbationInjector, TaskPerturbation
from hypothesis import given, settings
from hypothesis import strategies as st

signs = st.sampled_from([-1, 0, 1, None])


def make(count=4, **options):
    world = world_class("Push")(count, resolution=(16, 16), device="cpu", **options)
    world.reset(np.arange(count), np.random.default_rng(0).spawn(count))
    return world


@settings(max_examples=50, deadline=None)
@given(st.tuples(signs, signs, signs).filter(lambda q: any(sign is not None for sign in q)), st.integers(0, 1000))
def test_directions_are_unit_vectors_of_their_quadrant(quadrant, seed):
    directions = TaskPerturbation(0.04, quadrant=quadrant).directions(20, np.random.default_rng(seed))
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
    for axis, sign in enumerate(quadrant):
        if sign is None:
            assert (directions[:, axis] == 0).all()
        elif sign:
            assert (directions[:, axis] * sign >= 0).all()


def test_the_arm_is_dragged_and_then_idles():
    world = make()
    pushed = PerturbationInjector(
        world, TaskPerturbation(0.02, onset=2, duration=3, idle=2, quadrant=(1, 1, 1)), np.random.default_rng(1)
    )
    own = np.tile([0.01, 0.0, 0.0, -1.0], (4, 1))
    carried = []
    poses = []
    for _ in range(9):
        poses.append(world.agent_pose())
        carried.append(pushed(own))
        world.step(carried[-1])
    np.testing.assert_array_equal(carried[1], own)
    for step in (2, 3, 4):
        np.testing.assert_allclose(np.linalg.norm(carried[step][:, :3], axis=1), 0.02)
        assert (carried[step][:, 3] == -1).all(), "the gripper stays as it was"
    for step in (5, 6):
        assert (carried[step][:, :3] == 0).all()
    np.testing.assert_array_equal(carried[7], own)
    np.testing.assert_allclose(pushed.receipt, np.linalg.norm(poses[5] - poses[2], axis=1))
    assert pushed.receipt.min() > 0.03


def test_every_episode_has_an_onset_of_its_own():
    """Commands are those of the onset, and receipts are measured from there, in each episode."""
    world = make()
    push = TaskPerturbation(0.02, duration=3, idle=2, quadrant=(1, 1, 1), onsets=(2, 0, 4, 1))
    assert push.end == 9, "the last of all"
    pushed = PerturbationInjector(world, push, np.random.default_rng(1))
    carried, poses = [], []
    for step in range(11):
        own = np.tile([0.01, 0.0, 0.0, 0.01 * step - 1], (4, 1))
        poses.append(world.agent_pose())
        carried.append(pushed(own))
        world.step(carried[-1])
    for episode, onset in enumerate(push.onsets):
        actions = np.array([each[episode] for each in carried])
        own = np.array([[0.01, 0.0, 0.0, 0.01 * step - 1] for step in range(11)])
        np.testing.assert_array_equal(actions[:onset], own[:onset])
        np.testing.assert_array_equal(actions[onset + 5 :], own[onset + 5 :])
        np.testing.assert_allclose(np.linalg.norm(actions[onset : onset + 3, :3], axis=1), 0.02)
        assert (actions[onset + 3 : onset + 5, :3] == 0).all()
        assert (actions[onset : onset + 5, 3] == own[onset, 3]).all(), "the gripper stays as it was"
        moved = np.linalg.norm(poses[onset + 3][episode] - poses[onset][episode])
        assert pushed.receipt[episode] == pytest.approx(moved) and moved > 0.03


def test_objects_are_pushed_at_onsets_of_their_own():
    world = make(2)
    push = TaskPerturbation(2.0, duration=2, idle=1, kind="push", target="object", quadrant=(1, 0, None), onsets=(1, 4))
    pushed, moved = PerturbationInjector(world, push, np.random.default_rng(1)), []
    for _ in range(8):
        before = world.object_pose()
        world.step(pushed(np.tile([0.0, 0.0, 0.0, 1.0], (2, 1))))
        moved.append(np.linalg.norm(world.object_pose() - before, axis=1) > 1e-3)
    first = np.array(moved).argmax(0)
    assert first.tolist() == [1, 4]
    assert not world.simulator.field("xfrc_applied").any() and pushed.receipt.min() > 0.01


@pytest.mark.parametrize("idle", [0, 1])
def test_the_object_is_shoved_and_let_alone(idle):
    world = make()
    before = world.object_pose()
    push = TaskPerturbation(2.0, onset=1, duration=2, idle=idle, kind="push", target="object", quadrant=(1, 0, None))
    pushed = PerturbationInjector(world, push, np.random.default_rng(1))
    still = np.tile([0.0, 0.0, 0.0, 1.0], (4, 1))
    for _ in range(8):
        world.step(pushed(still))
    moved = np.linalg.norm(world.object_pose() - before, axis=1)
    assert pushed.receipt.min() > 0.01
    assert moved.min() > 0.01
    assert not world.simulator.field("xfrc_applied").any(), "the force ends with the shove"
    rest = world.object_pose()
    world.step(pushed(still))
    np.testing.assert_allclose(world.object_pose(), rest, atol=1e-3)


def test_the_policy_acts_while_the_arm_is_pushed():
    """The force drives the arm off its way in those steps alone; then it idles."""
    world, calm = make(), make()
    push = TaskPerturbation(60.0, kind="push", onset=1, duration=2, idle=1)
    pushed, own = PerturbationInjector(world, push, np.random.default_rng(1)), np.tile([0.01, 0.01, 0.0, -1.0], (4, 1))
    off = []
    for step in range(6):
        carried = pushed(own)
        np.testing.assert_array_equal(carried, own * [0, 0, 0, 1] if step == 3 else own)
        before, free = world.agent_pose(), calm.agent_pose()
        world.step(carried)
        calm.step(carried)
        off.append(np.linalg.norm(world.agent_pose() - before - (calm.agent_pose() - free), axis=1))
    assert np.min(off[1:3]) > 0.01 > 0.002 > np.max([off[0], *off[3:]])
    assert not world.simulator.field("xfrc_applied").any()


@pytest.mark.parametrize(("name", "still"), [("Push", [0.0, 0.0, 0.0, 1.0]), ("Soccer", [0.0, 0.0])])
@pytest.mark.parametrize("target", ["arm", "object", "both"])
def test_arm_and_object_are_moved_once_at_onsets_of_their_own(name, still, target):
    """What is not perturbed stays. Directions of the arm and of the object differ, and no object leaves its plane."""
    world = world_class(name)(3, resolution=(16, 16), device="cpu")
    world.reset(np.arange(3), np.random.default_rng(0).spawn(3))
    quadrant = (0, 1, 0)[: world.group.dim]
    move = TaskPerturbation(0.05, "move", target, duration=1, idle=0, quadrant=quadrant, onsets=(0, 2, 1))
    moved, paths = PerturbationInjector(world, move, np.random.default_rng(5)), {"arm": [], "object": []}
    for _ in range(4):
        before = {"arm": world.agent_pose(), "object": world.object_pose()}
        world.step(moved(np.tile(still, (3, 1))))
        for each, pose in {"arm": world.agent_pose(), "object": world.object_pose()}.items():
            paths[each].append(pose - before[each])
    shift = {each: np.array(path) for each, path in paths.items()}
    for each in ("arm", "object"):
        distance = np.linalg.norm(shift[each], axis=2)
        expected = np.zeros((4, 3))
        if target in (each, "both"):
            expected[[0, 2, 1], [0, 1, 2]] = 0.05
        np.testing.assert_allclose(distance, expected, atol=2e-3)
    assert np.abs(shift["object"][..., 2:]).max(initial=0) < 1e-3
    np.testing.assert_allclose(moved.receipt, 0.05, atol=2e-3)
    if target == "both":
        cosine = (shift["arm"][..., :2] * shift["object"][..., :2]).sum((0, 2)) / 0.05**2
        assert np.abs(cosine).min() < 0.9


def test_moved_things_stay_where_the_task_can_be_done():
    world = make()
    move = TaskPerturbation(5.0, "move", "both", onset=0, duration=1, idle=0)
    PerturbationInjector(world, move, np.random.default_rng(1))(np.zeros((4, 4)))
    low, high = world.reach
    assert ((world.agent_pose() >= low) & (world.agent_pose() <= high)).all()
    assert (np.abs(world.object_pose()[:, :2]) <= 0.2).all() and np.allclose(world.object_pose()[:, 2], 0.02)


def test_a_world_that_cannot_move_its_things_says_so():
    class Fixed(world_class("Push")):
        place_agent = TaskWorld.place_agent

    world = Fixed(1, resolution=(8, 8), device="cpu")
    world.reset(np.arange(1), [np.random.default_rng(0)])
    moved = PerturbationInjector(world, TaskPerturbation(0.1, "move", onset=0, duration=1), np.random.default_rng(0))
    with pytest.raises(NotImplementedError, match="Fixed cannot move its agent: it has no method place_agent"):
        moved(np.zeros((1, 4)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"magnitude": 0.0}, "magnitude must be positive and finite, got 0.0"),
        ({"magnitude": float("nan")}, "magnitude must be positive and finite, got nan"),
        ({"magnitude": float("inf")}, "magnitude must be positive and finite, got inf"),
        ({"magnitude": 1.0, "target": "leg"}, "target must be one of .'arm', 'object', 'both'., got 'leg'"),
        ({"magnitude": 1.0, "kind": "shove"}, "kind must be one of .'drag', 'push', 'move'., got 'shove'"),
        ({"magnitude": 1.0, "target": "both"}, "only the arm can be dragged, got target 'both'"),
        ({"magnitude": 1.0, "kind": "move", "duration": 2}, "a move happens once: duration must be 1, got 2"),
        ({"magnitude": 1.0, "quadrant": (None, None)}, "not of None alone"),
        ({"magnitude": 1.0, "quadrant": (2, 0)}, "quadrant must consist of 1, -1, 0 and None"),
        ({"magnitude": 1.0, "duration": 0}, "duration must be an integer of at least 1, got 0"),
        ({"magnitude": 1.0, "duration": float("nan")}, "duration must be an integer of at least 1, got nan"),
        ({"magnitude": 1.0, "onset": -1}, "onset must be an integer of at least 0, got -1"),
        ({"magnitude": 1.0, "onset": 1.5}, "onset must be an integer of at least 0, got 1.5"),
        ({"magnitude": 1.0, "onsets": (3, -1)}, "onsets must be an integer of at least 0, got -1"),
        ({"magnitude": 1.0, "onsets": (1.5,)}, "onsets must be an integer of at least 0, got 1.5"),
        ({"magnitude": 1.0, "idle": "5"}, "idle must be an integer of at least 0, got '5'"),
        ({"magnitude": 1.0, "idle": True}, "idle must be an integer of at least 0, got True"),
    ],
)
def test_bad_pushes_are_refused(options, message):
    with pytest.raises(PerturbationError, match=message):
        TaskPerturbation(**options)


def test_a_push_longer_than_the_episode_is_refused():
    world = make(max_episode_steps=40)
    with pytest.raises(PerturbationError, match="ends with step 46, the episode with step 40"):
        PerturbationInjector(world, TaskPerturbation(0.04), np.random.default_rng(0))
    with pytest.raises(PerturbationError, match="ends with step 54, the episode with step 40"):
        PerturbationInjector(world, TaskPerturbation(0.04, onsets=(1, 2, 9, 3)), np.random.default_rng(0))
    with pytest.raises(PerturbationError, match="expected onsets of 4 episodes, one for each, got 3"):
        PerturbationInjector(make(), TaskPerturbation(0.04, onsets=(1, 2, 3)), np.random.default_rng(0))
    with pytest.raises(PerturbationError, match="a quadrant of 3 signs"):
        PerturbationInjector(make(), TaskPerturbation(0.04, quadrant=(0, 0)), np.random.default_rng(0))


def test_soccers_ball_can_be_shoved_too():
    world = world_class("Soccer")(3, resolution=(16, 16), device="cpu")
    world.reset(np.arange(3), np.random.default_rng(0).spawn(3))
    push = TaskPerturbation(3.0, onset=0, duration=1, idle=1, kind="push", target="object", quadrant=(0, 0))
    pushed = PerturbationInjector(world, push, np.random.default_rng(1))
    for _ in range(3):
        world.step(pushed(np.zeros((3, 2))))
    assert pushed.receipt.min() > 0.01
