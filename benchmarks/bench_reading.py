"""Reading: random tiles of an OME-Zarr, regions of a slide, and the opening of large folders.

The files are in the page cache. "from memory" reads tiles whose chunks were decoded before, as
training does; each read checks whether the files of its chunks have changed, and so does the peer.
"decoded" keeps nothing, so that every chunk is read and decoded. Peers: TensorStore with one thread
(``pip install tensorstore``; left out where it is not installed), zarr-python, tifffile's own
``aszarr``, and for folders the libraries that read headers (tifffile, Pillow). All readers must
give the same values. Floors: the copy of a tile, or reading and decoding the chunks in a loop.
"""

from __future__ import annotations

import importlib
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
import zarr
from PIL import Image as Pillow
from scipy import ndimage

import harness
from unmask.data.pairs import Layout, audit_pairs
from unmask.io import Image, open_image
from unmask.io.cache import sparing
from unmask.io.zarr import create_zarr
from unmask.memory import track_growth
from unmask.space.box import Box

SIDE, CHUNK, TILE, REGION = 2048, 128, 256, 512
TILES, REPEATS = 100, 5
FILES, KINDS = 10_000, 20
# Sides of slides, and bytes of decoded tiles that are kept: as in training, and as in prediction.
SLIDES, KEPT, REGIONS = (8_192, 16_384, 32_768), (256 << 20, 8 << 20), 400
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


def tensorstore(path: Path, cache: int = 0) -> Read | None:
    """The peer's reader with a cache of so many bytes, or None where it is not installed."""
    try:
        library: Any = importlib.import_module("tensorstore")
    except ImportError:
        return None
    one = {"limit": 1}
    pool = {"cache_pool": {"total_bytes_limit": cache}}
    array = library.open(
        {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": str(path)},
            "recheck_cached_data": True,
            "context": {"data_copy_concurrency": one, "file_io_concurrency": one, **pool},
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


def row(
    what: str, count: int, seconds: dict[str, float], note: str, peer: str = "peer"
) -> dict[str, Any]:
    """One row, in reads per second."""
    other, floor = seconds.get(peer), seconds.get("floor")
    return {
        "what": what,
        "ours": count / seconds["ours"],
        "peer": None if other is None else count / other,
        "ratio": None if other is None else other / seconds["ours"],
        "floor": None if floor is None else count / floor,
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
    image, fresh = ours(open_image(path)), ours(open_image(path))
    plain = zarr.open_array(path / "0", mode="r")
    other, cached = tensorstore(path / "0"), tensorstore(path / "0", 1 << 28)
    rows = []
    for name, chosen in places.items():
        corners = [(int(y), int(x)) for y, x in chosen]
        readers = {
            "ours": image,
            "peer": cached,
            "floor": lambda y, x, n: values[y : y + n, x : x + n].copy(),
        }
        what = f"tiles of {TILE}^2, chunks of {CHUNK}^2, zstd, {name}"
        seconds = time_reads(readers, values, corners)
        rows.append(row(f"{what}, from memory", TILES, seconds, "peer TensorStore with a cache"))
        readers = {
            "ours": fresh,
            "peer": other,
            "zarr": lambda y, x, n: plain[y : y + n, x : x + n],
        }
        if name == "aligned":
            readers["floor"] = loop_over_chunks(path / "0" / "c")
        # What an image keeps from before is served, whatever may be kept now.
        with sparing(1):
            seconds = time_reads(readers, values, corners)
        rows.append(row(f"{what}, decoded", TILES, seconds, "peer TensorStore"))
        rows.append(row(f"{what}, decoded", TILES, seconds, "peer zarr-python", "zarr"))
    return rows


def loop_over_chunks(folder: Path) -> Read:
    """The least that an aligned tile takes in Python: open, read and decode its chunks."""

    def read(y: int, x: int, n: int) -> np.ndarray:
        out = np.empty((n, n), np.uint8)
        for down in range(0, n, CHUNK):
            for across in range(0, n, CHUNK):
                name = f"{folder}/{(y + down) // CHUNK}/{(x + across) // CHUNK}"
                handle = os.open(name, os.O_RDONLY)
                data = os.read(handle, 2 * CHUNK**2)
                os.close(handle)
                plain = imagecodecs.zstd_decode(data, out=CHUNK**2)
                part = np.frombuffer(plain, np.uint8).reshape(CHUNK, CHUNK)
                out[down : down + CHUNK, across : across + CHUNK] = part
        return out

    return read


def time_reads(
    readers: dict[str, Read | None], values: np.ndarray, corners: Corners
) -> dict[str, float]:
    """CPU seconds of every reader that there is; all must read the same."""
    known = {name: read for name, read in readers.items() if read is not None}
    y, x = corners[0]
    for read in known.values():
        found = np.asarray(read(y, x, TILE)).reshape(TILE, TILE)
        assert (found == values[y : y + TILE, x : x + TILE]).all()
    runs = {name: lambda r=read: read_all(r, corners, TILE) for name, read in known.items()}
    return harness.interleave(runs, REPEATS)


def regions(folder: Path) -> list[dict[str, Any]]:
    """The rows of slides."""
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


def memory(folder: Path) -> list[dict[str, Any]]:
    """The rows of the memory that slides of several sizes take, each in a process of its own."""
    tile = bytes(imagecodecs.jpeg8_encode(smooth(256, 256, 3), level=90))
    rows = []
    for side in SLIDES:
        path = folder / f"{side}.tif"
        write_slide(path, side, tile)
        for kept in KEPT:
            with get_context("spawn").Pool(1) as pool:
                grown = pool.apply(growth_of_regions, (path, side, kept))
            note = f"growth by reading; at most {kept >> 20} MiB of decoded tiles are kept; " \
                f"the slide has {3 * side**2 / 1e6:,.0f} MB as values"  # fmt: skip
            what = f"{REGIONS} regions of {REGION}^2 of a slide of {side}^2"
            rows.append({"what": what, "ours": grown / 1e6, "unit": "MB", "note": note})
        path.unlink()
    return rows


def write_slide(path: Path, side: int, tile: bytes) -> None:
    """A slide of which every tile is the same."""
    count = (side // 256) ** 2
    tifffile.imwrite(path, (tile for _ in range(count)), shape=(side, side, 3), dtype=np.uint8,
                     tile=(256, 256), compression="jpeg", photometric="rgb")  # fmt: skip


def growth_of_regions(path: Path, side: int, kept: int) -> int:
    """How many bytes this process grows by when it opens a slide and reads random regions."""
    rng = np.random.default_rng(1)
    grown = track_growth()
    read = ours(open_image(path))
    with sparing(kept):
        for y, x in rng.integers(0, side - REGION, (REGIONS, 2)):
            read(int(y), int(x), REGION)
    return grown()


def folders(folder: Path) -> list[dict[str, Any]]:
    """The rows of large folders: half TIFF, half PNG, alone and with labels."""
    rng = np.random.default_rng(0)
    for part in ("images", "labels"):
        (folder / part).mkdir()
        for number in range(KINDS):
            values = rng.integers(0, 9, (96, 96)).astype(np.uint8)
            name = folder / f"{part}{number}"
            if number % 2:
                tifffile.imwrite(name, values, compression="zlib")
            else:
                Pillow.fromarray(values).save(name, format="PNG")
    for number in range(FILES):
        kind, suffix = number % KINDS, ".tif" if number % 2 else ".png"
        (folder / "images" / f"f{number}{suffix}").hardlink_to(folder / f"images{kind}")
        if number < FILES // 2:
            (folder / "labels" / f"f{number}{suffix}").hardlink_to(folder / f"labels{kind}")
    half = [
        str(folder / "images" / f"f{n}{'.tif' if n % 2 else '.png'}") for n in range(FILES // 2)
    ]
    rows = []
    for what, images, labels in [
        (f"opening {FILES:,} files, TIFF and PNG", [str(folder / "images")], None),
        (f"opening {FILES // 2:,} pairs, TIFF and PNG", half, str(folder / "labels")),
    ]:
        runs = {
            "ours": lambda i=images, t=labels: len(audit_pairs(i, t, Layout(2)).pairs),
            "peer": lambda: read_headers(folder / "images"),
        }
        note = f"peer tifffile and Pillow, headers of {FILES:,} files alone"
        rows.append(harness.row(what, time_once(runs), note=note))
    return rows


def time_once(runs: dict[str, Callable[[], int]]) -> dict[str, float]:
    """CPU seconds of one call each: a user opens a folder once, and it takes seconds."""
    seconds = {}
    for name, run in runs.items():
        begin = time.process_time()
        run()
        seconds[name] = time.process_time() - begin
    return seconds


def read_headers(folder: Path) -> int:
    """Sizes of all images, by the libraries."""
    total = 0
    for path in folder.iterdir():
        if path.suffix == ".png":
            with Pillow.open(path) as picture:
                total += picture.size[0]
        else:
            with tifffile.TiffFile(path) as file:
                total += file.series[0].shape[0]
    return total


def main() -> None:
    """Measure and write."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        harness.write(
            "reading", [*memory(folder), *regions(folder), *tiles(folder), *folders(folder)]
        )


if __name__ == "__main__":
    main()
