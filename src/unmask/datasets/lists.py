"""Lists of names that a user gives with an archive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from unmask.errors import DataError, describe_error, message


def one_per_line(lines: Sequence[str]) -> set[str]:
    """The names of a list without a header; empty lines do not count."""
    return {line.strip() for line in lines if line.strip()}


def read_names(
    path: Path,
    *,
    known: Sequence[str],
    parse: Callable[[Sequence[str]], set[str]] = one_per_line,
) -> set[str]:
    """Read the names of a list, all of which the archive must have.

    Args:
        path: the file, in UTF-8.
        known: names of the archive, at least one.
        parse: finds the names in the lines of the file.

    Raises:
        DataError: no file, or names that the archive does not have.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            message(
                path, expected="a list of names", found=describe_error(error), do="Check the path."
            )
        ) from error
    names = parse(lines)
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
