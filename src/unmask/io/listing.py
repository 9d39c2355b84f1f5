"""Lists of images and labels in JSON: ``dataset.json`` of MSD, MONAI, nnU-Net, with their folds.

Read are: lists of ``{"image", "label"}`` under ``training``, ``validation`` and ``test`` (MSD,
nnU-Net 1, MONAI; an entry may carry its ``fold``); nnU-Net 2 with ``channel_names`` and
``file_ending``, whose files are those in ``imagesTr``, ``labelsTr`` and ``imagesTs``, or listed
under ``dataset``; and next to any of them ``splits_final.json``, a list of
``{"train": [names], "val": [names]}``. Paths count from the folder of the file.

A part is named after a colon: ``dataset.json:train``, ``:val``, ``:test``, or of a fold
``:train0`` and ``:val0``; without one it is everything that has labels. Where a file names no folds
there are five, its cases dealt out in an order that never changes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unmask.errors import DataError, describe_error, message, near_path
from unmask.io import foreign
from unmask.io.multi_file import files_of, join_names
from unmask.space.random import generator

_NAME = re.compile(r"(?P<file>.*\.json)(:(?P<part>train|val|test)(?P<fold>\d+)?)?", re.IGNORECASE)
_ENDING = re.compile(r"(\.nii)?\.\w+$")
_FOLDS = 5
_MAX_BYTES = 100_000_000


@dataclass(frozen=True)
class Case:
    """One image of a list.

    Attributes:
        name: of the case.
        image: its file; several ones as `unmask.io.multi_file` writes them.
        label: its label image, if it has one.
        fold: the fold that holds it out, if the list says so.
    """

    name: str
    image: str
    label: str | None = None
    fold: int | None = None


@dataclass(frozen=True)
class Listing:
    """Cases of a file: for training, for validation, and without labels."""

    train: tuple[Case, ...]
    val: tuple[Case, ...]
    test: tuple[Case, ...]


def is_listing(path: str | Path) -> bool:
    """Whether a path is a JSON file, or a part of one."""
    return _NAME.fullmatch(str(path)) is not None


def list_in(folder: Path) -> Path | None:
    """The ``dataset.json`` of a folder, if it lists images."""
    path = folder / "dataset.json"
    if not path.is_file():
        return None
    tree = _json(path)
    return path if isinstance(tree, Mapping) and tree.keys() & {"training", "file_ending"} else None


def channel_count(path: str | Path) -> int | None:
    """Channels of an image file as the ``dataset.json`` in or above its folder has them.

    None: there is no such file, or it does not name channels.
    """
    return len(names) if (names := channel_names(path)) else None


def channel_names(path: str | Path) -> tuple[str, ...]:
    """Names of the channels of an image file by the ``dataset.json`` in or above its folder.

    They are in the order of their numbers; none if there is no such file, or it has no names.
    """
    folder = Path(path).parent
    for place in (folder, folder.parent):
        try:
            tree = _json(place / "dataset.json") if (place / "dataset.json").is_file() else None
        except DataError:
            continue
        names = tree.get("channel_names", tree.get("modality")) if isinstance(tree, dict) else None
        if isinstance(names, Mapping) and names:
            numbered = all(str(key).isdecimal() for key in names)
            order = sorted(names, key=int) if numbered else list(names)
            # nnU-Net 2 names by number, some tools number by name.
            return tuple(str(names[key] if numbered else key) for key in order)
    return ()


def part_of(path: str | Path, part: str, fold: int | None) -> str:
    """The path of a part of a list, such as ``dataset.json:val0``.

    Raises:
        DataError: the path names a part already.
    """
    found = _NAME.fullmatch(str(path))
    if found is None or found["part"]:
        raise DataError(
            message(
                path,
                expected="a whole list, such as dataset.json, of which parts are taken",
                found="a part of one",
                do="Leave out the part after the colon, or data.fold.",
            )
        )
    return f"{path}:{part}{'' if fold is None else fold}"


def cases(path: str | Path) -> list[Case]:
    """Cases of a list or of its part.

    Raises:
        DataError: no such file, part or fold, or entries that cannot be understood.
    """
    found = _NAME.fullmatch(str(path))
    if found is None:
        raise DataError(message(path, expected="a .json file", found="another", do="Give a list."))
    listing = read_listing(found["file"])
    if found["part"] is None:
        return [*listing.train, *listing.val]
    part = found["part"].lower()
    if found["fold"] is None:
        return list(getattr(listing, part))
    if part == "test":
        raise DataError(message(path, expected=":test", found="a fold of it", do="Leave it out."))
    return _of_fold(Path(found["file"]), listing, part, int(found["fold"]))


def read_listing(path: str | Path) -> Listing:
    """All cases of a file.

    Raises:
        DataError: it cannot be read or understood.
    """
    path = Path(path)
    tree = _json(path)
    if other := foreign.describe_json(tree):
        what, do = other
        raise DataError(message(path, expected="a list of images", found=what, do=do))
    if not isinstance(tree, Mapping):
        raise _strange(path, f"a {type(tree).__name__}")
    if isinstance(tree.get("training"), Sequence):
        channels = tree.get("modality", tree.get("channel_names"))
        count = len(channels) if isinstance(channels, Mapping) else 1
        parts = [tree.get(name) or () for name in ("training", "validation", "test")]
        entries = [tuple(_case(path, entry, count) for entry in part) for part in parts]
        return Listing(*entries)
    if "file_ending" in tree and "channel_names" in tree:
        return _of_folders(path, tree)
    raise _strange(path, f"the fields {', '.join(map(str, tree))[:200]}")


def unlisted_images(path: str | Path) -> list[Path]:
    """Files next to the training images of a list that it does not name.

    With nnU-Net 2 without a list of files, these are the images without labels.

    Raises:
        DataError: the list cannot be read or understood.
    """
    found = _NAME.fullmatch(str(path))
    listing = read_listing(path if found is None else found["file"])
    every = [*listing.train, *listing.val, *listing.test]
    named = [path for case in every for path in (case.image, case.label) if path is not None]
    listed = {Path(file).absolute() for path in named for file in files_of(path)}
    endings = {_ENDING.search(file.name) for file in listed}
    known = {match[0] for match in endings if match is not None}
    folders = {Path(file).parent for case in listing.train for file in files_of(case.image)}
    return [
        file
        for folder in sorted(folders)
        for file in (sorted(folder.iterdir()) if folder.is_dir() else ())
        if not file.name.startswith(".")
        and file.absolute() not in listed
        and any(file.name.endswith(ending) for ending in known)
    ]


def _case(path: Path, entry: Any, channels: int) -> Case:
    """An entry of a list: a mapping, or the path of an image without labels."""
    tree = entry if isinstance(entry, Mapping) else {"image": entry}
    image, label, fold = tree.get("image"), tree.get("label"), tree.get("fold")
    given = image if isinstance(image, list) else [image]
    files = [file for file in given if isinstance(file, str)]
    if (
        not files
        or len(files) < len(given)
        or not isinstance(label, str | None)
        or not isinstance(fold, int | None)
    ):
        raise _strange(path, f"the entry {str(entry)[:200]}")
    found = [str(path.parent / file) for file in files]
    name = _stem(label or files[0])
    if len(found) == 1 and not Path(found[0]).exists():
        # nnU-Net 1 lists the case; each channel is a file of its own.
        whole = re.fullmatch(r"(.*?)((\.nii)?\.\w+)", found[0])
        each = [f"{whole[1]}_{number:04d}{whole[2]}" for number in range(channels)] if whole else []
        found = each if each and Path(each[0]).exists() else found
    return Case(name, join_names(found), None if label is None else str(path.parent / label), fold)


def _of_folders(path: Path, tree: Mapping[str, Any]) -> Listing:
    """Cases of nnU-Net 2: listed, or by the names of the files in its folders."""
    ending, count = str(tree["file_ending"]), len(tree["channel_names"])

    def found(folder: str, name: str) -> str:
        return join_names(
            [str(path.parent / folder / f"{name}_{n:04d}{ending}") for n in range(count)]
        )

    listed = tree.get("dataset")
    if isinstance(listed, Mapping):
        entries = [
            Case(str(name), join_names([str(path.parent / file) for file in each["images"]]),
                 str(path.parent / each["label"]))
            for name, each in listed.items()
        ]  # fmt: skip
    else:
        names = _names(path.parent / "labelsTr", ending)
        entries = [
            Case(name, found("imagesTr", name), str(path.parent / "labelsTr" / f"{name}{ending}"))
            for name in names
        ]
    first = f"_0000{ending}"
    tests = [name.removesuffix("_0000") for name in _names(path.parent / "imagesTs", ending)
             if f"{name}{ending}".endswith(first)]  # fmt: skip
    if not entries:
        raise _strange(path, f"no *{ending} in {path.parent / 'labelsTr'}")
    return Listing(tuple(entries), (), tuple(Case(name, found("imagesTs", name)) for name in tests))


def _of_fold(path: Path, listing: Listing, part: str, fold: int) -> list[Case]:
    """Cases of one fold, which holds out its own cases and trains on all others."""
    splits = path.with_name("splits_final.json")
    every = [*listing.train, *listing.val]
    if any(case.fold is not None for case in every):
        dealt = every
    elif splits.exists():
        return _of_splits(splits, every, part, fold)
    elif listing.val:
        raise DataError(
            message(
                f"{path}, fold {fold}",
                expected="entries that say their fold, or one list of all cases",
                found="one split, under training and validation",
                do="Leave out the fold (data.fold): the file is one already.",
            )
        )
    else:
        order = generator(0, "folds").permutation(len(every))
        dealt = [replace(case, fold=int(place) % _FOLDS)
                 for case, place in zip(every, order, strict=True)]  # fmt: skip
    known = sorted({case.fold for case in dealt if case.fold is not None})
    if fold not in known:
        raise _no_fold(path, fold, known)
    return [case for case in dealt if (case.fold == fold) == (part == "val")]


def _of_splits(splits: Path, every: Sequence[Case], part: str, fold: int) -> list[Case]:
    tree = _json(splits)
    try:
        names = [set(map(str, split[part])) for split in tree]
    except (KeyError, TypeError) as error:
        raise _strange(splits, f"{type(error).__name__}: {error}") from error
    if fold >= len(names):
        raise _no_fold(splits, fold, list(range(len(names))))
    lacking = names[fold] - {case.name for case in every}
    if lacking:
        raise _strange(splits, f"cases that are not listed: {', '.join(sorted(lacking)[:8])}")
    return [case for case in every if case.name in names[fold]]


def _json(path: Path) -> Any:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise _strange(path, "a file of over 100 MB")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            message(path, expected="a list in JSON", found=describe_error(error)[:200],
                    do=f"{near_path(path)}Check the path.")
        ) from error  # fmt: skip


def _names(folder: Path, ending: str) -> list[str]:
    files = folder.iterdir() if folder.is_dir() else ()
    names = [file.name for file in files if not file.name.startswith(".")]
    return sorted(name.removesuffix(ending) for name in names if name.endswith(ending))


def _stem(file: str) -> str:
    name = Path(file).name
    return re.sub(r"(\.nii\.gz|\.ome\.\w+|\.\w+)$", "", name)


def _no_fold(path: Path, fold: int, known: Sequence[int]) -> DataError:
    return DataError(
        message(path, expected=f"one of the folds {list(known)}", found=str(fold), do="Correct it.")
    )


def _strange(path: Path, found: str) -> DataError:
    return DataError(
        message(
            path,
            expected="training: [{image, label}, ...] as MSD and MONAI have it, or channel_names "
            "and file_ending as nnU-Net 2",
            found=found,
            do="Correct the file, or give folders of images and labels.",
        )
    )
