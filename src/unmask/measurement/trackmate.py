"""Tracks of objects as a file that TrackMate opens: spots, links between them, tracks.

The elements are those of TrackMate's own files (https://imagej.net/plugins/trackmate); features
that it computes itself are left out, and it computes them when the file is opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np

from unmask.atomic import atomic_write
from unmask.io import Image
from unmask.measurement.tracks import TrackTable
from unmask.plain_text import printable

_VERSION = "7.11.1"


def write_trackmate_xml(table: TrackTable, path: Path, image: Image) -> None:
    """Write a movie's tracks as ``.xml`` of TrackMate.

    Positions and radii are in units of the voxel size; without one they are in pixels. An object
    is linked to the one before it in its track, the first object of a daughter to its mother.

    Args:
        table: spots and tracks.
        path: the file.
        image: the movie, for its size, voxel size and path.

    Raises:
        SaveError: the file cannot be written.
    """
    root = Xml.Element("TrackMate", version=_VERSION)
    unit = image.unit or "pixel"
    model = Xml.SubElement(root, "Model", spatialunits=unit, timeunits="frame")
    features = Xml.SubElement(model, "FeatureDeclarations")
    for name in ("SpotFeatures", "EdgeFeatures", "TrackFeatures"):
        Xml.SubElement(features, name)
    _add_spots(model, table)
    _add_tracks(model, table)
    settings = Xml.SubElement(root, "Settings")
    Xml.SubElement(settings, "ImageData", _image_data(image))
    Xml.SubElement(root, "GUIState", state="ConfigureViews")
    Xml.indent(root)
    text = Xml.tostring(root, encoding="unicode")
    atomic_write(path, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n')


def _add_spots(model: Xml.Element, table: TrackTable) -> None:
    spots = Xml.SubElement(model, "AllSpots", nspots=str(len(table.frame)))
    for frame in np.unique(table.frame).tolist():
        group = Xml.SubElement(spots, "SpotsInFrame", frame=str(frame))
        for number in np.flatnonzero(table.frame == frame).tolist():
            x, y, z = [*map(float, table.center[number][::-1]), 0.0][:3]
            values = {
                "ID": number, "name": f"{table.track[number]}", "VISIBILITY": 1, "QUALITY": 1.0,
                "RADIUS": float(table.radius[number]), "POSITION_X": x, "POSITION_Y": y,
                "POSITION_Z": z, "POSITION_T": float(frame), "FRAME": frame,
            }  # fmt: skip
            Xml.SubElement(group, "Spot", {name: str(value) for name, value in values.items()})


def _add_tracks(model: Xml.Element, table: TrackTable) -> None:
    """Tracks with their edges; a mother and her daughters are one track of TrackMate."""
    every, kept = Xml.SubElement(model, "AllTracks"), Xml.SubElement(model, "FilteredTracks")
    families: dict[int, list[tuple[int, int]]] = {}
    for family, edge in _edges(table):
        families.setdefault(family, []).append(edge)
    for number, edges in enumerate(families.values()):
        names = {"name": f"Track_{number}", "TRACK_ID": str(number), "TRACK_INDEX": str(number)}
        track = Xml.SubElement(every, "Track", names)
        for source, target in edges:
            Xml.SubElement(track, "Edge", SPOT_SOURCE_ID=str(source), SPOT_TARGET_ID=str(target))
        Xml.SubElement(kept, "TrackID", TRACK_ID=str(number))


def _edges(table: TrackTable) -> Iterator[tuple[int, tuple[int, int]]]:
    """Pairs of spots that follow each other, with the track of the first ancestor."""
    members: dict[int, list[int]] = {}
    for number in np.lexsort((table.frame, table.track)).tolist():
        members.setdefault(int(table.track[number]), []).append(number)
    for track, spots in members.items():
        mother, family = table.parents.get(track), track
        while (parent := table.parents.get(family)) in members:
            family = parent
        chain = [members[mother][-1], *spots] if mother in members else spots
        for pair in pairwise(chain):
            yield family, pair


def _image_data(image: Image) -> dict[str, str]:
    lengths = dict(zip(image.axes, image.shape, strict=True))
    sizes = dict(zip("ZYX"[-len(image.spacing or ()) :], image.spacing or (), strict=False))
    source = Path(image.source).absolute()
    return {
        "filename": printable(source.name, one_line=True),
        "folder": printable(source.parent, one_line=True),
        "width": str(lengths["X"]),
        "height": str(lengths["Y"]),
        "nslices": str(lengths.get("Z", 1)),
        "nframes": str(lengths.get("T", 1)),
        "pixelwidth": str(sizes.get("X", 1.0)),
        "pixelheight": str(sizes.get("Y", 1.0)),
        "voxeldepth": str(sizes.get("Z", 1.0)),
        "timeinterval": "1.0",
    }
