"""What a label curve is asked for: files, numbers, starts; refused where it cannot be done."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmask.apps.curve_table import SCRATCH
from unmask.atomic import atomic_write
from unmask.data.pairs import Pair, Paths, open_pairs
from unmask.errors import CheckpointError, DataError, RecipeError, told
from unmask.recipe import Recipe, parse
from unmask.space.random import generator
from unmask.training.assemble import layout
from unmask.training.origin import recipe_changes

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
        pretrain: presets that pre-train on the unlabelled images; where there are such images and
            this is empty, ``spark2d``, ``mae2d`` or their 3D forms, whichever suits the network.
        pretrain_settings: changes to these.
        settings: changes to the recipe of the trainings.
        cluster: None for one run after the other here; ``processes:N`` for as many at once on this
            machine, or the address of a dask.distributed scheduler whose workers see the same
            files.
    """

    counts: tuple[int, ...] | None = None
    repeats: int = 3
    starts: Mapping[str, str] | None = None
    pretrain: tuple[str, ...] = ()
    pretrain_settings: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    cluster: str | None = None


def check_plan(plan: Plan, files: Files) -> None:
    """Refuse what cannot be done, before a file is opened.

    Raises:
        RecipeError: a name that is taken or has other characters; no repeats.
        DataError: pre-training without images; half a validation.
    """
    names = [*(plan.starts or {}), *plan.pretrain]
    for name in names:
        fresh = name.startswith(SCRATCH)
        if not _NAME.fullmatch(name) or fresh or names.count(name) > 1:
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


def divided(recipe: Recipe, files: Files) -> tuple[list[Pair], list[Pair]]:
    """Pairs for training and for validation; the latter are the same for every run.

    Raises:
        DataError: wrong files, all at once, or too few to hold some out.
    """
    how, channels = layout(recipe), recipe.data.channels
    pairs = open_pairs(files.images, files.labels, how, channels=channels)
    if files.val_images is not None and files.val_labels is not None:
        held_out = open_pairs(files.val_images, files.val_labels, how, channels=channels)
        _check_apart(pairs, held_out)
        return pairs, held_out
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


def _check_apart(pairs: Sequence[Pair], held_out: Sequence[Pair]) -> None:
    """Refuse to measure on what is learnt from."""
    seen = {Path(pair.image.source).absolute() for pair in pairs}
    both = [pair.name for pair in held_out if Path(pair.image.source).absolute() in seen]
    if both:
        raise DataError(
            f"--val-images: expected images that are not among --images, found {len(both)} that "
            f"are: {', '.join(both[:8])}. Keep them in folders of their own."
        )


def numbers(asked: Sequence[int] | None, available: int) -> tuple[int, ...]:
    """Numbers of labelled images, small to large; None doubles from 1 as far as there are images.

    Raises:
        RecipeError: numbers below 1, or twice the same.
        DataError: fewer images than the largest number.
    """
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


def facts(
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


def note(out: Path, facts: Mapping[str, Any], *, resume: bool) -> None:
    """Write what a new curve depends on, or compare it with that of the curve to go on with.

    More repeats, starts and numbers of labels are welcome: what is finished stays.

    Raises:
        CheckpointError: another curve, or one that was begun and is not to be gone on with.
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
        fixed = ("pretrain_settings", "training", "validation")
        differ = [name for name in fixed if before.get(name) != facts[name]]
        was, now = (parse(each["recipe"], source=str(path)) for each in (before, facts))
        if changes := recipe_changes(was, now):
            differ.append(f"recipe ({'; '.join(changes[:8])})")
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
