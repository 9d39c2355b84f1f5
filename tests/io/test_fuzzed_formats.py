"""Small valid files of formats that are only read, with changed bytes: read, or refused.

``UNMASK_FUZZ=150`` changes more files than the suite does.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from unmask.errors import DataError
from unmask.io import open_image
from unmask.memory import peak_memory
from unmask.testing.example_files import WRITERS, write_example

COUNT = int(os.environ.get("UNMASK_FUZZ", "8"))
PLANES = {".svs", ".webp", ".jp2"}
_GIB = 2**30


def outcome(path: Path, ndim: int) -> tuple[tuple[int, ...], bool] | None:
    """Shape of what is read, and whether something was reported; None if it is refused."""
    try:
        image = open_image(path, ndim=ndim)
        return image.read().shape, bool(image.meta.get("notes"))
    except DataError:
        return None


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
    whole = outcome(good / f"a{suffix}", ndim)
    assert whole is not None
    before = peak_memory() or 0
    found = {"read": 0, "refused": 0}
    other: list[object] = []
    slowest = 0.0
    for number, copy in enumerate(changed_copies(good, COUNT, rng)):
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            result = outcome(copy / f"a{suffix}", ndim)
        slowest = max(slowest, time.process_time() - start)
        found["refused" if result is None else "read"] += 1
        if result is not None and result[0] != whole[0] and not result[1]:
            other.append((number, result[0]))
    grown = (peak_memory() or 0) - before
    printed = capfd.readouterr()
    if os.environ.get("UNMASK_FUZZ"):
        print(suffix, found, f"other sizes {other}, slowest {slowest:.2f} s, {grown >> 20} MiB")
    assert not (printed.out + printed.err).strip()
    assert other == []
    assert grown < _GIB
