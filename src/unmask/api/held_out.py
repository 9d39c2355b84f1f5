"""``train`` with a cross-validation: folds, scores of held-out images, then the final training."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch

from unmask import checkpoint
from unmask.api.briefing import settle_precision
from unmask.api.classes import class_scores, shares_of
from unmask.api.runs import Run, Stage, Start, run_training
from unmask.api.validation import score_pairs
from unmask.atomic import atomic_write
from unmask.build import Assembly, assemble_segmenter
from unmask.checkpoint.model import MODEL_FILE
from unmask.crossvalidation.outputs import (
    Output,
    compute_output,
    decode_output,
    measure_output,
    move_to_disk,
)
from unmask.crossvalidation.record import HELD_OUT, HeldOutScores, load_scores, save_scores
from unmask.crossvalidation.split import Fold, make_folds
from unmask.crossvalidation.tuning import tune_decoding
from unmask.crossvalidation.updates import choose_updates, curve_of
from unmask.data.fingerprint import fingerprint
from unmask.data.grid import View
from unmask.data.pairs import Pair, apply_view
from unmask.errors import CheckpointError, RecipeError, message
from unmask.infer.load import make_predictor
from unmask.infer.predictor import Predictor
from unmask.interruption import note_kept
from unmask.io import save_image
from unmask.metrics import summarize
from unmask.progress import describe_finished
from unmask.recipe import Recipe
from unmask.starts.choose import share_start
from unmask.tasks.segmenter import Segmenter
from unmask.training import Journal, RunFolder, count_processes
from unmask.training.journal import read_journal
from unmask.training.precision import Measured
from unmask.training.provenance import code_marks, is_new_run, note_run
from unmask.training.threads import note_threads

FOLDS = "folds"
_FINISHED = "finished.json"
# Outputs are kept for `unmask tune` unless they take more bytes.
_KEPT = 1 << 30


@dataclass(frozen=True)
class CrossValidation:
    """A training whose labeled images are all held out once.

    Attributes:
        recipe: recipe with ``train.folds`` of 2 or more.
        pairs: labeled images, not resampled.
        view: grid of the network.
        second: pairs of the second source (replay) on the grid of the network; None: no source.
        start: the run folder and the initial weights.
        notes: notes on the files.
        reasons: reasons of the plan.
        measured: measured times of updates; None: not measured yet.
        unlabeled: unlabeled images on the grid of the network; None: not used.
    """

    recipe: Recipe
    pairs: Sequence[Pair]
    view: View
    second: Sequence[Pair] | None
    start: Start
    notes: Sequence[str] = ()
    reasons: Sequence[str] = ()
    measured: Measured | None = None
    unlabeled: Sequence[Pair] | None = None

    @property
    def used(self) -> list[Pair]:
        """All images of the trainings."""
        return [*self.pairs, *(self.second or ()), *(self.unlabeled or ())]

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.start.out)

    @property
    def total(self) -> int:
        """Updates of all trainings, if the final one gets as many as a fold."""
        return (self.recipe.train.folds + 1) * self.recipe.train.steps

    def fold_folder(self, number: int) -> Path:
        """The run folder of a fold; the first fold has the number 1."""
        return self.folder / FOLDS / str(number)


def run_with_folds(job: CrossValidation) -> Run:
    """Train one model per fold, score each image with the model that held it out, train on all.

    Each finished stage writes a file, so an interrupted run continues with the first unfinished
    stage.

    Raises:
        CheckpointError: the folder holds another run, or one that is not resumed.
        RecipeError: the training was started with several processes.
    """
    _check_processes(job.start.devices)
    job = _settle(job)
    folds = _make_folds(job)
    begin = _open_run(job)
    with note_kept(partial(_describe_kept, job, len(folds))):
        for number, fold in enumerate(folds, 1):
            if not _is_finished(job, number):
                _train_fold(job, number, fold, begin if number == 1 else None)
        scores = load_scores(job.folder)
        if scores is None:
            scores = _score(job, folds)
            save_scores(job.folder, scores)
        _tidy(job, scores.steps)
        return _train_final(job, scores)


def _is_finished(job: CrossValidation, number: int) -> bool:
    """Whether the training of a fold is finished."""
    return (job.fold_folder(number) / _FINISHED).is_file()


def _describe_kept(job: CrossValidation, folds: int) -> str:
    """What a run that resumes finds, for people; "" if nothing has begun."""
    if not has_folds(job.folder):
        return ""
    count = sum(_is_finished(job, number) for number in range(1, folds + 1))
    return f"{describe_finished(count, folds, 'fold')}."


def _settle(job: CrossValidation) -> CrossValidation:
    """Choose the precision of all trainings from measured times."""
    if not job.start.resume and has_folds(job.folder):
        return job
    pairs = apply_view(job.pairs, job.view)
    measured = settle_precision(job.recipe, pairs, job.folder, devices=1, resume=job.start.resume)
    return replace(job, recipe=measured.recipe, measured=measured)


def has_folds(folder: Path) -> bool:
    """Whether a run folder holds the folds of a cross-validation."""
    return (folder / FOLDS).is_dir()


def _check_processes(devices: int) -> None:
    count, machines = count_processes(devices)
    if count * machines > 1:
        raise RecipeError(
            message(
                "train.folds",
                expected="one device",
                found=f"{count * machines}",
                do="Leave --devices out, or give --folds 0 or --val-images.",
            )
        )


def _make_folds(job: CrossValidation) -> list[Fold]:
    recipe = job.recipe
    factor = job.view.place(job.pairs[0].image).factor
    crop = [round(n / factor) for n in recipe.data.crop]
    task = assemble_segmenter(recipe).task
    classes = task is not None and bool(task.image_classes)
    count, seed = recipe.train.folds, recipe.train.seed
    return make_folds(job.pairs, count, seed=seed, crop=crop, classes=classes)


def refuse_folds(folder: Path) -> None:
    """Refuse a run folder that holds folds.

    Raises:
        CheckpointError: names the folder.
    """
    if has_folds(folder):
        raise CheckpointError(
            message(
                folder,
                expected="an empty run folder",
                found="folds of an earlier run",
                do="Continue it with --resume, or choose another --out.",
            )
        )


def _open_run(job: CrossValidation) -> Callable[[], None] | None:
    """Check the run folder; returns a function that writes the recipe into a new one."""
    code = checkpoint.code_fields(job.recipe)
    marks = {**fingerprint(job.used), **code_marks(code)}
    if not job.start.resume:
        refuse_folds(job.folder)
    if not is_new_run(job.folder, job.recipe, marks, resume=job.start.resume):
        return None

    def begin() -> None:
        if job.measured is not None:
            note_threads(job.folder, job.measured)
        note_run(job.folder, job.recipe, marks)

    return begin


def _train_fold(
    job: CrossValidation, number: int, fold: Fold, begin: Callable[[], None] | None
) -> None:
    """Train the model of one fold, with the model of every validation kept."""
    recipe, count = job.recipe, job.recipe.train.folds
    own = recipe.model_copy(update={"train": recipe.train.model_copy(update={"folds": 0})})
    assembly = assemble_segmenter(own)
    folder = job.fold_folder(number)
    if number > 1:
        share_start(job.fold_folder(1), folder)
    names = ", ".join(pair.name for pair in fold.held_out)
    run_training(
        assembly,
        apply_view(fold.train, job.view),
        start=replace(job.start, out=folder, resume=True),
        second=job.second,
        unlabeled=job.unlabeled,
        validate=partial(
            score_pairs,
            recipe=recipe,
            pairs=fold.held_out,
            normalize=assembly.pipeline.normalize,
        ),
        notes=[*(job.notes if begin else ()), f"fold {number} of {count} holds out {names}."],
        reasons=job.reasons if begin else (),
        stage=Stage(
            title=f"fold {number} of {count}",
            before=(number - 1) * recipe.train.steps,
            total=job.total,
            keep_models=True,
            begin=begin,
            folds=count if number == 1 else 0,
            measured=job.measured,
            pairs=job.pairs,
        ),
    )
    atomic_write(folder / _FINISHED, json.dumps({"steps": recipe.train.steps}))


def _score(job: CrossValidation, folds: Sequence[Fold]) -> HeldOutScores:
    """Predict each image with the model that held it out, score it, and tune the decoding."""
    recipe = job.recipe
    journals = [read_journal(job.fold_folder(number)) for number in range(1, len(folds) + 1)]
    curve = curve_of(journals, [len(fold.held_out) for fold in folds])
    steps = choose_updates(curve)
    assembly = assemble_segmenter(recipe)
    names = list(recipe.train.metrics or assembly.objective.task.metrics)
    models = _fold_models(job, assembly, folds, steps)
    if assembly.objective.task.image_classes:
        rows, metrics, tuned = *_score_classes(assembly, models, names), None
    else:
        outputs = [
            move_to_disk(job.folder / HELD_OUT / "outputs", compute_output(predictor, pair, fold=f))
            for f, (predictor, fold) in enumerate(models, 1)
            for pair in fold.held_out
        ]
        rows = _score_labels(job, assembly, outputs, names)
        metrics = {name: summarize(rows)[name]["mean"] for name in names}
        tuned = (
            tune_decoding({recipe.infer.scale: outputs}, recipe, names[0])
            if recipe.train.tune
            else None
        )
    return HeldOutScores(
        folds=len(folds),
        regions=len(job.pairs) == 1,
        steps=steps,
        asked=recipe.train.steps,
        metric=names[0],
        metrics=metrics,
        images=tuple(rows),
        curve=curve,
        tuned=tuned,
    )


def _fold_models(
    job: CrossValidation, assembly: Assembly[Segmenter], folds: Sequence[Fold], steps: int
) -> Iterator[tuple[Predictor, Fold]]:
    """Each fold with its predictor after ``steps`` updates, one at a time."""
    segmenter = cast("Segmenter", assembly.objective.finished)
    task = segmenter.task
    device = torch.accelerator.current_accelerator(check_available=True)
    segmenter.to("cpu" if device is None else device)
    predictor = make_predictor([segmenter], job.recipe, task, assembly.pipeline.normalize)
    for number, fold in enumerate(folds, 1):
        path = RunFolder(job.fold_folder(number)).validated_model(steps)
        checkpoint.load_weights(segmenter, checkpoint.load_model(path).weights, source=path)
        yield predictor, fold


def _score_labels(
    job: CrossValidation,
    assembly: Assembly[Segmenter],
    outputs: Sequence[Output],
    names: Sequence[str],
) -> list[dict[str, object]]:
    """Write the label image of every output; returns one row of metrics per image."""
    task, ignore = assembly.objective.task, job.recipe.data.ignore_label
    rows: list[dict[str, object]] = []
    for output in outputs:
        pair = output.pair
        path = job.folder / HELD_OUT / "labels" / f"{pair.name}.tif"
        save_image(path, decode_output(task, output), spacing=pair.image.spacing)
        row = measure_output(task, output, names, ignore)
        rows.append({"name": pair.name, "fold": output.fold, **row})
    return rows


def _score_classes(
    assembly: Assembly[Segmenter], models: Iterator[tuple[Predictor, Fold]], names: Sequence[str]
) -> tuple[list[dict[str, object]], dict[str, float]]:
    """Rows per image, and metrics over all images, for the classification of whole images."""
    known = assembly.objective.task.image_classes
    rows: list[dict[str, object]] = []
    truth, shares = [], []
    for number, (predictor, fold) in enumerate(models, 1):
        for pair in fold.held_out:
            value = 0 if pair.labels is None else int(pair.labels.read().flat[0])
            share = shares_of(predictor, pair.image)
            row: dict[str, object] = {"name": pair.name, "fold": number}
            row["predicted"] = known[int(share.argmax())]
            if 0 < value <= len(known):
                row["truth"] = known[value - 1]
                truth.append(value)
                shares.append(share)
            rows.append(row)
    return rows, class_scores(np.array(truth), np.array(shares).T, names)


def _tidy(job: CrossValidation, steps: int) -> None:
    """Keep the model of the chosen update per fold; remove files that only resuming needs."""
    for number in range(1, job.recipe.train.folds + 1):
        folder = job.fold_folder(number)
        chosen = RunFolder(folder).validated_model(steps)
        if chosen.is_file():
            chosen.replace(folder / MODEL_FILE)
        for name in (chosen.parent.name, "snapshots"):
            shutil.rmtree(folder / name, ignore_errors=True)
    outputs = job.folder / HELD_OUT / "outputs"
    if sum(path.stat().st_size for path in outputs.rglob("*.npy")) > _KEPT:
        shutil.rmtree(outputs)


def _train_final(job: CrossValidation, scores: HeldOutScores) -> Run:
    """Train on all images for the chosen number of updates, with the tuned decoding."""
    recipe = final_recipe(job.recipe, scores)
    # The scores are those of models with this start.
    share_start(job.fold_folder(1), job.folder)
    with Journal(None, steps=1) as journal:
        for line in scores.describe():
            journal.say(line)
    before = recipe.train.folds * job.recipe.train.steps
    card = {
        "metrics": scores.expected,
        "held_out": {
            "folds": scores.folds,
            "regions_of_one_image": scores.regions,
            "images": len(scores.images),
            "metrics": scores.metrics,
        },
    }
    return run_training(
        assemble_segmenter(recipe),
        apply_view(job.pairs, job.view),
        start=replace(job.start, resume=True),
        second=job.second,
        unlabeled=job.unlabeled,
        stage=Stage(
            title="final training",
            before=before,
            total=before + recipe.train.steps,
            recipe=job.recipe,
            card=card,
            reasons=job.reasons,
            measured=job.measured,
            pairs=job.pairs,
        ),
    )


def final_recipe(recipe: Recipe, scores: HeldOutScores) -> Recipe:
    """Recipe of the final training, with the chosen number of updates and the tuned options."""
    tuned = scores.tuned.settings if scores.tuned is not None else ()
    warmup = min(recipe.train.warmup, max(1, scores.steps // 10))
    if scores.steps == recipe.train.steps:
        return recipe.with_settings(tuned)
    return recipe.with_settings([f"train.steps={scores.steps}", f"train.warmup={warmup}", *tuned])
