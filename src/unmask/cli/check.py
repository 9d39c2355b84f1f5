"""``unmask check``: options and printing only."""

from __future__ import annotations

from typing import Annotated

import typer

from unmask.cli.options import Preset, RecipeFile, Settings
from unmask.cli.terminal import show


def check(
    images: Annotated[list[str], typer.Argument(help="file, folder, glob or OME-Zarr")],
    labels: Annotated[list[str] | None, typer.Option("--labels", help="labels")] = None,
    val_images: Annotated[list[str] | None, typer.Option("--val-images")] = None,
    val_labels: Annotated[list[str] | None, typer.Option("--val-labels")] = None,
    preset: Preset = None,
    recipe: RecipeFile = None,
    settings: Settings = None,
) -> None:
    """Audit files before training: every problem at once, and a forecast."""
    from unmask import api

    audit = api.check(
        images,
        labels=labels,
        val_images=val_images,
        val_labels=val_labels,
        recipe=recipe or preset,
        settings=settings or (),
        say=show,
    )
    if audit.problems:
        raise typer.Exit(2)
