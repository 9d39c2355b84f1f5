"""``evaluate``: label images, or classes of images, against the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from unmask.api.kinds import Doubts, choose_metrics, look_at, reason_note
from unmask.api.values import Settings
from unmask.data.checks import check_place
from unmask.data.pairing import Paths, match_files, pairing
from unmask.data.tables import is_table
from unmask.errors import DataError, gather
from unmask.io import Image, open_labels
from unmask.metrics import (
    METRICS,
    Report,
    evaluate_pair,
    find_metric,
)

# The end of a metric's name that stands for every class.
_EVERY = "/*"


def evaluate(
    *,
    truth: Paths,
    predicted: Paths,
    metrics: Sequence[str] | None = None,
    ignore: int | None = None,
    settings: Settings = (),
) -> Report:
    """Compare label images, or tables of the classes of images, with the truth.

    Args:
        truth: true labels, or tables (.csv) with the columns ``name`` and ``class``.
        predicted: predicted labels; they pair by stem. Or tables as ``predict`` writes them.
        metrics: metric names as in ``unmask.metrics``; ``dice/*`` is one for each class of the
            truth; default: by what all truth images look like; ``settings["notes"]`` says why.
        ignore: value of the truth that counts nowhere.
        settings: ``data.image_suffix`` (of predicted) and ``data.label_suffix`` (of truth).

    Raises:
        RecipeError: an unknown metric or setting.
        DataError: labels without a partner or of another size; all problems at once.
    """
    rules = pairing(settings)
    for name in metrics or ():
        find_metric(name.replace(_EVERY, "/1"), METRICS)
    if is_table(truth) and is_table(predicted):
        from unmask.api.classes import evaluate_classes

        return evaluate_classes(truth, predicted, metrics)
    problems: list[str] = []
    opened: list[tuple[str, Image, Image]] = []
    pairing_notes: list[str] = []
    matched = match_files(predicted, truth, rules, problems, notes=pairing_notes, by_habit=False)
    for name, predicted_path, truth_path in matched:
        try:
            pair = open_labels(truth_path or ""), open_labels(predicted_path)
            _same_shape(*pair)
            check_place(pair[1], pair[0])
            opened.append((name, *pair))
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError(gather(problems, heading=f"{len(problems)} problem(s) found:"))
    names, notes = metrics, list[str]()
    if names is None:
        names, reason = choose_metrics(look_at(true.read()[0], ignore) for _, true, _ in opened)
        notes.append(reason_note(names, reason))
    if any(name.endswith(_EVERY) for name in names):
        names = _of_every_class(names, [true for _, true, _ in opened], ignore)
    doubts = Doubts(names, ignore)
    rows = [_row(*each, names, ignore=ignore, doubts=doubts) for each in opened]
    notes += [*doubts.notes(), *pairing_notes]
    return Report.of(rows, settings={"metrics": list(names), **({"notes": notes} if notes else {})})


def _row(
    name: str,
    truth: Image,
    predicted: Image,
    names: Sequence[str],
    *,
    ignore: int | None,
    doubts: Doubts,
) -> dict[str, Any]:
    """Values of one pair."""
    true, other = truth.read()[0], predicted.read()[0]
    try:
        values = evaluate_pair(true, other, names, spacing=truth.spacing, ignore=ignore)
    except DataError as error:
        raise DataError(f"{predicted.source} and {truth.source}: {error}") from error
    doubts.look(name, true, other)
    return {"name": name, **values}


def _of_every_class(names: Sequence[str], truths: Sequence[Image], ignore: int | None) -> list[str]:
    """``dice/1``, ``dice/2`` ... in place of ``dice/*``, for the classes of all images together."""
    found = {int(value) for truth in truths for value in np.unique(truth.read())}
    classes = sorted(found - {0, ignore})
    every = [
        [f"{name.removesuffix(_EVERY)}/{each}" for each in classes]
        if name.endswith(_EVERY)
        else [name]
        for name in names
    ]
    return [name for several in every for name in several]


def _same_shape(truth: Image, predicted: Image) -> None:
    if truth.shape != predicted.shape:
        raise DataError(
            f"{predicted.source}: expected the size of the truth {truth.source}, "
            f"{truth.shape[1:]}, found {predicted.shape[1:]}. Compare images of one size."
        )
