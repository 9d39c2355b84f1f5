"""Run an exported file and compare its scores with those of the network that it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from unmask.errors import CheckpointError, message
from unmask.exports.base import Format
from unmask.exports.network import Exported
from unmask.space.random import generator

# Differences of float32 sums in another order stay far below; the issue is wrong layers.
TOLERANCE = 1e-4
# Batch and, per axis, a factor of the tile.
_CASES = ((1, 1.0), (3, 0.63))


@dataclass(frozen=True)
class Comparison:
    """Scores of an exported file and of the network.

    Attributes:
        shapes: images that were compared, ``(B, C, *space)``.
        difference: largest difference of a score, relative to scores above 1.
    """

    shapes: tuple[tuple[int, ...], ...]
    difference: float


def check_shapes(
    channels: int, tile: Sequence[int], most: int = 1 << 17
) -> tuple[tuple[int, ...], ...]:
    """Two sizes of images and batches of 1 and 3; large tiles are cut to ``most`` voxels."""
    shrink = min(1.0, (most / np.prod(tile)) ** (1 / len(tile)))
    return tuple(
        (batch, channels, *(max(1, round(length * shrink * factor)) for length in tile))
        for batch, factor in _CASES
    )


def compare(
    network: Exported, form: Format, path: Path, shapes: Sequence[Sequence[int]]
) -> Comparison:
    """Compare a file with the network that it was made of.

    Raises:
        CheckpointError: scores differ, or are not numbers.
    """
    run = form.open(path)
    largest = 0.0
    for shape in shapes:
        image = generator(0, "export", *shape).random(shape, np.float32)
        with torch.no_grad():
            expected = network(torch.from_numpy(image)).numpy()
        found = run(image)
        scale = max(1.0, float(np.abs(expected).max()))
        same = found.shape == expected.shape
        difference = float(np.abs(found - expected).max()) / scale if same else np.inf
        largest = max(largest, difference)
        if not difference <= TOLERANCE:
            raise CheckpointError(
                message(
                    f"{form.title} file for images {tuple(shape)}",
                    expected=f"the scores of the network within {TOLERANCE:g}",
                    found=f"a difference of {difference:.2g}",
                    do="The file was not kept. Report this with the recipe of the model.",
                )
            )
    return Comparison(tuple(tuple(shape) for shape in shapes), largest)
