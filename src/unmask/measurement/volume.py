"""Measure a label image of any size, block by block."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from unmask.errors import DataError, message
from unmask.io import Image
from unmask.measurement.columns import object_columns
from unmask.measurement.compact import halo_box, number_block
from unmask.measurement.part import Part, combine, measure_block
from unmask.measurement.spanning import convex_size, look_again, median
from unmask.measurement.table import Table
from unmask.space.box import Box, tiles
from unmask.wording import format_count

# Voxels of a block; with labels, numbers and one channel some 300 MB.
BLOCK_VOXELS = 2**24
# Sums of squares of coordinates within a block stay below 2^63.
_LONGEST = 2**15

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Scale:
    """Voxel size ``spacing`` along the axes of space, in ``unit``."""

    spacing: tuple[float, ...]
    unit: str


def measure_image(
    labels: Image,
    image: Image | None = None,
    *,
    scale: Scale | None = None,
    names: Sequence[str] | None = None,
    block: Sequence[int] | None = None,
    parts: Sequence[Part] | None = None,
    progress: Progress | None = None,
) -> Table:
    """Measure every object of a label image.

    Args:
        labels: ids in one channel, read block by block.
        image: its channels, of the same shape.
        scale: voxel size; None: columns in voxels only.
        names: of the channels; None: those that the image's file names, or ``channel_0`` ...
        block: largest block; None: about 16 million voxels.
        parts: what all blocks gave, if they are measured already; see `divide` and `measure_core`.
        progress: called with (blocks done, blocks in all).

    Raises:
        DataError: image and labels of different shape, or values that are not ids.
    """
    if image is not None and image.shape[1:] != labels.shape[1:]:
        raise DataError(
            message(
                image.source,
                expected=f"the shape of its labels {labels.source}, {labels.shape[1:]}",
                found=f"{image.shape[1:]}",
                do="Give the image that the labels were made from.",
            )
        )
    # A format that decodes everything for every part is read once.
    labels, image = hold(labels), None if image is None else hold(image)
    shape = labels.shape[1:]
    spacing = scale.spacing if scale else None
    block = tuple(block) if block else block_shape(shape)
    if parts is None:
        parts = _measure_cores(labels, image, divide(shape, block), spacing, progress)
    part = _completed(combine(parts), labels, image, block)
    columns, spatial = object_columns(
        part,
        shape,
        axes=labels.axes.removeprefix("C").lower(),
        spacing=spacing,
        unit=scale.unit if scale else None,
        channels=tuple(channel_names(image, names)) if image is not None else (),
    )
    return Table(columns, spatial)


def divide(shape: Sequence[int], block: Sequence[int] | None = None) -> list[Box]:
    """The blocks of an image, in order; without their halo."""
    size = tuple(block) if block else block_shape(shape)
    return [tile.write for tile in tiles(tuple(shape), size, (0,) * len(shape))]


def _measure_cores(
    labels: Image,
    image: Image | None,
    cores: Sequence[Box],
    spacing: tuple[float, ...] | None,
    progress: Progress | None,
) -> list[Part]:
    """Measure block after block; those without objects are left out, except for a first one."""
    parts: list[Part] = []
    for done, core in enumerate(cores, 1):
        part = measure_core(labels, image, core, spacing)
        if len(part.ids) or not parts:
            parts.append(part)
        if progress is not None:
            progress(done, len(cores))
    return parts


def measure_core(
    labels: Image, image: Image | None, core: Box, spacing: tuple[float, ...] | None
) -> Part:
    """Measure one block; in a function of its own, so that nothing of it outlives the block."""
    shape = labels.shape[1:]
    read = halo_box(core, shape)
    numbers = number_block(labels.read(read)[0], read, core, shape)
    channels = None
    if image is not None:
        # A block without objects needs no pixels, only their type.
        empty = numbers.count == 1
        channels = (
            np.zeros((image.shape[0], *core.shape), image.dtype) if empty else image.read(core)
        )
    return measure_block(numbers, channels, spacing)


def block_shape(shape: Sequence[int], voxels: int = BLOCK_VOXELS) -> tuple[int, ...]:
    """Largest block of at most ``voxels``, nearly a cube: the longest axis is halved.

    Examples:
        >>> block_shape((100, 4096, 4096), 2**20)
        (100, 64, 128)
    """
    block = [min(n, _LONGEST) for n in shape]
    while math.prod(block) > voxels:
        longest = max(range(len(block)), key=lambda axis: block[axis])
        block[longest] = -(-block[longest] // 2)
    return tuple(block)


def channel_names(image: Image, names: Sequence[str] | None = None) -> list[str]:
    """A different name for each channel: given, from the file, or ``channel_0`` ...

    Raises:
        DataError: another number of names than of channels.
    """
    count = image.shape[0]
    known = list(names) if names is not None else _stored_names(image)
    if names is not None and len(known) != count:
        raise DataError(
            message(
                image.source,
                expected=f"a name for each of its {format_count(count, 'channel')}",
                found=f"{len(known)} ({', '.join(known)})",
                do="Give one name per channel, in order.",
            )
        )
    plain = [name or f"channel_{k}" for k, name in enumerate(known[:count])]
    plain += [f"channel_{k}" for k in range(len(plain), count)]
    return [name if plain.count(name) == 1 else f"{name}_{k}" for k, name in enumerate(plain)]


def _stored_names(image: Image) -> list[str]:
    found: Any = image.meta.get("channels") if isinstance(image.meta, Mapping) else None
    return [str(name or "").strip() for name in found] if isinstance(found, (list, tuple)) else []


def hold(image: Image) -> Image:
    """The image, decoded once if its format decodes everything for every part."""
    if not image.whole:
        return image
    array = image.read()
    return replace(image, fetch=lambda index: array[index].copy(), whole=False)


def _completed(part: Part, labels: Image, image: Image | None, block: Sequence[int]) -> Part:
    """The part with hulls and medians of the objects that span several blocks."""
    convex = part.convex.copy()
    values = part.values
    medians = None if values is None else values.median.copy()

    def read(box: Box) -> np.ndarray:
        return labels.read(box)[0]

    for k in np.flatnonzero(part.pieces > 1):
        bounds = Box(tuple(map(int, part.start[k])), tuple(map(int, part.stop[k])))
        key = int(part.ids[k])
        convex[k] = convex_size(look_again(read, bounds, key, block))
        if image is None or medians is None or values is None:
            continue
        for c in range(image.shape[0]):
            if np.isnan(values.sums[0, k, c]):
                medians[k, c] = np.nan
                continue

            def pieces(c: int = c, bounds: Box = bounds, key: int = key) -> Any:
                for box, mask in look_again(read, bounds, key, block):
                    yield _channel(image, c, box)[mask]

            medians[k, c] = median(pieces, int(part.size[k]))
    if values is not None and medians is not None:
        values = replace(values, median=medians)
    return replace(part, convex=convex, values=values)


def _channel(image: Image, channel: int, box: Box) -> np.ndarray:
    return image[(slice(channel, channel + 1), *box.slices)][0]
