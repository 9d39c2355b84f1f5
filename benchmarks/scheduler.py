"""Blocks of very large volumes on a dask cluster: what planning, scheduler and client take.

    python benchmarks/scheduler.py                      10^6 planned, 10^3 and 10^4 run
    python benchmarks/scheduler.py --blocks 1000000     takes some ten minutes of one core

Blocks do no work and return the facts of a real one, so that only planning, the scheduler and the
client are measured; everything runs in one process, whose memory is that of all of them. Times are
CPU seconds. Results go to docs/results/scheduler.json.
"""

from __future__ import annotations

import argparse
import json
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
FACTS = json.dumps(
    {"top": 120, "own": 90, "dropped": {"unsettled": 12, "min_size": 3}, "objects": [90, 1.5]}
)


def label(grid: Grid, number: int) -> tuple[int, dict[str, Any]]:
    """A block without work; its facts are objects of their own, as those from a worker are."""
    assert grid.tile(number).write.size > 0
    return number, json.loads(FACTS)


def grid_of(count: int) -> Grid:
    """A cube of about so many blocks."""
    return Grid((round(count ** (1 / 3)) * EDGE,) * 3, (EDGE,) * 3, HALO)


def plan(count: int) -> dict[str, Any]:
    """What is done before the first block, and the facts of all blocks in memory at the end."""
    before, begin = peak_memory(), time.process_time()
    grid = grid_of(count)
    given = {"channels": 1, "classes": 4, "itemsize": 1, "store": False}
    forecast_blocks(grid, Tiling((64, 64, 64), overlap=0.25), **given)
    missing = list(range(len(grid)))
    seconds = time.process_time() - begin
    facts = dict(label(grid, number) for number in missing)
    assert len(facts) == len(grid)
    return {
        "what": f"{len(grid):,} blocks planned",
        "ours": seconds,
        "unit": "s",
        "note": f"facts of all blocks in memory: {grown_since(before):.2f} GB",
    }


def simulate(count: int, workers: int = WORKERS) -> dict[str, Any]:
    """Run about ``count`` blocks of a cube."""
    before, grid = peak_memory(), grid_of(count)
    facts: dict[int, Any] = {}
    known = [0]
    options = {"processes": False, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(n_workers=workers, **options) as cluster:

        def done(block: tuple[int, dict[str, Any]]) -> None:
            facts[block[0]] = block[1]
            if len(facts) % 100 == 0:
                known[0] = max(known[0], len(cluster.scheduler.tasks))

        begin = time.process_time()
        with scheduler(cluster.scheduler_address) as run:
            run(partial(label, grid), range(len(grid)), done)
        seconds = time.process_time() - begin
    assert len(facts) == len(grid), (len(facts), len(grid))
    return {
        "what": f"{len(grid):,} blocks run, {workers} workers, all in one process",
        "ours": seconds / len(grid) * 1e3,
        "unit": "ms per block",
        "note": f"{grown_since(before):.2f} GB more; at most {known[0]:,} tasks in the scheduler",
    }


def peak_memory() -> float:
    """Largest resident memory of this process in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def grown_since(before: float) -> float:
    """Gigabytes that the peak has grown by."""
    return (peak_memory() - before) / 1e9


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--blocks", default="1000,10000", help="numbers of blocks that are run")
    parser.add_argument("--planned", default="1000000", help="numbers of blocks that are planned")
    parser.add_argument("--dry", action="store_true", help="print the rows, write nothing")
    asked = parser.parse_args(arguments)
    rows = []
    for work, counts in ((plan, asked.planned), (simulate, asked.blocks)):
        for count in filter(None, counts.split(",")):
            rows.append(work(int(count)))
            print(rows[-1], flush=True)
    if not asked.dry:
        write("scheduler", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
