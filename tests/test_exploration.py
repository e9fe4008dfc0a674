"""Self-directed exploration: rounds, the policy that approaches the object, and resuming."""

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from equiact.agents.exploration import learned_exploration
from equiact.agents.exploration.approach_policy import ActionPool, ApproachPolicy, DisplacementModel, flatten_actions
from equiact.agents.exploration.learned_exploration import Exploration, ExplorationConfig, explore
from equiact.envs.data.collect import collect
from equiact.envs.data.minari_dataset import load_transitions
from equiact.envs.data.seeds import stream_seed
from equiact.envs.data.transitions import Transitions, equal
from equiact.envs.storage.artifacts import ArtifactError
from equiact.representations.encoders.agent_object import AgentObjectConfig, AgentObjectEncoder
from equiact.representations.encoders.agent_objects import AgentObjectsConfig
from equiact.representations.learning.config import ConfigError, scale_steps
from equiact.scripts.cli import main
from equiact.scripts.environment_collection import CollectionEnv

PIXELS = 32
STEP = 0.1
NEAR = 0.12


class Pushing(gym.Env[Any, Any]):
    """A red agent in the unit square that pushes a green object away when it comes near; without a state to observe."""

    observation_space = gym.spaces.Box(0, 1, (1,))
    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012 (as in Gymnasium)
    render_mode = "rgb_array"
    group = "R2"

    def __init__(self, actions: str) -> None:
        self.action_space: gym.Space[Any] = {
            "relative": gym.spaces.Box(-STEP, STEP, (3,)),
            "absolute": gym.spaces.Box(0.0, 1.0, (2,)),
            "discrete": gym.spaces.Discrete(5),
        }[actions]
        self.actions, self.steps = actions, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.agent, self.object, self.time = *self.np_random.uniform(0.1, 0.9, (2, 2)), 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self.steps, self.time = self.steps + 1, self.time + 1
        before, old = self.agent, self.object
        self.agent = np.clip(before + self.wanted(action), 0, 1)
        apart = self.object - self.agent
        if np.linalg.norm(apart) < NEAR:
            away = apart / (np.linalg.norm(apart) + 1e-9)
            self.object = np.clip(self.agent + 1.5 * NEAR * away, 0.05, 0.95)
        touched = bool((self.object != old).any())
        info = {"displacement": self.agent - before, "touched": touched}
        return np.zeros(1, np.float32), 0.0, False, self.time >= 50, info

    def wanted(self, action: Any) -> Any:
        if self.actions == "discrete":
            return STEP * np.array([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)])[action]
        if self.actions == "absolute":
            return np.clip(action - self.agent, -STEP, STEP)
        return action[:2]

    def render(self) -> Any:
        """Draw both as spots whose centre can be read to a hundredth of the side."""
        rows, columns = np.mgrid[:PIXELS, :PIXELS] / (PIXELS - 1)
        image = np.zeros((PIXELS, PIXELS, 3))
        for channel, (x, y) in ((0, self.agent), (1, self.object)):
            image[..., channel] = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 0.005)
        return (255 * image).astype(np.uint8)


class Reader(AgentObjectEncoder):
    """Reads both positions from the image."""

    def __init__(self) -> None:
        super().__init__((PIXELS, PIXELS, 3), "R2")
        self.unit.fill_(0.1)  # the two below are in this unit
        self.contact_threshold.fill_(0.2)
        with torch.no_grad():
            self.outline.coefficients.fill_(float(np.log(NEAR / 0.1)))

    def encode(self, observations: Any) -> Any:
        rows, columns = np.mgrid[:PIXELS, :PIXELS] / (PIXELS - 1)

        def centre(channel: int) -> Any:
            weight = observations[..., channel].astype(float)
            total = weight.sum((1, 2))
            return np.stack([(weight * axis).sum((1, 2)) / total for axis in (columns, rows)], 1)

        return {"agent": centre(0), "object": centre(1)}


@pytest.fixture
def reads_images(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let an encoder that reads both positions take the place of one that is trained; return the sizes of its data."""
    sizes: list[int] = []

    def train(parts: list[Transitions], *given: Any) -> Reader:
        sizes.append(sum(map(len, parts)))
        return Reader()

    monkeypatch.setattr(learned_exploration, "_train", train)
    return sizes


def touched_by_round(found: Exploration) -> list[float]:
    ends = np.cumsum([each.transitions for each in found.rounds])[:-1]
    touched = found.transitions.touched
    assert touched is not None
    return [float(part.mean()) for part in np.split(touched, ends)]


@pytest.mark.parametrize("actions", ["relative", "absolute", "discrete"])
@pytest.mark.parametrize("count", [1, 3])
def test_the_agent_goes_to_the_object_that_was_learned(actions: str, count: int, reads_images: list[int]) -> None:
    """It does so with any kind of action, in one environment and in several, and with images that are drawn."""
    env: Any = Pushing(actions) if count == 1 else gym.vector.SyncVectorEnv([lambda: Pushing(actions)] * count)
    found = explore(env, 1000, seed=0)
    touched = touched_by_round(found)
    assert [each.approached for each in found.rounds] == [False] + [True] * (len(touched) - 1)
    assert min(touched[1:]) > 2 * touched[0], "contacts at least double"
    for share, true in zip([each.contact_share for each in found.rounds], touched, strict=True):
        assert share == pytest.approx(true, abs=0.05)
    assert len(found.transitions) == 1000
    assert found.transitions.action is None, "that name is for demonstrations"
    assert found.doubt is None


def test_an_object_that_was_not_found_is_said(
    reads_images: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The encoder takes a place that nothing is at for the object."""
    encode = Reader.encode

    def elsewhere(self: Reader, observations: Any) -> Any:
        noise = np.random.default_rng(0).normal(0.5, 0.001, (len(observations), 2))
        return encode(self, observations) | {"object": noise}

    monkeypatch.setattr(Reader, "encode", elsewhere)
    options = ["--env", f"{__name__}:make_pushing", "--transitions", "1000", "--explore", "learned", "--json"]
    assert main(["collect", *options, "--output-dir", str(tmp_path / "data")]) == 0
    captured = capsys.readouterr()
    (warning,) = json.loads(captured.out)["warnings"]
    assert warning.startswith("No object was found") and warning[:19] in captured.err


def test_actions_stay_random_while_no_object_was_found(
    reads_images: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an encoder of few contacts sees the object, there is mostly nothing."""
    against, found_one = ({"object_evidence": share, "object_evidence_p": 1e-9} for share in (0.1, 0.9))
    evidence = iter([against, found_one, found_one])
    monkeypatch.setattr(learned_exploration, "_evidence", lambda encoder, parts: next(evidence))
    found = explore(Pushing("relative"), 1000, seed=0)
    assert [each.approached for each in found.rounds] == [False, False, True]
    assert reads_images == [300, 650], "another encoder is trained, however many contacts the last one sees"
    random, still_random, near = touched_by_round(found)
    assert near > 2 * max(random, still_random) and found.doubt is None


def test_another_encoder_is_trained_while_no_object_was_found(
    reads_images: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many contacts an encoder sees that found none."""
    monkeypatch.setattr(learned_exploration, "_still_gains", lambda shares, least: False)
    against = {"object_evidence": 0.1, "object_evidence_p": 1e-9}
    monkeypatch.setattr(learned_exploration, "_evidence", lambda encoder, parts: against)
    explore(Pushing("relative"), 1000, seed=0, config=ExplorationConfig(round_share=0.2))
    assert reads_images == [300, 500, 700, 900]


def test_rounds_end_when_the_contacts_do_not_rise(reads_images: list[int]) -> None:
    """The reader is perfect from the start: two rounds show that, and the rest is collected at once."""
    found = explore(Pushing("relative"), 1000, seed=0, config=ExplorationConfig(round_share=0.1, least_gain=0.2))
    assert reads_images == [300, 400, 500]
    assert [each.transitions for each in found.rounds] == [300, 100, 100, 500]


@pytest.mark.parametrize(
    ("shares", "goes_on"),
    [
        ([0.03], True),
        ([0.03, 0.3], True),
        ([0.03, 0.3, 0.32], False),
        ([0.03, 0.3, 0.36], True),
        ([0.03, 0.04, 0.05], True),
    ],
)
def test_encoders_are_trained_again_as_long_as_contacts_become_more(shares: list[float], goes_on: bool) -> None:
    assert learned_exploration._still_gains(shares, 0.05) is goes_on


def test_one_round_needs_no_encoder(reads_images: list[int]) -> None:
    found = explore(Pushing("relative"), 20, seed=0, config=ExplorationConfig(first_share=1.0))
    assert reads_images == []
    assert [(each.transitions, each.contact_share) for each in found.rounds] == [(20, None)]


def test_the_first_round_is_what_random_actions_collect(reads_images: list[int]) -> None:
    env = gym.vector.SyncVectorEnv([lambda: Pushing("relative")] * 2)
    found = explore(env, 300, seed=3)
    again = explore(env, 300, seed=3)
    assert equal(found.transitions, again.transitions)
    assert not equal(found.transitions, explore(env, 300, seed=4).transitions)


def test_every_round_has_its_own_episodes_and_the_actions_of_its_transitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven environments make one transition more than the first round needs."""
    rounds: list[Transitions] = []

    def train(parts: list[Transitions], *given: Any) -> Reader:
        rounds[:] = parts
        return Reader()

    monkeypatch.setattr(learned_exploration, "_train", train)
    explore(gym.vector.SyncVectorEnv([lambda: Pushing("relative")] * 7), 1000, seed=0)
    first, second = rounds
    assert not (first.observations[:7] == second.observations[:7]).all((1, 2, 3)).any()
    for part in rounds:
        assert part.action is not None
        performed = np.isclose(part.action[:, :2], part.displacement, atol=1e-6).all(1)
        assert performed.mean() > 0.7, "all but those that the border stops"


def test_an_interrupted_exploration_goes_on_with_the_same_result(tmp_path: Path, reads_images: list[int]) -> None:
    folder = tmp_path / "rounds"

    def stop_in_third_round(done: int) -> None:
        if done > 660:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        explore(Pushing("relative"), 1000, seed=0, work_dir=folder, progress=stop_in_third_round)
    env = Pushing("relative")
    resumed = explore(env, np.int64(1000), seed=np.int64(0), work_dir=folder)  # type: ignore[arg-type]
    assert env.steps < 400, "the first two rounds are not collected again"
    assert not folder.exists(), "finished rounds are removed"
    whole = explore(Pushing("relative"), 1000, seed=0)
    assert equal(resumed.transitions, whole.transitions)
    assert resumed.rounds == whole.rounds


def test_rounds_of_another_exploration_are_refused(tmp_path: Path, reads_images: list[int]) -> None:
    def stop(done: int) -> None:
        if done > 310:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        explore(Pushing("relative"), 1000, seed=0, work_dir=tmp_path / "rounds", progress=stop)
    with pytest.raises(ArtifactError, match=r"rounds of this exploration.*choose another work_dir"):
        explore(Pushing("relative"), 1000, seed=1, work_dir=tmp_path / "rounds")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(ArtifactError, match="something else"):
        explore(Pushing("relative"), 1000, seed=0, work_dir=tmp_path / "other")
    assert (tmp_path / "other" / "notes.txt").read_text() == "mine"


def test_groups_that_are_not_translations_are_refused_before_a_step() -> None:
    env = Pushing("relative")
    with pytest.raises(ValueError, match=r"translations.*'SE2'"):
        explore(env, 100, seed=0, group="SE2")
    assert env.steps == 0


def test_too_few_transitions_to_train_on_are_refused_before_a_step() -> None:
    env = Pushing("relative")
    with pytest.raises(ValueError, match=r"at least 212 transitions.*got 211.*collect at random"):
        explore(env, 211, seed=0)
    assert env.steps == 0


def test_encoders_between_the_rounds_keep_their_contrastive_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    """All other stages are shortened, and every encoder has a seed of its own."""
    calls: list[tuple[Any, int]] = []

    def train(transitions: Transitions, config: AgentObjectConfig, *, seed: int, **given: Any) -> Reader:
        calls.append((config.optim, seed))
        return Reader()

    monkeypatch.setattr(learned_exploration, "train_encoder", train)
    explore(Pushing("relative"), 1000, seed=0, config=ExplorationConfig(steps_scale=0.25))
    whole = AgentObjectConfig().optim
    assert {seed for _, seed in calls} == {stream_seed(0, "encoder 1"), stream_seed(0, "encoder 2")}
    for optim, _ in calls:
        assert optim.contrast_steps == whole.contrast_steps
        assert (optim.agent_steps, optim.contact_steps) == (whole.agent_steps // 4, whole.contact_steps // 4)


def test_targets_lie_in_a_box_of_some_radii_around_the_object() -> None:
    """With the agent far away in the corner, where every action ends is known, and the target is the nearest to it."""
    env = Pushing("absolute")
    env.reset(seed=0)
    env.agent, env.object = np.array([0.5, 0.5]), np.array([0.5, 0.5])
    frames = np.repeat(env.render()[None], 4000, 0)
    generator = np.random.default_rng(0)
    pool = ActionPool(env, 2000, generator)
    teleport = DisplacementModel.fit(pool.flat, pool.flat[::-1], pool.flat - pool.flat[::-1])
    policy = ApproachPolicy(Reader(), teleport, pool, share=1.0, spread=0.2, generator=generator)
    actions = np.array(policy.predict(frames)[0])
    offset = actions - 0.5
    assert np.abs(offset).max() < 0.25
    np.testing.assert_allclose(offset.std(0), 0.2 / np.sqrt(3), rtol=0.1)
    seldom = ApproachPolicy(Reader(), teleport, pool, share=0.2, spread=0.0, generator=generator)
    near = np.linalg.norm(np.array(seldom.predict(frames)[0]) - 0.5, axis=1) < 0.05
    assert near.mean() == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("count", [1, 2])
def test_an_environment_of_another_package_is_explored(count: int) -> None:
    """gym-pusht: its actions are targets, in pixels of its own."""
    pytest.importorskip("gym_pusht")
    options = CollectionEnv(
        env="gym_pusht:gym_pusht/PushT-v0",
        env_options=("obs_type=pixels",),
        displacement="difference:info.pos_agent",
        group="R2",
        num_envs=count,
    )
    env, group = options.make()
    config = ExplorationConfig(encoder=scale_steps(AgentObjectConfig(), 0.002))
    found = explore(env, 250, seed=0, displacement=options.reads, group=group, config=config, device="cpu")
    assert (len(found.transitions), len(found.rounds), found.transitions.group) == (250, 3, "R2")
    env.close()


def test_displacements_of_a_model_follow_actions_and_places() -> None:
    """A pull towards the middle and an effect of the action that grows to the right: 1, a, z and a·z."""
    generator = np.random.default_rng(0)
    actions, places = generator.normal(size=(2, 400, 2))
    moved = 0.1 + 0.5 * actions - 0.2 * places + 0.3 * actions * places[:, :1]
    model = DisplacementModel.fit(actions + 0, places, moved)
    found = model.predict(np.array([[1.0, -1.0]]), np.array([[2.0, 0.0]]))
    np.testing.assert_allclose(found, [[0.1 + 0.5 - 0.4 + 0.6, 0.1 - 0.5 - 0.6]], atol=1e-8)


def test_actions_are_taken_in_the_form_that_the_environment_expects() -> None:
    generator = np.random.default_rng(0)
    boxes = gym.vector.SyncVectorEnv([lambda: Pushing("relative")] * 3)
    pool = ActionPool(boxes, 10, generator)
    taken = pool.take(np.array([4, 4, 7]))
    np.testing.assert_allclose(taken, pool.flat[[4, 4, 7]])
    assert boxes.action_space.contains(taken)
    discrete = gym.vector.SyncVectorEnv([lambda: Pushing("discrete")] * 2)
    pool = ActionPool(discrete, 40, generator)
    taken = pool.take(np.array([3, 9]))
    assert taken.tolist() == pool.flat[[3, 9]].argmax(1).tolist()
    assert flatten_actions(gym.spaces.MultiDiscrete([2, 3]), [np.array([1, 0])]).tolist() == [[0, 1, 1, 0, 0]]


@pytest.mark.parametrize(
    "given",
    [
        {"first_share": 0.0},
        {"round_share": 1.5},
        {"approach": -0.1},
        {"spread": -1.0},
        {"pool": 1},
        {"steps_scale": 0.0},
    ],
)
def test_values_out_of_range_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"must be .*, got"):
        ExplorationConfig(**given)


def make_pushing() -> Pushing:
    """Return an environment, for the command line."""
    return Pushing("relative")


def test_the_command_collects_with_learned_exploration(
    tmp_path: Path, reads_images: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--env", f"{__name__}:make_pushing", "--transitions", "600", "--num-envs", "2", "--seed", "3"]
    folder = tmp_path / "data"
    assert main(["collect", *options, "--explore", "learned", "--output-dir", str(folder), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["transitions"], result["group"], len(result["contacts_by_round"])) == (600, "R2", 3)
    envs = gym.vector.SyncVectorEnv([make_pushing] * 2)
    found = explore(envs, 600, seed=3)
    assert equal(load_transitions(folder), found.transitions)
    assert result["contacts_by_round"] == [each.contact_share for each in found.rounds]
    assert [path.name for path in tmp_path.iterdir()] == ["data"], "finished rounds are removed"


def test_the_exploration_is_set_by_options_and_by_a_file(
    tmp_path: Path, reads_images: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, file = tmp_path / "data", tmp_path / "explore.yaml"
    file.write_text("explore: learned\ntransitions: 600\napproach: 0.0\nround_share: 0.2\n")
    options = ["--env", f"{__name__}:make_pushing", "--num-envs", "2", "--seed", "3", "--config", str(file)]
    arguments = ["collect", *options, "--round-share", "0.7", "--output-dir", str(folder), "--json"]
    assert main(arguments) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["transitions"] == 600 and len(result["contacts_by_round"]) == 2, "0.3 at random, and all of the rest"
    config = ExplorationConfig(approach=0.0, round_share=0.7)
    found = explore(gym.vector.SyncVectorEnv([make_pushing] * 2), 600, seed=3, config=config)
    assert equal(load_transitions(folder), found.transitions)
    file.write_text("approach: 0.0\n")
    assert main([*arguments, "--explore", "random"]) == 1
    assert "expected --explore learned, since hyper-parameters of it are given" in capsys.readouterr().err
    file.write_text("aproach: 0.0\n")
    assert main(arguments) == 1
    assert "unknown key 'aproach'; did you mean 'approach'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--world", "Arrows", "--explore", "learned"],
            "expected a world with an object for --explore learned, got Arrows",
        ),
        (
            ["--env", "Pusher-v5", "--explore", "random", "--policy", "p.zip"],
            "expected --explore or --policy, got both",
        ),
    ],
)
def test_options_that_exclude_each_other_are_refused(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["collect", *options, "--output-dir", str(tmp_path / "data")]) == 1
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_contacts_become_ten_times_as_frequent_in_soccer() -> None:
    worlds = gym.make_vec("equiact/Soccer-v0", num_envs=32, device="cpu")
    random = collect(worlds, 2000, seed=1).touched
    assert random is not None
    encoder = scale_steps(AgentObjectConfig(), 0.75)
    touched = touched_by_round(explore(worlds, 12_000, seed=0, config=ExplorationConfig(encoder=encoder)))
    assert touched[0] == pytest.approx(random.mean(), abs=0.02)
    assert touched[-1] > 8 * touched[0]


def test_an_encoder_of_several_objects_is_refused_before_anything_is_collected() -> None:
    with pytest.raises(ConfigError, match="must be an AgentObjectConfig, got AgentObjectsConfig"):
        ExplorationConfig(encoder=AgentObjectsConfig())
