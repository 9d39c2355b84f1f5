"""Every format by suffix. Its module is imported when a file with that suffix arrives.

Reading one PNG must not pay for Zarr, NIfTI, HDF5 and DICOM, whose libraries take over a second of
processor time to import. So what a path needs to know about a format before the file is touched
stands here, and everything else in the format's own `unmask.io.contract.Format`.
"""

from __future__ import annotations

from functools import cache
from typing import TypeGuard

from unmask.errors import RecipeError
from unmask.io.contract import Format
from unmask.parts import Parts

FORMATS = Parts(
    "unmask.formats",
    {
        ".tif": "unmask.io.tiff:FORMAT",
        ".tiff": "unmask.io.tiff:FORMAT",
        ".btf": "unmask.io.tiff:FORMAT",
        ".lsm": "unmask.io.tiff:FORMAT",
        ".ome.tif": "unmask.io.tiff:OME_FORMAT",
        ".ome.tiff": "unmask.io.tiff:OME_FORMAT",
        ".zarr": "unmask.io.zarr:FORMAT",
        ".h5": "unmask.io.hdf5:FORMAT",
        ".hdf5": "unmask.io.hdf5:FORMAT",
        ".hdf": "unmask.io.hdf5:FORMAT",
        ".nxs": "unmask.io.hdf5:FORMAT",
        ".nii": "unmask.io.nifti:FORMAT",
        ".nii.gz": "unmask.io.nifti:PACKED_FORMAT",
        ".dcm": "unmask.io.dicom:FILE_FORMAT",
        ".dicom": "unmask.io.dicom:FILE_FORMAT",
        ".ima": "unmask.io.dicom:FILE_FORMAT",
        ".png": "unmask.io.raster:PNG",
        ".jpg": "unmask.io.raster:JPEG",
        ".jpeg": "unmask.io.raster:JPEG",
        ".bmp": "unmask.io.raster:BMP",
        ".npy": "unmask.io.npy:FORMAT",
    },
)
# A folder of slices is recognized by its content, so no suffix stands for it.
SERIES = "DICOM series"
_BY_CONTENT = Parts("unmask.formats", {SERIES: "unmask.io.dicom:FORMAT"})
# Format.container and Format.folder of the formats above, known without their import.
_CONTAINERS = (".h5", ".hdf5", ".hdf", ".nxs")
_FOLDERS = (".zarr",)


def find_format(suffix: str) -> Format:
    """The format of a suffix, or of `SERIES`.

    Formats of other distributions come from the entry points ``unmask.formats``, whose names are
    suffixes (``.xyz``) and whose values are a `Format`.

    Raises:
        KeyError: no format has this suffix.
        RecipeError: an installed format cannot be imported, or is not a `Format`.
    """
    if suffix in FORMATS:
        return FORMATS[suffix]
    found = FORMATS.find_installed(suffix) if suffix not in _BY_CONTENT else _BY_CONTENT[suffix]
    if found is None:
        raise KeyError(suffix)
    if not isinstance(found, Format):
        raise RecipeError(
            f"unmask.formats: expected the installed part {suffix!r} to be an "
            f"unmask.io.contract.Format, found {found!r}. Correct or uninstall the package."
        )
    return found


def match_suffix(name: str) -> str | None:
    """The longest suffix of a format that a name ends with; None if there is none.

    Examples:
        >>> match_suffix("a/B.OME.TIF"), match_suffix("notes.txt")
        ('.ome.tif', None)
    """
    lower = name.lower()
    matches = [suffix for suffix in FORMATS if lower.endswith(suffix)]
    if not matches and "." in lower:
        # Reads the metadata of all installed packages, so only for suffixes that are not ours.
        matches = [suffix for suffix in _installed() if lower.endswith(suffix)]
    return max(matches, key=len, default=None)


def is_container(name: str) -> bool:
    """Whether files of this name may hold several arrays, ``file.h5:key``."""
    suffix = match_suffix(name)
    return suffix in _CONTAINERS or (_is_foreign(suffix) and find_format(suffix).container)


def is_folder(name: str) -> bool:
    """Whether an image of this name is a folder, as OME-Zarr is."""
    suffix = match_suffix(name)
    return suffix in _FOLDERS or (_is_foreign(suffix) and find_format(suffix).folder)


def _is_foreign(suffix: str | None) -> TypeGuard[str]:
    return suffix is not None and suffix not in FORMATS


@cache
def _installed() -> tuple[str, ...]:
    """Suffixes that other distributions add."""
    return tuple(name for name in FORMATS.installed() if name.startswith("."))
