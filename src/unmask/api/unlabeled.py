"""Unlabeled images of a training (``--unlabeled``)."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from unmask.build.semisupervised import DEFAULT
from unmask.data.pairing import Pair, Paths
from unmask.data.pairs import Layout, apply_view, open_pairs
from unmask.errors import DataError, RecipeError, message
from unmask.io.inputs import as_inputs
from unmask.recipe import Recipe
from unmask.wording import format_part

# Smallest number of unlabeled images: a method learns nothing general from a single one.
_FEWEST = 2
# Largest number of names in a note.
_SHOWN = 3


def with_unlabeled(recipe: Recipe, *, given: bool) -> Recipe:
    """The recipe with the default method for unlabeled images, if images are given.

    Raises:
        RecipeError: the recipe has a method, but no unlabeled images are given.
    """
    if given and recipe.train.unlabeled is None:
        return recipe.model_copy(
            update={"train": recipe.train.model_copy(update={"unlabeled": DEFAULT})}
        )
    if recipe.train.unlabeled is not None and not given:
        raise RecipeError(
            message(
                f"recipe {recipe.name!r}",
                expected="unlabeled images for train.unlabeled",
                found="none",
                do="Give --unlabeled PATH, or --set train.unlabeled=null.",
            )
        )
    return recipe


def open_unlabeled(
    images: Paths | None,
    rules: Layout,
    recipe: Recipe,
    used: Sequence[Pair],
    notes: list[str],
) -> list[Pair] | None:
    """Open unlabeled images on the grid of the network; None if none are given.

    Args:
        images: paths of ``--unlabeled``; images that are among ``used`` are skipped.
        rules: how files are read.
        recipe: recipe of the training.
        used: labeled and held-out images. Training on a held-out image would raise its score.
        notes: a line with the number of images is appended.

    Raises:
        DataError: images have other axes or channels than the network, or fewer than two remain.
    """
    if images is None:
        return None
    try:
        found = open_pairs(images, None, rules, channels=recipe.data.channels)
    except DataError as error:
        raise DataError(f"--unlabeled: {error}", error.problems) from error
    # One folder may hold images and their labels.
    known = {
        os.path.realpath(image.source)
        for pair in used
        for image in (pair.image, pair.labels or pair.image)
    }
    # An absolute path and a link name the same file as a relative path.
    pairs = [pair for pair in found if os.path.realpath(pair.image.source) not in known]
    left_out = len(found) - len(pairs)
    if len(pairs) < _FEWEST:
        extra = f", and {left_out} with labels or held out" if left_out else ""
        raise DataError(
            message(
                "--unlabeled",
                expected=f"at least {_FEWEST} images that are not labeled or held out",
                found=f"{len(pairs)}{extra}",
                do="Give more images, or leave out --unlabeled.",
            )
        )
    rest = f"; {left_out} others have labels or are held out" if left_out else ""
    method = recipe.train.unlabeled or DEFAULT
    notes.append(f"The training also uses {len(pairs)} unlabeled images ({method.name}){rest}.")
    return apply_view(pairs, rules.view)


def unlabeled_note(
    labeled: int,
    unlabeled: Sequence[str],
    images: Paths,
    labels: Paths | None,
    *,
    validation: tuple[Paths | None, Paths | None] = (None, None),
    out: str | Path | None = None,
) -> list[str]:
    """A note on unlabeled images, with the command that trains on them; empty if all are labeled.

    Args:
        labeled: number of images with labels.
        unlabeled: paths of images without labels.
        images: the argument of ``train``.
        labels: the argument of ``train``.
        validation: images and labels of the validation, which the command keeps.
        out: run folder whose recipe the command reuses; None: no run exists yet.
    """
    if not unlabeled:
        return []
    shown = [Path(path).name for path in unlabeled[:_SHOWN]]
    names = ", ".join([*shown, "..."] if len(unlabeled) > _SHOWN else shown)
    total = labeled + len(unlabeled)
    start = f"{format_part(labeled, total, 'image', 'have')} labels: training on {labeled}. "
    few = len(unlabeled) < _FEWEST
    if few or labels is None:
        return [f"{start}{names} is left out." if few else f"{start}{names} are left out."]
    words = ["unmask", "train", *map(str, as_inputs(images))]
    words += ["--labels", *_repeat_option("--labels", labels)]
    for option, paths in zip(("--val-images", "--val-labels"), validation, strict=True):
        if None not in validation and paths is not None:
            words += [option, *_repeat_option(option, paths)]
    words += ["--unlabeled", *_repeat_option("--unlabeled", images)]
    words += (
        ["--out", "runs/unlabeled"]
        if out is None
        else [
            *("--recipe", str(Path(out) / "recipe.yaml")),
            *("--out", f"{out}-unlabeled"),
        ]
    )
    return [
        f"{start}The other {len(unlabeled)} ({names}) can be used with --unlabeled: "
        f"`{shlex.join(words)}`"
    ]


def _repeat_option(option: str, paths: Paths) -> list[str]:
    """Values of an option that is given once per path."""
    first, *others = map(str, as_inputs(paths))
    return [first, *(word for path in others for word in (option, path))]
