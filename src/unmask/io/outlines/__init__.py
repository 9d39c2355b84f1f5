"""Outlines of objects: written from label images, and read to label images.

Written are ImageJ's ``.zip``, QuPath's ``.geojson`` and COCO's ``.json``, along the edges of pixels
and with holes and several pieces, so that they give the same pixels when they are read. Read are
these and LabelMe's JSON, napari's shapes (``.csv``), folders of masks and RGB label images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from unmask.errors import DataError, UnmaskError, message, near_path
from unmask.io.outlines.coco import read_coco, write_coco
from unmask.io.outlines.colors import is_colored, read_colors
from unmask.io.outlines.drawn import Drawing, rasterize
from unmask.io.outlines.geojson import Measurements, read_geojson, write_geojson
from unmask.io.outlines.imagej import read_imagej, write_imagej
from unmask.io.outlines.labelme import read_labelme
from unmask.io.outlines.masks import read_masks
from unmask.io.outlines.napari import read_napari
from unmask.io.outlines.text import read_json, strange
from unmask.io.outlines.trace import trace

__all__ = ["SUFFIXES", "WRITTEN", "is_outlines", "read_outlines", "write_outlines"]

SUFFIXES = (".roi", ".zip", ".geojson", ".json", ".csv")
# By name: the suffix under which outlines are written.
WRITTEN = {"imagej": ".zip", "geojson": ".geojson", "coco": ".json"}


def is_outlines(path: str | Path) -> bool:
    """Whether a file holds outlines by its suffix, JSON (which may list images) by its content."""
    file = Path(path)
    if file.suffix.lower() != ".json":
        return file.suffix.lower() in SUFFIXES
    tree = read_json(file) if file.is_file() else None
    if isinstance(tree, Mapping):
        return bool(tree.keys() & {"annotations", "shapes", "features", "geometry", "coordinates"})
    return isinstance(tree, list)


def read_outlines(
    path: str | Path,
    shape: Sequence[int] | None = None,
    *,
    image: str | None = None,
    say: Callable[[str], None] = print,
) -> np.ndarray:
    """Rasterize outlines to a label image, in the smallest unsigned type.

    A pixel belongs to an outline if its center is inside; an odd number of windings is inside.
    Objects keep ids that the file has, and count from 1 otherwise. Of objects that overlap the
    later one is kept.

    Args:
        path: ImageJ ``.roi`` or ``.zip``, ``.geojson``, COCO or LabelMe ``.json``, napari ``.csv``,
            folder of masks, RGB label image.
        shape: of the image, ``(y, x)`` or ``(z, y, x)``; needed where the file does not say it.
        image: name of the image in a file for several (COCO).
        say: gets a line on what is doubtful: overlaps, outlines that cross themselves or leave the
            image.

    Raises:
        DataError: a file that cannot be understood, an outline outside of the image, or lines and
            points, which enclose no area.
        MissingPackageError: ImageJ's files need the extra ``rois``.

    Examples:
        >>> labels = read_outlines("cells.geojson", (512, 512))  # doctest: +SKIP
    """
    file = Path(path)
    if not file.exists():
        raise DataError(
            message(path, expected="a file or folder", found="none",
                    do=f"{near_path(path)}Check the path.")
        )  # fmt: skip
    if file.is_file() and file.suffix.lower() not in SUFFIXES and is_colored(file):
        labels = read_colors(file)
        if shape is not None and tuple(shape) != labels.shape:
            raise DataError(
                message(path, expected=f"labels of shape {tuple(shape)}", found=f"{labels.shape}",
                     do="Give the image that the labels were made from.")
            )  # fmt: skip
        return labels
    labels, notes = rasterize(_drawing(file, image), shape, str(path))
    for note in notes:
        say(note)
    return labels


def write_outlines(
    path: str | Path, labels: np.ndarray, *, measurements: Measurements | None = None
) -> Path:
    """Write the outlines of all objects; the format follows from the suffix.

    Args:
        path: ``.zip`` for ImageJ, ``.geojson`` for QuPath, ``.json`` for COCO.
        labels: unsigned ids ``(y, x)``; ``(z, y, x)`` is written plane by plane (not COCO).
        measurements: values by id and name for QuPath.

    Raises:
        DataError: another suffix, or labels that the format cannot hold.
        SaveError: the file could not be written.

    Examples:
        >>> write_outlines("cells.zip", labels)  # doctest: +SKIP
    """
    file = Path(path)
    suffix = file.suffix.lower()
    if suffix not in WRITTEN.values():
        raise DataError(
            message(
                path,
                expected=f"one of the suffixes {' '.join(WRITTEN.values())}",
                found=repr(suffix),
                do="ImageJ opens .zip, QuPath .geojson, tools for COCO .json.",
            )
        )
    if labels.ndim not in (2, 3) or labels.dtype.kind not in "ub":
        raise DataError(
            message(
                path,
                expected="unsigned labels with two or three axes",
                found=f"{labels.dtype} of shape {labels.shape}",
                do="Convert them, for example by labels.astype('uint32').",
            )
        )
    labels = labels.astype(np.uint8) if labels.dtype.kind == "b" else labels
    if suffix == WRITTEN["coco"]:
        write_coco(file, [(file.stem, labels)])
        return file
    planes = int(np.prod(labels.shape[:-2]))
    if suffix == WRITTEN["imagej"]:
        write_imagej(file, trace(labels), planes=planes)
    else:
        write_geojson(file, trace(labels), planes=planes, measurements=measurements)
    return file


def _drawing(file: Path, image: str | None) -> Drawing:
    """The objects of a file, by its suffix and content."""
    suffix = file.suffix.lower()
    try:
        if file.is_dir():
            return read_masks(file)
        if suffix in (".roi", ".zip"):
            return read_imagej(file)
        if suffix == ".csv":
            return read_napari(file)
        if suffix in (".geojson", ".json"):
            return _of_json(file, image)
    except UnmaskError:
        raise
    except Exception as error:
        # Parsers raise anything on damaged files; the user needs the file's name with it.
        raise strange(file, f"{error or type(error).__name__}", "outlines") from error
    raise DataError(
        message(
            file,
            expected=f"outlines ({' '.join(SUFFIXES)}), a folder of masks or an RGB label image",
            found=repr(suffix),
            do="Export them in one of these formats; other label images need no conversion.",
        )
    )


def _of_json(file: Path, image: str | None) -> Drawing:
    tree = read_json(file)
    if isinstance(tree, Mapping) and "annotations" in tree:
        return read_coco(file, image)
    if isinstance(tree, Mapping) and "shapes" in tree:
        return read_labelme(file)
    return read_geojson(file)
