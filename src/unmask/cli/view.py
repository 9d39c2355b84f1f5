"""``unmask view``: options and printing only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unmask.cli.interrupted import end_with
from unmask.cli.options import DATA, OUTPUT
from unmask.cli.terminal import emit, show

_PANEL = "Viewer"


def view(
    results: Annotated[
        list[str],
        typer.Argument(
            metavar="RESULT...", help="Label images: files, folders, glob patterns or OME-Zarr."
        ),
    ],
    images: Annotated[
        list[str] | None,
        typer.Option(
            "--images",
            metavar="PATH",
            help="The images of the labels. They pair by name.",
            rich_help_panel=DATA,
        ),
    ] = None,
    viewer: Annotated[
        str | None,
        typer.Option(
            "--viewer",
            metavar="napari|neuroglancer",
            help="Program to use. Default: napari if installed, otherwise Neuroglancer.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    port: Annotated[
        int,
        typer.Option(
            "--port",
            metavar="PORT",
            help="Port of the page on 127.0.0.1. Default: any free port.",
            rich_help_panel=_PANEL,
        ),
    ] = 0,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="FOLDER",
            help="Open no viewer; write precomputed volumes for Neuroglancer on a web server.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
) -> None:
    """Show results on their images, in napari or in the browser.

    Examples:
        # In napari, or on a page that only this machine can open
        unmask view labels/017.tif --images images/017.tif
        # Files for a web server
        unmask view labels/volume.ome.zarr --images volume.zarr --export public/
    """
    from unmask.api.viewing import export_precomputed, view

    if export is None:
        with end_with("The viewer has ended."):
            view(results, images or None, viewer=viewer, port=port, say=show)
        return
    for path in export_precomputed(results, images or None, out=export, say=show):
        emit({"volume": path})
