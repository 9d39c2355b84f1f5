"""``unmask check``: options and printing only."""

from __future__ import annotations

from pathlib import Path
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
    out: Annotated[
        Path | None, typer.Option("--out", help="text file for every problem and note")
    ] = None,
) -> None:
    """Audit files before training: every problem at once, and a forecast."""
    from unmask import api
    from unmask.api.audit import list_in_full

    audit = api.check(
        images,
        labels=labels,
        val_images=val_images,
        val_labels=val_labels,
        recipe=recipe or preset,
        settings=settings or (),
        out=out,
        say=show,
    )
    if out is None and (path := list_in_full(audit, [*images, *(labels or ())])) is not None:
        show(f"The full list is in {path}.")
    if audit.problems:
        raise typer.Exit(2)
