"""Cross-validation: one report over the reports of all folds, with an interval of the mean.

The best fold says little: on six volumes two folds differ by more than two methods do. So every
fold counts the same, and the report gives their mean and how sure it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.special import stdtrit

from unmask.errors import DataError, message
from unmask.metrics.report import Report

_LEVEL = 0.95


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and the ends of its 95 % interval by Student's t; NaN where there are too few values."""
    if not values:
        return math.nan, math.nan, math.nan
    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return mean, math.nan, math.nan
    error = float(np.std(values, ddof=1)) / math.sqrt(count)
    reach = float(stdtrit(count - 1, (1 + _LEVEL) / 2)) * error
    return mean, mean - reach, mean + reach


def read_report(path: str | Path) -> Report:
    """A report written as JSON.

    Raises:
        DataError: no such file, or something else in it.
    """
    try:
        tree = json.loads(Path(path).read_text(encoding="utf-8"))
        return Report(tree["images"], tree["summary"], tree["settings"], tree["version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        missing = isinstance(error, FileNotFoundError)
        raise DataError(
            message(
                path,
                expected="a report of `unmask evaluate --out REPORT.json`",
                found="nothing" if missing else f"{type(error).__name__}: {error}",
                do="Give the JSON file of each fold.",
            )
        ) from error


def join_folds(reports: Mapping[str, Report]) -> Report:
    """One row per fold, its mean over images; the summary has ``low`` and ``high`` of the mean.

    ``low`` and ``high`` are the ends of the 95 % interval over the folds by Student's t, NaN for a
    single one.

    Args:
        reports: report of each fold's held-out images by the fold's name.

    Raises:
        DataError: no report, an image in two folds, or a metric that is not in all of them.
    """
    if not reports:
        raise DataError("folds: expected one report or more, found none. Give the reports.")
    _check_apart(reports)
    metrics = [set(report.summary) for report in reports.values()]
    lacking = sorted(set.union(*metrics) - set.intersection(*metrics))
    if lacking:
        raise DataError(
            f"folds: expected the same metrics in every report, found {', '.join(lacking)} in some "
            "of them. Evaluate all folds with the same --metrics."
        )
    names = list(next(iter(reports.values())).summary)
    rows = [
        {"name": fold, **{name: _number(report.summary[name]["mean"]) for name in names}}
        for fold, report in reports.items()
    ]
    joined = Report.of(
        rows, settings={"images": {fold: len(each.images) for fold, each in reports.items()}}
    )
    summary = {}
    for name, entry in joined.summary.items():
        values = [row[name] for row in rows if math.isfinite(row[name])]
        _, low, high = interval(values)
        summary[name] = {**entry, "low": low, "high": high}
    return replace(joined, summary=summary)


def _number(value: float | None) -> float:
    """JSON has no NaN; it stands there as null."""
    return math.nan if value is None else float(value)


def _check_apart(reports: Mapping[str, Report]) -> None:
    seen: dict[str, str] = {}
    problems = []
    for fold, report in reports.items():
        for row in report.images:
            other = seen.setdefault(row["name"], fold)
            if other != fold:
                problems.append(f"{row['name']} in {other} and {fold}")
    if problems:
        raise DataError(
            f"folds: expected every image held out once, found {'; '.join(problems[:8])}. Give "
            "the reports of different folds."
        )
