"""Every bad file is refused at little cost, with its name, what was expected and what to do."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from unmask.errors import DataError
from unmask.io import list_files, open_image, open_labels, save_image
from unmask.memory import track_growth

ARRAY = np.arange(40 * 50, dtype=np.uint16).reshape(40, 50)


def read(path: Path) -> np.ndarray:
    return open_image(path, ndim=2).read()


def refused(path: Path, *words: str, action: Callable[[Path], object] = read) -> str:
    # Time of this process, which a busy machine does not stretch.
    before = time.process_time()
    grown = track_growth()
    with pytest.raises(DataError) as caught:
        action(path)
    assert time.process_time() - before < 1
    assert grown() < 200 * 2**20
    message = str(caught.value)
    assert path.name in message
    assert re.search(r": expected .+, found .+\. .+\.$", message, re.DOTALL), message
    for word in words:
        assert word in message
    return message


def ifd(entries: list[tuple[int, int, int]], following: int = 0) -> bytes:
    """One page: tags of type LONG with one value each."""
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, _, value in entries)
    return struct.pack("<H", len(entries)) + body + struct.pack("<I", following)


def tiff(path: Path, *, tags: dict[int, int], following: int = 0) -> None:
    plain = {256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 16, 279: 256}
    merged = sorted((plain | tags).items())
    page = ifd([(tag, 4, value) for tag, value in merged if value >= 0], following)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + page + bytes(512))


FORMATS_WITH_HEADERS = [
    ".tif",
    ".ome.tif",
    ".png",
    ".bmp",
    ".nii",
    ".nii.gz",
    ".npy",
    ".h5",
    ".jpg",
]


def small_file(path: Path) -> bytes:
    array = ARRAY.astype(np.uint8) if path.suffix in (".bmp", ".jpg") else ARRAY
    save_image(path, array)
    return path.read_bytes()


@pytest.mark.parametrize("suffix", FORMATS_WITH_HEADERS)
def test_empty_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"none{suffix}"
    path.touch()
    refused(path, "0 bytes")


@pytest.mark.parametrize("suffix", FORMATS_WITH_HEADERS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_truncated_file(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"cut{suffix}"
    content = small_file(path)
    path.write_bytes(content[: int(len(content) * share)])
    refused(path)


@pytest.mark.parametrize("suffix", FORMATS_WITH_HEADERS)
def test_web_page_with_an_image_suffix(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"page{suffix}"
    path.write_text("<!DOCTYPE html><html><head><title>404</title></head></html>" * 20)
    refused(path)


@pytest.mark.parametrize("suffix", FORMATS_WITH_HEADERS)
def test_folder_with_an_image_suffix(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"folder{suffix}"
    path.mkdir()
    refused(path, "a folder")


def test_missing_file_and_unknown_suffix(tmp_path: Path) -> None:
    refused(tmp_path / "no.tif", "Check the path")
    refused(tmp_path / ("x" * 300 + ".tif"), "Check the path")
    path = tmp_path / "image.fits"
    path.write_bytes(b"SIMPLE  = T")
    refused(path, ".fits", ".nii.gz")
    (tmp_path / "a.zarr").write_text("no folder")
    refused(tmp_path / "a.zarr")
    (tmp_path / "b.zarr").mkdir()
    refused(tmp_path / "b.zarr", "zarr.json")
    loop = tmp_path / "loop.tif"
    loop.symlink_to(loop)
    refused(loop)


def test_fits_named_png(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"SIMPLE  =                    T" + bytes(3000))
    refused(path, "SIMPLE")


def test_png_named_tif(tmp_path: Path) -> None:
    Pillow.fromarray(ARRAY.astype(np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.tif")
    refused(tmp_path / "a.tif", "PNG", "suffix")


@pytest.mark.parametrize(
    "tags",
    [
        {256: 400_000, 257: 400_000, 278: 400_000, 279: 512},
        {256: 400_000, 257: 400_000, 278: 1, 279: 512},
        {277: 65_000, 256: 60_000, 257: 60_000},
        {322: 2**30, 323: 2**30, 324: 8, 325: 256, 273: -1, 278: -1, 279: -1},
        {256: 2**31 - 1, 257: 2**31 - 1, 259: 8},
    ],
)
def test_tiff_bombs(tmp_path: Path, tags: dict[int, int]) -> None:
    path = tmp_path / "bomb.tif"
    tiff(path, tags=tags)
    refused(path)


def test_tiff_loop_of_pages(tmp_path: Path) -> None:
    tiff(tmp_path / "loop.tif", tags={}, following=8)
    refused(tmp_path / "loop.tif", "loop")


def test_tiff_with_millions_of_pages(tmp_path: Path) -> None:
    path = tmp_path / "many.tif"
    # A page without tags is 6 bytes; ten million of them are 60 MB.
    pages = np.zeros(1_500_000, np.dtype([("tags", "<u2"), ("next", "<u4")]))
    pages["next"] = 8 + 6 * (1 + np.arange(len(pages)))
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + pages.tobytes())
    refused(path, "200000 pages")


def test_tiff_page_past_the_end(tmp_path: Path) -> None:
    tiff(tmp_path / "far.tif", tags={}, following=10_000)
    refused(tmp_path / "far.tif", "truncated")


@pytest.mark.parametrize(
    "description",
    [
        '<OME><Image><Pixels SizeC="1000000000" SizeT="1000" SizeX="9" SizeY="9"/></Image></OME>',
        '<!DOCTYPE a [<!ENTITY b "cccc">]><OME>&b;</OME>',
        '{"shape": [1000000000, 1000, 16, 16]}',
        "ImageJ=1.11a\nimages=1000000000\nslices=1000000000\n",
    ],
    ids=["ome", "entity", "json", "imagej"],
)
def test_tiff_description_bombs(tmp_path: Path, description: str) -> None:
    path = tmp_path / "text.tif"
    image = np.zeros((16, 16), np.uint8)
    tifffile.imwrite(path, image, description=description, metadata=None)
    try:
        # A parser may also see through the claim and read the one page there is.
        assert open_image(path, ndim=2).read().shape == (1, 16, 16)
    except DataError:
        refused(path)


def png(path: Path, *, width: int, height: int, bits: int, color: int) -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    row = 1 + (width * bits * {0: 1, 2: 3}[color] + 7) // 8
    packer = zlib.compressobj(9)
    body = b"".join(packer.compress(bytes(row)) for _ in range(min(height, 4000)))
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", body + packer.flush()) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


def test_png_bomb(tmp_path: Path) -> None:
    png(tmp_path / "bomb.png", width=40_000, height=40_000, bits=1, color=0)
    refused(tmp_path / "bomb.png", "1000 times")


def test_npy_bomb_and_pickle(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros(3))
    huge = b"'shape': (9999999, 9999999), }"
    content = path.read_bytes().replace(b"'shape': (3,), }" + b" " * 14, huge)
    assert huge in content
    path.write_bytes(content)
    refused(path, "truncated")
    np.save(tmp_path / "b.npy", np.array([{}, []], dtype=object), allow_pickle=True)
    refused(tmp_path / "b.npy", "pickle")


def test_nifti_bomb(tmp_path: Path) -> None:
    header = nibabel.Nifti1Header()
    header.set_data_shape((32000, 32000, 1000))
    header.set_data_dtype(np.float64)
    for name in ("a.nii", "b.nii.gz"):
        content = header.binaryblock + bytes(1000)
        (tmp_path / name).write_bytes(gzip.compress(content) if name[-1] == "z" else content)
        refused(tmp_path / name, action=lambda path: open_image(path, ndim=3).read())


def test_zarr_bombs(tmp_path: Path) -> None:
    folder = tmp_path / "a.zarr"
    folder.mkdir()
    array = {
        "zarr_format": 2, "shape": [10**6, 10**6], "chunks": [10**6, 10**6], "dtype": "|u1",
        "compressor": None, "fill_value": 0, "filters": None, "order": "C",
    }  # fmt: skip
    (folder / ".zarray").write_text(json.dumps(array))
    refused(folder, "chunk")
    (folder / ".zarray").write_text(json.dumps(array | {"chunks": [100, 100]}))
    refused(folder, "half of the free memory")
    assert open_image(folder)[0, 10**5, 5:9].tolist() == [0, 0, 0, 0]
    (folder / ".zarray").write_text(" " * (11 * 2**20))
    refused(folder, "10 MiB")


def test_hdf5_bomb_and_keys(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("big", shape=(10**6, 10**6), dtype="u1", chunks=(60_000, 60_000))
        file.create_dataset("deep/small", data=ARRAY)
        file.create_dataset("table", data=np.arange(3))
    refused(path, "big", "deep/small", "a.h5:KEY with one of them")
    refused(tmp_path / "a.h5:none", "deep/small")
    refused(tmp_path / "a.h5:deep")
    assert open_image(f"{path}:deep/small").read().shape == (1, 40, 50)
    assert open_image(f"{path}:/deep/small").name == "a"


@pytest.mark.parametrize("suffix", [".tif", ".h5", ".zarr", ".npy"])
def test_complex_is_refused_by_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"c{suffix}"
    array = np.zeros((8, 8), np.complex64)
    if suffix == ".tif":
        tifffile.imwrite(path, array)
    elif suffix == ".npy":
        np.save(path, array)
    elif suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["data"] = array
    else:
        path.mkdir()
        meta = {
            "zarr_format": 2, "shape": [8, 8], "chunks": [8, 8], "dtype": "<c8",
            "compressor": None, "fill_value": None, "filters": None, "order": "C",
        }  # fmt: skip
        (path / ".zarray").write_text(json.dumps(meta))
    refused(path, "complex64")


def test_color_modes_without_meaning(tmp_path: Path) -> None:
    Pillow.new("CMYK", (8, 8)).save(tmp_path / "a.jpg")
    refused(tmp_path / "a.jpg", "CMYK")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 8, 4), np.uint8), photometric="separated")
    refused(tmp_path / "a.tif", "CMYK")


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".nii.gz", ".h5", ".zarr", ".png"])
def test_flipped_bits_are_noticed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"flip{suffix}"
    rng = np.random.default_rng(0)
    array = rng.integers(0, 256, (256, 256)).astype(np.uint8)
    save_image(path, array)
    target = path / "0" / "c" / "0" / "0" if suffix == ".zarr" else path
    good = target.read_bytes()
    for place in rng.integers(int(len(good) * 0.3), int(len(good) * 0.8), 20):
        bad = bytearray(good)
        bad[place] ^= 1 << int(rng.integers(8))
        target.write_bytes(bad)
        # A bit may also be one that nothing depends on; wrong values must never come.
        with contextlib.suppress(DataError):
            assert np.array_equal(open_image(path).read()[0], array)


def test_file_replaced_while_in_use(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, ARRAY)
    image = open_image(path)
    tifffile.imwrite(path, ARRAY.T.copy(), compression="zlib")
    os.utime(path, ns=(1, 1))
    with pytest.raises(DataError, match="another size or time"):
        image.read()


def test_missing_codecs_are_named(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", ARRAY.astype(np.uint8), compression="jpeg")
    tifffile.imwrite(tmp_path / "b.tif", ARRAY, compression="lzw")
    script = """
import sys
sys.modules["imagecodecs"] = None
from unmask.errors import MissingPackageError
from unmask.io import open_image
for name in sys.argv[1:]:
    try:
        open_image(name).read()
    except MissingPackageError as error:
        assert name in str(error) and "pip install imagecodecs" in str(error), error
    else:
        raise SystemExit(f"{name} was read")
"""
    names = [str(tmp_path / "a.tif"), str(tmp_path / "b.tif")]
    done = subprocess.run(
        [sys.executable, "-c", script, *names], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_codecs_are_whole_when_several_threads_need_them_first():
    """The first thread imports the package, which takes a while."""
    script = """
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from unmask.io.codecs import imagecodecs
barrier = Barrier(4)
def pack(number):
    barrier.wait()
    return imagecodecs("a test").zstd_encode(b"1" * 100)
with ThreadPoolExecutor(4) as pool:
    assert len(set(pool.map(pack, range(4)))) == 1
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# Labels


def labels_of(path: Path) -> np.ndarray:
    return open_labels(path, ndim=2).read()


@pytest.mark.parametrize(
    ("values", "word"),
    [
        (np.array([[0, -1]], np.int16), "-1"),
        (np.array([[0, 1.5]], np.float32), "1.5"),
        (np.array([[0, np.nan]], np.float32), "nan"),
        (np.array([[0, np.inf]], np.float64), "inf"),
        (np.array([[0, 1e10]], np.float32), "1"),
        (np.array([[0, 2.0**64]], np.float64), "1.8"),
    ],
)
def test_broken_ids(tmp_path: Path, values: np.ndarray, word: str) -> None:
    tifffile.imwrite(tmp_path / "l.tif", values)
    refused(tmp_path / "l.tif", word, action=labels_of)


def test_whole_floats_are_ids(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "l.tif", np.array([[0, 70000]], np.float32))
    assert labels_of(tmp_path / "l.tif").tolist() == [[[0, 70000]]]
    assert open_labels(tmp_path / "l.tif").dtype == np.uint32


def test_color_coded_labels(tmp_path: Path) -> None:
    colors = np.zeros((8, 8, 3), np.uint8)
    colors[2:4, 2:4] = (255, 0, 0)
    Pillow.fromarray(colors).save(tmp_path / "l.png")
    refused(tmp_path / "l.png", "colors", action=labels_of)
    colors[...] = colors[..., :1]
    Pillow.fromarray(colors).save(tmp_path / "m.png")
    assert open_labels(tmp_path / "m.png").shape == (1, 8, 8)
    np.testing.assert_array_equal(labels_of(tmp_path / "m.png")[0], colors[..., 0])
    alpha = np.dstack([colors, np.full((8, 8), 255, np.uint8)])
    Pillow.fromarray(alpha).save(tmp_path / "n.png")
    np.testing.assert_array_equal(labels_of(tmp_path / "n.png")[0], colors[..., 0])
    alpha[0, 0, 3] = 7
    Pillow.fromarray(alpha).save(tmp_path / "o.png")
    refused(tmp_path / "o.png", action=labels_of)


def test_lossy_labels_and_many_channels(tmp_path: Path) -> None:
    save_image(tmp_path / "l.jpg", np.zeros((8, 8), np.uint8))
    refused(tmp_path / "l.jpg", "JPEG", action=labels_of)
    save_image(tmp_path / "l.tif", np.zeros((7, 8, 8), np.uint8), axes="CYX")
    refused(tmp_path / "l.tif", "7 channels", action=labels_of)


# Lists


def test_lists_without_images(tmp_path: Path) -> None:
    (tmp_path / "read.me").write_text("no image")
    with pytest.raises(DataError, match=r"expected .*, found .*\.nii\.gz"):
        list_files(tmp_path)
    for path in (tmp_path / "*.tif", tmp_path / "no.tif"):
        with pytest.raises(DataError, match=r"expected .*, found no such file.* Check the path"):
            list_files(path)
    with pytest.raises(DataError, match="at least one path"):
        list_files([])
