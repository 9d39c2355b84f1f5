"""Shapes of napari as CSV: ``index, shape-type, vertex-index, axis-0, axis-1`` (and more axes).

napari counts from the center of the first pixel, so half a pixel is added.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from unmask.errors import DataError, message
from unmask.io.outlines.drawn import Drawing, Drawn
from unmask.io.outlines.fill import ellipse

_COLUMNS = ("index", "shape-type", "vertex-index", "axis-0", "axis-1")


def read_napari(path: Path) -> Drawing:
    """All shapes of a file; a shape in a volume lies in one plane.

    Raises:
        DataError: other columns, lines and paths, or a shape through several planes.
    """
    with path.open(encoding="utf-8-sig", newline="", errors="replace") as handle:
        rows = list(csv.DictReader(handle))
    if not rows or set(_COLUMNS) - set(rows[0]):
        raise _strange(path, "other columns" if rows else "no rows")
    axes = sorted(name for name in rows[0] if name and name.startswith("axis-"))
    corners: dict[str, list[tuple[float, ...]]] = {}
    kinds: dict[str, str] = {}
    try:
        for row in rows:
            corners.setdefault(row["index"], []).append(tuple(float(row[name]) for name in axes))
            kinds[row["index"]] = row["shape-type"].strip().lower()
    except (TypeError, ValueError, AttributeError) as error:
        raise _strange(path, f"a row that is incomplete ({error})") from error
    return Drawing([_drawn(path, key, kinds[key], np.array(corners[key])) for key in corners])


def _drawn(path: Path, key: str, kind: str, corners: np.ndarray) -> Drawn:
    name = f"shape {key}"
    plane = None
    if corners.shape[1] > 2:
        planes = np.unique(np.rint(corners[:, :-2]), axis=0)
        if len(planes) > 1 or corners.shape[1] > 3:
            raise _strange(path, f"{name} through several planes")
        plane = int(planes[0, 0])
    points = corners[:, -2:] + 0.5
    if kind in ("polygon", "rectangle"):
        return Drawn(name, ([points],), plane=plane)
    if kind == "ellipse" and len(points) == 4:
        axes = np.stack([points[1] - points[0], points[3] - points[0]]) / 2
        center = points.mean(0)
        return Drawn(name, paint=lambda shape: ellipse(center, axes, shape), plane=plane)
    raise _strange(path, f"{name}, a {kind}, which encloses no area")


def _strange(path: Path, found: str) -> DataError:
    return DataError(
        message(
            path,
            expected=f"napari's polygons, rectangles and ellipses ({', '.join(_COLUMNS)})",
            found=found[:200],
            do="Save the shapes layer again, without lines and paths.",
        )
    )
