"""Every format by suffix. Its module is imported when a file with that suffix arrives.

Reading one PNG must not pay for Zarr, NIfTI, HDF5 and DICOM, whose libraries take over a second of
processor time to import. So what a path needs to know about a format before the file is touched
stands here, and everything else in the format's own `unmask.io.contract.Format`.
"""

from __future__ import annotations

from collections.abc import Iterable

from unmask.io import added
from unmask.io.contract import Format
from unmask.parts import Parts

_OURS = {
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
    ".seg.dcm": "unmask.io.dicom_seg:FORMAT",
    ".dicom": "unmask.io.dicom:FILE_FORMAT",
    ".ima": "unmask.io.dicom:FILE_FORMAT",
    ".png": "unmask.io.raster:PNG",
    ".jpg": "unmask.io.raster:JPEG",
    ".jpeg": "unmask.io.raster:JPEG",
    ".bmp": "unmask.io.raster:BMP",
    ".npy": "unmask.io.npy:FORMAT",
    ".svs": "unmask.io.tiff:SLIDE_FORMAT",
    ".ndpi": "unmask.io.tiff:SLIDE_FORMAT",
    ".scn": "unmask.io.tiff:SLIDE_FORMAT",
    ".qptiff": "unmask.io.tiff:SLIDE_FORMAT",
    ".bif": "unmask.io.tiff:SLIDE_FORMAT",
    ".stk": "unmask.io.tiff:FORMAT",
    ".webp": "unmask.io.raster:WEBP",
    ".jp2": "unmask.io.jpeg2000:FORMAT",
    ".j2k": "unmask.io.jpeg2000:FORMAT",
    ".ims": "unmask.io.imaris:FORMAT",
    ".mrc": "unmask.io.mrc:FORMAT",
    ".rec": "unmask.io.mrc:FORMAT",
    ".map": "unmask.io.mrc:FORMAT",
    ".nrrd": "unmask.io.nrrd:FORMAT",
    ".nhdr": "unmask.io.nrrd:FORMAT",
    ".mha": "unmask.io.metaimage:FORMAT",
    ".mhd": "unmask.io.metaimage:FORMAT",
    ".img": "unmask.io.nifti_pair:FORMAT",
    ".hdr": "unmask.io.nifti_pair:FORMAT",
    ".mgz": "unmask.io.freesurfer:FORMAT",
    ".mgh": "unmask.io.freesurfer:FORMAT",
    ".mnc": "unmask.io.minc:FORMAT",
    ".czi": "unmask.io.czi:FORMAT",
    ".lif": "unmask.io.lif:FORMAT",
    ".nd2": "unmask.io.nd2:FORMAT",
    ".n5": "unmask.io.n5:FORMAT",
    ".precomputed": "unmask.io.precomputed_open:FORMAT",
    ".zarr.zip": "unmask.io.zipped:FORMAT",
    ".ozx": "unmask.io.zipped:FORMAT",
}
FORMATS = Parts("unmask.formats", _OURS)
# A folder of slices is recognized by its content, so no suffix stands for it.
SERIES = "DICOM series"
_BY_CONTENT = Parts("unmask.formats", {SERIES: "unmask.io.dicom:FORMAT"})
# Format.container and Format.folder of the formats above, known without their import.
_CONTAINERS = (".h5", ".hdf5", ".hdf", ".nxs", ".zarr.zip", ".ozx")
_FOLDERS = (".zarr", ".n5", ".precomputed")


def find_format(suffix: str) -> Format:
    """The format of a suffix, or of `SERIES`; its module is imported.

    Raises:
        KeyError: no format has this suffix.
        RecipeError: an installed format cannot be imported, or is not a `Format`.
    """
    if suffix in added.ADDED:
        return added.ADDED[suffix]
    if suffix in _OURS:
        return FORMATS[suffix]
    return _BY_CONTENT[suffix] if suffix == SERIES else added.installed_formats()[suffix]


def match_suffix(name: str) -> str | None:
    """The longest suffix of a format that a name ends with; None if there is none.

    Formats that were added win over those of this package, and those over installed ones.

    Examples:
        >>> match_suffix("a/B.OME.TIF"), match_suffix("notes.txt")
        ('.ome.tif', None)
    """
    lower = name.lower()
    found = _longest(lower, added.ADDED) or _longest(lower, _OURS)
    if found is None and "." in lower:
        # Reads the metadata of all installed packages, so only for suffixes that are not ours.
        found = _longest(lower, added.installed_formats())
    return found


def is_container(name: str) -> bool:
    """Whether files of this name may hold several arrays, ``file.h5:key``."""
    suffix = match_suffix(name)
    return suffix is not None and (
        suffix in _CONTAINERS if _is_ours(suffix) else find_format(suffix).container
    )


def is_folder(name: str) -> bool:
    """Whether an image of this name is a folder, as OME-Zarr is."""
    suffix = match_suffix(name)
    return suffix is not None and (
        suffix in _FOLDERS if _is_ours(suffix) else find_format(suffix).folder
    )


def _is_ours(suffix: str) -> bool:
    return suffix in _OURS and suffix not in added.ADDED


def _longest(lower: str, suffixes: Iterable[str]) -> str | None:
    return max(filter(lower.endswith, suffixes), key=len, default=None)
