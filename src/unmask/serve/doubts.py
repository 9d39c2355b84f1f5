"""Uncertainty of a model about each object of a prediction, so that a person checks these first.

It is read from the table of objects that the prediction wrote. If the table has no uncertainty, the
images are predicted once more, mirrored, after the prediction itself is shown: an object that is in
both predictions is certain, an object that is in only one of them is not.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from unmask.atomic import atomic_write
from unmask.errors import SaveError, UnmaskError
from unmask.io import open_labels
from unmask.serve.labels import LARGE
from unmask.serve.workspace import Entry, Workspace

# Column of the table of objects; tables of stacks do not have it.
_COLUMN = "uncertainty"


@dataclass(frozen=True)
class Doubt:
    """Uncertainty of one prediction, from 0 (certain) to 1.

    Attributes:
        image: uncertainty of the image, the mean over its objects.
        objects: uncertainty per object, by id.
    """

    image: float
    objects: Mapping[int, float] = field(default_factory=dict)


class Doubts:
    """Uncertainties of the predictions of a workspace, one file per image.

    Args:
        workspace: where predictions are.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._known: dict[str, tuple[str, Doubt]] = {}

    def get(self, entry: Entry, prediction: Path | None) -> Doubt | None:
        """Uncertainty of the prediction that is shown; None if it is not known (yet)."""
        if prediction is None:
            return None
        mark = _mark(prediction)
        known = self._known.get(entry.id)
        if known is not None and known[0] == mark:
            return known[1]
        doubt = self._read(entry, mark)
        if doubt is not None:
            # "Not known" is not kept: another thread may be storing the uncertainty just now.
            self._known[entry.id] = (mark, doubt)
        return doubt

    def _read(self, entry: Entry, mark: str) -> Doubt | None:
        with suppress(OSError, ValueError, KeyError, TypeError):
            tree = json.loads(self._path(entry).read_text(encoding="utf-8"))
            if tree["of"] == mark:
                objects = {int(each): float(value) for each, value in tree["objects"].items()}
                return Doubt(float(tree["image"]), objects)
        return None

    def compare(self, entry: Entry, prediction: Path, mirrored: Path) -> None:
        """Store the disagreement of two predictions of one image; large images are skipped."""
        with suppress(UnmaskError, OSError):
            opened = [open_labels(path, ndim=None) for path in (prediction, mirrored)]
            shape = opened[0].shape
            if int(np.prod(shape)) < LARGE and opened[1].shape == shape:
                self._note(entry, prediction, disagreement(*(each.read()[0] for each in opened)))

    def read_table(self, table: Path, entries: Mapping[str, tuple[Entry, Path]]) -> bool:
        """Store the uncertainties of a table of objects; returns whether it has any.

        Args:
            table: ``objects.csv`` of a prediction.
            entries: images and their predictions by name.
        """
        found: dict[str, dict[int, float]] = {}
        with suppress(OSError, ValueError, KeyError), table.open(newline="") as file:
            rows = csv.DictReader(file)
            if _COLUMN not in (rows.fieldnames or ()):
                return False
            for row in rows:
                found.setdefault(row["image"], {})[int(row["id"])] = float(row[_COLUMN])
        for name, objects in found.items():
            if name in entries:
                entry, prediction = entries[name]
                mean = sum(objects.values()) / len(objects)
                self._note(entry, prediction, Doubt(mean, objects))
        return bool(found)

    def _note(self, entry: Entry, prediction: Path, doubt: Doubt) -> None:
        objects = {str(each): round(value, 4) for each, value in doubt.objects.items()}
        self._known[entry.id] = (_mark(prediction), doubt)
        tree = {"of": _mark(prediction), "image": round(doubt.image, 4), "objects": objects}
        # It only decides the order of images, so a full disk must not fail the request.
        with suppress(SaveError):
            atomic_write(self._path(entry), json.dumps(tree))

    def _path(self, entry: Entry) -> Path:
        return self._workspace.notes / "doubts" / f"{entry.id}.json"


def disagreement(labels: np.ndarray, others: np.ndarray) -> Doubt:
    """Disagreement of two label images of one image: 1 - IoU with the best match per object.

    Args:
        labels: the prediction that is shown.
        others: another one; ids need not agree.

    Examples:
        >>> one, two = np.array([[1, 1, 0, 2]]), np.array([[5, 5, 0, 0]])
        >>> disagreement(one, two)
        Doubt(image=0.5, objects={1: 0.0, 2: 1.0})
    """
    ids, first = np.unique(labels, return_inverse=True)
    other_ids, second = np.unique(others, return_inverse=True)
    pairs = first.ravel().astype(np.int64) * len(other_ids) + second.ravel()
    joint, counts = np.unique(pairs, return_counts=True)
    rows, columns = np.divmod(joint, len(other_ids))
    sizes = np.bincount(rows, counts, len(ids))
    other_sizes = np.bincount(columns, counts, len(other_ids))
    real = (ids[rows] > 0) & (other_ids[columns] > 0)
    iou = np.where(real, counts / (sizes[rows] + other_sizes[columns] - counts), 0)
    best, other_best = np.zeros(len(ids)), np.zeros(len(other_ids))
    np.maximum.at(best, rows, iou)
    np.maximum.at(other_best, columns, iou)
    objects = {int(i): 1 - float(b) for i, b in zip(ids, best, strict=True) if i}
    missed = int(((other_best == 0) & (other_ids > 0)).sum())
    total = len(objects) + missed
    return Doubt((sum(objects.values()) + missed) / total if total else 0.0, objects)


def _mark(path: Path) -> str:
    """Changes whenever the file does; empty if it is gone."""
    try:
        state = path.stat()
    except OSError:
        return ""
    return f"{state.st_ino:x}-{state.st_mtime_ns:x}"
