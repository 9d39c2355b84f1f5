"""Labels that are not label images: outlines of other programs, and folders of masks.

ImageJ's ROIs, GeoJSON, COCO, LabelMe and napari's shapes are read by `unmask.io.outlines`. They are
rasterized once, in the shape of their image, and are label images from then on.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from unmask.io import Image, foreign, open_labels
from unmask.io.inputs import ArrayInput, Inputs, as_inputs
from unmask.io.outlines import SUFFIXES, is_outlines, read_outlines
from unmask.io.outlines.text import read_json
from unmask.io.paths import format_of, list_files, locate, named_files
from unmask.space.axes import SPACE


@dataclass(frozen=True)
class DrawnLabels:
    """A file of outlines that stands for a label image.

    Attributes:
        path: the file.
        image: name of the image in a file for several images.
    """

    path: str
    image: str

    def __str__(self) -> str:
        return self.path

    def labels(self, image: Image | None, notes: list[str]) -> Image:
        """The label image, in the shape of ``image``; doubts such as overlaps go to ``notes``.

        Raises:
            DataError: a file that cannot be understood, or outlines outside of the image.
        """
        shape = None if image is None else image.shape[1:]
        array = read_outlines(self.path, shape, image=self.image, say=notes.append)
        return label_image(array, self.path, self.image, like=image)


def label_image(array: np.ndarray, source: str, name: str, like: Image | None = None) -> Image:
    """An opened label image over ids ``(*space)`` in memory that came from ``source``."""
    image = Image.from_array(array, axes=SPACE[-array.ndim :], name=name)
    if like is None:
        return replace(image, source=source)
    return replace(image, source=source, spacing=like.spacing, unit=like.unit)


def label_files(labels: Inputs) -> list[tuple[str, str | ArrayInput | DrawnLabels]]:
    """Label images and outlines with the names that they pair by; see `named_files`.

    A folder or glob that has label images as well as outlines gives its label images.

    Raises:
        DataError: a path leads to nothing, or to a file of another kind.
    """
    found: list[tuple[str, str | ArrayInput | DrawnLabels]] = []
    rest: list[str | ArrayInput] = []
    for path in as_inputs(labels):
        drawn = [] if isinstance(path, ArrayInput) else _outlines_behind(path)
        found += [(_name(file), DrawnLabels(str(file), _name(file))) for file in drawn]
        if not drawn:
            rest.append(path)
    return [*found, *(named_files(rest, labels=True) if rest or not found else ())]


def outlines_in(folder: Path) -> list[tuple[str, DrawnLabels]]:
    """Outlines in a folder, whatever else is in it, with the names that they pair by."""
    files = [file for file in _visible(folder) if file.suffix.lower() in SUFFIXES]
    return [(_name(f), DrawnLabels(str(f), _name(f))) for f in files if _is_drawn(f)]


def names_inside(file: DrawnLabels) -> set[str] | None:
    """Names of the images, without suffix, that a file for several has; None: it is for one."""
    if Path(file.path).suffix.lower() != ".json":
        return None
    tree = read_json(Path(file.path))
    if not isinstance(tree, Mapping) or not isinstance(tree.get("annotations"), list):
        return None
    entries = tree.get("images")
    if not isinstance(entries, list):
        return None
    return {
        Path(str(each.get("file_name", ""))).stem for each in entries if isinstance(each, Mapping)
    }


def masks_input(folder: Path, name: str) -> ArrayInput:
    """A folder with one mask per object as labels; the masks are read when they are asked for.

    Raises:
        DataError: the first mask cannot be opened.
    """
    first = open_labels(list_files(folder)[0], ndim=2)
    read: list[np.ndarray] = []
    notes: list[str] = []

    def fetch(index: tuple[slice, ...]) -> np.ndarray:
        if not read:
            labels = read_outlines(folder, first.shape[1:], say=notes.append)
            read.append(labels.astype(np.uint32))
        return read[0][None][index].copy()

    image = replace(
        first, dtype=np.dtype(np.uint32), source=str(folder), name=name, fetch=fetch, whole=True,
        meta={"notes": notes},
    )  # fmt: skip
    return ArrayInput(image, name)


def _outlines_behind(path: str) -> list[Path]:
    """Outlines that a path leads to, if it leads to nothing else that is an image."""
    place = Path(path)
    if place.is_dir():
        if format_of(locate(path)) is not None:
            return []
        inside = _visible(place)
    else:
        inside = [place] if place.exists() else [Path(p) for p in sorted(glob.glob(path))]  # noqa: PTH207
    if any(format_of(locate(file)) is not None for file in inside):
        return []
    return [file for file in inside if file.suffix.lower() in SUFFIXES and _is_drawn(file)]


def _is_drawn(file: Path) -> bool:
    """Whether a file holds outlines; tables of classes, lists and other archives do not."""
    if not file.is_file():
        return False
    if file.suffix.lower() == ".zip":
        return foreign.is_roi_archive(file)
    if file.suffix.lower() == ".csv":
        with file.open(encoding="utf-8-sig", errors="replace") as handle:
            columns = {each.strip().lower() for each in handle.readline(10_000).split(",")}
        return {"index", "shape-type"} <= columns
    return is_outlines(file)


def _visible(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if not file.name.startswith("."))


def _name(path: Path) -> str:
    """Name that pairs a file of outlines with an image; ``b`` for ``a/b.roi.zip``."""
    return path.name[: -len(path.suffix)].removesuffix(".roi")


def open_truth(truth: str | ArrayInput | DrawnLabels, image: Image) -> Image:
    """Labels of an image, from a label image or from outlines.

    Raises:
        DataError: as `open_labels`.
    """
    if isinstance(truth, DrawnLabels):
        return truth.labels(image, [])
    return open_labels(truth, ndim=image.ndim)
