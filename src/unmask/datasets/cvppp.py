"""CVPPP A1: leaves of plants, with the split of Pixel-Embedded Affinity."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from unmask.datasets.cvppp_challenge import write_submission
from unmask.datasets.dataset import DataSet, Item
from unmask.datasets.files import expect_some, list_files, match_files
from unmask.datasets.samples import Sample, read_image, read_labels, sample_item

# The published list; the program that drew it depends on the order of a folder's listing.
CVPPP_VAL = (2, 16, 29, 37, 45, 46, 55, 61, 72, 80, 88, 99, 104, 108, 115, 127, 130, 142, 148, 159)


def find(archive: Path) -> list[Item]:
    """List the images of the parts of Pixel-Embedded Affinity (doi:10.1609/aaai.v36i1.19984).

    Images without labels are the test part. ``<part>/foreground`` holds the masks of the plants.

    Raises:
        DataError: no images.
    """
    # The archive of the challenge has further sets of plants, A2 to A5, in folders of their own.
    files = [path for path in list_files(archive) if not {"A2", "A3", "A4", "A5"} & {*path.parts}]
    found = match_files(files, r"(plant(\d+))_rgb\.png")
    expect_some(found, archive, "files plantNNN_rgb.png of CVPPP A1")
    items = []
    for path, match in found.items():
        labels, foreground = (path.with_name(f"{match[1]}_{end}.png") for end in ("label", "fg"))
        labeled = "val" if int(match[2]) in CVPPP_VAL else "train"
        part = labeled if labels.is_file() else "test"
        items.append(sample_item(part, match[1], partial(_read, path, labels, foreground)))
    return items


def _read(image: Path, labels: Path, foreground: Path) -> Sample:
    ids, mask = (read_labels(path) if path.is_file() else None for path in (labels, foreground))
    return Sample(read_image(image)[:3], ids, mask)


SET = DataSet(
    name="cvppp",
    title="Photographs of plants from above, single leaves (CVPPP A1)",
    license="terms of the source",
    citation="doi:10.1016/j.patrec.2015.10.013",
    source="https://www.plant-phenotyping.org/datasets-home",
    archive="plantNNN_rgb.png, plantNNN_fg.png, plantNNN_label.png",
    find=find,
    counts={"train": (108,), "val": (20,), "test": (0, 33)},
    sizes=((530, 500),),
    preset="pea_cvppp",
    submit=write_submission,
    notes="`<part>/foreground` holds the masks of the plants. "
    "`unmask prepare cvppp PREDICTED --submission --out A1.h5` writes the submission file.",
)
