"""What a folder is good for: a fitting preset, what would be trained, how long it would take."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np
import torch

from unmask.build import assemble_method, assemble_segmenter, build_crops, layout
from unmask.data.pairs import Audit, Pair, Paths, label_values, viewed
from unmask.data.portions import middle_box
from unmask.data.tables import CLASS, ImageClass, is_table, listed, read_table
from unmask.errors import DataError, gather, grouped
from unmask.io import open_image, open_labels
from unmask.io.inputs import Input
from unmask.io.paths import named_files
from unmask.memory import peak_memory
from unmask.metrics import SEMANTIC, default_metrics
from unmask.recipe import Recipe, load
from unmask.tasks.base import CompleteTask
from unmask.training.forward import Forward, Parcel
from unmask.training.parallel import make_fabric

Read = TypeVar("Read")

# More different values than a semantic label image ever has.
_MOST_CLASSES = 16
_INSTANCES = {2: "cells"}
# Label images that are looked at.
_LOOKED = 8
_Labels = list[np.ndarray]


def suggest(
    images: Paths, labels: Paths | None, *, allow_external: bool = False
) -> tuple[Recipe, str]:
    """The recipe that fits the first readable files, and how it is asked for.

    Without labels it is a pre-training preset; otherwise the number of axes decides, and whether
    the labels number objects or classes, or are a table of the classes of whole images.

    Raises:
        DataError: no image can be read; every problem at once.
    """
    first = partial(open_image, allow_external=allow_external)
    image = next(_readable([image for _, image in named_files(images)], first))
    if labels is None:
        return _advice(f"mae{image.ndim}d", [])
    if is_table(labels):
        names = sorted({line[CLASS] for path in listed(labels) for line in read_table(path)})
        return _advice(
            f"classify{image.ndim}d", [f"task.classes={json.dumps(names, ensure_ascii=False)}"]
        )
    seen: _Labels = []
    truths = [path for _, path in named_files(labels, labels=True)]
    read = partial(_read_labels, allow_external=allow_external)
    for each in _readable(truths[:_LOOKED], read):
        seen.append(each)
    values = sorted({int(value) for each in seen for value in label_values(each)})
    if not _are_classes(seen, values):
        return _advice(_INSTANCES.get(image.ndim, f"cells{image.ndim}d"), [])
    if values[-1] < _MOST_CLASSES:
        count = max(2, values[-1] + 1)
        return _advice(f"semantic{image.ndim}d", [f"task.classes={count}"])
    known = sorted({0, *values})
    settings = [f"task.classes={len(known)}", f"task.values={known}"]
    return _advice(f"semantic{image.ndim}d", settings)


def _are_classes(seen: _Labels, values: list[int]) -> bool:
    """Few values, most of which have several pieces: an object has one, a class many."""
    if len(values) > _MOST_CLASSES or not seen:
        return False
    several = [default_metrics(each) == SEMANTIC for each in seen]
    return sum(several) * 2 > len(several)


def _read_labels(path: Input, *, allow_external: bool) -> np.ndarray:
    labels = open_labels(path, allow_external=allow_external)
    return labels.read(middle_box(labels))[0]


def _readable(paths: Sequence[Input], read: Callable[[Input], Read]) -> Iterator[Read]:
    """What can be read; where nothing can, every problem at once."""
    problems: list[str] = []
    for path in paths:
        try:
            yield read(path)
        except (DataError, ImportError) as error:
            problems.append(str(error))
    if len(problems) == len(paths):
        raise DataError(gather(problems, heading=f"{len(problems)} problem(s) found:"))


def _advice(preset: str, settings: list[str]) -> tuple[Recipe, str]:
    words = "".join(f" --set '{line}'" for line in settings)
    return load(preset).with_settings(settings), f"What fits these files: --preset {preset}{words}"


def describe(audit: Audit, recipe: Recipe) -> Iterator[str]:
    """Lines about what was found: counts, shapes, types, notes, problems."""
    labeled = sum(pair.labels is not None for pair in audit.pairs)
    yield f"{len(audit.pairs)} usable image(s), {labeled} with labels; recipe {recipe.name!r}."
    kinds = Counter(
        (pair.image.shape, str(pair.image.dtype), pair.image.spacing) for pair in audit.pairs
    )
    for (shape, dtype, spacing), count in kinds.most_common(6):
        size = " x ".join(str(n) for n in shape[1:])
        where = "" if spacing is None else f", voxel {' x '.join(f'{s:g}' for s in spacing)}"
        yield f"  {count} of {size}, {shape[0]} channel(s), {dtype}{where}"
    if len(kinds) > 6:
        yield f"  and {len(kinds) - 6} more kinds"
    yield from (f"note: {note}" for note in grouped(audit.notes))
    yield from (f"PROBLEM: {problem}" for problem in grouped(audit.problems))


def forecast(pairs: Sequence[Pair], recipe: Recipe, *, steps: int = 3) -> Iterator[str]:
    """Lines on time and memory, from a few real updates on the first images."""
    assembly = assemble_segmenter(recipe) if recipe.task else assemble_method(recipe)
    objective, task = assembly.objective, assembly.task
    pairs = pairs[:4]
    if task is not None:
        pairs = [_labeled(pair, task) for pair in pairs]
    pairs = viewed(pairs, layout(recipe, task).view)
    crops = build_crops(recipe, pairs, task, pipeline=assembly.pipeline)
    fabric = make_fabric(1, recipe.train.precision)
    model = fabric.setup_module(Forward(objective))
    seconds = []
    for index in range(steps):
        begin = time.perf_counter()
        batch = crops.batch(index).to(fabric.device)
        fabric.backward(model(Parcel(batch)))
        seconds.append(time.perf_counter() - begin)
    parameters = sum(p.numel() for p in objective.parameters())
    yield f"Network: {parameters / 1e6:.1f} million parameters on {fabric.device}."
    total = min(seconds) * recipe.train.steps * recipe.train.accumulate
    yield (
        f"Forecast: {recipe.train.steps} updates of {recipe.train.batch_size} crops "
        f"{recipe.data.crop}, about {min(seconds):.2f} s each: {total / 60:.0f} minutes."
    )
    if (peak := _peak(fabric.device)) is not None:
        yield f"Memory: about {peak / 1e9:.1f} GB."


def _labeled(pair: Pair, task: CompleteTask) -> Pair:
    """The pair with labels; without its own, of one value, which costs as much time."""
    if pair.labels is not None:
        return pair
    value = 1 if task.image_classes else 0
    return replace(pair, labels=ImageClass("no labels", value).labels(pair.image))


def _peak(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return peak_memory()
