"""``tune``: choose the decoding options that score best on labeled images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from unmask import checkpoint, shipped
from unmask.api.held_out import FOLDS
from unmask.api.inputs import find_inputs, labels_of, left_out_note
from unmask.api.values import ModelLike, Say, Settings
from unmask.build import build_task, layout
from unmask.crossvalidation.outputs import Output, compute_output, move_to_disk
from unmask.crossvalidation.record import HeldOutScores, Tuned, load_scores
from unmask.crossvalidation.split import cut_regions
from unmask.crossvalidation.tuning import Scale, tune_decoding
from unmask.data.fingerprint import fingerprint
from unmask.data.pairs import Pair, Paths, open_pairs
from unmask.errors import DataError, RecipeError, message
from unmask.infer.load import load_predictor
from unmask.infer.predictor import Predictor
from unmask.own_files import refuse_existing
from unmask.progress import Progress
from unmask.recipe import Recipe
from unmask.wording import format_part


@dataclass(frozen=True)
class Tuning:
    """A finished search.

    Attributes:
        model: the model file with the chosen options.
        tuned: chosen options and their scores.
        notes: notes on images that the models were trained on.
    """

    model: Path
    tuned: Tuned
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        tuned = self.tuned
        return (
            f"Tuning({str(self.model)!r}: {tuned.metric} {tuned.before:.4f} -> {tuned.after:.4f})"
        )


def tune(  # noqa: PLR0913 - the verb's promised arguments
    model: ModelLike,
    images: Paths,
    *,
    labels: Paths | None = None,
    out: str | Path | None = None,
    metric: str | None = None,
    scales: Sequence[float] = (),
    trials: int | None = None,
    settings: Settings = (),
    progress: Progress | None = None,
    say: Say = print,
) -> Tuning:
    """Choose the decoding options that score best, and save them in the model.

    The network runs once per image and scale; only decoding is repeated. An image that a fold of
    the run held out is predicted by the model of this fold.

    Args:
        model: model file, run folder or shipped model.
        images: labeled images that the model was not trained on, or those of a run with folds.
        labels: their labels; default: those in a folder next to or among the images.
        out: model file for the result; default: the model itself.
        metric: metric to maximize; default: the first metric of the recipe or its task.
        scales: factors on the size of the images to try in addition to 1.
        trials: number of combinations to try; None: 40, fewer for large images.
        settings: changes to the recipe, whose options are tried first.
        progress: called with (finished combinations, all combinations).
        say: called with notes for the user, one line each.

    Raises:
        DataError: files cannot be read, no labels are given, or ``out`` exists.
        RecipeError: the task has no options to choose, fewer than two images are labeled, or
            ``out`` is missing for a shipped model.
    """
    loaded = checkpoint.load_model(model)
    recipe = checkpoint.described_recipe(loaded.card, model).with_settings(settings)
    _check_target(model, out)
    pairs = _open_pairs(images, labels, recipe, say)
    known = load_scores(Path(model)) if Path(model).is_dir() else None
    pairs = _regions(pairs, known)
    notes = list(_notes(pairs, known, loaded.card))
    for note in notes:
        say(f"note: {note}")
    with TemporaryDirectory(prefix="unmask-tune-") as folder:
        outputs = {
            scale: list(
                _outputs(pairs, known, model, [*settings, *lines], Path(folder) / str(number))
            )
            for number, (scale, lines) in enumerate(_scales(recipe, scales))
        }
        name = metric or _metric(recipe)
        tuned = tune_decoding(outputs, recipe, name, trials=trials, progress=progress)
    if tuned is None:
        raise RecipeError(_nothing_to_choose(recipe, len(pairs)))
    return Tuning(_save(loaded, recipe, tuned, model, out), tuned, tuple(notes))


def _check_target(model: ModelLike, out: str | Path | None) -> None:
    if out is not None:
        refuse_existing(out)
    if out is None and not Path(model).exists() and str(model) in shipped.names():
        raise RecipeError(
            message(
                model,
                expected="a file for the tuned model, because shipped models are not changed",
                found="none",
                do="Give --out MODEL.safetensors.",
            )
        )


def _open_pairs(images: Paths, labels: Paths | None, recipe: Recipe, say: Say) -> list[Pair]:
    """Open the labeled images; one error lists the problems of all files."""
    found = find_inputs(images, labels)
    labels = labels_of(found.images, found.labels)
    if labels is None:
        raise DataError(
            message("tune", expected="labels", found="none", do="Give them with --labels.")
        )
    unlabeled: list[str] = []
    pairs = open_pairs(
        found.images,
        labels,
        layout(recipe),
        channels=recipe.data.channels,
        unlabeled=unlabeled,
    )
    for note in left_out_note("tune", len(pairs), unlabeled):
        say(f"note: {note}")
    return pairs


def _regions(pairs: list[Pair], known: HeldOutScores | None) -> list[Pair]:
    """The regions of a single image that the folds of the run held out."""
    if known is None or not known.regions or len(pairs) != 1:
        return pairs
    return cut_regions(pairs[0], known.folds)


def _notes(pairs: Sequence[Pair], known: HeldOutScores | None, card: Any) -> Iterator[str]:
    """Notes on images that their predicting model was trained on."""
    held_out = _folds_of(known)
    if any(pair.name in held_out for pair in pairs):
        count = sum(pair.name in held_out for pair in pairs)
        part = format_part(count, len(pairs), "image", "are")
        yield f"{part} predicted by the fold that held them out."
    marks = card.get("data")
    before = marks if isinstance(marks, dict) else {}
    now = fingerprint([pair for pair in pairs if pair.name not in held_out])
    seen = [source for source, mark in now.items() if before.get(source) == mark]
    trained = [pair.name for pair in pairs if pair.image.source in seen]
    if trained:
        yield (
            f"{format_part(len(trained), len(pairs), 'image', 'are')} among those that the model "
            f"was trained on ({', '.join(trained[:3])}), so the scores are too high and the "
            "options may fit these images only. Give other labeled images, or train with --folds."
        )


def _folds_of(known: HeldOutScores | None) -> dict[str, int]:
    return {} if known is None else {row["name"]: row["fold"] for row in known.images}


def _outputs(
    pairs: Sequence[Pair],
    known: HeldOutScores | None,
    model: ModelLike,
    settings: Sequence[str],
    folder: Path,
) -> Iterator[Output]:
    """Output per image, of the fold that held it out if there is one, else of the model."""
    held_out = _folds_of(known)
    predictors: dict[int, Predictor] = {}
    for pair in pairs:
        fold = held_out.get(pair.name, 0)
        if fold not in predictors:
            path = Path(model) / FOLDS / str(fold) if fold else model
            predictors = {fold: load_predictor(path, settings)}
        yield move_to_disk(folder, compute_output(predictors[fold], pair, fold=fold))


def _scales(recipe: Recipe, factors: Sequence[float]) -> Iterator[tuple[Scale, list[str]]]:
    """Values of ``infer.scale`` with the settings that set them; the current one first."""
    now = recipe.infer.scale
    yield now, []
    base = now or recipe.data.scale or 1.0
    for factor in factors:
        if factor == 1:
            continue
        scale = (
            float(f"{base * factor:.4g}")
            if isinstance(base, int | float)
            else tuple(float(f"{each * factor:.4g}") for each in base)
        )
        text = list(scale) if isinstance(scale, tuple) else scale
        yield scale, [f"infer.scale={text}"]


def _metric(recipe: Recipe) -> str:
    return (recipe.train.metrics or build_task(recipe).metrics)[0]


def _nothing_to_choose(recipe: Recipe, count: int) -> str:
    task = recipe.task.name if recipe.task else ""
    if count < 2:
        return message(
            "tune",
            expected="two labeled images or more, so that each can be judged by the others",
            found=str(count),
            do="Label another one, or set options yourself: unmask predict --set task.KEY=VALUE.",
        )
    return message(
        f"task {task}",
        expected="a task with decoding options",
        found="none to choose",
        do="Give --scales, such as --scales 0.8,1.25, to choose the size of the images.",
    )


def _save(
    loaded: checkpoint.Model,
    recipe: Recipe,
    tuned: Tuned,
    model: ModelLike,
    out: str | Path | None,
) -> Path:
    """Write the model with the chosen options; its card stores the scores before and after."""
    path = loaded.path if out is None else Path(out)
    changed = recipe.with_settings(tuned.settings)
    found = {
        "settings": list(tuned.settings),
        "metric": tuned.metric,
        "before": tuned.before,
        "after": tuned.after,
        "images": len(tuned.images),
    }
    card = {**loaded.card, "recipe": changed.model_dump(mode="json"), "tuned": found}
    with ExitStack() as held:
        if out is None and Path(model).is_dir():
            held.enter_context(checkpoint.lock_run(Path(model)))
        checkpoint.save_model(path, loaded.weights, card)
    return path
