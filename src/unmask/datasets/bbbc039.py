"""BBBC039: nuclei of U2OS cells, with the official split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from unmask.datasets.dataset import DataSet
from unmask.datasets.samples import Sample, check_size, expect_files, read_image, write_samples
from unmask.labels import connected_components, relabel, remove_small

_SMALLEST_NUCLEUS = 25
_PARTS = {"train": "training.txt", "val": "validation.txt", "test": "test.txt"}


def prepare(archive: Path, out: Path) -> dict[str, int]:
    """Write the official parts.

    Raises:
        DataError: a list or a file that is missing, or a mask of another size; names the file.
    """
    return write_samples(_read_samples(archive), out)


def _read_samples(archive: Path) -> Iterator[Sample]:
    """Nuclei are the components of the first channel of the masks, of 25 pixels or more."""
    for part, file in _PARTS.items():
        listed = archive / "metadata" / file
        expect_files([listed] if listed.is_file() else [], listed, "the official list of the split")
        names = [Path(line.strip()).stem for line in listed.read_text("utf-8").splitlines()]
        for name in filter(None, names):
            image = read_image(_only(archive / "images", name, (".tif", ".tiff", ".TIF")))
            source = _only(archive / "masks", name, (".png",))
            mask = read_image(source)[0]
            check_size(mask, image.shape[1:], source)
            labels = remove_small(connected_components(mask), _SMALLEST_NUCLEUS)
            yield Sample(part, name, image, relabel(labels).astype(np.uint16))


def _only(folder: Path, stem: str, ends: Sequence[str]) -> Path:
    """Find the file of that stem with one of the endings."""
    found = [folder / f"{stem}{end}" for end in ends if (folder / f"{stem}{end}").is_file()]
    expect_files(found, folder / f"{stem}{ends[0]}", "a file of the archive")
    return found[0]


SET = DataSet(
    name="bbbc039",
    title="Fluorescence microscopy of nuclei (U2OS cells, Hoechst)",
    license="CC0 1.0",
    citation="doi:10.1002/cyto.a.23863",
    source="https://bbbc.broadinstitute.org/BBBC039",
    archive="images/*.tif, masks/*.png, metadata/{training,validation,test}.txt",
    prepare=prepare,
    preset="pea_bbbc039",
)
