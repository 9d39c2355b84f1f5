"""``unmask presets``: options and printing only."""

from __future__ import annotations

from typing import Annotated

import typer

from unmask.cli.terminal import show


def presets(
    name: Annotated[str | None, typer.Argument(help="print this preset as YAML")] = None,
    axes: Annotated[int | None, typer.Option("--axes", help="only those for 2 or 3 axes")] = None,
) -> None:
    """List the shipped recipes, or print one to start your own from."""
    from unmask import recipe

    shipped = recipe.presets()
    if name is not None:
        recipe.load(name)
        show(shipped[name], nl=False)
        return
    width = max(map(len, shipped))
    for each in map(recipe.load, shipped):
        if axes in (None, each.data.ndim):
            show(f"{each.name:{width}} {each.description}")
