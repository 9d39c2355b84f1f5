"""Values of an older version of a file are never served, however fast it was rewritten."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import zarr

from unmask.errors import DataError
from unmask.io import open_image, save_image
from unmask.io.contract import Mark, check_same, mark_of

SUFFIXES = [".tif", ".ome.tif", ".png", ".bmp", ".nii", ".nii.gz", ".npy"]


def write(path: Path, value: int, *, in_place: bool) -> None:
    """An image of one value; same size for any, and the same time of writing."""
    array = np.full((40, 50), value, np.uint8)
    if in_place:
        other = path.with_name(f"other{''.join(path.suffixes)}")
        save_image(other, array)
        path.write_bytes(other.read_bytes())
        other.unlink()
    else:
        save_image(path, array)
    os.utime(path, ns=(10**18, 10**18))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("part", [False, True])
@pytest.mark.parametrize("in_place", [False, True])
def test_a_rewritten_file_is_noticed(
    tmp_path: Path, suffix: str, part: bool, in_place: bool
) -> None:
    path = tmp_path / f"a{suffix}"
    write(path, 7, in_place=in_place)
    image = open_image(path, ndim=2)
    index = (0, slice(3, 9)) if part else ...
    assert (image[index] == 7).all()
    size = path.stat().st_size
    write(path, 8, in_place=in_place)
    assert path.stat().st_size == size
    with pytest.raises(DataError, match="another size or time of change"):
        image[index]
    # Opened again, it has the new values.
    assert (open_image(path, ndim=2)[index] == 8).all()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_removed_file_is_noticed(tmp_path: Path, suffix: str) -> None:
    save_image(tmp_path / f"a{suffix}", np.zeros((40, 50), np.uint8))
    image = open_image(tmp_path / f"a{suffix}", ndim=2)
    image.read()
    (tmp_path / f"a{suffix}").unlink()
    with pytest.raises(DataError, match=f"a{suffix}"):
        image.read()


def test_chunks_rewritten_within_a_tick_are_read_again(tmp_path: Path) -> None:
    array = zarr.create_array(
        store=tmp_path / "a.zarr", shape=(8, 8), dtype="u1", chunks=(8, 8), compressors=None
    )
    array[:] = 0
    image = open_image(tmp_path / "a.zarr", ndim=2)
    for value in range(200):
        array[:] = value
        assert (image[0, 2:5] == value).all()


def test_files_at_rest_are_told_by_their_times() -> None:
    """Network file systems may give a file another number after a while."""

    def status(inode: int, seconds: int) -> os.stat_result:
        values = [0o644, inode, 0, 1, 0, 0, 100, seconds, seconds, seconds]
        extra = {f"st_{name}_ns": seconds * 10**9 for name in ("atime", "mtime", "ctime")}
        return os.stat_result(values, extra)

    old = mark_of(status(5, 1000))
    assert old == Mark(100, 1000 * 10**9, 1000 * 10**9, 0)
    check_same("a", status(6, 1000), old)
    with pytest.raises(DataError, match="another size or time"):
        check_same("a", status(5, 1001), old)
    with pytest.raises(DataError, match="another size or time"):
        check_same("a", status(6, 1000), old._replace(inode=5))
