"""Reading: random tiles of an OME-Zarr and regions of a tiled JPEG slide, per CPU second.

The files are in the page cache. "from memory" reads tiles whose chunks were decoded before, as
training does; "decoded" opens the image again, so that every chunk is read and decoded once. Peers:
TensorStore with one thread (``pip install tensorstore``; left out where it is not installed), and
tifffile's own ``aszarr``. All readers must give the same values.
"""

from __future__ import annotations

import importlib
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from scipy import ndimage

import harness
from unmask.io import Image, open_image
from unmask.io.zarr import create_zarr
from unmask.space.box import Box

SIDE, CHUNK, TILE, REGION = 2048, 128, 256, 512
TILES, REPEATS = 600, 3
_REST = 11  # A file that was just written is not served from memory for ten seconds.

Corners = Sequence[tuple[int, int]]
Read = Callable[[int, int, int], np.ndarray]


def smooth(*shape: int) -> np.ndarray:
    """An 8-bit image that packs about as well as a micrograph."""
    noise = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    values = ndimage.gaussian_filter(noise, (2, 2, *(0,) * (len(shape) - 2)))
    return ((values - values.min()) / np.ptp(values) * 255).astype(np.uint8)


def ours(image: Image) -> Read:
    return lambda y, x, n: image.read(Box((y, x), (y + n, x + n)))


def tensorstore(path: Path) -> Read | None:
    """The peer's reader, or None where it is not installed."""
    try:
        library: Any = importlib.import_module("tensorstore")
    except ImportError:
        return None
    one = {"limit": 1}
    array = library.open(
        {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": str(path)},
            "context": {"data_copy_concurrency": one, "file_io_concurrency": one},
        }
    ).result()
    return lambda y, x, n: array[y : y + n, x : x + n].read().result()


def aszarr(path: Path) -> Read:
    """tifffile's view of a slide, channels last."""
    store: Any = tifffile.imread(path, aszarr=True)
    array: Any = zarr.open(store, mode="r")
    return lambda y, x, n: np.asarray(array[y : y + n, x : x + n])


def read_all(read: Read, corners: Corners, length: int) -> None:
    for y, x in corners:
        read(y, x, length)


def row(what: str, count: int, seconds: dict[str, float], note: str) -> dict[str, Any]:
    """One row, in reads per second."""
    peer = seconds.get("peer")
    return {
        "what": what,
        "ours": count / seconds["ours"],
        "peer": None if peer is None else count / peer,
        "ratio": None if peer is None else peer / seconds["ours"],
        "floor": None,
        "unit": "1/s",
        "note": note,
    }


def tiles(folder: Path) -> list[dict[str, Any]]:
    """Rows of the OME-Zarr."""
    path, values = folder / "image.ome.zarr", smooth(SIDE, SIDE)
    array = create_zarr(path, values.shape, values.dtype, axes="YX", chunks=(CHUNK, CHUNK))
    array[...] = values
    time.sleep(_REST)
    rng, last = np.random.default_rng(1), SIDE - TILE
    places = {
        "aligned": rng.integers(0, last // CHUNK + 1, (TILES, 2)) * CHUNK,
        "unaligned": rng.integers(0, last + 1, (TILES, 2)),
    }
    image, other = ours(open_image(path)), tensorstore(path / "0")
    rows = []
    for name, chosen in places.items():
        corners = [(int(y), int(x)) for y, x in chosen]
        y, x = corners[0]
        expected = values[y : y + TILE, x : x + TILE]
        runs = {"ours": lambda c=corners: read_all(image, c, TILE)}
        assert (image(y, x, TILE)[0] == expected).all()
        if other is not None:
            assert (other(y, x, TILE) == expected).all()
            runs["peer"] = lambda c=corners: read_all(other, c, TILE)
        what = f"tiles of {TILE}^2, chunks of {CHUNK}^2, zstd, {name}, from memory"
        rows.append(row(what, TILES, harness.interleave(runs, REPEATS), "peer TensorStore"))
    grid = [(y, x) for y in range(0, SIDE, TILE) for x in range(0, SIDE, TILE)]
    runs = {"ours": lambda: read_all(ours(open_image(path)), grid, TILE)}
    if other is not None:
        runs["peer"] = lambda: read_all(other, grid, TILE)
    what = f"tiles of {TILE}^2, chunks of {CHUNK}^2, zstd, aligned, decoded"
    rows.append(row(what, len(grid), harness.interleave(runs, REPEATS), "peer TensorStore"))
    return rows


def regions(folder: Path) -> list[dict[str, Any]]:
    """The row of the slide."""
    path = folder / "slide.tif"
    tifffile.imwrite(path, smooth(SIDE, SIDE, 3), tile=(256, 256), compression="jpeg",
                     photometric="rgb")  # fmt: skip
    time.sleep(_REST)
    grid = [(y, x) for y in range(0, SIDE, REGION) for x in range(0, SIDE, REGION)]
    one, other = ours(open_image(path))(512, 1024, REGION), aszarr(path)(512, 1024, REGION)
    assert (np.moveaxis(one, 0, -1) == other).all()
    runs = {
        "ours": lambda: read_all(ours(open_image(path)), grid, REGION),
        "peer": lambda: read_all(aszarr(path), grid, REGION),
    }
    what = f"regions of {REGION}^2, JPEG tiles of 256^2, RGB, decoded"
    return [row(what, len(grid), harness.interleave(runs, REPEATS), "peer tifffile aszarr")]


def main() -> None:
    """Measure and write."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        harness.write("reading", [*tiles(folder), *regions(folder)])


if __name__ == "__main__":
    main()
