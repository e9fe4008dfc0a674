"""The training loop: stopped at any moment, it resumes to the same weights, and never from what is not its own."""

import signal
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from representations.training import CheckpointError, Metrics, Report, Stage, fit

FIRST, SECOND = 60, 55


class Tiny(nn.Module):
    """Two stages: a linear map, then a second one on what the first yields, with batch statistics in between."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(2, width)
        self.norm = nn.BatchNorm1d(width)
        self.second = nn.Linear(width, 1)
        self.begun = 0
        self.remembered: Tensor
        self.register_buffer("remembered", torch.zeros(width))

    def remember(self) -> None:
        self.begun += 1
        self.remembered[:] = self.first.weight.detach().sum(1)

    def first_loss(self, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        x = torch.randn(16, 2, generator=generator)
        loss = (self.norm(self.first(x)).sum(1) - x.prod(1)).pow(2).mean()
        return loss, {"half": loss.detach() / 2}

    def second_loss(self, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        x = torch.randn(4, 2, generator=generator)
        hidden = self.norm(self.first(x)).detach() + self.remembered
        return (self.second(hidden)[:, 0] - x.sum(1)).pow(2).mean(), {}

    def stages(self) -> list[Stage]:
        first = [*self.first.parameters(), *self.norm.parameters()]
        return [
            Stage("first", FIRST, self.first_loss, first, 16, learning_rate=1e-2),
            Stage("second", SECOND, self.second_loss, list(self.second.parameters()), 4, begin=self.remember),
        ]


def train(module: Tiny, **options: Any) -> Report:
    return fit(module, module.stages(), **{"seed": 3} | options)


def interrupt_at(step: int) -> Callable[[str, int, int, Metrics], None]:
    def progress(stage: str, done: int, total: int, metrics: Metrics) -> None:
        if done == step:
            raise KeyboardInterrupt

    return progress


def assert_same(a: nn.Module, b: nn.Module) -> None:
    for key, value in a.state_dict().items():
        assert torch.equal(b.state_dict()[key], value), key


def without_times(report: Report) -> list[dict[str, Any]]:
    return [{key: value for key, value in entry.items() if key != "seconds"} for entry in report.history]


@pytest.fixture(scope="module")
def uninterrupted() -> tuple[Tiny, Report]:
    module = Tiny()
    return module, train(module)


def test_training_learns_and_reports(uninterrupted: tuple[Tiny, Report]) -> None:
    module, report = deepcopy(uninterrupted[0]), uninterrupted[1]
    assert report.transitions == FIRST * 16 + SECOND * 4
    assert [(entry["stage"], entry["step"]) for entry in report.history] == [
        ("first", 50),
        ("first", FIRST),
        ("second", 50),
        ("second", SECOND),
    ]
    assert report.history[0]["half"] == pytest.approx(report.history[0]["loss"] / 2)
    seconds = [entry["seconds"] for entry in report.history]
    assert seconds == sorted(seconds)
    assert report.seconds >= seconds[-1] - 1e-3
    generator = torch.Generator().manual_seed(99)
    with torch.no_grad():
        assert module.first_loss(generator)[0] < 0.5 * Tiny().first_loss(torch.Generator().manual_seed(99))[0]


def test_a_stage_trains_its_own_parameters_alone() -> None:
    module, fresh = Tiny(), Tiny()
    fit(module, module.stages()[:1], seed=0)
    assert torch.equal(module.second.weight, fresh.second.weight)
    assert not torch.equal(module.first.weight, fresh.first.weight)


def test_the_seed_decides_the_weights(uninterrupted: tuple[Tiny, Report]) -> None:
    same, other = Tiny(), Tiny()
    train(same)
    train(other, seed=4)
    assert_same(uninterrupted[0], same)
    assert not torch.equal(other.second.weight, same.second.weight)


@pytest.mark.parametrize("step", [1, 37, 50, FIRST, FIRST + 1, 90, FIRST + SECOND])
def test_interrupted_training_ends_at_the_same_weights(
    step: int, uninterrupted: tuple[Tiny, Report], tmp_path: Path
) -> None:
    checkpoint = tmp_path / "deep" / "checkpoint"
    with pytest.raises(KeyboardInterrupt):
        train(Tiny(), checkpoint=checkpoint, progress=interrupt_at(step))
    assert checkpoint.exists()
    seen: list[int] = []
    resumed = Tiny()
    report = train(resumed, checkpoint=checkpoint, progress=lambda stage, done, total, metrics: seen.append(done))
    assert seen == list(range(step + 1, FIRST + SECOND + 1)), "it did not go on from where it stopped"
    assert resumed.begun == (1 if step <= FIRST else 0)
    assert_same(uninterrupted[0], resumed)
    assert without_times(report) == without_times(uninterrupted[1])
    assert report.transitions == uninterrupted[1].transitions
    assert list(checkpoint.parent.iterdir()) == [checkpoint], "what was learned may not be kept elsewhere yet"
    again = Tiny()
    repeated = train(again, checkpoint=checkpoint, progress=lambda *told: pytest.fail("there was nothing left to do"))
    assert_same(resumed, again)
    assert repeated == report


def test_what_was_loaded_for_use_is_trained_with_fresh_statistics() -> None:
    module = Tiny().eval()
    train(module)
    assert not torch.equal(module.norm.running_mean, torch.zeros(3))  # type: ignore[arg-type]


def test_training_interrupted_many_times_ends_at_the_same_weights(
    uninterrupted: tuple[Tiny, Report], tmp_path: Path
) -> None:
    for step in (5, 6, 61, 100):
        with pytest.raises(KeyboardInterrupt):
            train(Tiny(), checkpoint=tmp_path / "checkpoint", progress=interrupt_at(step))
    resumed = Tiny()
    train(resumed, checkpoint=tmp_path / "checkpoint")
    assert_same(uninterrupted[0], resumed)


class Tied(Tiny):
    """Two modules that share their parameters, as an actor and the objective that trains it do."""

    def __init__(self) -> None:
        super().__init__()
        self.again = nn.Sequential(self.first)


def test_training_with_shared_parameters_ends_at_the_same_weights(tmp_path: Path) -> None:
    whole = Tied()
    train(whole)
    with pytest.raises(KeyboardInterrupt):
        train(Tied(), checkpoint=tmp_path / "checkpoint", progress=interrupt_at(37))
    resumed = Tied()
    train(resumed, checkpoint=tmp_path / "checkpoint")
    assert_same(whole, resumed)


class Interrupted(Tiny):
    """Is stopped within an update, as a person at the keyboard does: after its batch has been drawn."""

    def __init__(self, update: int) -> None:
        super().__init__()
        self.until = update

    def first_loss(self, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        result = super().first_loss(generator)
        self.until -= 1
        if self.until == 0:
            signal.raise_signal(signal.SIGINT)
        return result


@pytest.mark.parametrize("every", [0.0, 1e6], ids=["checkpoint after every update", "no checkpoint before"])
def test_training_stopped_within_an_update_ends_at_the_same_weights(
    every: float, uninterrupted: tuple[Tiny, Report], tmp_path: Path
) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            train(Interrupted(20), checkpoint=tmp_path / "checkpoint", checkpoint_seconds=every)
    finally:
        signal.signal(signal.SIGINT, before)
    resumed = Tiny()
    train(resumed, checkpoint=tmp_path / "checkpoint")
    assert_same(uninterrupted[0], resumed)


def test_checkpoints_are_written_as_time_passes(uninterrupted: tuple[Tiny, Report], tmp_path: Path) -> None:
    """What a killed process leaves is the last of them."""

    def die(stage: str, done: int, total: int, metrics: Metrics) -> None:
        if done == 40:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        train(Tiny(), checkpoint=tmp_path / "checkpoint", checkpoint_seconds=0.0, progress=die)
    seen: list[int] = []
    resumed = Tiny()
    progress = lambda stage, done, total, metrics: seen.append(done)  # noqa: E731
    train(resumed, checkpoint=tmp_path / "checkpoint", progress=progress)
    assert seen[0] == 40
    assert_same(uninterrupted[0], resumed)


def leave_checkpoint(path: Path, step: int = 40) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(Tiny(), checkpoint=path, progress=interrupt_at(step))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:4],
        lambda data: b"",
        lambda data: b"\x80\x04]" + data,
    ],
    ids=["half", "4 bytes", "empty", "pickle"],
)
def test_a_damaged_checkpoint_is_refused(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    leave_checkpoint(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CheckpointError, match="damaged"):
        train(Tiny(), checkpoint=path)
    assert path.exists()


def test_a_checkpoint_of_other_training_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    leave_checkpoint(path)
    with pytest.raises(CheckpointError, match="other training"):
        train(Tiny(), checkpoint=path, seed=4)
    module = Tiny()
    longer = [module.stages()[0], replace(module.stages()[1], steps=SECOND + 1)]
    with pytest.raises(CheckpointError, match="other training"):
        fit(module, longer, seed=3, checkpoint=path)
    with pytest.raises(CheckpointError, match="other training"):
        train(Tiny(width=4), checkpoint=path)
    with pytest.raises(CheckpointError, match="other training"):
        fit(module, module.stages(), seed=3, data="others", checkpoint=path)
    assert path.exists()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_training(bad: float) -> None:
    module = Tiny()

    def loss(generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        return module.second.weight.sum() * bad, {}

    stages = [module.stages()[0], replace(module.stages()[1], name="poisoned", loss=loss)]
    with pytest.raises(FloatingPointError, match=r"poisoned, step \d+"):
        fit(module, stages, seed=0)


def test_progress_is_told_of_every_update() -> None:
    told: list[tuple[str, int, int, bool]] = []
    train(Tiny(), progress=lambda stage, done, total, metrics: told.append((stage, done, total, "loss" in metrics)))
    assert [done for _, done, _, _ in told] == list(range(1, FIRST + SECOND + 1))
    assert [stage for stage, *_ in told] == ["first"] * FIRST + ["second"] * SECOND
    assert {total for _, _, total, _ in told} == {FIRST + SECOND}
    assert [done for _, done, _, recorded in told if recorded] == [50, FIRST, FIRST + 50, FIRST + SECOND]
