"""``evaluate``: label images, or classes of images, against the truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unmask.api.kinds import Doubts, Look, choose_metrics, look_at, reason_note
from unmask.api.values import Settings
from unmask.data.checks import check_place
from unmask.data.drawn import DrawnLabels
from unmask.data.offset import offset_in_files, part_with_labels
from unmask.data.pairing import Layout, Paths, match_files, pairing
from unmask.data.tables import PREDICTED, is_table
from unmask.errors import (
    DataError,
    RecipeError,
    group_problems,
    message,
    near_path,
    raise_problems,
)
from unmask.io import Image, open_labels
from unmask.io.inputs import Input, as_inputs
from unmask.io.stacks import open_movie_labels, plane_of
from unmask.metrics import (
    METRICS,
    Report,
    evaluate_pair,
    find_metric,
)
from unmask.wording import format_part

# The end of a metric's name that stands for every class.
EVERY = "/*"


class Opened(NamedTuple):
    """Truth and prediction of one shape; of a movie, at one point in time.

    Attributes:
        name: row of the report.
        truth: true labels.
        predicted: predicted labels.
        stem: name of the file.
        time: the point in time of a movie.
    """

    name: str
    truth: Image
    predicted: Image
    stem: str
    time: int | None = None


def evaluate(
    *,
    truth: Paths,
    predicted: Paths,
    metrics: Sequence[str] | None = None,
    ignore: int | None = None,
    images: Paths | None = None,
    settings: Settings = (),
) -> Report:
    """Compare label images, or tables of the classes of images, with the truth.

    Every point in time of a movie is compared on its own, and has a row.

    Args:
        truth: true labels, outlines, a folder that holds labels next to images, or tables (.csv)
            with the columns ``name`` and ``class``.
        predicted: predicted labels; they pair by stem. Or tables as ``predict`` writes them.
        metrics: metric names as in ``unmask.metrics``, or ``path/to/file.py:Name`` of a function
            ``(truth, predicted)``. ``dice/*`` is one for each class of the truth. Default: by what
            all truth images look like; ``settings["notes"]`` says why.
        ignore: value of the truth that counts nowhere.
        images: of tables, compare these images only; label images pair without them.
        settings: ``data.image_suffix`` (of predicted) and ``data.label_suffix`` (of truth),
            ``data.label_offset`` of a truth that covers a part of the images, ``data.axes`` of both
            sides, ``data.formats``.

    Raises:
        RecipeError: an unknown metric or setting.
        DataError: labels without a partner or of another size; all problems at once.
    """
    rules = pairing(settings)
    for name in metrics or ():
        find_metric(name.replace(EVERY, "/1"), METRICS)
    if is_table(truth):
        _check_answers(predicted, ignore)
    if is_table(truth) and is_table(predicted):
        from unmask.api.classes import evaluate_classes

        return evaluate_classes(truth, predicted, metrics, images=images)
    if is_table(predicted):
        _check_truth_of_table(truth)
    opened, pairing_notes = open_compared(truth, predicted, rules)
    names, notes = metrics, list[str]()
    if names is None:
        names, reason = choose_metrics(_looks(opened, ignore))
        notes.append(reason_note(names, reason))
    if any(name.endswith(EVERY) for name in names):
        names = _of_every_class(names, [each.truth for each in opened], ignore)
    doubts = Doubts(names, ignore)
    rows = [_row(each, names, ignore=ignore, doubts=doubts) for each in opened]
    notes += [*doubts.notes(), *pairing_notes]
    return Report.of(rows, settings={"metrics": list(names), **({"notes": notes} if notes else {})})


def _check_truth_of_table(truth: Paths) -> None:
    """Name a table of the truth that is not there, rather than the predicted one as no image.

    Raises:
        DataError: a path that leads to nothing.
    """
    for path in as_inputs(truth):
        if isinstance(path, str) and not set(path) & set("*?[") and not Path(path).exists():
            raise DataError(
                message(
                    path,
                    expected="a table of true classes (.csv), as the prediction is a table",
                    found="no such file",
                    do=f"{near_path(path)}Check the path.",
                )
            )


def _check_answers(predicted: Paths, ignore: int | None) -> None:
    """Refuse what does not fit a table of true classes.

    Raises:
        DataError: the folder of a table in place of the table.
        RecipeError: a value of voxels to ignore.
    """
    for path in as_inputs(predicted):
        table = Path(path, PREDICTED) if isinstance(path, str) else None
        if table is not None and table.is_file():
            raise DataError(
                message(
                    path,
                    expected="a table of predicted classes, as the truth is a table of classes",
                    found="its folder",
                    do=f"Give --predicted {table}.",
                )
            )
    if ignore is not None and is_table(predicted):
        raise RecipeError(
            message(
                f"--ignore {ignore}",
                expected="label images",
                found="tables of classes, which have no voxels",
                do="Leave it out, and leave lines out of the true classes instead.",
            )
        )


def _looks(opened: Sequence[Opened], ignore: int | None) -> list[Look]:
    """One look per file: of a movie, the point in time with the most values.

    Objects that are tracked have the same values at all points, which tells nothing.
    """
    found: dict[str, Look] = {}
    for each in opened:
        look = look_at(each.truth.read()[0], ignore)
        if each.stem not in found or len(look.ids) > len(found[each.stem].ids):
            found[each.stem] = look
    return list(found.values())


def open_compared(truth: Paths, predicted: Paths, rules: Layout) -> tuple[list[Opened], list[str]]:
    """The opened truths and predictions, and notes on how they pair.

    Raises:
        DataError: labels without a partner or of another size; all problems at once.
    """
    problems: list[str] = []
    opened: list[Opened] = []
    notes: list[str] = []
    spare: list[str] = []
    matched = match_files(
        predicted, truth, rules, problems, notes=notes, unlabeled=spare, by_habit=False
    )
    if spare:
        notes.append(
            f"{format_part(len(matched), len(matched) + len(spare), 'prediction', 'have')} a "
            "truth. The others are not compared: "
            f"{', '.join(spare[:3])}{', ...' * (len(spare) > 3)}."
        )
    for name, predicted_path, truth_path in matched:
        try:
            pair = _open_pair(truth_path or "", predicted_path, rules, notes)
            opened += _points_in_time(name, *pair)
        except DataError as error:
            problems.append(str(error))
    raise_problems(problems)
    return opened, group_problems(notes)


def _open_pair(
    truth: Input | DrawnLabels, predicted: Input, rules: Layout, notes: list[str]
) -> tuple[Image, Image]:
    """Truth and prediction of one shape."""
    if isinstance(truth, DrawnLabels):
        other = open_labels(predicted, axes=rules.axes)
        return truth.labels(other, notes), other
    true, other = _open(truth, rules.axes), _open(predicted, rules.axes)
    notes += [*true.meta.get("doubts", ()), *other.meta.get("doubts", ())]
    if rules.label_offset is None and true.shape == other.shape:
        check_place(other, true)
        return true, other
    offset = rules.label_offset or offset_in_files(other, true)
    if offset is None:
        raise DataError(
            message(
                predicted,
                expected=f"the size of the truth {true.source}, {true.shape[1:]}",
                found=f"{other.shape[1:]}",
                do="Compare images of one size, or say where the truth is in the image: --set "
                f"data.label_offset=[{','.join('0' * true.ndim)}].",
            )
        )
    return true, part_with_labels(other, true, offset, notes)


def _open(path: Input, axes: str | None) -> Image:
    movie = open_movie_labels(path, axes=axes)
    return open_labels(path, axes=axes) if movie is None else movie


def _points_in_time(name: str, truth: Image, predicted: Image) -> Iterator[Opened]:
    """The pair, or one pair per point in time if either file names a time axis."""
    if "T" not in truth.axes + predicted.axes:
        yield Opened(name, truth, predicted, name)
        return
    for at in range(truth.shape[1]):
        parts = plane_of(truth, [at]), plane_of(predicted, [at])
        yield Opened(f"{name}, t = {at}", *parts, name, at)


def _row(
    opened: Opened,
    names: Sequence[str],
    *,
    ignore: int | None,
    doubts: Doubts,
) -> dict[str, Any]:
    """Values of one pair."""
    truth, predicted = opened.truth, opened.predicted
    true, other = truth.read()[0], predicted.read()[0]
    try:
        values = evaluate_pair(true, other, names, spacing=truth.spacing, ignore=ignore)
    except (DataError, RecipeError) as error:
        raise type(error)(f"{predicted.source} and {truth.source}: {error}") from error
    doubts.look(opened.name, true, other)
    return {"name": opened.name, **values}


def _of_every_class(names: Sequence[str], truths: Sequence[Image], ignore: int | None) -> list[str]:
    """``dice/1``, ``dice/2`` ... in place of ``dice/*``, for the classes of all images together."""
    found = {int(value) for truth in truths for value in np.unique(truth.read())}
    classes = sorted(found - {0, ignore})
    every = [
        [f"{name.removesuffix(EVERY)}/{each}" for each in classes]
        if name.endswith(EVERY)
        else [name]
        for name in names
    ]
    return [name for several in every for name in several]
