"""Pixels lie as viewers show them: the orientation tag of JPEG, PNG and TIFF is applied."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow
from PIL import ImageOps

from unmask.io import open_image, open_labels, output_name, save_image
from unmask.io.exif import orientation_in
from unmask.space import Box

RNG = np.random.default_rng(11)
TAG = 0x0112


def shown(path: Path) -> np.ndarray:
    """The picture as a viewer shows it, ``(C, Y, X)``."""
    with Pillow.open(path) as picture:
        array = np.asarray(ImageOps.exif_transpose(picture))
    return np.moveaxis(array, -1, 0) if array.ndim == 3 else array[None]


def check(path: Path, truth: np.ndarray) -> None:
    image = open_image(path, ndim=2)
    np.testing.assert_array_equal(image.read(), truth)
    height, width = truth.shape[1:]
    box = Box((2, 3), (height - 5, width - 1))
    np.testing.assert_array_equal(image.read(box), truth[(slice(None), *box.slices)])
    np.testing.assert_array_equal(image[0, 5], truth[0, 5])


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures(tmp_path: Path, value: int, suffix: str, channels: int) -> None:
    array = RNG.integers(0, 255, (24, 40, channels)).astype(np.uint8)
    tags = Pillow.Exif()
    tags[TAG] = value
    path = tmp_path / f"a{suffix}"
    Pillow.fromarray(array.squeeze()).save(path, exif=tags)
    check(path, shown(path))


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "tile": (16, 16)}], ids=str)
def test_tiff(tmp_path: Path, value: int, options: dict[str, object]) -> None:
    array = RNG.integers(0, 255, (24, 40)).astype(np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, array, extratags=[(274, "H", 1, value, True)], metadata=None, **options)  # type: ignore[arg-type]
    tags = Pillow.Exif()
    tags[TAG] = value
    Pillow.fromarray(array).save(tmp_path / "a.png", exif=tags)
    check(path, shown(tmp_path / "a.png"))
    np.testing.assert_array_equal(open_labels(path).read(), shown(tmp_path / "a.png"))


def test_voxel_sizes_turn_too(tmp_path: Path) -> None:
    array = RNG.integers(0, 255, (3, 24, 40)).astype(np.uint8)
    metadata = {"axes": "ZYX", "PhysicalSizeX": 1, "PhysicalSizeY": 2, "PhysicalSizeZ": 3}
    tags = [(274, "H", 1, 6, True)]
    tifffile.imwrite(tmp_path / "a.ome.tif", array, metadata=metadata, extratags=tags)
    image = open_image(tmp_path / "a.ome.tif", ndim=3)
    assert image.spacing == (3, 1, 2)
    np.testing.assert_array_equal(image.read()[0], np.rot90(array, -1, axes=(1, 2)))


def test_results_lie_as_the_picture_is_shown(tmp_path: Path) -> None:
    tags = Pillow.Exif()
    tags[TAG] = 6
    picture = RNG.integers(0, 255, (24, 40, 3)).astype(np.uint8)
    Pillow.fromarray(picture).save(tmp_path / "a.jpg", exif=tags)
    image = open_image(tmp_path / "a.jpg")
    assert image.shape == (3, 40, 24)
    result = output_name(image, tmp_path / "out")
    save_image(result, np.zeros(image.shape[1:], np.uint8), like=image)
    assert tifffile.imread(result).shape == (40, 24)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def test_the_tag_may_follow_the_pixels(tmp_path: Path) -> None:
    array = RNG.integers(0, 255, (24, 40)).astype(np.uint8)
    path = tmp_path / "a.png"
    Pillow.fromarray(array).save(path)
    tags = Pillow.Exif()
    tags[TAG] = 8
    block = tags.tobytes().removeprefix(b"Exif\0\0")
    content = path.read_bytes()
    path.write_bytes(content[:-12] + chunk(b"eXIf", block) + content[-12:])
    np.testing.assert_array_equal(open_image(path).read()[0], np.rot90(array))


@pytest.mark.parametrize(
    "block", [None, b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"\0" * 40, b"MM\0*" * 9]
)
def test_damaged_blocks_change_nothing(block: bytes | None) -> None:
    assert orientation_in(block) == 1


@pytest.mark.parametrize("value", [0, 9, 255])
def test_values_without_a_meaning_change_nothing(tmp_path: Path, value: int) -> None:
    array = RNG.integers(0, 255, (24, 40)).astype(np.uint8)
    tags = [(274, "H", 1, value, True)]
    tifffile.imwrite(tmp_path / "a.tif", array, extratags=tags, metadata=None)
    np.testing.assert_array_equal(open_image(tmp_path / "a.tif").read()[0], array)
