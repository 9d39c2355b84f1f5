"""Outlines of all objects of a label image along the edges of pixels, in one pass.

Vertices are corners of pixels: the pixel in row y and column x lies between the corners ``(y, x)``
and ``(y + 1, x + 1)``. An outline filled again by `unmask.io.outlines.fill` gives the same pixels;
a contour through pixel centers (``skimage.measure.find_contours``) does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unmask.kernels import njit

Ring = NDArray[np.int32]


@dataclass(frozen=True)
class Outline:
    """The outline of one object in one plane.

    Attributes:
        id: value of the label image.
        rings: ``(n, 2)`` corners (y, x) each, not closed; no ring meets a corner twice. A pixel
            belongs to the object if an odd number of rings surrounds it.
        plane: position on the first axis of a volume.
    """

    id: int
    rings: tuple[Ring, ...]
    plane: int = 0

    @property
    def polygons(self) -> list[list[Ring]]:
        """Pieces, each its outer ring and the rings of its holes."""
        outer = [ring for ring in self.rings if _area(ring) > 0]
        holes = [ring for ring in self.rings if _area(ring) < 0]
        pieces = [[ring] for ring in outer]
        for hole in holes:
            pieces[_owner(hole, outer)].append(hole)
        return pieces


def trace(labels: np.ndarray) -> list[Outline]:
    """Outlines of all objects, by plane and by ascending id.

    Args:
        labels: unsigned ids ``(y, x)`` or ``(z, y, x)``; a volume is traced plane by plane.
    """
    planes = labels.reshape(-1, *labels.shape[-2:])
    found: list[Outline] = []
    for position, plane in enumerate(planes):
        found += trace_plane(plane, position)
    return found


def trace_plane(plane: np.ndarray, position: int = 0) -> list[Outline]:
    """Outlines of all objects of one plane ``(y, x)``, by ascending id."""
    # Two types keep the compiled kernel to two versions.
    padded = np.zeros([n + 2 for n in plane.shape], np.uint32 if plane.itemsize <= 4 else np.uint64)
    padded[1:-1, 1:-1] = plane
    ids, begins, points, pinched = _trace(padded, _count_corners(padded))
    rings: dict[int, list[Ring]] = {}
    for k, key in enumerate(ids.tolist()):
        ring = points[begins[k] : begins[k + 1]]
        rings.setdefault(key, []).extend(_simple(ring) if pinched[k] else [ring])
    return [Outline(key, tuple(rings[key]), position) for key in sorted(rings)]


def _simple(ring: Ring) -> list[Ring]:
    """Rings without a corner that comes twice, from one that touches itself.

    Otherwise an object that encloses a hole by a diagonal step would have one ring that crosses
    itself there, which is no valid polygon.
    """
    found: list[Ring] = []
    path: list[tuple[int, int]] = []
    place: dict[tuple[int, int], int] = {}
    for y, x in ring.tolist():
        corner = (y, x)
        if corner in place:
            begin = place[corner]
            found.append(np.array(path[begin:], np.int32))
            for gone in path[begin + 1 :]:
                del place[gone]
            del path[begin + 1 :]
        else:
            place[corner] = len(path)
            path.append(corner)
    found.append(np.array(path, np.int32))
    return found


def _area(ring: Ring) -> float:
    """Signed area, above 0 for an outer ring."""
    y, x = ring[:, 0].astype(np.int64), ring[:, 1].astype(np.int64)
    return 0.5 * float((np.roll(y, -1) * x - np.roll(x, -1) * y).sum())


def _owner(hole: Ring, outer: list[Ring]) -> int:
    """Index of the smallest outer ring around the pixel of the object next to a hole."""
    if len(outer) == 1:
        return 0
    step = np.sign(hole[1] - hole[0])
    # The object is on the right; to the right of +x is +y.
    center = hole[0] + 0.5 * step + 0.5 * np.array([step[1], -step[0]])
    around = [k for k, ring in enumerate(outer) if _inside(center, ring)]
    return min(around, key=lambda k: _area(outer[k]))


def _inside(point: NDArray[np.float64], ring: Ring) -> bool:
    following = np.roll(ring, -1, 0)
    vertical = ring[:, 1] == following[:, 1]
    low = np.minimum(ring[:, 0], following[:, 0])
    high = np.maximum(ring[:, 0], following[:, 0])
    crossed = vertical & (low < point[0]) & (high > point[0]) & (ring[:, 1] < point[1])
    return bool(crossed.sum() % 2)


@njit(cache=True, nogil=True)
def _count_corners(padded):  # pyright: ignore[reportMissingParameterType]
    """Corners of all rings: each is the convex or the concave corner of one pixel."""
    total = 0
    for y in range(1, padded.shape[0] - 1):
        for x in range(1, padded.shape[1] - 1):
            value = padded[y, x]
            if value == 0:
                continue
            for dy in (-1, 1):
                vertical = padded[y + dy, x] == value
                for dx in (-1, 1):
                    if vertical == (padded[y, x + dx] == value):
                        total += not vertical or padded[y + dy, x + dx] != value
    return total


@njit(cache=True, nogil=True)
def _trace(padded, corners):  # pyright: ignore[reportMissingParameterType]
    """Rings of a plane with a border of 0: ids, begins, corners, and whether a ring is pinched.

    The object is on the right. Where only two diagonal pixels belong to it, a ring stays with its
    pixel, so pieces that touch by a corner have rings of their own.
    """
    height, width = padded.shape
    seen = np.zeros((height, width), np.bool_)
    points, used = np.empty((corners, 2), np.int32), 0
    begins, ids = np.zeros(corners // 4 + 1, np.int64), np.zeros(corners // 4 + 1, np.uint64)
    pinched, rings = np.zeros(corners // 4 + 1, np.bool_), 0
    for top in range(1, height - 1):
        for left in range(1, width - 1):
            value = padded[top, left]
            if value == 0 or padded[top - 1, left] == value or seen[top, left]:
                continue
            begins[rings], ids[rings] = used, value
            y, x, direction, closed = top, left, 0, False
            while not closed:
                points[used, 0], points[used, 1] = y - 1, x - 1
                used += 1
                y, x, direction, pinch = _follow(padded, seen, y, x, direction, value)
                pinched[rings] |= pinch
                closed = y == top and x == left and direction == 0
            rings += 1
    begins[rings] = used
    return ids[:rings], begins[: rings + 1], points, pinched[:rings]


@njit(cache=True, nogil=True)
def _follow(padded, seen, y, x, direction, value):  # pyright: ignore[reportMissingParameterType]
    """Go straight on to the next corner at which the ring turns: corner, direction, pinched."""
    while True:
        if direction == 0:
            seen[y, x] = True
        # Pixels ahead, the one on the right and the other on the left of the way.
        y += (direction == 1) - (direction == 3)
        x += (direction == 0) - (direction == 2)
        right = padded[y - (direction >= 2), x - (direction == 1 or direction == 2)] == value
        other = padded[y - (direction == 0 or direction == 3), x - (direction >= 2)] == value
        if not right:
            return y, x, (direction + 1) % 4, other
        if other:
            return y, x, (direction + 3) % 4, False
