"""What is measured on labels: classes or objects, diameters, contacts, gaps, places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unmask.data.pairs import Pair
from unmask.data.portions import middle_box
from unmask.errors import DataError
from unmask.labels.components import connected_components
from unmask.labels.dropped import diameter
from unmask.labels.objects import find_objects
from unmask.labels.relabeling import relabel
from unmask.planning.image_facts import spread

# Label images that are read, spread evenly over all of them, and voxels of each.
_IMAGES = 48


@dataclass(frozen=True)
class LabelImage:
    """Measurements of one label image, or of the middle part of a large one.

    Attributes:
        ids: ``(n,)`` the values other than 0, ascending.
        sizes: ``(n,)`` voxels of each value.
        pieces: ``(n,)`` connected pieces of each value.
        centers: ``(n, ndim)`` centroid of each value, 0 to 1 along every axis.
        diameters: ``(n,)`` of the disk or ball of equal size, in voxels.
        extents: ``(n, ndim)`` lengths of the bounding boxes, in voxels.
        cut: ``(n,)`` whether the value touches the border of what was read.
        touching: ``(n,)`` whether a voxel of another value is a direct neighbor.
        space: ``(ndim,)`` lengths of the image, or of the part that was read.
        foreground: share of the voxels that are not 0.
        gap: mean thickness of the background between surfaces, in voxels; inf without surfaces.
    """

    ids: NDArray[np.int64]
    sizes: NDArray[np.int64]
    pieces: NDArray[np.int64]
    centers: NDArray[np.float64]
    diameters: NDArray[np.float64]
    extents: NDArray[np.int64]
    cut: NDArray[np.bool_]
    touching: NDArray[np.bool_]
    space: NDArray[np.int64]
    foreground: float
    gap: float


def measure_labels(pairs: Sequence[Pair], *, ignore_label: int | None = None) -> list[LabelImage]:
    """Measure label images: 48 at most, evenly spread, and the middle part of large ones.

    Args:
        pairs: opened images with labels; pairs without labels are left out.
        ignore_label: value without truth; it counts as background.

    Raises:
        DataError: labels that cannot be read.
    """
    labeled = [pair for pair in pairs if pair.labels is not None]
    return [_measure(_read(pair, ignore_label)) for pair in spread(labeled, _IMAGES)]


def _read(pair: Pair, ignore_label: int | None) -> np.ndarray:
    if pair.labels is None:
        raise DataError(f"{pair.name}: expected labels, found none. Give --labels.")
    values = pair.labels.read(middle_box(pair.labels))[0]
    return values if ignore_label is None else np.where(values == ignore_label, 0, values)


def _measure(values: np.ndarray) -> LabelImage:
    ids = np.unique(values)
    ids = ids[ids != 0]
    compact = relabel(values)
    objects = find_objects(compact)
    space = np.array(compact.shape)
    long = space > 1
    border = ((objects.start == 0) | (objects.stop == space))[:, long].any(axis=1)
    faces, touching = _surfaces(compact, len(ids))
    background = int(np.count_nonzero(compact == 0))
    return LabelImage(
        ids=ids.astype(np.int64),
        sizes=objects.size,
        pieces=_pieces(compact, len(ids)),
        centers=(objects.mean + 0.5) / space,
        diameters=diameter(objects.size, int(max(1, long.sum()))),
        extents=objects.stop - objects.start,
        cut=border,
        touching=touching,
        space=space,
        foreground=1 - background / max(1, values.size),
        # A layer between two parallel surfaces of area A has 2 A faces and a volume of A times
        # its thickness, so its thickness is twice the volume per face.
        gap=2 * background / faces if faces else float("inf"),
    )


def _surfaces(compact: np.ndarray, count: int) -> tuple[int, NDArray[np.bool_]]:
    """Faces between objects and background, and which objects touch another one."""
    faces = 0
    touching = np.zeros(count + 1, bool)
    for axis in range(compact.ndim):
        near = np.moveaxis(compact, axis, 0)
        one, two = near[:-1], near[1:]
        differs = one != two
        a, b = one[differs], two[differs]
        faces += int(np.count_nonzero((a == 0) | (b == 0)))
        both = (a != 0) & (b != 0)
        touching[a[both]] = touching[b[both]] = True
    return faces, touching[1:]


def _pieces(compact: np.ndarray, count: int) -> NDArray[np.int64]:
    """Connected pieces of every id."""
    parts = connected_components(compact)
    owner = np.zeros(int(parts.max(initial=0)) + 1, np.int64)
    owner[parts] = compact
    return np.bincount(owner[1:], minlength=count + 1)[1:]
