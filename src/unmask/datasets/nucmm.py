"""NucMM: nuclei of neurons in volumes of a zebrafish (Z) and of a mouse (M)."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from unmask.datasets.dataset import DataSet, Item
from unmask.datasets.files import expect_some, list_files, match_files, missing
from unmask.datasets.samples import Sample, sample_item
from unmask.datasets.stored import hdf5_volume
from unmask.errors import raise_problems

# Micrometers (z, y, x): electron microscopy of the zebrafish, X-ray CT of the mouse.
_MICRONS = {"Z": (0.48, 0.51, 0.51), "M": (0.72, 0.72, 0.72)}


def find(archive: Path) -> list[Item]:
    """List the volumes of the official parts.

    Raises:
        DataError: no volumes, or images without labels.
    """
    files = list_files(archive)
    images = match_files(files, r"Image/(train|val)/([^/]+)\.(?:h5|hdf5)")
    expect_some(images, archive, "volumes Image/train/*.h5 in NucMM-Z or NucMM-M")
    labels = {
        (path.parent.parent.parent, match[1].lower(), _position(match[2])): path
        for path, match in match_files(files, r"Label/(train|val)/([^/]+)\.(?:h5|hdf5)").items()
    }
    items, problems = [], []
    for path, match in images.items():
        part, position = match[1].lower(), _position(match[2])
        own = labels.get((path.parent.parent.parent, part, position))
        if own is None:
            problems.append(missing(path, "labels of the name of", path))
            continue
        animal = _animal(path)
        read = partial(_read, path, own, _MICRONS[animal])
        items.append(sample_item(part, f"{animal}_{position}", read))
    raise_problems(problems)
    return items


def _position(stem: str) -> str:
    """The name without the word in front that says whether it is image or labels."""
    return re.sub(r"^(?:img|image|im|raw|seg|label|mask)s?[_-]", "", stem, flags=re.IGNORECASE)


def _animal(path: Path) -> str:
    found = re.findall(r"NucMM[-_ ]?([ZM])|(zebrafish|mouse)", path.as_posix(), re.IGNORECASE)
    return next((("".join(each))[0].upper() for each in reversed(found)), "Z")


def _read(path: Path, labels: Path, spacing: tuple[float, ...]) -> Sample:
    image, ids = (hdf5_volume(each, "main", spacing=spacing, unit="um") for each in (path, labels))
    return Sample(image, ids)


SET = DataSet(
    name="nucmm",
    title="Nuclei of neurons in volumes of zebrafish and mouse (NucMM)",
    license="terms of the source",
    citation="doi:10.1007/978-3-030-87193-2_16",
    source="https://nucmm.grand-challenge.org/",
    archive="NucMM-Z and NucMM-M: Image/{train,val}/*.h5, Label/{train,val}/*.h5, data set main",
    find=find,
    counts={"train": (27, 4, 31), "val": (27, 4, 31)},
    sizes=((64, 64, 64), (192, 192, 192)),
    preset="cells3d",
)
