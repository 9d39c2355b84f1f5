"""Synthetic images as the second source of a training, against forgetting (replay)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unmask.data.pairs import Paths
from unmask.errors import RecipeError, message
from unmask.io import Image
from unmask.io.inputs import as_inputs
from unmask.phantoms import FAMILIES, draw
from unmask.recipe import Recipe
from unmask.tasks.base import CompleteTask

_WORD = "phantoms"
# Images per family by number of axes; a volume takes much longer to draw than a plane.
_COUNT = {2: 8, 3: 2}
# Tasks that phantoms have labels for: objects. The classes of other tasks are the user's own.
_OF_OBJECTS = ("flows", "affinities", "boundary")


def families_of(images: Paths | None) -> list[str]:
    """Families that ``phantoms`` or ``phantoms:nuclei,worms`` names; empty for real images.

    Raises:
        RecipeError: a family does not exist.

    Examples:
        >>> families_of("phantoms:nuclei,worms")
        ['nuclei', 'worms']
        >>> families_of("images/")
        []
    """
    given = [] if images is None else as_inputs(images)
    if len(given) != 1 or not isinstance(given[0], str) or Path(given[0]).exists():
        return []
    word, _, names = given[0].partition(":")
    if word != _WORD:
        return []
    chosen = [name.strip() for name in names.split(",") if name.strip()] or list(FAMILIES)
    if unknown := [name for name in chosen if name not in FAMILIES]:
        raise RecipeError(
            message(
                f"--replay-images {given[0]}",
                expected=f"families of synthetic images ({', '.join(FAMILIES)})",
                found=", ".join(unknown),
                do="Give for example phantoms:nuclei,worms, or phantoms for all of them.",
            )
        )
    return chosen


def draw_source(
    names: Sequence[str], recipe: Recipe, task: CompleteTask | None
) -> tuple[Paths, Paths]:
    """Draw images and labels of families in memory; equal seeds draw the same.

    Raises:
        RecipeError: the task does not predict objects.
    """
    kind = recipe.task.name if recipe.task is not None else "none"
    if task is None or kind not in _OF_OBJECTS:
        raise RecipeError(
            message(
                "--replay-images phantoms",
                expected=f"a task of objects ({', '.join(_OF_OBJECTS)})",
                found=f"the task {kind}, whose classes synthetic images do not have",
                do="Leave it out; --init phantoms works with every task.",
            )
        )
    # 1.5 times a crop, so that rotations and zooms reach no border.
    shape = [max(32, round(1.5 * length)) for length in recipe.data.crop]
    count = _COUNT.get(len(shape), 2)
    ndim, images, labels = len(shape), [], []
    for name in names:
        for index, drawn in enumerate(draw(name, shape, count, seed=recipe.train.seed)):
            facts = {"name": f"phantoms_{name}_{index}", "ndim": ndim, "spacing": drawn.spacing}
            images.append(Image.from_array(drawn.image, **facts))
            labels.append(Image.from_array(drawn.labels, **facts))
    return images, labels
