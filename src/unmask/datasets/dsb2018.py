"""Data Science Bowl 2018 (BBBC038): nuclei, one mask per nucleus, tests as run lengths."""

from __future__ import annotations

import csv
from collections import defaultdict
from functools import partial
from pathlib import Path

import numpy as np

from unmask.datasets.dataset import DataSet, Item
from unmask.datasets.files import expect_some, list_files, match_files, missing
from unmask.datasets.painting import kaggle_object, paint_objects
from unmask.datasets.samples import Sample, check_size, read_image, read_labels, sample_item
from unmask.errors import DataError, describe_error, message, raise_problems

_TESTS = {"stage1_test": "stage1_solution.csv", "stage2_test_final": "stage2_solution_final.csv"}


def find(archive: Path) -> list[Item]:
    """List the images of the training part, and of the tests whose solutions are given.

    Raises:
        DataError: no images, or images without masks; all at once.
    """
    files = list_files(archive)
    found = match_files(files, r"([^/]*stage1_train|stage1_test|stage2_test_final)/"
                               r"([^/]+)/images/\2\.png")  # fmt: skip
    expect_some(found, archive, "images stage1_train/ID/images/ID.png")
    masks = defaultdict(list)
    for path in match_files(files, r"stage1_train/[^/]+/masks/[^/]+\.png"):
        masks[path.parent.parent].append(path)
    solutions = {stage: _solution(files, name) for stage, name in _TESTS.items()}
    items, problems = [], []
    for path, match in found.items():
        stage, name = match[1].lower(), match[2]
        if stage not in _TESTS:
            own = masks.get(path.parent.parent)
            if not own:
                problems.append(missing(path.parent.parent / "masks", "the folder", path))
            items.append(sample_item("train", name, partial(_read, path, own or [])))
        elif name in solutions[stage]:
            nuclei = solutions[stage][name]
            items.append(sample_item("test", name, partial(_read_test, path, nuclei)))
    raise_problems(problems)
    return items


def _solution(files: list[Path], name: str) -> dict[str, list[str]]:
    """Run lengths of the nuclei of each image that counts for the score."""
    nuclei: dict[str, list[str]] = defaultdict(list)
    for path in match_files(files, name.replace(".", r"\.")):
        try:
            with path.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    if row.get("Usage", "").strip().lower() != "ignored":
                        nuclei[row["ImageId"]].append(row["EncodedPixels"])
        except (OSError, KeyError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(
                message(
                    path,
                    expected="a table with the columns ImageId and EncodedPixels",
                    found=f"{type(error).__name__}: {error}",
                    do="Download it again.",
                )
            ) from error
    return nuclei


def _read(path: Path, masks: list[Path]) -> Sample:
    """Read an image and number its masks."""
    image = read_image(path)[:3]
    labels = np.zeros(image.shape[1:], np.uint16)
    for number, mask in enumerate(masks, 1):
        pixels = read_labels(mask)
        check_size(pixels.shape, labels.shape, mask)
        labels[pixels > 0] = number
    return Sample(image, labels)


def _read_test(path: Path, nuclei: list[str]) -> Sample:
    image = read_image(path)[:3]
    height, width = image.shape[1:]
    try:
        objects = [kaggle_object(each, (height, width)) for each in nuclei]
    except ValueError as error:
        raise DataError(
            message(
                path,
                expected="run lengths of its nuclei in the solution",
                found=describe_error(error),
                do="Get the solution of this stage again.",
            )
        ) from error
    return Sample(image, paint_objects(objects, (height, width)))


SET = DataSet(
    name="dsb2018",
    title="Nuclei in fluorescence and stained tissue (Data Science Bowl 2018, BBBC038)",
    license="CC0 1.0",
    citation="doi:10.1038/s41592-019-0612-7",
    source="https://bbbc.broadinstitute.org/BBBC038",
    archive="stage1_train.zip, optionally stage1_test.zip with stage1_solution.csv and "
    "stage2_test_final.zip with stage2_solution_final.csv; or Kaggle's zip of them",
    find=find,
    counts={"train": (670,), "test": (0, 65, 106, 171)},
    preset="cells",
    notes="The tests are the 65 images of stage 1 and the 106 of stage 2 that count for the score.",
)
