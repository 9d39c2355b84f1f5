"""Summarize a label curve: a table, intervals, a plot and one sentence per start."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from unmask.apps.pictures import render
from unmask.atomic import atomic_write
from unmask.metrics.folds import interval
from unmask.plain_text import csv_text
from unmask.space.random import generator

SCRATCH = "scratch"
_RESAMPLED, _FEW = 4000, 5


@dataclass(frozen=True)
class Row:
    """One training.

    Attributes:
        start: name of the initial weights; ``scratch`` for random weights.
        labels: number of labeled images.
        repeat: index of the draw of images and of the seed.
        metrics: scores on the validation images; None if undefined.
        run: folder of the run.
        against: start with random weights in the same network; itself for random weights.
        updates: updates of the training.
    """

    start: str
    labels: int
    repeat: int
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    run: str = ""
    against: str = SCRATCH
    updates: int | None = None


@dataclass(frozen=True)
class Point:
    """All repeats of one start with one number of labels.

    Attributes:
        start: name of the initial weights.
        labels: number of labeled images.
        count: number of repeats with a defined score.
        mean: mean score; NaN without any.
        low: lower end of the 95 % interval of the mean (Student's t); NaN for a single repeat.
        high: upper end.
        equivalent: number of labeled images with the same score from random weights in the same
            network; None for random weights, infinite above and 0 below the measured range.
    """

    start: str
    labels: int
    count: int
    mean: float
    low: float
    high: float
    equivalent: float | None = None


def summarize(rows: Sequence[Row], metric: str) -> list[Point]:
    """Make one point per start and number of labels, in the order of the rows."""
    groups: dict[tuple[str, int], list[float]] = {}
    against = {row.start: row.against for row in rows}
    for row in rows:
        value = row.metrics.get(metric)
        found = groups.setdefault((row.start, row.labels), [])
        if value is not None and math.isfinite(value):
            found.append(value)
    points = []
    for (start, labels), values in groups.items():
        mean, low, high = interval(values)
        fresh = {n: float(np.mean(v)) for (s, n), v in groups.items() if s == against[start] and v}
        same = None if start == against[start] else equivalent(mean, fresh)
        points.append(Point(start, labels, len(values), mean, low, high, same))
    return points


def equivalent(score: float, scratch: Mapping[int, float]) -> float:
    """Interpolate the number of labeled images that reach ``score`` from scratch, in log scale.

    Scores are made monotonic first. The result is infinite if no measured number is enough, and 0
    if the smallest is better already.

    Examples:
        >>> equivalent(0.5, {1: 0.3, 4: 0.4, 16: 0.6}), equivalent(0.7, {1: 0.3, 4: 0.4})
        (8.0, inf)
    """
    if not scratch or not math.isfinite(score):
        return math.nan
    counts = sorted(scratch)
    means = np.maximum.accumulate([scratch[count] for count in counts])
    if score < means[0]:
        return 0.0
    if score > means[-1]:
        return math.inf
    above = int(np.searchsorted(means, score))
    if above == 0:
        return float(counts[0])
    share = (score - means[above - 1]) / (means[above] - means[above - 1])
    low, high = math.log2(counts[above - 1]), math.log2(counts[above])
    return float(2 ** (low + share * (high - low)))


def sentences(rows: Sequence[Row], metric: str) -> list[str]:
    """Write one sentence per pre-trained start, about the middle number of labels."""
    points = summarize(rows, metric)
    against = {row.start: row.against for row in rows if row.start != row.against}
    counts = sorted({point.labels for point in points})
    middle = counts[(len(counts) - 1) // 2] if counts else 0
    mine = {(point.start, point.labels): point for point in points}
    return [
        _sentence(mine[start, middle], mine[fresh, middle], rows, metric, largest=counts[-1])
        for start, fresh in against.items()
        if (start, middle) in mine and (fresh, middle) in mine
    ]


def _sentence(point: Point, plain: Point, rows: Sequence[Row], metric: str, *, largest: int) -> str:
    words = f"With {_images(point.labels)}, {point.start}"
    if point.equivalent is None or math.isnan(point.equivalent):
        return f"{words} has no defined {metric}."
    scores = f"{metric} {point.mean:.3f} against {plain.mean:.3f}"
    if math.isinf(point.equivalent):
        same = f"more than {largest} do from scratch"
    elif point.equivalent == 0:
        same = "fewer than the smallest number tried do from scratch"
    else:
        same = f"{_count(point.equivalent)} do from scratch"
    return f"{words} scores like {same} ({scores}; {_certainty(rows, point, plain, metric)})."


def _certainty(rows: Sequence[Row], point: Point, plain: Point, metric: str) -> str:
    """Say whether the difference to scratch, with the same images and seed, exceeds its spread."""
    found: dict[int, dict[str, float]] = {}
    for row in rows:
        value = row.metrics.get(metric)
        if row.labels == point.labels and value is not None:
            found.setdefault(row.repeat, {})[row.start] = value
    pairs = [each for each in found.values() if {point.start, plain.start} <= each.keys()]
    differences = [each[point.start] - each[plain.start] for each in pairs]
    if len(differences) < 2:
        return "a single repeat has no spread"
    low, high = bootstrap_interval(differences)
    shown = ", ".join(f"{value:+.3f}" for value in differences)
    spread = f"the spread of {len(pairs)} repeats: {shown}, interval {low:+.3f} to {high:+.3f}"
    return f"within {spread}" if low <= 0 <= high else f"beyond {spread}"


def bootstrap_interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the mean by resampling (Efron 1979, doi:10.1214/aos/1176344552).

    With fewer than five values the bootstrap interval is too narrow, so the result also covers
    Student's interval.

    Args:
        values: paired differences, at least two.
    """
    array = np.asarray(values, float)
    rng = generator(0, "bootstrap")
    means = array[rng.integers(0, len(array), (_RESAMPLED, len(array)))].mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    if len(array) < _FEW:
        _, below, above = interval(values)
        low, high = min(low, below), max(high, above)
    return float(low), float(high)


def write(
    out: Path, rows: Sequence[Row], metric: str, *, settings: Mapping[str, Any]
) -> list[Path]:
    """Write ``curve.csv`` and ``curve.json``, and the plot as ``curve.png`` and ``curve.svg``."""
    points = summarize(rows, metric)
    result = {
        "rows": [asdict(row) for row in rows],
        "summary": [asdict(point) for point in points],
        "sentences": sentences(rows, metric),
        "metric": metric,
        "settings": dict(settings),
    }
    files: dict[str, str | bytes] = {
        "curve.json": json.dumps(_plain(result), indent=1, allow_nan=False) + "\n",
        "curve.csv": _table(rows),
        "curve.png": plot(points, metric, form="png"),
        "curve.svg": plot(points, metric, form="svg"),
    }
    for name, content in files.items():
        atomic_write(out / name, content)
    return [out / name for name in files]


def plot(points: Sequence[Point], metric: str, *, form: str) -> bytes:
    """Plot mean and interval over the number of labeled images, one line per start."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for start in dict.fromkeys(point.start for point in points):
        mine = sorted((p for p in points if p.start == start), key=lambda point: point.labels)
        labels = [point.labels for point in mine]
        (line,) = axes.plot(labels, [point.mean for point in mine], marker="o", label=start)
        low, high = [p.low for p in mine], [p.high for p in mine]
        axes.fill_between(labels, low, high, alpha=0.15, color=line.get_color())
    counts = sorted({point.labels for point in points})
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.set_xlabel("labeled images")
    axes.set_ylabel(f"{metric}, mean and 95 % interval")
    axes.grid(alpha=0.3)
    axes.legend()
    return render(figure, form)


def _table(rows: Sequence[Row]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row.metrics))
    lines = [
        [
            row.start, row.labels, row.repeat, row.updates,
            *(row.metrics.get(name) for name in names), row.run,
        ]
        for row in rows
    ]  # fmt: skip
    return csv_text(["start", "labels", "repeat", "updates", *names, "run"], lines)


def _plain(value: Any) -> Any:
    """Replace infinity, which JSON lacks, by text, and undefined numbers by null."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "more" if value == math.inf else None
    return value


def _images(count: int) -> str:
    return f"{count} labeled image{'s' if count > 1 else ''}"


def _count(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0") if number < 10 else f"{number:.0f}"
