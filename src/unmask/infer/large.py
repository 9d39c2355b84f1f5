"""Which images are predicted in blocks."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from unmask.blocks.grid import LARGE
from unmask.infer.predictor import Predictor
from unmask.io import Image


def is_large(predictor: Predictor, image: Image) -> bool:
    """Whether the scores of an image should not be held in memory."""
    return 4 * predictor.task.channels() * network_size(predictor, image) > LARGE


def network_size(predictor: Predictor, image: Image) -> int:
    """Voxels of an image on its own grid or on the network's, the larger number."""
    # The foreground is not read for this.
    seen = replace(predictor.view, foreground=None).place(image).shape
    return max(prod(seen), prod(image.shape[1:]))
