"""The figures of a segmenter on images that were held out: they choose the best model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unmask.api.classes import class_figures, shares_of
from unmask.data.normalize import Normalizer
from unmask.data.pairs import Pair
from unmask.infer.load import make_predictor
from unmask.infer.predictor import Predictor
from unmask.metrics import evaluate_pair, summarise
from unmask.recipe import Recipe
from unmask.tasks.segmenter import Segmenter


def validated(
    segmenter: Segmenter,
    recipe: Recipe,
    pairs: Sequence[Pair],
    *,
    normalize: Normalizer | None = None,
) -> dict[str, float]:
    """The task's metrics over whole decoded images, spread evenly over ``pairs``.

    Args:
        segmenter: what is measured.
        recipe: its recipe.
        pairs: images and labels that were held out.
        normalize: the recipe's normalization, if it is built already.
    """
    # One view is enough to compare models with each other, at a fraction of the cost of several.
    infer = recipe.infer.model_copy(update={"tta": False, "mirror_positions": False})
    changed = recipe.model_copy(update={"infer": infer})
    predictor = make_predictor([segmenter], changed, segmenter.task, normalize)
    step = max(1, -(-len(pairs) // recipe.train.validate_images))
    measure = _of_classes if segmenter.task.image_classes else _of_labels
    names = recipe.train.metrics or predictor.task.metrics
    return measure(predictor, pairs[::step], names, recipe.data.ignore_label)


def _of_labels(
    predictor: Predictor, pairs: Sequence[Pair], names: Sequence[str], ignore: int | None
) -> dict[str, float]:
    """Mean over the images."""
    rows = [
        evaluate_pair(
            pair.labels.read()[0],
            predictor.predict(pair.image).labels,
            names,
            spacing=pair.image.spacing,
            ignore=ignore,
        )
        for pair in pairs
        if pair.labels is not None
    ]
    return {name: entry["mean"] for name, entry in summarise(rows).items()}


def _of_classes(
    predictor: Predictor, pairs: Sequence[Pair], names: Sequence[str], ignore: int | None
) -> dict[str, float]:
    """One number for all images together: each of them is one answer."""
    truth, shares = [], []
    for pair in pairs:
        if pair.labels is None or (value := int(pair.labels.read().flat[0])) in (0, ignore):
            continue
        truth.append(value)
        shares.append(shares_of(predictor, pair.image))
    return class_figures(np.array(truth), np.array(shares).T, names)
