"""CC-CCII: CT of lungs with one class per scan. Slices become volumes, with a table of classes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from unmask.datasets.dataset import DataSet, Item
from unmask.datasets.files import natural_key
from unmask.datasets.volumes import (
    Case,
    divide,
    expect_labeled,
    hold_out,
    read_held_out,
    sort_cases,
)
from unmask.errors import DataError, message
from unmask.io import save_image

CLASSES = ("Normal", "CP", "NCP")
_FOLDS = 3
_SLICES = (".png", ".jpg", ".jpeg")
_FORMATS = ("PNG", "JPEG")


def find(archive: Path, *, fold: int = 0, held_out: Path | None = None) -> list[Item]:
    """List the scans.

    Args:
        archive: the unpacked archive, ``CLASS/PATIENT/SCAN/*.png`` or ``.jpg``.
        fold: which block of the patients of each class is held out.
        held_out: file with the scans to hold out instead, one per line, or a table with the columns
            ``label``, ``patient_id`` and ``scan_id``.

    Raises:
        DataError: no slices.
        RecipeError: there is no such fold.
    """
    cases = sort_cases(list(_scans(archive)))
    expect_labeled(cases, archive, f"slices in {'|'.join(CLASSES)}/PATIENT/SCAN")
    chosen = (
        hold_out(cases, fold, _FOLDS, by_class=True)
        if held_out is None
        else read_held_out(cases, held_out)
    )
    return [
        Item(part, case.name, partial(_write, case.source), label=str(case.labels))
        for part, case in divide(cases, chosen)
    ]


def _scans(archive: Path) -> Iterator[Case]:
    for label in CLASSES:
        for folder in sorted(archive.rglob(f"{label}/*/*")):
            if folder.is_dir() and _slices(folder):
                patient = f"{label}_{folder.parent.name}"
                yield Case(f"{patient}_{folder.name}", patient, folder, label)


def _slices(folder: Path) -> list[Path]:
    found = [p for p in folder.iterdir() if p.suffix.lower() in _SLICES and p.name[0] != "."]
    return sorted(found, key=lambda path: natural_key(path.name))


def _write(source: Path, folder: Path, name: str) -> tuple[int, ...]:
    """Write the volume ``(z, y, x)`` uint8 of a folder of slices."""
    volume = _stacked(source)
    save_image(folder / "images" / f"{name}.tif", volume, axes="ZYX")
    return volume.shape


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
    find=find,
    counts={"train+val": (4178,)},
    preset="glmae_cc_ccii",
    classes=True,
)
