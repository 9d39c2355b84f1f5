"""Images without labels that a training learns from too (``--unlabeled``)."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from unmask.build.semisupervised import DEFAULT
from unmask.data.pairing import Pair, Paths
from unmask.data.pairs import Layout, apply_view, open_pairs
from unmask.errors import DataError, RecipeError, message
from unmask.io.inputs import as_inputs
from unmask.recipe import Recipe

# A single image teaches nothing about what images have in common.
_FEWEST = 2
_SHOWN = 3


def with_unlabeled(recipe: Recipe, *, given: bool) -> Recipe:
    """The recipe with a method for unlabeled images, if there are any.

    Raises:
        RecipeError: a method without images.
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
    """Unlabeled images to train on, as the network sees them; None if none are given.

    Args:
        images: what ``--unlabeled`` names; images that are ``used`` are left out of them.
        rules: how files are read.
        recipe: of the training.
        used: labeled images and those held out, whose scores would otherwise be too good.
        notes: gets how many are used.

    Raises:
        DataError: other axes or channels than the network has, or fewer than two images.
    """
    if images is None:
        return None
    try:
        found = open_pairs(images, None, rules, channels=recipe.data.channels)
    except DataError as error:
        raise DataError(f"--unlabeled: {error}", error.problems) from error
    # One folder may hold images and their labels.
    known = {image.source for pair in used for image in (pair.image, pair.labels or pair.image)}
    pairs = [pair for pair in found if pair.image.source not in known]
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
    rest = f"; {left_out} of the same place have labels or are held out" if left_out else ""
    part = recipe.train.unlabeled or DEFAULT
    notes.append(f"{len(pairs)} unlabeled images are learned from too ({part.name}){rest}.")
    return apply_view(pairs, rules.view)


def unlabeled_note(
    labeled: int,
    unlabeled: Sequence[str],
    images: Paths,
    labels: Paths | None,
    *,
    out: str | Path | None = None,
) -> list[str]:
    """A note on images without labels, with the command that trains on them; none if all have.

    Args:
        labeled: number of images with labels.
        unlabeled: images without.
        images: as given.
        labels: as given.
        out: folder of the run, whose recipe the command reuses; None: there is none yet.
    """
    if not unlabeled:
        return []
    shown = [Path(path).name for path in unlabeled[:_SHOWN]]
    names = ", ".join([*shown, "..."] if len(unlabeled) > _SHOWN else shown)
    start = f"{labeled} of {labeled + len(unlabeled)} images have labels: training on {labeled}. "
    few = len(unlabeled) < _FEWEST
    if few or labels is None:
        return [f"{start}{names} is left out." if few else f"{start}{names} are left out."]
    words = ["unmask", "train", *map(str, as_inputs(images))]
    words += ["--labels", *_repeated("--labels", labels)]
    words += ["--unlabeled", *_repeated("--unlabeled", images)]
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


def _repeated(option: str, paths: Paths) -> list[str]:
    """Values of an option that is given once per path."""
    first, *others = map(str, as_inputs(paths))
    return [first, *(word for path in others for word in (option, path))]
