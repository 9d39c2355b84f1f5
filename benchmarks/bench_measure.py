"""Tables of objects and outlines: against regionprops_table, the cost of reading, and memory.

Before the clock starts the columns that scikit-image has are compared with ours. Memory is that of
child processes that measure a volume made by a formula in blocks of 128^3 voxels, once of 192^3 and
once of 64 times as many voxels. Outlines of 1,000 random label images are written and read back in
three formats; a pixel that differs fails the benchmark.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage as ndi
from skimage.measure import regionprops_table

import harness
import unmask
from bench_flows import discs
from unmask.io import Image, open_image, open_labels, save_image
from unmask.measurement import measure_image
from unmask.measurement.volume import Scale

SIDE, OBJECTS = 3072, 100
REPEATS = 3
SHAPE_NAMES = {"area": "area", "orientation": "orientation", "perimeter": "perimeter",
               "solidity": "solidity", "euler_number": "euler_number",
               "axis_major_length": "axis_major_length",
               "axis_minor_length": "axis_minor_length", "centroid_y": "centroid-0",
               "centroid_x": "centroid-1", "bbox_y_min": "bbox-0",
               "bbox_x_max": "bbox-3"}  # fmt: skip
VALUE_NAMES = ("mean", "median", "min", "max", "std")
IMAGES = 1000
# Pitch and side of the cubes of the volume, so that most of them reach into several blocks.
PITCH, CUBE, BLOCK = 60, 48, 128


def scene() -> tuple[np.ndarray, np.ndarray]:
    """10,000 discs in 3072^2, and three channels of 16 bits."""
    labels = discs(SIDE, OBJECTS).astype(np.uint16)
    rng = np.random.default_rng(0)
    noise = rng.normal(3000, 400, (3, SIDE, SIDE)) + 500 * (labels > 0)
    return labels, noise.astype(np.uint16)


def peer_table(labels: np.ndarray, values: np.ndarray) -> dict[str, np.ndarray]:
    """The same columns by scikit-image."""
    names = {name.split("-")[0] for name in SHAPE_NAMES.values()}
    properties = ["label", *names, *(f"intensity_{name}" for name in VALUE_NAMES)]
    return regionprops_table(
        labels, np.moveaxis(values, 0, -1), properties=properties, spacing=(0.5, 0.5)
    ) | regionprops_table(labels, properties=["label", *names])


def check_equal(ours: Any, peer: dict[str, np.ndarray]) -> None:
    pairs = dict(SHAPE_NAMES)
    pairs |= {
        f"{name}_channel_{c}": f"intensity_{name}-{c}" for name in VALUE_NAMES for c in range(3)
    }
    for name, other in pairs.items():
        np.testing.assert_allclose(ours[name], peer[other], rtol=1e-9, atol=1e-9, err_msg=name)


def table_rows(labels: np.ndarray, values: np.ndarray, folder: Path) -> list[dict[str, Any]]:
    """Time against scikit-image in memory, and against reading in files."""
    spacing = (0.5, 0.5)
    ours = unmask.measure(labels, images=values, spacing=spacing)
    begin = time.process_time()
    peer = peer_table(labels, values)
    seconds = {"peer": time.process_time() - begin}
    check_equal(ours, peer)
    seconds["ours"] = harness.measure(
        lambda: unmask.measure(labels, images=values, spacing=spacing), REPEATS
    )
    what = f"{len(ours)} objects in {SIDE}^2, 3 channels"
    rows = [harness.row(f"table, {what}", seconds, note="peer: regionprops_table, equal values")]
    paths = folder / "labels.tif", folder / "image.tif"
    save_image(paths[0], labels, spacing=spacing, unit="um")
    save_image(paths[1], values, axes="CYX")

    def read() -> int:
        return int(open_labels(paths[0]).read().max()) + int(open_image(paths[1]).read().max())

    runs = {"ours": lambda: unmask.measure(paths[0], images=paths[1]), "peer": read}
    times = harness.interleave(runs, REPEATS)
    rows.append(harness.row(f"table from TIFF, {what}", times, note="peer: reading the files only"))
    return rows


def outline_rows(labels: np.ndarray, folder: Path) -> list[dict[str, Any]]:
    rows = []
    for suffix in (".zip", ".geojson", ".json"):
        path = folder / f"cells{suffix}"
        seconds = harness.measure(lambda path=path: unmask.write_outlines(path, labels), REPEATS)
        assert (unmask.read_outlines(path, labels.shape) == labels).all()
        what = f"outlines of {len(np.unique(labels)) - 1} objects to {suffix}"
        rows.append(harness.row(what, {"ours": seconds}, note="read back: equal pixels"))
    return rows


def random_labels(seed: int) -> np.ndarray:
    """Touching, broken and pinched objects with holes."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 65, 2))
    smooth = ndi.gaussian_filter(rng.normal(size=(6, *shape)), (0, *rng.uniform(0, 3, 2)))
    labels = smooth.argmax(0) * rng.choice([1, 7, 1000])
    labels[rng.random(shape) < rng.choice([0, 0.02, 0.3])] = rng.integers(0, 3)
    return labels.astype(np.uint16)


def round_trip_row(folder: Path) -> dict[str, Any]:
    differing = 0
    for seed in range(IMAGES):
        labels = random_labels(seed)
        for suffix in (".zip", ".geojson", ".json"):
            path = unmask.write_outlines(folder / f"a{suffix}", labels)
            differing += int((unmask.read_outlines(path, labels.shape) != labels).sum())
    assert differing == 0, differing
    what = f"labels -> outlines -> labels, {IMAGES} random images, 3 formats"
    return harness.row(what, {"ours": float(differing)}, unit="pixels that differ")


def cubes(side: int) -> Image:
    """A volume of cubes that is computed where it is read."""
    count = -(-side // PITCH)

    def fetch(index: tuple[slice, ...]) -> np.ndarray:
        axes = [np.arange(part.start, part.stop) for part in index[1:]]
        ids = sum(
            (axis // PITCH * count**k).reshape([-1 if a == k else 1 for a in range(3)])
            for k, axis in enumerate(axes)
        )
        inside = [(axis % PITCH < CUBE) for axis in axes]
        full = inside[0][:, None, None] & inside[1][:, None] & inside[2]
        return ((ids + 1) * full).astype(np.uint32)[None]

    return Image(
        shape=(1, side, side, side), dtype=np.dtype(np.uint32), axes="CZYX", source="cubes",
        name="cubes", fetch=fetch,
    )  # fmt: skip


def peak_of(side: int) -> None:
    """Measure a volume and print the number of objects and the peak of memory in MiB."""
    volume = cubes(side)
    scale = Scale((1.0, 1.0, 1.0), "um")
    table = measure_image(volume, volume, scale=scale, block=(BLOCK,) * 3)
    assert (table["volume"][:1] == CUBE**3).all()
    # Not ru_maxrss, which a child process inherits from its parent.
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (peak,) = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    print(len(table), int(peak) / 1024)


def memory_row() -> dict[str, Any]:
    peaks = {}
    for side in (192, 768):
        done = subprocess.run(
            [sys.executable, __file__, str(side)], capture_output=True, text=True, check=True
        )
        objects, peak = done.stdout.split()
        peaks[side] = float(peak)
        print(side, objects, peak, flush=True)
    return harness.row(
        f"peak memory, table of 768^3 in blocks of {BLOCK}^3",
        {"ours": peaks[768], "peer": peaks[192]},
        unit="MiB",
        note="peer: ours on 192^3, 64 times fewer voxels",
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        labels, values = scene()
        rows = [*table_rows(labels, values, folder), *outline_rows(labels, folder)]
        rows.append(round_trip_row(folder))
    rows.append(memory_row())
    harness.write("measure", rows)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        peak_of(int(sys.argv[1]))
    else:
        main()
