"""betaSeg: from the archive of beta cells to folders of volumes and labels of their organelles.

    python -m unmask.datasets.betaseg ARCHIVE OUT

ARCHIVE holds, anywhere below it, ``high_c1_source.tif`` and its masks ``*granules*.tif``,
``*mitochondria_mask*.tif``, ``*nucleus_mask*.tif`` and ``*membrane_full_mask*.tif``, beside it or
in a folder ``high_c1_segs`` (Mueller et al. 2021, doi:10.1083/jcb.202010039). OUT gets ``train``
(cells 1 to 3 of high glucose), ``test`` (cell 4) and ``other``, each with ``images`` and
``labels``: 0 none of these, 1 nucleus, 2 granules, 3 mitochondria, 255 outside the cell, to be
ignored.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from unmask.apps import command
from unmask.errors import DataError, gather, message
from unmask.io import Image, open_image, save_image
from unmask.space.box import Box

OUTSIDE = 255
# Later ones win where masks overlap.
CLASSES = {"nucleus_mask": 1, "mitochondria_mask": 3, "granules": 2}
_CELL_MASK = "membrane_full_mask"
_SOURCE = re.compile(r"(.+)_source\.tiff?$", re.IGNORECASE)
_PARTS = {"high_c1": "train", "high_c2": "train", "high_c3": "train", "high_c4": "test"}
# Of the distributed stacks, in nanometres, where the file does not say it.
_SPACING = (16.0, 16.0, 16.0)
_SLAB = 16


def prepare(archive: Path, out: Path, *, say: Callable[[str], None] = print) -> dict[str, str]:
    """Write volumes and labels of all cells; the part of each cell comes back.

    Cells without masks get an image only.

    Raises:
        DataError: no cell at all, incomplete or ambiguous masks, masks of another size; all
            problems at once.
        SaveError: ``out`` cannot be written.
    """
    found = cells(archive)
    problems: list[str] = []
    masks: dict[str, dict[str, Path]] = {}
    for name, source in found.items():
        try:
            masks[name] = masks_of(source, name)
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError(gather(problems, heading=f"{len(problems)} problem(s) found:"))
    parts: dict[str, str] = {}
    for name, source in found.items():
        part = parts[name] = _PARTS.get(name.lower(), "other")
        image = open_image(source, axes="ZYX")
        spacing, unit = (image.spacing, image.unit) if image.spacing else (_SPACING, "nm")
        if masks[name]:
            labels = read_labels(image, masks[name])
            path = out / part / "labels" / f"{name}.tif"
            save_image(path, labels, spacing=spacing, unit=unit)
        path = out / part / "images" / f"{name}.tif"
        save_image(path, image.read()[0], spacing=spacing, unit=unit)
        say(f"{source}: {part}, {'with' if masks[name] else 'without'} labels")
    return parts


def cells(archive: Path) -> dict[str, Path]:
    """Source volume of every cell by its name, such as ``high_c1``.

    Raises:
        DataError: none, or two of one name.
    """
    found: dict[str, Path] = {}
    for path in sorted(archive.rglob("*_source.tif*")):
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
                do="Unpack the archive there.",
            )
        )
    return found


def masks_of(source: Path, cell: str) -> dict[str, Path]:
    """File of every mask of a cell; empty where there is none of them.

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
                "beside it",
                found=f"no {', '.join(missing)}",
                do="Unpack the archive again.",
            )
        )
    return found


def read_labels(image: Image, masks: dict[str, Path]) -> np.ndarray:
    """Labels ``(z, y, x)`` uint8 out of masks or instance labels, some sections at a time.

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


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit code 2 where the archive is wrong."""
    options = command.parser(__doc__)
    options.add_argument("archive", type=Path)
    options.add_argument("out", type=Path)
    return command.run(options, arguments, lambda given: prepare(given.archive, given.out))


if __name__ == "__main__":
    sys.exit(main())
