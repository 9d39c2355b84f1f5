"""Fixtures for tests of files with changed bytes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from unmask.testing.changed_bytes import change_bytes


@pytest.fixture(scope="session")
def changed_copies() -> Callable[..., Iterator[Path]]:
    """Copies of a folder of valid files with a few changed bytes."""
    return _changed_copies


def _changed_copies(
    good: Path, count: int, rng: np.random.Generator, *, most: int = 1
) -> Iterator[Path]:
    """Yield ``count`` copies of ``good``, 1 to ``most`` changes in each; a copy is then removed."""
    names = sorted(file.relative_to(good) for file in good.rglob("*") if file.is_file())
    for number in range(count):
        copy = good.with_name(f"{good.name}_{number}")
        shutil.copytree(good, copy)
        for _ in range(int(rng.integers(1, most + 1))):
            path = copy / names[int(rng.integers(len(names)))]
            path.write_bytes(change_bytes(path.read_bytes(), rng))
        yield copy
        shutil.rmtree(copy)
