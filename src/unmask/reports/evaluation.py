"""The page of an evaluation: worst images first, with what was found, missed, extra and wrong."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unmask.labels.dropped import diameter
from unmask.metrics import METRICS, Matching, Report, find_metric, summarize
from unmask.metrics.instance import AP_THRESHOLDS, match_objects
from unmask.metrics.overlap_table import overlap
from unmask.reports import charts
from unmask.reports.fates import Fate, judge
from unmask.reports.overlay import COLORS, differences, jpeg, middle_plane, outline, render_rgb
from unmask.reports.page import Charts, Figure, Figures, Page, Section, Table, notes, values

# Pictures of a page; of 200 images they take about 8 MB.
_PICTURES = 200
# Classes up to this value are counted in one pass.
_FEW_CLASSES = 256
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
        kind: of images that are scored together too; "" for none.
    """

    name: str
    truth: np.ndarray
    predicted: np.ndarray
    image: np.ndarray | None = None
    kind: str = ""


@dataclass
class _Sums:
    """What is added up over all images."""

    thresholds: dict[float, Matching] = field(default_factory=dict)
    diameters: list[np.ndarray] = field(default_factory=list)
    found: list[np.ndarray] = field(default_factory=list)
    classes: Counter[tuple[int, int]] = field(default_factory=Counter)


def evaluation_page(
    report: Report, compared: Iterable[Compared], *, objects: bool, more: Sequence[Section] = ()
) -> str:
    """HTML of an evaluation with pictures; one file that needs nothing else.

    Args:
        report: scores per image.
        compared: the same images, in any order; read one after another.
        objects: labels number objects; otherwise they are classes.
        more: further sections, behind the tables.
    """
    origin = {name: value for name, value in report.settings.items() if name != "notes"}
    sections = [
        *evaluation_sections(report, compared, objects=objects),
        *more,
        values("What was compared", origin),
    ]
    return Page("Evaluation", sections, report.version).to_html()


def evaluation_sections(
    report: Report, compared: Iterable[Compared], *, objects: bool, title: str = "Summary"
) -> list[Section]:
    """The parts of a report on predicted images: tables, charts, and pictures, worst first."""
    by_name = {str(row["name"]): dict(row) for row in report.images}
    ranked = worst_first(report)
    pictured = set(ranked[:_PICTURES])
    sums, figures = _Sums(), dict[str, Figure]()
    for item in compared:
        row = by_name[item.name]
        if item.kind:
            row["kind"] = item.kind
        picture = _look(item, row, sums, objects=objects, drawn=item.name in pictured)
        if picture is not None:
            figures[item.name] = picture
    rows = [by_name[name] for name in ranked]
    if len({row.get("kind") for row in rows}) < 2:
        rows = [{name: row[name] for name in row if name != "kind"} for row in rows]
    return [
        Table(title, _summary(report)),
        notes([str(note) for note in report.settings.get("notes", ())]),
        Charts(_charts(report, sums, objects=objects)),
        *_totals(sums, rows),
        Table("Classes", _class_rows(sums), "All voxels of all images together."),
        Table("Kinds of images", _kind_rows(report, rows), "Means over the images of a kind."),
        Figures(
            "Pictures",
            [figures[name] for name in ranked if name in figures],
            [(text, COLORS[fate]) for fate, text in _legend(objects=objects)],
        ),
        Table("Images", rows, note="Worst first. Click a heading to sort.", sortable=True),
    ]


def worst_first(report: Report) -> list[str]:
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
        background = render_rgb(item.image[:, *plane])
    if not objects:
        sums.classes.update(_class_voxels(item.truth, item.predicted))
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


def _class_voxels(truth: np.ndarray, predicted: np.ndarray) -> dict[tuple[int, int], int]:
    """Voxels of every pair of classes."""
    pairs = np.stack([truth.reshape(-1), predicted.reshape(-1)], 1).astype(np.int64)
    if len(pairs) and pairs.min() >= 0 and pairs.max() < _FEW_CLASSES:
        counts = np.bincount(pairs[:, 0] * _FEW_CLASSES + pairs[:, 1])
        return {divmod(int(at), _FEW_CLASSES): int(counts[at]) for at in np.flatnonzero(counts)}
    found, counts = np.unique(pairs, axis=0, return_counts=True)
    return {(int(a), int(b)): int(n) for (a, b), n in zip(found, counts, strict=True)}


def _class_rows(sums: _Sums) -> list[dict[str, Any]]:
    rows = []
    for value in sorted({value for pair in sums.classes for value in pair} - {0}):
        true = sum(n for (a, _), n in sums.classes.items() if a == value)
        other = sum(n for (_, b), n in sums.classes.items() if b == value)
        both = sums.classes[value, value]
        rows.append(
            {
                "class": str(value),
                "voxels": true,
                "predicted": other,
                "dice": 2 * both / (true + other),
                "iou": both / (true + other - both),
            }
        )
    return rows


def _kind_rows(report: Report, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Mean scores per kind of images, if there are several."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        kept = {name: row[name] for name in report.summary if name in row}
        kinds.setdefault(str(row.get("kind", "")), []).append(kept)
    if len(kinds) < 2:
        return []
    return [
        {
            "kind": kind,
            "images": len(group),
            **{name: entry["mean"] for name, entry in summarize(group).items()},
        }
        for kind, group in sorted(kinds.items())
    ]


def _charts(report: Report, sums: _Sums, *, objects: bool) -> list[str]:
    drawn: list[str] = []
    for name in list(report.summary)[:1]:
        scores = [
            float(row[name])
            for row in report.images
            if isinstance(row.get(name), int | float) and math.isfinite(row[name])
        ]
        if scores:
            drawn.append(charts.histogram(scores, f"{name} of the images"))
    if objects and sums.thresholds:
        drawn.append(charts.f1_over_thresholds({t: m.f1 for t, m in sums.thresholds.items()}))
    if sums.diameters and (diameters := np.concatenate(sums.diameters)).size:
        drawn.append(charts.recall_by_size(diameters, np.concatenate(sums.found)))
    return drawn
