"""Memory and time of predicting one image of 10,000 x 10,000 RGB, compared with a small one.

    python benchmarks/large.py MODEL [MODEL ...] [--side 10000]

The image is made of the RGB validation images of dsb2018_nuclei and written as a tiled, compressed
TIFF. ``unmask predict`` runs in a process of its own, whose peak memory is read when it has ended;
that of an image of 256 x 256 is what program and model take. Data are read from UNMASK_DATA; the
figures go to docs/results/large.json.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from accuracy import DATA, kinds_of
from harness import write
from unmask.io import open_image

TILE = 512


def tiles(side: int) -> Iterator[np.ndarray]:
    """The image's tiles ``(TILE, TILE, 3)``, row by row: parts of photographs, mirrored to fit."""
    folder = DATA / "dsb2018_nuclei"
    kinds = dict(kinds_of(folder / "index.csv"))
    paths = [
        path for path in sorted((folder / "val" / "images").iterdir()) if kinds[path.stem] == "rgb"
    ]
    images = [np.moveaxis(open_image(path, ndim=2).read()[:3], 0, -1) for path in paths]
    wide = [
        np.pad(each, [(0, max(0, TILE - n)) for n in each.shape[:2]] + [(0, 0)], "reflect")
        for each in images
    ]
    count = -(-side // TILE)
    for number in range(count * count):
        yield np.ascontiguousarray(wide[number % len(wide)][:TILE, :TILE])


def save(path: Path, side: int) -> None:
    """The image as a file, tile by tile."""
    tifffile.imwrite(
        path,
        tiles(side),
        shape=(side, side, 3),
        dtype=np.uint8,
        tile=(TILE, TILE),
        photometric="rgb",
        compression="zlib",
    )


def predicted(model: str, image: Path, out: Path) -> tuple[float, float]:
    """Peak memory in GB and CPU seconds of ``unmask predict`` on one image."""
    program = str(Path(sys.executable).with_name("unmask"))
    command = [program, "predict", "--model", model, str(image), "--out", str(out), "--overwrite"]
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_maxrss * 1024 / 1e9, usage.ru_utime + usage.ru_stime


def row(model: str, folder: Path, side: int) -> dict[str, Any]:
    """Memory of the large image above that of the small one."""
    small, _ = predicted(model, folder / "small.tif", folder / "out_small")
    large, seconds = predicted(model, folder / "large.tif", folder / "out_large")
    return {
        "what": f"{side:,} x {side:,} RGB, {Path(model).name}",
        "ours": large - small,
        "unit": "GB",
        "note": f"above the {small:.2f} GB of a small image; {seconds / 60:.1f} CPU minutes",
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--side", type=int, default=10_000)
    asked = parser.parse_args()
    rows = []
    for model in asked.models:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            save(folder / "small.tif", 256)
            save(folder / "large.tif", asked.side)
            rows.append(row(model, folder, asked.side))
    write("large", rows)


if __name__ == "__main__":
    main()
