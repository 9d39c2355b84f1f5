"""Archives of NIfTI volumes with labels: cases, folds, and links to the files of each part.

Folds are blocks of the sorted cases, of the sizes in Table I of GL-MAE
(doi:10.1109/TMI.2025.3569782). ``held_out`` gives another split: a file with one case per line,
or a table with patients and scans.
"""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unmask.atomic import save_error
from unmask.datasets.dataset import Item
from unmask.datasets.files import list_files, natural_key
from unmask.datasets.lists import one_per_line, read_names
from unmask.errors import DataError, RecipeError, message, raise_problems

_END = r"\.nii(?:\.gz)?"


@dataclass(frozen=True)
class Volumes:
    """An archive of NIfTI volumes; a pattern has one ``*``, which stands for the case.

    Attributes:
        images: last parts of the paths of labeled images, without ``.nii`` or ``.nii.gz``.
        labels: those of their labels, in the same order.
        test: those of images without labels.
        folds: number of blocks that the sorted cases are divided into.
        backwards: fold 0 is the last block.
        below: number that a case stays below to be taken; None: all.
    """

    images: tuple[str, ...]
    labels: tuple[str, ...]
    test: tuple[str, ...] = ()
    folds: int = 5
    backwards: bool = False
    below: int | None = None


@dataclass(frozen=True)
class Case:
    """One volume of an archive.

    Attributes:
        name: what its files are called in the parts.
        unit: what stays in one part: the case, or the patient of several scans.
        source: the image, or the folder of its slices.
        labels: its labels, or the class of a scan; None where there are none.
    """

    name: str
    unit: str
    source: Path
    labels: Path | str | None


def make_find(layout: Volumes) -> Callable[..., list[Item]]:
    """Make the function that lists the volumes of an archive."""

    def find(
        archive: Path, *, fold: int = 0, held_out: Path | None = None, copy: bool = False
    ) -> list[Item]:
        """List the volumes of an archive by part; they are linked or copied.

        Args:
            archive: the unpacked archive, or a folder above it.
            fold: which block of cases is held out for validation.
            held_out: file with the cases to hold out instead, one per line.
            copy: copy volumes instead of linking them.

        Raises:
            DataError: an archive without its files, or images without labels; all at once.
            RecipeError: there is no such fold.
        """
        cases = find_cases(archive, layout)
        chosen = (
            hold_out(cases, fold, layout.folds, backwards=layout.backwards)
            if held_out is None
            else read_held_out(cases, held_out)
        )
        return [case_item(part, case, copy=copy) for part, case in divide(cases, chosen)]

    return find


def case_item(part: str, case: Case, *, copy: bool) -> Item:
    """Make the item of a volume whose files are linked or copied as they are."""

    def write(folder: Path, name: str) -> None:
        for kind, source in (("images", case.source), ("labels", case.labels)):
            if isinstance(source, Path):
                end = "".join(source.suffixes[-2:]) if source.suffix == ".gz" else source.suffix
                place(source, folder / kind / f"{name}{end}", copy=copy)

    return Item(part, case.name, write)


def divide(cases: Sequence[Case], held_out: set[str]) -> list[tuple[str, Case]]:
    """Give each case its part: ``test`` without labels, ``val`` if held out, else ``train``."""

    def part_of(case: Case) -> str:
        if case.labels is None:
            return "test"
        return "val" if case.unit in held_out or case.name in held_out else "train"

    parts = [(part_of(case), case) for case in cases]
    return sorted(parts, key=lambda pair: ("train", "val", "test").index(pair[0]))


def sort_cases(cases: Sequence[Case]) -> list[Case]:
    """Sort cases so that 2 comes before 10."""
    return sorted(cases, key=lambda case: (natural_key(case.unit), natural_key(case.name)))


def expect_labeled(cases: Sequence[Case], archive: Path, expected: str) -> None:
    """Refuse an archive without any labeled case.

    Raises:
        DataError: there is none.
    """
    if not any(case.labels is not None for case in cases):
        raise DataError(
            message(
                archive,
                expected=expected,
                found="none",
                do="Give the official archive, or the folder that it was unpacked into.",
            )
        )


def hold_out(
    cases: Sequence[Case], fold: int, folds: int, *, backwards: bool = False, by_class: bool = False
) -> set[str]:
    """Choose the units of one block of the sorted, labeled cases.

    Args:
        cases: all cases.
        fold: number of the block.
        folds: number of blocks.
        backwards: fold 0 is the last block.
        by_class: take a block of every class, so that no class is held out as a whole.

    Raises:
        RecipeError: there is no such block.
    """
    if not 0 <= fold < folds:
        raise RecipeError(
            f"fold={fold}: expected 0 to {folds - 1}, as many as the set has, found another. "
            "Change it."
        )
    labeled = [case for case in cases if case.labels is not None]
    groups = {case.labels if by_class else None for case in labeled}
    chosen: set[str] = set()
    for group in groups:
        units = dict.fromkeys(case.unit for case in labeled if group in (None, case.labels))
        blocks = np.array_split(np.array([*units], dtype=object), folds)
        chosen.update(blocks[-1 - fold if backwards else fold])
    return chosen


def read_held_out(cases: Sequence[Case], path: Path) -> set[str]:
    """Read the names of the cases to hold out: one per line, or the CSV table of CC-CCII.

    Raises:
        DataError: no file, or cases that the archive does not have.
    """
    return read_names(path, known=[case.name for case in cases], parse=_case_names)


def _case_names(lines: Sequence[str]) -> set[str]:
    rows = list(csv.DictReader(lines))
    if rows and {"patient_id", "scan_id", "label"} <= rows[0].keys():
        return {f"{row['label']}_{row['patient_id']}_{row['scan_id']}" for row in rows}
    return one_per_line(lines)


def find_cases(archive: Path, layout: Volumes) -> list[Case]:
    """Find all cases, in natural order.

    Raises:
        DataError: none, or images without labels.
    """
    files = [path for path in list_files(archive) if ".nii" in path.name]
    pairs = zip(layout.images, layout.labels, strict=True)
    found = [case for pair in pairs for case in _volumes(files, *pair, layout.below)]
    found += [case for each in layout.test for case in _volumes(files, each, None, layout.below)]
    names = " and ".join(f"{each}.nii.gz" for each in layout.images)
    expect_labeled(found, archive, f"volumes {names}")
    return sort_cases(found)


def _volumes(
    files: Sequence[Path], images: str, labels: str | None, below: int | None
) -> Iterator[Case]:
    """Find the cases whose image fits a pattern."""
    pattern = re.compile(
        r"(?P<root>.*/|)" + re.escape(images).replace(r"\*", r"(?P<case>[^/]+)") + _END
    )
    problems: list[str] = []
    for path in files:
        match = pattern.fullmatch(path.as_posix())
        if match is None or not _is_below(match["case"], below):
            continue
        name = re.sub(f"{_END}$", "", path.name)
        if labels is None:
            yield Case(name, name, path, None)
            continue
        stem = match["root"] + labels.replace("*", match["case"])
        labeled = [Path(stem + end) for end in (".nii.gz", ".nii") if Path(stem + end).is_file()]
        if labeled:
            yield Case(name, name, path, labeled[0])
        else:
            problems.append(
                message(
                    path, expected=f"its labels {stem}.nii.gz", found="none", do="Unpack them too."
                )
            )
    raise_problems(problems)


def _is_below(case: str, below: int | None) -> bool:
    return below is None or (case.isdecimal() and int(case) < below)


def place(source: Path, target: Path, *, copy: bool) -> None:
    """Link or copy a file.

    Raises:
        SaveError: it cannot be placed.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        if copy:
            shutil.copyfile(source, target)
        else:
            target.symlink_to(source.resolve())
    except OSError as error:
        more = "Links need a file system that has them; --set copy=true copies. "
        raise save_error(target, error, "" if copy else more) from error
