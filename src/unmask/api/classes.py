"""Classes of whole images: tables of answers, and their comparison with the truth."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unmask.api.values import Say
from unmask.data.pairs import Pair, Paths
from unmask.data.portions import unreadable
from unmask.data.tables import CLASS, NAME, list_paths, read_table, write_table
from unmask.errors import DataError, RecipeError, describe_error, gather, message, raise_problems
from unmask.io import Image
from unmask.leftovers import remove_leftovers
from unmask.metrics import Report, evaluate_pair
from unmask.progress import Progress
from unmask.tasks.complete import complete

if TYPE_CHECKING:
    from unmask.infer.predictor import Predictor
    from unmask.infer.tiles import Progress

TABLE = "predicted.csv"
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
    path = out / TABLE
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
    truth: Paths, predicted: Paths, metrics: Sequence[str] | None = None
) -> Report:
    """Compare a table of answers with the true classes.

    Raises:
        DataError: images without an answer, or classes that no column of the answers is for; all
            problems at once.
    """
    true = {line[NAME]: line[CLASS] for path in list_paths(truth) for line in read_table(path)}
    answers = {line[NAME]: line for path in list_paths(predicted) for line in read_table(path)}
    columns = [key for line in answers.values() for key in line if key not in (NAME, CLASS)]
    given = {name: line[CLASS] for name, line in answers.items()}
    names = list(dict.fromkeys(columns)) or sorted({*true.values(), *given.values()})
    where = ", ".join(map(str, list_paths(predicted)))
    problems = [
        f"{name!r}: expected an answer in {where}, found none. Predict this image too, or leave "
        "its line out of the truth."
        for name in true
        if name not in answers
    ]
    problems += [
        f"{name!r}: expected a class of {', '.join(names)}, found {value!r}. Correct the table."
        for table in (true, given)
        for name, value in table.items()
        if value not in names
    ]
    if problems:
        raise DataError(gather(problems, heading=f"{len(problems)} problem(s) found:"))
    rows = [
        {"name": name, "truth": value, "predicted": given[name]} for name, value in true.items()
    ]
    shares = np.array([_shares(where, answers[name], names) for name in true]).T
    numbers = np.array([names.index(value) + 1 for value in true.values()])
    # Without probabilities there is nothing to rank images by
    wanted = list(metrics or (METRICS if columns else METRICS[:2]))
    scores = class_scores(numbers, shares, wanted)
    summary = {name: _entry(value, len(rows)) for name, value in scores.items()}
    return Report.of(rows, settings={"metrics": wanted, "classes": names}, summary=summary)


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
