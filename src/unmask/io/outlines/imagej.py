"""ImageJ regions of interest: ``.roi`` and ``RoiSet.zip``, through roifile.

One ROI per object and plane; one with holes or several pieces is a composite (shape) ROI. The name
of a ROI is the id, so that the same ids are read back; in a volume it ends in ``-z`` and the number
of the plane, because Fiji takes names from the names of the files in the archive.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unmask.atomic import atomic_path
from unmask.errors import DataError, message
from unmask.io.outlines.drawn import Drawing, Drawn
from unmask.io.outlines.fill import ellipse
from unmask.io.outlines.trace import Outline
from unmask.lookup import optional_import

_NAME = re.compile(r"(\d+)(?:-z\d+)?")
# Corners are 16-bit numbers in the file; beyond that they are stored as float32 too.
_LARGEST = 2**15 - 1
_ENCLOSING = ("POLYGON", "FREEHAND", "TRACED")


def write_imagej(path: Path, outlines: Sequence[Outline], *, planes: int = 1) -> None:
    """Write all outlines as one archive of ROIs."""
    with atomic_path(path) as aside, zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as archive:
        for outline in outlines:
            end = f"-z{outline.plane + 1:04d}" if planes > 1 else ""
            roi = _encoded(outline, f"{outline.id}{end}", outline.plane + 1 if planes > 1 else 0)
            archive.writestr(f"{outline.id}{end}.roi", roi)


def read_imagej(path: Path) -> Drawing:
    """All ROIs of a ``.roi`` or ``.zip`` file.

    Raises:
        DataError: a ROI that encloses no area, such as a line or a point.
    """
    roifile = optional_import("roifile", "rois")
    found = roifile.roiread(path)
    rois = found if isinstance(found, list) else [found]
    objects, refused, notes = [], [], []
    for number, roi in enumerate(rois, 1):
        name = roi.name or f"ROI {number}"
        drawn = _drawn(roi, name)
        if drawn is None:
            refused.append(f"{name} ({roi.roitype.name.lower()})")
        else:
            objects.append(drawn)
        if roi.roitype.name == "RECT" and roi.rounded_rect_arc_size:
            notes.append(f"{name}: the rounded corners of the rectangle are filled.")
    if refused:
        raise DataError(
            message(
                path,
                expected="ROIs that enclose an area",
                found=f"{len(refused)} that do not: {', '.join(refused[:5])}",
                do="Delete lines, points and text from the ROI Manager and save again.",
            )
        )
    return Drawing(objects, notes=notes)


def _encoded(outline: Outline, name: str, position: int) -> bytes:
    roifile = optional_import("roifile", "rois")
    points = np.concatenate(outline.rings)[:, ::-1]
    if len(outline.rings) == 1:
        large = int(points.max()) > _LARGEST
        roi = roifile.ImagejRoi.frompoints(points.astype(float) if large else points, name=name)
        roi.roitype = roifile.ROI_TYPE.TRACED
    else:
        roi = roifile.ImagejRoi()
        roi.name = name
        roi.roitype = roifile.ROI_TYPE.RECT
        roi.left, roi.top = map(int, points.min(0))
        roi.right, roi.bottom = map(int, points.max(0))
        roi.multi_coordinates = np.concatenate([_path(ring) for ring in outline.rings])
        roi.shape_roi_size = len(roi.multi_coordinates)
    roi.position = position
    return roi.tobytes()


def _path(ring: np.ndarray) -> np.ndarray:
    """A ring as Java draws it: move to (0), lines to (1), close (4)."""
    steps = np.ones((len(ring), 3), np.float32)
    steps[0, 0] = 0
    steps[:, 1:] = ring[:, ::-1]
    return np.append(steps.reshape(-1), np.float32(4))


def _drawn(roi: Any, name: str) -> Drawn | None:
    plane = (roi.z_position or roi.position) - 1
    found = _NAME.fullmatch(name)
    key, position = int(found[1]) if found else None, plane if plane >= 0 else None
    kind, subtype = roi.roitype.name, roi.subtype.name
    if subtype in ("TEXT", "ARROW", "IMAGE"):
        return None
    if roi.composite:
        rings = [ring[:, ::-1].astype(float) for ring in roi.coordinates(multi=True)]
        return Drawn(name, ([ring for ring in rings if len(ring) > 2],), key=key, plane=position)
    left, top, right, bottom = roi.left, roi.top, roi.right, roi.bottom
    if roi.subpixelrect:
        left, top = roi.xd, roi.yd
        right, bottom = left + roi.widthd, top + roi.heightd
    if kind == "RECT":
        ring = np.array([[top, left], [top, right], [bottom, right], [bottom, left]], float)
        return Drawn(name, ([ring],), key=key, plane=position)
    if kind == "OVAL":
        center = np.array([top + bottom, left + right]) / 2
        axes = np.diag([bottom - top, right - left]) / 2
        return Drawn(
            name, paint=lambda shape: ellipse(center, axes, shape), key=key, plane=position
        )
    if kind not in _ENCLOSING or not roi.n_coordinates:
        return None
    ring = np.asarray(roi.coordinates(), float)[:, ::-1]
    return Drawn(name, ([ring],), key=key, plane=position)
