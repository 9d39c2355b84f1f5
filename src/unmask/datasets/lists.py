"""Lists of names that a user gives with an archive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unmask.errors import DataError, message


def read_names(path: Path, *, known: Sequence[str]) -> set[str]:
    """Read names, one per line.

    Args:
        path: the file.
        known: names of the archive.

    Raises:
        DataError: no file, or names that the archive does not have.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            message(path, expected="a list of names", found=str(error), do="Check the path.")
        ) from error
    names = {line.strip() for line in lines if line.strip()}
    strange = sorted(names - set(known))
    if strange:
        raise DataError(
            message(
                path,
                expected=f"names of the archive, such as {known[0]}",
                found=f"{len(strange)} others ({', '.join(strange[:6])})",
                do="Correct the list, or unpack the rest of the archive.",
            )
        )
    return names
