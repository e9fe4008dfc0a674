"""Every registered perturbation does what it says; what cannot be applied is refused before any episode."""

from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import pytest
from equiact.envs.perturbations.action_perturbation import ActionPerturbation
from equiact.envs.perturbations.body_loads import Force
from equiact.envs.perturbations.errors import PerturbationError
from equiact.envs.perturbations.mujoco_perturbation import MujocoPerturbation
from equiact.envs.perturbations.parsing import parse_perturbation
from equiact.envs.perturbations.perturbed_env import PerturbedEnv
from equiact.envs.perturbations.registry import PERTURBATION_REGISTRY, register_perturbation
from perturbation_envs import Blocks, Recorder, play, random_action

BOX = gym.spaces.Box(np.float32([-1, 0]), np.float32([3, 0.5]))
DISCRETE = gym.spaces.Discrete(4, start=2)
PICTURE = gym.spaces.Box(0, 255, (8, 8, 3), np.uint8)
STATE = gym.spaces.Box(-np.inf, np.inf, (500,), np.float64)

EXAMPLES = {
    "force": "body=ball,magnitude=2",
    "torque": "body=ball,magnitude=2,direction=x",
    "impulse": "body=ball,magnitude=2,direction=1 1 -2",
    "drag": "body=marker,magnitude=0.1",
    "move-object": "body=puck,magnitude=0.1",
    "joint-position": "joints=shoulder elbow,magnitude=0.1",
    "joint-velocity": "joints=puck_x,magnitude=0.1,sign=-",
    "friction": None,  # nothing touches in this scene; see test_perturbed_env
    "gravity": None,
    "wind": "magnitude=5",
    "mass": "body=hand,magnitude=2",
    "actuator-strength": "magnitude=2",
    "light": "magnitude=0.2",
    "colour": "body=ball,magnitude=0.9,colour=0 0 1",
    "camera-shift": "magnitude=1",
    "camera-turn": "magnitude=1",
    "action-noise": "magnitude=0.2",
    "action-shift": "magnitude=0.2,sign=-",
    "action-delay": "magnitude=3",
    "action-dropout": "magnitude=1,replacement=zero",
    "action-override": "value=0.25",
    "observation-noise": "magnitude=2,key=image",
    "observation-shift": "magnitude=2,key=image",
    "blackout": "magnitude=0.5",
}


def made(text, env, **options):
    return PerturbedEnv(env, parse_perturbation(text), **options)


@pytest.mark.parametrize("name", PERTURBATION_REGISTRY.names())
def test_every_registered_perturbation_has_an_effect_and_a_text(name):
    if name not in EXAMPLES and not PERTURBATION_REGISTRY.get(name).__module__.startswith("equiact."):
        pytest.skip("registered by another test")
    if EXAMPLES[name] is None:
        pytest.skip("without effect in this scene")
    (perturbation,) = parse_perturbation(f"{name}:{EXAMPLES[name]},onset=4-6")
    assert parse_perturbation(str(perturbation)) == [perturbation]
    env = PerturbedEnv(Blocks(pictures=True), [perturbation])
    _, infos = play(env, 12)
    (receipt,) = (receipt for info in infos for receipt in info["perturbation"]["receipts"])
    assert receipt.has_effect
    assert receipt == env.receipts[0]
    assert str(receipt).endswith(receipt.unit)
    assert PERTURBATION_REGISTRY.get(name).__doc__.split("\n")[0].endswith(("``", "."))


def actions(text, space, steps=40, choose=None):
    """Return intended and executed actions under a perturbation, and its receipt."""
    env, rng = made(text, Recorder(space)), np.random.default_rng(0)
    env.reset(seed=0)
    intended = [random_action(space, rng) if choose is None else choose(step) for step in range(steps)]
    for action in intended:
        env.step(action)
    return np.array(intended), np.array(env.unwrapped.actions), env.receipts[0]


@pytest.mark.parametrize("space", [BOX, DISCRETE])
@pytest.mark.parametrize("delay", [1, 3, 30])
def test_a_delay_gives_the_action_of_so_many_steps_before(space, delay):
    intended, executed, receipt = actions(f"action-delay:magnitude={delay},onset=5,duration=20", space)
    for step in range(40):
        expected = max(0, step - delay) if 5 <= step < 25 else step
        np.testing.assert_array_equal(executed[step], intended[expected])
    changed = np.array([not np.array_equal(a, b) for a, b in zip(intended, executed, strict=True)])[5:25]
    expected = changed.mean() if space is DISCRETE else np.linalg.norm(executed - intended, axis=1)[5:25].mean()
    assert receipt.value == pytest.approx(expected)
    assert receipt.unit == ("share of steps" if space is DISCRETE else "units of the action")


def test_a_delay_of_the_same_action_has_no_effect():
    _, _, receipt = actions("action-delay:magnitude=3,duration=20", BOX, choose=lambda step: np.float32([1, 0.5]))
    assert receipt.value == 0
    assert not receipt.has_effect


def test_noise_is_a_share_of_half_the_range_and_is_clipped():
    middle = np.float32([1, 0.25])
    _, executed, _ = actions("action-noise:magnitude=0.1,duration=2000", BOX, 2000, lambda step: middle)
    np.testing.assert_allclose(executed.std(0), [0.2, 0.025], rtol=0.05)
    assert executed.dtype == np.float32
    _, executed, _ = actions("action-noise:magnitude=9,duration=200", BOX, 200)
    np.testing.assert_array_equal([executed.min(0), executed.max(0)], [BOX.low, BOX.high])
    _, executed, _ = actions("action-shift:magnitude=0.5,sign=-,duration=9", BOX, 9, lambda step: middle)
    np.testing.assert_allclose(executed, np.tile([0, 0.125], (9, 1)))


@pytest.mark.parametrize(
    ("text", "space", "expected"),
    [
        ("action-dropout:magnitude=1", BOX, lambda step: [0, 0]),
        ("action-dropout:magnitude=1", gym.spaces.Box(1.0, 2.0, (2,)), lambda step: [1, 1]),
        ("action-dropout:magnitude=1,replacement=hold", DISCRETE, lambda step: 3),
        ("action-override:value=0.25", BOX, lambda step: [0.25, 0.25]),
        ("action-override:value=5", DISCRETE, lambda step: 5),
    ],
)
def test_actions_are_replaced(text, space, expected):
    def choose(step):
        return 2 + step % 2 if space is DISCRETE else space.low + np.float32((1 + step) / 100)

    intended, executed, receipt = actions(f"{text},onset=2,duration=3", space, 8, choose)
    for step in range(8):
        np.testing.assert_array_equal(executed[step], expected(step) if 2 <= step < 5 else intended[step])
    assert receipt.has_effect


def test_random_actions_cover_the_space_in_a_share_of_the_steps():
    intended, executed, receipt = actions(
        "action-override:magnitude=0.5,duration=999", DISCRETE, 999, choose=lambda step: 2
    )
    assert set(executed) == {2, 3, 4, 5}
    assert np.mean(executed != intended) == pytest.approx(0.5 * 0.75, abs=0.05)
    assert receipt.value == np.mean(executed != intended)
    _, executed, _ = actions("action-override:duration=999", BOX, 999)
    np.testing.assert_allclose(executed.mean(0), [1, 0.25], atol=0.1)


def test_larger_magnitudes_replace_the_same_steps_and_more():
    replaced = []
    for share in (0.2, 0.4):
        _, executed, _ = actions(f"action-override:magnitude={share},duration=99", BOX, 99, lambda step: BOX.low)
        replaced.append({step for step in range(99) if (executed[step] != BOX.low).any()})
    assert replaced[0] < replaced[1]


def shown(text, space, steps=6):
    env = made(text, Recorder(BOX, space))
    observations, _ = play(env, steps)
    clean, _ = play(Recorder(BOX, space), steps)
    return clean, observations, env.receipts[0]


def test_noise_of_observations_has_their_unit():
    clean, noisy, receipt = shown("observation-noise:magnitude=0.5,onset=2,duration=2", STATE)
    for step, (one, other) in enumerate(zip(clean, noisy, strict=True)):
        expected = 0.5 if 3 <= step < 5 else 0  # the observation after step 2 has index 3
        assert (other - one).std() == pytest.approx(expected, abs=0.05)
    assert receipt.value == pytest.approx(0.5 * np.sqrt(2 / np.pi), rel=0.1)
    assert receipt.unit == "units of the observation"


def test_pictures_stay_pictures():
    _, noisy, receipt = shown("observation-noise:magnitude=50,onset=2,duration=2", PICTURE)
    assert noisy[3].dtype == np.uint8
    assert PICTURE.contains(noisy[3])
    assert noisy[3].min() == 0, "clipped, not wrapped"
    assert noisy[3].max() < 255
    assert receipt.unit == "grey levels"
    assert receipt.value == pytest.approx(np.mean([np.abs(noisy[step].astype(float) - step) for step in (3, 4)]))


def test_a_blackout_shows_zeros_of_the_whole_observation_or_of_one_entry():
    space = gym.spaces.Dict(image=PICTURE, state=STATE, text=gym.spaces.Text(9, charset="a"))
    clean = {"image": np.full((8, 8, 3), 3, np.uint8), "state": np.full(500, 3.0), "text": "a"}
    (blackout,) = parse_perturbation("blackout:")
    seen, change = blackout.perturb_observation(clean, space, np.random.default_rng(0))
    assert not seen["image"].any()
    assert not seen["state"].any()
    assert seen["text"] == "a"
    assert change == 3
    assert (clean["image"] == 3).all(), "the environment's own arrays are not written to"
    for key, other in (("image", "state"), ("state", "image")):
        (blackout,) = parse_perturbation(f"blackout:key={key}")
        seen, _ = blackout.perturb_observation(clean, space, np.random.default_rng(0))
        assert not seen[key].any()
        assert seen[other] is clean[other]
    (dimmed,) = parse_perturbation("blackout:magnitude=0.5,key=image")
    assert (dimmed.perturb_observation(clean, space, np.random.default_rng(0))[0]["image"] == 2).all()


class Growing(gym.Env):
    """Observes one number more in every step than the space says."""

    observation_space, action_space = gym.spaces.Box(-1, 1, (2,)), BOX

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 2
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.count += 1
        return np.zeros(self.count, np.float32), 0.0, False, False, {}


@pytest.mark.parametrize("kind", ["observation-noise:magnitude=1", "observation-shift:magnitude=1", "blackout:"])
def test_an_observation_of_another_shape_than_the_space_says_is_named(kind):
    env = made(kind, Growing())
    env.reset(seed=0)
    message = r"expected the observation to have the shape \(2,\), as the observation space says, got \(3,\); pad it"
    with pytest.raises(PerturbationError, match=message):
        env.step(np.zeros(2))


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        ({"state": np.zeros(500)}, "expected the entry 'image' of the observation, as the observation space says, got"),
        ({"image": np.zeros((4, 8, 3)), "state": np.zeros(500)}, r"the entry 'image' .* shape \(8, 8, 3\).*got \(4, 8"),
        ({"image": "dark", "state": np.zeros(500)}, "expected the entry 'image' .* array of numbers, .* got str"),
        ({"image": np.zeros((8, 8, 3)), "state": [[1], [1, 2]]}, "the entry 'state' .* array of numbers, .* got list"),
        (np.zeros(500), "expected a dict, as the observation space says, got ndarray"),
    ],
)
def test_an_observation_that_is_not_in_its_space_is_named(observation, message):
    (blackout,) = parse_perturbation("blackout:")
    space = gym.spaces.Dict(image=PICTURE, state=STATE)
    with pytest.raises(PerturbationError, match=message):
        blackout.perturb_observation(observation, space, np.random.default_rng(0))


def test_images_of_another_shape_than_those_of_the_twin_are_named():
    (light,) = parse_perturbation("light:magnitude=0.2")
    with pytest.raises(
        PerturbationError, match=r"light: expected images of the same shapes .* got \[\(2, 2, 3\)\] and"
    ):
        light.receipt([np.zeros((2, 2, 3))], [np.zeros((2, 3, 3))], None, 1)


ENVS = {
    "blocks": lambda: gym.wrappers.TimeLimit(Blocks(), 50),
    "pictures": lambda: Blocks(pictures=True),
    "recorder": lambda: Recorder(BOX),
    "discrete": lambda: Recorder(DISCRETE),
    "unbounded": lambda: Recorder(gym.spaces.Box(-np.inf, np.inf, (2,))),
    "words": lambda: Recorder(gym.spaces.Text(4), gym.spaces.Discrete(200)),
    "dict": lambda: Recorder(BOX, gym.spaces.Dict(image=PICTURE, state=STATE)),
    "pusher": lambda: gym.make("Pusher-v5"),
}


@pytest.mark.parametrize(
    ("env", "text", "message"),
    [
        ("blocks", "force:body=bal,magnitude=1", "force: the model has no body 'bal' .* did you mean 'ball'"),
        (
            "blocks",
            "force:body=world,magnitude=1",
            "no body 'world' that can be perturbed; choose from ball, puck, arm",
        ),
        ("blocks", "force:body=wall,magnitude=1", "force: body 'wall' has no joint, so that it cannot move"),
        ("blocks", "force:body=marker,magnitude=1", "force: body 'marker' has no joint"),
        ("blocks", "drag:body=wall,magnitude=1", "drag: body 'wall' has no joint"),
        ("blocks", "move-object:body=hand,magnitude=1", "body 'hand' has no free joint and no slide .* use drag"),
        ("blocks", "joint-position:joints=elbow knee,magnitude=1", "no joint 'knee' .* choose from ball, puck_x"),
        (
            "blocks",
            "joint-velocity:joints=ball,magnitude=1",
            "expected hinges and slides, got 'ball'.* use move-object",
        ),
        ("blocks", "actuator-strength:actuator=pull,magnitude=2", "no actuator 'pull' .* choose from push, turn"),
        ("blocks", "gravity:magnitude=2", "gravity: the model has no gravity"),
        ("blocks", "mass:body=marker,magnitude=2", "body 'marker' has no joint, so that its mass does not matter"),
        (
            "blocks",
            "light:magnitude=2",
            "light: expected an environment that observes images .* wrap it in RayTracedPixels",
        ),
        ("pictures", "light:light=sun,magnitude=2", "the model has no light 'sun' .* choose from lamp"),
        ("pictures", "camera-turn:camera=nose,magnitude=2", "the model has no camera 'nose' .* choose from eye"),
        ("pusher", "wind:magnitude=2", "wind: the model has no medium: its density and its viscosity are 0"),
        (
            "recorder",
            "force:body=ball,magnitude=1",
            "force: it needs an environment that simulates with MuJoCo, got <Recorder",
        ),
        ("discrete", "action-noise:magnitude=1", "action-noise: expected an action space Box, got Discrete"),
        (
            "discrete",
            "action-dropout:magnitude=1",
            "action-dropout: replacement must be 'hold' in the action space Discrete",
        ),
        ("discrete", "action-override:value=9", "value must lie in the action space Discrete.*got 9.0"),
        ("discrete", "action-override:value=2.5", "value must lie in the action space Discrete.*got 2.5"),
        ("recorder", "action-override:value=2", "value must lie in the action space Box"),
        ("words", "action-delay:magnitude=1", "expected an action space Box or Discrete or MultiDiscrete, got Text"),
        ("words", "blackout:", "blackout: expected a Box or Dict observation, got Discrete"),
        ("unbounded", "action-noise:magnitude=1", "expected an action space with bounds.*RescaleAction"),
        ("unbounded", "action-override:", "value must be a number in the unbounded action space"),
        ("recorder", "blackout:key=image", "blackout: key must be left out, because the observation is no Dict"),
        ("dict", "blackout:key=imag", "the observation has no array 'imag'; did you mean 'image'?"),
        (
            "dict",
            "observation-noise:magnitude=1",
            "holds images and other arrays.* pass the key of one of image, state",
        ),
        ("blocks", "blackout:onset=45,duration=6", "it ends with step 51, but the episode with step 50; lower onset"),
        (
            "blocks",
            "force:body=ball,magnitude=1,onset=10-45,idle=5",
            "it ends with step 51, but the episode with step 50",
        ),
        ("pusher", "blackout:onset=100", "it ends with step 101, but the episode with step 100"),
    ],
)
def test_what_does_not_fit_the_environment_is_refused(env, text, message):
    with pytest.raises(PerturbationError, match=message):
        made(text, ENVS[env]())


def test_a_pause_needs_an_action_for_it():
    class DiscreteBlocks(gym.ActionWrapper):
        action_space = gym.spaces.Discrete(2)

        def action(self, action):
            return np.full(2, float(action))

    for text in ("force:body=ball,magnitude=1,idle=1", "force:body=ball,magnitude=1,policy_acts=false"):
        with pytest.raises(PerturbationError, match="null_action must be 'hold' in the action space Discrete"):
            made(text, DiscreteBlocks(Blocks()))
        made(text, DiscreteBlocks(Blocks()), null_action="hold")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"magnitude": 0}, "force: magnitude must be a positive, finite number, got 0"),
        ({"magnitude": -1.0}, "magnitude must be a positive, finite number, got -1.0"),
        ({"magnitude": float("nan")}, "magnitude must be a positive, finite number, got nan"),
        ({"magnitude": float("inf")}, "magnitude must be a positive, finite number, got inf"),
        ({"magnitude": True}, "magnitude must be a positive, finite number, got True"),
        ({"magnitude": "1"}, "magnitude must be a positive, finite number, got '1'"),
        ({"duration": 0}, "force: duration must be an integer of at least 1, got 0"),
        ({"duration": 1.5}, "duration must be an integer of at least 1, got 1.5"),
        ({"onset": -1}, "onset must be an integer of at least 0, got -1"),
        ({"onset": (5, 2)}, r"onset must be a pair \(first, last\) with first ≤ last, got \(5, 2\)"),
        ({"onset": (5, 6, 7)}, "onset must be a step or a pair of steps"),
        ({"onset": (5, None)}, "onset must be an integer of at least 0, got None"),
        ({"idle": -2}, "idle must be an integer of at least 0, got -2"),
        ({"policy_acts": "no"}, "policy_acts must be true or false, got 'no'"),
        ({"direction": "xx"}, "direction must be an axis with a sign such as '\\+x', .* got 'xx'"),
        ({"direction": "up"}, "direction must be an axis"),
        ({"direction": ""}, "direction must be an axis"),
        ({"direction": (0.0, 0.0, 0.0)}, "three numbers that are not all 0"),
        ({"direction": (1.0, float("nan"), 0.0)}, "three numbers that are not all 0"),
        ({"direction": (1.0, 0.0)}, "three numbers that are not all 0"),
    ],
)
def test_wrong_values_are_refused(options, message):
    with pytest.raises(PerturbationError, match=message):
        Force(**{"body": "ball", "magnitude": 1.0} | options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("forse:body=ball,magnitude=1", "unknown perturbation 'forse'; did you mean 'force'?"),
        ("", "unknown perturbation ''"),
        ("force", "force: expected a value of magnitude, such as 'force:…,magnitude=…'"),
        ("force:magnitude=1", "force: expected a value of body"),
        (
            "force:body=ball,magnitude=1,onzet=3",
            "force: unknown key 'onzet'; did you mean 'onset'? Choose from magnitude",
        ),
        ("force:body=ball,magnitude=x", "force: magnitude must be a number, got 'x'"),
        ("force:body=ball,magnitude=1,duration=1.5", "force: duration must be a whole number, got '1.5'"),
        (
            "force:body=ball,magnitude=1,duration=1,2",
            "expected key=value, got '2'; only magnitude takes several values",
        ),
        ("force:ball,magnitude=1", "expected key=value, got 'ball'"),
        ("force:body=ball,magnitude=1,body=hand", "expected one value of body, got a second one in 'body=hand'"),
        ("force:body=ball,magnitude=1,,2", "force: magnitude has no value"),
        ("force:body=,magnitude=1", "force: body has no value"),
        ("force:body=ball,magnitude=1,onset=a-b", "onset must be a step, or two such as 10-50, got 'a-b'"),
        ("force:body=ball,magnitude=1,policy_acts=maybe", "policy_acts must be true or false, got 'maybe'"),
        ("force:body=ball,magnitude=0", "force: magnitude must be a positive, finite number, got 0.0"),
        ("impulse:body=ball,magnitude=1,duration=2", "impulse: duration must be 1, because it happens once, got 2"),
        ("mass:magnitude=1", "mass: magnitude must be a factor other than 1"),
        ("light:magnitude=1", "light: magnitude must be a factor other than 1"),
        ("action-delay:magnitude=1.5", "action-delay: magnitude must be a whole number of steps, got 1.5"),
        ("action-dropout:magnitude=2", "magnitude must be a probability of at most 1, got 2.0"),
        ("action-override:value=many", "value must be 'random' or a finite number, got 'many'"),
        ("blackout:magnitude=1.5", "magnitude must be a share of at most 1, got 1.5"),
        ("colour:body=ball,magnitude=1,colour=2 0 0", "colour must be 'random' or three numbers from 0 to 1"),
        ("joint-position:joints=elbow,magnitude=1,sign=up", r"sign must be 'random', '\+' or '-', got 'up'"),
    ],
)
def test_wrong_texts_are_refused(text, message):
    with pytest.raises(PerturbationError, match=message.replace("?", r"\?")):
        parse_perturbation(text)


def test_what_is_no_text_is_refused():
    with pytest.raises(PerturbationError, match="expected a text, such as 'force:body=torso,magnitude=1', got 3"):
        parse_perturbation(3)


def test_texts_may_have_spaces_and_several_magnitudes():
    found = parse_perturbation(" force : body = ball , magnitude = 1, 2,0.1 , onset = 3 - 9 , direction = 0 0 1 ")
    assert [each.magnitude for each in found] == [1.0, 2.0, 0.1]
    assert {(each.body, each.onset, each.direction) for each in found} == {("ball", (3, 9), (0.0, 0.0, 1.0))}
    assert [str(each) for each in found][2] == "force:magnitude=0.1,onset=3-9,body=ball,direction=0 0 1"


def test_numbers_survive_the_text():
    assert parse_perturbation("action-override:value=0")[0].value == 0.0
    for magnitude in (1 / 3, 1e-12, 123456789.125, np.float64(0.1), np.float32(0.1), 7):
        force = Force(body="ball", magnitude=magnitude)
        assert parse_perturbation(str(force))[0].magnitude == magnitude


def test_directions_are_uniform_on_circle_and_sphere():
    from equiact.envs.perturbations.directions import draw_direction

    rng = np.random.default_rng(0)
    for direction, axes in {"xy": [0, 1], "zx": [0, 2], "xyz": [0, 1, 2], "y": [1]}.items():
        drawn = np.array([draw_direction(direction, rng) for _ in range(4000)])
        np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1)
        np.testing.assert_allclose(drawn.mean(0), 0, atol=0.05)
        expected = np.zeros(3)
        expected[axes] = 1 / len(axes)
        np.testing.assert_allclose((drawn**2).mean(0), expected, atol=0.03)
    np.testing.assert_allclose(draw_direction((0, 3, 4), rng), [0, 0.6, 0.8])


def test_a_perturbation_of_ones_own_is_one_class():
    @register_perturbation("test-reversed-action")
    @dataclass(frozen=True, kw_only=True)
    class ReversedAction(ActionPerturbation):
        """Reverse a share of the action."""

        def perturb_action(self, action, history, generator):
            return (1 - 2 * self.magnitude) * action

    @register_perturbation("test-stirred")
    @dataclass(frozen=True, kw_only=True)
    class Stirred(MujocoPerturbation):
        """Add to all velocities."""

        def apply(self, scene, drawn, writes):
            scene.data.qvel[:] += self.magnitude

        def measure(self, scene, observation):
            return scene.data.qvel.copy()

        def receipt(self, perturbed, twin, scene, steps):
            from equiact.envs.perturbations.receipt import Receipt

            return Receipt("velocities", float(np.abs(perturbed - twin).max()), "m/s", 1e-6, steps)

    env = made("test-reversed-action:magnitude=1", Recorder(gym.spaces.Box(-1.0, 1.0, (2,))))
    play(env, 3, np.ones(2, np.float32))
    np.testing.assert_array_equal(env.unwrapped.actions, [[-1, -1], [1, 1], [1, 1]])
    assert env.receipts[0].value == pytest.approx(2 * np.sqrt(2))
    env = made("test-stirred:magnitude=0.5,onset=1", Blocks())
    play(env, 3, np.zeros(2))
    assert env.receipts[0].value == pytest.approx(0.5, rel=0.1)


FOREIGN = {
    "gym_pusht/PushT-v0": (
        "gym_pusht",
        {"obs_type": "pixels"},
        ["blackout:duration=3", "observation-noise:magnitude=20"],
    ),
    "MiniGrid-Empty-5x5-v0": ("minigrid", {}, ["action-override:duration=9", "blackout:key=image,duration=3"]),
    "parking-v0": (
        "highway_env",
        {},
        ["action-noise:magnitude=0.3,duration=3", "observation-shift:magnitude=1,key=observation"],
    ),
    "CartPole-v1": (
        None,
        {},
        ["action-dropout:magnitude=0.9,replacement=hold,duration=9", "observation-noise:magnitude=1"],
    ),
    "dm_control/reacher-easy-v0": ("shimmy", {}, ["action-delay:magnitude=2,duration=3", "blackout:key=velocity"]),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_actions_and_observations_of_any_environment(name):
    package, options, texts = FOREIGN[name]
    if package is not None:
        gym.register_envs(pytest.importorskip(package))
    env = PerturbedEnv(
        gym.make(name, **options), [each for text in texts for each in parse_perturbation(text + ",onset=2")]
    )
    observations, _ = play(env, 12)
    assert all(receipt is not None and receipt.has_effect for receipt in env.receipts), env.receipts
    assert all(env.observation_space.contains(each) for each in observations)
