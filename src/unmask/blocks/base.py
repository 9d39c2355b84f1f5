"""What the engine needs of the work on a volume, and what it hands back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unmask.data.grid import Place
from unmask.io import Image
from unmask.progress import Progress
from unmask.space.box import Tile

# JSON values that are kept with the labels of a block.
Facts = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What decides about the result of every block.

    Attributes:
        facts: JSON values; two runs of equal facts give equal bytes on one machine.
        provenance: what is written next to the labels.
        largest: the largest label that there may be, for the type of the labels; None: as found.
        steps: steps of a block that ``progress`` counts.
        shared: steps of work for all blocks, such as stored scores.
        unit: what a block is called in messages.
    """

    facts: Mapping[str, Any]
    provenance: Mapping[str, Any]
    largest: int | None = None
    steps: int = 1
    shared: int = 0
    unit: str = "block"


class Labeler(Protocol):
    """Labels the blocks of one volume, in this process or in another one.

    A labeler for another process is pickled, so it holds paths in place of images and models.
    """

    def label(self, tile: Tile, *, progress: Progress | None = None) -> tuple[np.ndarray, Facts]:
        """Label one block.

        Args:
            tile: what is written of the volume, and that with the halo.
            progress: called with (steps done, steps in all) of the block.

        Returns:
            Labels ``(*tile.read.shape)``, and facts of the block. Where the grid has a halo, labels
            are ids of the block's own objects, which are then stitched; elsewhere they mean the
            same in all blocks.

        Raises:
            DataError: a part of the image that cannot be read or decoded.
        """
        ...


class Work(Protocol):
    """Labels of one volume, block by block: prediction or clustering."""

    def plan(self) -> Plan:
        """What decides about the result; an ended run is resumed only if its facts are equal."""
        ...

    def labeler(
        self, folder: Path, *, missing: int, remote: bool, progress: Progress | None
    ) -> AbstractContextManager[Labeler]:
        """What labels the blocks that are missing, inside a ``with`` block.

        Work that all blocks share may go on in a thread meanwhile. It is complete where the
        ``with`` block ends, and ends early where that is left with an error.

        Args:
            folder: of the unfinished work; files that all blocks share may be written there.
            missing: number of blocks to be labeled.
            remote: the labeler is sent to other processes, perhaps on other machines.
            progress: called with (steps done, steps in all) of the shared work.

        Raises:
            RecipeError: other processes cannot get the model or the image.
        """
        ...

    def finish(self, folder: Path) -> None:
        """Bring other results out of the folder, after the labels were written."""
        ...


@dataclass(frozen=True)
class Output:
    """Where the labels of a volume go.

    Attributes:
        path: the file or folder.
        like: the image that the labels belong to.
        place: the part and the grid of the image that is labeled; None: the whole image as it is.
        name: of the label image inside an OME-Zarr.
        work: next to this path unfinished work is kept; None: next to ``path``.
    """

    path: Path
    like: Image
    place: Place | None = None
    name: str = "labels"
    work: Path | None = None


@dataclass(frozen=True)
class Doubts:
    """Objects on which blocks do not agree.

    Attributes:
        ids: in the whole volume.
        boxes: ``(n, 2, ndim)`` first and one past the last voxel of each, as blocks have seen it.
    """

    ids: Sequence[int]
    boxes: NDArray[np.int64]


@dataclass(frozen=True)
class Outcome:
    """What is known of a volume that was labeled.

    Attributes:
        largest: the largest label; the number of objects where objects are stitched.
        facts: of every block, in their order.
        doubts: objects on which blocks do not agree.
    """

    largest: int
    facts: Sequence[Facts]
    doubts: Doubts
