"""Errors a user can act on: what was expected, what was found, what to do."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from unmask.plain_text import printable
from unmask.wording import format_count

# Share of equal letters in names of which one is taken for the other misspelled.
_NEAR = 0.7
# Numbers that are words of their own, not parts of names.
_NUMBER = re.compile(r"(?<![\w./:=-])-?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?![\w/=-]|[.:,]\w)")


class UnmaskError(Exception):
    """Base of all errors that are about the request or the data, not about a defect of unmask.

    The command line prints the message alone and ends with exit code 2. The message names files,
    whose names may hold control characters: they are shown as escapes.
    """

    def __str__(self) -> str:
        """The message, safe to print."""
        return printable(super().__str__())


class DataError(UnmaskError, ValueError):
    """A file or array is not what it should be; the message names it.

    Attributes:
        problems: all that is wrong, one line each; the message joins lines that say the same.
    """

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems) or (message,)


class SkippedError(UnmaskError, ValueError):
    """Files that were left out of a prediction; all others are done.

    Attributes:
        problems: what is wrong with each of them, one line each.
        written: outputs of the others.
    """

    def __init__(self, problems: Sequence[str], written: Sequence[Path]) -> None:
        skipped, files = format_count(len(problems), "problem"), format_count(len(written), "file")
        heading = f"{skipped} skipped, {files} written:"
        super().__init__(gather(problems, heading=heading))
        self.problems = tuple(problems)
        self.written = tuple(written)


class RecipeError(UnmaskError, ValueError):
    """A recipe, preset or ``--set`` value is wrong.

    Attributes:
        problems: what is wrong, one line each.
        repaired: the recipe without what is wrong, so that the rest can be checked too; None if too
            little is left.
    """

    def __init__(self, message: str, problems: Sequence[str] = (), repaired: Any = None) -> None:
        super().__init__(message)
        self.problems = tuple(problems) or (message,)
        self.repaired = repaired


class CheckpointError(UnmaskError):
    """A model file or snapshot is missing, damaged or belongs to something else."""


class MissingPackageError(UnmaskError, ImportError):
    """An optional package is needed; the message says which extra brings it."""


class SaveError(UnmaskError, OSError):
    """A file could not be written; the message names path and free space."""


class Interrupted(Exception):  # noqa: N818 - an end that was asked for, not an error
    """A signal ended the run after the step in work.

    Attributes:
        step: updates done.
        code: exit code of the command line, 130 for Ctrl-C and 143 for a request to end.
    """

    def __init__(self, step: int, code: int, *, saved: bool = True) -> None:
        kept = "saved. Continue with --resume." if saved else "nothing is saved."
        super().__init__(f"Interrupted at step {step}; {kept}")
        self.step = step
        self.code = code


def message(subject: object, *, expected: str, found: str, do: str) -> str:
    """Format what was expected, what was found and what to do about ``subject``.

    Examples:
        >>> print(message("a.tif", expected="2 axes", found="3 axes", do="Give data.axes=ZYX."))
        a.tif: expected 2 axes, found 3 axes. Give data.axes=ZYX.
    """
    return f"{printable(subject, one_line=True)}: expected {expected}, found {found}. {do}"


def describe_error(error: BaseException) -> str:
    """What an error of the system or of a parser found, without its number and the path.

    Examples:
        >>> describe_error(FileNotFoundError(2, "No such file or directory", "a.csv"))
        'no such file'
        >>> describe_error(KeyError("name"))
        "no entry 'name'"
    """
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    if isinstance(error, UnicodeDecodeError):
        return "bytes that are not text in UTF-8"
    if isinstance(error, KeyError) and error.args:
        return f"no entry {error.args[0]!r}"
    return str(error) or type(error).__name__


def near_path(path: object, names: Iterable[str] = ()) -> str:
    """``Did you mean labels/a.tif? `` if a path that leads to nothing nearly names one, else "".

    Args:
        path: the path. Names of every folder on the way are compared, so ``lables/a.tif`` finds
            ``labels/a.tif``.
        names: words that may stand in place of the path; the nearest of all is named.
    """
    near = _nearest(Path(str(path)))
    choices = [*([] if near is None else [str(near)]), *(n for n in names if n != str(path))]
    found = difflib.get_close_matches(str(path), choices, n=1, cutoff=_NEAR)
    # Folders on the way that are misspelled too make a whole path less alike than its parts.
    found += [] if near is None else [str(near)]
    return f"Did you mean {printable(found[0], one_line=True)}? " if found else ""


def _nearest(wanted: Path) -> Path | None:
    """The path that a path that leads to nothing nearly names."""
    found = Path(wanted.anchor)
    parts = wanted.parts[1 if wanted.anchor else 0 :]
    try:
        for number, part in enumerate(parts):
            if set(part) & set("*?["):
                # The rest of a glob is not a name.
                found = found.joinpath(*parts[number:])
                break
            inner = found / part
            if part != os.pardir and not inner.exists():
                names = [entry.name for entry in found.iterdir() if not entry.name.startswith(".")]
                near = difflib.get_close_matches(part, names, n=1, cutoff=_NEAR)
                if not near:
                    return None
                inner = found / near[0]
            found = inner
    except (OSError, ValueError):
        return None
    return None if found == wanted else found


# The old name, for parts that were written for the first version.
told = message


def gather(problems: Sequence[str], *, heading: str | None = None) -> str:
    """Join the problems of several files into one message, one line each; equal ones in groups.

    Without ``heading`` the first line is their number.
    """
    first = f"{format_count(len(problems), 'problem')} found:" if heading is None else heading
    lines = "\n".join(f"  - {problem}" for problem in group_problems(problems))
    return f"{first}\n{lines}"


def raise_problems(problems: Sequence[str]) -> None:
    """Raise what is wrong with files, if anything is.

    Raises:
        DataError: every problem at once.
    """
    if problems:
        raise DataError(gather(problems), problems)


def is_shortened(problems: Sequence[str]) -> bool:
    """Whether `group_problems` joins some of the lines, so that not every file is named."""
    return len(group_problems(problems)) < len(problems)


def group_problems(problems: Sequence[str], *, most: int = 4, named: int = 5) -> list[str]:
    """Lines about files, with more than ``most`` that say the same of different files as one.

    Numbers may differ: the joined line has the lowest and the highest.

    Args:
        problems: lines as of `message`, ``subject: rest``.
        most: lines of one kind that are kept apart.
        named: subjects that the joined line names.

    Examples:
        >>> lines = [f"{i}.tif: expected labels named '{i}', found none." for i in range(12)]
        >>> group_problems(lines, named=1)
        ['12 files: expected labels of that name, found none. (0.tif, ..., 11.tif)']
        >>> group_problems([f"{i}.tif: expected 2 axes, found {i}." for i in (3, 5)], most=1)
        ['2 files: expected 2 axes, found 3 to 5. (3.tif, 5.tif)']
    """
    kinds: dict[str, list[str]] = {}
    for problem in problems:
        kinds.setdefault(_NUMBER.sub("0", _kind(problem)), []).append(problem)
    lines: list[str] = []
    for members in kinds.values():
        if len(members) <= most:
            lines += members
            continue
        subjects = [member.partition(": ")[0] for member in members]
        kind = _span_numbers([_kind(member) for member in members])
        lines.append(f"{len(members)} files: {kind} ({_list_paths(subjects, named)})")
    return lines


def _span_numbers(kinds: Sequence[str]) -> str:
    """The first of some lines that differ in numbers alone, with ranges in place of those."""
    numbers = iter(zip(*map(_NUMBER.findall, kinds), strict=True))

    def span(_: re.Match[str]) -> str:
        found = sorted(set(next(numbers)), key=lambda text: float(text.replace(",", "")))
        return found[0] if len(found) == 1 else f"{found[0]} to {found[-1]}"

    return _NUMBER.sub(span, kinds[0])


def _list_paths(paths: Sequence[str], named: int) -> str:
    """The first few of some paths and the last; their folder once if it is the same."""
    folders = {path.rpartition("/")[0] for path in paths}
    folder = folders.pop() if len(folders) == 1 else ""
    names = [path.removeprefix(f"{folder}/") for path in paths] if folder else list(paths)
    more = ["...", names[-1]] if len(names) > named else []
    where = f"in {folder}: " if folder else ""
    return f"{where}{', '.join([*names[:named], *more])}"


def _kind(problem: str) -> str:
    """What a line says, without the file that it says it of."""
    subject, _, rest = problem.partition(": ")
    names = re.findall(r"named '([^']*)'", rest)
    for name in names:
        if name and name in subject:
            rest = rest.replace(f"named {name!r}", "of that name")
    return rest or subject
