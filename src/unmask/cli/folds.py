"""``unmask folds``: options and printing only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unmask.cli.terminal import show


def folds(
    reports: Annotated[list[Path], typer.Argument(help="REPORT.json of each fold's held-out part")],
    out: Annotated[Path | None, typer.Option("--out", help="report (.json, .csv, .html)")] = None,
) -> None:
    """Join the reports of a cross-validation: mean over folds with its 95 % interval."""
    from unmask import metrics

    joined = metrics.join_folds({str(path): metrics.read_report(path) for path in reports})
    show(joined.to_text())
    if out is not None:
        joined.write(out)
        show(f"Report: {out}")
