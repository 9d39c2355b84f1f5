"""Eight public sets of medical volumes: from their archives to parts for training and validation.

    python -m unmask.datasets.medical_sets NAME ARCHIVE OUT [--fold N] [--held-out FILE] [--copy]

NAME is one of ``btcv mmwhs spleen amos22 word covid19_20 brats21 cc_ccii``; ``LAYOUTS`` says which
files each archive has. OUT gets ``train`` and ``val`` with ``images`` and ``labels``, and ``test``
with the images that come without labels, if any; a volume is linked, not copied. CC-CCII has slices
and one class a scan: it gets volumes, and ``classes.csv`` in place of labels.

Folds are blocks of the sorted cases, of the sizes in Table I of GL-MAE
(doi:10.1109/TMI.2025.3569782); fold 0 of BTCV holds out the published cases 35 to 40. Another split
is given by ``--held-out``: a file with one case a line, or a table with patients and scans.
"""

from __future__ import annotations

import argparse
import csv
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from unmask.apps import command
from unmask.data.tables import CLASS, NAME, write_table
from unmask.errors import DataError, RecipeError, SaveError, gather, message
from unmask.io import save_image

_END = r"\.nii(?:\.gz)?"
_SLICES = (".png", ".jpg", ".jpeg")
_FORMATS = ("PNG", "JPEG")


@dataclass(frozen=True)
class Volumes:
    """An archive of NIfTI volumes; a pattern has one ``*``, which stands for the case.

    Attributes:
        images: last parts of the paths of labelled images, without ``.nii`` or ``.nii.gz``.
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
class Scans:
    """An archive of slices, ``CLASS/PATIENT/SCAN/*.png`` or ``.jpg``, one class a scan.

    Attributes:
        classes: names of the folders.
        folds: number of blocks that the sorted patients of each class are divided into.
    """

    classes: tuple[str, ...]
    folds: int = 3


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


LAYOUTS: dict[str, Volumes | Scans] = {
    "btcv": Volumes(
        images=("Training/img/img*",),
        labels=("Training/label/label*",),
        test=("Testing/img/img*",),
        backwards=True,
    ),
    "mmwhs": Volumes(
        images=("ct_train/ct_train_*_image",),
        labels=("ct_train/ct_train_*_label",),
        test=("ct_test/ct_test_*_image",),
    ),
    "spleen": Volumes(
        images=("imagesTr/spleen_*",), labels=("labelsTr/spleen_*",), test=("imagesTs/spleen_*",)
    ),
    "amos22": Volumes(
        # numbers of 500 and more are MRI
        images=("imagesTr/amos_*", "imagesVa/amos_*"),
        labels=("labelsTr/amos_*", "labelsVa/amos_*"),
        test=("imagesTs/amos_*",),
        below=500,
    ),
    "word": Volumes(
        images=("imagesTr/word_*",), labels=("labelsTr/word_*",), test=("imagesTs/word_*",)
    ),
    "covid19_20": Volumes(
        images=("Train/*_ct",), labels=("Train/*_seg",), test=("Validation/*_ct",), backwards=True
    ),
    "brats21": Volumes(
        images=("imagesTr/BRATS_*",), labels=("labelsTr/BRATS_*",), test=("imagesTs/BRATS_*",)
    ),
    "cc_ccii": Scans(classes=("Normal", "CP", "NCP")),
}


def prepare(
    archive: Path,
    out: Path,
    *,
    name: str,
    fold: int = 0,
    held_out: Path | None = None,
    copy: bool = False,
) -> dict[str, int]:
    """Write the parts of an archive; the number of volumes of each part comes back.

    Args:
        archive: the unpacked archive, or a folder above it.
        out: folder of the parts.
        name: a key of ``LAYOUTS``.
        fold: which block of cases is held out for validation.
        held_out: file with the cases to be held out instead, one a line, or a table with the
            columns ``patient_id`` and ``scan_id``.
        copy: copy volumes where links cannot be made.

    Raises:
        DataError: an archive without its files, images without labels, slices of different sizes;
            all problems at once.
        RecipeError: a fold that there is not.
        SaveError: ``out`` cannot be written.
    """
    layout = LAYOUTS[name]
    cases = _cases(archive, layout)
    chosen = _fold(cases, layout, fold) if held_out is None else _listed(cases, held_out)
    parts: dict[str, list[Case]] = {"train": [], "val": [], "test": []}
    for case in cases:
        labelled = "val" if case.unit in chosen or case.name in chosen else "train"
        parts["test" if case.labels is None else labelled].append(case)
    write = _write_scans if isinstance(layout, Scans) else _write_volumes
    for part, found in parts.items():
        if found:
            write(found, out / part, copy=copy)
    return {part: len(found) for part, found in parts.items() if found}


def _cases(archive: Path, layout: Volumes | Scans) -> list[Case]:
    """All cases in natural order.

    Raises:
        DataError: none, or images without labels.
    """
    if isinstance(layout, Scans):
        found = list(_scans(archive, layout))
        expected = f"slices in {'|'.join(layout.classes)}/PATIENT/SCAN"
    else:
        files = [path for path in archive.rglob("*.nii*") if not path.name.startswith(".")]
        pairs = zip(layout.images, layout.labels, strict=True)
        found = [case for pair in pairs for case in _volumes(files, *pair, layout.below)]
        found += [
            case for each in layout.test for case in _volumes(files, each, None, layout.below)
        ]
        expected = f"volumes {' and '.join(f'{each}.nii.gz' for each in layout.images)}"
    if not any(case.labels is not None for case in found):
        raise DataError(
            message(archive, expected=expected, found="none", do="Unpack the archive there.")
        )
    return sorted(found, key=lambda case: (_natural(case.unit), _natural(case.name)))


def _volumes(
    files: Sequence[Path], images: str, labels: str | None, below: int | None
) -> Iterator[Case]:
    """Cases whose image fits a pattern."""
    pattern = re.compile(
        r"(?P<root>.*/|)" + re.escape(images).replace(r"\*", r"(?P<case>[^/]+)") + _END
    )
    problems: list[str] = []
    for path in files:
        match = pattern.fullmatch(path.as_posix())
        if match is None or (below is not None and int(match["case"]) >= below):
            continue
        name = re.sub(f"{_END}$", "", path.name)
        if labels is None:
            yield Case(name, name, path, None)
            continue
        stem = match["root"] + labels.replace("*", match["case"])
        beside = [Path(stem + end) for end in (".nii.gz", ".nii") if Path(stem + end).is_file()]
        if beside:
            yield Case(name, name, path, beside[0])
        else:
            problems.append(
                message(
                    path, expected=f"its labels {stem}.nii.gz", found="none", do="Unpack them too."
                )
            )
    if problems:
        raise DataError(gather(problems, heading=f"{len(problems)} problem(s) found:"))


def _scans(archive: Path, layout: Scans) -> Iterator[Case]:
    for label in layout.classes:
        for folder in sorted(archive.rglob(f"{label}/*/*")):
            if folder.is_dir() and _slices(folder):
                patient = f"{label}_{folder.parent.name}"
                yield Case(f"{patient}_{folder.name}", patient, folder, label)


def _slices(folder: Path) -> list[Path]:
    found = [p for p in folder.iterdir() if p.suffix.lower() in _SLICES and p.name[0] != "."]
    return sorted(found, key=lambda path: _natural(path.name))


def _fold(cases: Sequence[Case], layout: Volumes | Scans, fold: int) -> set[str]:
    """Units of the block that is held out."""
    if not 0 <= fold < layout.folds:
        raise RecipeError(
            f"--fold {fold}: expected 0 to {layout.folds - 1}, as many as the set has. Change it."
        )
    labelled = [case for case in cases if case.labels is not None]
    backwards = isinstance(layout, Volumes) and layout.backwards
    block = -1 - fold if backwards else fold
    # of scans a block of every class, so that no class is held out as a whole
    groups = layout.classes if isinstance(layout, Scans) else (None,)
    held_out: set[str] = set()
    for group in groups:
        units = dict.fromkeys(case.unit for case in labelled if group in (None, case.labels))
        held_out.update(np.array_split(np.array([*units], dtype=object), layout.folds)[block])
    return held_out


def _listed(cases: Sequence[Case], path: Path) -> set[str]:
    """Names of the cases that a file holds out.

    Raises:
        DataError: no file, or cases that the archive does not have.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            message(path, expected="a list of cases", found=str(error), do="Check the path.")
        ) from error
    rows = list(csv.DictReader(lines))
    if rows and {"patient_id", "scan_id", "label"} <= rows[0].keys():
        wanted = {f"{row['label']}_{row['patient_id']}_{row['scan_id']}" for row in rows}
    else:
        wanted = {line.strip() for line in lines if line.strip()}
    strange = sorted(wanted - {case.name for case in cases})
    if strange:
        raise DataError(
            message(
                path,
                expected="cases of the archive, such as " + cases[0].name,
                found=f"{len(strange)} others ({', '.join(strange[:6])})",
                do="Correct the list, or unpack the rest of the archive.",
            )
        )
    return wanted


def _write_volumes(cases: Sequence[Case], folder: Path, *, copy: bool) -> None:
    for case in cases:
        for kind, source in (("images", case.source), ("labels", case.labels)):
            if isinstance(source, Path):
                end = "".join(source.suffixes[-2:]) if source.suffix == ".gz" else source.suffix
                _place(source, folder / kind / f"{case.name}{end}", copy=copy)


def _place(source: Path, target: Path, *, copy: bool) -> None:
    """A link to a file, or a copy of it."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        if copy:
            shutil.copyfile(source, target)
        else:
            target.symlink_to(source.resolve())
    except OSError as error:
        raise SaveError(
            f"{target}: expected a place for {source.name}, found: {error.strerror}. Check the "
            "permissions, or copy the volumes: --copy."
        ) from error


def _write_scans(cases: Sequence[Case], folder: Path, *, copy: bool) -> None:  # noqa: ARG001
    """Volumes ``(z, y, x)`` uint8 of slices, and the table of their classes."""
    problems: list[str] = []
    for case in cases:
        try:
            volume = _stacked(case.source)
        except DataError as error:
            problems.append(str(error))
            continue
        save_image(folder / "images" / f"{case.name}.tif", volume, axes="ZYX")
    if problems:
        raise DataError(gather(problems, heading=f"{len(problems)} problem(s) found:"))
    write_table(folder / "classes.csv", [{NAME: case.name, CLASS: case.labels} for case in cases])


def _stacked(folder: Path) -> np.ndarray:
    slices = []
    for path in _slices(folder):
        try:
            with Image.open(path, formats=_FORMATS) as file:
                slices.append(np.asarray(file.convert("L")))
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
            raise DataError(
                message(path, expected="an image", found=str(error), do="Unpack the archive again.")
            ) from error
    sizes = sorted({each.shape for each in slices})
    if len(sizes) > 1:
        raise DataError(
            message(
                folder,
                expected="slices of one size",
                found=", ".join(map(str, sizes)),
                do="Remove the slices of another size.",
            )
        )
    return np.stack(slices)


def _natural(text: str) -> list[tuple[int, str]]:
    """Sort key under which 2 comes before 10."""
    return [(int(p), "") if p.isdigit() else (-1, p) for p in re.split(r"(\d+)", text) if p]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit code 2 where the archive is wrong."""
    options = command.parser(__doc__)
    options.add_argument("name", choices=LAYOUTS)
    options.add_argument("archive", type=Path)
    options.add_argument("out", type=Path)
    options.add_argument("--fold", type=int, default=0)
    options.add_argument("--held-out", type=Path)
    options.add_argument("--copy", action="store_true")
    return command.run(options, arguments, _prepare)


def _prepare(given: argparse.Namespace) -> None:
    for part, count in prepare(**vars(given)).items():
        print(f"{part}: {count} volume(s) in {given.out / part}")


if __name__ == "__main__":
    sys.exit(main())
