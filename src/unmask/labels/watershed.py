"""Fragments by watershed on the distance to boundaries, or on the affinities themselves, n axes.

On the distance seeds are the maxima of the distance to the next boundary (Funke et al. 2018,
doi:10.1109/TPAMI.2018.2835450; Beier et al. 2017, doi:10.1038/nmeth.4151), and the boundaries are
those of affinities. On the affinities fragments are basins, see ``basins``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from bioimage_cpp.distance import distance_transform
from bioimage_cpp.filters import gaussian_smoothing
from bioimage_cpp.segmentation import watershed
from numpy.typing import NDArray
from skimage import segmentation
from skimage.morphology import local_maxima

from unmask.errors import DataError, message
from unmask.labels.basins import basins
from unmask.labels.components import connected_components
from unmask.labels.edges import Edges, inside, shift_slices
from unmask.labels.relabeling import relabel
from unmask.labels.small import sizes

# Axes that the compiled library knows.
_PLANE, _VOLUME = 2, 3


@dataclass(frozen=True)
class Watershed:
    """How affinities are cut into fragments.

    Attributes:
        on: "distance" to boundaries, or the "affinities" themselves (what waterz does), which keeps
            borders of one voxel or none; of the other options only ``per_slice``, ``low``,
            ``high`` and ``min_size`` count then.
        low: on affinities, voxels without a higher affinity are background.
        high: on affinities, neighbors of at least this affinity are always in one fragment.
        per_slice: cut every plane along the slowest axis on its own, for stacks of thick slices.
        boundary: how the edges of a voxel become its boundary value, one minus their "mean" or
            one minus the smallest ("max" of the boundary).
        threshold: boundary values above are walls, from which distances are measured.
        sigma: standard deviation in voxels by which distance and boundary are smoothed; 0: none.
        smooth_boundary: False smooths the distance only: fewer seeds, while the faces between
            fragments stay where the affinities are lowest.
        alpha: share of the boundary in the landscape that is flooded; the distance has the rest.
        min_size: fragments of fewer voxels are flooded by their neighbors.
        connectivity: neighbors of a maximum differ along at most so many axes; None: all.
        rim: what stands for edges that leave the image, the edge next to them ("copied") or the
            affinity that the channel has there ("given", as in published programs).
    """

    per_slice: bool = False
    boundary: Literal["mean", "max"] = "mean"
    threshold: float = 0.5
    sigma: float = 0.0
    smooth_boundary: bool = True
    alpha: float = 1.0
    min_size: int = 0
    connectivity: int | None = 1
    rim: Literal["copied", "given"] = "copied"
    on: Literal["distance", "affinities"] = "distance"
    low: float = 1e-4
    high: float = 0.9999

    def __post_init__(self) -> None:
        wrong = {
            "boundary": self.boundary not in ("mean", "max"),
            "threshold": not 0 <= self.threshold <= 1,
            "sigma": not self.sigma >= 0,
            "alpha": not 0 <= self.alpha <= 1,
            "min_size": self.min_size < 0,
            "rim": self.rim not in ("copied", "given"),
            "connectivity": self.connectivity is not None and self.connectivity < 1,
            "on": self.on not in ("distance", "affinities"),
            "low": not 0 <= self.low < self.high,
            "high": not self.low < self.high,
        }
        for name in (name for name, bad in wrong.items() if bad):
            raise DataError(
                message(
                    f"watershed: {name}",
                    expected="boundary mean or max, threshold and alpha in [0, 1], sigma and "
                    "min_size of 0 or more, connectivity of 1 or more or none, rim copied or "
                    "given, on distance or affinities, low of 0 or more and below high",
                    found=repr(getattr(self, name)),
                    do="Correct the option.",
                )
            )


def check_watershed(options: Mapping[str, Any] | Watershed | None) -> Watershed:
    """The options as a value.

    Raises:
        DataError: an unknown option, or one out of range.
    """
    if options is None or isinstance(options, Watershed):
        return options or Watershed()
    known = Watershed.__dataclass_fields__
    unknown = [name for name in options if name not in known]
    if unknown:
        raise DataError(
            message(
                "watershed",
                expected=f"some of {', '.join(known)}",
                found=", ".join(unknown),
                do="Correct the option.",
            )
        )
    return Watershed(**options)


def boundaries(edges: Edges, how: Watershed = Watershed()) -> NDArray[np.float32]:
    """``(*space)``: 0 inside objects, 1 between them, from edges to face neighbors.

    Edges that leave the image take the value of the voxel next to them. With ``per_slice`` edges
    along the slowest axis are left out.
    """
    axes = [c for c in edges.near if not (how.per_slice and edges.offsets[c][0])]
    axes = [c for c in axes if inside(edges.offsets[c], edges.space)]
    if how.rim == "given":
        inner = [edges.values[c] for c in axes]
    else:
        inner = [_inner(edges.values[c], edges.offsets[c]) for c in axes]
    if not inner:
        return np.zeros(edges.space, np.float32)
    if how.boundary == "max":
        return 1 - np.minimum.reduce(inner)
    return 1 - np.add.reduce(inner) * np.float32(1 / len(inner))


def kinship(edges: Edges) -> NDArray[np.float32]:
    """``(*space)``: the highest affinity of every voxel to any of its face neighbors, 1 without.

    Unlike a boundary it is low in the background only, and not in the last voxels of an object.
    """
    best = np.full(edges.space, -1, np.float32)
    for channel in edges.near:
        here, there = shift_slices(edges.space, edges.offsets[channel])
        for end in (here, there):
            np.maximum(best[end], edges.values[channel][here], out=best[end])
    return np.where(best < 0, np.float32(1), best)


def fragments(edges: Edges, how: Watershed = Watershed()) -> NDArray[np.int32]:
    """Cut affinities into fragments, most of which lie inside one object.

    Returns:
        ``(*space)`` int32 from 1, 0 outside the foreground; on affinities also where none is above
        ``low``.
    """
    if how.on == "affinities":
        return _basins(edges, how)
    landscape = boundaries(edges, how)
    objects = np.ones(edges.space, bool) if edges.foreground is None else edges.foreground
    if not how.per_slice or len(edges.space) == 1:
        return _cut(landscape, objects, how)
    labels = np.zeros(edges.space, np.int32)
    count = 0
    for plane, value, where in zip(labels, landscape, objects, strict=True):
        cut = _cut(value, where, how)
        plane[...] = np.where(cut > 0, cut + count, 0)
        count += int(cut.max(initial=0))
    return labels


def _basins(edges: Edges, how: Watershed) -> NDArray[np.int32]:
    """Fragments on the affinities; small ones are flooded by their neighbors."""
    labels = basins(edges, low=how.low, high=how.high, per_slice=how.per_slice)
    small = sizes(labels) < how.min_size
    small[0] = False
    if not small.any() or small[1:].all():
        return labels
    height = boundaries(edges, how)
    return relabel(flood(height, np.where(small[labels], 0, labels), labels > 0))


def flood(
    landscape: NDArray[np.floating], seeds: np.ndarray, foreground: NDArray[np.bool_] | None = None
) -> NDArray[np.int32]:
    """Grow ``seeds`` over ``landscape`` from low to high, until all foreground is taken.

    Args:
        landscape: ``(*space)`` finite heights.
        seeds: ``(*space)`` ids, 0 if there is none.
        foreground: ``(*space)`` where seeds may grow; None: everywhere.

    Returns:
        ``(*space)`` int32: ids of the seeds, 0 where none arrives.
    """
    ids = np.ascontiguousarray(seeds, np.int32)
    if not ids.size or not ids.any():
        return np.zeros(ids.shape, np.int32)
    if ids.ndim > _VOLUME:
        return segmentation.watershed(landscape, ids, mask=foreground).astype(np.int32)
    lead = (1,) * max(0, _PLANE - ids.ndim)
    shape = (*lead, *ids.shape)
    where = None if foreground is None else foreground.reshape(shape)
    height = np.asarray(landscape, np.float32).reshape(shape)
    return watershed(height, ids.reshape(shape), mask=where).reshape(ids.shape)


def _inner(values: NDArray[np.float32], offset: tuple[int, ...]) -> NDArray[np.float32]:
    """Values of one near channel; where the edge leaves the image that of the next voxel."""
    axis = next(a for a, step in enumerate(offset) if step)
    here, _ = shift_slices(values.shape, offset)
    width = [(0, 0)] * values.ndim
    width[axis] = (1, 0) if offset[axis] < 0 else (0, 1)
    return np.pad(values[here], width, mode="edge")


def _cut(
    boundary: NDArray[np.float32], objects: NDArray[np.bool_], how: Watershed
) -> NDArray[np.int32]:
    """Fragments of one landscape."""
    distance = np.asarray(distance_transform((boundary <= how.threshold) & objects))
    distance = _smooth(distance, how.sigma)
    height = _smooth(boundary, how.sigma if how.smooth_boundary else 0.0)
    peak = float(distance.max(initial=0))
    if how.alpha < 1 and peak > 0:
        share = np.float32(how.alpha)
        height = share * height + (1 - share) * (1 - distance / np.float32(peak))
    maxima = local_maxima(distance, connectivity=how.connectivity or distance.ndim)
    seeds = connected_components(maxima & objects, connectivity=how.connectivity)
    labels = flood(height, seeds, objects)
    if how.min_size > 0:
        keep = sizes(labels) >= how.min_size
        keep[0] = False
        if keep.any() and not keep[1:].all():
            labels = relabel(flood(height, np.where(keep[labels], labels, 0), objects))
    return _with_rest(labels, objects)


def _with_rest(labels: NDArray[np.int32], objects: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Foreground that no seed reaches becomes fragments of its own."""
    rest = objects & (labels == 0)
    if not rest.any():
        return labels
    pieces = connected_components(rest, connectivity=1)
    return np.where(rest, pieces + labels.max(), labels).astype(np.int32)


def _smooth(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    if sigma == 0 or image.size == 0:
        return np.asarray(image, np.float32)
    lead = (1,) * max(0, _PLANE - image.ndim)
    # An axis of one voxel has nothing to smooth over; the library wants a width above 0.
    wide = np.asarray(image, np.float32).reshape(*lead, *image.shape)
    return gaussian_smoothing(wide, sigma).reshape(image.shape)
