"""A Ray cluster gives the records that this machine gives, also when a worker dies in the middle."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from equiact.scripts.experiments.executors import JobExecutor, LocalExecutor, RayExecutor
from equiact.scripts.experiments.experiment import Grid, MeasureJob, Places, run_experiments
from equiact.scripts.experiments.jobs import JobProgress, Resources

pytestmark = pytest.mark.slow
ray = pytest.importorskip("ray", reason="Ray is not installed; install the extra `cluster`")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Start a cluster of two nodes on this machine, and return its address."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    yield cluster.address
    cluster.shutdown()


def draw(seed: int, show: JobProgress) -> dict[str, float | str]:
    """Return a random number of torch, which the worker seeds, and the number of threads."""
    import torch

    show(1, 1)
    torch.manual_seed(seed)
    return {"draw": float(torch.randn(64, 64).matmul(torch.randn(64, 64)).sum()), "threads": torch.get_num_threads()}


def die_once(mark: Path, seed: int, show: JobProgress) -> dict[str, float | str]:
    """Die in the first attempt."""
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return draw(seed, show)


def node(show: JobProgress) -> dict[str, float | str]:
    """Return the node that this runs on."""
    import time

    time.sleep(1.0)
    return {"node": str(ray.get_runtime_context().get_node_id())}


def grid(work: Any = draw, **options: Any) -> Grid:
    """Return a grid of two runs."""
    from functools import partial

    def jobs(folder: Path) -> list[MeasureJob]:
        return [
            MeasureJob(f"run {seed}", folder / f"{seed}.json", partial(work, seed), "Push", "ours", seed, **options)
            for seed in range(2)
        ]

    return Grid("grid", {}, range(2), jobs)


def test_a_cluster_of_two_nodes_gives_the_same_records(address: str, tmp_path: Path) -> None:
    def run(name: str, make_executor: Any) -> dict[tuple[int, str], Any]:
        (records,) = run_experiments([grid()], Places(tmp_path / name, tmp_path / name / "work"), make_executor)
        return records.table.set_index(["seed", "metric"])["value"].to_dict()

    here = run("local", LocalExecutor)
    there = run("ray", lambda: RayExecutor(address))
    assert here == there and len(here) == 4 and here[0, "draw"] != here[1, "draw"]


def test_a_worker_of_a_cluster_that_dies_is_started_again(address: str, tmp_path: Path) -> None:
    from functools import partial

    def jobs(folder: Path, work: Any) -> list[MeasureJob]:
        return [MeasureJob("unlucky", folder / "0.json", work, "Push", "ours", 0)]

    def run(name: str, work: Any, make_executor: Any) -> Any:
        experiment = Grid("grid", {}, [0], lambda folder: jobs(folder, work))
        (records,) = run_experiments([experiment], Places(tmp_path / name, tmp_path / name / "work"), make_executor)
        return records.table["value"].tolist()

    mark = tmp_path / "died"
    found = run("ray", partial(die_once, mark, 0), lambda: RayExecutor(address))
    assert mark.exists()
    assert found == run("local", partial(draw, 0), LocalExecutor)


def test_jobs_are_placed_by_the_resources_that_they_declare(address: str, tmp_path: Path) -> None:
    jobs = [MeasureJob(f"run {n}", tmp_path / f"{n}.json", node, "", "", n) for n in range(2)]
    executor: JobExecutor = RayExecutor(address)
    try:
        assert executor.has_room(Resources(), [Resources()] * 9), "Ray keeps jobs waiting"
        for large in (Resources(threads=2), Resources(gpus=1)):
            assert not executor.has_room(large, []), "no node is large enough"
        futures = [executor.submit(job) for job in jobs]
        assert all(future.result(60) > 0 for future in futures)
        nodes = {str(job.measured()[0].values["node"]) for job in jobs}
        assert len(nodes) == 2, "each node has one core"
        greedy = executor.submit(replace(jobs[0], output=tmp_path / "greedy.json", resources=Resources(gpus=1)))
        with pytest.raises(TimeoutError):
            greedy.result(1.0)
        assert not (tmp_path / "greedy.json").exists()
    finally:
        executor.close(stop=True)
