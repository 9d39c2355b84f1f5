"""BBBC039: nuclei of U2OS cells, with the official split."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from unmask.datasets.dataset import DataSet, Item
from unmask.datasets.files import expect_some, list_files, match_files, missing
from unmask.datasets.samples import Sample, read_image, read_labels, sample_item
from unmask.errors import DataError, describe_error, message, raise_problems
from unmask.labels import connected_components, relabel, remove_small

_SMALLEST_NUCLEUS = 25
_PARTS = {"train": "training", "val": "validation", "test": "test"}


def find(archive: Path) -> list[Item]:
    """List the images of the official parts.

    Raises:
        DataError: a list or a file that is missing; all at once.
    """
    files = list_files(archive)
    images = _by_stem(files, r"images/([^/]+)\.tiff?")
    masks = _by_stem(files, r"masks/([^/]+)\.png")
    items, problems = [], []
    for part, name in _PARTS.items():
        listed = [*match_files(files, rf"metadata/{name}\.txt")]
        expect_some(listed, archive / "metadata" / f"{name}.txt", "the official list of the split")
        for stem in _names(listed[0]):
            for kind, known in (("its image", images), ("its mask", masks)):
                if stem not in known:
                    problems.append(missing(Path(stem), kind, listed[0]))
            if stem in images and stem in masks:
                items.append(sample_item(part, stem, partial(_read, images[stem], masks[stem])))
    raise_problems(problems)
    return items


def _by_stem(files: list[Path], pattern: str) -> dict[str, Path]:
    return {match[1]: path for path, match in match_files(files, pattern).items()}


def _names(path: Path) -> list[str]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            message(
                path,
                expected="a list of images",
                found=describe_error(error),
                do="Unpack it again.",
            )
        ) from error
    return [Path(line.strip()).stem for line in lines if line.strip()]


def _read(image: Path, mask: Path) -> Sample:
    """Nuclei are the components of the first channel of a mask, of 25 pixels or more."""
    labels = remove_small(connected_components(read_labels(mask)), _SMALLEST_NUCLEUS)
    return Sample(read_image(image), relabel(labels).astype(np.uint16))


SET = DataSet(
    name="bbbc039",
    title="Fluorescence microscopy of nuclei (U2OS cells, Hoechst)",
    license="CC0 1.0",
    citation="doi:10.1002/cyto.a.23863",
    source="https://bbbc.broadinstitute.org/BBBC039",
    archive="images.zip, masks.zip, metadata.zip: images/*.tif, masks/*.png, "
    "metadata/{training,validation,test}.txt",
    find=find,
    counts={"train": (100,), "val": (50,), "test": (50,)},
    sizes=((520, 696),),
    preset="pea_bbbc039",
)
