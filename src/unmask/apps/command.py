"""What the commands ``python -m unmask.apps.NAME`` share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from unmask.errors import UnmaskError


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser that describes itself by the first line of a module's docstring."""
    return argparse.ArgumentParser(description=(doc or "").partition("\n")[0])


def run(
    options: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    work: Callable[[argparse.Namespace], object],
) -> int:
    """Do the work and return the exit code: 2, with the message, where the input is wrong.

    Args:
        options: parses ``arguments``, by default those of the process.
        arguments: command line without the program.
        work: is given what was parsed.
    """
    given = options.parse_args(arguments)
    try:
        work(given)
    except UnmaskError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    return 0
