"""Class and pose at work: maps, plans, the benchmark and the command; encoders that know, or have hardly learned."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor

from agents.mapping import Map, localise
from agents.planning import perform, plan
from envs import world_class
from envs.collect import collect
from envs.dataset import save_transitions
from envs.groups import group_from_name
from envs.transitions import Transitions
from representations.acted import Latents, PairLearner
from representations.class_pose import ClassPoseEncoder
from representations.encoder import to_images
from representations.looking import LookingLearner
from representations.stabilizers import StabilizerEncoder
from representations.training import fit
from scripts.benchmark import Benchmark
from scripts.cli import main
from scripts.methods import METHODS, elements, suits
from scripts.runs import read_json, write_json
from scripts.symmetry import QUICK, WORLDS, Cell, Experience, Size, measure
from scripts.symmetry_pictures import most_different
from scripts.tables import compared

TINY = Size(transitions=200, held_out=2000, backbone="strided", updates=3)


class Knowing(StabilizerEncoder):
    """Reads class and true coset off the first pixels of an image."""

    def __init__(self, group: str, stabilizers: list[Any], elements: int) -> None:
        super().__init__((16, 16, 3), group, "strided", elements)
        self.cosets = [torch.from_numpy(np.resize(each, (elements, each.shape[1]))).float() for each in stabilizers]

    def latents(self, images: Tensor) -> Latents:
        numbers = images.flatten(1)
        orbit = (255 * numbers[:, 0]).round().long()
        pose = self.acting.project(2 * numbers[:, 1 : 1 + self.acting.dim] - 1)
        cosets = torch.stack([self.cosets[one] for one in orbit])
        return {"class": torch.eye(self.class_dim)[orbit], "poses": self.acting.compose(pose[:, None], cosets)}


def written(orbit: Any, pose: Any) -> Any:
    """Images in which class and pose are written; poses are what is then read, but for rounding."""
    images = np.zeros((len(orbit), 768), np.uint8)
    images[:, 0] = orbit
    images[:, 1 : 1 + pose.shape[1]] = np.round(255 * (pose + 1) / 2)
    return np.ascontiguousarray(images.reshape(-1, 3, 16, 16).transpose(0, 2, 3, 1))


def test_a_plan_is_the_shortest_turn_into_the_goal() -> None:
    turns, generator = group_from_name("SO2"), np.random.default_rng(0)
    kind = world_class("Arrows")
    encoder = Knowing("SO2", [kind.stabilizer(orbit) for orbit in range(5)], 60)  # type: ignore[attr-defined]
    orbit = generator.integers(5, size=40)
    start, end = turns.random(generator, 40), turns.random(generator, 40)
    made = plan(encoder, written(orbit, start), written(orbit, end))
    assert made.action.shape == (40, 2)
    np.testing.assert_allclose(made.likeness, 1, atol=1e-5)
    reached = turns.compose(made.action, start)
    period = 2 * np.pi / (orbit + 1)
    left = turns.log(turns.compose(turns.inverse(end), reached))[:, 0]
    off = np.abs((left + period / 2) % period - period / 2)
    assert off.max() < 0.03, "any of the equivalent turns counts"
    assert (made.length <= period / 2 + 0.03).all()
    with pytest.raises(ValueError, match="as many goals as views were expected, got 2 and 1"):
        plan(encoder, written(orbit[:1], start[:1]), written(orbit[:2], end[:2]))
    apart = plan(encoder, written(np.zeros(1), start[:1]), written(np.ones(1), end[:1]))
    assert apart.likeness[0] < 0.5


def test_a_map_knows_places_apart_and_finds_its_way() -> None:
    class Robot(ClassPoseEncoder):
        def latents(self, images: Tensor) -> Latents:
            numbers = images.flatten(1)
            where = 2 * numbers[:, 1:5] - 1
            pose = self.acting.project(where)
            return {"class": torch.eye(8)[(255 * numbers[:, 0]).round().long()], "pose": self.acting.inverse(pose)}

    generator = np.random.default_rng(0)
    encoder = Robot((16, 16, 3), "SE2", "strided")
    flat = generator.integers(2, size=100)
    turn = group_from_name("SO2").random(generator, 100)
    place = np.concatenate([generator.uniform(-0.9, 0.9, (100, 2)), turn], 1)
    frames = written(flat, place)
    made = Map(encoder, frames[:60], places=2)
    np.testing.assert_allclose(made.seen.position, place[:60, :2], atol=0.01)
    found = made.locate(frames[60:])
    np.testing.assert_allclose(found.position, place[60:, :2], atol=0.01)
    np.testing.assert_allclose(found.heading, place[60:, 2:], atol=0.02)
    assert np.mean(found.place == flat[60:]) in (0.0, 1.0), "the numbers of places are free, which is which is not"
    with pytest.raises(ValueError, match="an encoder for SE2 was expected, got SO2"):
        Map(ClassPoseEncoder((16, 16, 3), "SO2", "strided"), frames, 2)
    with pytest.raises(ValueError, match="3 places need at least as many frames, got 2"):
        Map(encoder, frames[:2], 3)


def test_the_set_is_larger_than_every_stabilizer() -> None:
    for name in WORLDS["stabilizers"]:
        kind: Any = world_class(name)
        assert elements(kind) > max(len(kind.stabilizer(orbit)) for orbit in range(len(kind.orbits)))
        assert not kind.free()
    assert all(world_class(name).free() for name in WORLDS["class-pose"])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("world", "method"),
    [("Sprites", method) for method in METHODS["class-pose"] if method != "harmonics"]
    + [("Models", method) for method in METHODS["stabilizers"]]
    + [("Chairs", "harmonics"), ("Chairs", "set of poses")],
)
def test_every_method_is_trained_measured_and_kept(world: str, method: str, tmp_path: Path) -> None:
    cell = Cell(world, method, 0, TINY, "cpu", tmp_path)
    cell.run(lambda *args, **options: None)
    row = read_json(cell.makes)
    assert {"hit_rate_1", "hit_rate_10", "hit_rate_20"} <= row["figures"].keys()
    assert all(0 <= row["figures"][f"hit_rate_{steps}"] <= 1 for steps in (1, 10, 20))
    assert ("order_right_objects" in row["figures"]) == (method in ("set of poses", "harmonics"))
    posed = method in ("class and pose", "one pose", "set of poses", "harmonics")
    assert ("pose_error" in row["figures"]) == posed
    assert ("plan_error_median_degrees" in row["figures"]) == (posed and world != "Sprites")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")
@pytest.mark.parametrize("method", ["one pose", *METHODS["stabilizers"], "MDP homomorphism", "linear", "autoencoder"])
def test_every_method_runs_on_a_gpu(method: str, tmp_path: Path) -> None:
    cell = Cell("Models", method, 0, TINY, "cuda", tmp_path)
    cell.run(lambda *args, **options: None)
    assert 0 <= read_json(cell.makes)["figures"]["hit_rate_20"] <= 1


def test_a_cell_stopped_while_it_measures_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell("Models", "harmonics", 0, TINY, "cpu", tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("scripts.symmetry.measure", interrupt)
        with pytest.raises(KeyboardInterrupt):
            cell.run(lambda *args, **options: None)
    assert not cell.makes.exists()
    seen = []
    cell.run(lambda done, total, unit="", note="": seen.append((done, total, unit)))
    assert {unit for *_, unit in seen} == {"measures"} and seen[-1] == (4, 4, "measures")
    assert read_json(cell.makes)["commit"] == read_json(cell.kept / "training.json")["commit"]
    write_json(cell.kept / "training.json", {"commit": "an older one"})
    cell.run(lambda *args, **options: None)
    assert read_json(cell.makes)["commit"].startswith("an older one (measured at ")


def interrupt(*arguments: Any) -> None:
    raise KeyboardInterrupt


def test_data_of_another_group_are_not_measured_on(tmp_path: Path) -> None:
    other = Experience("Arrows", 40, 0, "cpu", tmp_path).load(lambda *args, **options: None)
    with pytest.raises(ValueError, match="the encoder is for the group SO3, the transitions have SO2"):
        measure(ClassPoseEncoder((64, 64, 3), "SO3", "strided"), world_class("Chairs"), other)  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_set_finds_every_order_and_one_pose_does_not_follow(tmp_path: Path) -> None:
    """Stars of one to five arrows, at the benchmark's quick size: the order of each, and what the set is ahead of."""
    figures = {}
    for method in ("set of poses", "one pose"):
        cell = Cell("Arrows", method, 1, QUICK, "cpu", tmp_path)
        cell.run(lambda *args, **options: None)
        figures[method] = read_json(cell.makes)["figures"]
    many, one = figures["set of poses"], figures["one pose"]
    assert many["order_right_objects"] == 1.0 and many["order_right_images"] > 0.95
    assert many["set_size"] == 5 and many["set_size_sure"] > 0.9
    assert many["hit_rate_20"] > max(0.7, one["hit_rate_20"] + 0.2)


@pytest.mark.slow
def test_harmonics_find_the_rotations_of_solids(tmp_path: Path) -> None:
    """12 of the tetrahedron, 24 of the cube and 60 of the icosahedron, at the benchmark's quick size."""
    cell = Cell("Solids", "harmonics", 1, QUICK, "cpu", tmp_path)
    cell.run(lambda *args, **options: None)
    figures = read_json(cell.makes)["figures"]
    assert figures["order_right_objects"] == 1.0 and figures["order_right_images"] > 0.97
    assert figures["set_size"] == 60 and figures["set_size_sure"] > 0.9
    assert figures["hit_rate_20"] > 0.97 and figures["pose_error"] < 0.2


def test_the_benchmark_writes_what_the_table_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.symmetry.QUICK", TINY)
    done = []

    def run_jobs(jobs: list[Any]) -> None:
        for job in jobs:
            job.run(lambda *arguments, **options: None)
            done.append(type(job).__name__)

    monkeypatch.setattr("scripts.symmetry.run_jobs", run_jobs)
    bench = Benchmark(
        what="stabilizers", world="Arrows", quick=True, device="cpu", results=tmp_path, work=tmp_path / "work"
    )
    figures = bench.run()
    assert done == ["Experience"] * 2 + ["Cell"] * 4, "what they learn from and what they are measured on, once for all"
    kept = {path.stem for path in (tmp_path / "work" / "stabilizers" / TINY.name).iterdir()}
    assert kept == {f"Arrows-{method.replace(' ', '_')}-100" for method in METHODS["stabilizers"]}, "and not the data"
    assert bench.run() == figures and len(done) == 6, "what is there is not made again"
    result = read_json(tmp_path / "stabilizers_arrows.json")
    assert figures["Arrows, set of poses: hit_rate_1"] == result["figures"]["Arrows, set of poses: hit_rate_1"]["mean"]
    rows = compared(result["figures"], ["hit_rate_1", "hit_rate_20", "order_right_objects"])
    assert [row.split(" | ")[0] for row in rows[2:]] == [f"| Arrows, {each}" for each in METHODS["stabilizers"]]
    with pytest.raises(ValueError, match="class-pose has no world 'Arrows'; choose from"):
        Benchmark(what="class-pose", world="Arrows", quick=True, results=tmp_path, work=tmp_path).run()


def test_seeds_are_added_to_those_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.symmetry.QUICK", TINY)
    monkeypatch.setitem(METHODS, "stabilizers", ("one pose",))
    for seed in (100, 101, 102):
        cell = Cell("Arrows", "one pose", seed, TINY, "cpu", tmp_path / "work" / "stabilizers" / TINY.name)
        write_json(cell.makes, {"commit": f"c{seed}", "figures": {"hit_rate_1": seed / 1000}})
    path = tmp_path / "stabilizers_arrows.json"
    bench = Benchmark(
        what="stabilizers", world="Arrows", quick=True, results=tmp_path, work=tmp_path / "work", add=True
    )
    monkeypatch.setattr("sys.argv", ["equiact", "first"])
    replace(bench, seed=1).run()
    write_json(path, {**read_json(path), "machine": {"processor": "another", "cores": 2}})
    monkeypatch.setattr("sys.argv", ["equiact", "second"])
    replace(bench, seeds=2).run()
    result = read_json(path)
    assert result["seeds"] == [100, 101] and result["commit"] == "c100, c101", "one of them anew"
    assert result["figures"]["Arrows, one pose: hit_rate_1"]["seeds"] == [0.1, 0.101]
    assert result["command"] == "equiact first, equiact second"
    assert result["machine"]["processor"].startswith("another, ")
    write_json(path, {key: value for key, value in result.items() if key != "size"})
    with pytest.raises(ValueError, match="has seeds of the size unknown, to which none of strided-200-2000-3 can be"):
        replace(bench, seed=2).run()
    replace(bench, seed=2, add=False).run()
    assert read_json(path)["seeds"] == [102]
    with pytest.raises(ValueError, match="seeds are added to the results of class-pose and stabilizers alone"):
        replace(bench, what="encoder", world=None).run()


def test_methods_are_for_the_groups_that_their_encoders_take() -> None:
    assert [suits("harmonics", name) for name in ("SO2xSO3", "SE2", "SO3xSO3")] == [True, False, False]
    assert [suits("neural renderer", name) for name in ("R1", "SO3", "R6")] == [True, True, False]
    assert all(suits(method, "SE2") for method in ("class and pose", "set of poses", "linear", "MDP homomorphism"))


def test_what_is_symmetric_under_a_group_without_harmonics_gets_a_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(PairLearner, "updates", 5)
    monkeypatch.setattr(LookingLearner, "updates", 3)
    kind: Any = world_class("Apartments")
    monkeypatch.setattr(kind, "stabilizer", classmethod(lambda cls, orbit: np.tile(cls.group.identity(), (2, 1))))
    arguments = ["train", "--world", "Apartments", "--transitions", "300", "--out", str(tmp_path / "encoder")]
    assert main([*arguments, "--device", "cpu"]) == 0
    assert read_json(tmp_path / "encoder" / "card.json")["class"] == "StabilizerEncoder"


def test_classes_with_other_symmetries_are_shown_first() -> None:
    arrows: Any = world_class("ColouredArrows")
    assert sorted(len(arrows.stabilizer(one)) for one in most_different(arrows)) == [1, 2, 3, 4, 5]
    assert most_different(world_class("Sprites")) == [0, 1, 2]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("world", "kind", "picture"),
    [
        ("Apartments", "class-pose", "map.png"),
        ("Apartments", "stabilizers", "map.png"),
        ("Solids", "harmonics", "plans.png"),
        ("DoubleArrows", "harmonics", "orbits.png"),
    ],
)
def test_train_draws_what_it_is_good_for(
    world: str,
    kind: str,
    picture: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(PairLearner, "updates", 3)
    monkeypatch.setattr(LookingLearner, "updates", 3)
    monkeypatch.setattr("scripts.methods.elements", lambda kind: 4)
    arguments = [
        "train",
        "--world",
        world,
        "--encoder",
        kind,
        "--transitions",
        "300",
        "--out",
        str(tmp_path / "encoder"),
        "--device",
        "cpu",
    ]
    assert main([*arguments, "--json"]) == 0
    assert "hit_rate_20" in capsys.readouterr().out
    for name in ("orbits.png", "foretold.png", picture, "card.json", "training.json"):
        assert (tmp_path / "encoder" / name).stat().st_size > 100


class Remembering(StabilizerEncoder):
    """Knows frames, their classes and poses; each class's poses are called otherwise, as the theory leaves free."""

    def __init__(self, kind: Any, frames: Any, orbit: Any, pose: Any, elements: int) -> None:
        super().__init__(frames.shape[1:], kind.group.name, "strided", elements)
        known = zip(frames, orbit, pose, strict=True)
        self.known = {frame.tobytes(): (int(one), each) for frame, one, each in known}
        free = kind.group.random(np.random.default_rng(5), len(kind.orbits))
        self.cosets = [
            kind.group.compose(np.resize(kind.stabilizer(one), (elements, kind.group.dim)), free[one])
            for one in range(len(kind.orbits))
        ]

    def latents(self, images: Tensor) -> Latents:
        frames = (255 * images).round().byte().permute(0, 2, 3, 1).numpy()
        found = [self.known[np.ascontiguousarray(frame).tobytes()] for frame in frames]
        poses = np.stack([self.acting.compose(pose, self.cosets[orbit]) for orbit, pose in found])
        return {"class": torch.eye(8)[[orbit for orbit, _ in found]], "poses": torch.from_numpy(poses).float()}


@pytest.mark.parametrize("name", ["Solids", "Models"])
def test_who_knows_every_view_plans_into_the_goal(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind: Any = world_class(name)
    seen: list[Any] = []
    look = kind.look

    def remembered(self: Any, orbit: Any, pose: Any) -> Any:
        seen.append((look(self, orbit, pose), orbit, pose))
        return seen[-1][0]

    monkeypatch.setattr(kind, "look", remembered)

    def knowing(encoder: Any, now: Any, goal: Any) -> Any:
        frames, orbit, pose = (np.concatenate(each) for each in zip(*seen, strict=True))
        return plan(Remembering(kind, frames, orbit, pose, 60), now, goal)

    monkeypatch.setattr("agents.planning.plan", knowing)
    figures = perform(ClassPoseEncoder((64, 64, 3), kind.group.name, "strided"), kind, count=12).figures
    assert figures["plan_error_90_degrees"] < 0.1 < 5 < figures["unplanned_error_median_degrees"]
    assert figures["pixels_off_goal"] < 0.01 < 0.1 < figures["pixels_off_goal_unplanned"]


def test_plans_are_performed_where_things_turn() -> None:
    encoder = ClassPoseEncoder((64, 64, 3), "R3", "strided")
    with pytest.raises(ValueError, match="got a world of R3 and an encoder for R3; use `plan` for others"):
        perform(encoder, world_class("Sprites"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got a world of SO3 and an encoder for R3"):
        perform(encoder, world_class("Chairs"))  # type: ignore[arg-type]


def test_who_knows_every_view_is_localised_exactly() -> None:
    kind: Any = world_class("Apartments")
    worlds = gym.make_vec("envs:equiact/Apartments-v0", num_envs=8, resolution=(16, 16), device="cpu")
    held_out = collect(worlds, 300, seed=0)
    encoder = Remembering(kind, held_out.frames, held_out.truth["orbit"][:, 0], held_out.truth["agent_pose"], 1)
    figures = localise(encoder, kind, held_out).figures
    assert figures["right_place"] == 1.0
    assert figures["localisation_error_90_m"] < 1e-3


def test_data_that_cannot_be_measured_on_are_not_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = collect(gym.make_vec("envs:equiact/Solids-v0", num_envs=4, resolution=(32, 32), device="cpu"), 100, seed=0)
    for name, data in (("small", small), ("untrue", replace(small, truth={}))):
        save_transitions(data, tmp_path / name)
        arguments = ["train", "--world", "Solids", "--data", str(tmp_path / name), "--out", str(tmp_path / "encoder")]
        assert main([*arguments, "--device", "cpu"]) == 1
    arguments = ["train", "--world", "Chairs", "--data", str(tmp_path / "small"), "--out", str(tmp_path / "encoder")]
    assert main([*arguments, "--device", "cpu"]) == 1
    errors = " ".join(capsys.readouterr().err.split())
    assert "small is not of Chairs, which looks otherwise in the same poses; check --world" in errors
    assert "frames of shape (32, 32, 3) were expected" in errors
    assert "untrue does not hold ['agent_pose', 'orbit'], which data of Solids do" in errors
    assert not list(tmp_path.glob("encoder*")), "nothing was trained"


def walked(orbits: int, steps: int) -> Transitions:
    """Walks of each class over the circle, in images in which class and pose are written."""
    turns, generator = group_from_name("SO2"), np.random.default_rng(0)
    orbit, pose = np.repeat(np.arange(orbits), steps), turns.random(generator, orbits * steps)
    start = np.flatnonzero(np.diff(orbit) == 0)
    displacement = turns.compose(pose[start + 1], turns.inverse(pose[start])).astype(np.float32)
    return Transitions(written(orbit, pose), start, start + 1, displacement, "SO2")


def test_the_decoder_learns_to_draw_what_actions_lead_to() -> None:
    data = walked(2, 200)
    torch.manual_seed(0)
    looking = LookingLearner(Knowing("SO2", [np.array([[1.0, 0.0]])] * 2, 1), data, scale=0.1)
    fit(looking, looking.stages(), seed=0)
    looking.eval()
    with torch.no_grad():
        latents = looking.encoder.encode(torch.from_numpy(data.observations))
        drawn = looking.drawn(looking.encoder.act(torch.from_numpy(data.displacement), latents))
    images = to_images(torch.from_numpy(data.next_observations))
    assert (drawn - images).square().mean() < 0.1 * (images - images.mean(0)).square().mean()


def test_the_encoder_owes_nothing_to_the_decoder() -> None:
    encoder, data = ClassPoseEncoder((16, 16, 3), "SO2", "strided"), walked(1, 100)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    looking = LookingLearner(encoder, data, scale=0.001)
    fit(looking, looking.stages(), seed=0)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_train_stopped_at_the_decoder_goes_on_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PairLearner, "updates", 3)
    monkeypatch.setattr(LookingLearner, "updates", 4)
    done: list[tuple[str, int]] = []
    stop = True

    @contextmanager
    def bar(description: str, total: int, unit: str) -> Iterator[Callable[..., None]]:
        def update(count: int, **shown: Any) -> None:
            done.append((description, count))
            if stop and (description, count) == ("A decoder for looking", 2):
                raise KeyboardInterrupt

        yield update

    monkeypatch.setattr("scripts.commands.bar", bar)
    out = tmp_path / "encoder"
    arguments = ["train", "--world", "Solids", "--transitions", "300", "--out", str(out), "--device", "cpu"]
    assert main(arguments) != 0
    assert (out / "card.json").exists() and not (out / "foretold.png").exists()
    done.clear()
    stop = False
    assert main(arguments) == 0
    updates = [each for each in done if each[0] in ("Training the encoder", "A decoder for looking")]
    assert updates == [("A decoder for looking", 3), ("A decoder for looking", 4)]
    assert (out / "foretold.png").exists() and not list(tmp_path.glob("*.checkpoint"))


def test_a_pose_where_one_is_not_enough_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "--world", "Arrows", "--encoder", "class-pose", "--out", str(tmp_path)]
    assert main(arguments) == 1
    error = " ".join(capsys.readouterr().err.split())
    assert "SO2 does not act freely on Arrows: 2 of its elements leave '2 arrows' as it is" in error
    assert "use a HarmonicEncoder or a StabilizerEncoder (--encoder harmonics or stabilizers)" in error
    assert main(["train", "--world", "Apartments", "--encoder", "harmonics", "--out", str(tmp_path)]) == 1
    assert (
        "harmonics cannot learn SE2: harmonics are known of SO2, SO3 and their products, not of SE2; choose"
        in " ".join(capsys.readouterr().err.split())
    )
    assert main(["train", "--world", "Soccer", "--encoder", "class-pose", "--out", str(tmp_path)]) == 1
    assert "choose --encoder agent-object" in " ".join(capsys.readouterr().err.split())
