"""Units on clusters of this process: lost workers, adaptive scaling, spilled results."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import pytest

from unmask import interruption
from unmask.blocks import scheduler as module
from unmask.blocks import ship
from unmask.blocks.scheduler import scheduler
from unmask.errors import DataError, RecipeError


@pytest.fixture
def start():
    """Start clusters whose workers are threads; all are closed at the end."""
    distributed = pytest.importorskip("distributed")
    clusters = []

    def run(workers, **more):
        options = {"processes": False, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
        clusters.append(distributed.LocalCluster(n_workers=workers, **options, **more))
        return clusters[-1]

    yield run
    for cluster in clusters:
        cluster.close()


def square(seconds, number):
    time.sleep(seconds)
    return number * number


def test_a_lost_worker_costs_nothing_and_few_units_wait(start, monkeypatch):
    monkeypatch.setattr(module, "_WINDOW", 8)
    monkeypatch.setattr(module, "_BATCH", 2)
    cluster, found, known = start(2), [], []

    def done(value):
        found.append(value)
        known.append(len(cluster.scheduler.tasks))
        if len(found) == 5:
            cluster.loop.add_callback(next(iter(cluster.workers.values())).close)

    with scheduler(cluster.scheduler_address) as run:
        run(partial(square, 0.005), range(40), done)
    assert sorted(found) == [number * number for number in range(40)]
    # The scheduler forgets a finished unit a moment after the client does.
    assert max(known) <= 8 + 2 * 2
    assert len(cluster.scheduler.workers) == 1


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_take_units_in_their_order(workers):
    begun, found = [], []

    def work(number):
        begun.append(number)
        return square(0.001, number)

    with scheduler(None, workers=workers) as run:
        run(work, range(30), found.append)
    assert sorted(found) == [number * number for number in range(30)]
    # A thread may be held up between taking a unit and noting it.
    assert all(abs(place - number) < workers for place, number in enumerate(begun))


def test_an_error_in_one_unit_ends_the_others():
    begun = []

    def work(number):
        begun.append(number)
        if number == 1:
            raise DataError("unit 1")
        while True:
            interruption.check()
            time.sleep(0.001)

    with pytest.raises(DataError, match="unit 1"), scheduler(None, workers=2) as run:
        run(work, range(30), lambda _: None)
    assert sorted(begun)[:2] == [0, 1]
    assert len(begun) <= 3


def test_adaptive_clusters_grow_with_the_work(start):
    cluster, found, sizes = start(0), [], []
    cluster.adapt(minimum=0, maximum=3, interval="20ms", target_duration="50ms")

    def done(value):
        found.append(value)
        sizes.append(len(cluster.scheduler.workers))

    with scheduler(cluster.scheduler_address) as run:
        run(partial(square, 0.02), range(40), done)
    assert sorted(found) == [number * number for number in range(40)]
    assert 2 <= max(sizes) <= 3


def image_of(number):
    return np.full((64, 1024), number, np.float64)


def test_results_that_exceed_the_memory_are_spilled(start, tmp_path):
    dask = pytest.importorskip("dask")
    limits = {"target": 0.5, "spill": False, "pause": False, "terminate": False}
    names = {f"distributed.worker.memory.{name}": value for name, value in limits.items()}
    found = []
    with dask.config.set(names):
        cluster = start(1, memory_limit="3MB", local_directory=str(tmp_path))
        with scheduler(cluster.scheduler_address) as run:
            run(image_of, range(12), lambda array: found.append(int(array[0, 0])))
    assert sorted(found) == list(range(12))


def test_every_worker_has_a_device_of_its_own():
    torch = pytest.importorskip("torch")
    gpu = torch.device("cuda")
    names = ["0", "1", "SLURMCluster-2", "node1-7"]
    devices = [ship.worker_device(gpu, name, count=4) for name in names]
    assert [device.index for device in devices] == [0, 1, 2, 3]
    assert ship.worker_device(gpu, "3", count=1) == gpu
    assert ship.worker_device(torch.device("cpu"), "3", count=4).type == "cpu"
    assert ship.worker_device(torch.device("cuda:2"), "3", count=4).index == 2
    assert ship.worker_name() == ""


@pytest.mark.parametrize("asked", ["processes:0", "threads:-1", "threads", "processes:two"])
def test_a_wrong_number_of_workers_is_no_address(asked, monkeypatch):
    """Looking for a scheduler of that name would take 20 seconds."""
    monkeypatch.setattr(pytest.importorskip("distributed"), "Client", None)
    wanted = f"--workers {asked}: expected .* found N = "
    with pytest.raises(RecipeError, match=wanted), scheduler(asked):
        pass
