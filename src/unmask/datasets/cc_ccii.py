"""CC-CCII: CT of lungs with one class per scan. Slices become volumes, with a table of classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from unmask.data.tables import CLASS, NAME, write_table
from unmask.datasets.dataset import DataSet
from unmask.datasets.volumes import (
    Case,
    divide,
    expect_labeled,
    hold_out,
    natural_key,
    read_held_out,
    sort_cases,
)
from unmask.errors import DataError, gather, message
from unmask.io import save_image

CLASSES = ("Normal", "CP", "NCP")
_FOLDS = 3
_SLICES = (".png", ".jpg", ".jpeg")
_FORMATS = ("PNG", "JPEG")


def prepare(
    archive: Path, out: Path, *, fold: int = 0, held_out: Path | None = None
) -> dict[str, int]:
    """Write volumes and the table of their classes.

    Args:
        archive: the unpacked archive, ``CLASS/PATIENT/SCAN/*.png`` or ``.jpg``.
        out: folder of the parts, with ``images`` and ``classes.csv``.
        fold: which block of the patients of each class is held out.
        held_out: file with the scans to hold out instead, one per line, or a table with the columns
            ``label``, ``patient_id`` and ``scan_id``.

    Returns:
        The number of scans of each part.

    Raises:
        DataError: no slices, or slices of different sizes; all problems at once.
        RecipeError: there is no such fold.
    """
    cases = sort_cases(list(_scans(archive)))
    expect_labeled(cases, archive, f"slices in {'|'.join(CLASSES)}/PATIENT/SCAN")
    chosen = (
        hold_out(cases, fold, _FOLDS, by_class=True)
        if held_out is None
        else read_held_out(cases, held_out)
    )
    parts = divide(cases, chosen)
    for part, members in parts.items():
        _write_scans(members, out / part)
    return {part: len(members) for part, members in parts.items()}


def _scans(archive: Path) -> Iterator[Case]:
    for label in CLASSES:
        for folder in sorted(archive.rglob(f"{label}/*/*")):
            if folder.is_dir() and _slices(folder):
                patient = f"{label}_{folder.parent.name}"
                yield Case(f"{patient}_{folder.name}", patient, folder, label)


def _slices(folder: Path) -> list[Path]:
    found = [p for p in folder.iterdir() if p.suffix.lower() in _SLICES and p.name[0] != "."]
    return sorted(found, key=lambda path: natural_key(path.name))


def _write_scans(cases: Sequence[Case], folder: Path) -> None:
    """Write volumes ``(z, y, x)`` uint8 of slices, and the table of their classes."""
    problems: list[str] = []
    for case in cases:
        try:
            volume = _stacked(case.source)
        except DataError as error:
            problems.append(str(error))
            continue
        save_image(folder / "images" / f"{case.name}.tif", volume, axes="ZYX")
    if problems:
        raise DataError(gather(problems, heading=f"{len(problems)} problem(s) found:"))
    write_table(folder / "classes.csv", [{NAME: case.name, CLASS: case.labels} for case in cases])


def _stacked(folder: Path) -> np.ndarray:
    slices = []
    for path in _slices(folder):
        try:
            with Image.open(path, formats=_FORMATS) as file:
                slices.append(np.asarray(file.convert("L")))
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
            raise DataError(
                message(path, expected="an image", found=str(error), do="Unpack the archive again.")
            ) from error
    sizes = sorted({each.shape for each in slices})
    if len(sizes) > 1:
        raise DataError(
            message(
                folder,
                expected="slices of one size",
                found=", ".join(map(str, sizes)),
                do="Remove the slices of another size.",
            )
        )
    return np.stack(slices)


SET = DataSet(
    name="cc_ccii",
    title="CT of lungs: normal, common pneumonia, COVID-19; one class per scan",
    license="terms of the source",
    citation="doi:10.1016/j.cell.2020.04.045",
    source="China Consortium of Chest CT Image Investigation",
    archive="{Normal,CP,NCP}/PATIENT/SCAN/*.png or *.jpg",
    prepare=prepare,
    preset="glmae_cc_ccii",
)
