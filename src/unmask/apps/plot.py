"""Draw the curves of several runs into one picture, to compare them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unmask.apps.pictures import PROGRAM, curves
from unmask.atomic import atomic_write, refuse_folder
from unmask.errors import DataError, message
from unmask.own_files import refuse_others

_FORMS = {".png": "png", ".svg": "svg"}


def run_plot(runs: Sequence[str], *, out: str | Path, metrics: Sequence[str] | None = None) -> None:
    """Draw the journals of runs.

    Args:
        runs: folders, or ``NAME=FOLDER`` to name a line.
        out: the picture, ``.png`` or ``.svg``.
        metrics: names in the journals, one plot each; None takes the loss and the first validation
            metrics.

    Raises:
        DataError: another suffix, two runs of one name, a folder without a journal, or a metric
            that no run has.
    """
    out = Path(out)
    if out.suffix.lower() not in _FORMS:
        raise DataError(
            message(
                out,
                expected="a picture that ends in .png or .svg",
                found=out.suffix or "no suffix",
                do="Change --out.",
            )
        )
    refuse_folder(out)
    refuse_others(out, PROGRAM.encode())
    atomic_write(out, curves(_name_runs(runs), metrics, form=_FORMS[out.suffix.lower()]))


def _name_runs(runs: Sequence[str]) -> dict[str, Path]:
    """Label each run; folders with the same name get that of their parent too."""
    split = [run.partition("=") if _is_named(run) else ("", "", run) for run in runs]
    names = [name or Path(folder).absolute().name for name, _, folder in split]
    found: dict[str, Path] = {}
    for run, (given, _, folder), name in zip(runs, split, names, strict=True):
        path, label = Path(folder), name
        if not given and names.count(name) > 1:
            label = f"{path.absolute().parent.name}/{name}"
        if label in found:
            raise DataError(
                f"{run}: expected a different name for each run, found {label!r} twice. "
                "Give NAME=FOLDER."
            )
        found[label] = path
    return found


def _is_named(run: str) -> bool:
    return "=" in run and not Path(run).exists()
