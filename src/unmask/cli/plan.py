"""``unmask plan``: options and printing only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unmask.cli.options import Settings
from unmask.cli.terminal import show


def plan(
    images: Annotated[list[str], typer.Argument(help="file, folder, glob or OME-Zarr")],
    labels: Annotated[
        list[str] | None, typer.Option("--labels", help="labels of some or all of the images")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", min=0.1, help="time for the training")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="YAML file for the recipe")] = None,
    settings: Settings = None,
) -> None:
    """Derive a recipe from images and labels, with the reason for every choice."""
    from unmask import api
    from unmask.planning.text import describe_plan

    made = api.plan(images, labels=labels, minutes=minutes, out=out, settings=settings or ())
    show(f"Plan for {made.facts.images.count} images, {made.facts.labeled} with labels:")
    for line in describe_plan(made):
        show(line)
    if out is not None:
        show(f"Recipe: {out}. Train with: unmask train --recipe {out}")
    else:
        show("To keep and edit it, give --out recipe.yaml.")
