"""Fixtures for tests of files with changed bytes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

# Characters of headers that are text.
_TEXT = "0123456789[]{}(),:.-="


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
            path.write_bytes(_mutate(path.read_bytes(), rng))
        yield copy
        shutil.rmtree(copy)


def _mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Change a few bytes, mostly at the start where headers are, or cut the file."""
    if rng.random() < 0.1:
        return data[: int(rng.integers(0, len(data) + 1))]
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        reach = len(data) if rng.random() < 0.5 else min(len(data), 2000)
        position = int(rng.integers(reach))
        choices = (
            int(rng.integers(256)),
            changed[position] ^ 1 << int(rng.integers(8)),
            ord(_TEXT[int(rng.integers(len(_TEXT)))]),
        )
        changed[position] = choices[int(rng.integers(3))]
    return bytes(changed)
