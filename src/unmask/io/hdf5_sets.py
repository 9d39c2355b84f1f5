"""Which data set of an HDF5 file is the image, and what BigDataViewer means by its own.

A file with one array needs no key. A file with several is never guessed at: the message lists the
candidates and suggests one only if a single name says what it holds. Tables, such as resolutions of
a pyramid, are not candidates.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

import h5py

from unmask.errors import DataError, message
from unmask.io import hdf5_links
from unmask.io.contract import Location, unit_symbol
from unmask.io.hdf5_chunks import check_all

# An array with fewer than two axes of at least this length is a table.
_SMALLEST_SIDE = 8
_MOST_OBJECTS = 100_000
_IMAGE_WORDS = {"raw", "image", "images", "img", "data", "em", "volume", "intensity"}
_LABEL_WORDS = {
    *("label", "labels", "labeled", "labeled", "seg", "segmentation", "mask", "masks", "ids"),
    *("gt", "groundtruth", "truth", "target", "targets", "annotation", "annotations", "clefts"),
    *("affinities", "affs", "prediction", "predictions", "weights", "instances", "neuron", "cleft"),
}
_BDV = re.compile(r"/?t(?P<time>\d{5,})/s(?P<setup>\d{2,})/(?P<level>\d+)/cells/?")
# The XML file of BigDataViewer is read whole.
_XML_LIMIT = 50 * 2**20


def choose(location: Location, file: h5py.File, *, labels: bool) -> h5py.Dataset:
    """The data set that the key names, or the only one.

    Args:
        location: the file and the key.
        file: the open file.
        labels: a label image is wanted, which decides what the message suggests.

    Raises:
        DataError: no such data set, or several without a key; lists the candidates.
    """
    if location.key:
        found = hdf5_links.find(location, file, location.key)
        if isinstance(found, h5py.Dataset):
            return found
    names = _candidates(file)
    if not location.key and len(names) == 1:
        found = file[names[0]]
        if isinstance(found, h5py.Dataset):
            return found
    listed = ", ".join(names[:20]) or "none"
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    best = suggest(names, labels=labels)
    raise DataError(
        message(
            location.source,
            expected=f"the data set {location.key!r}" if location.key else "one data set",
            found=f"these with two axes or more: {listed}{more}",
            do=_advice(location, names, best),
        )
    )


def _advice(location: Location, names: list[str], best: str | None) -> str:
    if not names:
        return "Give a file with an array of two axes or more."
    return f"Write {location.path.name}:{best or 'KEY'}{'.' if best else ' with one of them.'}"


def suggest(names: list[str], *, labels: bool) -> str | None:
    """The one name that clearly is the image, or the label image; None if there is none.

    Examples:
        >>> suggest(["volumes/labels/ids", "volumes/raw"], labels=False)
        'volumes/raw'
        >>> suggest(["a", "b"], labels=False)
    """
    if len(names) == 1:
        return names[0]
    bdv = sorted(
        (m["time"], m["setup"], int(m["level"]), n) for n in names if (m := _BDV.fullmatch(n))
    )
    if bdv:
        return bdv[0][-1]
    words = {name: set(re.split(r"[/_\-. ]+", name.lower())) for name in names}
    truth = [name for name in names if words[name] & _LABEL_WORDS]
    if labels:
        return truth[0] if len(truth) == 1 else None
    images = [name for name in names if name not in truth and words[name] & _IMAGE_WORDS]
    return images[0] if len(images) == 1 else None


def _candidates(file: h5py.File) -> list[str]:
    """Names of arrays of numbers with two axes or more; tables only if there is nothing else."""
    arrays: list[str] = []
    tables: list[str] = []
    count = 0

    def visit(name: str, item: object) -> bool | None:
        nonlocal count
        count += 1
        if isinstance(item, h5py.Dataset) and item.ndim >= 2 and item.dtype.kind in "buifc":
            long = sum(length >= _SMALLEST_SIDE for length in item.shape)
            (arrays if long >= 2 else tables).append(name)
        return True if count > _MOST_OBJECTS else None

    file.visititems(visit)
    return arrays or tables


def is_bdv(file: h5py.File, key: str) -> bool:
    """Whether a data set is an image of BigDataViewer, which stores uint16 as int16."""
    found = _BDV.fullmatch(key)
    return found is not None and f"s{found['setup']}/resolutions" in file


def bdv_spacing(
    location: Location, file: h5py.File, key: str
) -> tuple[Mapping[str, float], str | None]:
    """Voxel size of an image of BigDataViewer, out of the XML file next to it.

    ``resolutions`` in the HDF5 file are factors of a level and no sizes; without the XML file the
    voxel size is unknown.
    """
    found = _BDV.fullmatch(key)
    path = location.path.with_suffix(".xml")
    if found is None or not path.is_file() or path.stat().st_size > _XML_LIMIT:
        return {}, None
    factors: Any = hdf5_links.find(location, file, f"s{found['setup']}/resolutions")
    check_all(location, hdf5_links.find_sources(location, file, factors), lambda: file)
    level = [float(factor) for factor in factors[int(found["level"])]]
    text = path.read_bytes()
    if b"<!DOCTYPE" in text:
        # Entities can grow without a limit.
        return {}, None
    try:
        return _bdv_size(ET.fromstring(text), int(found["setup"]), level)
    except (ET.ParseError, ValueError) as error:
        raise DataError(
            message(
                path,
                expected=f"the XML file of BigDataViewer for {location.path.name}",
                found=f"another ({error})",
                do="Correct it, or move it to another folder: the voxel size is then unknown.",
            )
        ) from error


def _bdv_size(
    root: ET.Element, number: int, factors: list[float]
) -> tuple[Mapping[str, float], str | None]:
    for setup in root.iter("ViewSetup"):
        size = (setup.findtext("voxelSize/size") or "").split()
        if int(setup.findtext("id") or -1) == number and len(size) == len(factors) == 3:
            # BigDataViewer counts x, y, z.
            sizes = {a: float(s) * f for a, s, f in zip("XYZ", size, factors, strict=True)}
            return sizes, unit_symbol(setup.findtext("voxelSize/unit"))
    return {}, None
