"""Reading, network and decoding of a folder of images or a volume, overlapped on two cores.

    python benchmarks/bench_overlap.py [--count 200]
    python benchmarks/bench_overlap.py --volume 512

``unmask predict --profile`` works on a folder of images of 256^2 to 2048^2, made of the
validation images of dsb2018_nuclei (UNMASK_DATA). The network has one thread, so that the other
core is free for reading and decoding. ``ours`` is the wall time of the files over that of the
longest stage; the goal is 1.15. Both cores must be idle: the wall time of a stage counts the time
in which it waits for a core. Imports and the loading of the model come before and are left out.
``--volume`` predicts one volume with `phantoms3d`, made of the training volume of
plant_nuclei_3d_mini, and writes docs/results/volume.json.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
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


def save_volume(path: Path, side: int) -> None:
    """Write a volume of ``side`` voxels per axis, mirrored to size."""
    (source,) = (DATA / "plant_nuclei_3d_mini" / "train" / "images").iterdir()
    volume = open_image(source, ndim=3).read()[0]
    pad = [(0, side - length) for length in volume.shape]
    tifffile.imwrite(path, np.pad(volume, pad, mode="symmetric"), compression="zlib")


def predict(images: Path, out: Path, model: str = "nuclei") -> dict[str, Any]:
    """Profile of a run in a process of its own."""
    command = [sys.executable, "-m", "unmask", "predict", str(images), "--model", model]
    command += ["--out", str(out), "--profile", "--json", "--overwrite"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    records = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return next(each["profile"] for each in records if "profile" in each)


def make_row(profile: dict[str, Any], what: str) -> dict[str, Any]:
    """Wall time over that of the longest stage."""
    seconds = {name: each["seconds"] for name, each in profile["stages"].items()}
    longest = max(seconds.get(name, 0.0) for name in STAGES)
    wall = profile["total"]["seconds"] - seconds.get("model", 0.0)
    parts = ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items())
    return {
        "what": f"{what}: wall time over the longest stage",
        "ours": wall / longest,
        "floor": 1.0,
        "unit": "ratio",
        "note": f"wall {wall:.1f} s; {parts}; sum of the stages {sum(seconds.values()):.1f} s",
    }


def measure_images(folder: Path, count: int) -> list[dict[str, Any]]:
    """The row of a folder of images."""
    images, out = folder / "images", folder / "out"
    images.mkdir()
    save_images(images, count)
    predict(next(images.iterdir()), folder / "warm")  # compiles kernels
    profile = predict(images, out)
    return [make_row(profile, f"{len(list(images.iterdir()))} images of 256^2 to 2048^2")]


def measure_volume(folder: Path, side: int) -> list[dict[str, Any]]:
    """The rows of a volume: overlap, and memory of the process."""
    small, large = folder / "small.tif", folder / "large.tif"
    save_volume(small, 100)
    save_volume(large, side)
    predict(small, folder / "warm", "phantoms3d")
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    row = make_row(predict(large, folder / "out", "phantoms3d"), f"{side}^3 voxels, phantoms3d")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    (labels,) = (folder / "out").glob("large*.tif")
    count = int(tifffile.imread(labels).max())
    memory = {"what": f"{side}^3 voxels, phantoms3d: peak memory", "ours": peak / 1e6, "unit": "GB"}
    memory["note"] = f"that of 100^3 is {before / 1e6:.2f} GB; {count} objects"
    return [row, memory]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--try", action="store_true", dest="trial", help="Print, store nothing.")
    parser.add_argument("--volume", type=int, metavar="SIDE", help="A volume instead of images.")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rows = (
            measure_images(Path(name), asked.count)
            if asked.volume is None
            else measure_volume(Path(name), asked.volume)
        )
    if asked.trial:
        print(rows)
    else:
        write("overlap" if asked.volume is None else "volume", rows)


if __name__ == "__main__":
    main()
