"""Files in folders of images and labels that are neither: outputs and state of programs."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from unmask.data.drawn import DrawnLabels
from unmask.data.suffixes import derive
from unmask.io.inputs import ArrayInput, Inputs, as_inputs
from unmask.io.paths import is_plain_folder, left_out, stem
from unmask.wording import format_count

_File = str | ArrayInput
_Truth = str | ArrayInput | DrawnLabels
_Any = TypeVar("_Any", bound=str | ArrayInput | DrawnLabels)
# Names that a note shows.
_SHOWN = 5


def without_outputs(
    images: dict[str, _File], labels: dict[str, _Truth], notes: list[str]
) -> tuple[dict[str, _File], dict[str, _Truth]]:
    """Both sides without unpaired files that programs write next to an image."""
    paired = images.keys() & labels.keys()

    def keep(own: dict[str, _Any], names: Collection[str], what: str) -> dict[str, _Any]:
        extra = {
            name: path
            for name, path in own.items()
            if name not in paired
            and (whose := derive(_stem(name, path), names)) is not None
            and whose.image in paired
        }
        if extra:
            notes.append(
                f"{format_count(len(extra), 'file')} among the {what} left out, whose names say "
                f"that they belong to an image: {some_paths(map(str, extra.values()))}."
            )
        return {name: path for name, path in own.items() if name not in extra}

    return keep(images, images, "images"), keep(labels, images, "labels")


def without_labels(
    files: Sequence[tuple[str, _File]], given: Inputs, notes: list[str]
) -> list[tuple[str, _File]]:
    """Files without the label images and other outputs that a folder holds next to its images."""
    folders = {
        os.path.realpath(path)
        for path in as_inputs(given)
        if isinstance(path, str) and is_plain_folder(Path(path))
    }
    if not folders:
        return list(files)
    names = {name for name, _ in files}
    extra = [
        path
        for name, path in files
        if isinstance(path, str)
        and os.path.realpath(Path(path).parent) in folders
        and derive(name, names) is not None
    ]
    if extra:
        notes.append(
            f"{format_count(len(extra), 'file')} left out, whose names say that they are labels or "
            f"other outputs of images next to them: {some_paths(extra)}. Give them by name or glob "
            "to use them as images."
        )
    left = set(extra)
    return [(name, path) for name, path in files if path not in left]


def state_files(paths: Inputs) -> list[str]:
    """A note on files that Cellpose keeps its own state in."""
    found = [str(path) for path in left_out(paths)]
    if not found:
        return []
    return [
        f"{format_count(len(found), 'file')} of Cellpose left out, with its state and no image: "
        f"{some_paths(found)}. For labels choose File > Save masks as PNG/TIF in Cellpose."
    ]


def _stem(name: str, path: _Truth) -> str:
    return stem(path) if isinstance(path, str) else name


def some_paths(paths: Iterable[str]) -> str:
    """The first few of some paths, and how many more there are."""
    every = list(paths)
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + more
