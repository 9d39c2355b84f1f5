"""Cellpose: cells of many microscopes, and photographs of things that look like cells."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from unmask.datasets.dataset import DataSet, Item
from unmask.datasets.files import expect_some, list_files, match_files, missing
from unmask.datasets.lists import read_names
from unmask.datasets.samples import Sample, read_image, read_labels, sample_item
from unmask.errors import raise_problems


def find(archive: Path, *, gray: bool = False, drop: Path | None = None) -> list[Item]:
    """List the images of train.zip and test.zip, and of train_cyto2.zip if it is given.

    Args:
        archive: the unpacked archives.
        gray: join the channels to one, as MEDIAR does.
        drop: file with names to leave out, such as train/539, one per line: MEDIAR leaves out 58
            photographs that are not microscopy, and does not publish their names.

    Raises:
        DataError: no images, images without masks, or names in ``drop`` that do not exist.
    """
    found = match_files(list_files(archive), r"(train|test|train_cyto2)/(\d+)_img\.png")
    expect_some(found, archive, "files train/NNN_img.png and test/NNN_img.png of Cellpose")
    names = [f"{match[1]}/{match[2]}" for match in found.values()]
    dropped = set() if drop is None else read_names(drop, known=names)
    items, problems = [], []
    for (path, match), name in zip(found.items(), names, strict=True):
        masks = path.with_name(f"{match[2]}_masks.png")
        if name in dropped:
            continue
        if not masks.is_file():
            problems.append(missing(masks, "the masks", path))
        items.append(sample_item(match[1], match[2], partial(_read, path, masks, gray=gray)))
    raise_problems(problems)
    return items


def _read(path: Path, masks: Path, *, gray: bool) -> Sample:
    image = read_image(path)[:3]
    if gray:
        image = image.mean(0, keepdims=True).round().astype(image.dtype)
    return Sample(image, np.asarray(read_labels(masks)))


SET = DataSet(
    name="cellpose",
    title="Cells of many microscopes: cytoplasm, and nuclei if stained (Cellpose)",
    license="CC BY-NC, under the terms of the Howard Hughes Medical Institute",
    citation="doi:10.1038/s41592-020-01018-x",
    source="https://www.cellpose.org/dataset",
    archive="train.zip, test.zip, optionally train_cyto2.zip: NNN_img.png, NNN_masks.png",
    find=find,
    counts={"train": (540,), "test": (68,)},
    preset="cells",
)
