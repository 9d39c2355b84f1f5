"""Where windows come from: an image that is checked, brought to the network's channels, normalized.

Lines are read once, in order: the lines that two rows of windows share are kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from unmask.data.channels import match_channels
from unmask.data.finite import check_finite
from unmask.data.normalize import Measured, Normalizer
from unmask.errors import DataError, message
from unmask.io import Image
from unmask.space.box import Box

# Images up to this size are read whole; larger ones line by line.
_WHOLE_BYTES = 32 << 20
# Voxels per channel from which a large image is measured.
_SAMPLE = 1 << 22
_SAMPLED_BOXES = 64


class ArraySource:
    """Windows of an array ``(C, *space)`` that is network input already."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    @property
    def shape(self) -> tuple[int, ...]:
        """``(C, *space)``."""
        return self._array.shape

    def lines(self, start: int, stop: int) -> np.ndarray:
        """A view of some lines."""
        return self._array[:, start:stop]

    def prepare(self, crop: np.ndarray) -> np.ndarray:
        """The crop as float32."""
        return crop.astype(np.float32, copy=False)


class ImageSource:
    """Windows of an image, with ``channels`` channels, normalized.

    Args:
        image: the image; read whole where it is small, or cannot be read in parts.
        channels: channels that the network sees.
        normalize: measures the image, or evenly spread samples of a large one.

    Raises:
        DataError: no voxels, values that are not finite, or channels that do not fit.
    """

    def __init__(self, image: Image, *, channels: int, normalize: Normalizer) -> None:
        self._image, self._channels = image, channels
        self.shape = (channels, *image.shape[1:])
        if min(image.shape) < 1:
            raise DataError(
                message(
                    image.source,
                    expected="at least one voxel along every axis",
                    found=f"shape {tuple(image.shape)}",
                    do="Remove the file.",
                )
            )
        small = prod(image.shape) * image.dtype.itemsize <= _WHOLE_BYTES
        self._whole = (
            self._check(image.read(), (0,) * len(image.shape)) if small or image.whole else None
        )
        measured = self._samples() if self._whole is None else self._whole
        self._affine: Measured = normalize.measure(measured)
        # Wide types are normalized line by line, once, because overlapping crops would do it often.
        self._wide = measured.dtype.itemsize > 2
        self._kept: tuple[int, np.ndarray] | None = None

    @property
    def measured(self) -> Measured:
        """What brings any crop of this image to its range."""
        return self._affine

    def lines(self, start: int, stop: int) -> np.ndarray:
        """Lines with the network's channels; they keep their type where it is narrow."""
        if self._whole is not None and not self._wide:
            return self._whole[:, start:stop]
        lines = self._join_lines(start, stop)
        self._kept = (start, lines)
        return lines

    def prepare(self, crop: np.ndarray) -> np.ndarray:
        """The crop normalized, float32."""
        return crop if self._wide else self._affine.apply(crop)

    def box(self, box: Box) -> np.ndarray:
        """A part inside the image, normalized, float32; boxes may come in any order."""
        if self._whole is not None:
            part = self._whole[:, *box.slices]
        else:
            part = self._check(self._image.read(box), (0, *box.start))
        return self._affine.apply(part)

    def _join_lines(self, start: int, stop: int) -> np.ndarray:
        """The kept lines that are still wanted, and new ones behind them."""
        kept_start, kept = self._kept if self._kept is not None else (start, None)
        if kept is None or not kept_start <= start < kept_start + kept.shape[1]:
            return self._read_new(start, stop)
        old = kept[:, start - kept_start : stop - kept_start]
        following = start + old.shape[1]
        if following >= stop:
            return old
        new = self._read_new(following, stop)
        lines = np.empty((old.shape[0], stop - start, *old.shape[2:]), old.dtype)
        lines[:, : old.shape[1]] = old
        lines[:, old.shape[1] :] = new
        return lines

    def _read_new(self, start: int, stop: int) -> np.ndarray:
        rest = self.shape[2:]
        if self._whole is not None:
            lines = self._whole[:, start:stop]
        else:
            box = Box((start, *(0 for _ in rest)), (stop, *rest))
            lines = self._check(self._image.read(box), (0, *box.start))
        return self._affine.apply(lines) if self._wide else lines

    def _check(self, array: np.ndarray, corner: tuple[int, ...]) -> np.ndarray:
        """The part of the image at ``corner``, finite and with the network's channels."""
        selected = self._image.meta.get("selected")
        check_finite(array, self._image.source, corner=corner, selected=selected)
        return match_channels(array, self._channels, self._image.source)

    def _samples(self) -> np.ndarray:
        """``(C, n)`` values of boxes spread evenly over the image, always the same ones."""
        space = self.shape[1:]
        count = max(1, round(_SAMPLED_BOXES ** (1 / len(space))))
        edge = max(1, round(_SAMPLE ** (1 / len(space)) / count))
        parts: list[np.ndarray] = []
        for cell in np.ndindex(*(count for _ in space)):
            start = tuple(
                max(0, (2 * i + 1) * n // (2 * count) - edge // 2)
                for i, n in zip(cell, space, strict=True)
            )
            box = Box(start, tuple(a + edge for a in start)).clip(Box.of(space))
            part = self._check(self._image.read(box), (0, *start))
            parts.append(part.reshape(len(part), -1))
        return np.concatenate(parts, axis=1)


@dataclass(frozen=True)
class Known:
    """A normalizer for parts of an image that was measured as a whole.

    Attributes:
        measured: of the whole image.
    """

    measured: Measured

    def measure(self, image: np.ndarray) -> Measured:  # noqa: ARG002 - the protocol
        """What was measured."""
        return self.measured


def cut_image(image: Image, box: Box) -> Image:
    """A box of an image as an image; values that are not finite are named by their whole index."""

    def fetch(index: tuple[slice, ...]) -> np.ndarray:
        moved = (slice(p.start + a, p.stop + a) for p, a in zip(index[1:], box.start, strict=True))
        array = image.fetch((index[0], *moved))
        corner = [part.start + a for part, a in zip(index, (0, *box.start), strict=True)]
        check_finite(array, image.source, corner=corner, selected=image.meta.get("selected"))
        return array

    return replace(image, shape=(image.shape[0], *box.shape), fetch=fetch, whole=False)


def hold_whole(image: Image) -> Image:
    """The image, in memory if reading a part of the file costs as much as reading all of it."""
    if not image.whole:
        return image
    array = image.read()
    return replace(image, fetch=lambda index: array[index].copy(), whole=False)
