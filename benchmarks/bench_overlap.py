"""Reading, network and decoding of a folder of images, overlapped on two cores.

    python benchmarks/bench_overlap.py [--count 200]

``unmask predict --profile`` works on a folder of images of 256^2 to 2048^2, made of the
validation images of dsb2018_nuclei (UNMASK_DATA). The network has one thread, so that the other
core is free for reading and decoding. ``ours`` is the wall time of the files over that of the
longest stage; the goal is 1.15. Both cores must be idle: the wall time of a stage counts the time
in which it waits for a core. Imports and the loading of the model come before and are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from accuracy import DATA
from harness import write
from unmask.io import open_image

# Share of the images of every side.
SIDES = {256: 0.4, 512: 0.3, 1024: 0.2, 2048: 0.1}
STAGES = ("reading", "network", "decoding", "writing")


def save_images(folder: Path, count: int) -> None:
    """Write images of all sides, mirrored to size, in a mixed order."""
    sources = sorted((DATA / "dsb2018_nuclei" / "val" / "images").iterdir())
    sides = [side for side, share in SIDES.items() for _ in range(max(1, round(count * share)))]
    for number, index in enumerate(np.random.default_rng(0).permutation(len(sides))):
        side = sides[index]
        image = open_image(sources[number % len(sources)], ndim=2).read()
        image = np.moveaxis(image[[0, min(1, len(image) - 1), min(2, len(image) - 1)]], 0, -1)
        while min(image.shape[:2]) < side:
            image = np.concatenate([image, image[::-1]], axis=0)
            image = np.concatenate([image, image[:, ::-1]], axis=1)
        image = np.ascontiguousarray(image[:side, :side])
        tifffile.imwrite(folder / f"{number:03}.tif", image, photometric="rgb", compression="zlib")


def predict(images: Path, out: Path) -> dict[str, Any]:
    """Profile of a run in a process of its own."""
    command = [sys.executable, "-m", "unmask", "predict", str(images), "--model", "nuclei"]
    command += ["--out", str(out), "--profile", "--json", "--overwrite"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    records = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return next(each["profile"] for each in records if "profile" in each)


def make_row(profile: dict[str, Any], count: int) -> dict[str, Any]:
    """Wall time over that of the longest stage."""
    seconds = {name: each["seconds"] for name, each in profile["stages"].items()}
    longest = max(seconds.get(name, 0.0) for name in STAGES)
    wall = profile["total"]["seconds"] - seconds.get("model", 0.0)
    parts = ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items())
    return {
        "what": f"{count} images of 256^2 to 2048^2: wall time over the longest stage",
        "ours": wall / longest,
        "floor": 1.0,
        "unit": "ratio",
        "note": f"wall {wall:.1f} s; {parts}; sum of the stages {sum(seconds.values()):.1f} s",
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--try", action="store_true", dest="trial", help="Print, store nothing.")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        images, out = Path(name) / "images", Path(name) / "out"
        images.mkdir()
        save_images(images, asked.count)
        predict(next(images.iterdir()), Path(name) / "warm")  # compiles kernels
        row = make_row(predict(images, out), len(list(images.iterdir())))
    if asked.trial:
        print(row)
    else:
        write("overlap", [row])


if __name__ == "__main__":
    main()
