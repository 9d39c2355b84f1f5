"""``unmask synth``: options and printing only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from unmask.cli.options import OUTPUT
from unmask.cli.terminal import emit

_PANEL = "Images"


@dataclass(frozen=True, kw_only=True)
class SynthOptions:
    """Arguments and options of the verb."""

    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            metavar="NAME",
            help="Family of images. Without it, the families are listed.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Folder for images/, labels/ and classes/.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    count: Annotated[
        int,
        typer.Option("--count", metavar="N", help="Number of images.", rich_help_panel=_PANEL),
    ] = 100
    size: Annotated[
        str,
        typer.Option(
            "--size",
            metavar="N,N[,N]",
            help="Voxels per axis, slow axis first.",
            rich_help_panel=_PANEL,
        ),
    ] = "192,192"
    spacing: Annotated[
        str | None,
        typer.Option(
            "--spacing",
            metavar="X,X[,X]",
            help="Voxel size per axis, slow axis first. Without it, that of the family.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            min=0,
            metavar="N",
            help="Seed of the images. The same seed gives the same images.",
            rich_help_panel=_PANEL,
        ),
    ] = 0
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change an option of the family, such as diameter=[10,30].",
            rich_help_panel=_PANEL,
        ),
    ] = None
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace images that an earlier call has written.",
            rich_help_panel=OUTPUT,
        ),
    ] = False


def synth(options: SynthOptions) -> None:
    """Draw synthetic images with exact labels, to train on without labeling.

    Examples:
        # List the families
        unmask synth
        # Draw 100 images of worms that cross, to train on
        unmask synth --kind worms --count 100 --size 192,192 --out worms
        # Draw stacks of nuclei between 10 and 20 pixels wide
        unmask synth --kind deep_nuclei --size 48,128,128 --set diameter=[10,20] --out nuclei
    """
    from unmask.phantoms.families import write_phantoms
    from unmask.phantoms.request import describe_families, parse_numbers, parse_options

    if options.kind is None:
        for name, text in describe_families().items():
            emit({"kind": name, "description": text}, f"{name:16} {text}")
        return
    if options.out is None:
        raise typer.BadParameter("expected --out FOLDER for the images and labels, found none.")
    spacing = None if options.spacing is None else parse_numbers("--spacing", options.spacing)
    folder = write_phantoms(
        options.out,
        options.kind,
        [int(n) for n in parse_numbers("--size", options.size, whole=True)],
        options.count,
        seed=options.seed,
        spacing=spacing,
        options=parse_options(options.settings or ()),
        overwrite=options.overwrite,
    )
    text = f"{options.count} images with labels: {folder}"
    emit({"images": options.count, "folder": folder}, text)
