"""LUNA16: CT of the chest from MetaImage files, for pre-training."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from unmask.datasets.dataset import DataSet, Item
from unmask.datasets.files import expect_some, list_files, match_files
from unmask.io import open_image
from unmask.io.copying import copy_image


def find(archive: Path) -> list[Item]:
    """List the scans of subset0 to subset9; masks of lungs are left out.

    Raises:
        DataError: no scans.
    """
    found = match_files(list_files(archive), r"subset\d+/([\d.]+)\.mhd")
    expect_some(found, archive, "scans subset0/UID.mhd to subset9/UID.mhd of LUNA16")
    return [Item("train", match[1], partial(_write, path)) for path, match in found.items()]


def _write(path: Path, folder: Path, name: str) -> tuple[int, ...]:
    image = open_image(path, ndim=3)
    # NIfTI without compression is read in parts, so that a crop costs no whole scan.
    copy_image(image, folder / "images" / f"{name}.nii")
    return image.shape[1:]


SET = DataSet(
    name="luna16",
    title="CT of the chest, 888 scans without labels (LUNA16)",
    license="CC BY 4.0 (not confirmed)",
    citation="doi:10.1016/j.media.2017.06.015",
    source="https://luna16.grand-challenge.org/Download/",
    archive="subset0.zip to subset9.zip: UID.mhd, UID.raw",
    find=find,
    counts={"train": (888,)},
    sizes=((None, 512, 512),),
    preset="glmae",
    verb="pretrain",
    notes="Values are copied as they are, in Hounsfield units, with the spacing, position and "
    "direction of the patient.",
)
