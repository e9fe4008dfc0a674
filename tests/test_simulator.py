"""The simulator: snapshots to the last bit, independent worlds, and the same behaviour on every device."""

import sys

import mujoco
import numpy as np
import pytest

from envs.simulator import Simulator, _WarpScenes, resolve_device
from envs.world import ASSETS

RESOLUTION = (16, 16)
CONTACT = 20
"""Steps after which every agent of `start` pushes its ball."""


@pytest.fixture(scope="module")
def model():
    return mujoco.MjModel.from_xml_path(str(ASSETS / "soccer.xml"))


def make(model, num_worlds):
    return Simulator(model, num_worlds, camera="third_person", resolution=RESOLUTION, device="cpu")


def start(simulator, seed=0):
    """Agents in different places, each about to run into its ball."""
    generator = np.random.default_rng(seed)
    agent = generator.uniform(-0.3, 0.3, (simulator.num_worlds, 2))
    offset = np.array([0.25, 0.04])
    simulator.field("qpos")[:] = np.hstack([agent, agent + offset])
    simulator.field("ctrl")[:] = agent + offset
    simulator.forward()


def make_started(model):
    simulator = make(model, 3)
    start(simulator)
    return simulator


def assert_identical(simulator, state, pixels):
    np.testing.assert_array_equal(simulator.state, state)
    np.testing.assert_array_equal(simulator.render(), pixels)


def test_pixels_are_means_of_rays(model):
    """Drawn with two rays a side, a pixel is the mean of the four of twice the resolution; and of some worlds alone."""
    height, width = RESOLUTION
    smooth, fine = (
        Simulator(model, 3, camera="third_person", resolution=resolution, samples=samples, device="cpu")
        for resolution, samples in ((RESOLUTION, 2), ((2 * height, 2 * width), 1))
    )
    for simulator in (smooth, fine):
        start(simulator)
    mean = fine.render().reshape(3, height, 2, width, 2, 3).mean((2, 4))
    assert smooth.render().shape == (3, height, width, 3)
    assert np.abs(smooth.render() - mean).max() <= 1, "but for rounding"
    np.testing.assert_array_equal(smooth.render(np.array([2])), smooth.render()[2:])
    assert (smooth.render() != make_started(model).render()).any()
    assert smooth.render(np.array([], int)).shape == (0, height, width, 3)


def test_no_rays_at_all_are_refused(model):
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        Simulator(model, 1, camera="third_person", samples=0, device="cpu")


def test_less_than_one_step_is_refused(model):
    with pytest.raises(ValueError, match=r"at least one step.*0"):
        make(model, 1).step(0)


def test_restored_state_goes_on_bit_for_bit(model):
    simulator = make(model, 3)
    start(simulator)
    simulator.step(CONTACT)
    snapshot, frames = simulator.save(), simulator.render()
    simulator.step(7)
    state, pixels = simulator.save(), simulator.render()
    assert (pixels != frames).any()
    for detour in (1, 50):  # what happens in between must leave no trace
        simulator.field("ctrl")[:] = -0.5
        simulator.step(detour)
        simulator.restore(snapshot)
        assert_identical(simulator, snapshot, frames)
        simulator.step(7)
        assert_identical(simulator, state, pixels)


def test_a_saved_state_goes_on_in_another_simulator(model):
    one, other = make(model, 2), make(model, 2)
    start(one)
    one.step(CONTACT)
    other.restore(one.save())
    one.step(9)
    other.step(9)
    assert_identical(other, one.state, one.render())


def test_a_snapshot_is_a_copy(model):
    simulator = make(model, 1)
    start(simulator)
    snapshot = simulator.save()
    simulator.step(5)
    assert (snapshot != simulator.state).any()


def test_steps_add_up(model):
    at_once, in_parts = make(model, 2), make(model, 2)
    for simulator in (at_once, in_parts):
        start(simulator)
    at_once.step(30)
    for steps in (1, 9, 20):
        in_parts.step(steps)
    assert_identical(in_parts, at_once.state, at_once.render())


def test_a_world_in_a_batch_equals_the_same_world_alone(model):
    batch = make(model, 5)
    start(batch)
    initial = batch.save()
    batch.step(CONTACT)
    pixels = batch.render()
    assert len(np.unique(pixels.reshape(5, -1), axis=0)) == 5
    for world in range(5):
        alone = make(model, 1)
        alone.restore(initial[[world]])
        alone.step(CONTACT)
        assert_identical(alone, batch.state[[world]], pixels[[world]])


@pytest.mark.parametrize("worlds", [[0], [4], [1, 3], [0, 1, 2, 3, 4]])
def test_chosen_worlds_are_drawn_as_among_all(model, worlds):
    simulator = make(model, 5)
    start(simulator)
    everything = simulator.render()
    np.testing.assert_array_equal(simulator.render(np.array(worlds)), everything[worlds])
    np.testing.assert_array_equal(simulator.render(), everything)


def test_worlds_are_drawn_alike_by_every_thread(model, monkeypatch):
    """Kernels that are built on several threads at once lack geoms; switching often makes that likely."""
    monkeypatch.setattr("envs.simulator.available_cores", lambda: 8)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(8):
            frames = make(model, 8).render()
            np.testing.assert_array_equal(frames, np.broadcast_to(frames[0], frames.shape))
    finally:
        sys.setswitchinterval(interval)


def test_frames_are_kept_when_the_next_are_drawn(model):
    simulator = make(model, 2)
    start(simulator)
    first = simulator.render()
    before = first.copy()
    simulator.step(CONTACT)
    assert (simulator.render() != before).any()
    np.testing.assert_array_equal(first, before)


def test_worlds_that_are_not_stepped_stay_untouched(model):
    simulator, everything = make(model, 4), make(model, 4)
    for one in (simulator, everything):
        start(one)
    before, pixels = simulator.save(), simulator.render()
    simulator.step(CONTACT, np.array([1, 3]))
    everything.step(CONTACT)
    np.testing.assert_array_equal(simulator.state[[0, 2]], before[[0, 2]])
    np.testing.assert_array_equal(simulator.render()[[0, 2]], pixels[[0, 2]])
    np.testing.assert_array_equal(simulator.state[[1, 3]], everything.state[[1, 3]])
    np.testing.assert_array_equal(simulator.render()[[1, 3]], everything.render()[[1, 3]])


def test_what_is_written_to_a_field_is_what_is_simulated_and_drawn(model):
    simulator = make(model, 2)
    start(simulator)
    frames = simulator.render()
    simulator.field("qpos")[1, :2] = [-0.8, 0.8]
    simulator.forward(np.array([1]))
    assert np.isin([-0.8, 0.8], simulator.state[1]).all()
    np.testing.assert_array_equal(simulator.render()[0], frames[0])
    assert (simulator.render()[1] != frames[1]).any()


def test_colours_are_in_the_order_red_green_blue(model):
    simulator = make(model, 1)
    simulator.field("qpos")[:] = [[-0.5, -0.5, 0.5, 0.5]]
    simulator.forward()
    frame = simulator.render()[0].astype(int)
    warmth = frame[..., 0] - frame[..., 2]
    far_right, near_left = warmth[:8, 8:], warmth[8:, :8]
    assert far_right.max() > 60, "the ball is orange"
    assert near_left.min() < -60, "the agent is blue"


def test_height_comes_before_width(model):
    simulator = Simulator(model, 1, camera="third_person", resolution=(8, 24), device="cpu")
    assert simulator.render().shape == (1, 8, 24, 3)


def test_messages_for_wrong_arguments(model):
    with pytest.raises(ValueError, match=r"no camera 'eye'; it has \['third_person'\]"):
        Simulator(model, 1, camera="eye")
    with pytest.raises(ValueError, match="num_worlds must be at least 1, got 0"):
        Simulator(model, 0, camera="third_person")
    with pytest.raises(ValueError, match="device must be 'auto', 'cpu' or 'cuda', got 'tpu'"):
        resolve_device("tpu")
    simulator = make(model, 2)
    nstate = simulator.state.shape[1]
    with pytest.raises(ValueError, match=rf"state of shape \(2, {nstate}\) was expected, got \(1, {nstate}\)"):
        simulator.restore(simulator.save()[:1])
    with pytest.raises(ValueError, match=r"'speed' is not a part of the state; choose from \['act', .*'qvel'"):
        simulator.field("speed")


def test_warp_physics_and_pixels_agree_with_those_of_the_cpu(model):
    cpu = make(model, 3)
    scenes = _WarpScenes(model, 3, "third_person", RESOLUTION, 1, device="cpu")
    np.testing.assert_array_equal(scenes.state, cpu.state)
    start(cpu)
    scenes.state[:] = cpu.state
    scenes.forward(None)
    np.testing.assert_array_equal(scenes.render(None), cpu.render())
    ball = cpu.field("qpos")[:, 2:].copy()
    for _ in range(2):
        scenes.step(CONTACT, None)
        cpu.step(CONTACT)
    assert (np.linalg.norm(cpu.field("qpos")[:, 2:] - ball, axis=-1) > 0.05).all(), "the balls must have been pushed"
    np.testing.assert_allclose(scenes.state, cpu.state, rtol=0, atol=1e-4)
    difference = np.abs(scenes.render(None).astype(int) - cpu.render())
    assert np.mean(difference > 8) < 0.02


def test_warp_leaves_worlds_that_are_not_stepped(model):
    cpu = make(model, 3)
    start(cpu)
    scenes = _WarpScenes(model, 3, "third_person", RESOLUTION, 1, device="cpu")
    scenes.state[:] = cpu.state
    scenes.forward(None)
    pixels = scenes.render(None).copy()  # on a CPU the next frame is drawn into the same array
    scenes.step(CONTACT, np.array([1]))
    np.testing.assert_array_equal(scenes.state[[0, 2]], cpu.state[[0, 2]])
    assert (scenes.state[1] != cpu.state[1]).any()
    np.testing.assert_array_equal(scenes.render(None)[[0, 2]], pixels[[0, 2]])
    np.testing.assert_array_equal(scenes.render(np.array([0, 2])), pixels[[0, 2]])
