"""Count the objects of an accepted prediction that a person had to correct.

When the number no longer falls from round to round, more labels no longer help.
"""

from __future__ import annotations

from contextlib import suppress
from math import prod
from pathlib import Path

import numpy as np

from unmask.errors import UnmaskError
from unmask.io import Image, open_labels, save_image
from unmask.serve.facts import FactsBook
from unmask.serve.labels import LARGE, LabelStore
from unmask.serve.workspace import Entry, Workspace
from unmask.space.box import Box


class Corrections:
    """Copies of accepted predictions, and the number of objects that have changed since.

    Args:
        workspace: holds the copies among its notes.
        facts: keeps the counts.
        store: the labels.
    """

    def __init__(self, workspace: Workspace, facts: FactsBook, store: LabelStore) -> None:
        self._workspace = workspace
        self._facts = facts
        self._store = store

    def begin(self, entry: Entry, image: Image) -> None:
        """Remember the labels of an image as they are now.

        Raises:
            SaveError: the disk.
        """
        if prod(image.shape[1:]) < LARGE:
            labels = self._store.read(entry, image.shape[1:], Box.of(image.shape[1:]))[0]
            save_image(self._path(entry), labels, like=image)
        self._facts.change(entry.id, corrections=0)

    def compare(self, entry: Entry, labels: np.ndarray) -> tuple[int, frozenset[int]] | None:
        """How many objects were changed, added or removed, and which ones are as predicted.

        None for labels that were no prediction.

        Args:
            entry: the image.
            labels: its labels now.
        """
        if not self._facts.get(entry.id).accepted:
            return None
        with suppress(UnmaskError, OSError):
            before = open_labels(self._path(entry), ndim=labels.ndim).read()[0]
            if before.shape == labels.shape:
                number, same = compare_objects(before, labels)
                self._facts.change(entry.id, corrections=number)
                return number, same
        return None

    def _path(self, entry: Entry) -> Path:
        return self._workspace.notes / "accepted" / f"{entry.id}.tif"


def compare_objects(before: np.ndarray, after: np.ndarray) -> tuple[int, frozenset[int]]:
    """Number of objects of ``after`` that are other pixels than before, and of those that are gone.

    Returns:
        The number, and the ids of objects that have the same pixels and id as before.

    Examples:
        >>> compare_objects(np.array([1, 1, 0, 2, 3]), np.array([1, 1, 0, 0, 9]))
        (1, frozenset({1}))
        >>> compare_objects(np.array([1, 1, 1]), np.array([1, 1, 2]))
        (2, frozenset())
    """
    ids, first = np.unique(before, return_inverse=True)
    now, second = np.unique(after, return_inverse=True)
    pairs = first.ravel().astype(np.int64) * len(now) + second.ravel()
    joint, counts = np.unique(pairs, return_counts=True)
    rows, columns = np.divmod(joint, len(now))
    sizes, now_sizes = np.bincount(rows, counts, len(ids)), np.bincount(columns, counts, len(now))
    whole = (counts == sizes[rows]) & (counts == now_sizes[columns])
    same = whole & (ids[rows] > 0) & (now[columns] > 0)
    kept = np.zeros(len(ids), bool)
    kept[rows[now[columns] > 0]] = True
    changed = int((now > 0).sum()) - int(same.sum())
    named = same & (ids[rows] == now[columns])
    number = changed + int((~kept & (ids > 0)).sum())
    return number, frozenset(ids[rows[named]].tolist())
