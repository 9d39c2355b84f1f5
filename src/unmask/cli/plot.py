"""``unmask plot``: options and printing only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unmask.cli.terminal import show


def plot(
    runs: Annotated[list[str], typer.Argument(help="folders of runs, or NAME=FOLDER")],
    out: Annotated[Path, typer.Option("--out", help="FIGURE.png or .svg")],
    figures: Annotated[
        str | None, typer.Option("--figures", help="of the journals: loss,validation/dice,...")
    ] = None,
) -> None:
    """Draw loss and validation of several runs into one figure, to compare them."""
    from unmask.apps.plot import run_plot

    names = None if figures is None else [name.strip() for name in figures.split(",")]
    run_plot(runs, out=out, figures=names)
    show(f"Figure: {out}")
