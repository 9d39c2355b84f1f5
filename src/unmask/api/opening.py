"""Images of a prediction in memory: paths, arrays and opened images, as a model sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from unmask.data.pairs import Layout, open_as_seen
from unmask.errors import DataError, raise_problems
from unmask.infer.predictor import Predictor
from unmask.io import Image
from unmask.io.inputs import ArrayInput, Input, as_inputs, one_input
from unmask.space.axes import spatial
from unmask.space.spacing import check_spacing


def open_all(
    images: list[Any] | tuple[Any, ...],
    predictor: Predictor,
    layout: Layout,
    spacing: Sequence[float] | None,
) -> list[Image]:
    """Open all images of a list; all problems at once.

    Raises:
        DataError: images that cannot be read or do not fit the model.
    """
    opened: list[Image] = []
    problems: list[str] = []
    for each in as_inputs(images):
        try:
            opened.append(open_one(each, predictor, layout, spacing))
        except DataError as error:
            problems.append(str(error))
    raise_problems(problems)
    return opened


def open_one(
    image: Input, predictor: Predictor, layout: Layout, spacing: Sequence[float] | None
) -> Image:
    """An image in memory or in a file; ``spacing`` is that of an array."""
    given = one_input(image)
    opened = open_as_seen(given, layout, predictor.channels)
    in_memory = isinstance(given, ArrayInput) and not isinstance(given.data, Image)
    if spacing is None or not in_memory:
        return opened
    count = len(spatial(opened.axes))
    return replace(opened, spacing=check_spacing(spacing, count, source=opened.source))
