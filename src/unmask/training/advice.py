"""What a folder is good for: a fitting preset, and what would be trained."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np

from unmask.data.channels import check_channels
from unmask.data.drawn import DrawnLabels, label_files
from unmask.data.pairing import image_files
from unmask.data.pairs import Audit, Layout, Paths, label_values, open_as_seen
from unmask.data.portions import middle_box
from unmask.data.tables import CLASS, is_table, list_paths, read_table
from unmask.errors import DataError, gather, group_problems
from unmask.io import Image, open_labels
from unmask.io.inputs import Input
from unmask.metrics import SEMANTIC, default_metrics
from unmask.recipe import Recipe, load
from unmask.space.axes import SPACE
from unmask.wording import format_count

Read = TypeVar("Read")

# More different values than a semantic label image ever has.
_MOST_CLASSES = 16
_INSTANCES = {2: "cells"}
# Label images that are looked at.
_LOOKED = 8
_Labels = list[np.ndarray]


def suggest(
    images: Paths,
    labels: Paths | None,
    *,
    allow_external: bool = False,
    planned: tuple[str, list[str]] | None = None,
) -> tuple[Recipe, str]:
    """The recipe that fits the first readable files, and how it is asked for.

    Without labels it is a pre-training preset; otherwise the number of axes decides, and whether
    the labels number objects or classes, or are a table of the classes of whole images.

    Args:
        images: the images.
        labels: their labels.
        allow_external: stores may name files outside of their folder.
        planned: preset of a plan for these files with its settings, which has seen all labels.

    Raises:
        DataError: no image can be read; every problem at once.
    """
    image, axes = open_first(images, labels, Layout(0, allow_external=allow_external))
    named = [] if axes is None else [f"data.axes={axes}"]
    advise = partial(_advise, channels=image.shape[0], named=named)
    if planned is not None:
        return advise(*planned)
    if labels is None:
        return advise(f"mae{image.ndim}d", [])
    if is_table(labels):
        names = sorted({line[CLASS] for path in list_paths(labels) for line in read_table(path)})
        return advise(
            f"classify{image.ndim}d", [f"task.classes={json.dumps(names, ensure_ascii=False)}"]
        )
    seen: _Labels = []
    truths = [path for _, path in label_files(labels) if not isinstance(path, DrawnLabels)]
    if not truths:
        # Outlines are of objects.
        return advise(_INSTANCES.get(image.ndim, f"cells{image.ndim}d"), [])
    read = partial(_read_labels, allow_external=allow_external)
    for each in readable(truths[:_LOOKED], read):
        seen.append(each)
    values = sorted({int(value) for each in seen for value in label_values(each)})
    if not _are_classes(seen, values):
        return advise(_INSTANCES.get(image.ndim, f"cells{image.ndim}d"), [])
    if values[-1] < _MOST_CLASSES:
        count = max(2, values[-1] + 1)
        return advise(f"semantic{image.ndim}d", [f"task.classes={count}"])
    known = sorted({0, *values})
    settings = [f"task.classes={len(known)}", f"task.values={known}"]
    return advise(f"semantic{image.ndim}d", settings)


def open_first(images: Paths, labels: Paths | None, layout: Layout) -> tuple[Image, str | None]:
    """Open the first readable image, with as many spatial axes as its labels have.

    Labels have no channels. So if the first axis of an image has no name, and labels have one axis
    less, it holds channels.

    Returns:
        The image, and the axes to open the others with; None: their files name them.

    Raises:
        DataError: no image can be read with these axes; every problem at once.
    """
    paths = [path for _, path in image_files(images, [], wanted=layout.channels.wanted)]

    def find(rules: Layout) -> Image:
        return next(readable(paths, partial(open_as_seen, layout=rules, channels=None)))

    axes = None if layout.axes or labels is None else _label_axes(labels, layout)
    try:
        first = find(layout)
    except DataError:
        if axes is None:
            raise
        with suppress(DataError):
            return find(replace(layout, ndim=axes)), None
        named = f"C{SPACE[-axes:]}"
        return find(replace(layout, ndim=axes, axes=named)), named
    if axes is None or axes >= first.ndim:
        return first, layout.axes
    return find(replace(layout, ndim=axes)), None


def _label_axes(labels: Paths, layout: Layout) -> int | None:
    """Number of axes of the first readable label image; None for tables and outlines."""
    if is_table(labels):
        return None
    with suppress(DataError, ImportError):
        truths = [path for _, path in label_files(labels) if not isinstance(path, DrawnLabels)]
        read = partial(open_labels, allow_external=layout.allow_external)
        return next((found.ndim for found in readable(truths, read)), None)
    return None


def _are_classes(seen: _Labels, values: list[int]) -> bool:
    """Few values, most of which have several pieces: an object has one, a class many."""
    if len(values) > _MOST_CLASSES or not seen:
        return False
    several = [default_metrics(each) == SEMANTIC for each in seen]
    return sum(several) * 2 > len(several)


def _read_labels(path: Input, *, allow_external: bool) -> np.ndarray:
    labels = open_labels(path, allow_external=allow_external)
    return labels.read(middle_box(labels))[0]


def readable(paths: Sequence[Input], read: Callable[[Input], Read]) -> Iterator[Read]:
    """What can be read; where nothing can, every problem at once.

    Raises:
        DataError: nothing can be read.
    """
    problems: list[str] = []
    for path in paths:
        try:
            yield read(path)
        except (DataError, ImportError) as error:
            problems.append(str(error))
    if len(problems) == len(paths):
        raise DataError(gather(problems), problems)


def _advise(
    preset: str, settings: list[str], *, channels: int, named: Sequence[str]
) -> tuple[Recipe, str]:
    recipe, settings = load(preset), [*settings, *named]
    try:
        check_channels(channels, recipe.data.channels, source=preset)
        # Volumes have no colors and no alpha, so that no channel may be dropped.
        fits = recipe.data.ndim < 3 or channels in (1, recipe.data.channels)
    except DataError:
        fits = False
    if not fits:
        settings = [*settings, f"data.channels={channels}"]
    words = "".join(f" --set '{line}'" for line in settings)
    return load(preset).with_settings(settings), f"What fits these files: --preset {preset}{words}"


def describe(audit: Audit, recipe: Recipe | None) -> Iterator[str]:
    """Lines about what was found: counts, shapes, types, notes, problems.

    Args:
        audit: what was found.
        recipe: recipe of the training; None: it is planned.
    """
    labeled = sum(pair.labels is not None for pair in audit.pairs)
    name = "" if recipe is None else f"; recipe {recipe.name!r}"
    yield f"{format_count(len(audit.pairs), 'usable image')}, {labeled:,} with labels{name}."
    kinds = Counter(
        (pair.image.shape, str(pair.image.dtype), pair.image.spacing) for pair in audit.pairs
    )
    for (shape, dtype, spacing), count in kinds.most_common(6):
        size = " x ".join(str(n) for n in shape[1:])
        # "1 of 4 x 192 x 192" could be read as one of four planes.
        size += " voxels (z, y, x)" if len(shape) > len("CYX") else ""
        where = "" if spacing is None else f", voxel {' x '.join(f'{s:g}' for s in spacing)}"
        yield f"  {count} of {size}, {format_count(shape[0], 'channel')}, {dtype}{where}"
    if len(kinds) > 6:
        yield f"  and {len(kinds) - 6} more kinds"
    yield from (f"note: {note}" for note in group_problems(audit.notes))
    yield from (f"PROBLEM: {problem}" for problem in group_problems(audit.problems))
