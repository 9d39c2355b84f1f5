"""Files that a command may replace: those that unmask wrote for the same purpose.

A report is written again and again under one name, and takes seconds; what takes longer, such as
labels and tables of objects, is replaced only if that was asked for. Any other file of that name is
a mistake in the path, and its content would be lost.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from unmask.errors import DataError, message


def refuse_existing(path: Path | str, *, overwrite: bool | None = None) -> None:
    """Refuse a file that exists, before long work.

    Args:
        path: file to be written.
        overwrite: replace it; None: the command has no such option.

    Raises:
        DataError: it exists, and ``overwrite`` is not True.
    """
    if overwrite or not Path(path).exists():
        return
    instead = "remove it" if overwrite is None else "give --overwrite to replace it"
    raise DataError(
        message(
            path,
            expected="a file that does not exist",
            found="a folder" if Path(path).is_dir() else "a file",
            do=f"Choose another --out, or {instead}.",
        )
    )


def refuse_others(
    path: Path | str,
    *marks: bytes,
    starts: tuple[bytes, ...] = (b"",),
    unlike: tuple[bytes, ...] = (),
) -> None:
    """Refuse to replace a file that unmask did not write; an empty one has nothing to lose.

    Args:
        path: file to be written.
        marks: bytes that every file of unmask for this purpose contains.
        starts: bytes with one of which every such file begins.
        unlike: bytes with which none of them begins, although ``starts`` allows it.

    Raises:
        DataError: the file exists and has not all of them.
    """
    path = Path(path)
    if not path.is_file() or not path.stat().st_size:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        own = any(content[: len(start)] == start for start in starts)
        own &= not any(content[: len(start)] == start for start in unlike)
        own &= all(content.find(mark) >= 0 for mark in marks)
    if not own:
        raise DataError(
            message(
                path,
                expected="no file, or one that this command wrote before",
                found="another file, which would be lost",
                do="Choose another name with --out, or remove the file.",
            )
        )
