"""``unmask plot``: options and printing only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unmask.cli.options import OUTPUT, split_words
from unmask.cli.terminal import emit


def plot(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...", help="Folders of runs. NAME=FOLDER chooses the name in the legend."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FILE",
            help="The picture to write: .png or .svg.",
            rich_help_panel=OUTPUT,
        ),
    ],
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            metavar="NAME,...",
            help="Values of the journals to draw, such as loss,validation/dice. Without it, the "
            "loss and the first metrics of the validation.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
) -> None:
    """Draw the loss and the validation metrics of several runs into one picture.

    Examples:
        unmask plot runs/a runs/b --out runs.png
        unmask plot scratch=runs/a pretrained=runs/b --metrics loss,validation/dice --out runs.svg
    """
    from unmask.apps.plot import run_plot

    names = None if metrics is None else split_words(metrics)
    run_plot(runs, out=out, metrics=names)
    emit({"picture": out}, f"Picture: {out}")
