"""Perturbed episodes: exact effects, receipts against the twin, and that nothing is left behind."""

import gymnasium as gym
import mujoco
import numpy as np
import pytest
from equiact.envs.mujoco_envs.restorable_env import RestorableEnv
from equiact.envs.perturbations.errors import PerturbationError
from equiact.envs.perturbations.parsing import parse_perturbation
from equiact.envs.perturbations.perturbed_env import PerturbedEnv
from perturbation_envs import BLOCKS, Blocks, Recorder, play

STILL = np.zeros(2)
DT = 0.01


def perturbed(*texts, env=None, **options):
    env = Blocks() if env is None else env
    return PerturbedEnv(env, [each for text in texts for each in parse_perturbation(text)], **options)


def body(env, name):
    return env.unwrapped.data.body(name)


def model_contents(model):
    """Return all numbers of a model as bytes, by name."""
    found = {}
    for owner in (model, model.opt, model.stat, model.vis.headlight):
        for name in dir(owner):
            value = getattr(owner, name) if not name.startswith("_") else None
            if isinstance(value, np.ndarray | int | float):
                found[type(owner).__name__, name] = np.asarray(value).tobytes()
    return found


@pytest.mark.parametrize("pushes", [1, 5])
def test_a_force_moves_a_free_body_as_newton_says(pushes):
    env = perturbed(f"force:body=ball,magnitude=3,direction=+x,onset=2,duration={pushes}")
    play(env, 10, STILL)
    substeps = 2 * pushes
    expected = 3 / 2 * DT**2 * substeps * (substeps + 1) / 2  # semi-implicit Euler
    assert env.receipts[0].value == pytest.approx(expected, rel=1e-4)  # the air slows it down a little
    assert env.receipts[0].value == pytest.approx(3 / 2 * (DT * substeps) ** 2 / 2, rel=1 / substeps + 1e-3)
    assert (env.receipts[0].unit, env.receipts[0].steps) == ("m", pushes)


def test_a_torque_turns_a_free_body_as_euler_says():
    env = perturbed("torque:body=ball,magnitude=0.1,direction=+z,onset=1,duration=4")
    play(env, 8, STILL)
    inertia = 2 * (0.2**2 + 0.2**2) / 12
    assert env.receipts[0].value == pytest.approx(0.1 / inertia * DT**2 * 8 * 9 / 2, rel=1e-3)
    assert env.receipts[0].unit == "rad"


@pytest.mark.parametrize(("name", "mass"), [("ball", 2.0), ("puck", 0.5)])
def test_an_impulse_changes_the_velocity_by_p_over_m(name, mass):
    env = perturbed(f"impulse:body={name},magnitude=0.3,direction=xy,onset=3")
    play(env, 3, STILL)
    assert not env.unwrapped.data.qvel.any()
    env.step(STILL)
    assert np.linalg.norm(env.unwrapped.data.body(name).cvel[3:]) == pytest.approx(0.3 / mass, rel=1e-3)
    assert env.receipts[0].value == pytest.approx(0.3 / mass, rel=1e-3)
    assert env.receipts[0].unit == "m/s"


@pytest.mark.parametrize(
    ("text", "moved"),
    [
        ("move-object:body=ball,magnitude=0.25", 0.25),
        ("move-object:body=puck,magnitude=0.2", 0.2),
        ("drag:body=ball,magnitude=0.02,duration=7,direction=xyz", 0.14),
        ("drag:body=puck,magnitude=0.02,duration=7", 0.14),
        ("drag:body=tip,magnitude=0.02,duration=7,direction=-x", 0.14),
        ("drag:body=marker,magnitude=0.02,duration=7,direction=xyz", 0.14),
        ("joint-position:joints=elbow,magnitude=0.1", 0.1),
        ("joint-position:joints=shoulder elbow puck_x,magnitude=0.1", 0.1),
        ("joint-velocity:joints=elbow shoulder,magnitude=0.1", 0.1),
    ],
)
def test_what_is_moved_by_hand_moves_so_far(text, moved):
    env = perturbed(text.replace("magnitude", "onset=2,magnitude"))
    play(env, 12, STILL)
    assert env.receipts[0].value == pytest.approx(moved, rel=2e-3)
    assert env.receipts[0].has_effect


def test_joints_stay_within_their_limits():
    env = perturbed("joint-position:joints=puck_y,magnitude=9,sign=+")
    play(env, 1, STILL)
    assert env.unwrapped.data.joint("puck_y").qpos[0] == pytest.approx(0.5, abs=1e-3)
    env = perturbed("move-object:body=puck,magnitude=9,direction=-y")
    play(env, 1, STILL)
    assert env.unwrapped.data.joint("puck_y").qpos[0] == pytest.approx(-0.5, abs=1e-3)


def test_own_momentum_does_not_count():
    env = perturbed("friction:magnitude=0.5,onset=3,duration=4", "force:body=ball,magnitude=1,onset=3,duration=4")
    env.reset(seed=0)
    env.unwrapped.data.qvel[:3] = [4.0, 0.0, 0.0]
    before = body(env, "ball").xpos.copy()
    for _ in range(8):
        env.step(np.ones(2))
    assert np.linalg.norm(body(env, "ball").xpos - before) > 0.5
    assert env.receipts[0].value == 0.0, "nothing touches: friction does nothing, to the last bit"
    assert not env.receipts[0].has_effect
    assert env.receipts[1].value == pytest.approx(1 / 2 * DT**2 * 8 * 9 / 2, rel=0.05)


def test_each_of_two_overlapping_perturbations_gets_its_own_receipt():
    strong = "force:body=ball,magnitude=9,direction=+x,onset=1,duration=6"
    weak = "force:body=ball,magnitude=1,direction=+y,onset=3,duration=2"
    both, alone = perturbed(strong, weak), [perturbed(strong), perturbed(weak)]
    for env in (both, *alone):
        play(env, 10, STILL)
    for receipt, env in zip(both.receipts, alone, strict=True):
        assert receipt.value == pytest.approx(env.receipts[0].value, rel=1e-3)


def test_a_receipt_compares_with_a_twin_in_which_the_others_go_on_and_end():
    """The mass changes before the force begins and back while it lasts; the twin must repeat both."""
    mass, force = (
        "mass:body=ball,magnitude=5,onset=1,duration=5",
        "force:body=ball,magnitude=9,direction=+x,onset=3,duration=6",
    )
    env = perturbed(mass, force)
    ends = []
    for texts in ([mass, force], [mass]):
        run = perturbed(*texts, measure_receipts=False)
        for each in (env, run):
            each.reset(seed=0)
            each.unwrapped.data.qvel[:3] = [1.0, 2.0, 0.0]
        for _ in range(9):
            env.step(STILL)
            run.step(STILL)
        ends.append(run.unwrapped.data.qpos[:3].copy())
    assert env.receipts[1].value == pytest.approx(np.linalg.norm(ends[0] - ends[1]), rel=1e-12)


def test_two_changes_of_actions_have_their_own_receipts():
    texts = ("action-shift:magnitude=0.5,duration=3", "action-shift:magnitude=0.1,sign=-,duration=3")
    env = perturbed(*texts, env=Recorder(gym.spaces.Box(-1.0, 1.0, (4,))))
    play(env, 4, np.zeros(4, np.float32))
    np.testing.assert_allclose(np.array(env.unwrapped.actions)[:, 0], [0.4, 0.4, 0.4, 0], rtol=1e-6)
    assert [receipt.value for receipt in env.receipts] == pytest.approx([0.5 * 2, 0.1 * 2])


class Reader(gym.Wrapper):
    """It reads positions before the simulation goes on, as many rewards do."""

    def step(self, action):
        self.position = self.unwrapped.data.body("puck").xpos.copy()
        return self.env.step(action)


def test_derived_quantities_are_up_to_date_when_the_step_begins():
    env = perturbed(
        "joint-position:joints=puck_x,magnitude=0.3,sign=+,onset=1", env=Reader(Blocks()), measure_receipts=False
    )
    env.reset(seed=0)
    for expected in (1.0, 1.3, 1.3):
        env.step(STILL)
        assert env.env.env.position[0] == pytest.approx(expected)


def test_an_object_that_hangs_on_an_arm_moves_alone():
    env = perturbed("move-object:body=bead,magnitude=0.1,direction=+x")
    play(env, 1, STILL)
    assert env.unwrapped.data.joint("bead").qpos[0] == pytest.approx(0.1, rel=1e-3)
    assert abs(env.unwrapped.data.joint("shoulder").qpos[0]) < 1e-6


FOREIGN = {
    "HalfCheetah-v5": [
        "force:body=torso,magnitude=90,direction=x,onset=3-6,duration=4",
        "friction:magnitude=0.1,duration=9",
    ],
    "Pusher-v5": ["drag:body=tips_arm,magnitude=0.01,onset=3,duration=4", "mass:body=tips_arm,magnitude=9,duration=9"],
    "Ant-v5": ["impulse:body=torso,magnitude=1,onset=4", "gravity:magnitude=0.5,onset=2,duration=9"],
    "Hopper-v5": [
        "joint-velocity:joints=thigh_joint leg_joint,magnitude=1,onset=4",
        "actuator-strength:magnitude=0.5,duration=9",
    ],
    "dm_control/cheetah-run-v0": [
        "force:body=torso,magnitude=90,direction=x,onset=3,duration=4",
        "mass:magnitude=2,duration=9",
    ],
    "cube-single-v0": [
        "move-object:body=object_0,magnitude=0.05,onset=3",
        "drag:body=ur5e/robotiq/base,magnitude=0.01",
    ],
    "PointMaze_UMaze-v3": ["impulse:body=particle,magnitude=1,onset=3", "action-delay:magnitude=2,duration=9"],
}
PACKAGES = {
    "dm_control/cheetah-run-v0": "shimmy",
    "cube-single-v0": "ogbench",
    "PointMaze_UMaze-v3": "gymnasium_robotics",
}


def foreign(name):
    if name in PACKAGES:
        package = pytest.importorskip(PACKAGES[name])
        gym.register_envs(package)
    return gym.make(name)


@pytest.mark.parametrize("name", FOREIGN)
def test_other_packages_environments_are_perturbed_measured_and_left_as_they_were(name):
    texts = [text + ",policy_acts=false" if text.startswith("impulse") else text for text in FOREIGN[name]]
    env, unmeasured = (perturbed(*texts, env=foreign(name), measure_receipts=measured) for measured in (True, False))
    np.random.seed(0)  # OGBench draws from the global generator, whatever the seed
    shown, infos = play(env, 14, seed=1)
    np.random.seed(0)
    again, _ = play(unmeasured, 14, seed=1)
    for one, other in zip(shown, again, strict=True):
        assert tree_bytes(one) == tree_bytes(other), "a receipt changes nothing, to the last bit"
    assert all(receipt.has_effect for receipt in env.receipts), env.receipts
    assert sum(len(info["perturbation"]["receipts"]) for info in infos) == 2
    env.unwrapped.reset(seed=1)
    before = model_contents(scene_model(env))
    env.start_episode(0)
    for _ in range(14):
        env.step(env.action_space.sample())
    assert model_contents(scene_model(env)) == before


def scene_model(env):
    from equiact.envs.mujoco_envs.mujoco_scene import MujocoScene

    return MujocoScene(env).model


def tree_bytes(value):
    return (
        {key: tree_bytes(each) for key, each in value.items()}
        if isinstance(value, dict)
        else np.asarray(value).tobytes()
    )


MODEL_CHANGES = [
    *("friction:magnitude=3", "friction:body=ball,magnitude=3", "mass:magnitude=0.1", "mass:body=hand,magnitude=7"),
    *("wind:magnitude=3", "actuator-strength:magnitude=0.3", "actuator-strength:actuator=push,magnitude=3"),
    *("light:magnitude=0.3", "light:light=lamp,magnitude=0.3", "colour:body=ball,magnitude=0.7"),
    *("camera-shift:magnitude=0.3", "camera-shift:camera=eye,magnitude=1,direction=z", "camera-turn:magnitude=0.5"),
]


@pytest.mark.parametrize("text", MODEL_CHANGES)
@pytest.mark.parametrize("leave", ["end", "reset", "failure", "close"])
def test_the_model_is_restored_bit_for_bit(text, leave):
    env = perturbed(f"{text},onset=1,duration=3", env=Blocks(pictures=True, fails_at=3 if leave == "failure" else None))
    env.reset(seed=0)
    model = env.unwrapped.model
    before = model_contents(model)
    env.step(STILL)
    assert model_contents(model) == before
    env.step(STILL)
    assert model_contents(model) != before, "it lasts between the steps, where pictures are taken"
    if leave == "end":
        for _ in range(3):
            env.step(STILL)
    elif leave == "failure":
        with pytest.raises(RuntimeError, match="burnt out"):
            env.step(STILL)
    elif leave == "reset":
        env.reset()
    else:
        env.close()
    assert model_contents(model) == before


@pytest.mark.parametrize("name", ["mass", "friction"])
@pytest.mark.parametrize("windows", [((1, 6), (3, 2)), ((1, 4), (3, 6)), ((3, 2), (1, 6)), ((2, 3), (2, 3))])
def test_overlapping_changes_of_one_number_multiply_and_go(name, windows):
    texts = [f"{name}:magnitude={size},onset={a},duration={n}" for size, (a, n) in zip((3, 5), windows, strict=True)]
    env = perturbed(*texts)
    env.reset(seed=0)
    model = env.unwrapped.model
    before, field = model_contents(model), {"mass": "body_mass", "friction": "geom_friction"}[name]
    base = getattr(model, field).copy()
    for step in range(12):
        env.step(STILL)
        factor = np.prod([size for size, (a, n) in zip((3, 5), windows, strict=True) if a <= step < a + n])
        np.testing.assert_allclose(getattr(model, field), base * factor)
    assert model_contents(model) == before


def test_mass_agrees_with_a_model_that_was_compiled_with_it():
    env = perturbed("mass:body=puck,magnitude=4,duration=5")
    play(env, 1, STILL)
    text = BLOCKS.replace('size="0.1" mass="0.5"', 'size="0.1" mass="2"')
    heavy = mujoco.MjModel.from_xml_string(text)
    found = {key: value for key, value in model_contents(env.unwrapped.model).items() if key[0] != "MjVisualHeadlight"}
    for (owner, name), value in found.items():
        if owner == "MjModel" and name.startswith(("body_", "dof_", "actuator_", "tendon_")):
            expected = np.frombuffer(getattr(heavy, name).tobytes(), np.uint8)
            if getattr(heavy, name).dtype == np.float64:
                np.testing.assert_allclose(
                    getattr(env.unwrapped.model, name), getattr(heavy, name), 1e-9, 1e-12, err_msg=name
                )
            else:
                assert value == expected.tobytes(), name
    assert env.unwrapped.model.stat.meaninertia == pytest.approx(heavy.stat.meaninertia)


def test_only_the_perturbations_own_force_is_removed():
    env = perturbed("force:body=ball,magnitude=3,duration=2", "torque:body=ball,magnitude=3,duration=2")
    env.reset(seed=0)
    forces = env.unwrapped.data.xfrc_applied
    forces[:] = np.random.default_rng(0).normal(size=forces.shape)
    before = forces.copy()
    for _ in range(4):
        env.step(STILL)
        np.testing.assert_array_equal(forces, before)
    env = perturbed("force:body=ball,magnitude=3", env=Blocks(fails_at=1))
    env.reset(seed=0)
    with pytest.raises(RuntimeError, match="burnt out"):
        env.step(STILL)
    assert not env.unwrapped.data.xfrc_applied.any()


def test_the_order_of_perturbations_does_not_matter():
    texts = [
        "force:body=ball,magnitude=3,direction=+x,onset=1,duration=5",
        "impulse:body=ball,magnitude=1,direction=+y,onset=2",
        "mass:body=ball,magnitude=2,onset=2,duration=3",
        "move-object:body=puck,magnitude=0.1,direction=+x,onset=2",
    ]
    one, other = perturbed(*texts), perturbed(*reversed(texts))
    first, second = play(one, 8, STILL)[0], play(other, 8, STILL)[0]
    # impulse and mass act on one body in one step: an impulse divides by the mass at that time
    np.testing.assert_allclose(first[-1], second[-1], rtol=1e-9, atol=1e-12)
    values = [[receipt.value for receipt in env.receipts] for env in (one, other)]
    np.testing.assert_allclose(values[0], values[1][::-1], rtol=1e-6)


def test_pictures_have_receipts_in_grey_levels():
    for text, expected in {
        "light:magnitude=0.5": 255 * 0.3 / 12,
        "colour:body=ball,magnitude=1,colour=1 1 1": None,
    }.items():
        env = perturbed(f"{text},onset=1,duration=2", env=Blocks(pictures=True))
        shown, _ = play(env, 5, STILL)
        assert env.receipts[0].unit == "grey levels"
        assert env.receipts[0].has_effect
        changed = [bool((each["image"] != shown[0]["image"]).any()) for each in shown[1:]]
        assert changed == [False, True, True, False, False], "the pictures of its steps, and no others"
        if expected is not None:
            assert env.receipts[0].value == pytest.approx(expected, abs=0.1)


def test_random_draws_depend_on_seed_episode_and_place_alone():
    def draws(env, action, episodes=3, seed=None):
        found = []
        for episode in range(episodes):
            env.reset(seed=seed if episode == 0 else None)
            found.append((env.windows, dict(env._injector._drawn)))
            for _ in range(4):
                env.step(action)
        return [(windows, {number: tuple(vector) for number, vector in drawn.items()}) for windows, drawn in found]

    texts = ["force:body=ball,magnitude={},onset=0-50,duration=2", "drag:body=puck,magnitude={},onset=0-50,duration=2"]
    weak, strong = ([text.format(size) for text in texts] for size in (0.1, 0.2))
    base = draws(perturbed(*weak), STILL)
    assert draws(perturbed(*weak), np.ones(2)) == base, "not on the policy"
    assert draws(perturbed(*strong), STILL) == base, "the same draws for every magnitude"
    assert draws(perturbed(*weak, seed=1), STILL) != base
    assert draws(perturbed(*weak, seed=7), STILL) == draws(perturbed(*weak), STILL, seed=7), (
        "reset(seed=…) sets it, too"
    )
    assert len({str(each) for each in base}) == 3, "episodes differ"
    onsets = {window.onset for windows, _ in draws(perturbed(*weak), STILL, 60) for window in windows}
    assert min(onsets) >= 0
    assert max(onsets) <= 50
    assert len(onsets) > 25
    pair = perturbed("force:body=ball,magnitude=1,onset=3-4")
    assert {window.onset for windows, _ in draws(pair, STILL, 20) for window in windows} == {3, 4}


def test_the_policy_pauses_where_it_should():
    space = gym.spaces.Box(-1.0, 1.0, (2,))
    text = "force:body=ball,magnitude=1,onset=2,duration=2,idle=3,policy_acts={}"
    for acts, null, expected in [
        ("false", "zero", [1, 1, 0, 0, 0, 0, 0, 1, 1]),
        ("true", "zero", [1, 1, 1, 1, 0, 0, 0, 1, 1]),
        ("false", "hold", [1] * 9),
    ]:
        env = perturbed(text.format(acts), null_action=null)
        env.reset(seed=0)
        carried, acting = [], []
        for _ in range(9):
            info = env.step(np.ones(2, space.dtype))[4]
            carried.append(int(env.unwrapped.data.ctrl[0]))
            acting.append(info["perturbation"]["policy_acts"])
        assert carried == expected
        assert acting.count(False) == (5 if acts == "false" else 3)
        assert (env.windows[0].onset, env.windows[0].end, env.windows[0].resumed) == (2, 4, 7)


def test_an_episode_that_ends_early_has_the_receipt_until_then():
    env = perturbed("force:body=ball,magnitude=1,onset=3,duration=6", env=gym.wrappers.TimeLimit(Blocks(), 20))
    env.env.env._max_episode_steps = 5
    play(env, 20, STILL)
    assert env.receipts[0].steps == 2
    assert env.receipts[0].has_effect
    env.reset()
    env.env.env._max_episode_steps = 3
    assert env.receipts == (None,), "a new episode"
    play(env, 20, STILL)
    assert env.receipts == (None,), "it was over before the perturbation began"


def test_an_episode_may_start_in_a_restored_state():
    base = RestorableEnv(Blocks())
    base.reset(seed=0)
    base.step(np.ones(2))
    start = base.save()
    env = perturbed("mass:magnitude=5,onset=1,duration=20", "force:body=ball,magnitude=1,onset=1,duration=3", env=base)
    runs = []
    for _ in range(2):
        base.restore(start)
        env.start_episode(4)
        runs.append([env.step(STILL)[0] for _ in range(6)])
    np.testing.assert_array_equal(*runs)


class Fenced(gym.Wrapper):
    """The episode is over when the ball passes a fence, and no step is possible after it."""

    is_over = False

    def reset(self, **options):
        self.is_over = False
        result = self.env.reset(**options)
        self.unwrapped.data.qvel[0] = 1.0
        return result

    def step(self, action):
        assert not self.is_over
        observation, reward, _, truncated, info = self.env.step(action)
        self.is_over = bool(self.unwrapped.data.qpos[0] > 0.1)
        return observation, reward, self.is_over, truncated, info


def test_the_twin_stops_where_its_own_episode_ends():
    env = perturbed("force:body=ball,magnitude=100,direction=-x,duration=20", env=Fenced(Blocks()))
    _, infos = play(env, 30, STILL)
    assert len(infos) == 30, "the force keeps it from the fence"
    assert env.receipts[0].value > 0.1
    assert not env.env.env.is_over


def test_joint_receipts_say_their_unit():
    for joints, unit in {"elbow": "rad", "puck_x": "m", "elbow puck_x": "rad and m"}.items():
        env = perturbed(
            f"joint-position:joints={joints},magnitude=0.1", f"joint-velocity:joints={joints},magnitude=0.1"
        )
        play(env, 1, STILL)
        assert env.receipts[0].unit == unit
        assert env.receipts[1].unit == (f"({unit})/s" if " " in unit else f"{unit}/s")


@pytest.mark.slow
def test_ray_traced_pictures_show_changes_of_the_appearance():
    from equiact.envs.mujoco_envs.ray_traced_pixels import RayTracedPixels

    pictures = RayTracedPixels(gym.make("HalfCheetah-v5"), camera="track", resolution=(32, 32))
    clean, _ = play(pictures, 5, np.zeros(6))
    for text in (
        "light:magnitude=0.3",
        "colour:body=torso,magnitude=1",
        "camera-shift:magnitude=1",
        "camera-turn:magnitude=1",
    ):
        env = perturbed(f"{text},onset=1,duration=2", env=pictures)
        shown, _ = play(env, 5, np.zeros(6))
        changed = [bool((one != other).any()) for one, other in zip(shown, clean, strict=True)]
        assert changed == [False, False, True, True, False, False]
        assert env.receipts[0].value > 0.3
    pictures.close()


def test_step_before_reset_is_refused():
    env = perturbed("force:body=ball,magnitude=1")
    for use in (lambda: env.step(STILL), lambda: env.receipts, lambda: env.windows):
        with pytest.raises(gym.error.ResetNeeded, match="call reset"):
            use()


def test_wrong_arguments_are_refused():
    with pytest.raises(PerturbationError, match="got 'force:body=ball,magnitude=1'; parse_perturbation reads text"):
        PerturbedEnv(Blocks(), ["force:body=ball,magnitude=1"])
    with pytest.raises(PerturbationError, match="expected a single Gymnasium environment, got SyncVectorEnv"):
        perturbed("blackout:", env=gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync"))
    with pytest.raises(PerturbationError, match="seed must be an integer of at least 0, got -1"):
        perturbed("force:body=ball,magnitude=1", seed=-1)
    with pytest.raises(PerturbationError, match="null_action must be 'zero' or 'hold', got 'stop'"):
        perturbed("force:body=ball,magnitude=1,idle=2", null_action="stop")


def test_without_a_simulation_actions_and_observations_are_perturbed():
    env = perturbed(
        "action-noise:magnitude=0.5,onset=2,duration=3",
        "observation-noise:magnitude=2,onset=3,duration=3",
        env=Recorder(gym.spaces.Box(-1.0, 1.0, (2,))),
    )
    _, infos = play(env, 8, np.zeros(2, np.float32))
    assert [info["perturbation"]["active"] for info in infos] == [
        *((), (), ("action-noise",), ("action-noise", "observation-noise"), ("action-noise", "observation-noise")),
        *(("observation-noise",), (), ()),
    ]
    actions = np.array(env.unwrapped.actions)
    assert not actions[[0, 1, 5, 6, 7]].any()
    assert actions[2:5].all()
    assert env.receipts[0].value == pytest.approx(np.linalg.norm(actions[2:5], axis=1).mean())
    assert not isinstance(env.env, RestorableEnv)
