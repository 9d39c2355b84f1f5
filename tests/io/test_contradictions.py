"""Files that contradict themselves: no shape comes out that the bytes do not bear out."""

from __future__ import annotations

import gzip
import random
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from unmask.errors import DataError, UnmaskError
from unmask.io import open_image, save_image

RNG = np.random.default_rng(17)
PLANE = RNG.integers(0, 255, (24, 33)).astype(np.uint8)
STACK = RNG.integers(0, 60000, (5, 24, 33)).astype(np.uint16)
COLORS = RNG.integers(0, 255, (24, 33, 3)).astype(np.uint8)


def tiff(array: np.ndarray, **options: Any) -> Callable[[Path], object]:
    settings: dict[str, Any] = {"photometric": "minisblack"} | options
    return lambda path: tifffile.imwrite(path, array, **settings)


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "I;16"])
def test_a_png_is_verified_by_its_checksums(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.png"
    if mode == "I;16":
        Pillow.fromarray(STACK[0]).save(path)
    else:
        Pillow.fromarray(COLORS).convert(mode).save(path)
    before, whole = open_image(path).read(), path.read_bytes()
    for place in range(len(whole) - 30, 60, -97):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 8]) + whole[place + 1 :])
        with suppress(DataError):
            np.testing.assert_array_equal(open_image(path).read(), before)
    path.write_bytes(whole[:-12])
    with pytest.raises(DataError, match=r"a\.png"):
        open_image(path).read()


def nifti(kind: Any) -> Callable[[Path], object]:
    return lambda path: nibabel.save(kind(STACK, np.diag([2, 3, 4, 1.0])), path)


def pillow(array: np.ndarray) -> Callable[[Path], object]:
    return lambda path: Pillow.fromarray(array).save(path)


# By name: how the file is written, number of axes, bytes of the header.
FILES: dict[str, tuple[Callable[[Path], object], int, int]] = {
    "plain.tif": (tiff(PLANE, metadata=None), 2, 300),
    "big.tif": (tiff(PLANE, metadata=None, bigtiff=True), 2, 400),
    "lzw.tif": (tiff(PLANE, metadata=None, compression="lzw"), 2, 300),
    "tiles.tif": (tiff(PLANE, metadata=None, compression="zlib", tile=(16, 16)), 2, 300),
    "strips.tif": (tiff(COLORS, metadata=None, photometric="rgb", rowsperstrip=7), 2, 400),
    "shaped.tif": (tiff(STACK, metadata={"axes": "ZYX"}), 3, 500),
    "imagej.tif": (tiff(STACK, imagej=True, metadata={"axes": "ZYX"}), 3, 500),
    "a.ome.tif": (tiff(STACK, metadata={"axes": "ZYX"}), 3, 1200),
    "jpeg.tif": (tiff(COLORS, metadata=None, photometric="rgb", compression="jpeg"), 2, 900),
    "ours.tif": (lambda path: save_image(path, STACK, axes="ZYX"), 3, 500),
    "a.png": (pillow(COLORS), 2, 60),
    "a.bmp": (pillow(COLORS), 2, 54),
    "a.nii": (nifti(nibabel.Nifti1Image), 3, 352),
    "b.nii": (nifti(nibabel.Nifti2Image), 3, 544),
    "a.nii.gz": (nifti(nibabel.Nifti1Image), 3, 352),
    "a.npy": (lambda path: np.save(path, STACK), 3, 128),
}


def mutated(content: bytes, header: int, seed: str) -> bytes:
    """One small damage, mostly in the header."""
    dice = random.Random(seed)
    data = bytearray(content)
    place = dice.randrange(min(header, len(data)))
    match dice.choice(["bit", "bit", "byte", "digit", "cut", "insert", "delete"]):
        case "bit":
            data[place] ^= 1 << dice.randrange(8)
        case "byte":
            data[place] = dice.randrange(256)
        case "digit":
            digits = [n for n, byte in enumerate(data[:header]) if 48 <= byte < 58]
            data[dice.choice(digits or [place])] = 48 + dice.randrange(10)
        case "cut":
            del data[dice.randrange(len(data)) :]
        case "insert":
            data[place:place] = dice.randbytes(dice.randrange(1, 9))
        case "delete":
            del data[place : place + dice.randrange(1, 9)]
    return bytes(data)


@pytest.mark.parametrize("name", FILES)
def test_damaged_headers_give_no_other_shape(tmp_path: Path, name: str) -> None:
    write, ndim, header = FILES[name]
    write(tmp_path / name)
    shape = open_image(tmp_path / name, ndim=ndim).shape
    packed = name.endswith(".gz")
    content = (tmp_path / name).read_bytes()
    content = gzip.decompress(content) if packed else content
    refused = 0
    for number in range(60):
        data = mutated(content, header, f"{name} {number}")
        (tmp_path / name).write_bytes(gzip.compress(data, 1) if packed else data)
        try:
            image = open_image(tmp_path / name, ndim=ndim)
            image.read()
        except UnmaskError:
            refused += 1
        else:
            assert image.shape == shape, number
    assert refused > 10


def patched(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert content.count(old) >= 1
    path.write_bytes(content.replace(old, new, 1))


@pytest.mark.parametrize(
    ("tag", "value"), [(256, 30), (256, 34), (257, 12), (257, 20), (257, 25), (278, 12), (258, 8)]
)
@pytest.mark.parametrize("compression", [None, "zlib", "zstd", "lzw", "packbits"])
def test_sizes_of_a_page(tmp_path: Path, tag: int, value: int, compression: str | None) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK[0], metadata=None, compression=compression)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.tags[tag].overwrite(value)
    with pytest.raises(DataError, match=r"a\.tif"):
        open_image(path, ndim=2).read()


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize(
    ("old", "new"),
    [(b'SizeZ="5"', b'SizeZ="3"'), (b'SizeZ="5"', b'SizeZ="7"'), (b'SizeX="33"', b'SizeX="31"'),
     (b'SizeC="1"', b'SizeC="2"'), (b'PlaneCount="5"', b'PlaneCount="4"')],
)  # fmt: skip
def test_sizes_in_ome_metadata(
    tmp_path: Path, old: bytes, new: bytes, compression: str | None
) -> None:
    tifffile.imwrite(
        tmp_path / "a.ome.tif", STACK, metadata={"axes": "ZYX"}, compression=compression
    )
    patched(tmp_path / "a.ome.tif", old, new)
    with pytest.raises(DataError, match=r"a\.ome\.tif"):
        open_image(tmp_path / "a.ome.tif", ndim=3)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize(
    ("old", "new"),
    [(b"slices=5", b"slices=3"), (b"slices=5", b"slices=9"), (b"channels=2", b"channels=1"),
     (b"images=10", b"images=00")],
)  # fmt: skip
def test_counts_of_imagej(tmp_path: Path, old: bytes, new: bytes, compression: str | None) -> None:
    both = np.stack([STACK, STACK], 1)
    tifffile.imwrite(
        tmp_path / "a.tif", both, imagej=True, metadata={"axes": "ZCYX"}, compression=compression
    )
    patched(tmp_path / "a.tif", old, new)
    with pytest.raises(DataError, match=r"a\.tif"):
        open_image(tmp_path / "a.tif", ndim=3)


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("change", [-1, 1])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_sizes_in_nifti(tmp_path: Path, dim: int, change: int, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    nifti(nibabel.Nifti1Image)(path)
    content = path.read_bytes()
    data = bytearray(gzip.decompress(content) if suffix == ".nii.gz" else content)
    (length,) = struct.unpack_from("<h", data, 40 + 2 * dim)
    struct.pack_into("<h", data, 40 + 2 * dim, length + change)
    path.write_bytes(gzip.compress(data) if suffix == ".nii.gz" else bytes(data))
    with pytest.raises(DataError, match="as its header says"):
        open_image(path, ndim=3)


def test_nifti_of_several_gzip_members(tmp_path: Path) -> None:
    nifti(nibabel.Nifti1Image)(tmp_path / "a.nii")
    content = (tmp_path / "a.nii").read_bytes()
    parts = [content[:1000], content[1000:3000], content[3000:]]
    (tmp_path / "b.nii.gz").write_bytes(b"".join(map(gzip.compress, parts)))
    np.testing.assert_array_equal(
        open_image(tmp_path / "b.nii.gz", ndim=3).read(),
        open_image(tmp_path / "a.nii", ndim=3).read(),
    )


def test_every_flipped_bit_of_a_packed_nifti_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    nifti(nibabel.Nifti1Image)(path)
    image = open_image(path, ndim=3)
    truth, spacing = image.read(), image.spacing
    content = path.read_bytes()
    for place in np.random.default_rng(0).integers(0, len(content), 150):
        data = bytearray(content)
        data[place] ^= 1 << int(place % 8)
        path.write_bytes(data)
        try:
            image = open_image(path, ndim=3)
            np.testing.assert_array_equal(image.read(), truth)
            assert image.spacing == spacing
        except DataError:
            continue
        # Bytes 4 to 9 hold a time, a hint and a system, the name may follow: no values.
        assert place < 40


def test_an_array_in_npy_fills_its_file(tmp_path: Path) -> None:
    with (tmp_path / "a.npy").open("wb") as handle:
        np.save(handle, PLANE)
        np.save(handle, PLANE)
    with pytest.raises(DataError, match="one array per file"):
        open_image(tmp_path / "a.npy")


@pytest.mark.parametrize("place", [18, 22, 28])
@pytest.mark.parametrize("array", [PLANE, COLORS], ids=["gray", "color"])
def test_sizes_in_bmp(tmp_path: Path, place: int, array: np.ndarray) -> None:
    pillow(array)(tmp_path / "a.bmp")
    data = bytearray((tmp_path / "a.bmp").read_bytes())
    data[place] = 8 if data[place] != 8 else 24
    (tmp_path / "a.bmp").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.bmp"):
        open_image(tmp_path / "a.bmp", ndim=2)


def test_a_jpeg_of_more_pixels_than_it_can_hold(tmp_path: Path) -> None:
    pillow(COLORS)(tmp_path / "a.jpg")
    patched(tmp_path / "a.jpg", struct.pack(">HH", 24, 33), struct.pack(">HH", 60000, 33))
    with pytest.raises(DataError, match="pixels per byte"):
        open_image(tmp_path / "a.jpg", ndim=2)


@pytest.mark.parametrize("rows", [40, 48, 200])
@pytest.mark.parametrize("array", [PLANE, COLORS], ids=["gray", "color"])
def test_a_jpeg_of_fewer_rows_than_it_says(tmp_path: Path, rows: int, array: np.ndarray) -> None:
    pillow(array)(tmp_path / "a.jpg")
    patched(tmp_path / "a.jpg", struct.pack(">HH", 24, 33), struct.pack(">HH", rows, 33))
    with pytest.raises(DataError, match=r"a\.jpg"):
        open_image(tmp_path / "a.jpg", ndim=2).read()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 30}], ids=str)
def test_a_gray_jpeg_is_read(tmp_path: Path, options: dict[str, Any]) -> None:
    gray = np.full((40, 50, 3), 128, np.uint8)
    Pillow.fromarray(gray).save(tmp_path / "a.jpg", **options)
    assert (open_image(tmp_path / "a.jpg", ndim=2).read() == 128).all()
