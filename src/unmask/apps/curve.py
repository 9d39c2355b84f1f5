"""How many labels are needed, and what pre-training saves: trainings on growing numbers of images.

Every training is an ordinary run in ``OUT/runs``, and so is every pre-training; what is finished is
not done again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmask import api, checkpoint
from unmask.apps.curve_table import SCRATCH, Row, sentences, write
from unmask.atomic import atomic_write
from unmask.checkpoint.model import MODEL_FILE
from unmask.data.pairs import Pair, Paths, open_pairs
from unmask.errors import CheckpointError, DataError, RecipeError, UnmaskError, told
from unmask.recipe import Recipe, load, parse
from unmask.space.random import generator
from unmask.tasks.segmenter import build_task
from unmask.training.assemble import layout

_PLAN = "plan.json"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_LEAST = 5  # fewer pairs are not divided into training and validation


@dataclass(frozen=True)
class Files:
    """Labelled images for training and, fixed for all runs, for validation.

    Attributes:
        images: images.
        labels: their labels.
        val_images: images of the validation; None holds out ``data.holdout`` of the others.
        val_labels: their labels.
        unlabeled: images for pre-training.
    """

    images: Paths
    labels: Paths
    val_images: Paths | None = None
    val_labels: Paths | None = None
    unlabeled: Paths | None = None


@dataclass(frozen=True)
class Plan:
    """What is trained.

    Attributes:
        counts: numbers of labelled images; None doubles from 1 to all there are.
        repeats: trainings of every kind, each with images and a seed of its own.
        starts: name and model or run of everything to start from, beside fresh weights.
        pretrain: presets that pre-train on the unlabelled images.
        pretrain_settings: changes to these.
        settings: changes to the recipe of the trainings.
    """

    counts: tuple[int, ...] | None = None
    repeats: int = 3
    starts: Mapping[str, str] | None = None
    pretrain: tuple[str, ...] = ()
    pretrain_settings: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()


def run_curve(
    recipe: str | Path | Recipe,
    files: Files,
    *,
    out: str | Path,
    plan: Plan,
    resume: bool = False,
    say: Callable[[str], None] = print,
) -> list[Row]:
    """Train all of it and write table, plot and sentences to ``out``.

    Args:
        recipe: of the trainings, with a task.
        files: images and labels.
        out: folder of the curve.
        plan: what is trained.
        resume: go on with a curve that was ended.
        say: gets a line a training, and the sentences.

    Raises:
        DataError: fewer images than the largest number asked for, or none for validation.
        RecipeError: a wrong setting, name or number.
        CheckpointError: ``out`` holds another curve.
    """
    out = Path(out)
    chosen = load(recipe).with_settings(plan.settings)
    metric = build_task(chosen).metrics[0]
    _check_plan(plan, files)
    pairs, held_out = _divided(chosen, files)
    counts = _counts(plan.counts, len(pairs))
    facts = _facts(chosen, plan, pairs, held_out, counts)
    given = _given(plan)
    methods = {name: _pretraining(name, chosen, plan.pretrain_settings) for name in plan.pretrain}
    _note(out, facts, resume=resume)
    unlabeled = files.unlabeled or ()
    pretrained = {
        name: _pretrained(recipe, out / "runs" / f"pretrained-{name}", unlabeled, say)
        for name, recipe in methods.items()
    }
    starts: dict[str, Path | None] = {SCRATCH: None, **given, **pretrained}
    total = len(starts) * len(counts) * plan.repeats
    rows: list[Row] = []
    for name, count, repeat in _order(starts, counts, plan.repeats):
        chosen_pairs = _drawn(pairs, count, repeat)
        row = _trained(
            _recipe_for(chosen, starts[name], repeat, len(held_out)),
            Row(name, count, repeat, run=f"runs/{name}-{count}-{repeat}"),
            (chosen_pairs, held_out),
            out=out,
            init=starts[name],
        )
        rows.append(row)
        value = row.metrics.get(metric)
        told_value = "undefined" if value is None else f"{value:.4f}"
        say(f"{len(rows)}/{total} {name}, {count} label(s), repeat {repeat}: {metric} {told_value}")
    rows.sort(key=lambda row: (list(starts).index(row.start), row.labels, row.repeat))
    for path in write(out, rows, metric, settings=facts):
        say(f"Written: {path}")
    for sentence in sentences(rows, metric):
        say(sentence)
    return rows


def _check_plan(plan: Plan, files: Files) -> None:
    names = [*(plan.starts or {}), *plan.pretrain]
    for name in names:
        if not _NAME.fullmatch(name) or name == SCRATCH or names.count(name) > 1:
            raise RecipeError(
                f"--init {name}: expected a name of its own of letters, digits, dots and dashes, "
                f"other than {SCRATCH}, found {names}. Rename it: --init NAME=MODEL."
            )
    if plan.repeats < 1:
        raise RecipeError(f"--repeats {plan.repeats}: expected 1 or more. Change it.")
    if plan.pretrain and files.unlabeled is None:
        raise DataError(
            f"--pretrain {','.join(plan.pretrain)}: expected unlabelled images, found none. "
            "Give --unlabeled PATH, or pre-trained models by --init NAME=MODEL."
        )
    if (files.val_images is None) != (files.val_labels is None):
        raise DataError("Validation: expected images and labels, found one of them. Give both.")


def _divided(recipe: Recipe, files: Files) -> tuple[list[Pair], list[Pair]]:
    """Pairs for training and for validation; the latter are the same for every run."""
    how, channels = layout(recipe), recipe.data.channels
    pairs = open_pairs(files.images, files.labels, how, channels=channels)
    if files.val_images is not None and files.val_labels is not None:
        return pairs, open_pairs(files.val_images, files.val_labels, how, channels=channels)
    count = round(len(pairs) * recipe.data.holdout)
    if recipe.data.holdout == 0 or len(pairs) < _LEAST:
        raise DataError(
            f"Validation: expected images that stay the same for every run, found none, and "
            f"{len(pairs)} labelled image(s) with data.holdout={recipe.data.holdout} are too few "
            "to hold some out. Give --val-images and --val-labels."
        )
    order = generator(0, "curve validation").permutation(len(pairs))
    kept = set(order[: max(1, count)].tolist())
    training = [pair for index, pair in enumerate(pairs) if index not in kept]
    return training, [pair for index, pair in enumerate(pairs) if index in kept]


def _counts(asked: Sequence[int] | None, available: int) -> tuple[int, ...]:
    if asked is None:
        return tuple(2**i for i in range(available.bit_length()))
    if not asked or min(asked) < 1 or len(set(asked)) != len(asked):
        raise RecipeError(
            f"--labels-per-run {','.join(map(str, asked))}: expected different numbers of 1 or "
            "more. Change them."
        )
    if max(asked) > available:
        raise DataError(
            f"--labels-per-run: expected at least {max(asked)} labelled images for the largest "
            f"number, found {available} for training. Give more images or leave that number out."
        )
    return tuple(sorted(asked))


def _drawn(pairs: Sequence[Pair], count: int, repeat: int) -> list[Pair]:
    """The images of one repeat; those of a smaller number are among those of a larger one."""
    order = generator(repeat, "curve").permutation(len(pairs))
    return [pairs[index] for index in order[:count]]


def _order(
    starts: Mapping[str, Any], counts: Sequence[int], repeats: int
) -> Iterator[tuple[str, int, int]]:
    """Whole repeats first, so that a curve that is ended early is a curve."""
    for repeat in range(repeats):
        for count in counts:
            for name in starts:
                yield name, count, repeat


def _given(plan: Plan) -> dict[str, Path]:
    """Models to start from; all can be read."""
    found = {name: Path(path) for name, path in (plan.starts or {}).items()}
    for path in found.values():
        checkpoint.load_model(path)
    return found


def _pretrained(recipe: Recipe, folder: Path, images: Paths, say: Callable[[str], None]) -> Path:
    """The run of a pre-training; it is made or gone on with where it is not finished."""
    if not _is_done(folder, recipe):
        say(f"Pre-training: {recipe.name}, {recipe.train.steps} updates")
        api.pretrain(recipe, images=images, out=folder, resume=_has_begun(folder))
    return folder


def _pretraining(preset: str, recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """The preset for the channels of the trainings, and for their own backbone where it can."""
    chosen = load(preset)
    if chosen.method is None or chosen.data.ndim != recipe.data.ndim:
        what = "a task" if chosen.method is None else f"{chosen.data.ndim} axes"
        raise RecipeError(
            f"--pretrain {preset}: expected a preset that pre-trains for {recipe.data.ndim} axes "
            f"as {recipe.name}, found {what}. Choose another: unmask presets."
        )
    chosen = chosen.with_settings(settings)
    changes: dict[str, Any] = {
        "data": chosen.data.model_copy(update={"channels": recipe.data.channels})
    }
    if chosen.model.backbone.name == recipe.model.backbone.name:
        changes["model"] = chosen.model.model_copy(update={"backbone": recipe.model.backbone})
    return chosen.model_copy(update=changes)


def _recipe_for(recipe: Recipe, init: Path | None, repeat: int, validation: int) -> Recipe:
    """The recipe with the backbone of the model to start from, measured once, at its end."""
    train = {"seed": recipe.train.seed + repeat, "validate_every": 0, "validate_images": validation}
    changes: dict[str, Any] = {"train": recipe.train.model_copy(update=train)}
    if init is not None:
        card = checkpoint.load_model(init).card
        theirs = parse(card.get("recipe"), source=f"{init}: recipe inside").model.backbone
        if theirs.name != recipe.model.backbone.name:
            # a decoder that was chosen for another backbone need not fit
            update = {"backbone": theirs, "decoder": None}
            changes["model"] = recipe.model.model_copy(update=update)
    return recipe.model_copy(update=changes)


def _trained(
    recipe: Recipe,
    row: Row,
    pairs: tuple[Sequence[Pair], Sequence[Pair]],
    *,
    out: Path,
    init: Path | None,
) -> Row:
    """The row with its figures; the run is made, gone on with, or read where it is finished."""
    folder = out / row.run
    if not _is_done(folder, recipe):
        training, held_out = pairs
        api.train(
            recipe,
            images=[pair.image.source for pair in training],
            labels=[_labels_of(pair) for pair in training],
            val_images=[pair.image.source for pair in held_out],
            val_labels=[_labels_of(pair) for pair in held_out],
            out=folder,
            init=init,
            resume=_has_begun(folder),
        )
    metrics: Mapping[str, float | None] = checkpoint.load_model(folder).card["metrics"]
    return Row(row.start, row.labels, row.repeat, dict(metrics), row.run)


def _labels_of(pair: Pair) -> str:
    if pair.labels is None:
        raise DataError(f"{pair.image.source}: expected labels, found none. Give --labels.")
    return pair.labels.source


def _is_done(folder: Path, recipe: Recipe) -> bool:
    """Whether a run has made its last update and its model is whole."""
    if not (folder / MODEL_FILE).is_file():
        return False
    try:
        card = checkpoint.load_model(folder).card
    except UnmaskError:
        return False
    done = card.get("step") == recipe.train.steps
    return done and (recipe.task is None or bool(card.get("metrics")))


def _has_begun(folder: Path) -> bool:
    return (folder / "recipe.yaml").is_file()


def _facts(
    recipe: Recipe,
    plan: Plan,
    pairs: Sequence[Pair],
    held_out: Sequence[Pair],
    counts: Sequence[int],
) -> dict[str, Any]:
    """All that a curve depends on, as JSON."""
    return {
        "recipe": recipe.model_dump(mode="json"),
        "starts": dict(plan.starts or {}),
        "pretrain": list(plan.pretrain),
        "pretrain_settings": list(plan.pretrain_settings),
        "labels": list(counts),
        "repeats": plan.repeats,
        "training": [pair.name for pair in pairs],
        "validation": [pair.name for pair in held_out],
    }


def _note(out: Path, facts: Mapping[str, Any], *, resume: bool) -> None:
    """Write what a new curve depends on, or compare it with that of the curve to go on with.

    More repeats and more numbers of labels are welcome: what is finished stays.
    """
    path = out / _PLAN
    if path.is_file():
        if not resume:
            raise CheckpointError(
                told(
                    out,
                    expected="a folder without a curve",
                    found="one that was begun",
                    do="Go on with --resume, or choose another --out.",
                )
            )
        before = json.loads(path.read_text(encoding="utf-8"))
        fixed = ("recipe", "pretrain_settings", "training", "validation")
        differ = [name for name in fixed if before.get(name) != facts[name]]
        both = before["starts"].keys() & facts["starts"].keys()
        if any(before["starts"][name] != facts["starts"][name] for name in both):
            differ.append("model to start from")
        if differ:
            raise CheckpointError(
                told(
                    out,
                    expected="the curve to go on with",
                    found=f"another {' and '.join(differ)}",
                    do="Give the same arguments, or choose another --out.",
                )
            )
    atomic_write(path, json.dumps(facts, indent=1) + "\n")
