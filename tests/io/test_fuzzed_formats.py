"""Small valid files of formats that are only read, with changed bytes: read, or refused.

``UNMASK_FUZZ=150`` changes more files than the suite does.
"""

from __future__ import annotations

import gzip
import os
import struct
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from unmask.memory import track_growth
from unmask.testing.changed_bytes import grow_sizes, read_shape
from unmask.testing.example_files import WRITERS, write_example

COUNT = int(os.environ.get("UNMASK_FUZZ", "8"))
PLANES = {".svs", ".webp", ".jp2"}
_GIB = 2**30


@pytest.mark.parametrize("suffix", WRITERS)
def test_changed_bytes(
    tmp_path: Path,
    suffix: str,
    changed_copies: Callable[..., Iterator[Path]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    rng = np.random.default_rng(1)
    ndim = 2 if suffix in PLANES else 3
    shape = (23, 37) if ndim == 2 else (6, 23, 37)
    values = rng.integers(0, 250, shape).astype(np.uint8 if suffix == ".webp" else np.uint16)
    good = tmp_path / "good"
    good.mkdir()
    write_example(good / f"a{suffix}", values, "ZYX"[-ndim:])
    whole = read_shape(good / f"a{suffix}", ndim)
    assert whole is not None
    grown = track_growth()
    found = {"read": 0, "refused": 0}
    other: list[object] = []
    slowest = 0.0
    for number, copy in enumerate(changed_copies(good, COUNT, rng)):
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            result = read_shape(copy / f"a{suffix}", ndim)
        slowest = max(slowest, time.process_time() - start)
        found["refused" if result is None else "read"] += 1
        if result is not None and result[0] != whole[0] and not result[1]:
            other.append((number, result[0]))
    printed = capfd.readouterr()
    if os.environ.get("UNMASK_FUZZ"):
        print(suffix, found, f"other sizes {other}, slowest {slowest:.2f} s, {grown() >> 20} MiB")
    assert not (printed.out + printed.err).strip()
    assert other == []
    assert grown() < _GIB


def test_a_webp_of_gigantic_size(tmp_path: Path) -> None:
    """A picture has at most 16384 pixels along a side, in bits that do not fill bytes."""
    path = tmp_path / "a.webp"
    write_example(path, np.zeros((23, 37), np.uint8), "YX")
    content = bytearray(path.read_bytes())
    place = content.index(b"VP8L") + 9
    assert struct.unpack_from("<I", content, place)[0] & 0x3FFF == 36
    struct.pack_into("<I", content, place, 16_383 | 16_383 << 14)
    path.write_bytes(content)
    assert read_shape(path, 2) is None


@pytest.mark.parametrize("suffix", sorted(WRITERS.keys() - {".webp"}))
def test_gigantic_sizes_in_a_small_file(tmp_path: Path, suffix: str) -> None:
    ndim = 2 if suffix in PLANES else 3
    shape = (23, 37) if ndim == 2 else (5, 23, 37)
    values = np.random.default_rng(1).integers(0, 250, shape).astype(np.uint16)
    write_example(tmp_path / f"a{suffix}", values, "ZYX"[-ndim:])
    whole = read_shape(tmp_path / f"a{suffix}", ndim)
    grown, found = track_growth(), []
    for file in [file for file in tmp_path.rglob("*") if file.is_file()]:
        packed = file.suffix == ".mgz"
        content = file.read_bytes()
        plain = gzip.decompress(content) if packed else content
        for changed in grow_sizes(plain, (23, 37)):
            file.write_bytes(gzip.compress(changed) if packed else changed)
            found.append(read_shape(tmp_path / f"a{suffix}", ndim))
        file.write_bytes(content)
    # A number that is changed may be a value and no size.
    assert None in found
    assert {result[0] for result in found if result} <= {whole[0] if whole else None}
    assert grown() < _GIB
