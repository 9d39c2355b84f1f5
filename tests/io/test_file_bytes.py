"""Parts of an open file are those of the file that was opened."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile

from unmask.errors import DataError
from unmask.io import open_image
from unmask.io.cache import sparing
from unmask.io.contract import Location, signature
from unmask.io.file_bytes import FileBytes
from unmask.memory import track_growth

CONTENT = bytes(range(256)) * 40


def opened(path: Path) -> FileBytes:
    return FileBytes(Location(str(path), path), signature(path))


@pytest.mark.parametrize("position", ["pread", "seek"])
def test_threads_read_their_own_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, position: str
) -> None:
    if position == "seek":
        monkeypatch.delattr(os, "pread", raising=False)
    (tmp_path / "a").write_bytes(CONTENT)
    file = opened(tmp_path / "a")
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda n: file.read(n, 1000), range(300)))
    assert parts == [CONTENT[n : n + 1000] for n in range(300)]


def test_short_reads_are_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    file, whole = opened(tmp_path / "a"), FileBytes._read
    monkeypatch.setattr(FileBytes, "_read", lambda self, a, n: whole(self, a, min(n, 300)))
    assert file.read(7, 1000) == CONTENT[7:1007]


def test_a_file_that_was_cut_or_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(CONTENT)
    file, mark = opened(path), signature(path)
    os.truncate(path, 100)
    with pytest.raises(DataError, match=r"expected 150 bytes, found 100 bytes \(truncated\)"):
        file.read(50, 100)
    with pytest.raises(DataError, match="another size or time of change"):
        FileBytes(Location(str(path), path), mark)


def test_regions_of_a_slide_do_not_hold_the_file(tmp_path: Path) -> None:
    """A mapping counted every page of the file that was read: 20 MB here."""
    path, side = tmp_path / "a.svs", 2048
    values = np.random.default_rng(0).integers(0, 256, (side, side, 3)).astype(np.uint8)
    tifffile.imwrite(path, values, tile=(256, 256), compression="zlib",
                     compressionargs={"level": 1}, photometric="rgb")  # fmt: skip
    del values
    image = open_image(path, ndim=2)
    assert path.stat().st_size > 12 << 20
    with sparing(1 << 20):
        assert image[:, :512, :512].shape == (3, 512, 512)
        grown = track_growth()
        for y in range(0, side, 512):
            for x in range(0, side, 512):
                image[:, y : y + 512, x : x + 512]
        assert grown() < 6 << 20
