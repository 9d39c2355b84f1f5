"""``unmask measure``: options and printing only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from unmask.cli.options import DATA, OUTPUT, Workers, parse_channels, split_words
from unmask.cli.terminal import emit, progress, show
from unmask.errors import message
from unmask.startup import quick_imports
from unmask.wording import format_count

_PANEL = "Measurement"


@dataclass(frozen=True, kw_only=True)
class MeasureOptions:
    """Arguments and options of the verb."""

    labels: Annotated[
        list[str],
        typer.Option(
            "--labels",
            metavar="PATH",
            help="Label images, or outlines as ImageJ ROIs, GeoJSON or COCO.",
            rich_help_panel=DATA,
        ),
    ]
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="TABLE",
            help="The table to write: .csv, .parquet or .h5ad.",
            rich_help_panel=OUTPUT,
        ),
    ]
    images: Annotated[
        list[str] | None,
        typer.Option(
            "--images",
            metavar="PATH",
            help="The images of the labels. With them, intensities are measured.",
            rich_help_panel=DATA,
        ),
    ] = None
    rois: Annotated[
        str | None,
        typer.Option(
            "--rois",
            metavar="FORMAT,...",
            help="Write outlines of the objects as well: imagej, geojson, coco.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace a table and outlines that exist already. Without it, they are refused.",
            rich_help_panel=OUTPUT,
        ),
    ] = False
    planes: Annotated[
        str | None,
        typer.Option(
            "--planes",
            metavar="z|t",
            help="Measure each plane (z) or time point (t) of a stack in 2D. The time points of a "
            "movie are always measured one by one.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    spacing: Annotated[
        str | None,
        typer.Option(
            "--spacing",
            metavar="NUMBER,...",
            help="Voxel size per axis, slow axis first, such as 2,0.5,0.5. Without it, the voxel "
            "size in the files.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    unit: Annotated[
        str | None,
        typer.Option(
            "--unit",
            metavar="UNIT",
            help="Unit of the voxel size: um, nm or mm.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    channels: Annotated[
        str | None,
        typer.Option(
            "--channels",
            metavar="0,2|NAME,...",
            help="Channels to measure, by number or name, such as 0,2 or DAPI,actin; or names for "
            "all channels of files that have none. Default: all.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    workers: Workers = None


def measure(options: MeasureOptions) -> None:
    """Measure the objects of label images and write one table with one row per object.

    Examples:
        # Areas and shapes
        unmask measure --labels labels/ --out objects.csv
        # Intensities too, in micrometers, with outlines for Fiji and QuPath
        unmask measure --labels labels/ --images images/ --spacing 0.5,0.5 --unit um \
            --rois imagej,geojson --out objects.csv
        # Large volumes, on four processes
        unmask measure --labels labels.zarr --images volume.zarr --workers processes:4 \
            --out objects.csv
    """
    with quick_imports():
        from unmask.api import MeasureOptions, measure_files
        from unmask.measurement.outlined import outlines_folder

    table = measure_files(
        options.labels,
        images=options.images or None,
        out=options.out,
        options=MeasureOptions(
            spacing=None if options.spacing is None else _numbers(options.spacing),
            unit=options.unit,
            planes=options.planes,
            channels=tuple(parse_channels(options.channels)) or None,
            rois=tuple(split_words(options.rois)),
            cluster=options.workers,
            overwrite=options.overwrite,
        ),
        say=show,
        progress=progress(),
    )
    objects = format_count(len(table), "object")
    emit({"table": options.out, "objects": len(table)}, f"{objects} in {options.out}")
    if options.rois:
        show(f"Outlines: {outlines_folder(options.out)}")


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in split_words(text))
    except ValueError as error:
        raise typer.BadParameter(
            message("--spacing", expected="numbers", found=repr(text),
                    do="Give one per axis, slow axis first, such as 2,0.5,0.5.")
        ) from error  # fmt: skip
