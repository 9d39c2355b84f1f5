"""Which files and folders are DICOM, by their names and first bytes.

Every path is checked, so pydicom is not imported before a file is known to be DICOM.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from unmask.errors import DataError, MissingPackageError, message
from unmask.io.dicom_files import has_slice_name, is_dicom, read_header
from unmask.io.dicom_series import is_multiple, visible_files
from unmask.lookup import optional_import

# Files of a folder that are looked at to see whether it is a series.
_PROBED = 64
_PLACED = 8
# Names of images of other formats.
_OTHERS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".nii", ".nii.gz", ".npy", ".h5")
SUFFIXES = (".dcm", ".dicom", ".ima")


def is_slice(path: Path) -> bool:
    """Whether a file without a suffix, or with a number as its suffix, is DICOM."""
    return path.is_file() and has_slice_name(path) and is_dicom(path)


def is_series(folder: Path) -> bool:
    """Whether a folder holds the slices of a volume.

    Other files next to the slices do not matter, but images of other formats may not be more than
    the slices. A folder of radiographs is a folder of images and no series.
    """
    try:
        files = list(visible_files(folder))
        others = [file for file in files if not file.name.lower().endswith(_OTHERS)]
        likely = sorted(others, key=has_slice_name, reverse=True)[:_PROBED]
        found = list(islice(filter(is_dicom, likely), _PLACED))
    except OSError:
        # No folder, or one that may not be read: the code that opens it says so.
        return False
    return bool(found) and len(others) * 2 >= len(files) and _any_placed(found)


def _any_placed(files: Iterable[Path]) -> bool:
    try:
        pydicom: Any = optional_import("pydicom", "dicom")
    except MissingPackageError:
        # The message about the missing package comes when the folder is opened.
        return True
    unknown = 0
    for file in files:
        try:
            header = read_header(pydicom, file)
        except DataError:
            unknown += 1
            continue
        # Files of several frames are images of their own.
        if header.placed and not is_multiple(header):
            return True
    return unknown > 0


def series_of(files: Iterable[object]) -> dict[str, str]:
    """Folders that files stand for: all slices of a folder, given one by one, are its volume.

    Returns:
        The folder of each such file. A single file stands for itself.

    Raises:
        DataError: some slices of a series were given, but not all.
    """
    folders: dict[Path, list[str]] = {}
    for file in files:
        if isinstance(file, str) and has_slice_name(path := Path(file)) and path.is_file():
            folders.setdefault(path.parent, []).append(file)
    found: dict[str, str] = {}
    for folder, given in folders.items():
        if len(given) == 1 or not is_series(folder):
            continue
        names = {Path(file).name for file in given}
        missing = [f.name for f in visible_files(folder) if is_dicom(f) and f.name not in names]
        if missing:
            raise DataError(
                message(
                    folder,
                    expected="all slices of the series, or one of them",
                    found=f"{len(given)} without {', '.join(missing[:8])}",
                    do="Give the folder.",
                )
            )
        found |= dict.fromkeys(given, str(folder))
    return found
