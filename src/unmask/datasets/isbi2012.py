"""ISBI 2012: membranes of neurons in electron microscopy, section by section."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from unmask.datasets.dataset import DataSet, Item
from unmask.datasets.files import expect_some, list_files, match_files
from unmask.datasets.samples import Sample, check_size, sample_item
from unmask.errors import DataError, message, raise_problems
from unmask.io import Image, open_image
from unmask.labels import connected_components
from unmask.space.box import Box

_NANOMETERS = (4.0, 4.0)
_TARGETS = ("cells", "membranes")


def find(archive: Path, *, target: str = "cells", val: int = 6) -> list[Item]:
    """List the sections of the training volume, and those of the test.

    Args:
        archive: folder of train-volume.tif, train-labels.tif and test-volume.tif.
        target: ``cells`` numbers the cells between the membranes of a section, ``membranes`` gives
            1 for a membrane and 0 for the rest.
        val: number of the last sections of the training volume that are held out.

    Raises:
        DataError: a file that is missing, or an option of another value.
    """
    found = {
        match[1].lower(): path
        for path, match in match_files(
            list_files(archive), r"(train-volume|train-labels|test-volume)\.tiff?"
        ).items()
    }
    expect_some(found, archive, "train-volume.tif and train-labels.tif")
    raise_problems(
        [
            message(archive, expected=f"{name}.tif", found="none", do="Give it with the others.")
            for name in ("train-volume", "train-labels")
            if name not in found
        ]
    )
    image, labels = (
        open_image(found[f"train-{kind}"], axes="ZYX") for kind in ("volume", "labels")
    )
    check_size(labels.shape, image.shape, found["train-labels"])
    depth = image.shape[1]
    if target not in _TARGETS or not 0 <= val < depth:
        raise DataError(
            f"target={target}, val={val}: expected {' or '.join(_TARGETS)} and 0 to {depth - 1}, "
            "found others. Choose one of them."
        )
    items = [
        sample_item(
            "val" if number >= depth - val else "train",
            f"train_{number:02}",
            partial(_read, image, labels, number, target),
        )
        for number in range(depth)
    ]
    if "test-volume" in found:
        test = open_image(found["test-volume"], axes="ZYX")
        items += [
            sample_item("test", f"test_{number:02}", partial(_read, test, None, number, target))
            for number in range(test.shape[1])
        ]
    return items


def _read(image: Image, labels: Image | None, number: int, target: str) -> Sample:
    box = Box((number, 0, 0), (number + 1, *image.shape[2:]))
    pixels = image.read(box)[:, 0]
    ids = None
    if labels is not None:
        inside = labels.read(box)[0, 0] > 0
        ids = connected_components(inside) if target == "cells" else (~inside).astype(np.uint8)
    return Sample(pixels, ids, spacing=_NANOMETERS, unit="nm")


SET = DataSet(
    name="isbi2012",
    title="Electron microscopy of the fly's nerve cord, cells between membranes (ISBI 2012)",
    license="terms of the challenge",
    citation="doi:10.3389/fnana.2015.00142",
    source="https://imagej.net/events/isbi-2012-segmentation-challenge",
    archive="train-volume.tif, train-labels.tif, optionally test-volume.tif",
    find=find,
    counts={"train+val": (30,), "test": (0, 30)},
    sizes=((512, 512),),
    preset="membranes2d",
    notes="Sections are 50 nm apart. The challenge has no validation part: the last 6 sections are "
    "held out.",
)
