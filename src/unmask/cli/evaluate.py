"""``unmask evaluate``: options and printing only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unmask.cli.options import Settings
from unmask.cli.terminal import show
from unmask.startup import quick_imports


def evaluate(  # noqa: PLR0913 - the options promised
    truth: Annotated[list[str], typer.Option("--truth", help="true labels")],
    predicted: Annotated[list[str], typer.Option("--predicted", help="predicted labels")],
    metrics: Annotated[str | None, typer.Option("--metrics", help="NAME,NAME,...")] = None,
    mapping: Annotated[
        str | None,
        typer.Option(
            "--mapping",
            help="of clusters: one_to_one,majority,transferred,transferred_dice; or all",
        ),
    ] = None,
    fit_truth: Annotated[
        list[str] | None, typer.Option("--fit-truth", help="truth to fit the transferred on")
    ] = None,
    fit_predicted: Annotated[
        list[str] | None, typer.Option("--fit-predicted", help="clusters of these images")
    ] = None,
    ignore: Annotated[
        int | None, typer.Option("--ignore", help="value of the truth that counts nowhere")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="report (.json, .csv, .html)")] = None,
    settings: Settings = None,
) -> None:
    """Compare predicted labels, or clusters under some mapping to classes, with the truth."""
    with quick_imports():
        from unmask import api
        from unmask.api import evaluation

    names = None if metrics is None else [name.strip() for name in metrics.split(",")]
    files = {"truth": truth, "predicted": predicted, "settings": settings or (), "ignore": ignore}
    if mapping is None:
        report = evaluation.evaluate(**files, metrics=names)
    else:
        report = api.evaluate_clusters(
            **files,
            mappings=None if mapping == "all" else [name.strip() for name in mapping.split(",")],
            fit_truth=fit_truth,
            fit_predicted=fit_predicted,
        )
    show(report.to_text())
    if out is not None:
        report.write(out)
        show(f"Report: {out}")
