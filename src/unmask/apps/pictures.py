"""Pictures for people: input, truth and prediction side by side, and curves of runs."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from skimage.segmentation import find_boundaries

from unmask.space.random import generator

_CURVE = {"loss": "training loss"}


def triptych(rows: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> bytes:
    """PNG with a row for each (image ``(C, *space)``, truth ``(*space)``, predicted ``(*space)``).

    Volumes show the middle slice of their first axis.
    """
    figure = Figure(figsize=(9, 3 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), 3, squeeze=False)
    for line, (image, truth, predicted) in zip(axes, rows, strict=True):
        grey = _display(image)
        for axis, labels, title in zip(
            line, (None, truth, predicted), ("input", "truth", "prediction"), strict=True
        ):
            axis.imshow(grey if labels is None else _overlay(grey, _plane(labels)))
            axis.set_title(title, fontsize=9)
            axis.axis("off")
    return _png(figure)


def reconstructions(pictures: Mapping[str, np.ndarray], *, count: int = 4) -> bytes:
    """PNG with a row for each sample and a column for each picture ``(B, C, *space)``."""
    count = min(count, *(len(batch) for batch in pictures.values()))
    figure = Figure(figsize=(2.4 * len(pictures), 2.4 * count), layout="constrained")
    axes = figure.subplots(count, len(pictures), squeeze=False)
    for column, (title, batch) in enumerate(pictures.items()):
        for row in range(count):
            axes[row, column].imshow(_display(batch[row]))
            axes[row, column].axis("off")
        axes[0, column].set_title(title, fontsize=9)
    return _png(figure)


def curves(runs: Mapping[str, Path], names: Sequence[str] = ("loss",)) -> bytes:
    """PNG with one plot for each name; a line for each run folder, out of its journal."""
    figure = Figure(figsize=(4.5 * len(names), 3), layout="constrained")
    plots = figure.subplots(1, len(names), squeeze=False)[0]
    for plot, name in zip(plots, names, strict=True):
        for label, folder in runs.items():
            steps, values = series(folder, name)
            plot.plot(steps, values, label=label, marker="." if len(steps) < 30 else "")
        _label(plot, name)
    return _png(figure)


def series(run: Path, name: str) -> tuple[list[int], list[float]]:
    """Steps and values of one figure in a run's journal."""
    lines = (run / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    found = [entry for entry in map(json.loads, lines) if entry.get(name) is not None]
    return [entry["step"] for entry in found], [float(entry[name]) for entry in found]


def _label(plot: Axes, name: str) -> None:
    plot.set_xlabel("update")
    plot.set_title(_CURVE.get(name, name), fontsize=9)
    plot.grid(alpha=0.3)
    plot.legend(fontsize=8)


def _plane(array: np.ndarray) -> np.ndarray:
    while array.ndim > 2:
        array = array[array.shape[0] // 2]
    return array


def _display(image: np.ndarray) -> np.ndarray:
    """``(y, x, 3)`` in [0, 1]; up to three channels are shown."""
    planes = np.stack([_plane(channel) for channel in image[:3]], axis=-1).astype(np.float32)
    if planes.shape[-1] != 3:
        planes = np.repeat(planes.mean(axis=-1, keepdims=True), 3, axis=-1)
    low, high = np.percentile(planes, (0.5, 99.5))
    return np.clip((planes - low) / max(high - low, 1e-6), 0, 1)


def _overlay(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Objects in colours that stay the same for the same id, with outlines."""
    rng = generator(0, "colours")
    table = mpl.colormaps["hsv"](rng.random(997))[:, :3].astype(np.float32)
    colours = table[labels.astype(np.int64) % 997]
    shown = np.where((labels > 0)[..., None], 0.55 * image + 0.45 * colours, image)
    edges = find_boundaries(labels, mode="inner")
    shown[edges] = colours[edges]
    return shown


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
