"""Work units in threads of this process, or on any dask.distributed cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from unmask import interruption
from unmask.errors import DataError, RecipeError, message
from unmask.lookup import optional_import

Unit = TypeVar("Unit")
Result = TypeVar("Result")
# (work of all units, units, called with each result) to nothing.
Run = Callable[[Callable[[Any], Any], Iterable[Any], Callable[[Any], None]], None]

_KINDS = ("threads", "processes")
# Units that a cluster knows at once: enough for a thousand workers, and for adaptive scaling to see
# that there is work. A task takes the scheduler about 3 kB, so a million of them would take 3 GB.
_WINDOW = 4096
# Units that are added together, which costs less than one by one.
_BATCH = 512


@contextmanager
def scheduler(cluster: str | None, *, workers: int = 1) -> Generator[Run, None, None]:
    """What runs units: ``run(work, units, done)`` calls ``done(work(unit))`` in any order.

    An error in one unit ends the run. ``done`` is called one at a time, in this process.

    Args:
        cluster: None for threads of this process; ``threads:N`` or ``processes:N`` for a cluster on
            this machine; otherwise the address of a dask.distributed scheduler, where units of a
            worker that dies are computed again by another.
        workers: threads of this process.

    Raises:
        RecipeError: there is no such scheduler.
        MissingPackageError: dask.distributed is not installed.
    """
    if cluster is None:
        yield partial(_in_threads, workers)
        return
    distributed = optional_import("distributed", "scale")
    with _client(distributed, cluster) as client:
        yield partial(_on_cluster, distributed, client)


def check_workers(cluster: str | None) -> None:
    """Refuse workers of no form before long work; an address is tried when it is needed.

    Raises:
        RecipeError: ``threads:N`` or ``processes:N`` without a number of 1 or more.
    """
    kind, _, count = (cluster or "").partition(":")
    if cluster is not None and kind in _KINDS and (not count.isdecimal() or int(count) < 1):
        # As an address it would be searched for until the timeout.
        raise _no_scheduler(cluster, f"N = {count!r}")


def _in_threads(
    workers: int,
    work: Callable[[Unit], Result],
    units: Iterable[Unit],
    done: Callable[[Result], None],
) -> None:
    # In the order of the units, so that blocks can be read from a store that grows; the threads of
    # dask take independent units in the reverse order of their names.
    ended = threading.Event()

    def run(unit: Unit) -> Result:
        # Threads get no signals themselves, and an error in one unit ends the others.
        with interruption.stop_on(ended):
            interruption.check()
            return work(unit)

    unit_work = interruption.hand_on(run)
    # No unit may write once the folder's lock is gone: the pool waits for those in work.
    with ThreadPoolExecutor(workers, "unmask-unit") as pool:
        try:
            waiting = iter(units)
            live = {pool.submit(unit_work, unit) for unit in islice(waiting, workers)}
            while live:
                finished, live = wait(live, return_when=FIRST_COMPLETED)
                for future in finished:
                    done(future.result())
                live |= {pool.submit(unit_work, unit) for unit in islice(waiting, len(finished))}
        finally:
            ended.set()


def _on_cluster(
    distributed: Any,
    client: Any,
    work: Callable[[Unit], Result],
    units: Iterable[Unit],
    done: Callable[[Result], None],
) -> None:
    waiting, live = iter(units), set[Any]()
    completed = distributed.as_completed(loop=client.loop)

    def submit(count: int) -> None:
        futures = client.map(work, list(islice(waiting, count)), pure=False, retries=0)
        live.update(futures)
        completed.update(futures)

    try:
        submit(_WINDOW)
        while live:
            future = next(completed)
            done(future.result())
            future.release()
            live.discard(future)
            if len(live) <= _WINDOW - _BATCH:
                submit(_BATCH)
    except distributed.KilledWorker as error:
        raise DataError(
            message(
                "--workers",
                expected="workers that survive their work",
                found=f"several that died over the same part of it ({error})",
                do="Mostly they lack memory: take a smaller infer.block (train.batch_size if they "
                "train), or workers with more memory. What is finished is kept: resume "
                "with --resume.",
            )
        ) from error
    finally:
        client.cancel(list(live))


@contextmanager
def _client(distributed: Any, cluster: str) -> Generator[Any, None, None]:
    check_workers(cluster)
    kind, _, count = cluster.partition(":")
    options: dict[str, Any] = {"address": cluster, "timeout": 20}
    if kind in _KINDS:
        # Without a dashboard the scheduler still listens, at a port that another one may have.
        options = {"n_workers": int(count), "threads_per_worker": 1}
        options["dashboard_address"] = "127.0.0.1:0"
        options["processes"] = kind == "processes"
    try:
        client = distributed.Client(**options, set_as_default=False)
    except (OSError, RuntimeError, TimeoutError, ValueError) as error:
        raise _no_scheduler(cluster, f"none ({error or type(error).__name__})") from error
    with client:
        yield client


def _no_scheduler(cluster: str, found: str) -> RecipeError:
    return RecipeError(
        message(
            f"--workers {cluster}",
            expected="the address of a running dask scheduler (tcp://host:8786), threads:N or "
            "processes:N with N of 1 or more",
            found=found,
            do="Start one with: dask scheduler; dask worker ADDRESS.",
        )
    )
