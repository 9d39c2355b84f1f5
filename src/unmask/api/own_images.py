"""Whether a model has learned the images that it was trained on, where no others are labeled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from unmask import checkpoint
from unmask.api.validation import HeldOut
from unmask.checkpoint.model import MODEL_FILE
from unmask.data.pairs import Pair, cut_middle
from unmask.recipe import Recipe
from unmask.tasks.segmenter import Segmenter

# Images that are looked at, spread evenly, and lengths of the part in their middle, in tiles.
_IMAGES, _TILES = 3, 2
# A lower score on its own images says that a model will fail on others.
_LEARNED = 0.5


def judge_own_images(
    folder: Path, segmenter: Segmenter, recipe: Recipe, pairs: Sequence[Pair]
) -> str | None:
    """Score the model of a run on parts of a few images that it was trained on.

    New images score lower, so a low score is a warning, and a high one says little.

    Args:
        folder: the run folder.
        segmenter: is overwritten with the weights of the model.
        recipe: recipe of the run.
        pairs: the training images, on the grid of the network.

    Returns:
        A sentence; None for the classification of whole images, and without objects or classes in
        these parts.
    """
    labeled = [pair for pair in pairs if pair.labels is not None]
    if segmenter.task.image_classes or not labeled:
        return None
    # The images are on the grid of the network already.
    seen = recipe.with_settings(["data.scale=null", "data.spacing=null"])
    chosen = labeled[:: max(1, math.ceil(len(labeled) / _IMAGES))]
    size = [_TILES * length for length in recipe.infer.tile or recipe.data.crop]
    parts = [cut_middle(pair, size) for pair in chosen]
    path = folder / MODEL_FILE
    checkpoint.load_weights(segmenter, checkpoint.load_model(path).weights, source=path)
    name, score = next(iter(HeldOut(seen, parts)(segmenter).scores.items()))
    if not math.isfinite(score):
        return None
    text = f"On parts of {len(parts)} of its own training images the model has {name} {score:.3f}"
    if score >= _LEARNED:
        return f"{text}; new images will score lower."
    return (
        f"{text}: it has not learned them yet. Train for more updates, and look at the predictions "
        "and at the notes of unmask predict, which say why objects are dropped."
    )
