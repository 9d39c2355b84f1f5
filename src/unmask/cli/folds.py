"""``unmask folds``: options and printing only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from unmask.cli.options import ReportFile
from unmask.cli.terminal import emit, show


def folds(
    reports: Annotated[
        list[Path],
        typer.Argument(
            metavar="REPORT...",
            help="One JSON report of `unmask evaluate` per fold.",
        ),
    ],
    out: ReportFile = None,
) -> None:
    """Join the reports of a cross-validation into means over folds with 95 % intervals.

    Examples:
        unmask folds fold0.json fold1.json fold2.json
        unmask folds fold0.json fold1.json fold2.json --out cross-validation.html
    """
    from unmask import metrics
    from unmask.metrics.report import check_report_path, refuse_other_files

    if out is not None:
        check_report_path(out)
        refuse_other_files(out)
    joined = metrics.join_folds({str(path): metrics.read_report(path) for path in reports})
    emit(json.loads(joined.to_json()), joined.to_text())
    if out is not None:
        joined.write(out)
        show(f"Report: {out}")
