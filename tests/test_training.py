"""The training loop: training that is stopped resumes to the same weights, and damaged checkpoints are refused."""

import json
import signal
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from equiact.envs.storage import tensor_files
from equiact.envs.storage.artifacts import ArtifactError, folder_lock
from equiact.representations.learning import training
from equiact.representations.learning.callbacks import TrainingCallback, TrainingReport, TrainingStatus
from equiact.representations.learning.checkpoints import CheckpointError, Position, _is_possible
from equiact.representations.learning.config import AdamConfig, ConfigError, OptimConfig, scale_steps
from equiact.representations.learning.learner import Learner, Loss, Stage
from equiact.representations.learning.training_run import TrainingRun
from torch import Tensor, nn

FIRST, SECOND = 60, 55


class Tiny(nn.Module):
    """Two stages: a linear map, then a second one on its output, with batch statistics in between."""

    def __init__(self, width: int = 3, first_steps: int = FIRST, second_steps: int = SECOND) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.steps = first_steps, second_steps
        self.first = nn.Linear(2, width)
        self.norm = nn.BatchNorm1d(width)
        self.second = nn.Linear(width, 1)
        self.begun = 0
        self.network = self.second
        self.remembered: Tensor
        self.register_buffer("remembered", torch.zeros(width))

    def remember(self) -> None:
        self.begun += 1
        self.remembered[:] = self.first.weight.detach().sum(1)

    def first_loss(self, generator: torch.Generator) -> Loss:
        x = torch.randn(16, 2, generator=generator)
        loss = (self.norm(self.first(x)).sum(1) - x.prod(1)).pow(2).mean()
        return loss, {"half": loss.detach() / 2}

    def second_loss(self, generator: torch.Generator) -> Loss:
        x = torch.randn(4, 2, generator=generator)
        hidden = self.norm(self.first(x)).detach() + self.remembered
        return (self.second(hidden)[:, 0] - x.sum(1)).pow(2).mean(), {}

    def stages(self) -> list[Stage]:
        first = [*self.first.parameters(), *self.norm.parameters()]
        return [
            Stage("first", self.steps[0], self.first_loss, first, 16, learning_rate=1e-2),
            Stage("second", self.steps[1], self.second_loss, list(self.second.parameters()), 4, begin=self.remember),
        ]


class Watch(TrainingCallback):
    """Call a function after each update, and keep the reports."""

    def __init__(self, function: Callable[[TrainingStatus], None] = lambda status: None) -> None:
        self.function = function
        self.statuses: list[TrainingStatus] = []
        self.reports: list[TrainingReport] = []

    def on_update(self, status: TrainingStatus) -> None:
        self.statuses.append(status)
        self.function(status)

    def on_end(self, report: TrainingReport) -> None:
        self.reports.append(report)


def train(module: Any, **options: Any) -> TrainingReport:
    return training.train_learner(module, **{"seed": 3} | options)


def interrupt_at(step: int) -> list[Watch]:
    def interrupt(status: TrainingStatus) -> None:
        if status.done == step:
            raise KeyboardInterrupt

    return [Watch(interrupt)]


def assert_same(a: nn.Module, b: nn.Module) -> None:
    for key, value in a.state_dict().items():
        assert torch.equal(b.state_dict()[key], value), key


def without_times(report: TrainingReport) -> list[dict[str, Any]]:
    return [{key: value for key, value in entry.items() if key != "seconds"} for entry in report.history]


@pytest.fixture(scope="module")
def uninterrupted() -> tuple[Tiny, TrainingReport]:
    module = Tiny()
    return module, train(module)


def test_training_learns_and_reports(uninterrupted: tuple[Tiny, TrainingReport]) -> None:
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

    def check(status: TrainingStatus) -> None:
        if status.done == FIRST:
            assert torch.equal(module.second.weight, fresh.second.weight)
            assert not torch.equal(module.first.weight, fresh.first.weight)

    train(module, callbacks=[Watch(check)])
    assert not torch.equal(module.second.weight, fresh.second.weight)


def test_the_seed_decides_the_weights(uninterrupted: tuple[Tiny, TrainingReport]) -> None:
    same, other = Tiny(), Tiny()
    train(same)
    train(other, seed=4)
    assert_same(uninterrupted[0], same)
    assert not torch.equal(other.second.weight, same.second.weight)


@pytest.mark.parametrize("step", [1, 37, 50, FIRST, FIRST + 1, 90, FIRST + SECOND])
def test_interrupted_training_ends_at_the_same_weights(
    step: int, uninterrupted: tuple[Tiny, TrainingReport], tmp_path: Path
) -> None:
    checkpoint = tmp_path / "deep" / "checkpoint"
    with pytest.raises(KeyboardInterrupt):
        train(Tiny(), checkpoint=checkpoint, callbacks=interrupt_at(step))
    assert checkpoint.exists()
    resumed, watch = Tiny(), Watch()
    report = train(resumed, checkpoint=checkpoint, callbacks=[watch])
    seen = [status.done for status in watch.statuses]
    assert seen == list(range(step + 1, FIRST + SECOND + 1)), "it did not resume at the step where it stopped"
    assert resumed.begun == (1 if step <= FIRST else 0)
    assert_same(uninterrupted[0], resumed)
    assert without_times(report) == without_times(uninterrupted[1])
    assert report.transitions == uninterrupted[1].transitions
    assert list(checkpoint.parent.iterdir()) == [checkpoint], "the result may not be saved elsewhere yet"
    again, watch = Tiny(), Watch()
    repeated = train(again, checkpoint=checkpoint, callbacks=[watch])
    assert watch.statuses == [] and watch.reports == [repeated], "there was nothing left to do"
    assert_same(resumed, again)
    assert repeated == report


def test_a_module_in_evaluation_mode_is_trained_with_batch_statistics() -> None:
    module = Tiny().eval()
    train(module)
    assert not torch.equal(module.norm.running_mean, torch.zeros(3))  # type: ignore[arg-type]


def test_training_interrupted_many_times_ends_at_the_same_weights(
    uninterrupted: tuple[Tiny, TrainingReport], tmp_path: Path
) -> None:
    for step in (5, 6, 61, 100):
        with pytest.raises(KeyboardInterrupt):
            train(Tiny(), checkpoint=tmp_path / "checkpoint", callbacks=interrupt_at(step))
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
        train(Tied(), checkpoint=tmp_path / "checkpoint", callbacks=interrupt_at(37))
    resumed = Tied()
    train(resumed, checkpoint=tmp_path / "checkpoint")
    assert_same(whole, resumed)


class Interrupted(Tiny):
    """Is stopped within an update, as a person at the keyboard does: after its batch has been drawn."""

    def __init__(self, update: int) -> None:
        super().__init__()
        self.until = update

    def first_loss(self, generator: torch.Generator) -> Loss:
        result = super().first_loss(generator)
        self.until -= 1
        if self.until == 0:
            signal.raise_signal(signal.SIGINT)
        return result


@pytest.mark.parametrize("every", [0.0, 1e6], ids=["checkpoint after every update", "no checkpoint before"])
def test_training_stopped_within_an_update_ends_at_the_same_weights(
    every: float, uninterrupted: tuple[Tiny, TrainingReport], tmp_path: Path
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


def test_checkpoints_are_written_as_time_passes(uninterrupted: tuple[Tiny, TrainingReport], tmp_path: Path) -> None:
    """A killed process leaves the last of them."""

    def die(status: TrainingStatus) -> None:
        if status.done == 40:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        train(Tiny(), checkpoint=tmp_path / "checkpoint", checkpoint_seconds=0.0, callbacks=[Watch(die)])
    resumed, watch = Tiny(), Watch()
    train(resumed, checkpoint=tmp_path / "checkpoint", callbacks=[watch])
    assert watch.statuses[0].done == 40
    assert_same(uninterrupted[0], resumed)


def leave_checkpoint(path: Path, step: int = 40) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(Tiny(), checkpoint=path, callbacks=interrupt_at(step))


def is_refused(path: Path, match: str) -> None:
    """Check that training refuses a checkpoint, names it, and leaves it where it is."""
    with pytest.raises(CheckpointError, match=match) as caught:
        train(Tiny(), checkpoint=path)
    assert str(path) in str(caught.value)
    assert "delete it to start again" in str(caught.value)
    assert path.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:4],
        lambda data: b"\x80\x04]" + data,
        lambda data: b"years of work",
    ],
    ids=["half", "4 bytes", "pickle", "text"],
)
def test_a_damaged_checkpoint_is_refused(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    leave_checkpoint(path)
    path.write_bytes(damage(path.read_bytes()))
    is_refused(path, "damaged")


def test_a_checkpoint_with_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    """Wherever it is: in the position, in the weights, in the state of the optimizer or of the generator."""
    path = tmp_path / "checkpoint"
    leave_checkpoint(path)
    content = path.read_bytes()
    for place in torch.randint(len(content), (60,), generator=torch.Generator().manual_seed(0)).tolist():
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        is_refused(path, "damaged|not a checkpoint")


@pytest.mark.parametrize(
    "change",
    [
        {"step": 30.03},
        {"step": -1},
        {"step": 10_000},
        {"step": True},
        {"step": "30"},
        {"stage": 7},
        {"stage": 2, "step": 1},
        {"seconds": -1.0},
        {"seconds": "long"},
        {"history": {}},
        {"history": [{"loss": None}]},
        {"plan": None},
    ],
    ids=str,
)
def test_a_checkpoint_with_a_position_that_training_cannot_reach_is_refused(
    change: dict[str, Any], tmp_path: Path
) -> None:
    """Also if whoever changed it computed the hash anew."""
    path = tmp_path / "checkpoint"
    leave_checkpoint(path)
    card, tensors = tensor_files.read_tensor_file(path, "checkpoint")
    tensor_files.write_tensor_file(path, "checkpoint", card | change, tensors)
    is_refused(path, "damaged")


@pytest.mark.parametrize("name", ["generator", "module.first.weight", "optimizer.0.exp_avg"])
def test_a_checkpoint_with_other_tensors_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    leave_checkpoint(path)
    card, tensors = tensor_files.read_tensor_file(path, "checkpoint")
    tensor_files.write_tensor_file(path, "checkpoint", card, tensors | {name: torch.zeros(5)})
    is_refused(path, "another training")
    tensors.pop(name)
    tensor_files.write_tensor_file(path, "checkpoint", card, tensors)
    if name != "optimizer.0.exp_avg":
        is_refused(path, "another training")


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    leave_checkpoint(path)
    with pytest.raises(CheckpointError, match="another training: its seed is 3, now it is 4"):
        train(Tiny(), checkpoint=path, seed=4)
    with pytest.raises(CheckpointError, match="another training: its stages"):
        train(Tiny(second_steps=SECOND + 1), checkpoint=path)
    with pytest.raises(CheckpointError, match="another training"):
        train(Tiny(width=4), checkpoint=path)
    with pytest.raises(CheckpointError, match="another training: its data is '', now it is 'others'"):
        train(Tiny(), checkpoint=path, data_fingerprint="others")
    assert path.exists()


def test_a_full_disk_is_named_and_leaves_the_last_checkpoint(
    uninterrupted: tuple[Tiny, TrainingReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint"
    leave_checkpoint(path)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(CheckpointError, match=r"not written.*No space left.*intact"):
            train(Tiny(), checkpoint=path, checkpoint_seconds=0.0)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    resumed = Tiny()
    train(resumed, checkpoint=path)
    assert_same(uninterrupted[0], resumed)


def test_a_place_that_cannot_hold_a_checkpoint_is_refused_before_the_first_update(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("folder", "thesis.tex", "link", "thesis.tex/checkpoint"):
        watch = Watch()
        with pytest.raises(CheckpointError, match=name.split("/")[0]):
            train(Tiny(), checkpoint=tmp_path / name, callbacks=[watch])
        assert watch.statuses == []
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_two_trainings_with_one_checkpoint_are_refused(tmp_path: Path) -> None:
    with folder_lock(tmp_path / "checkpoint"), pytest.raises(ArtifactError, match="another process works here"):
        train(Tiny(), checkpoint=tmp_path / "checkpoint")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_training(bad: float) -> None:
    class Poisoned(Tiny):
        def second_loss(self, generator: torch.Generator) -> Loss:
            return self.second.weight.sum() * bad, {}

    with pytest.raises(FloatingPointError, match=r"second, step \d+: expected finite values.*learning rate"):
        train(Poisoned())


def test_callbacks_receive_every_update() -> None:
    watch = Watch()
    report = train(Tiny(), callbacks=[watch])
    assert watch.reports == [report]
    told = watch.statuses
    assert [status.done for status in told] == list(range(1, FIRST + SECOND + 1))
    assert [status.step for status in told] == [*range(1, FIRST + 1), *range(1, SECOND + 1)]
    assert [status.stage for status in told] == ["first"] * FIRST + ["second"] * SECOND
    assert {status.total for status in told} == {FIRST + SECOND}
    assert [status.done for status in told if "loss" in status.metrics] == [50, FIRST, FIRST + 50, FIRST + SECOND]
    seconds = [status.seconds for status in told]
    assert seconds == sorted(seconds)


def test_callbacks_are_told_of_the_end_when_training_is_interrupted() -> None:
    (first,), second = interrupt_at(5), Watch()
    with pytest.raises(KeyboardInterrupt):
        train(Tiny(), callbacks=[first, second])
    assert len(first.reports) == len(second.reports) == 1


def test_a_learner_is_told_by_its_methods() -> None:
    assert isinstance(Tiny(), Learner)


def test_tensorboard_events_are_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from equiact.representations.learning.callbacks import TensorBoardLogger
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(Tiny(), callbacks=[TensorBoardLogger(tmp_path / "events")])
    events = EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"first/loss", "first/half", "second/loss"}
    assert [event.step for event in events.Scalars("second/loss")] == [FIRST + 50, FIRST + SECOND]


class Service:
    """Stand in for wandb and trackio, which are not installed for tests."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def init(self, **options: Any) -> "Service":
        self.calls.append(("init", options))
        return self

    def log(self, metrics: dict[str, float], step: int) -> None:
        self.calls.append(("log", (sorted(metrics), step)))

    def finish(self) -> None:
        self.calls.append(("finish", None))


@pytest.mark.parametrize(("package", "logger"), [("wandb", "WandbLogger"), ("trackio", "TrackioLogger")])
def test_services_receive_metrics_or_are_named_as_extras(
    package: str, logger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from equiact.representations.learning import callbacks

    service = Service()
    monkeypatch.setitem(__import__("sys").modules, package, service)
    train(Tiny(), callbacks=[getattr(callbacks, logger)("project", name="run")])
    assert service.calls[0] == ("init", {"project": "project", "name": "run"})
    assert service.calls[1] == ("log", (["first/half", "first/loss"], 50))
    assert service.calls[-1] == ("finish", None)
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ImportError, match=rf"{logger} needs the package {package}.*equiact\[{package}\]"):
        getattr(callbacks, logger)("project")


def test_the_report_is_json() -> None:
    assert json.loads(json.dumps(vars(train(Tiny())), allow_nan=False))["transitions"] == FIRST * 16 + SECOND * 4


def test_a_seed_may_be_a_numpy_integer_and_must_be_a_whole_number(uninterrupted: tuple[Tiny, TrainingReport]) -> None:
    module = Tiny()
    train(module, seed=np.int64(3))
    assert_same(module, uninterrupted[0])
    for seed in (None, 1.5, "a", 2**64):
        with pytest.raises(ValueError, match="expected a"):
            train(Tiny(), seed=seed)


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 1.5},
        {"steps": True},
        {"steps": float("nan")},
        {"steps": (1,)},
        {"lr": "a"},
        {"lr": None},
        {"lr": True},
    ],
)
def test_a_value_of_another_type_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} must be"):
        OptimConfig(**wrong)


@pytest.mark.parametrize("factor", [0, -1, float("nan"), float("inf"), "a"])
def test_steps_are_scaled_by_positive_factors_only(factor: Any) -> None:
    with pytest.raises(ConfigError, match="expected a positive factor"):
        scale_steps(OptimConfig(), factor)


@pytest.mark.parametrize("device", ["tpu", "cuda:x", "meta", ""])
def test_an_unknown_device_is_refused(device: str) -> None:
    with pytest.raises(ValueError, match="expected the device 'auto', 'cpu', 'cuda' or"):
        training.resolve_device(device)


@pytest.mark.parametrize(
    "wrong", [{"betas": (0.9, 1.0)}, {"betas": (-0.1, 0.9)}, {"final_share": 0.0}, {"decay_slope": -1.0}]
)
def test_an_optimiser_out_of_range_is_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        AdamConfig(**wrong)


def test_the_learning_rate_falls_in_the_second_half_to_the_final_share():
    run, rates = TrainingRun(Tiny(first_steps=4, second_steps=1), seed=0, data_fingerprint=""), []
    for _ in range(4):
        run.update()
        rates.append(run._optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([1e-2, 1e-2, 1e-2, 0.52e-2])


def test_a_checkpoint_with_another_schedule_is_refused(tmp_path):
    TrainingRun(Tiny(), 0, "").save(tmp_path / "checkpoint")
    with pytest.raises(CheckpointError, match="another training: its adam"):
        TrainingRun(Tiny(), 0, "", AdamConfig(decay_slope=1.0)).restore(tmp_path / "checkpoint")


def test_a_stage_that_is_done_is_no_position():
    stages = Tiny(first_steps=4).stages()
    assert [_is_possible(Position({}, 0, step, 1.0, []), stages) for step in (3, 4)] == [True, False]
