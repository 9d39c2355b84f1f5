"""Zarr in ZIP files: archives that lie about sizes, have passwords, or are packed unusually."""

from __future__ import annotations

import json
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from unmask.errors import DataError
from unmask.io import open_image, save_image

VALUES = np.random.default_rng(0).integers(0, 999, (4, 16, 16)).astype(np.uint16)
BOMB = 2**24


def pack(
    path: Path, method: int, change: Callable[[str, bytes], bytes] = lambda name, data: data
) -> Path:
    """An OME-Zarr in a ZIP file, with changed content."""
    store = path.with_name("store.ome.zarr")
    save_image(store, VALUES, spacing=(2, 1, 1), unit="um")
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in sorted(each for each in store.rglob("*") if each.is_file()):
            name = file.relative_to(store).as_posix()
            archive.writestr(name, change(name, file.read_bytes()))
    return path


def patch(path: Path, place: int, value: int, chosen: Callable[[str], bool] | None = None) -> None:
    """Set a number in the directory and, where it is 2 bytes earlier, in front of each file."""
    data = bytearray(path.read_bytes())
    format_ = "<I" if place >= 20 else "<H"
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    at = data.index(b"PK\1\2")
    for info in entries:
        if chosen is None or chosen(info.filename):
            struct.pack_into(format_, data, at + place, value)
            struct.pack_into(format_, data, info.header_offset + place - 2, value)
        name, extra, comment = struct.unpack_from("<HHH", data, at + 28)
        at += 46 + name + extra + comment
    path.write_bytes(data)


def is_chunk(name: str) -> bool:
    return "c/" in name


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        open_image(path, ndim=3).read()
    return str(caught.value)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_methods_of_compression(tmp_path: Path, method: int) -> None:
    found = open_image(pack(tmp_path / "a.zarr.zip", method), ndim=3)
    np.testing.assert_array_equal(found.read()[0], VALUES)
    assert found.spacing == (2, 1, 1)


@pytest.mark.parametrize("lie", [False, True])
@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
@pytest.mark.parametrize("metadata", [False, True])
def test_bombs(tmp_path: Path, method: int, lie: bool, metadata: bool) -> None:
    def blow(name: str, data: bytes) -> bytes:
        if metadata and name == "zarr.json":
            return data.rstrip()[:-1] + b" " * BOMB + b"}"
        return bytes(BOMB) if is_chunk(name) and not metadata else data

    path = pack(tmp_path / "a.zarr.zip", method, blow)
    if lie:
        patch(path, 24, 1000, lambda name: is_chunk(name) or name == "zarr.json")
    open_image(pack(tmp_path / "harmless.zarr.zip", method), ndim=3).read()
    tracemalloc.start()
    try:
        assert "a.zarr.zip" in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < BOMB // 4
    finally:
        tracemalloc.stop()


def test_passwords_and_unusual_methods_say_what_to_do(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zarr.zip", zipfile.ZIP_DEFLATED)
    patch(path, 8, 1)
    assert "which is encrypted. Extract the archive with its password" in refusal(path)
    path = pack(tmp_path / "a.zarr.zip", zipfile.ZIP_LZMA)
    assert "packed with lzma (method 14). Extract the archive" in refusal(path)
    path = pack(tmp_path / "a.zarr.zip", zipfile.ZIP_DEFLATED)
    patch(path, 10, 98)
    assert "(method 98). Extract the archive" in refusal(path)


def test_half_an_archive_and_a_changed_chunk(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zarr.zip", zipfile.ZIP_STORED)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "a ZIP file" in refusal(path)
    changed = bytearray(whole)
    with zipfile.ZipFile(pack(path, zipfile.ZIP_STORED)) as archive:
        (chunk,) = (info for info in archive.infolist() if is_chunk(info.filename))
    changed[chunk.header_offset + 30 + len(chunk.filename) + 40] ^= 1
    path.write_bytes(changed)
    assert "checksum" in refusal(path)


def test_a_shape_that_is_smaller_than_what_was_written(tmp_path: Path) -> None:
    def shrink(name: str, data: bytes) -> bytes:
        if not name.endswith("zarr.json"):
            return data
        content = json.loads(data)
        if "shape" in content:
            content["shape"] = [size if size != 4 else 2 for size in content["shape"]]
            content["chunk_grid"]["configuration"]["chunk_shape"][-3] = 2
        return json.dumps(content).encode()

    path = pack(tmp_path / "a.zarr.zip", zipfile.ZIP_STORED, shrink)
    with zipfile.ZipFile(path, "a") as archive:
        (chunk,) = (info.filename for info in archive.infolist() if is_chunk(info.filename))
        words = chunk.split("/")
        words[-3] = "1"
        archive.writestr("/".join(words), b"")
    assert "no chunks beyond the shape" in refusal(path)
