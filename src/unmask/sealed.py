"""JSON values that carry their digest: one in a file, or one per line of a growing file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import xxhash

from unmask.atomic import append, atomic_write
from unmask.errors import CheckpointError, message

_LENGTH = 32


def write(path: Path, value: Any) -> None:
    """Write one value, atomically and durably.

    Raises:
        SaveError: the disk.
    """
    atomic_write(path, line_of(value))


def read(path: Path) -> Any:
    """The value of a file.

    Raises:
        CheckpointError: missing or damaged.
    """
    values = read_lines(path)
    if len(values) != 1:
        raise CheckpointError(
            message(
                path,
                expected="a value that matches its digest",
                found="damage" if path.exists() else "no file",
                do="Start again without --resume.",
            )
        )
    return values[0]


def add_line(path: Path, value: Any) -> None:
    """Append one value, durably; earlier lines are not written again.

    Raises:
        OSError: the disk.
    """
    append(path, line_of(value).rstrip("\n"))


def read_lines(path: Path) -> list[Any]:
    """The values of all whole lines; lines that are cut or damaged are left out."""
    try:
        text = path.read_bytes()
    except OSError:
        return []
    found: list[Any] = []
    for line in text.split(b"\n"):
        digest, content = line[: _LENGTH + 1], line[_LENGTH + 1 :]
        if digest == f"{xxhash.xxh3_128_hexdigest(content)} ".encode():
            found.append(json.loads(content))
    return found


def line_of(value: Any) -> str:
    """A value with its digest, as the line that ``read_lines`` expects."""
    content = json.dumps(value)
    return f"{xxhash.xxh3_128_hexdigest(content.encode())} {content}\n"
