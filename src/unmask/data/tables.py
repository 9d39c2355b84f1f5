"""Classes of whole images, from tables: one row per image, with the columns ``name`` and ``class``.

A class becomes labels of one value everywhere, 1 for the first class, so that everything that works
with label images works with classes.
"""

from __future__ import annotations

import csv
import difflib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from unmask.atomic import atomic_write
from unmask.errors import DataError, describe_error, message
from unmask.io import Image, foreign, stem
from unmask.io.inputs import ArrayInput, Inputs, as_inputs, only_paths
from unmask.plain_text import csv_text, from_cell
from unmask.wording import format_count

NAME, CLASS = "name", "class"
# The table of a prediction.
PREDICTED = "predicted.csv"
_SUFFIX = ".csv"
# Classes that a message names.
_SHOWN = 20


def is_table(paths: Inputs) -> bool:
    """Whether all paths are tables, by their suffix."""
    return only_paths(paths) and all(path.suffix.lower() == _SUFFIX for path in list_paths(paths))


def read_table(path: str | Path) -> list[dict[str, str]]:
    """Lines of a table by column; names are those of images without folder and suffix.

    Raises:
        DataError: no file, no text, a column that is missing, or a name that comes twice.
    """
    if Path(path).is_dir():
        raise DataError(
            message(
                path,
                expected="a table (.csv) of the classes of whole images",
                found="a folder",
                do=f"Give a table with the columns {NAME} and {CLASS}. For label images choose "
                "another preset (unmask presets).",
            )
        )
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as handle:
            lines = [
                {
                    key: from_cell(cell) if isinstance(cell, str) else cell
                    for key, cell in line.items()
                }
                for line in csv.DictReader(handle, strict=True)
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            message(
                path, expected="a table (.csv)", found=describe_error(error), do="Check the path."
            )
        ) from error
    _check_lines(lines, path)
    lines = [line | {NAME: stem(line[NAME] or "")} for line in lines]
    names = [line[NAME] for line in lines]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            message(
                path,
                expected="one row per image",
                found=f"several of {', '.join(twice[:8])}",
                do="Keep one of each.",
            )
        )
    return lines


def _check_lines(lines: Sequence[Mapping[str, object]], path: str | Path) -> None:
    """Refuse a table of another form, and lines without a name or a class.

    Raises:
        DataError: says how the table must look.
    """
    if lines and (other := foreign.describe_columns(lines[0])):
        what, do = other
        raise DataError(message(path, expected="a table of classes", found=what, do=do))
    if lines and (separator := _other_separator(lines[0])):
        raise DataError(
            message(
                path,
                expected="columns that are separated by commas",
                found=separator,
                do="Save it as CSV with commas, or replace the separators in a text editor.",
            )
        )
    if not lines or not {NAME, CLASS} <= lines[0].keys():
        found = f"the columns {', '.join(map(str, lines[0]))}" if lines else "no line"
        raise DataError(
            message(
                path,
                expected=f"a first line with {NAME} and {CLASS}, and one row per image",
                found=found,
                do="Name the columns so; other columns are ignored.",
            )
        )
    short = [str(line[NAME]) for line in lines if not (line[NAME] and line[CLASS])]
    if short:
        raise DataError(
            message(
                path,
                expected=f"a {NAME} and a {CLASS} in every line",
                found=f"{format_count(len(short), 'line')} without one of them, such as that of "
                f"{short[0]!r}",
                do="Fill the line in, or remove it.",
            )
        )


def _other_separator(line: Mapping[str, object]) -> str:
    """The separator of a table that has no commas, in words; "" if it has them."""
    (first, *others) = (str(key) for key in line)
    for letter, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")):
        if not others and {NAME, CLASS} & set(first.split(letter)) and letter in first:
            return f"{name} ({first!r})"
    return ""


@dataclass(frozen=True)
class ImageClass:
    """Class of one image.

    Attributes:
        source: the table that says it.
        value: number of the class, starting at 1; 0 if it is unknown, which is a problem.
    """

    source: str
    value: int

    def labels(self, image: Image) -> Image:
        """Labels of the size of ``image`` with this value everywhere; they take no memory."""
        dtype = np.min_scalar_type(self.value)
        shape = (1, *image.shape[1:])

        def fetch(index: tuple[slice, ...]) -> np.ndarray:
            size = [part.stop - part.start for part in index]
            return np.broadcast_to(dtype.type(self.value), size)

        return replace(
            image, shape=shape, dtype=dtype, source=self.source, fetch=fetch, whole=False, meta={}
        )


def classes_of(paths: Inputs, classes: Sequence[str], problems: list[str]) -> dict[str, ImageClass]:
    """The class of every image in some tables; what is wrong is added to ``problems``.

    Args:
        paths: one table or several; an image may stand in several with the same class.
        classes: names of the classes, in order of their numbers.
        problems: gets a line for each unknown class or contradiction.

    Returns:
        Classes by name of the image; empty if a table cannot be read, because then nothing is known
        about the images that lack a line.
    """
    found: dict[str, ImageClass] = {}
    failed = False
    for path in dict.fromkeys(map(str, list_paths(paths))):
        try:
            lines = read_table(path)
        except DataError as error:
            problems.append(str(error))
            failed = True
            continue
        strange = [line for line in lines if line[CLASS] not in classes]
        if strange:
            problems.append(_unknown(path, strange, classes, some=len(strange) < len(lines)))
        for line in lines:
            name, given = line[NAME], line[CLASS]
            entry = ImageClass(path, 1 + classes.index(given) if given in classes else 0)
            before = found.setdefault(name, entry)
            if before.value and entry.value and before.value != entry.value:
                problems.append(_contradiction(path, name, before, classes))
    return {} if failed else found


def _unknown(
    path: str, lines: Sequence[Mapping[str, str]], classes: Sequence[str], *, some: bool
) -> str:
    """The one message on all lines of a table whose class is unknown.

    Args:
        path: the table.
        lines: those lines.
        classes: names of the classes.
        some: whether other lines have a known class, so that the unknown ones may be misspelled.
    """
    unknown = sorted({line[CLASS] for line in lines})
    shown = ", ".join(map(repr, unknown[:_SHOWN]))
    more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
    where = "" if len(lines) == 1 else f" in {len(lines):,} lines"
    every = [*classes, *unknown] if some else unknown
    if len(every) <= _SHOWN:
        text = f"task.classes={json.dumps(every, ensure_ascii=False)}"
        all_of_them = f"give all classes: --set {shlex.quote(text)}"
    else:
        all_of_them = "list all classes in a recipe of your own, as task.classes (--recipe FILE)"
    hints = [near[0] for name in unknown if (near := difflib.get_close_matches(name, classes, 1))]
    hint = f"Did you mean {', '.join(map(repr, dict.fromkeys(hints)))}? " if some and hints else ""
    return message(
        f"{path}, {lines[0][NAME]!r}" if len(lines) == 1 else path,
        expected=f"one of the classes {', '.join(classes)}",
        found=f"{shown}{more}{where}",
        do=f"{hint}Correct the table, or {all_of_them}."
        if some
        else f"{all_of_them[0].upper()}{all_of_them[1:]}.",
    )


def _contradiction(path: str, name: str, before: ImageClass, classes: Sequence[str]) -> str:
    return message(
        f"{path}, {name!r}",
        expected=f"the class that {before.source} says, {classes[before.value - 1]!r}",
        found="another",
        do="Keep the one that is right.",
    )


def write_table(path: Path, lines: Sequence[Mapping[str, object]]) -> None:
    """Write lines whose keys are columns; the file is complete or not there.

    Raises:
        SaveError: the file cannot be written.
    """
    atomic_write(path, csv_text(lines[0], lines))


def list_paths(paths: Inputs) -> list[Path]:
    """One path or several as a list.

    Raises:
        DataError: an array among them.
    """
    given = as_inputs(paths)
    if arrays := [item for item in given if isinstance(item, ArrayInput)]:
        raise DataError(
            message(
                arrays[0],
                expected="tables (.csv) of the classes of images",
                found="an array",
                do="Give the path of a table with the columns name and class.",
            )
        )
    return [Path(path) for path in given if isinstance(path, str)]
