"""Report of a finished training: verdict, worst images, next commands, and the HTML page."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unmask.api.assessment import Assessment, assess, assess_best, read_held_out
from unmask.api.briefing import Briefing
from unmask.api.own_images import judge_own_images
from unmask.api.validation import HeldOut
from unmask.atomic import atomic_write
from unmask.data.pairs import Pair
from unmask.data.tables import PREDICTED
from unmask.models.base import Objective
from unmask.progress import duration
from unmask.recipe import Recipe
from unmask.reports.run import RunPage
from unmask.tasks.segmenter import Segmenter
from unmask.training.journal import read_journal
from unmask.training.verdict import VALIDATION, Verdict, judge_run, series

# Where a cross-validation keeps its scores and predictions.
_HELD_OUT = "held_out"
# Largest number of curves, and of pictures of held-out predictions.
_CURVES, _PICTURES = 4, 4
_PROGRAMS = {"unmask", "__main__.py"}


@dataclass(frozen=True)
class Finished:
    """A training that has ended.

    Attributes:
        folder: the run folder.
        recipe: recipe of the run.
        objective: the trained network.
        pairs: training images.
        validate: `HeldOut` images of the validation; anything else counts as none.
        briefing: the summary at the start.
        notes: notes on the files.
        reasons: reasons of the plan.
        seconds: duration of this call.
    """

    folder: Path
    recipe: Recipe
    objective: Objective
    pairs: Sequence[Pair]
    validate: object
    briefing: Briefing
    notes: Sequence[str]
    reasons: Sequence[str]
    seconds: float


def write_run_report(run: Finished) -> list[str]:
    """Write ``report.html`` into the run folder.

    Returns:
        The verdict with the worst images and the next commands, one line each.

    Raises:
        UnmaskError: a file cannot be read or written.
    """
    journal, scores = read_journal(run.folder), _cross_validation(run.folder)
    given = {"folds": bool(scores), "labels": run.recipe.task is not None}
    verdict = judge_run(journal, run.recipe.train.steps, **given)
    assessed = _assess(run)
    sentences = [*_out_of_fold(scores), *verdict.sentences]
    if assessed is not None and assessed.report.images:
        sentences.append(f"Worst held-out images: {', '.join(assessed.worst())}.")
    if assessed is None and not scores and isinstance(run.objective, Segmenter):
        own = judge_own_images(run.folder, run.objective, run.recipe, run.pairs)
        sentences += [] if own is None else [own]
    commands = _commands(run, verdict)
    page = RunPage(
        title=f"Training: {run.folder.absolute().name}",
        verdict=sentences,
        commands=commands,
        facts=[*run.briefing.lines(), f"Took      {duration(run.seconds)} in this call"],
        curves=_curves(journal),
        best_step=verdict.best_step,
        evaluation=() if assessed is None else assessed.sections,
        cross_validation=scores.get("images", ()),
        calibrations={} if assessed is None else assessed.calibrations,
        unit="objects" if assessed is None else assessed.unit,
        pictures=_pictures(run.folder),
        plan=[line.strip() for line in run.reasons],
        notes=[line.removeprefix("note: ") for line in run.notes],
        recipe=run.recipe.to_yaml(),
        origin=_origin(run),
        version=_version(),
    )
    path = run.folder / "report.html"
    atomic_write(path, page.to_html())
    return [*sentences, "Next:", *(f"  {line}" for line in commands), f"Report: {path}"]


def _assess(run: Finished) -> Assessment | None:
    """Scores, pictures and calibration on held-out images, if there are any."""
    if not isinstance(run.objective, Segmenter):
        return None
    if isinstance(run.validate, HeldOut):
        return assess_best(run.folder, run.objective, run.validate)
    folder, task = run.folder / _HELD_OUT / "labels", run.objective.task
    if not folder.is_dir() or task.image_classes:
        return None
    names = run.recipe.train.metrics or task.metrics
    ignore = run.recipe.data.ignore_label
    return assess(read_held_out(folder, run.pairs), task, names, ignore=ignore)


def _cross_validation(folder: Path) -> dict[str, Any]:
    """Scores of the cross-validation of the run; empty if there is none or it is damaged."""
    path = folder / _HELD_OUT / "scores.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _out_of_fold(scores: Mapping[str, Any]) -> Iterator[str]:
    if scores.get("metrics"):
        shown = ", ".join(
            f"{name} {value:.4f}" for name, value in scores["metrics"].items() if value is not None
        )
        yield (
            f"Cross-validation in {scores.get('folds')} folds, each image by a model that has not "
            f"seen it: {shown or 'undefined'}."
        )


def _curves(journal: Sequence[Mapping[str, Any]]) -> dict[str, tuple[list[float], list[float]]]:
    names = dict.fromkeys(
        name for record in journal for name in record if name.startswith(VALIDATION)
    )
    found = {}
    for name in ["loss", *names][:_CURVES]:
        points = series(journal, name)
        title = "training loss" if name == "loss" else name.removeprefix(VALIDATION)
        found[title] = ([float(step) for step, _ in points], [value for _, value in points])
    return found


def _pictures(folder: Path) -> dict[int, bytes]:
    """Pictures of held-out predictions, spread evenly over the run, with the last one."""
    paths = sorted((folder / "pictures").glob("step-*-held-out.png"))
    if not paths:
        return {}
    last = len(paths) - 1
    chosen = sorted({round(number * last / (_PICTURES - 1)) for number in range(_PICTURES)})
    return {int(paths[i].name.split("-")[1]): paths[i].read_bytes() for i in chosen}


def _origin(run: Finished) -> dict[str, Any]:
    held_out = run.validate.pairs if isinstance(run.validate, HeldOut) else ()
    return {
        "run": str(run.folder),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "images": [pair.image.source for pair in run.pairs],
        "held out": [pair.image.source for pair in held_out],
    }


def _version() -> str:
    from unmask.metrics.report import installed_version

    return installed_version()


def _commands(run: Finished, verdict: Verdict) -> list[str]:
    """Next commands, with the paths of this run."""
    if run.recipe.task is None:
        return _after_pretraining(run)
    task = getattr(run.objective, "task", None)
    tables = task is not None and bool(task.image_classes)
    images, labels = folders_of_pairs(run.pairs, tables=tables)
    trained = True
    if isinstance(run.validate, HeldOut):
        others, truth = folders_of_pairs(run.validate.pairs, tables=tables)
        trained = truth == "LABELS" or others == images
        compared = (images, labels) if trained else (others, truth)
    else:
        compared = (images, labels)
    predicted = run.folder.with_name(f"{run.folder.name}-predicted")
    model = ("--model", run.folder, "--out", predicted)
    found = [_join_words("unmask", "predict", compared[0], *model)]
    if compared[1] != "LABELS":
        found += _warn_of_training_images(run) if trained else []
        answers = predicted / PREDICTED if tables else predicted
        given = ("--truth", compared[1], "--predicted", answers, "--images", compared[0])
        out = predicted.with_suffix(".html")
        found.append(_join_words("unmask", "evaluate", *given, "--out", out))
    if verdict.steps is not None:
        found.append(resume_command(run.folder, images, labels, verdict.steps))
    return found


def _after_pretraining(run: Finished) -> list[str]:
    """Fine-tuning; a model of sections has features that are made to be clustered."""
    start = ("unmask", "train", "IMAGES", "--labels", "LABELS", "--init", run.folder)
    commands = [_join_words(*start, "--out", f"{run.folder}-tuned")]
    if run.recipe.data.sections is not None:
        images = _folder_of_images(run.pairs)
        words = ("unmask", "cluster", images, "--model", run.folder, "--classes", 8)
        commands.insert(0, _join_words(*words, "--out", f"{run.folder}-clusters"))
    return commands


def _warn_of_training_images(run: Finished) -> list[str]:
    """A comment above a command whose scores say little about new images."""
    held_out = len(run.validate.pairs) if isinstance(run.validate, HeldOut) else 0
    total = len(run.pairs) + held_out
    known = (
        " The scores above are those for new images."
        if held_out or run.recipe.train.folds
        else (
            " To score the model, label images that it was not trained on and give their folders."
        )
    )
    return [
        f"# {_describe_used(len(run.pairs), total)} used for training, so the next command gives "
        f"better scores than new images would.{known}"
    ]


def _describe_used(used: int, total: int) -> str:
    """The labeled images that were trained on, as the subject of a sentence.

    Examples:
        >>> _describe_used(1, 1), _describe_used(1, 4), _describe_used(4, 4)
        ('The labeled image was', '1 of the 4 labeled images was', 'All 4 labeled images were')
    """
    verb = "was" if used == 1 else "were"
    if used < total:
        return f"{used} of the {total} labeled images {verb}"
    return f"All {total} labeled images {verb}" if total > 1 else f"The labeled image {verb}"


def resume_command(folder: Path, images: str, labels: str, steps: int) -> str:
    """The command that continues a run for more updates.

    It is the command that started the run, plus ``--resume`` and the number of updates.

    Examples:
        >>> resume_command(Path("runs/a"), "img", "lab", 300)
        'unmask train img --labels lab --out runs/a --resume --set train.steps=300'
    """
    given = sys.argv[1:] if Path(sys.argv[0]).name in _PROGRAMS else []
    if given[:1] != ["train"]:
        given = ["train", images, "--labels", labels, "--out", str(folder)]
    kept: list[str] = []
    for word in given:
        if word.startswith("train.steps=") and kept and kept[-1] in {"--set", "-s"}:
            kept.pop()
        elif word != "--resume":
            kept.append(word)
    return _join_words("unmask", *kept, "--resume", "--set", f"train.steps={steps}")


def folders_of_pairs(pairs: Sequence[Pair], *, tables: bool = False) -> tuple[str, str]:
    """The folder of the images and that of the labels, or a word in their place.

    Args:
        pairs: images and labels.
        tables: the labels are lines of a table, which is named in place of its folder.
    """
    images = {Path(pair.image.source).parent for pair in pairs}
    sources = {Path(pair.labels.source) for pair in pairs if pair.labels is not None}
    labels = sources if tables else {source.parent for source in sources}
    if len(images) != 1 or len(labels) != 1 or images == labels or not images.copy().pop().is_dir():
        first = Path(pairs[0].image.source)
        return (str(first) if first.exists() else "IMAGES"), "LABELS"
    return str(images.pop()), str(labels.pop())


def _folder_of_images(pairs: Sequence[Pair]) -> str:
    """The folder of images without labels, or their first file, or a word in its place."""
    folders = {Path(pair.image.source).parent for pair in pairs}
    first = Path(pairs[0].image.source)
    if len(pairs) > 1 and len(folders) == 1 and first.parent.is_dir():
        return str(first.parent)
    return str(first) if first.exists() else "IMAGES"


def _join_words(*words: object) -> str:
    return shlex.join(map(str, words))
