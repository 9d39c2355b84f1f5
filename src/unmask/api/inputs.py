"""Where the images and labels of a verb come from: parts of lists, arrays, outputs next to them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from unmask.data.checks import check_content
from unmask.data.pairs import Pair, Paths
from unmask.errors import DataError, RecipeError, gather
from unmask.io.inputs import ArrayInput, as_inputs
from unmask.io.listing import cases, is_listing, part_of, read_listing
from unmask.recipe import Recipe
from unmask.tasks.base import CompleteTask


def parts_of(
    images: Paths, val_images: Paths | None, fold: int | None
) -> tuple[Paths, Paths | None]:
    """The parts of a list of images to train on and to validate on; other paths as they are.

    Raises:
        RecipeError: a fold of something that is not a list.
        DataError: a list that cannot be read.
    """
    given = as_inputs(images)
    path = given[0] if len(given) == 1 and isinstance(given[0], str) else ""
    if not is_listing(path) or (fold is None and ":" in Path(path).name):
        if fold is not None:
            raise RecipeError(
                f"data.fold={fold}: expected a list such as dataset.json as --images, found "
                f"{images}. Leave it out, or give the list."
            )
        return images, val_images
    if val_images is not None:
        return images, val_images
    held_out = fold is not None or read_listing(path).val
    return part_of(path, "train", fold), part_of(path, "val", fold) if held_out else None


def labels_of(images: Paths | None, labels: Paths | None) -> Paths | None:
    """The labels given, or those of the list that the images come from; None if it has none."""
    if images is None or (labels is not None and _whole_list(labels) != _whole_list(images)):
        return labels
    given = as_inputs(images)
    lists = [path for path in given if not isinstance(path, ArrayInput) and is_listing(path)]
    if not given or len(lists) < len(given):
        return None
    return images if any(case.label for path in lists for case in cases(path)) else None


def _whole_list(paths: Paths) -> object:
    """The file of a list, whichever part is asked for; anything else as it is."""
    given = as_inputs(paths)
    if len(given) != 1 or not isinstance(given[0], str) or not is_listing(given[0]):
        return object()
    return re.sub(r":\w+$", "", given[0])


def content_notes(pairs: Sequence[Pair], recipe: Recipe, task: CompleteTask | None) -> list[str]:
    """Notes on what labels hold, see `check_content`.

    Raises:
        DataError: labels that nothing can be trained on.
    """
    problems, notes = content_of(pairs, recipe, task)
    if problems:
        raise DataError(gather(problems, heading=f"{len(problems)} problem(s) found:"))
    return notes


def content_of(
    pairs: Sequence[Pair], recipe: Recipe, task: CompleteTask | None
) -> tuple[list[str], list[str]]:
    """Problems and notes about what labels hold, for the task of a recipe."""
    if task is None or task.image_classes:
        return [], []
    return check_content(pairs, objects=task.context > 0, ignore=recipe.data.ignore_label)


def same_notes(same: Iterable[tuple[Pair, Pair]]) -> list[str]:
    """A note on validation images that are trained on too."""
    both = list(same)
    if not both:
        return []
    names = ", ".join(f"{other.image.source} is {pair.image.source}" for pair, other in both[:4])
    more = f" and {len(both) - 4} more" if len(both) > 4 else ""
    return [
        f"{len(both)} validation image(s) are training images too ({names}{more}). The scores of "
        "the validation say nothing about new images; keep such images out of one of the two."
    ]
