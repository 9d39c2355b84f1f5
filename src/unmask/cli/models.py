"""``unmask models``: options and printing only."""

from __future__ import annotations

import typer


def models() -> None:
    """List the models that come with the package."""
    from unmask import api

    for each in api.shipped_models():
        typer.echo(each.to_text())
