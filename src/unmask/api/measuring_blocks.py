"""``measure --workers``: blocks of label images on workers, which open the files themselves.

The rows of all blocks are joined in this process, as those of blocks that are measured here, so the
table is the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count

import numpy as np

from unmask.api.measuring import MeasureOptions, choose_channels, divided_axes, find_scale
from unmask.blocks.scheduler import scheduler
from unmask.blocks.ship import in_memory
from unmask.io import Image
from unmask.io.identity import image_identity, is_in_files
from unmask.io.stacks import plane_of
from unmask.measurement.part import Part
from unmask.measurement.sources import Source, SourceFiles
from unmask.measurement.volume import Progress, divide, hold, measure_core
from unmask.space.box import Box

# Number of the source, of its position, and of the block.
Place = tuple[int, int, int]


@dataclass(frozen=True)
class Opening:
    """What a worker opens; equal values open the same.

    Attributes:
        files: of the source.
        channels: that are measured; None: all.
        marks: what changes when the files do, so that workers open a rewritten file again.
    """

    files: SourceFiles
    channels: tuple[int | str, ...] | None
    marks: tuple[str, ...]


@dataclass(frozen=True)
class Unit:
    """One block of one position of a label image.

    Attributes:
        place: in the list of results.
        opening: the files.
        position: on the divided axes; empty: the image is not divided.
        core: the block.
        spacing: voxel size, for surfaces.
    """

    place: Place
    opening: Opening
    position: tuple[int, ...]
    core: Box
    spacing: tuple[float, ...] | None


def measure_on_workers(
    sources: Sequence[Source],
    options: MeasureOptions,
    cluster: str,
    progress: Progress | None = None,
) -> list[list[list[Part]]]:
    """What all blocks give, by source and position.

    Args:
        sources: in files that every worker can read.
        options: how objects are measured.
        cluster: see ``unmask.blocks.scheduler``.
        progress: called with (blocks done, blocks in all) of all files.

    Raises:
        DataError: a part that cannot be read, or values that are not ids.
        RecipeError: there is no such scheduler, or something is in memory.
    """
    openings = [_opening(source, options) for source in sources]
    units = [
        unit
        for number, source in enumerate(sources)
        for unit in _units(number, source, openings[number], options)
    ]
    found: dict[Place, Part] = {}
    finished = count(1)

    def done(result: tuple[Place, Part]) -> None:
        place, part = result
        # As in one process: of blocks without objects a first one says how many columns there are.
        if len(part.ids) or place[2] == 0:
            found[place] = part
        if progress is not None:
            progress(next(finished), len(units))

    with scheduler(cluster) as run:
        run(measure_unit, units, done)
    parts: list[list[list[Part]]] = [[] for _ in sources]
    for number, position, block in sorted(found):
        if block == 0:
            parts[number].append([])
        parts[number][position].append(found[number, position, block])
    return parts


def measure_unit(unit: Unit) -> tuple[Place, Part]:
    """Measure one block, in any process.

    Raises:
        DataError: a part that cannot be read, or values that are not ids.
    """
    labels, image = _open_once(unit.opening)
    if unit.position:
        labels = plane_of(labels, unit.position)
        image = None if image is None else plane_of(image, unit.position)
    return unit.place, measure_core(labels, image, unit.core, unit.spacing)


def _opening(source: Source, options: MeasureOptions) -> Opening:
    """What workers open for a source.

    Raises:
        RecipeError: it is in memory.
    """
    images = [each for each in (source.labels, source.image) if each is not None]
    if source.files is None or not all(is_in_files(each) for each in images):
        raise in_memory()
    channels = None if options.channels is None else tuple(options.channels)
    return Opening(source.files, channels, tuple(image_identity(each) for each in images))


def _units(
    number: int, source: Source, opening: Opening, options: MeasureOptions
) -> Iterator[Unit]:
    """The blocks of all positions of a source."""
    image, _ = choose_channels(source.image, options.channels)
    divided = divided_axes(source.labels, options)
    for place, position in enumerate(np.ndindex(*source.labels.shape[1 : 1 + len(divided)])):
        labels = plane_of(source.labels, position) if position else source.labels
        other = plane_of(image, position) if position and image is not None else image
        scale = find_scale(labels, other, options, None)
        for block, core in enumerate(divide(labels.shape[1:])):
            spacing = None if scale is None else scale.spacing
            yield Unit((number, place, block), opening, position, core, spacing)


@lru_cache(maxsize=2)
def _open_once(opening: Opening) -> tuple[Image, Image | None]:
    """Labels and chosen channels; a format without parts is decoded once."""
    source = opening.files()
    image, _ = choose_channels(source.image, opening.channels)
    return hold(source.labels), None if image is None else hold(image)
