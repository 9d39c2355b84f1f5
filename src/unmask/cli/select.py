"""``unmask select``: options and printing only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from unmask.cli.options import (
    DATA,
    OUTPUT,
    Images,
    ImagesOption,
    Settings,
    choose_images,
)
from unmask.cli.terminal import emit, show

_PANEL = "Choice"


@dataclass(frozen=True, kw_only=True)
class SelectOptions:
    """Arguments and options of the verb."""

    images: Images = None
    images_option: ImagesOption = None
    count: Annotated[
        int,
        typer.Option(
            "--count",
            min=1,
            metavar="N",
            help="Number of images to choose.",
            rich_help_panel=_PANEL,
        ),
    ]
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--labels",
            metavar="PATH",
            help="Labels that exist already. Their images are not chosen, and kinds of images that "
            "they cover come last.",
            rich_help_panel=DATA,
        ),
    ] = None
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Text file with one chosen path per line.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            min=0,
            metavar="N",
            help="Seed of the clustering. Another seed chooses other images of the same kinds.",
            rich_help_panel=_PANEL,
        ),
    ] = 0
    settings: Settings = None


def select(options: SelectOptions) -> None:
    """Choose which images to label first, or next: typical ones of different kinds.

    No model is needed. Images are grouped by their texture, brightness and color, and the most
    typical image of each group is chosen.

    Examples:
        # Eight images to label first
        unmask select images/ --count 8
        # Four more, of kinds that have no labels yet
        unmask select images/ --count 4 --labels labels/ --out to-label.txt
    """
    from unmask import api
    from unmask.atomic import atomic_write

    chosen = api.select(
        choose_images(options.images, options.images_option),
        count=options.count,
        labels=options.labels,
        seed=options.seed,
        settings=options.settings or (),
    )
    for each in chosen:
        record = {"image": each.source, "name": each.name, "like": each.like}
        emit(record, f"{each.source}  ({each.like} image(s) look like it)")
    if options.out is not None:
        atomic_write(options.out, "".join(f"{each.source}\n" for each in chosen))
        show(f"List: {options.out}")
