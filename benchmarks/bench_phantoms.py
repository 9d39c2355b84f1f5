"""Phantoms per second of one thread, for every family in two and three axes.

Each row is the mean over several images of different size of objects, because the cost depends on
how many objects are drawn; "slowest" in the note is the slowest one. Images of two axes have 192^2
pixels (``floor`` 60 per second), volumes 96^3 voxels (2 per second).
"""

from __future__ import annotations

import time
from typing import Any

import harness
from unmask.phantoms import FAMILIES, draw_one

SIZES = {(192, 192): (40, 60.0), (96, 96, 96): (8, 2.0)}


def images_per_second(name: str, shape: tuple[int, ...], count: int) -> tuple[float, float]:
    """Mean rate and the seconds of the slowest image; compiled before the clock starts."""
    for index in range(4):
        draw_one(name, tuple(min(n, 48) for n in shape), index=index)
    seconds = []
    for index in range(count):
        begin = time.process_time()
        draw_one(name, shape, seed=1, index=index)
        seconds.append(time.process_time() - begin)
    return count / sum(seconds), max(seconds)


def main() -> None:
    """Measure and write docs/results/phantoms.json."""
    rows: list[dict[str, Any]] = []
    for shape, (count, floor) in SIZES.items():
        for name in FAMILIES:
            rate, slowest = images_per_second(name, shape, count)
            what = f"{name}, {' x '.join(map(str, shape))}"
            note = f"slowest {1000 * slowest:.0f} ms"
            rows.append(harness.row(what, {"ours": rate}, floor=floor, unit="images/s", note=note))
    harness.write("phantoms", rows)


if __name__ == "__main__":
    main()
