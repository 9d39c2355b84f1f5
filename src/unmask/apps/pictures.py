"""Pictures of runs: curves of their losses and validation metrics, to compare them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unmask.errors import DataError, message
from unmask.training.journal import read_journal

PROGRAM = "unmask"
_CURVE = {"loss": "training loss"}
_MOST = 2  # Validation metrics that are drawn by default.


def curves(
    runs: Mapping[str, Path], names: Sequence[str] | None = None, *, form: str = "png"
) -> bytes:
    """Draw one plot per metric, with one line per run that has it, from the runs' journals.

    Args:
        runs: folder of each run by its label.
        names: metrics in the journals; None takes the loss and the first validation metrics.
        form: ``png`` or ``svg``.

    Raises:
        DataError: a folder without a journal, or a metric that no run has.
    """
    journals = {label: read_journal(folder) for label, folder in runs.items()}
    chosen = names or _usual(journals)
    figure = Figure(figsize=(4.5 * len(chosen), 3), layout="constrained")
    plots = figure.subplots(1, len(chosen), squeeze=False)[0]
    for plot, name in zip(plots, chosen, strict=True):
        found = {label: series(journal, name) for label, journal in journals.items()}
        if not any(steps for steps, _ in found.values()):
            raise DataError(_unknown(name, journals))
        for label, (steps, values) in found.items():
            if steps:
                plot.plot(steps, values, label=label, marker="." if len(steps) < 30 else "")
        _label(plot, name)
    return render(figure, form)


def series(journal: Sequence[Mapping[str, Any]], name: str) -> tuple[list[int], list[float]]:
    """Collect the steps and values of one metric where it is defined."""
    found = [entry for entry in journal if isinstance(entry.get(name), int | float)]
    return [entry["step"] for entry in found], [float(entry[name]) for entry in found]


def _usual(journals: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Choose the loss and the first validation metrics."""
    validated = [name for name in _metrics_of(journals) if name.startswith("validation/")]
    return ["loss", *validated[:_MOST]]


def _metrics_of(journals: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    return list(dict.fromkeys(name for each in journals.values() for line in each for name in line))


def _unknown(name: str, journals: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    return message(
        f"--metrics {name}",
        expected="a metric in the journal of a run",
        found=f"{', '.join(_metrics_of(journals)) or 'empty journals'}",
        do="Choose one of these, or wait until the runs have logged a step.",
    )


def _label(plot: Axes, name: str) -> None:
    plot.set_xlabel("step")
    plot.set_title(_CURVE.get(name, name.removeprefix("validation/")), fontsize=9)
    plot.grid(alpha=0.3)
    plot.legend(fontsize=8)


def render(figure: Figure, form: str = "png") -> bytes:
    """Render a figure as ``png`` or ``svg``; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    # Names the program, so that an earlier picture is known; no date, so that bytes are the same.
    origin = {"Date": None, "Creator": PROGRAM} if form == "svg" else {"Software": PROGRAM}
    with mpl.rc_context({"svg.hashsalt": "unmask"}):
        figure.savefig(buffer, format=form, dpi=110, metadata=origin)
    return buffer.getvalue()
