"""The page of an evaluation: worst images first, with what was found, missed, extra and wrong."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unmask.labels.dropped import diameter
from unmask.metrics import METRICS, Matching, Report, find_metric
from unmask.metrics.instance import AP_THRESHOLDS, match_objects
from unmask.metrics.overlap_table import overlap
from unmask.reports import charts
from unmask.reports.fates import Fate, judge
from unmask.reports.overlay import COLORS, differences, jpeg, middle_plane, outline, shown
from unmask.reports.page import Chart, Figure, Page, Table

# Pictures of a page; of 200 images they take about 8 MB.
_PICTURES = 200
_WORDS = {
    Fate.FOUND: "found",
    Fate.MISSED: "missed",
    Fate.EXTRA: "extra",
    Fate.SPLIT: "split",
    Fate.MERGED: "merged",
}


@dataclass(frozen=True)
class Compared:
    """One image of an evaluation.

    Attributes:
        name: of the image.
        truth: ``(*space)`` true labels.
        predicted: ``(*space)`` predicted labels.
        image: ``(C, *space)``; None: outlines are drawn on black.
    """

    name: str
    truth: np.ndarray
    predicted: np.ndarray
    image: np.ndarray | None = None


@dataclass
class _Sums:
    """What is added up over all images."""

    thresholds: dict[float, Matching] = field(default_factory=dict)
    diameters: list[np.ndarray] = field(default_factory=list)
    found: list[np.ndarray] = field(default_factory=list)


def evaluation_page(report: Report, compared: Iterable[Compared], *, objects: bool) -> str:
    """HTML of an evaluation with pictures; one file that needs nothing else.

    Args:
        report: scores per image.
        compared: the same images, in any order; read one after another.
        objects: labels number objects; otherwise they are classes.
    """
    by_name = {str(row["name"]): dict(row) for row in report.images}
    ranked = _ranked(report)
    pictured = set(ranked[:_PICTURES])
    sums, figures = _Sums(), dict[str, Figure]()
    for item in compared:
        row = by_name[item.name]
        picture = _look(item, row, sums, objects=objects, drawn=item.name in pictured)
        if picture is not None:
            figures[item.name] = picture
    rows = [by_name[name] for name in ranked]
    page = Page(
        title="Evaluation",
        tables=[
            Table("Summary", _summary(report)),
            *_totals(sums, rows),
            Table("Images", rows, note="Worst first. Click a heading to sort.", sortable=True),
        ],
        charts=_charts(report, sums, objects=objects),
        figures=[figures[name] for name in ranked if name in figures],
        legend=[(text, COLORS[fate]) for fate, text in _legend(objects=objects)],
        notes=[str(note) for note in report.settings.get("notes", ())],
        settings={name: value for name, value in report.settings.items() if name != "notes"},
        version=report.version,
    )
    return page.to_html()


def _ranked(report: Report) -> list[str]:
    """Names of the images, the worst of the first metric first; undefined ones at the end."""
    names = [name for name in report.summary if name in (report.images[0] if report.images else ())]
    if not names:
        return [str(row["name"]) for row in report.images]
    first = names[0]
    try:
        better = find_metric(first, METRICS).higher_is_better is not False
    except (LookupError, ValueError):
        better = True

    def key(row: Mapping[str, Any]) -> float:
        value = row.get(first)
        if not isinstance(value, int | float) or not math.isfinite(value):
            return math.inf
        return float(value) if better else -float(value)

    return [str(row["name"]) for row in sorted(report.images, key=key)]


def _look(
    item: Compared, row: dict[str, Any], sums: _Sums, *, objects: bool, drawn: bool
) -> Figure | None:
    """Add the image to the sums and its counts to its row; its picture if it is ``drawn``."""
    plane = middle_plane(item.truth if item.truth.any() else item.predicted)
    true, other = item.truth[plane], item.predicted[plane]
    background = np.zeros((*true.shape, 3), np.uint8)
    if item.image is not None and drawn:
        background = shown(item.image[:, *plane])
    if not objects:
        picture = jpeg(differences(background, true, other)) if drawn else b""
    else:
        table = overlap(item.truth, item.predicted).objects
        fates = judge(table)
        row |= {word: fates.count(fate) for fate, word in _WORDS.items()}
        for threshold in AP_THRESHOLDS:
            matched = match_objects(table, threshold)
            sums.thresholds[threshold] = (
                sums.thresholds[threshold] + matched if threshold in sums.thresholds else matched
            )
        sums.diameters.append(diameter(table.truth_areas, item.truth.ndim))
        sums.found.append(fates.truth == Fate.FOUND)
        picture = jpeg(outline(background, true, other, table, fates)) if drawn else b""
    if not drawn:
        return None
    where = ", ".join(str(place) for place in plane if isinstance(place, int))
    return Figure(item.name, picture, f"section {where}" if where else "", row)


def _summary(report: Report) -> list[dict[str, Any]]:
    return [{"metric": name, **entry} for name, entry in report.summary.items()]


def _totals(sums: _Sums, rows: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Numbers of objects over all images."""
    matched = sums.thresholds.get(AP_THRESHOLDS[0])
    if matched is None:
        return []
    fates = {word: sum(int(row.get(word, 0)) for row in rows) for word in _WORDS.values()}
    counts = {"TP": matched.tp, "FP": matched.fp, "FN": matched.fn, **fates}
    return [Table("Objects at IoU 0.5, all images", [counts])]


def _legend(*, objects: bool) -> list[tuple[Fate, str]]:
    if objects:
        return list(_WORDS.items())
    return [
        (Fate.FOUND, "outline of the prediction"),
        (Fate.MISSED, "missed"),
        (Fate.EXTRA, "extra"),
        (Fate.SPLIT, "another class"),
    ]


def _charts(report: Report, sums: _Sums, *, objects: bool) -> list[Chart]:
    drawn: list[Chart] = []
    for name in list(report.summary)[:1]:
        values = [
            float(row[name])
            for row in report.images
            if isinstance(row.get(name), int | float) and math.isfinite(row[name])
        ]
        if values:
            drawn.append(Chart(charts.histogram(values, f"{name} of the images")))
    if objects and sums.thresholds:
        drawn.append(
            Chart(charts.f1_over_thresholds({t: m.f1 for t, m in sums.thresholds.items()}))
        )
    if sums.diameters and (diameters := np.concatenate(sums.diameters)).size:
        drawn.append(Chart(charts.recall_by_size(diameters, np.concatenate(sums.found))))
    return drawn
