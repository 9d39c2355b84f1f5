"""Parts of images that are too large to be read at once, for checks of their content."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, prod

import numpy as np

from unmask.errors import DataError
from unmask.io import Image
from unmask.space.box import Box
from unmask.space.random import generator

# Images up to this size are read at once.
_WHOLE_BYTES = 256 * 2**20
_PORTION_BYTES = 64 * 2**20
# 2 GiB are read in about ten seconds; larger images are sampled.
_MOST_PORTIONS = 32
# Most chunks and tiles have edges that divide this.
_ALIGNED = 64


@dataclass(frozen=True)
class Portions:
    """Boxes of an image that are read one after another.

    Attributes:
        image: the image.
        boxes: the boxes, all or an even sample of a grid.
        total: boxes of the whole grid.
    """

    image: Image
    boxes: tuple[Box, ...]
    total: int

    @property
    def note(self) -> str:
        """A line about what was left out; "" if everything is read."""
        if len(self.boxes) == self.total:
            return ""
        size = " x ".join(map(str, self.boxes[0].shape))
        return (
            f"{self.image.source}: {len(self.boxes)} of {self.total} blocks of {size} voxels were "
            f"checked, because the image has {_nbytes(self.image) / 2**30:.1f} GiB."
        )

    def read(self) -> Iterator[tuple[Box, np.ndarray]]:
        """Every box with its values ``(C, *box.shape)``."""
        for box in self.boxes:
            yield box, self.image.read(box)


def portions(image: Image) -> Portions:
    """Boxes that cover an image, or 32 of them that are spread over it if it is very large.

    A file that can only be decoded whole is one box.
    """
    space = image.shape[1:]
    if image.whole or _nbytes(image) <= _WHOLE_BYTES:
        return Portions(image, (Box.of(space),), 1)
    edge = _edge(image, _PORTION_BYTES)
    counts = [ceil(length / edge) for length in space]
    total = prod(counts)
    numbers = range(total)
    if total > _MOST_PORTIONS:
        # The same boxes in every run, and both ends.
        drawn = generator(0, "portions").integers(0, total, _MOST_PORTIONS - 2)
        numbers = sorted({0, total - 1, *map(int, drawn)})
    boxes = tuple(_box(number, counts, edge, space) for number in numbers)
    return Portions(image, boxes, total)


def unreadable(image: Image) -> str:
    """What is wrong with the content of an image; "" if it can be read.

    A damaged file often has a whole header, so it opens. Of an image that is too large to be read
    at once the middle is read.
    """
    try:
        image.read(middle_box(image))
    except DataError as error:
        return str(error)
    return ""


def middle_box(image: Image, nbytes: int = _WHOLE_BYTES) -> Box:
    """The box in the middle of an image that has at most about ``nbytes``; the whole if it fits."""
    space = image.shape[1:]
    if image.whole or _nbytes(image) <= nbytes:
        return Box.of(space)
    edge = _edge(image, nbytes)
    start = tuple(max(0, (length - edge) // 2) for length in space)
    return Box(start, tuple(min(a + edge, n) for a, n in zip(start, space, strict=True)))


def _edge(image: Image, nbytes: int) -> int:
    """Edge of a cube (square) of so many bytes."""
    voxels = nbytes / (image.shape[0] * image.dtype.itemsize)
    return max(_ALIGNED, int(voxels ** (1 / image.ndim)) // _ALIGNED * _ALIGNED)


def _box(number: int, counts: list[int], edge: int, space: tuple[int, ...]) -> Box:
    start = []
    for count in reversed(counts):
        number, place = divmod(number, count)
        start.append(place * edge)
    start = tuple(reversed(start))
    return Box(start, tuple(min(a + edge, n) for a, n in zip(start, space, strict=True)))


def _nbytes(image: Image) -> int:
    return prod(image.shape) * image.dtype.itemsize
