"""Blocks of very large volumes on a dask cluster: what the scheduler and the client take.

    python benchmarks/scheduler.py                      10^3, 10^4 and 10^5 blocks
    python benchmarks/scheduler.py --blocks 1000000     takes about ten minutes of one core

Blocks do no work and return the facts of a real one, so that only planning, the scheduler and the
client are measured; everything runs in one process, whose memory is that of all three. ``ours`` is
the time per block; ``floor`` would be a cluster that takes none. Results go to
docs/results/scheduler.json.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from distributed import LocalCluster

from harness import write
from unmask.blocks.grid import Grid, forecast_blocks
from unmask.blocks.scheduler import scheduler
from unmask.space.tiling import Tiling

EDGE, HALO, WORKERS = 96, 32, 4
# What the engine keeps of a block: ids, and notes on what was dropped.
FACTS = {"top": 120, "own": 90, "dropped": {"unsettled": 12, "min_size": 3}, "objects": [90, 1.5]}


def label(grid: Grid, number: int) -> tuple[int, dict[str, Any]]:
    """A block without work; its facts are an object of their own, as those from a worker are."""
    assert grid.tile(number).write.size > 0
    return number, dict(FACTS)


def simulate(count: int, workers: int = WORKERS) -> dict[str, Any]:
    """Plan and run about ``count`` blocks of a cube; one row of the table."""
    side = round(count ** (1 / 3))
    before = peak_memory()
    begin = time.perf_counter()
    grid = Grid((side * EDGE,) * 3, (EDGE,) * 3, HALO)
    tiling = Tiling((64, 64, 64), overlap=0.25)
    cost = forecast_blocks(grid, tiling, channels=1, classes=4, itemsize=1, store=False)
    missing = list(range(len(grid)))
    planned = time.perf_counter() - begin
    facts: dict[int, Any] = {}
    known = [0]
    options = {"processes": False, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(n_workers=workers, **options) as cluster:

        def done(block: tuple[int, dict[str, Any]]) -> None:
            facts[block[0]] = block[1]
            if len(facts) % 500 == 0:
                known[0] = max(known[0], len(cluster.scheduler.tasks))

        begin = time.perf_counter()
        with scheduler(cluster.scheduler_address) as run:
            run(partial(label, grid), missing, done)
        seconds = time.perf_counter() - begin
    assert len(facts) == len(grid), (len(facts), len(grid))
    grown = (peak_memory() - before) / 1e9
    return {
        "what": f"{len(grid):,} blocks, {workers} workers in one process",
        "ours": seconds / len(grid) * 1e3,
        "unit": "ms per block",
        "note": f"planned in {planned:.2f} s; {seconds:.0f} s in all; {grown:.2f} GB more; at most "
        f"{known[0]:,} tasks in the scheduler; {cost.windows:,} windows",
    }


def peak_memory() -> float:
    """Largest resident memory of this process in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--blocks", default="1000,10000,100000", help="numbers of blocks")
    parser.add_argument("--dry", action="store_true", help="print the rows, write nothing")
    asked = parser.parse_args(arguments)
    rows = [simulate(int(count)) for count in asked.blocks.split(",")]
    if asked.dry:
        print(*rows, sep="\n")
    else:
        write("scheduler", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
