"""Find the files of an archive by the ends of their paths, wherever it was unpacked."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from unmask.errors import DataError, message


def list_files(archive: Path) -> list[Path]:
    """List all files below a folder in natural order, without hidden ones and those of macOS."""
    found: list[Path] = []
    for folder, folders, names in os.walk(archive, followlinks=False):
        folders[:] = [each for each in folders if each[0] != "." and each != "__MACOSX"]
        found += [Path(folder, name) for name in names if name[0] != "."]
    return sorted(found, key=lambda path: natural_key(path.as_posix()))


def match_files(files: Sequence[Path], pattern: str) -> dict[Path, re.Match[str]]:
    r"""Find files whose path ends in a regular expression, which begins at the name of a folder.

    Examples:
        >>> found = match_files([Path("a/train/007_img.png")], r"train/(\d+)_img\.png")
        >>> [match[1] for match in found.values()]
        ['007']
    """
    compiled = re.compile(rf"(?:.*/)?(?:{pattern})", re.IGNORECASE)
    matches = {path: compiled.fullmatch(path.absolute().as_posix()) for path in files}
    return {path: match for path, match in matches.items() if match is not None}


def expect_some(found: Collection[object], archive: Path, what: str) -> None:
    """Refuse an archive without the files that it should have.

    Raises:
        DataError: there are none.
    """
    if not found:
        raise DataError(
            message(
                archive,
                expected=what,
                found="none",
                do="Give the official archive, or the folder that it was unpacked into.",
            )
        )


def missing(path: Path, what: str, partner: Path) -> str:
    """What to report of a file without the one that belongs to it."""
    return message(
        partner,
        expected=f"{what} {path.name}",
        found="none",
        do="Get the rest of the archive, or unpack it again.",
    )


def natural_key(text: str) -> list[tuple[int, str]]:
    """Make a sort key under which 2 comes before 10."""
    return [(int(p), "") if p.isdecimal() else (-1, p) for p in re.split(r"(\d+)", text) if p]
