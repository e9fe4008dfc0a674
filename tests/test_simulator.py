"""The simulator: bit-exact snapshots, independent worlds, equal behaviour on all devices, threads and resources."""

import os
import pickle
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor

import mujoco
import numpy as np
import pytest
from equiact.envs.simulation.cpu_scenes import CpuScenes
from equiact.envs.simulation.simulator import Simulator, SimulatorError, resolve_device
from equiact.envs.simulation.warp_scenes import WarpScenes
from equiact.envs.worlds.registry import world_class, world_names
from equiact.envs.worlds.world import ASSETS

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


def test_zero_samples_are_refused(model):
    with pytest.raises(ValueError, match="samples must be an integer of at least 1, got 0"):
        Simulator(model, 1, camera="third_person", samples=0, device="cpu")


def test_less_than_one_step_is_refused(model):
    with pytest.raises(ValueError, match="steps must be an integer of at least 1, got 0"):
        make(model, 1).step(0)


def test_a_restored_state_continues_bit_for_bit(model):
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


def test_a_saved_state_continues_in_another_simulator(model):
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


@pytest.fixture
def frequent_thread_switches():
    """Make a race between threads likely."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("frequent_thread_switches")
def test_worlds_are_drawn_alike_by_every_thread(model):
    """Kernels that are built in several threads at once lack geoms."""
    for _ in range(4):
        scenes = CpuScenes(model, 8, "third_person", RESOLUTION, 1, threads=8)
        scenes.forward(None)
        frames = scenes.render(None)
        scenes.close()
        np.testing.assert_array_equal(frames, np.broadcast_to(frames[0], frames.shape))


@pytest.mark.usefixtures("frequent_thread_switches")
def test_simulators_made_in_several_threads_draw_the_same(model):
    with ThreadPoolExecutor(6) as pool:
        frames = list(pool.map(lambda _: make(model, 1).render(), range(18)))
    for frame in frames:
        np.testing.assert_array_equal(frame, make(model, 1).render())
        assert len(np.unique(frame)) > 20


def count_threads():
    return len(os.listdir("/proc/self/task"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads through /proc")
def test_closing_frees_threads_at_once(model):
    make(model, 2).close()
    before = count_threads()
    simulators = [make_started(model) for _ in range(10)]
    frames = simulators[0].render()
    assert count_threads() > before
    for simulator in simulators:
        simulator.close()
        simulator.close()
    deadline = time.monotonic() + 2  # the kernel lists a thread for a moment after it has ended
    while count_threads() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert count_threads() <= before
    assert frames.any(), "frames outlive their simulator"
    with pytest.raises(SimulatorError, match="this simulator is closed; make a new environment"):
        simulators[0].step(1)


FORKED = """
import os, sys, threading
import mujoco
from equiact.envs.simulation.simulator import Simulator, SimulatorError
model = mujoco.MjModel.from_xml_path(sys.argv[1])
def make(): return Simulator(model, 2, camera="third_person", resolution=(8, 8), device="cpu")
parent = make()
child = os.fork()
if child == 0:
    messages = []
    for use in (lambda: parent.step(1), lambda: parent.render(), lambda: parent.state):
        try: use()
        except SimulatorError as error: messages.append(str(error))
    parent.close()
    del parent
    own = make()
    own.step(2)
    print(len(messages), own.render().shape, messages[0], flush=True)
    sys.exit(0)
parent.step(1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_is_told_to_make_its_own():
    """It would wait for ever for threads that exist in its parent only."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED, str(ASSETS / "soccer.xml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "3 (2, 8, 8, 3) this simulator was made in process" in run.stdout
    assert "make the environment in the child process" in run.stdout


@pytest.mark.parametrize(
    ("resolution", "message"),
    [
        ((0, 0), r"resolution must be two integers of at least 1, .* got \(0, 0\)"),
        ((-16, 16), r"resolution must be two integers of at least 1, .* got \(-16, 16\)"),
        ((10**6, 10**6), r"1000000 × 1000000 pixels for 3 worlds take 2.4e\+13 bytes.*lower the resolution"),
        ((16.5, 16), r"resolution must be two integers .* height and width in pixels, got \(16.5, 16\)"),
        ((True, True), r"resolution must be two integers .* got \(True, True\)"),
        ((16,), r"resolution must be two integers"),
        (64, "resolution must be two integers"),
    ],
)
def test_resolutions_are_checked_before_anything_is_allocated(model, resolution, message):
    with pytest.raises(ValueError, match=message):
        Simulator(model, 3, camera="third_person", resolution=resolution, device="cpu")


def test_frames_are_ordinary_arrays(model):
    """Without negative strides, which torch refuses."""
    scenes = WarpScenes(model, 2, "third_person", RESOLUTION, 1, device="cpu")
    for frames in (scenes.render(None), scenes.render(np.array([1])), make(model, 2).render()):
        assert frames.flags.c_contiguous and frames.flags.writeable


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


def test_values_written_to_a_field_are_simulated_and_drawn(model):
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
    with pytest.raises(ValueError, match="num_worlds must be an integer of at least 1, got 0"):
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
    scenes = WarpScenes(model, 3, "third_person", RESOLUTION, 1, device="cpu")
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
    scenes = WarpScenes(model, 3, "third_person", RESOLUTION, 1, device="cpu")
    scenes.state[:] = cpu.state
    scenes.forward(None)
    pixels = scenes.render(None)
    scenes.step(CONTACT, np.array([1]))
    np.testing.assert_array_equal(scenes.state[[0, 2]], cpu.state[[0, 2]])
    assert (scenes.state[1] != cpu.state[1]).any()
    np.testing.assert_array_equal(scenes.render(None)[[0, 2]], pixels[[0, 2]])
    np.testing.assert_array_equal(scenes.render(np.array([0, 2])), pixels[[0, 2]])


CONTINUE = """
    import os, pickle, sys
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one thread
    from equiact.envs.worlds.registry import world_class
    with open(sys.argv[1], "rb") as file:
        runs = pickle.load(file)
    for name, (snapshot, action, state, frames) in runs.items():
        world = world_class(name)(2, resolution=(8, 8), device="cpu")
        world.restore(snapshot)
        world.step(action)
        same = (world.simulator.state == state).all() and (world.render() == frames).all()
        print(name, bool(same))
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the number of threads follows the affinity")
@pytest.mark.parametrize(
    "names", [("Arrows", "Soccer"), pytest.param(world_names(), marks=pytest.mark.slow)], ids=["two", "all"]
)
def test_worlds_continue_bit_for_bit_in_another_process_with_another_number_of_threads(names, tmp_path):
    runs = {}
    for name in names:
        world = world_class(name)(2, resolution=(8, 8), device="cpu")
        world.reset(np.arange(2), np.random.default_rng(0).spawn(2))
        space = world.batched_action_space()
        space.seed(0)
        world.step(space.sample())
        snapshot, action = world.save(), space.sample()
        world.step(action)
        runs[name] = (snapshot, action, world.simulator.save(), world.render())
        world.close()
    (tmp_path / "runs").write_bytes(pickle.dumps(runs))
    command = [sys.executable, "-c", textwrap.dedent(CONTINUE), str(tmp_path / "runs")]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=True)
    assert dict(line.split() for line in done.stdout.splitlines()) == dict.fromkeys(names, "True")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads the memory from /proc")
def test_memory_does_not_grow_with_the_number_of_steps():
    """All frames of these steps together would take 15 MB."""
    world = world_class("Soccer")(8, device="cpu", max_episode_steps=1000)
    world.reset(np.arange(8), np.random.default_rng(0).spawn(8))

    def resident_after(steps):
        for _ in range(steps):
            world.step(np.zeros((8, 2)))
            world.render()
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = resident_after(30)
    assert resident_after(150) - before < 5e6
