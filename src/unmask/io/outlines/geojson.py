"""GeoJSON as QuPath writes and reads it.

One feature per object and plane with ``objectType``, a name (the id) and ``measurements``.
Coordinates are corners of pixels at full resolution. A polygon's rings after the first are holes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from unmask.atomic import atomic_write
from unmask.io.outlines.drawn import Drawing, Drawn
from unmask.io.outlines.text import read_json, strange
from unmask.io.outlines.trace import Outline, Ring
from unmask.wording import format_count

_WHAT = "GeoJSON features with polygons"
# By id, or by (plane, id) where the objects of each plane are others.
Measurements = Mapping[Any, Mapping[str, float]]


def write_geojson(
    path: Path,
    outlines: Sequence[Outline],
    *,
    planes: int = 1,
    measurements: Measurements | None = None,
) -> None:
    """Write all outlines as a collection of QuPath's detections."""
    features = [_feature(outline, planes, measurements or {}) for outline in outlines]
    tree = {"type": "FeatureCollection", "features": features}
    atomic_write(path, json.dumps(tree, separators=(",", ":"), allow_nan=False))


def read_geojson(path: Path) -> Drawing:
    """All polygons of a file: a collection, a list of features, or one feature or geometry.

    Raises:
        DataError: no GeoJSON, or features that enclose no area.
    """
    tree = read_json(path)
    if isinstance(tree, Mapping) and isinstance(tree.get("features"), list):
        tree = tree["features"]
    features = tree if isinstance(tree, list) else [tree]
    objects, notes, nuclei = [], [], 0
    for number, feature in enumerate(features, 1):
        if not isinstance(feature, Mapping):
            raise strange(path, f"entry {number}: {type(feature).__name__}", _WHAT)
        objects.append(_drawn(path, feature, number))
        nuclei += "nucleusGeometry" in feature
    if nuclei:
        notes.append(
            f"{format_count(nuclei, 'cell has', 'cells have')} a nucleus, which is not read."
        )
    return Drawing(objects, notes=notes)


def _feature(outline: Outline, planes: int, measurements: Measurements) -> dict[str, Any]:
    polygons = [[_closed(ring) for ring in rings] for rings in outline.polygons]
    single = len(polygons) == 1
    geometry: dict[str, Any] = {
        "type": "Polygon" if single else "MultiPolygon",
        "coordinates": polygons[0] if single else polygons,
    }
    if planes > 1:
        geometry["plane"] = {"c": -1, "z": outline.plane, "t": 0}
    properties: dict[str, Any] = {"objectType": "detection", "name": str(outline.id)}
    known = measurements.get((outline.plane, outline.id)) or measurements.get(outline.id)
    if known is not None:
        properties["measurements"] = {
            name: float(value) for name, value in known.items() if isfinite(value)
        }
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _closed(ring: Ring) -> list[list[int]]:
    points = ring[:, ::-1].tolist()
    return [*points, points[0]]


def _drawn(path: Path, feature: Mapping[str, Any], number: int) -> Drawn:
    geometry = feature.get("geometry") if "geometry" in feature else feature
    properties = feature.get("properties") or {}
    name = str(properties.get("name") or feature.get("id") or f"feature {number}")
    if not isinstance(geometry, Mapping):
        raise strange(path, f"{name} without a geometry", _WHAT)
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    if kind not in ("Polygon", "MultiPolygon"):
        raise strange(path, f"{name}, a {kind}", _WHAT)
    polygons = [coordinates or ()] if kind == "Polygon" else coordinates or ()
    try:
        pieces = tuple(
            [np.array(ring, float)[:, 1::-1] for ring in polygon if len(ring)]
            for polygon in polygons
        )
    except (TypeError, ValueError, IndexError) as error:
        raise strange(path, f"{name} with coordinates that are not numbers", _WHAT) from error
    if not any(pieces):
        raise strange(path, f"{name} without coordinates", _WHAT)
    plane = geometry.get("plane")
    position = plane.get("z") if isinstance(plane, Mapping) else None
    return Drawn(
        name,
        tuple(piece for piece in pieces if piece),
        key=int(name) if name.isascii() and name.isdigit() else None,
        plane=position if isinstance(position, int) else None,
    )
