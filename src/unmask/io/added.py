"""Formats of other people: from a Python file, or from another installed distribution.

A format from a file is added for the process, on request (``data.formats`` of a recipe). Formats of
distributions are entry points of the group ``unmask.formats``; they are looked up when a file has a
suffix that no other format has.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from unmask.errors import RecipeError, message
from unmask.io.contract import Format
from unmask.lookup import find
from unmask.parts import Parts
from unmask.plugins import is_file_name

PARTS = Parts("unmask.formats", {})
# Formats that were added in this process, by suffix. They win over ours: the user has named them.
ADDED: dict[str, Format] = {}


def use_formats(names: Iterable[str | Format | Callable[[], Format]]) -> None:
    """Read and write files in further formats, in this process from now on.

    Args:
        names: ``path/to/file.py:Name`` of a `Format`, names of installed formats, or formats.

    Raises:
        RecipeError: no such file or name, or what it names is not a format.
    """
    for name in names:
        part = find(name, PARTS, "data.formats") if isinstance(name, str) else name
        form = _checked(part, f"data.formats={name!r}")
        if isinstance(name, str):
            # Workers open the same images again; they may run in another folder.
            file = str(Path(name).absolute()) if is_file_name(name) else name
            form = replace(form, origin=file)
        ADDED.update(dict.fromkeys(form.suffixes, form))


@lru_cache(maxsize=1)
def installed_formats() -> Mapping[str, Format]:
    """Formats of installed distributions, by suffix; one that cannot be imported is a warning."""
    forms: dict[str, Format] = {}
    for name in PARTS.installed_names():
        try:
            form = _checked(PARTS.find_installed(name), f"unmask.formats {name!r}")
        except RecipeError as error:
            warnings.warn(f"{error} Files of this format are not recognized.", stacklevel=2)
            continue
        forms |= dict.fromkeys(form.suffixes, form)
    return forms


def _checked(part: object, label: str) -> Format:
    """A format, or what a function or class without arguments returns as one."""
    form = part() if callable(part) and not isinstance(part, Format) else part
    if not isinstance(form, Format):
        raise RecipeError(
            message(
                label,
                expected="a Format of unmask.io.contract",
                found=type(form).__name__,
                do="Name a Format, or a function that returns one.",
            )
        )
    if not form.suffixes or not all(suffix.startswith(".") for suffix in form.suffixes):
        raise RecipeError(
            message(
                label,
                expected="suffixes of its files, such as ('.raw',)",
                found=repr(form.suffixes),
                do="Set suffixes of the Format.",
            )
        )
    return replace(form, suffixes=tuple(suffix.lower() for suffix in form.suffixes))
