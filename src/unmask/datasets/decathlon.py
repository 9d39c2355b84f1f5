"""Medical Segmentation Decathlon: any of the ten tasks, by its dataset.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unmask.datasets.dataset import DataSet, Item
from unmask.datasets.files import expect_some, list_files, match_files, natural_key
from unmask.datasets.volumes import Case, case_item, divide, hold_out, read_held_out, sort_cases
from unmask.errors import DataError, message, raise_problems

_FOLDS = 5
# Volumes with labels and of the test, by the number of the task.
_PUBLISHED = {1: (484, 266), 2: (20, 10), 3: (131, 70), 4: (260, 130), 5: (32, 16), 6: (63, 32),
              7: (281, 139), 8: (303, 140), 9: (41, 20), 10: (126, 64)}  # fmt: skip


def find(
    archive: Path,
    *,
    fold: int = 0,
    held_out: Path | None = None,
    copy: bool = False,
    partial: bool = False,
) -> list[Item]:
    """List the volumes of a task; they are linked or copied.

    Args:
        archive: the unpacked archive of one task.
        fold: which of five blocks of cases is held out for validation.
        held_out: file with the cases to hold out instead, one per line.
        copy: copy volumes instead of linking them.
        partial: accept an archive without some of its volumes.

    Raises:
        DataError: no dataset.json, several tasks, or files that are missing.
        RecipeError: there is no such fold.
    """
    path = _find_list(archive)
    cases, absent = _cases(path, read_list(path))
    if absent and not partial:
        raise DataError(
            message(
                path,
                expected="all files that it lists",
                found=f"{len(absent)} missing ({', '.join(absent[:3])})",
                do="Get the whole archive, or take it as it is: --set partial=true.",
            )
        )
    if not partial:
        _check_published(path, cases)
    expect_some(cases, archive, "volumes imagesTr/*.nii.gz")
    chosen = hold_out(cases, fold, _FOLDS) if held_out is None else read_held_out(cases, held_out)
    return [case_item(part, case, copy=copy) for part, case in divide(cases, chosen)]


def read_list(path: Path) -> Mapping[str, Any]:
    """Read the list of a task.

    Raises:
        DataError: JSON of another content.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        _ = [(each["image"], each["label"]) for each in tree["training"]]
        _ = [str(each) for each in tree.get("test", [])]
        _ = len(tree["labels"]), len(tree["modality"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            message(
                path,
                expected="training, labels and modality of the Decathlon",
                found=f"{type(error).__name__}: {error}",
                do="Download the archive again.",
            )
        ) from error
    return tree


def settings(archive: Path) -> tuple[str, ...]:
    """Arguments of the training: classes and channels of the task."""
    tree = read_list(_find_list(archive))
    classes, channels = len(tree["labels"]), len(tree["modality"])
    return "--set", f"task.classes={classes}", "--set", f"data.channels={channels}"


def _find_list(archive: Path) -> Path:
    found = [*match_files(list_files(archive), r"dataset\.json")]
    expect_some(found, archive, "the dataset.json of a task, such as Task04_Hippocampus")
    if len(found) > 1:
        raise DataError(
            message(
                archive,
                expected="one task",
                found=", ".join(path.parent.name for path in found),
                do="Give the archive of one of them.",
            )
        )
    return found[0]


def _cases(path: Path, tree: Mapping[str, Any]) -> tuple[list[Case], list[str]]:
    """Cases whose files are there, and the names of the files that are not."""
    absent: list[str] = []
    cases = []
    pairs = [(each["image"], each["label"]) for each in tree["training"]]
    for image, label in [*pairs, *((each, None) for each in tree.get("test", []))]:
        files = [path.parent / each for each in (image, label) if each is not None]
        gone = [file.relative_to(path.parent).as_posix() for file in files if not file.is_file()]
        absent += gone
        if not gone:
            name = files[0].name.partition(".nii")[0]
            cases.append(Case(name, name, files[0], files[1] if label is not None else None))
    return sort_cases(cases), sorted(absent, key=natural_key)


def _check_published(path: Path, cases: list[Case]) -> None:
    name = path.parent.name
    digits = name[4:6]
    number = int(digits) if name.lower().startswith("task") and digits.isdecimal() else 0
    if number not in _PUBLISHED:
        return
    labeled = sum(case.labels is not None for case in cases)
    counts = (labeled, len(cases) - labeled)
    if counts != _PUBLISHED[number]:
        raise_problems(
            [
                message(
                    path,
                    expected="{} volumes with labels and {} of the test".format(
                        *_PUBLISHED[number]
                    ),
                    found="{} and {}".format(*counts),
                    do="Get the official archive, or take it as it is: --set partial=true.",
                )
            ]
        )


SET = DataSet(
    name="decathlon",
    title="CT and MRI of ten organs, any task (Medical Segmentation Decathlon)",
    license="CC BY-SA 4.0",
    citation="doi:10.1038/s41467-022-30695-9",
    source="http://medicaldecathlon.com",
    archive="TaskNN_Name.tar: dataset.json, imagesTr, labelsTr, imagesTs",
    find=find,
    preset="semantic3d",
    more=settings,
    notes="Tasks 1 and 9 have presets of GL-MAE: `unmask prepare brats21` and `spleen`.",
)
