"""Charts of an evaluation as SVG: distribution of scores, F1 over thresholds, recall by size."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_SIZE = (4.2, 2.6)
_COLOR = "#0072b2"
# Objects are divided into so many groups of equal number by size.
_GROUPS = 5


def histogram(values: Sequence[float], title: str) -> str:
    """Distribution of one score over the images."""
    figure, axes = _axes(title, "score", "images")
    low, high = (0.0, 1.0) if all(0 <= v <= 1 for v in values) else (min(values), max(values))
    axes.hist(values, bins=np.linspace(low, high or 1, 21).tolist(), color=_COLOR)
    return svg(figure)


def f1_over_thresholds(curve: Mapping[float, float]) -> str:
    """F1 of all objects together, at every threshold of the overlap."""
    figure, axes = _axes("F1 over the overlap asked for", "IoU threshold", "F1")
    axes.plot(list(curve), list(curve.values()), color=_COLOR, marker="o", markersize=3)
    axes.set_ylim(0, 1.02)
    return svg(figure)


def recall_by_size(diameters: np.ndarray, found: np.ndarray) -> str:
    """Share of the true objects that were found, in groups of equal number by diameter."""
    figure, axes = _axes("Recall by object size", "diameter in voxels", "found")
    order = np.argsort(diameters, kind="stable")
    groups = [part for part in np.array_split(order, _GROUPS) if len(part)]
    names = [f"{diameters[part].min():.3g}–{diameters[part].max():.3g}" for part in groups]
    shares = [float(found[part].mean()) for part in groups]
    bars = axes.bar(range(len(groups)), shares, color=_COLOR)
    axes.bar_label(bars, [f"{share:.0%}" for share in shares], fontsize=7)
    axes.set_xticks(range(len(groups)), names, fontsize=7)
    axes.set_ylim(0, 1.12)
    return svg(figure)


def svg(figure: Figure) -> str:
    """The figure as an ``<svg>`` element; the same figure gives the same text."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "unmask", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _axes(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=9)
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
