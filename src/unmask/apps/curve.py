"""Train on growing numbers of images, to measure how many labels are needed.

Every training and pre-training is an ordinary run in ``OUT/runs``; finished runs are not repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unmask.apps.curve_convergence import Convergence, find_convergence
from unmask.apps.curve_draws import find_kinds, order_images
from unmask.apps.curve_equal import Costs, equalize, parse_equal
from unmask.apps.curve_plan import (
    Files,
    Plan,
    check_plan,
    divide_pairs,
    facts,
    label_counts,
    record_plan,
)
from unmask.apps.curve_runs import Pretraining, Training, is_done, run_all
from unmask.apps.curve_starts import Start, find_starts, shipped_starts
from unmask.apps.curve_table import Row, sentences, write
from unmask.build import build_backbone, build_task, layout, new_method, new_segmenter
from unmask.data.pairs import Pair, open_pairs
from unmask.errors import DataError, RecipeError
from unmask.interruption import note_kept
from unmask.models.base import TokenBackbone
from unmask.progress import describe_finished
from unmask.recipe import Recipe, load
from unmask.training.parallel import device_type
from unmask.training.precision import pin_precision
from unmask.training.provenance import initialize
from unmask.wording import format_count


def run_curve(
    recipe: str | Path | Recipe,
    files: Files,
    *,
    out: str | Path,
    plan: Plan,
    resume: bool = False,
    say: Callable[[str], None] = print,
) -> list[Row]:
    """Run all trainings of a curve and write table, plot and sentences to ``out``.

    Every start is compared with random weights in its own network, whatever the recipe's is.

    Args:
        recipe: recipe of the trainings, with a task.
        files: images and labels.
        out: folder of the curve.
        plan: the trainings.
        resume: continue an interrupted curve.
        say: receives one line per training, and the sentences.

    Returns:
        One row per training.

    Raises:
        DataError: fewer images than the largest number asked for, or none for validation.
        RecipeError: a wrong setting, name or number, or unknown workers.
        CheckpointError: ``out`` holds another curve, or a model to start from does not fit.
    """
    chosen, out = _resolve(recipe, plan), Path(out)
    metric = (chosen.train.metrics or build_task(chosen).metrics)[0]
    plan = _with_start(chosen, plan, files, say)
    check_plan(chosen, plan, files)
    pairs, held_out = divide_pairs(chosen, files)
    counts = label_counts(plan.counts, len(pairs))
    pretrainings = _pretrainings(chosen, plan, files, out)
    starts = find_starts(_without_fold(chosen), {**_given(plan), **pretrainings})
    unlabeled = _check_parts(starts, pretrainings)
    kinds = find_kinds(pairs)
    conditions = facts(chosen, plan, pairs, held_out, counts, unlabeled)
    record_plan(out, conditions, resume=resume)
    images, trainings = (pairs, kinds, held_out), list[Training]()
    with note_kept(partial(_describe_kept, out, trainings)):
        converged, starts = _converge(starts, plan, images, counts, metric, out, say)
        costs = Costs(out / "costs.json", pairs)
        starts = equalize(starts, pretrainings, parse_equal(plan.equal), costs, say)
        _pretrain(pretrainings, plan, say)
        trainings += _make_trainings(starts, plan, images, counts, out)
        shown = {name: value for name, value in conditions.items() if name != "files"}
        table = _Table(out, metric, shown, starts, len(counts), len(trainings), say)
        run_all(trainings, table.add, cluster=plan.cluster, say=say)
    say(f"Written: {out / 'curve.json'}, .csv, .png, .svg")
    rows = _sort_rows(table.rows, starts)
    _conclude(rows, metric, converged, say)
    return rows


def _describe_kept(out: Path, trainings: Sequence[Training]) -> str:
    """What a curve that resumes finds, for people."""
    if not trainings:
        return f"The trainings so far are kept in {out / 'runs'}."
    count = sum(is_done(each.folder, each.recipe) for each in trainings)
    return f"{describe_finished(count, len(trainings), 'training')}."


def _make_trainings(
    starts: Sequence[Start],
    plan: Plan,
    images: tuple[Sequence[Pair], np.ndarray, Sequence[Pair]],
    counts: Sequence[int],
    out: Path,
) -> list[Training]:
    """All trainings; whole repeats first, so that an interrupted curve is usable."""
    pairs, kinds, held_out = images
    return [
        _training(start, _draw(pairs, kinds, count, repeat), held_out, repeat=repeat, out=out)
        for repeat in range(plan.repeats)
        for count in counts
        for start in starts
    ]


def _without_fold(recipe: Recipe) -> Recipe:
    """The recipe for images of which a fold has been divided already."""
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"fold": None})})


def _conclude(
    rows: Sequence[Row], metric: str, converged: Convergence | None, say: Callable[[str], None]
) -> None:
    """Say what the curve shows; only that more updates are needed if scratch has not converged."""
    short = None if converged is None or converged.converged else converged.describe(metric)
    for sentence in sentences(rows, metric) if short is None else [short]:
        say(sentence)


def _resolve(recipe: str | Path | Recipe, plan: Plan) -> Recipe:
    # All trainings are compared, so they need one precision.
    return pin_precision(load(recipe).with_settings(plan.settings), device_type("auto"))


def _with_start(recipe: Recipe, plan: Plan, files: Files, say: Callable[[str], None]) -> Plan:
    """The plan with the weights that `unmask train` starts from, if no other start is given."""
    if plan.starts is not None or plan.pretrain or files.unlabeled is not None:
        return plan
    starts = shipped_starts(recipe)
    if starts:
        say(f"Starts: random weights, and {', '.join(starts)} as in `unmask train` (--init none: "
            "random weights alone).")  # fmt: skip
    return replace(plan, starts=starts)


@dataclass(frozen=True)
class _Table:
    """Collects the rows of finished trainings and writes them after every repeat."""

    out: Path
    metric: str
    settings: Mapping[str, Any]
    starts: Sequence[Start]
    counts: int
    total: int
    say: Callable[[str], None]
    rows: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> None:
        self.rows.append(row)
        value = row.metrics.get(self.metric)
        score = f"{self.metric} {'undefined' if value is None else f'{value:.4f}'}"
        position = f"{row.start}, {format_count(row.labels, 'label')}, repeat {row.repeat}"
        self.say(f"{len(self.rows)}/{self.total} {position}: {score}")
        if len(self.rows) % (len(self.starts) * self.counts) == 0:
            rows = _sort_rows(self.rows, self.starts)
            write(self.out, rows, self.metric, settings=self.settings)


def _pretrain(
    pretrainings: Mapping[str, Pretraining], plan: Plan, say: Callable[[str], None]
) -> None:
    for each in pretrainings.values() if plan.cluster else ():
        say(each.title)
    run_all([*pretrainings.values()], lambda _: None, cluster=plan.cluster, say=say)


def _draw(pairs: Sequence[Pair], kinds: np.ndarray, count: int, repeat: int) -> list[Pair]:
    """Draw the images of one repeat; a smaller draw is a subset of a larger one."""
    return [pairs[index] for index in order_images(kinds, repeat)[:count]]


def _converge(
    starts: list[Start],
    plan: Plan,
    images: tuple[Sequence[Pair], np.ndarray, Sequence[Pair]],
    counts: Sequence[int],
    metric: str,
    out: Path,
    say: Callable[[str], None],
) -> tuple[Convergence | None, list[Start]]:
    """Check whether scratch has converged, if requested; returns the starts with its updates."""
    if not plan.doublings:
        return None, starts
    pairs, kinds, held_out = images
    recipe = starts[0].recipe

    def make(recipe: Recipe, count: int) -> Training:
        drawn = _draw(pairs, kinds, count, 0)
        return _training(replace(starts[0], recipe=recipe), drawn, held_out, repeat=0, out=out)

    how: dict[str, Any] = {"doublings": plan.doublings, "cluster": plan.cluster, "say": say}
    say("First, trainings that show whether labels or updates limit the scores (--doublings 0 "
        "skips them).")  # fmt: skip
    found = find_convergence(make, recipe, counts, metric, **how)
    say(found.describe(metric))
    if found.steps != recipe.train.steps:
        say(f"All trainings of the curve make {found.steps} updates.")
    return found, [start.with_steps(found.steps) for start in starts]


def _given(plan: Plan) -> dict[str, Path]:
    return {name: Path(path) for name, path in (plan.starts or {}).items()}


def _pretrainings(recipe: Recipe, plan: Plan, files: Files, out: Path) -> dict[str, Pretraining]:
    """Collect the pre-trainings: those asked for, or the one that fits the recipe's network."""
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
    """Adapt a preset to the images of the trainings, and to their backbone if of the same kind.

    With ``own``, also to a backbone of another kind that the method supports.
    """
    chosen = load(preset)
    before = chosen.model.backbone
    if chosen.method is None or chosen.data.ndim != recipe.data.ndim:
        what = "a task" if chosen.method is None else f"{chosen.data.ndim} axes"
        raise RecipeError(
            f"--pretrain {preset}: expected a preset that pre-trains for {recipe.data.ndim} axes "
            f"as {recipe.name} has, found {what}. Choose another: unmask presets."
        )
    # Intensities on the same scale in both; a setting may change that.
    same = chosen.data.model_copy(update={"normalize": recipe.data.normalize})
    chosen = chosen.model_copy(update={"data": same}).with_settings(settings)
    changes: dict[str, Any] = {
        "data": chosen.data.model_copy(update={"channels": recipe.data.channels})
    }
    theirs = {"model": chosen.model.model_copy(update={"backbone": recipe.model.backbone})}
    fitted = chosen.model_copy(update={**changes, **theirs})
    if chosen.model.backbone.name == recipe.model.backbone.name:
        return fitted
    # A backbone that the settings name is kept.
    if own and chosen.model.backbone == before and _learns(fitted):
        return fitted
    return chosen.model_copy(update=changes)


def _learns(recipe: Recipe) -> bool:
    """Whether the method supports the backbone."""
    try:
        new_method(recipe)
    except RecipeError:
        return False
    return True


def _check_parts(starts: Sequence[Start], pretrainings: Mapping[str, Pretraining]) -> list[Pair]:
    """Refuse networks, images and models that do not fit, before any training.

    Returns:
        The images of the pre-trainings.
    """
    images: list[Pair] = []
    for each in pretrainings.values():
        new_method(each.recipe)
        how, channels = layout(each.recipe), each.recipe.data.channels
        images = open_pairs(each.images, None, how, channels=channels)
    for start in starts:
        segmenter = new_segmenter(start.recipe)
        if start.init is not None and start.name not in pretrainings:
            initialize(segmenter, start.init, start.recipe)
    return images


def _training(
    start: Start, pairs: Sequence[Pair], held_out: Sequence[Pair], *, repeat: int, out: Path
) -> Training:
    """Make one training, which is validated once, at its end, on all validation images."""
    recipe, run = start.recipe, f"runs/{start.name}-{len(pairs)}-{repeat}"
    train = {
        "seed": recipe.train.seed + repeat,
        "validate_every": 0,
        "validate_images": len(held_out),
    }
    return Training(
        recipe.model_copy(update={"train": recipe.train.model_copy(update=train)}),
        Row(
            start.name,
            len(pairs),
            repeat,
            run=run,
            against=start.against,
            updates=recipe.train.steps,
        ),
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


def _sort_rows(rows: Sequence[Row], starts: Sequence[Start]) -> list[Row]:
    names = [start.name for start in starts]
    return sorted(rows, key=lambda row: (names.index(row.start), row.labels, row.repeat))
