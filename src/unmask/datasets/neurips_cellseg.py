"""NeurIPS 2022 cell segmentation challenge: labeled, tuning, test and unlabeled images."""

from __future__ import annotations

import io
import zipfile
from functools import partial
from pathlib import Path

import tifffile

from unmask.atomic import atomic_path
from unmask.datasets.dataset import DataSet, Item
from unmask.datasets.files import expect_some, list_files, match_files, missing
from unmask.datasets.samples import Sample, read_image, read_labels, sample_item
from unmask.datasets.volumes import Case, case_item
from unmask.errors import DataError, message, raise_problems
from unmask.io import open_labels, smallest_uint

_END = r"\.(?:bmp|png|tif|tiff|jpg|jpeg)"
_PARTS = {
    "Training-labeled": "train",
    "Tuning": "val",
    "Testing/Public": "test",
    "Testing/Hidden": "hidden",
}
_UNLABELED = r"(?:train-unlabeled-part[12]|release-part[12])/(?:.+/)?([^/]+)"


def find(archive: Path, *, copy: bool = False) -> list[Item]:
    """List the images of all parts that the archive has; unlabeled ones are linked or copied.

    Args:
        archive: the unpacked archives.
        copy: copy unlabeled images instead of linking them.

    Raises:
        DataError: no images, or labeled images without labels.
    """
    files = list_files(archive)
    items, problems = [], []
    for folder, part in _PARTS.items():
        images = match_files(files, rf"{folder}/(?:images|img)/([^/]+){_END}")
        labels = {
            match[1]: path
            for path, match in match_files(
                files, rf"{folder}/(?:labels|[^/]*seg[^/]*)/([^/]+)_label\.tiff?"
            ).items()
        }
        for path, match in images.items():
            own = labels.get(match[1])
            if own is None and (labels or part == "train"):
                wanted = Path(f"labels/{match[1]}_label.tiff")
                problems.append(missing(wanted, "its labels", path))
            # Images for tuning were published long before their labels.
            name = part if labels or part == "train" else f"{part}_unlabeled"
            items.append(sample_item(name, match[1], partial(_read, path, own)))
    for path, match in match_files(files, _UNLABELED + _END).items():
        items.append(case_item("unlabeled", Case(match[1], match[1], path, None), copy=copy))
    expect_some(items, archive, "images Training-labeled/images/cell_NNNNN.*")
    raise_problems(problems)
    return items


def _read(image: Path, labels: Path | None) -> Sample:
    return Sample(read_image(image)[:3], None if labels is None else read_labels(labels))


def write_submission(predicted: Path, out: Path) -> list[str]:
    """Write a zip of label images named ``<image>_label.tiff``, as the challenge takes them.

    Args:
        predicted: folder of label images.
        out: the zip file.

    Returns:
        The names of the images.

    Raises:
        DataError: no label images, or two of one name; a file that is not a label image.
        SaveError: the file cannot be written.
    """
    found = match_files(list_files(predicted), r"([^/]+?)(?:_label)?\.(?:tif|tiff|png)")
    expect_some(found, predicted, "label images such as cell_00001.tif")
    names = [match[1] for match in found.values()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            message(
                predicted,
                expected="one label image per image",
                found=f"{len(twice)} twice ({', '.join(twice[:5])})",
                do="Give the folder of one prediction.",
            )
        )
    with atomic_path(out) as unfinished, zipfile.ZipFile(unfinished, "w") as archive:
        for path, name in zip(found, names, strict=True):
            labels = open_labels(path, ndim=2).read()[0]
            stored = smallest_uint(labels)
            kind = "uint16" if stored.dtype.itemsize < 4 else "uint32"
            member = io.BytesIO()
            tifffile.imwrite(member, stored.astype(kind), compression="zlib")
            archive.writestr(f"{name}_label.tiff", member.getvalue())
    return names


SET = DataSet(
    name="neurips_cellseg",
    title="Cells of many microscopes and stains (NeurIPS 2022 cell segmentation challenge)",
    license="CC BY-NC-ND 4.0",
    citation="doi:10.1038/s41592-024-02233-6",
    source="https://zenodo.org/records/10719375",
    archive="Training-labeled.zip, optionally Tuning.zip, Testing.zip and "
    "train-unlabeled-part{1,2}.zip: images/cell_NNNNN.*, labels/cell_NNNNN_label.tiff",
    find=find,
    counts={"train": (1000,), "val+val_unlabeled": (0, 101), "unlabeled": (0, 13, 1712, 1725)},
    preset="mediar_finetune",
    more=("--init", "runs/mediar_public"),
    submit=write_submission,
    notes="The command starts with weights of `mediar_public`; the preset `neurips_baseline` is "
    "the published baseline. `unmask prepare neurips_cellseg "
    "PREDICTED --submission --out labels.zip` writes label images as the challenge takes them.",
)
