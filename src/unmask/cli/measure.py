"""``unmask measure``: options and printing only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unmask.cli.terminal import show
from unmask.startup import quick_imports


def measure(
    labels: Annotated[list[str], typer.Option("--labels", help="label images, or outlines")],
    out: Annotated[Path, typer.Option("--out", help="table: .csv, .parquet or .h5ad")],
    images: Annotated[
        list[str] | None, typer.Option("--images", help="their images: adds intensities")
    ] = None,
    rois: Annotated[
        str | None, typer.Option("--rois", help="write outlines too: imagej,geojson,coco")
    ] = None,
    planes: Annotated[
        str | None, typer.Option("--planes", help="z or t: measure each plane of a stack in 2D")
    ] = None,
    spacing: Annotated[
        str | None, typer.Option("--spacing", help="voxel size, slow axis first: 2,0.5,0.5")
    ] = None,
    unit: Annotated[
        str | None, typer.Option("--unit", help="of the voxel size: um, nm, mm")
    ] = None,
    channels: Annotated[
        str | None, typer.Option("--channels", help="names of the channels: DAPI,actin")
    ] = None,
) -> None:
    """Measure the objects of label images: one table, one row per object."""
    with quick_imports():
        from unmask.api import MeasureOptions, measure_files
        from unmask.apps.progress import WindowProgress

    table = measure_files(
        labels,
        images=images or None,
        out=out,
        options=MeasureOptions(
            spacing=None if spacing is None else _numbers(spacing),
            unit=unit,
            planes=planes,
            channels=_words(channels) or None,
            rois=_words(rois),
        ),
        say=show,
        progress=WindowProgress(),
    )
    show(f"{len(table)} object(s) in {out}")


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in _words(text))
    except ValueError as error:
        raise typer.BadParameter(
            f"--spacing takes numbers such as 2,0.5,0.5, not {text!r}"
        ) from error
