"""What the command line prints: names of files and texts of cards come from elsewhere."""

from __future__ import annotations

import typer

from unmask.plain_text import printable


def show(text: object = "", *, nl: bool = True, err: bool = False) -> None:
    """Print a text with escapes in place of characters that the terminal would obey.

    Args:
        text: what is printed.
        nl: end the line.
        err: print to standard error.
    """
    typer.echo(printable(text), nl=nl, err=err)
