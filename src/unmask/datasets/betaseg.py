"""betaSeg: electron microscopy of beta cells with labels of their organelles.

The archive holds, anywhere below it, ``high_c1_source.tif`` and its masks ``*granules*.tif``,
``*mitochondria_mask*.tif``, ``*nucleus_mask*.tif`` and ``*membrane_full_mask*.tif``, next to it or
in a folder ``high_c1_segs``. Parts are ``train`` (cells 1 to 3 of high glucose), ``test`` (cell 4)
and ``other``. Labels are 0 none of these, 1 nucleus, 2 granules, 3 mitochondria, 255 outside the
cell, to be ignored.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from unmask.datasets.dataset import DataSet, Item
from unmask.datasets.files import list_files
from unmask.errors import DataError, message, raise_problems
from unmask.io import Image, open_image, save_image
from unmask.io.copying import copy_image
from unmask.space.box import Box

OUTSIDE = 255
# Later ones win where masks overlap.
CLASSES = {"nucleus_mask": 1, "mitochondria_mask": 3, "granules": 2}
_CELL_MASK = "membrane_full_mask"
_SOURCE = re.compile(r"(.+)_source\.tiff?$", re.IGNORECASE)
_PARTS = {"high_c1": "train", "high_c2": "train", "high_c3": "train", "high_c4": "test"}
# Of the distributed stacks, in nanometers, if the file does not say it.
_SPACING = (16.0, 16.0, 16.0)
_SLAB = 16


def find(archive: Path) -> list[Item]:
    """List the volumes of all cells; those without masks get an image only.

    Raises:
        DataError: no cell at all, incomplete or ambiguous masks; all problems at once.
    """
    problems: list[str] = []
    items: list[Item] = []
    for name, source in find_cells(archive).items():
        try:
            masks = find_masks(source, name)
        except DataError as error:
            problems.append(str(error))
            continue
        part = _PARTS.get(name.lower(), "other")
        items.append(Item(part, name, partial(_write, source, masks)))
    raise_problems(problems)
    return items


def _write(source: Path, masks: dict[str, Path], folder: Path, name: str) -> tuple[int, ...]:
    """Write the volume of a cell and its labels, part by part."""
    image = open_image(source, axes="ZYX")
    if image.spacing is None:
        image = replace(image, spacing=_SPACING, unit="nm")
    copy_image(image, folder / "images" / f"{name}.tif")
    if masks:
        labels = read_labels(image, masks)
        path = folder / "labels" / f"{name}.tif"
        save_image(path, labels, spacing=image.spacing, unit=image.unit)
    return image.shape[1:]


def find_cells(archive: Path) -> dict[str, Path]:
    """Find the source volume of every cell by its name, such as ``high_c1``.

    Raises:
        DataError: none, or two of one name.
    """
    found: dict[str, Path] = {}
    for path in list_files(archive):
        match = _SOURCE.fullmatch(path.name)
        if match is None:
            continue
        if match[1] in found:
            raise DataError(
                message(
                    path,
                    expected=f"one source volume of {match[1]}",
                    found=f"{found[match[1]]} as well",
                    do="Unpack the archive into a folder of its own.",
                )
            )
        found[match[1]] = path
    if not found:
        raise DataError(
            message(
                archive,
                expected="volumes such as high_c1_source.tif",
                found="none",
                do="Give the official archive, or the folder that it was unpacked into.",
            )
        )
    return found


def find_masks(source: Path, cell: str) -> dict[str, Path]:
    """Find the file of every mask of a cell; empty if there are none.

    Raises:
        DataError: some are missing, or there are several of one kind.
    """
    folders = [source.parent / f"{cell}_segs", source.parent]
    found: dict[str, Path] = {}
    for kind in (*CLASSES, _CELL_MASK):
        names = [
            path
            for folder in folders
            for path in sorted(folder.glob(f"*{kind}*.tif*"))
            if folder.name == f"{cell}_segs" or path.name.startswith(f"{cell}_")
        ]
        if len(names) > 1:
            raise DataError(
                message(
                    source,
                    expected=f"one mask {kind}",
                    found=", ".join(path.name for path in names),
                    do="Keep the one that is meant.",
                )
            )
        if names:
            found[kind] = names[0]
    missing = [kind for kind in (*CLASSES, _CELL_MASK) if kind not in found]
    if found and missing:
        raise DataError(
            message(
                source,
                expected=f"masks {', '.join((*CLASSES, _CELL_MASK))} in {folders[0].name} or "
                "next to it",
                found=f"no {', '.join(missing)}",
                do="Unpack the archive again.",
            )
        )
    return found


def read_labels(image: Image, masks: dict[str, Path]) -> np.ndarray:
    """Read labels ``(z, y, x)`` uint8 from masks or instance labels, some sections at a time.

    Raises:
        DataError: a mask of another size.
    """
    space = image.shape[1:]
    opened = {kind: open_image(path, axes="ZYX") for kind, path in masks.items()}
    for kind, mask in opened.items():
        if mask.shape[1:] != space:
            raise DataError(
                message(
                    masks[kind],
                    expected=f"the size of {image.source}, {space}",
                    found=f"{mask.shape[1:]}",
                    do="Take the mask of this cell.",
                )
            )
    labels = np.zeros(space, np.uint8)
    for first in range(0, space[0], _SLAB):
        box = Box((first, 0, 0), (min(first + _SLAB, space[0]), *space[1:]))
        slab = labels[box.slices]
        for kind, value in CLASSES.items():
            slab[opened[kind].read(box)[0] != 0] = value
        slab[opened[_CELL_MASK].read(box)[0] == 0] = OUTSIDE
    return labels


SET = DataSet(
    name="betaseg",
    title="Electron microscopy of beta cells: nuclei, granules, mitochondria",
    license="terms of the source",
    citation="doi:10.1083/jcb.202010039",
    source="https://betaseg.github.io",
    archive="high_c1_source.tif with its masks, and so on for each cell",
    find=find,
    counts={"train": (3,), "test": (1,), "other": (0, 3)},
    preset="maester",
    verb="pretrain",
    notes="Cells 1 to 3 of high glucose are for training, cell 4 is the test. Labels are 0 none of "
    "these, 1 nucleus, 2 granules, 3 mitochondria, 255 outside the cell.",
)
