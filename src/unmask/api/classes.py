"""Classes of whole images: tables of answers, and their comparison with the truth."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unmask.api.evaluation import EVERY
from unmask.api.values import Say
from unmask.data.pairs import Pair, Paths
from unmask.data.portions import unreadable
from unmask.data.tables import CLASS, NAME, PREDICTED, list_paths, read_table, write_table
from unmask.errors import DataError, RecipeError, describe_error, message, raise_problems
from unmask.io import Image, stem
from unmask.io.paths import named_files
from unmask.leftovers import remove_leftovers
from unmask.metrics import METRICS as NAMED
from unmask.metrics import Report, evaluate_pair, find_metric
from unmask.progress import Progress
from unmask.tasks.complete import complete
from unmask.wording import format_count

if TYPE_CHECKING:
    from unmask.infer.predictor import Predictor
    from unmask.infer.tiles import Progress

METRICS = ("accuracy", "balanced_accuracy", "auc")


def write_classes(
    predictor: Predictor,
    pairs: Sequence[Pair],
    out: Path,
    skipped: list[str] | None = None,
    *,
    say: Say = print,
    progress: Progress | None = None,
) -> Path:
    """Classify images; ``predicted.csv`` has a line for each with its class and all probabilities.

    Memory does not grow with the images.

    Args:
        predictor: model and task.
        pairs: the images.
        out: folder of the table.
        skipped: gets what is wrong with images that are left out; None: the first one is an error.
        say: gets one line per image.
        progress: called with (windows done, windows in all) of the image in work.

    Raises:
        DataError: an image that cannot be read.
        SaveError: ``out`` cannot be written.
    """
    names = complete(predictor.task).image_classes
    lines: list[dict[str, object]] = []
    for number, pair in enumerate(pairs, 1):
        begin = time.perf_counter()
        try:
            shares = shares_of(predictor, pair.image, progress=progress)
        except DataError as error:
            if skipped is None:
                others = list(filter(None, (unreadable(each.image) for each in pairs[number:])))
                raise_problems([str(error), *others] if others else [])
                raise
            skipped.append(str(error))
            continue
        found = names[int(shares.argmax())]
        digits = (f"{share:.6f}" for share in shares)
        lines.append({NAME: pair.name, CLASS: found, **dict(zip(names, digits, strict=True))})
        seconds = time.perf_counter() - begin
        say(f"[{number}/{len(pairs)}] {pair.image.source}: {found} ({seconds:.1f} s)")
    path = out / PREDICTED
    remove_leftovers(out)
    write_table(path, lines)
    return path


def shares_of(
    predictor: Predictor, image: Image, *, progress: Progress | None = None
) -> np.ndarray:
    """Probability of every class of one image ``(S,)``, in the order of the task's names.

    Raises:
        RecipeError: the task gives no classes of images.
    """
    from unmask.infer.sinks import MeanSink  # Evaluation must not import torch.

    sink = MeanSink()
    predictor.write_scores(image, sink, progress=progress)
    answer = complete(predictor.task).answer(sink.mean[:, None], image.spacing)
    if answer.classes is None:
        raise RecipeError(
            message(
                f"task {type(predictor.task).__name__}",
                expected="an answer with classes, because it has image_classes",
                found="a label image only",
                do="Define its method answer, see unmask.tasks.base.TaskDefaults.",
            )
        )
    return np.array(list(answer.classes.values()))


def class_scores(
    truth: np.ndarray, shares: np.ndarray, metrics: Sequence[str] = METRICS
) -> dict[str, float]:
    """Scores of all images together, by the metrics of voxels: each image counts as one voxel.

    Args:
        truth: numbers of the true classes ``(n,)``, starting at 1.
        shares: probability of every class ``(S, n)``.
        metrics: names as in ``unmask.metrics``.

    Returns:
        Value by name; NaN where it is not defined, such as ``auc`` where all are of one class.
    """
    found = {}
    for name in metrics:
        scored = name.partition("/")[0] == "auc"
        other = shares if scored else 1 + shares.argmax(axis=0)
        found |= evaluate_pair(truth - 1 if scored else truth, other, [name])
    return found


def evaluate_classes(
    truth: Paths,
    predicted: Paths,
    metrics: Sequence[str] | None = None,
    *,
    images: Paths | None = None,
) -> Report:
    """Compare a table of answers with the true classes.

    Args:
        truth: tables with the columns ``name`` and ``class``.
        predicted: tables as ``predict`` writes them; columns of probabilities may be missing.
        metrics: names of metrics of classes; default: `METRICS`, of which ``auc`` needs
            probabilities.
        images: compare these images only; a table may serve the training and the validation.

    Returns:
        Rows with ``truth``, ``predicted`` and, if there are probabilities, that of the true class
        as ``probability``; scores of all images together.

    Raises:
        RecipeError: a metric that whole images do not have.
        DataError: images without an answer, or classes that no column of the answers is for; all
            problems at once.
    """
    check_class_metrics(metrics or ())
    true = {line[NAME]: line[CLASS] for path in list_paths(truth) for line in read_table(path)}
    true, notes = _of_images(true, images, truth)
    answers = {line[NAME]: line for path in list_paths(predicted) for line in read_table(path)}
    columns = [key for line in answers.values() for key in line if key not in (NAME, CLASS)]
    given = {name: line[CLASS] for name, line in answers.items()}
    names = list(dict.fromkeys(columns)) or sorted({*true.values(), *given.values()})
    where = ", ".join(map(str, list_paths(predicted)))
    problems = _compare_names(true, given, names, where)
    raise_problems(problems)
    shares = np.array([_shares(where, answers[name], names) for name in true]).T
    numbers = np.array([names.index(value) + 1 for value in true.values()])
    rows = [
        {"name": name, "truth": value, "predicted": given[name]}
        | ({"probability": float(share[number - 1])} if columns else {})
        for (name, value), share, number in zip(true.items(), shares.T, numbers, strict=True)
    ]
    # Without probabilities there is nothing to rank images by
    wanted = [
        each
        for name in metrics or (METRICS if columns else METRICS[:2])
        for each in _each_class(name, len(names))
    ]
    scores = class_scores(numbers, shares, wanted)
    summary = {name: _entry(value, len(rows)) for name, value in scores.items()}
    settings = {"metrics": wanted, "classes": names} | ({"notes": notes} if notes else {})
    return Report.of(rows, settings=settings, summary=summary)


def _compare_names(
    true: Mapping[str, str], given: Mapping[str, str], names: Sequence[str], where: str
) -> list[str]:
    """Images without an answer, and classes that the answers do not have."""
    problems = [
        f"{name!r}: expected an answer in {where}, found none. Predict this image too, or leave "
        "its line out of the truth (--images FOLDER compares the images of a folder only)."
        for name in true
        if name not in given
    ]
    return problems + [
        f"{name!r}: expected a class of {', '.join(names)}, found {value!r}. Correct the table."
        for table in (true, given)
        for name, value in table.items()
        if value not in names
    ]


def check_class_metrics(names: Sequence[str]) -> None:
    """Refuse metrics of objects and of surfaces, which whole images do not have.

    Raises:
        RecipeError: the metrics that exist are listed.
    """
    for name in names:
        metric = find_metric(name.replace(EVERY, "/1"), NAMED)
        if metric.surfaces or metric.kind == "instance":
            known = [
                key
                for key, each in NAMED.items()
                if each.kind != "instance" and not each.surfaces and key not in METRICS
            ]
            raise RecipeError(
                message(
                    f"--metrics {name}",
                    expected="metrics for the classes of whole images: "
                    f"{', '.join([*METRICS, *known])}",
                    found="a metric of " + ("surfaces" if metric.surfaces else "objects"),
                    do="Choose among them, such as dice/2 for the second class, or compare label "
                    "images.",
                )
            )


def _each_class(name: str, count: int) -> list[str]:
    """``dice/1``, ``dice/2`` ... in place of ``dice/*``."""
    if not name.endswith(EVERY):
        return [name]
    return [f"{name.removesuffix(EVERY)}/{number}" for number in range(1, count + 1)]


def _of_images(
    true: dict[str, str], images: Paths | None, truth: Paths
) -> tuple[dict[str, str], list[str]]:
    """The lines of the images, and a note on others.

    Raises:
        DataError: no line is of these images.
    """
    if images is None:
        return true, []
    known = {stem(name) for name, _ in named_files(images)}
    kept = {name: value for name, value in true.items() if name in known}
    where = ", ".join(map(str, list_paths(truth)))
    if not kept:
        raise DataError(
            message(
                where,
                expected=f"lines of the images of --images, such as {min(known, default='-')!r}",
                found=f"{format_count(len(true), 'line')} of other images, such as "
                f"{next(iter(true))!r}",
                do="Give the images of this table, or leave out --images.",
            )
        )
    spare = len(true) - len(kept)
    lines = format_count(spare, "line is", "lines are")
    note = f"{where}: {lines} of images that are not among --images, and left out."
    return kept, [note] if spare else []


def _entry(value: float, images: int) -> dict[str, float]:
    """A score of all images together, in the form of a mean over them."""
    known = not np.isnan(value)
    counts = {"n": images if known else 0, "undefined": 0 if known else images}
    return {"mean": value, "median": value, **counts}


def _shares(path: str, line: Mapping[str, str], names: Sequence[str]) -> list[float]:
    """Probabilities of one answer; without columns of them its class is certain."""
    if not line.keys() & set(names):
        return [float(name == line[CLASS]) for name in names]
    try:
        return [float(line[name]) for name in names]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            message(
                f"{path}, {line[NAME]!r}",
                expected=f"a number for each of {', '.join(names)}",
                found=describe_error(error),
                do="Take the table that unmask predict wrote.",
            )
        ) from error
