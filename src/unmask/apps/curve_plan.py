"""The plan of a label curve: files, numbers of labels and starts, and checks of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmask import hub, shipped
from unmask.api.inputs import labels_of, parts_of
from unmask.apps.curve_equal import parse_equal
from unmask.apps.curve_table import SCRATCH
from unmask.atomic import atomic_write
from unmask.build import layout
from unmask.checkpoint.model import MODEL_FILE
from unmask.data.fingerprint import same_images
from unmask.data.pairs import Pair, Paths, fingerprint, open_pairs
from unmask.errors import CheckpointError, DataError, RecipeError, message
from unmask.io.identity import file_identity
from unmask.leftovers import remove_leftovers
from unmask.recipe import Recipe, parse
from unmask.space.random import generator
from unmask.training.provenance import recipe_changes
from unmask.wording import format_count, join_names

_PLAN = "plan.json"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_NAMED = 4  # changed files that a message names
_LEAST = 5  # fewer pairs are not divided into training and validation


@dataclass(frozen=True)
class Files:
    """Labeled images for training and, the same for all runs, for validation.

    Attributes:
        images: images.
        labels: their labels.
        val_images: images for validation; None holds out ``data.holdout`` of the others.
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
    """The trainings of a curve.

    Attributes:
        counts: numbers of labeled images; None doubles from 1 up to all images.
        repeats: trainings per start and number, each with other images and another seed.
        starts: models or runs to start from by name, in addition to random weights; None: the
            shipped weights that a training starts from, unless there is a pre-training.
        pretrain: presets that pre-train on the images without labels. If it is empty and there
            are such images: ``spark2d``, ``mae2d`` or their 3D forms, whichever fits the network.
        pretrain_settings: changes to these presets.
        settings: changes to the recipe of the trainings.
        cluster: None runs one training after the other; ``processes:N`` runs N at once on this
            machine; or the address of a dask.distributed scheduler whose workers see the same
            files.
        doublings: times that the updates are doubled until scratch has converged; 1 only measures
            whether it has, 0 does not.
        equal: what a start and the random weights that it is compared with have in common: the
            updates of the ``training``, all ``updates`` or all ``seconds`` with the pre-training.
    """

    counts: tuple[int, ...] | None = None
    repeats: int = 3
    starts: Mapping[str, str] | None = None
    pretrain: tuple[str, ...] = ()
    pretrain_settings: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    cluster: str | None = None
    doublings: int = 0
    equal: str = "training"


def check_plan(recipe: Recipe, plan: Plan, files: Files) -> None:
    """Refuse an impossible plan before any file is opened.

    Raises:
        RecipeError: a name that is taken or has other characters; no repeats; a second source.
        DataError: pre-training without images; validation images without labels or the reverse.
    """
    names = [*(plan.starts or {}), *plan.pretrain]
    for name in names:
        fresh = name.startswith(SCRATCH)
        if not _NAME.fullmatch(name) or fresh or names.count(name) > 1:
            raise RecipeError(
                f"--init {name}: expected a name of its own of letters, digits, dots and dashes, "
                f"other than {SCRATCH}, found {names}. Rename it: --init NAME=MODEL."
            )
    parse_equal(plan.equal)
    if plan.doublings < 0:
        raise RecipeError(f"--doublings {plan.doublings}: expected 0 or more. Change it.")
    if plan.repeats < 1:
        raise RecipeError(f"--repeats {plan.repeats}: expected 1 or more. Change it.")
    if recipe.data.replay is not None:
        raise RecipeError(
            f"recipe {recipe.name!r}: expected no data.replay in a curve, found one, and a curve "
            "takes no second source. Leave it out: --set data.replay=null."
        )
    if plan.pretrain and files.unlabeled is None:
        raise DataError(
            f"--pretrain {','.join(plan.pretrain)}: expected images without labels, found none. "
            "Give --unlabeled PATH, or pre-trained models by --init NAME=MODEL."
        )
    if (files.val_images is None) != (files.val_labels is None):
        raise DataError("Validation: expected images and labels, found one of them. Give both.")


def divide_pairs(recipe: Recipe, files: Files) -> tuple[list[Pair], list[Pair]]:
    """Divide pairs into training and validation; the latter are the same for every run.

    A list such as ``dataset.json`` has its own split, as in a training.

    Raises:
        DataError: wrong files, all at once, or too few to hold some out.
        RecipeError: a fold without a list.
    """
    how, channels = layout(recipe), recipe.data.channels
    images, val_images = parts_of(files.images, files.val_images, recipe.data.fold)
    pairs = open_pairs(images, _labels_of(images, files.labels), how, channels=channels)
    if val_images is not None:
        val_labels = _labels_of(val_images, files.val_labels)
        held_out = open_pairs(val_images, val_labels, how, channels=channels)
        _check_apart(pairs, held_out)
        return pairs, held_out
    count = round(len(pairs) * recipe.data.holdout)
    if recipe.data.holdout == 0 or len(pairs) < _LEAST:
        raise DataError(
            f"Validation: expected images that stay the same for every run, found none, and "
            f"{format_count(len(pairs), 'labeled image')} with data.holdout={recipe.data.holdout}, "
            "too few to hold some out. Give --val-images and --val-labels."
        )
    order = generator(0, "curve validation").permutation(len(pairs))
    kept = set(order[: max(1, count)].tolist())
    training = [pair for index, pair in enumerate(pairs) if index not in kept]
    return training, [pair for index, pair in enumerate(pairs) if index in kept]


def _labels_of(images: Paths, labels: Paths | None) -> Paths | None:
    """Choose the given labels; those of the same part if images and labels are lists."""
    listed = labels is None or labels_of(labels, None) is not None
    return (labels_of(images, None) if listed else None) or labels


def _check_apart(pairs: Sequence[Pair], held_out: Sequence[Pair]) -> None:
    """Refuse validation images that are trained on, under any name."""
    both = [other.name for _, other in same_images(pairs, held_out)]
    if both:
        raise DataError(
            f"--val-images: expected images that are not among --images, found {len(both)} that "
            f"are: {', '.join(both[:8])}. Keep them in folders of their own."
        )


def label_counts(asked: Sequence[int] | None, available: int) -> tuple[int, ...]:
    """Numbers of labeled images, small to large; None doubles from 1 as far as there are images.

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
            f"--labels-per-run: expected at least {max(asked)} labeled images for the largest "
            f"number, found {available} for training. Give more images or leave that number out."
        )
    return tuple(sorted(asked))


def facts(
    recipe: Recipe,
    plan: Plan,
    pairs: Sequence[Pair],
    held_out: Sequence[Pair],
    counts: Sequence[int],
    unlabeled: Sequence[Pair] = (),
) -> dict[str, Any]:
    """Collect everything that a curve depends on, as JSON.

    Args:
        recipe: of the trainings.
        plan: what is trained.
        pairs: for training.
        held_out: for validation.
        counts: numbers of labeled images.
        unlabeled: images of the pre-trainings.
    """
    return {
        "recipe": recipe.model_dump(mode="json"),
        "starts": dict(plan.starts or {}),
        "pretrain": list(plan.pretrain),
        "pretrain_settings": list(plan.pretrain_settings),
        "labels": list(counts),
        "repeats": plan.repeats,
        "training": [pair.name for pair in pairs],
        "validation": [pair.name for pair in held_out],
        "files": {
            "training": fingerprint(pairs),
            "validation": fingerprint(held_out),
            "unlabeled": fingerprint(unlabeled),
            "starts": {name: _mark(model) for name, model in (plan.starts or {}).items()},
        },
    }


def _mark(model: str) -> str:
    """Make a fingerprint of a model to start from: its size and modification time."""
    path = hub.fetch_model(model) if hub.is_hub_name(model) else shipped.find(model)
    return file_identity(path / MODEL_FILE if path.is_dir() else path)


def record_plan(out: Path, facts: Mapping[str, Any], *, resume: bool) -> None:
    """Write what a new curve depends on, or compare it with the curve to resume.

    More repeats, starts and numbers of labels may be added; finished runs stay.

    Raises:
        CheckpointError: another curve, or one that exists and is not to be resumed.
    """
    remove_leftovers(out)
    path = out / _PLAN
    if path.is_file():
        if not resume:
            raise CheckpointError(
                message(
                    out,
                    expected="a folder without a curve",
                    found="an unfinished or finished one",
                    do="Continue it with --resume, or choose another --out.",
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
        marks, kept = facts["files"], before.get("files", {})
        differ += _list_changes(kept, marks)
        # Files that this call does not use may come back, and are compared then.
        facts = {**facts, "files": {name: kept.get(name, {}) | marks[name] for name in marks}}
        if differ:
            raise CheckpointError(
                message(
                    out,
                    expected="the curve to resume",
                    found=f"another {join_names(differ)}",
                    do="Give the same arguments, or choose another --out.",
                )
            )
    atomic_write(path, json.dumps(facts, indent=1) + "\n")


def _list_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """List the kinds of files that have changed, with a few of their names.

    Kinds that one side lacks are not compared: older curves recorded no files, and pre-trainings
    and models to start from may be added.
    """
    words = {
        "training": "training file",
        "validation": "validation file",
        "unlabeled": "image without labels",
        "starts": "model to start from",
    }
    found = []
    for name, word in words.items():
        old, new = before.get(name), now[name]
        if not old or not new:
            continue
        names = old.keys() & new.keys() if name == "starts" else old.keys() | new.keys()
        differ = sorted(each for each in names if old.get(each) != new.get(each))
        if differ:
            more = "" if len(differ) <= _NAMED else f" and {len(differ) - _NAMED} more"
            found.append(f"{word} ({', '.join(differ[:_NAMED])}{more})")
    return found
