"""Outlines of measured objects: labels given as outlines, and outlines that are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unmask.atomic import fit_name
from unmask.data.drawn import label_image
from unmask.errors import DataError, message
from unmask.io import Image
from unmask.io.outlines import WRITTEN
from unmask.io.outlines.coco import coco_annotations, coco_image, write_entries
from unmask.io.outlines.colors import is_colored, read_colors
from unmask.io.outlines.geojson import write_geojson
from unmask.io.outlines.imagej import write_imagej
from unmask.io.outlines.trace import Outline, trace_plane
from unmask.lookup import optional_import
from unmask.measurement.table import Table
from unmask.space.box import Box

Say = Callable[[str], None]
# Columns that say where an object is; QuPath shows all others as its measurements.
_PLACE = ("image", "well", "time", "plane", "id")


def colored_labels(path: str, name: str, say: Say) -> Image | None:
    """The label image of a file with ids in its colors; None for any other file."""
    if not is_colored(Path(path)):
        return None
    labels = read_colors(Path(path))
    gray = (labels & 255) * 0x010101
    if (labels == gray).all():
        return None
    say(f"{path}: colors are read as ids, red * 65536 + green * 256 + blue.")
    return label_image(labels, path, name)


def outlines_folder(table: Path) -> Path:
    """Where the outlines of a table go: next to it.

    Examples:
        >>> outlines_folder(Path("out/objects.csv")).as_posix()
        'out/objects_rois'
    """
    return table.with_name(f"{table.stem}_rois")


class OutlineFiles:
    """Writes the outlines of one label image after the other into a folder.

    Args:
        folder: for ``<image>.zip``, ``<image>.geojson`` and ``coco.json``.
        formats: of `WRITTEN`.

    Raises:
        DataError: an unknown format.
        MissingPackageError: ImageJ's format needs the extra ``rois``.
    """

    def __init__(self, folder: Path, formats: Sequence[str]) -> None:
        for name in formats:
            if name not in WRITTEN:
                raise DataError(
                    message("rois", expected=f"some of {', '.join(WRITTEN)}", found=repr(name),
                         do="Separate them by commas.")
                )  # fmt: skip
        if "imagej" in formats:
            optional_import("roifile", "rois")
        self.folder = folder
        self.formats = tuple(formats)
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def check(self, labels: Image, *, divided: bool) -> None:
        """Refuse what a format cannot hold, before any work is done.

        Raises:
            DataError: a volume for COCO, or a movie of volumes.
        """
        if self.formats and labels.ndim > len("ZYX"):
            raise DataError(
                message(
                    labels.source,
                    expected="outlines of images, volumes or movies of planes",
                    found=f"a movie of volumes, axes {labels.axes[1:]}",
                    do="Leave out --rois, or give the points in time as files of their own.",
                )
            )
        if "coco" in self.formats and labels.ndim > 2 and not divided:
            raise DataError(
                message(
                    labels.source,
                    expected="label images of two axes for coco, which has no volumes",
                    found=f"shape {labels.shape[1:]}",
                    do="Write imagej or geojson, or measure plane by plane (--planes z).",
                )
            )

    def add(self, name: str, labels: Image, table: Table, *, divided: bool) -> None:
        """Write the outlines of one label image, with its rows of the table for QuPath."""
        count = int(np.prod(labels.shape[1:-2]))
        outlines: list[Outline] = []
        for position in range(count):
            plane = _plane(labels, position)
            if self.formats != ("coco",):
                outlines += trace_plane(plane, position)
            if "coco" in self.formats:
                self._add_coco(name if count == 1 else f"{name}-{position:04d}", plane)
        if "imagej" in self.formats:
            write_imagej(self.folder / fit_name(name, ".zip"), outlines, planes=count)
        if "geojson" in self.formats:
            write_geojson(
                self.folder / fit_name(name, ".geojson"),
                outlines,
                planes=count,
                measurements=_measurements(table, divided=divided),
            )

    def finish(self) -> None:
        """Write the one file of COCO for all images."""
        if "coco" in self.formats:
            write_entries(self.folder / "coco.json", self._images, self._annotations)

    def _add_coco(self, name: str, plane: np.ndarray) -> None:
        number, first = len(self._images) + 1, len(self._annotations) + 1
        self._images.append(coco_image(number, name, plane.shape))
        self._annotations += coco_annotations(self.folder, number, plane, first=first)


def _plane(labels: Image, position: int) -> np.ndarray:
    lead = (position,) * (labels.ndim - 2)
    box = Box((*lead, 0, 0), (*(k + 1 for k in lead), *labels.shape[-2:]))
    return labels.read(box).reshape(labels.shape[-2:])


def _measurements(table: Table, *, divided: bool) -> Mapping[Any, Mapping[str, float]]:
    """Numbers of the table by id, or by plane and id."""
    names = [name for name in table if name not in _PLACE and table[name].dtype.kind not in "UO"]
    values = np.stack([table[name].astype(float) for name in names], 1).tolist() if names else []
    keys: list[Any] = table["id"].tolist()
    if divided:
        planes = table["plane"] + table["time"]
        keys = list(zip(planes.tolist(), keys, strict=True))
    return {key: dict(zip(names, row, strict=True)) for key, row in zip(keys, values, strict=True)}
