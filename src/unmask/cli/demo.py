"""``unmask demo``: options and printing only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unmask.cli.options import OUTPUT
from unmask.cli.terminal import emit, show


def demo(
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Folder of the images, runs and the report.",
            rich_help_panel=OUTPUT,
        ),
    ] = Path("demo"),
    axes: Annotated[
        int,
        typer.Option(
            "--axes",
            min=2,
            max=3,
            metavar="2|3",
            help="Draw images (2) or volumes (3).",
            rich_help_panel=OUTPUT,
        ),
    ] = 2,
) -> None:
    """Pre-train on phantoms, train, predict and evaluate, and write a report.

    Two labeled images are learned with and without a start on phantoms, and compared.

    It needs no data, no GPU and no network, and takes a few minutes.

    Examples:
        unmask demo
        unmask demo --axes 3 --out demo3d/
    """
    from unmask.apps.demo import run_demo

    report = run_demo(out, ndim=axes, say=show)
    emit({"report": report}, f"Report: {report}")
