"""What a folder is good for: a fitting preset, what would be trained, how long it would take."""

from __future__ import annotations

import resource
import time
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from unmask.data.pairs import Audit, Pair, Paths
from unmask.errors import DataError
from unmask.io import list_files, open_image, open_labels
from unmask.models.base import Objective
from unmask.recipe import Recipe
from unmask.training.assemble import build_crops, new_method, new_segmenter
from unmask.training.parallel import make_fabric

# More different values than a semantic label image ever has.
_MOST_CLASSES = 16
_INSTANCES = {2: "cells"}


def suggest(images: Paths, labels: Paths | None) -> str:
    """Name of the preset that fits the first files: number of axes, instances or classes.

    Without labels it is a pre-training preset.
    """
    image = open_image(list_files(images)[0])
    if labels is None:
        return f"mae{image.ndim}d"
    values = _values(labels)
    consecutive = len(values) <= _MOST_CLASSES and values.max(initial=0) < _MOST_CLASSES
    if consecutive or set(values.tolist()) <= {0, 255}:
        return f"semantic{image.ndim}d"
    return _INSTANCES.get(image.ndim, f"cells{image.ndim}d")


def _values(labels: Paths) -> np.ndarray:
    for path in list_files(labels):
        values = np.unique(open_labels(path).read())
        if values.any():
            return values
    raise DataError("labels: expected at least one object, found only 0 in every file.")


def describe(audit: Audit, recipe: Recipe) -> Iterator[str]:
    """Lines about what was found: counts, shapes, types, notes, problems."""
    labelled = sum(pair.labels is not None for pair in audit.pairs)
    yield f"{len(audit.pairs)} usable image(s), {labelled} with labels; recipe {recipe.name!r}."
    kinds = Counter(
        (pair.image.shape, str(pair.image.dtype), pair.image.spacing) for pair in audit.pairs
    )
    for (shape, dtype, spacing), count in kinds.most_common(6):
        size = " x ".join(str(n) for n in shape[1:])
        where = "" if spacing is None else f", voxel {' x '.join(f'{s:g}' for s in spacing)}"
        yield f"  {count} of {size}, {shape[0]} channel(s), {dtype}{where}"
    if len(kinds) > 6:
        yield f"  and {len(kinds) - 6} more kinds"
    yield from (f"note: {note}" for note in audit.notes)
    yield from (f"PROBLEM: {problem}" for problem in audit.problems)


def forecast(pairs: Sequence[Pair], recipe: Recipe, *, steps: int = 3) -> Iterator[str]:
    """Lines on time and memory, from a few real updates on the first images."""
    objective: Objective = new_segmenter(recipe) if recipe.task else new_method(recipe)
    task = getattr(objective, "task", None)
    crops = build_crops(recipe, pairs[:4], task)
    fabric = make_fabric(1, recipe.train.precision)
    model = fabric.setup_module(objective)
    seconds = []
    for index in range(steps):
        begin = time.perf_counter()
        batch = crops.batch(index).to(fabric.device)
        fabric.backward(model(batch).loss)
        seconds.append(time.perf_counter() - begin)
    parameters = sum(p.numel() for p in objective.parameters())
    yield f"Network: {parameters / 1e6:.1f} million parameters on {fabric.device}."
    total = min(seconds) * recipe.train.steps * recipe.train.accumulate
    yield (
        f"Forecast: {recipe.train.steps} updates of {recipe.train.batch_size} crops "
        f"{recipe.data.crop}, about {min(seconds):.2f} s each: {total / 60:.0f} minutes."
    )
    yield f"Memory: about {_peak_gb(fabric.device):.1f} GB."


def _peak_gb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
