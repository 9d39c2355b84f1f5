"""Sets that are made of other sets."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from unmask.datasets.dataset import DataSet, Item
from unmask.errors import DataError, message

# Problems of one member that are shown.
_SHOWN = 3


def gather_sets(
    archive: Path, members: Iterable[tuple[DataSet, dict[str, Any]]], *, what: str
) -> tuple[list[tuple[DataSet, Item]], list[str]]:
    """List the images of several sets whose archives lie in one folder.

    Args:
        archive: the folder.
        members: sets with their options.
        what: name of the combined set, for messages.

    Returns:
        The images with their sets, and what is wrong with sets, such as missing ones.
    """
    items: list[tuple[DataSet, Item]] = []
    problems: list[str] = []
    for member, options in members:
        try:
            items += [(member, item) for item in member.find(archive, **options)]
        except DataError as error:
            problems += [
                message(
                    f"{archive}, {what}, {member.name}",
                    expected=f"its archive ({member.archive})",
                    found=_found(problem, archive),
                    do=f"Get it from {member.source}, and give it with the others.",
                )
                for problem in error.problems[:_SHOWN]
            ]
    return items, problems


def _found(problem: str, archive: Path) -> str:
    """What a member lacks, without its advice, which would be for that set alone."""
    subject, _, rest = problem.partition(": expected ")
    missing, _, found = rest.partition(", found ")
    whole = subject == str(archive) and found.startswith("none")
    return f"no {missing}" if whole else problem.rstrip(".")
