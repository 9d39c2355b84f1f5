"""``unmask select``: options and printing only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unmask.cli.options import Settings
from unmask.cli.terminal import show


def select(
    images: Annotated[list[str], typer.Argument(help="file, folder, glob or OME-Zarr")],
    count: Annotated[int, typer.Option("--count", min=1, help="images to choose")],
    labels: Annotated[
        list[str] | None, typer.Option("--labels", help="labels that exist already")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="text file with one chosen path per line")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="chooses others of each kind")] = 0,
    settings: Settings = None,
) -> None:
    """Choose which images to label first, or next: typical ones of different kinds."""
    from unmask import api
    from unmask.atomic import atomic_write

    chosen = api.select(images, count=count, labels=labels, seed=seed, settings=settings or ())
    for each in chosen:
        show(f"{each.source}  ({each.like} image(s) look like it)")
    if out is not None:
        atomic_write(out, "".join(f"{each.source}\n" for each in chosen))
        show(f"List: {out}")
