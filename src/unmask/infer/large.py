"""Which images are predicted in blocks."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from unmask.blocks.grid import LARGE
from unmask.infer.predictor import Predictor
from unmask.io import Image


def is_large(predictor: Predictor, image: Image) -> bool:
    """Whether the scores of an image should not be held in memory."""
    # Neither on its own grid nor on the network's; the foreground is not read for this.
    seen = replace(predictor.view, foreground=None).place(image).shape
    return 4 * predictor.task.channels() * max(prod(seen), prod(image.shape[1:])) > LARGE
