"""CVPPP A1: leaves of plants, with the split of Pixel-Embedded Affinity."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from unmask.datasets.dataset import DataSet
from unmask.datasets.samples import Sample, check_size, expect_files, read_image, write_samples

# The published list; the program that drew it depends on the order of a folder's listing.
CVPPP_VAL = (2, 16, 29, 37, 45, 46, 55, 61, 72, 80, 88, 99, 104, 108, 115, 127, 130, 142, 148, 159)


def prepare(archive: Path, out: Path) -> dict[str, int]:
    """Write the parts of Pixel-Embedded Affinity (doi:10.1609/aaai.v36i1.19984).

    Images without labels are the test part. ``<part>/foreground`` holds the masks of the plants.

    Raises:
        DataError: no images, or labels of another size; names the file.
    """
    return write_samples(_read_samples(archive), out)


def _read_samples(archive: Path) -> Iterator[Sample]:
    """Read images with their labels and foreground, if present."""
    found = sorted(archive.rglob("plant*_rgb.png"))
    expect_files(found, archive, "files plantNNN_rgb.png of CVPPP A1")
    for path in found:
        name = path.name.removesuffix("_rgb.png")
        number = int("".join(re.findall(r"\d+", name)) or -1)
        image = read_image(path)[:3]
        paths = {end: path.with_name(f"{name}_{end}.png") for end in ("label", "fg")}
        arrays = {
            end: read_image(file)[0] if file.is_file() else None for end, file in paths.items()
        }
        for end, array in arrays.items():
            check_size(array, image.shape[1:], paths[end])
        labeled = "val" if number in CVPPP_VAL else "train"
        part = "test" if arrays["label"] is None else labeled
        yield Sample(part, name, image, arrays["label"], foreground=arrays["fg"])


SET = DataSet(
    name="cvppp",
    title="Photographs of plants from above, single leaves (CVPPP A1)",
    license="terms of the source",
    citation="doi:10.1016/j.patrec.2015.10.013",
    source="https://www.plant-phenotyping.org/datasets-home",
    archive="plantNNN_rgb.png, plantNNN_fg.png, plantNNN_label.png",
    prepare=prepare,
    preset="pea_cvppp",
)
