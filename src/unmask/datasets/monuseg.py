"""MoNuSeg: nuclei in stained tissue of many organs, outlines in XML."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from functools import partial
from pathlib import Path

import numpy as np

from unmask.datasets.dataset import DataSet, Item
from unmask.datasets.files import expect_some, list_files, match_files, missing
from unmask.datasets.painting import paint_objects
from unmask.datasets.samples import Sample, read_image, sample_item
from unmask.errors import DataError, message, raise_problems
from unmask.io.outlines.fill import Filled, fill

# Slides at 40x have 0.25 micrometers per pixel.
_MICRONS = (0.25, 0.25)


def find(archive: Path) -> list[Item]:
    """List the images for training, and those of the test if they are there.

    Raises:
        DataError: no images, or images without outlines.
    """
    files = list_files(archive)
    images = match_files(files, r"(?:(Tissue Images)|MoNuSegTestData)/(TCGA-[^/]+)\.tiff?")
    expect_some(images, archive, "images Tissue Images/TCGA-*.tif of MoNuSeg")
    outlines = {
        path.stem: path
        for path in match_files(files, r"(?:Annotations|MoNuSegTestData)/(TCGA-[^/]+)\.xml")
    }
    items, problems = [], []
    for path, match in images.items():
        part = "train" if match[1] else "test"
        if path.stem not in outlines:
            problems.append(missing(path.with_suffix(".xml"), "its outlines", path))
            continue
        items.append(sample_item(part, path.stem, partial(_read, path, outlines[path.stem])))
    raise_problems(problems)
    return items


def _read(path: Path, outlines: Path) -> Sample:
    image = read_image(path)[:3]
    height, width = image.shape[1:]
    objects = [fill([ring], (height, width)) for ring in _rings(outlines)]
    labels = paint_objects([each for each in objects if isinstance(each, Filled)], (height, width))
    return Sample(image, labels, spacing=_MICRONS, unit="um")


def _rings(path: Path) -> list[np.ndarray]:
    """Corners (y, x) of every nucleus; lines, which a few are, are left out."""
    try:
        root = ElementTree.parse(path).getroot()
        rings = [
            np.array([[float(v.attrib["Y"]), float(v.attrib["X"])] for v in region.iter("Vertex")])
            for region in root.iter("Region")
        ]
    except (OSError, ElementTree.ParseError, KeyError, ValueError) as error:
        raise DataError(
            message(
                path,
                expected="regions with vertices X and Y",
                found=f"{type(error).__name__}: {error}",
                do="Download the archive again.",
            )
        ) from error
    return [ring for ring in rings if len(ring) > 2 and np.isfinite(ring).all()]


SET = DataSet(
    name="monuseg",
    title="Nuclei in stained tissue of seven organs (MoNuSeg 2018)",
    license="CC BY-NC-SA 4.0 (not confirmed)",
    citation="doi:10.1109/TMI.2019.2947628",
    source="https://monuseg.grand-challenge.org/Data/",
    archive="MoNuSeg 2018 Training Data.zip: Tissue Images/*.tif, Annotations/*.xml; optionally "
    "MoNuSegTestData.zip",
    find=find,
    counts={"train": (37, 30), "test": (0, 14)},
    sizes=((1000, 1000),),
    preset="cells",
    notes="Where two outlines overlap, the smaller nucleus is seen.",
)
