"""What the network sees of an image: a part of it, on a grid of its own, and the way back.

The recipe names a voxel size and a threshold; of one image they become a `Place`, which makes lazy
images on the network's grid and brings labels and scores back to the image's own one. What is not
changed costs nothing: the same image is handed on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from math import prod

import numpy as np

from unmask.data.finite import check_finite
from unmask.data.resample import Line, interpolate, vote
from unmask.errors import DataError, message
from unmask.io import Image
from unmask.space.box import Box

# Bytes of an image that are read at once.
_SLAB_BYTES = 64 << 20

_Sample = Callable[[np.ndarray, Sequence[Line]], np.ndarray]

# A grid finer than this is a mistake in a unit, such as mm for um, and would fill any memory.
_FINER, _LARGEST = 1000, 1 << 26


@dataclass(frozen=True)
class Place:
    """The part of one image that is seen, and the grid it is seen on.

    Attributes:
        whole: lengths of the image.
        box: the part of it that is seen.
        shape: lengths of the grid over this part.
        spacing: voxel size of the grid.
        average: where the grid is coarser, its voxels are averages of what they cover.
    """

    whole: tuple[int, ...]
    box: Box
    shape: tuple[int, ...]
    spacing: tuple[float, ...] | None
    average: bool = False

    @property
    def factor(self) -> float:
        """Voxels of the grid for one of the image, the geometric mean over the axes."""
        ratios = [m / n for m, n in zip(self.shape, self.box.shape, strict=True) if n > 1]
        return prod(ratios) ** (1 / len(ratios)) if ratios else 1.0

    @cached_property
    def still(self) -> bool:
        """Whether the image is seen as it is."""
        return self.box == Box.of(self.whole) and self.shape == self.whole

    def seen(self, image: Image) -> Image:
        """The image ``(C, *shape)``, values interpolated when they are read.

        Reading raises a ``DataError`` for values that are not finite, with their place in the file.
        """
        return image if self.still else self._sample(image, interpolate)

    def seen_labels(self, labels: Image) -> Image:
        """The same part of a label image of lengths ``whole``; no new ids arise."""
        return labels if self.still else self._sample(labels, vote)

    def back(self, labels: np.ndarray) -> np.ndarray:
        """Labels ``(*shape)`` on the image's grid ``(*whole)``, 0 outside the part seen."""
        if self.still:
            return labels
        return self._return(labels[None], vote, Box.of(self.whole))[0]

    def back_scores(self, scores: np.ndarray) -> np.ndarray:
        """Scores ``(S, *shape)`` on the image's grid, 0 outside the part seen."""
        return scores if self.still else self._return(scores, interpolate, Box.of(self.whole))

    def part_back(self, labels: Image, box: Box) -> np.ndarray:
        """Labels in a box of the image's grid, out of a label image of lengths ``shape``."""
        return labels.read(box)[0] if self.still else self._return(labels, vote, box)[0]

    def scores_back(self, scores: Image, box: Box) -> np.ndarray:
        """Scores in a box of the image's grid, out of scores of lengths ``shape``."""
        return scores.read(box) if self.still else self._return(scores, interpolate, box)

    def cover(self, box: Box) -> Box:
        """The box of the network's grid between whose voxels those of ``box`` are interpolated."""
        part = box.relative_to(self.box)
        return _lines(Box.of(self.shape), self.box.shape, part, votes=False)[0]

    def interpolate_scores(self, scores: np.ndarray, box: Box) -> np.ndarray:
        """Scores ``(S, *box.shape)`` on the image's grid, out of those of ``cover(box)``.

        Args:
            scores: ``(S, *space)`` on the network's grid.
            box: of the image's grid, inside the part seen.
        """
        part = box.relative_to(self.box)
        lines = _lines(Box.of(self.shape), self.box.shape, part, votes=False)[1]
        result = np.empty((len(scores), *box.shape), scores.dtype)
        for channel, values in zip(result, scores, strict=True):
            channel[...] = interpolate(values, lines)
        return result

    def _sample(self, image: Image, sample: _Sample) -> Image:
        def fetch(index: tuple[slice, ...]) -> np.ndarray:
            channels, box = index[0], _box(index[1:])
            result = np.empty((channels.stop - channels.start, *box.shape), image.dtype)
            for slab in self._slabs(image, box):
                votes = sample is vote
                read, lines = _lines(
                    self.box, self.shape, slab, votes=votes, average=self.average and not votes
                )
                values = image.fetch((channels, *read.slices))
                corner = (channels.start, *read.start)
                selected = image.meta.get("selected")
                check_finite(values, image.source, corner=corner, selected=selected)
                place = slab.relative_to(box).slices
                for number, channel in enumerate(values):
                    result[(number, *place)] = sample(channel, lines)
            return result

        shape = (image.shape[0], *self.shape)
        # A writer would give the file's own affine to another grid.
        meta = {key: image.meta[key] for key in ("channels", "selected") if key in image.meta}
        return replace(image, shape=shape, fetch=fetch, spacing=self.spacing, meta=meta)

    def _slabs(self, image: Image, box: Box) -> list[Box]:
        """The box in parts along its first axis, each out of a bounded part of the image."""
        if image.whole:
            return [box]
        ratio = [n / m for n, m in zip(self.box.shape, self.shape, strict=True)]
        line = prod(n * r for n, r in zip(box.shape[1:], ratio[1:], strict=True))
        line *= ratio[0] * image.shape[0] * image.dtype.itemsize
        thick = max(1, int(_SLAB_BYTES / max(line, 1)))
        edges = [*range(box.start[0], box.stop[0], thick), box.stop[0]]
        return [Box((a, *box.start[1:]), (b, *box.stop[1:])) for a, b in pairwise(edges)]

    def _return(self, source: np.ndarray | Image, sample: _Sample, box: Box) -> np.ndarray:
        result = np.zeros((source.shape[0], *box.shape), source.dtype)
        inside = box.clip(self.box)
        if inside.size == 0:
            return result
        part = inside.relative_to(self.box)
        own = Box.of(self.shape)
        read, lines = _lines(own, self.box.shape, part, votes=sample is vote)
        values = source.read(read) if isinstance(source, Image) else source[:, *read.slices]
        place = inside.relative_to(box).slices
        for number, channel in enumerate(values):
            result[(number, *place)] = sample(channel, lines)
        return result


@dataclass(frozen=True)
class View:
    """How images are brought to what the network sees.

    Attributes:
        spacing: voxel size of the network's grid, slow axis first, in the unit of the files; None:
            that of each image.
        foreground: only the box of voxels above this value is seen; None: everything.
        scale: factor on the grid along every axis, or one for each axis, after ``spacing``; None:
            as it is.
    """

    spacing: tuple[float, ...] | None = None
    foreground: float | None = None
    scale: float | tuple[float, ...] | None = None

    @property
    def factor(self) -> float:
        """``scale`` as one number, the geometric mean over the axes."""
        if isinstance(self.scale, tuple):
            return prod(self.scale) ** (1 / len(self.scale))
        return 1.0 if self.scale is None else float(self.scale)

    def resized(self, factor: float) -> View:
        """The view on a grid of ``factor`` times as many voxels along every axis."""
        if factor == 1:
            return self
        if isinstance(self.scale, tuple):
            return replace(self, scale=tuple(each * factor for each in self.scale))
        return replace(self, scale=self.factor * factor)

    def check(self, image: Image) -> None:
        """Refuse an image whose voxels have no known size, where one is asked for.

        Raises:
            DataError: names the file.
        """
        if self.spacing is None:
            return
        if image.spacing is None:
            raise DataError(
                message(
                    image.source,
                    expected=f"a voxel size, to bring it to data.spacing={list(self.spacing)}",
                    found="none",
                    do="Save it in a format that keeps one, give spacing= with an array, or leave "
                    "the voxels as they are: --set data.spacing=null.",
                )
            )
        if len(self.spacing) != image.ndim:
            raise DataError(
                message(
                    image.source,
                    expected=f"{len(self.spacing)} spatial axes as data.spacing has",
                    found=f"{image.ndim} (size {tuple(image.shape[1:])})",
                    do="Give one voxel size for each axis, slow axis first.",
                )
            )

    def place(self, image: Image) -> Place:
        """The place of one image; reads it once where ``foreground`` asks for that.

        An image without a value above the threshold is seen whole.

        Raises:
            DataError: its voxel size is not known, or it cannot be read.
        """
        self.check(image)
        whole = tuple(image.shape[1:])
        box = Box.of(whole) if self.foreground is None else _foreground(image, self.foreground)
        wanted = [1.0] * len(whole)
        if self.spacing is not None and image.spacing is not None:
            wanted = [old / new for old, new in zip(image.spacing, self.spacing, strict=True)]
        factors = [w * f for w, f in zip(wanted, self._factors(image), strict=True)]
        # An axis of one voxel is a plane, not a thin slab: it has nothing to interpolate.
        if self.scale is not None:
            factors = [f if n > 1 else 1.0 for f, n in zip(factors, box.shape, strict=True)]
        shape = tuple(max(1, round(n * f)) for n, f in zip(box.shape, factors, strict=True))
        if prod(shape) > max(_LARGEST, _FINER * box.size):
            raise DataError(self._too_fine(image, box, shape))
        if image.spacing is None:
            return Place(whole, box, shape, None, average=self.scale is not None)
        pairs = zip(box.shape, shape, image.spacing, strict=True)
        sizes = tuple(size if n == m else n * size / m for n, m, size in pairs)
        return Place(whole, box, shape, sizes, average=self.scale is not None)

    def _too_fine(self, image: Image, box: Box, shape: Sequence[int]) -> str:
        """The message for a grid of so many voxels that one of the numbers must be wrong."""
        found = f"{box.size} voxels that become {prod(shape)}"
        if self.spacing is None:
            return message(
                image.source,
                expected="objects that are smaller in the image by a reasonable factor",
                found=found,
                do="Give another --diameter or infer.scale.",
            )
        spacing = None if image.spacing is None else list(image.spacing)
        return message(
            image.source,
            expected=f"voxels of about data.spacing={list(self.spacing)}",
            found=f"{spacing}, so {found}",
            do="Compare the units of both; correct one, or --set data.spacing=null.",
        )

    def _factors(self, image: Image) -> tuple[float, ...]:
        if not isinstance(self.scale, tuple):
            return (self.factor,) * image.ndim
        if len(self.scale) != image.ndim:
            raise DataError(
                message(
                    image.source,
                    expected=f"one infer.scale, or {image.ndim} for its {image.ndim} axes",
                    found=f"{len(self.scale)}: {list(self.scale)}",
                    do="Give one number, or one for each axis, slow axis first.",
                )
            )
        return self.scale


# Every voxel of a file, on its own grid.
AS_IT_IS = View()


def _foreground(image: Image, above: float) -> Box:
    """Box of the voxels with a value above ``above`` in any channel."""
    space = image.shape[1:]
    found = [np.zeros(length, bool) for length in space]
    line = prod(image.shape) // space[0] * image.dtype.itemsize
    thick = space[0] if image.whole else max(1, _SLAB_BYTES // max(1, line))
    for start in range(0, space[0], thick):
        stop = min(start + thick, space[0])
        slab = image.read(Box((start, *(0 for _ in space[1:])), (stop, *space[1:])))
        bright = (slab > above).any(axis=0)
        for axis, hits in enumerate(found):
            others = tuple(other for other in range(len(space)) if other != axis)
            part = slice(start, stop) if axis == 0 else slice(None)
            hits[part] |= np.logical_or.reduce(bright, axis=others)
    if not found[0].any():
        return Box.of(space)
    places = [np.flatnonzero(hits) for hits in found]
    return Box(tuple(int(p[0]) for p in places), tuple(int(p[-1]) + 1 for p in places))


def _box(index: Sequence[slice]) -> Box:
    return Box(tuple(part.start for part in index), tuple(part.stop for part in index))


def _lines(
    source: Box, target: Sequence[int], wanted: Box, *, votes: bool, average: bool = False
) -> tuple[Box, list[Line]]:
    """What ``wanted`` of a grid of ``target`` voxels over the box ``source`` needs of the array.

    Returns:
        A box of the array, and the places in it along each axis.
    """
    lines = [
        Line.between(*each, smooth=votes, average=average)
        for each in zip(source.shape, target, wanted.slices, strict=True)
    ]
    bounds = [line.bounds for line in lines]
    inner = Box(tuple(a for a, _ in bounds), tuple(b for _, b in bounds))
    # Whether a label is thin is seen by its neighbors.
    read = inner.grow((int(votes),) * len(lines)).clip(Box.of(source.shape))
    return read.shift(source.start), [
        line.moved(start) for line, start in zip(lines, read.start, strict=True)
    ]
