"""A training set, frozen: labels may be edited while a run learns from a copy of them.

The set is a ``dataset.json`` with copies of the label images, so that the command line can repeat
or continue the run. Where boxes say which part of an image is completely labeled, background
outside of them gets the value that the recipe ignores.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from unmask.atomic import atomic_write, fit_name, make_folder, saving
from unmask.errors import DataError, message
from unmask.io import Image, save_image
from unmask.serve.facts import Facts, FactsBook
from unmask.serve.labels import LARGE, LabelStore
from unmask.serve.pictures import Pictures
from unmask.serve.project import Kind, ProjectBook
from unmask.serve.refusal import RefusedError
from unmask.serve.workspace import Entry, Workspace, list_entries
from unmask.space.box import Box
from unmask.wording import format_count

# Of what is labeled; `unmask.planning` takes such objects for dense.
_DENSE = 0.6
# The largest ids of the two types: no other id is less likely to be an object.
_IGNORED = {np.dtype(np.uint16): 2**16 - 1, np.dtype(np.uint32): 2**31 - 1}


@dataclass(frozen=True)
class TrainingSet:
    """What a run is trained on.

    Attributes:
        listing: its ``dataset.json``.
        ndim: number of spatial axes.
        ignore: value of voxels that nothing is known about; None if there are none.
        trained: images to train on.
        held_out: images to validate on.
        objects: objects in the images to train on.
        classes: number of classes with background, if labels are classes; else 0.
        dense: objects fill most of what is labeled.
        notes: notes for the user on the choice, one line each.
    """

    listing: Path
    ndim: int
    ignore: int | None
    trained: int
    held_out: int
    objects: int
    classes: int = 0
    dense: bool = False
    notes: tuple[str, ...] = ()


@dataclass
class _Tally:
    """Sums over the labels of all images."""

    top: int = 0
    foreground: int = 0
    known: int = 0

    def add(self, labels: np.ndarray, ignore: int | None) -> None:
        """Count one label image, as it is trained on."""
        known = labels if ignore is None else labels[labels != ignore]
        self.top = max(self.top, int(known.max(initial=0)))
        self.foreground += int(np.count_nonzero(known))
        self.known += known.size


@dataclass
class _Chosen:
    """Labeled images by use, and notes on what was left out."""

    entries: list[tuple[Entry, Image, Facts]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Stage:
    """Makes training sets from the labels of a workspace.

    Args:
        workspace: where the images are.
        store: their labels.
        facts: boxes, and what is held out.
        pictures: opens the images.
        project: what labels are.
    """

    def __init__(
        self,
        workspace: Workspace,
        store: LabelStore,
        facts: FactsBook,
        pictures: Pictures,
        project: ProjectBook,
    ) -> None:
        self._workspace = workspace
        self._project = project
        self._store = store
        self._facts = facts
        self._pictures = pictures

    def write(self, folder: Path) -> TrainingSet:
        """Copy all labels into ``folder``.

        Raises:
            RefusedError: nothing is labeled.
            SaveError: the disk.
        """
        chosen = self._choose()
        if not any(not facts.held_out for _, _, facts in chosen.entries):
            raise RefusedError(
                422,
                message(self._workspace.labels, expected="at least one labeled image",
                        found="none", do="Outline a few objects first, then train."),
            )  # fmt: skip
        classes = self._project.get().kind == "classes"
        ignore, tally = self._ignored(chosen.entries, classes=classes), _Tally()
        parts: dict[str, list[dict[str, str]]] = {"training": [], "validation": []}
        with saving(folder):
            make_folder(folder / "labels")
        for entry, image, facts in chosen.entries:
            part = parts["validation" if facts.held_out else "training"]
            large = prod(image.shape[1:]) >= LARGE
            work = self._crops if large else self._copy
            for case, labels in work(folder, entry, image, facts, ignore):
                tally.add(labels, ignore)
                part.append(case)
        atomic_write(folder / "dataset.json", json.dumps(parts, indent=1))
        return TrainingSet(
            folder / "dataset.json",
            chosen.entries[0][1].ndim,
            ignore,
            len(parts["training"]),
            len(parts["validation"]),
            sum(facts.objects or 0 for _, _, facts in chosen.entries if not facts.held_out),
            max(2, tally.top + 1) if classes else 0,
            tally.foreground >= _DENSE * max(1, tally.known),
            (*chosen.notes, *(() if classes else _whole_note(chosen.entries))),
        )

    def _choose(self) -> _Chosen:
        """Labeled images with as many axes as the first one."""
        chosen = _Chosen()
        for entry in list_entries(self._workspace):
            if entry.problem or self._store.path(entry) is None:
                continue
            facts = self._facts.get(entry.id)
            if facts.objects == 0 and not facts.regions:
                continue
            try:
                image = self._pictures.open(entry)
            except DataError as error:
                chosen.notes.append(str(error))
                continue
            if chosen.entries and image.ndim != chosen.entries[0][1].ndim:
                chosen.notes.append(f"{entry.name}: left out, it has {image.ndim} axes.")
                continue
            chosen.entries.append((entry, image, facts))
        return chosen

    def _ignored(
        self, entries: Sequence[tuple[Entry, Image, Facts]], *, classes: bool
    ) -> int | None:
        if not classes and not any(facts.regions for _, _, facts in entries):
            return None
        wide = any(
            self._store.read(entry, image.shape[1:], Box.of((1,) * image.ndim))[0].dtype
            != np.uint16
            for entry, image, _ in entries
        )
        return _IGNORED[np.dtype(np.uint32 if wide else np.uint16)]

    def _copy(
        self, folder: Path, entry: Entry, image: Image, facts: Facts, ignore: int | None
    ) -> Iterator[tuple[dict[str, str], np.ndarray]]:
        shape = image.shape[1:]
        labels, _ = self._store.read(entry, shape, Box.of(shape))
        path = folder / "labels" / f"{entry.name}.tif"
        labels = _masked(labels, facts.regions, ignore, self._project.get().kind)
        save_image(path, labels, like=image)
        yield {"image": _relative(entry.path, folder), "label": _relative(path, folder)}, labels

    def _crops(
        self, folder: Path, entry: Entry, image: Image, facts: Facts, ignore: int | None
    ) -> Iterator[tuple[dict[str, str], np.ndarray]]:
        """One image per box, because the whole one does not fit into memory.

        Raises:
            RefusedError: no box says which part is labeled.
        """
        del ignore
        if not facts.regions:
            raise RefusedError(
                422,
                message(entry.name, expected="a box around what is completely labeled, because "
                        "the image is too large to train on as a whole", found="none",
                        do="Draw one."),
            )  # fmt: skip
        with saving(folder):
            make_folder(folder / "images")
        for number, (start, stop) in enumerate(facts.regions):
            box = Box(start, stop)
            name = fit_name(entry.name, f"_{number}.tif")
            labels, _ = self._store.read(entry, image.shape[1:], box)
            save_image(folder / "labels" / name, labels, like=image)
            save_image(folder / "images" / name, image.read(box), like=image)
            yield {"image": f"images/{name}", "label": f"labels/{name}"}, labels


def _masked(
    labels: np.ndarray, regions: Sequence[Any], ignore: int | None, kind: Kind
) -> np.ndarray:
    """Labels with the ignored value where nothing is known.

    That is background outside of all boxes. Without boxes it is nowhere for objects, but everywhere
    for classes: what nobody has painted has no class yet.
    """
    if ignore is None or (not regions and kind == "objects"):
        return labels
    unknown = labels == 0
    for start, stop in regions:
        unknown[Box(start, stop).slices] = False
    wide = labels.astype(np.uint16 if ignore < 2**16 else np.uint32)
    wide[unknown] = ignore
    return wide


def _whole_note(entries: Sequence[tuple[Entry, Image, Facts]]) -> list[str]:
    whole = [entry.name for entry, _, facts in entries if not facts.regions]
    if not whole:
        return []
    shown = ", ".join(whole[:4]) + (f" and {len(whole) - 4} more" if len(whole) > 4 else "")
    return [
        f"{format_count(len(whole), 'image without a box counts', 'images without a box count')} "
        f"as completely labeled ({shown}). Where objects are not outlined yet, draw a box around "
        "the part that is done."
    ]


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()
