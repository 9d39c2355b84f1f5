"""LabelMe's JSON: polygons, rectangles, circles and masks in corners of pixels."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unmask.io.outlines.drawn import Drawing, Drawn
from unmask.io.outlines.fill import Filled, ellipse
from unmask.io.outlines.text import read_json, strange

_WHAT = "LabelMe's shapes"


def read_labelme(path: Path) -> Drawing:
    """All shapes of a file; those of one label and group are one object.

    Raises:
        DataError: not LabelMe's format, or shapes that enclose no area.
    """
    tree = read_json(path)
    shapes = tree.get("shapes")
    if not isinstance(shapes, list):
        raise strange(path, "other fields", _WHAT)
    groups: dict[Any, int] = {}
    objects = []
    for number, shape in enumerate(shapes, 1):
        if not isinstance(shape, Mapping):
            raise strange(path, f"shape {number}: {type(shape).__name__}", _WHAT)
        group = shape.get("group_id")
        name = number if group is None else (str(shape.get("label")), str(group))
        key = groups.setdefault(name, len(groups) + 1)
        objects.append(_drawn(path, shape, number, key))
    height, width = tree.get("imageHeight"), tree.get("imageWidth")
    size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    return Drawing(objects, size)


def _drawn(path: Path, shape: Mapping[str, Any], number: int, key: int) -> Drawn:
    kind = shape.get("shape_type") or "polygon"
    name = f"shape {number} ({shape.get('label')})"
    try:
        points = np.array(shape["points"], float).reshape(-1, 2)[:, ::-1]
    except (KeyError, TypeError, ValueError) as error:
        raise strange(path, f"{name} without points", _WHAT) from error
    if kind == "polygon":
        return Drawn(name, ([points],), key=key)
    if kind in ("rectangle", "circle", "mask") and len(points) >= 2:
        (y0, x0), (y1, x1) = points[0], points[1]
        if kind == "rectangle":
            ring = np.array([[y0, x0], [y0, x1], [y1, x1], [y1, x0]])
            return Drawn(name, ([ring],), key=key)
        if kind == "circle":
            axes = np.eye(2) * np.hypot(y1 - y0, x1 - x0)
            return Drawn(name, paint=lambda size: ellipse(points[0], axes, size), key=key)
        mask = _mask(path, shape.get("mask"), name)
        corner = int(min(y0, y1)), int(min(x0, x1))
        return Drawn(name, paint=lambda size: _placed(mask, corner, size), key=key)
    raise strange(path, f"{name}, a {kind}, which encloses no area", _WHAT)


def _mask(path: Path, text: Any, name: str) -> np.ndarray:
    # Every command that pairs files imports this module, and few shapes are masks.
    from PIL import Image as Pillow

    try:
        return np.array(Pillow.open(io.BytesIO(base64.b64decode(text)))) > 0
    except (TypeError, ValueError, OSError) as error:
        raise strange(path, f"{name} with a damaged mask", _WHAT) from error


def _placed(mask: np.ndarray, corner: tuple[int, int], shape: tuple[int, int]) -> Filled:
    """A mask at its place, cut to the image."""
    (top, left), (height, width) = corner, mask.shape[:2]
    rows = slice(max(-top, 0), max(shape[0] - top, 0))
    columns = slice(max(-left, 0), max(shape[1] - left, 0))
    clipped = top < 0 or left < 0 or top + height > shape[0] or left + width > shape[1]
    return Filled((max(top, 0), max(left, 0)), mask[rows, columns], clipped=clipped)
