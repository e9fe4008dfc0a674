"""`equiact benchmark class-pose` and `stabilizers`: encoders that follow a group against those that do not quite."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.commands import HELD_OUT_SEED, random_actions, resolve
from scripts.jobs import Show, run_jobs
from scripts.methods import METHODS, make_learner, suits
from scripts.runs import commit, over_seeds, provenance, read_json, with_earlier, write_json

if TYPE_CHECKING:
    from agents.mapping import Localised
    from agents.planning import Performed
    from envs.orbits import OrbitWorld
    from envs.transitions import Transitions
    from representations.acted import ActedEncoder, PosedEncoder

STEPS = (1, 10, 20)
"""Lengths of the walks whose end is to be foretold."""
WORLDS = {
    "class-pose": ("Sprites", "Shapes", "MultiSprites", "Chairs", "Apartments"),
    "stabilizers": ("Arrows", "ColouredArrows", "DoubleArrows", "Solids", "Models"),
}


@dataclass(frozen=True)
class Size:
    """How much is learned from, and for how long.

    Attributes:
        transitions: to learn from.
        held_out: to measure on.
        backbone: network.
        updates: of every method.
    """

    transitions: int
    held_out: int
    backbone: str
    updates: int

    @property
    def name(self) -> str:
        """What the folder of its cells is called: those of another size are made anew."""
        return f"{self.backbone}-{self.transitions}-{self.held_out}-{self.updates}"


QUICK = Size(20_000, 8_000, "strided", 2_000)
FULL = Size(100_000, 10_000, "resnet18", 120_000)
"""The papers' network and about their number of images seen; for a GPU."""


@dataclass(frozen=True)
class Experience:
    """Random actions in a world: collected once, for all methods, and kept until all have learned from it."""

    world: str
    count: int
    seed: int
    device: str
    folder: Path

    @property
    def title(self) -> str:
        return f"{self.world}, {self.count:,} transitions, seed {self.seed}"

    @property
    def makes(self) -> Path:
        return self.folder / f"{self.world}-{self.count}-{self.seed}"

    def run(self, show: Show) -> None:
        """Collect and keep it."""
        from envs.dataset import save_transitions

        transitions = random_actions(
            self.world, self.count, self.seed, self.device, lambda done: show(done, self.count, "transitions")
        )
        save_transitions(transitions, self.makes)

    def load(self, show: Show) -> Transitions:
        """The transitions, collected now if they were not before."""
        from envs.dataset import load_transitions

        if not self.makes.exists():
            self.run(show)
        return load_transitions(self.makes)


@dataclass(frozen=True)
class Cell:
    """One method in one world with one seed: trained, measured, and kept."""

    world: str
    method: str
    seed: int
    size: Size
    device: str
    folder: Path

    @property
    def title(self) -> str:
        return f"{self.world}, {self.method}, seed {self.seed}"

    @property
    def name(self) -> str:
        return f"{self.world}-{self.method.replace(' ', '_')}-{self.seed}"

    @property
    def makes(self) -> Path:
        return self.folder / f"{self.name}.json"

    @cached_property
    def kind(self) -> type[OrbitWorld]:
        from envs import world_class

        kind: type[Any] = world_class(self.world)
        return kind

    @property
    def kept(self) -> Path:
        """Folder of the encoder."""
        return self.folder / self.name

    @property
    def _training(self) -> Path:
        """How it was trained, the last that is written: where it is there, nothing is trained again."""
        return self.kept / "training.json"

    @property
    def experience(self) -> Experience:
        """What it learns from."""
        return Experience(self.world, self.size.transitions, self.seed, self.device, self.folder)

    @property
    def held_out(self) -> Experience:
        """What it is measured on."""
        seed = self.seed + HELD_OUT_SEED
        return Experience(self.world, self.size.held_out, seed, self.device, self.folder)

    @property
    def needs(self) -> list[Experience]:
        """What has to be collected for it."""
        return [self.held_out] if self._training.exists() else [self.experience, self.held_out]

    def run(self, show: Show) -> None:
        """Train, unless that is done, and measure."""
        from representations.acted import ActedEncoder

        if not self._training.exists():
            self.train(show)
        encoder = ActedEncoder.load(self.kept, resolve(self.device))
        held_out = self.held_out.load(show)
        figures = measure(encoder, self.kind, held_out, lambda done, total: show(done, total, "measures"))
        if used := put_to_use(encoder, self.kind, held_out):
            figures |= used.figures
        trained, measured = read_json(self._training)["commit"], commit()
        write_json(
            self.makes,
            {"commit": trained if trained == measured else f"{trained} (measured at {measured})", "figures": figures},
        )

    def train(self, show: Show) -> None:
        """Train the method's encoder and keep it; goes on where it was stopped."""
        import torch

        from representations.acted import PairLearner
        from representations.training import fit

        data = self.experience.load(show)
        torch.manual_seed(self.seed)
        device = resolve(self.device)
        scale = self.size.updates / PairLearner.updates
        learner = make_learner(self.method, self.kind, data, self.size.backbone, device, scale)

        def progress(stage: str, done: int, total: int, metrics: dict[str, float]) -> None:
            show(done, total, "updates", f"loss {metrics['loss']:.3f}" if metrics else "")

        checkpoint = self.folder / f"{self.name}.checkpoint"
        report = fit(
            learner, learner.stages(), seed=self.seed, data=data.fingerprint, checkpoint=checkpoint, progress=progress
        )
        learner.encoder.save(self.kept)
        write_json(self._training, {**vars(report), **provenance()})
        checkpoint.unlink()


def measure(
    encoder: ActedEncoder,
    kind: type[OrbitWorld],
    held_out: Transitions,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, float]:
    """Hit-rates, and of encoders with class and pose how well they know both.

    Raises:
        ValueError: the held-out data's group or frames are not the encoder's.
    """
    from representations.acted import PosedEncoder
    from representations.equivariance import hit_rate, walks

    encoder.require_fitting(held_out)
    figures, posed = {}, isinstance(encoder, PosedEncoder)
    for done, steps in enumerate(STEPS, 1):
        figures[f"hit_rate_{steps}"] = hit_rate(encoder, walks(held_out, steps))
        progress(done, len(STEPS) + posed)
    if isinstance(encoder, PosedEncoder):
        figures |= _class_and_pose(encoder, kind, held_out)
        progress(len(STEPS) + 1, len(STEPS) + 1)
    return figures


def _class_and_pose(encoder: PosedEncoder, kind: type[OrbitWorld], held_out: Transitions) -> dict[str, float]:
    """How well classes, poses and orders are known, on up to 1,000 held-out frames."""
    import numpy as np

    from envs.groups import is_torus
    from representations.equivariance import distinct, lsbd, orbit_separation, orders, pose_error, set_size

    generator = np.random.default_rng(0)
    frames = generator.choice(len(held_out.frames), min(1000, len(held_out.frames)), replace=False)
    latents = encoder.encode(held_out.frames[frames])
    poses = encoder.poses(latents)
    true, orbit = held_out.truth["agent_pose"][frames], held_out.truth["orbit"][frames, 0].astype(int)
    stabilizers = [kind.stabilizer(index) for index in range(len(kind.orbits))]
    figures = {
        "pose_error": pose_error(encoder.acting, poses, true, orbit, stabilizers),
        "orbit_separation": orbit_separation(latents["class"], orbit),
    }
    if is_torus(encoder.acting):
        figures["d_lsbd"] = lsbd(poses, true, orbit, [len(each) for each in stabilizers], encoder.acting)
    if encoder.elements > 1:
        expected = np.array([len(each) for each in stabilizers])
        number = np.where(encoder.told(latents, poses), distinct(encoder.acting, poses), 0)
        needed, found = set_size(number, encoder.elements, latents["class"]), orders(number, orbit)
        figures |= {
            "order_right_images": float((number == expected[orbit]).mean()),
            "order_right_objects": float(np.mean([each.order == expected[one] for one, each in found.items()])),
            "set_size": needed.size,
            "set_size_sure": needed.sure,
        }
        for one, each in found.items():
            if len(kind.orbits) <= 5:
                figures[f"order of {kind.orbits[one]}"] = float(each.order)
                figures[f"agreement on {kind.orbits[one]}"] = each.agreement
    return figures


def put_to_use(encoder: ActedEncoder, kind: type[OrbitWorld], held_out: Transitions) -> Localised | Performed | None:
    """What class and poses are good for: robots are localised on a map, turns into a goal planned and performed."""
    from agents.mapping import localise
    from agents.planning import ROTATIONS, perform
    from representations.acted import PosedEncoder

    if isinstance(encoder, PosedEncoder) and encoder.group == "SE2":
        return localise(encoder, kind, held_out)
    if isinstance(encoder, PosedEncoder) and encoder.group in ROTATIONS:
        return perform(encoder, kind)
    return None


def benchmark_symmetry(
    what: str, *, quick: bool, seeds: list[int], add: bool, world: str | None, device: str, results: Path, work: Path
) -> dict[str, Any]:
    """All cells of a benchmark, over the cores; its result file, to whose other seeds these may be added.

    Raises:
        ValueError: the benchmark has no such world, or the seeds to add to are of another size.
    """
    from envs import world_class

    if world is not None and world not in WORLDS[what]:
        raise ValueError(f"the benchmark {what} has no world {world!r}; choose from {list(WORLDS[what])}")
    size = QUICK if quick else FULL
    suffix = "" if world is None else f"_{world.lower()}"
    path = results / f"{what.replace('-', '_')}{suffix}.json"
    if add:
        _earlier(path, size)  # before anything is done that could not be added
    rows = [
        [
            Cell(name, method, seed, size, device, work / what / size.name)
            for name in (WORLDS[what] if world is None else (world,))
            for method in METHODS[what]
            if suits(method, world_class(name).group.name)
        ]
        for seed in seeds
    ]
    for cells in rows:
        _run(cells)
    result = over_seeds([_row(cells) for cells in rows], seeds)
    if add and (earlier := _earlier(path, size)):
        result = with_earlier(result, earlier)
    write_json(path, {**result, "size": size.name})
    return {label: each["mean"] for label, each in result["figures"].items()}


def _earlier(path: Path, size: Size) -> dict[str, Any]:
    """The result that seeds are added to; nothing where there is none.

    Raises:
        ValueError: it is of another size.
    """
    result: dict[str, Any] = read_json(path) if path.exists() else {}
    if result and result.get("size") != size.name:
        raise ValueError(
            f"{path} has seeds of the size {result.get('size', 'unknown')}, to which none of {size.name} can be added; "
            "leave out --add, or choose other --results"
        )
    return result


def _run(cells: list[Cell]) -> None:
    """Make the cells of a seed that are not there: what they learn from first, which is removed when all are."""
    missing = [cell for cell in cells if not cell.makes.exists()]
    needed = dict.fromkeys(each for cell in missing for each in cell.needs)
    run_jobs([each for each in needed if not each.makes.exists()])
    slowest_first = sorted(missing, key=lambda cell: cell.method != "neural renderer")
    run_jobs(slowest_first)  # so that at the end no core waits for it
    for used in {each for cell in cells for each in (cell.experience, cell.held_out)}:
        if used.makes.exists():
            shutil.rmtree(used.makes)


def _row(cells: list[Cell]) -> dict[str, Any]:
    """Figures of all cells of a seed, under the cell's name."""
    measured = {f"{cell.world}, {cell.method}": read_json(cell.makes) for cell in cells}
    commits = ", ".join(dict.fromkeys(each["commit"] for each in measured.values()))
    figures = {f"{row}: {name}": value for row, each in measured.items() for name, value in each["figures"].items()}
    return {"commit": commits, "figures": figures}
