"""Chunks that are not there are counted and named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import zarr

from unmask.io import save_image
from unmask.io.missing_chunks import find_unwritten


def test_lost_chunks_are_told(tmp_path):
    path = tmp_path / "a.ome.zarr"
    save_image(path, np.ones((600, 1100), np.uint8))
    assert find_unwritten(str(path)) == ""
    (path / "0" / "c" / "1" / "2").unlink()
    assert "1 of 6 chunks are not there, the first one is c/1/2. They count as 0" in find_unwritten(
        str(path)
    )


@pytest.mark.parametrize("version", [2, 3])
def test_plain_arrays_and_shards(version, tmp_path):
    options: Any = {"shape": (40, 40), "chunks": (10, 10), "zarr_format": version}
    if version == 3:
        options["shards"] = (20, 20)
    array = zarr.create_array(tmp_path / "a.zarr", dtype="u1", **options)
    array[:20, :20] = 1
    count = "3 of 4" if version == 3 else "12 of 16"
    assert f"{count} chunks are not there" in find_unwritten(str(tmp_path / "a.zarr"))


def test_other_files_have_none(tmp_path):
    save_image(tmp_path / "a.tif", np.ones((9, 9), np.uint8))
    for source in (str(tmp_path / "a.tif"), "array"):
        assert find_unwritten(source) == ""


def test_channels_in_several_stores_are_all_looked_at(tmp_path):
    for number in (0, 1):
        save_image(tmp_path / f"a_{number}.zarr", np.ones((9, 9), np.uint8))
    (tmp_path / "a_1.zarr" / "0" / "c" / "0" / "0").unlink()
    notes = find_unwritten(str(tmp_path / "a_{0,1}.zarr"))
    assert notes.startswith(f"{tmp_path / 'a_1.zarr'}: 1 of 1 chunks are not there")
