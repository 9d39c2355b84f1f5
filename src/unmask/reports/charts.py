"""Charts as SVG: curves of a run, distributions, F1 over thresholds, recall by size, reliability.

They are written by hand: one chart of matplotlib takes 0.1 s and 20 kB, and its import half a
second, while a report of a training should cost nothing next to the training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from unmask.plain_text import printable
from unmask.wording import format_count

# Pixels of a chart and of its margins: left, top, right, bottom.
_WIDTH, _HEIGHT = 380, 240
_LEFT, _TOP, _RIGHT, _BOTTOM = 52, 30, 14, 44
# Colors that color-blind people can tell apart (Okabe and Ito 2008).
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
# Objects are divided into so many groups of equal number by size.
_GROUPS = 5
_TICKS = 5
# More points than pixels show nothing more.
_POINTS = 400

Series = Mapping[str, tuple[Sequence[float], Sequence[float]]]


@dataclass(frozen=True)
class _Frame:
    """Axes of a chart: ranges of the data and their places in the picture."""

    title: str
    x: str
    y: str
    xs: tuple[float, float]
    ys: tuple[float, float]

    def across(self, value: float) -> float:
        low, high = self.xs
        share = (value - low) / (high - low)
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)

    def up(self, value: float) -> float:
        low, high = self.ys
        share = (value - low) / (high - low)
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)

    def svg(self, marks: Sequence[str], *, names: Mapping[float, str] | None = None) -> str:
        """The chart with marks; ``names`` stand in place of numbers below the x axis."""
        ticks = names or {value: f"{value:g}" for value in _ticks(*self.xs)}
        middle, bottom = (_TOP + _HEIGHT - _BOTTOM) / 2, _HEIGHT - _BOTTOM
        parts = [
            f'<text x="{_WIDTH / 2}" y="17" class="t">{_text(self.title)}</text>',
            *(
                f'<path d="M{_LEFT} {self.up(v)}H{_WIDTH - _RIGHT}" class="g"/>'
                f'<text x="{_LEFT - 6}" y="{self.up(v) + 3}" class="y">{v:g}</text>'
                for v in _ticks(*self.ys)
            ),
            *(
                f'<text x="{self.across(v)}" y="{bottom + 15}" class="x">{_text(name)}</text>'
                for v, name in ticks.items()
            ),
            f'<path d="M{_LEFT} {_TOP}V{bottom}H{_WIDTH - _RIGHT}" class="a"/>',
            f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 8}" class="x">{_text(self.x)}</text>',
            f'<text transform="translate(12 {middle}) rotate(-90)" class="x">'
            f"{_text(self.y)}</text>",
            *marks,
        ]
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
            f'width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="{_text(self.title)}">'
            f"{''.join(parts)}</svg>"
        )


def histogram(values: Sequence[float], title: str) -> str:
    """Distribution of one score over the images."""
    low, high = (0.0, 1.0) if all(0 <= v <= 1 for v in values) else (min(values), max(values))
    counts, edges = np.histogram(values, bins=20, range=(low, high if high > low else low + 1))
    frame = _Frame(title, "score", "images", (edges[0], edges[-1]), (0, max(1, counts.max())))
    bars = [
        _bar(frame, a, b, int(n), f"{format_count(int(n), 'image')} from {a:.3g} to {b:.3g}")
        for a, b, n in zip(edges[:-1], edges[1:], counts, strict=True)
        if n
    ]
    return frame.svg(bars)


def f1_over_thresholds(scores: Mapping[float, float]) -> str:
    """F1 of all objects together, at every threshold of the overlap."""
    title = "F1 over the overlap asked for"
    return curves({"F1": (list(scores), list(scores.values()))}, title, "IoU threshold", unit=True)


def recall_by_size(diameters: np.ndarray, found: np.ndarray) -> str:
    """Share of the true objects that were found, in groups of equal number by diameter."""
    order = np.argsort(diameters, kind="stable")
    groups = [part for part in np.array_split(order, _GROUPS) if len(part)]
    title, below = "Recall by object size", "diameter in voxels"
    frame = _Frame(title, below, "found", (0, len(groups)), (0, 1.1))
    bars, names = [], {}
    for number, group in enumerate(groups):
        share, middle = float(found[group].mean()), number + 0.5
        span = f"{diameters[group].min():.3g}–{diameters[group].max():.3g}"
        bars.append(_bar(frame, number + 0.1, number + 0.9, share, f"{len(group)} objects"))
        bars.append(
            f'<text x="{frame.across(middle)}" y="{frame.up(share) - 4}" class="x">'
            f"{share:.0%}</text>"
        )
        names[middle] = span
    return frame.svg(bars, names=names)


def curves(
    series: Series, title: str, x: str, *, unit: bool = False, mark: float | None = None
) -> str:
    """Lines over a common axis.

    Args:
        series: x and y values by name; points that are not finite are left out.
        title: of the chart.
        x: name of the axis.
        unit: y goes from 0 to 1.
        mark: a vertical line, such as the best update.
    """
    lines = {name: _finite(*values) for name, values in series.items()}
    every = [point for points in lines.values() for point in points]
    xs = _span([a for a, _ in every])
    ys = (0.0, 1.0) if unit else _span([b for _, b in every])
    frame, marks = _Frame(title, x, "", xs, ys), list[str]()
    if mark is not None and xs[0] <= mark <= xs[1]:
        marks.append(
            f'<path d="M{frame.across(mark)} {_TOP}V{_HEIGHT - _BOTTOM}" class="m">'
            f"<title>{x} {mark:g}</title></path>"
        )
    for number, (name, points) in enumerate(lines.items()):
        color = _COLORS[number % len(_COLORS)]
        places = [(frame.across(a), frame.up(b)) for a, b in points[:: 1 + len(points) // _POINTS]]
        line = " ".join(f"{a},{b}" for a, b in places)
        marks.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>')
        if len(points) <= 40:
            marks += [
                f'<circle cx="{frame.across(a)}" cy="{frame.up(b)}" r="3" fill="{color}">'
                f"<title>{_text(name)} {b:.4g} at {a:g}</title></circle>"
                for a, b in points
            ]
        if len(lines) > 1:
            marks.append(
                f'<text x="{_WIDTH - _RIGHT}" y="{_TOP + 12 + 14 * number}" class="y" '
                f'fill="{color}">{_text(name)}</text>'
            )
    return frame.svg(marks)


def reliability(
    title: str, predicted: Sequence[float], observed: Sequence[float], count: Sequence[int]
) -> str:
    """Share that was right against the predicted probability, per group."""
    frame = _Frame(title, "predicted probability", "share that was right", (0, 1), (0, 1))
    marks = [
        f'<path d="M{frame.across(0)} {frame.up(0)}L{frame.across(1)} {frame.up(1)}" class="m"/>'
    ]
    places = [(frame.across(a), frame.up(b)) for a, b in zip(predicted, observed, strict=True)]
    line = " ".join(f"{a},{b}" for a, b in places)
    marks.append(f'<polyline points="{line}" fill="none" stroke="{_COLORS[0]}" stroke-width="2"/>')
    marks += [
        f'<circle cx="{a}" cy="{b}" r="4" fill="{_COLORS[0]}"><title>{n}</title></circle>'
        for (a, b), n in zip(places, count, strict=True)
    ]
    return frame.svg(marks)


def _bar(frame: _Frame, start: float, stop: float, height: float, title: str) -> str:
    left, top = frame.across(start), frame.up(height)
    width, down = frame.across(stop) - left, frame.up(0) - top
    return (
        f'<rect x="{left}" y="{top}" width="{max(1, width - 1):.1f}" height="{down:.1f}" '
        f'fill="{_COLORS[0]}"><title>{_text(title)}</title></rect>'
    )


def _finite(xs: Sequence[float], ys: Sequence[float]) -> list[tuple[float, float]]:
    return [(a, b) for a, b in zip(xs, ys, strict=True) if math.isfinite(b)]


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Lowest and highest value, apart from each other."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers inside a range."""
    step = 10.0 ** math.floor(math.log10((high - low) / _TICKS))
    step *= next(f for f in (1, 2, 5, 10) if (high - low) / (f * step) <= _TICKS)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{number * step:.10g}") for number in range(first, last + 1)]


def _text(text: str) -> str:
    return escape(printable(text))
