"""How many labels are needed, and what pre-training saves: trainings on growing numbers of images.

Every training is an ordinary run in ``OUT/runs``, and so is every pre-training; what is finished is
not done again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmask import checkpoint
from unmask.apps.curve_plan import Files, Plan, check_plan, divided, facts, note, numbers
from unmask.apps.curve_runs import Pretraining, Training, is_done, run_all
from unmask.apps.curve_table import SCRATCH, Row, sentences, write
from unmask.build import build_backbone, build_task, layout, new_method, new_segmenter
from unmask.data.pairs import Pair, open_pairs
from unmask.errors import CheckpointError, DataError, RecipeError, message
from unmask.models.base import TokenBackbone
from unmask.plugins import is_file_name
from unmask.recipe import Part, Recipe, load
from unmask.space.random import generator
from unmask.training.provenance import initialize


@dataclass(frozen=True)
class _Start:
    """What trainings begin with, and the fresh weights of the same network."""

    name: str
    recipe: Recipe
    against: str
    init: Path | None = None


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

    Every start is compared with fresh weights in the same network: a model of another backbone
    brings its own along, and with it trainings of that network from scratch.

    Args:
        recipe: of the trainings, with a task.
        files: images and labels.
        out: folder of the curve.
        plan: what is trained.
        resume: go on with a curve that was ended.
        say: gets a line a training, and the sentences.

    Raises:
        DataError: fewer images than the largest number asked for, or none for validation.
        RecipeError: a wrong setting, name, number or cluster.
        CheckpointError: ``out`` holds another curve, or a model to start from does not fit.
    """
    out = Path(out)
    chosen = load(recipe).with_settings(plan.settings)
    metric = (chosen.train.metrics or build_task(chosen).metrics)[0]
    check_plan(chosen, plan, files)
    pairs, held_out = divided(chosen, files)
    counts = numbers(plan.counts, len(pairs))
    pretrainings = _pretrainings(chosen, plan, files, out)
    # a fold of a list is divided already
    trained = chosen.model_copy(update={"data": chosen.data.model_copy(update={"fold": None})})
    starts = _starts(trained, {**_given(plan), **pretrainings})
    unlabeled = _check_parts(starts, pretrainings)
    given = facts(chosen, plan, pairs, held_out, counts, unlabeled)
    note(out, given, resume=resume)
    for each in pretrainings.values():
        if not is_done(each.folder, each.recipe):
            say(f"Pre-training: {each.recipe.name}, {each.recipe.train.steps} updates")
    run_all([*pretrainings.values()], lambda _: None, cluster=plan.cluster)
    # Whole repeats first, so that a curve that is ended early is a curve.
    trainings = [
        _training(start, _drawn(pairs, count, repeat), held_out, repeat=repeat, out=out)
        for repeat in range(plan.repeats)
        for count in counts
        for start in starts
    ]
    rows: list[Row] = []
    settings = {name: value for name, value in given.items() if name != "files"}

    def done(row: Row) -> None:
        rows.append(row)
        value = row.metrics.get(metric)
        figure = f"{metric} {'undefined' if value is None else f'{value:.4f}'}"
        place = f"{row.start}, {row.labels} label(s), repeat {row.repeat}"
        say(f"{len(rows)}/{len(trainings)} {place}: {figure}")
        if len(rows) % (len(starts) * len(counts)) == 0:
            write(out, _sorted(rows, starts), metric, settings=settings)

    run_all(trainings, done, cluster=plan.cluster)
    say(f"Written: {out / 'curve.json'}, .csv, .png, .svg")
    rows = _sorted(rows, starts)
    for sentence in sentences(rows, metric):
        say(sentence)
    return rows


def _drawn(pairs: Sequence[Pair], count: int, repeat: int) -> list[Pair]:
    """The images of one repeat; those of a smaller number are among those of a larger one."""
    order = generator(repeat, "curve").permutation(len(pairs))
    return [pairs[index] for index in order[:count]]


def _given(plan: Plan) -> dict[str, Path]:
    return {name: Path(path) for name, path in (plan.starts or {}).items()}


def _pretrainings(recipe: Recipe, plan: Plan, files: Files, out: Path) -> dict[str, Pretraining]:
    """What is asked for; where there are only images, what suits the recipe's own network."""
    names, unasked = plan.pretrain, not plan.pretrain
    if unasked and files.unlabeled is not None:
        tokens = isinstance(build_backbone(recipe), TokenBackbone)
        names = (f"{'mae' if tokens else 'spark'}{recipe.data.ndim}d",)
    return {
        name: Pretraining(
            _pretraining_recipe(name, recipe, plan.pretrain_settings, own=unasked),
            out / "runs" / f"pretrained-{name}",
            files.unlabeled or (),
        )
        for name in names
    }


def _pretraining_recipe(
    preset: str, recipe: Recipe, settings: Sequence[str], *, own: bool = False
) -> Recipe:
    """The preset for the images of the trainings, and for their backbone if it is of one kind.

    With ``own``, also for one of another kind that the method can learn.
    """
    chosen = load(preset)
    before = chosen.model.backbone
    if chosen.method is None or chosen.data.ndim != recipe.data.ndim:
        what = "a task" if chosen.method is None else f"{chosen.data.ndim} axes"
        raise RecipeError(
            f"--pretrain {preset}: expected a preset that pre-trains for {recipe.data.ndim} axes "
            f"as {recipe.name}, found {what}. Choose another: unmask presets."
        )
    # values of one scale in both; a setting may say otherwise
    same = chosen.data.model_copy(update={"normalize": recipe.data.normalize})
    chosen = chosen.model_copy(update={"data": same}).with_settings(settings)
    changes: dict[str, Any] = {
        "data": chosen.data.model_copy(update={"channels": recipe.data.channels})
    }
    theirs = {"model": chosen.model.model_copy(update={"backbone": recipe.model.backbone})}
    fitted = chosen.model_copy(update={**changes, **theirs})
    if chosen.model.backbone.name == recipe.model.backbone.name:
        return fitted
    # a backbone that the settings name stays
    if own and chosen.model.backbone == before and _learns(fitted):
        return fitted
    return chosen.model_copy(update=changes)


def _learns(recipe: Recipe) -> bool:
    """Whether the method takes the backbone."""
    try:
        new_method(recipe)
    except RecipeError:
        return False
    return True


def _starts(recipe: Recipe, models: Mapping[str, Path | Pretraining]) -> list[_Start]:
    """Fresh weights and every model, each with fresh weights of its own network before it."""
    found = [_Start(SCRATCH, recipe, against=SCRATCH)]
    for name, model in models.items():
        init = model.folder if isinstance(model, Pretraining) else model
        its = recipe
        backbone = _backbone(model)
        if backbone.name != recipe.model.backbone.name:
            _refuse_code(backbone, model)
            # a decoder that was chosen for another backbone need not fit
            update = {"backbone": backbone, "decoder": None}
            its = recipe.model_copy(update={"model": recipe.model.model_copy(update=update)})
        fresh = [each.name for each in found if each.init is None]
        same = [each.name for each in found if each.init is None and each.recipe == its]
        if not same:
            number = sum(each.startswith(f"{SCRATCH}-{backbone.name}") for each in fresh)
            same = [f"{SCRATCH}-{backbone.name}{f'-{number + 1}' if number else ''}"]
            found.append(_Start(same[0], its, against=same[0]))
        found.append(_Start(name, its, against=same[0], init=init))
    return found


def _backbone(model: Path | Pretraining) -> Part:
    if isinstance(model, Pretraining):
        return model.recipe.model.backbone
    card = checkpoint.load_model(model).card
    return checkpoint.described_recipe(card, model).model.backbone


def _refuse_code(backbone: Part, model: Path | Pretraining) -> None:
    """Refuse a backbone from a file that only a model names: a model file runs no code."""
    if not isinstance(model, Pretraining) and is_file_name(backbone.name):
        raise CheckpointError(
            message(
                model,
                expected="a backbone that comes with unmask, or that of the recipe",
                found=f"model.backbone={backbone.name}, whose code was not run",
                do="If you trust it, name it yourself: --set model.backbone=FILE.py:NAME.",
            )
        )


def _check_parts(starts: Sequence[_Start], pretrainings: Mapping[str, Pretraining]) -> list[Pair]:
    """Refuse networks, images and models that do not fit, before anything is trained.

    Returns:
        The images of the pre-trainings.
    """
    found: list[Pair] = []
    for each in pretrainings.values():
        new_method(each.recipe)
        how, channels = layout(each.recipe), each.recipe.data.channels
        found = open_pairs(each.images, None, how, channels=channels)
    for start in starts:
        segmenter = new_segmenter(start.recipe)
        if start.init is not None and start.name not in pretrainings:
            initialize(segmenter, start.init, start.recipe)
    return found


def _training(
    start: _Start, pairs: Sequence[Pair], held_out: Sequence[Pair], *, repeat: int, out: Path
) -> Training:
    """One training, measured once, at its end, on all images of the validation."""
    recipe, run = start.recipe, f"runs/{start.name}-{len(pairs)}-{repeat}"
    train = {
        "seed": recipe.train.seed + repeat,
        "validate_every": 0,
        "validate_images": len(held_out),
    }
    return Training(
        recipe.model_copy(update={"train": recipe.train.model_copy(update=train)}),
        Row(start.name, len(pairs), repeat, run=run, against=start.against),
        out / run,
        images=[pair.image.source for pair in pairs],
        labels=[_labels_of(pair) for pair in pairs],
        val_images=[pair.image.source for pair in held_out],
        val_labels=[_labels_of(pair) for pair in held_out],
        init=start.init,
    )


def _labels_of(pair: Pair) -> str:
    if pair.labels is None:
        raise DataError(f"{pair.image.source}: expected labels, found none. Give --labels.")
    return pair.labels.source


def _sorted(rows: Sequence[Row], starts: Sequence[_Start]) -> list[Row]:
    names = [start.name for start in starts]
    return sorted(rows, key=lambda row: (names.index(row.start), row.labels, row.repeat))
