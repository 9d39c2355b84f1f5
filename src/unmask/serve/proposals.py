"""Predicted label images that wait for a person: accept them as labels, or reject them."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np

from unmask.atomic import remove, saving
from unmask.io import Image, open_labels, stem
from unmask.serve.facts import FactsBook
from unmask.serve.labels import LARGE, LabelStore, Patch
from unmask.serve.refusal import missing
from unmask.serve.workspace import Entry, Workspace
from unmask.space.box import Box, tiles

# Voxels of a block of a large prediction that is accepted.
_PART = 2**24


class Proposals:
    """Predictions of a workspace.

    Args:
        workspace: where they are.
        store: gets what is accepted.
        facts: notes that labels began as a prediction.
    """

    def __init__(self, workspace: Workspace, store: LabelStore, facts: FactsBook) -> None:
        self._workspace = workspace
        self._store = store
        self._facts = facts

    def names(self) -> dict[str, Path]:
        """Predictions by the name of their image."""
        folder = self._workspace.predictions
        files = folder.iterdir() if folder.is_dir() else ()
        return {stem(path): path for path in files if not path.name.startswith(".")}

    def read(self, entry: Entry, image: Image, box: Box) -> np.ndarray:
        """Predicted ids of a box.

        Raises:
            RefusedError: there is no prediction, or it is that of another image.
        """
        labels = self._open(entry, image)
        values = labels.read(box)[0]
        top = int(values.max()) if values.size else 0
        return values.astype(np.uint16 if top < 2**16 else np.uint32)

    def accept(self, entry: Entry, image: Image, version: str) -> tuple[str, int | None]:
        """Make the prediction the labels of the image.

        Args:
            entry: the image.
            image: the same, opened.
            version: of the labels that are replaced.

        Raises:
            RefusedError: the labels have another version, or there is no prediction.
        """
        self._open(entry, image)
        self._facts.change(entry.id, accepted=False)
        objects: int | None = None
        for box in _parts(image.shape[1:]):
            values = self.read(entry, image, box)
            patch = Patch(box.start, values, version)
            version, objects = self._store.write(entry, image, patch)
        self._facts.change(entry.id, accepted=True, corrected=False)
        return version, objects

    def reject(self, entry: Entry) -> None:
        """Remove the prediction.

        Raises:
            RefusedError: there is none.
        """
        path = self._path(entry)
        with saving(path):
            remove(path)

    def _path(self, entry: Entry) -> Path:
        path = self.names().get(entry.name)
        if path is None:
            raise missing("prediction")
        self._workspace.confine(path)
        return path

    def _open(self, entry: Entry, image: Image) -> Image:
        labels = open_labels(self._path(entry), ndim=image.ndim)
        if labels.shape[1:] != image.shape[1:]:
            raise missing("prediction of this size")
        return labels


def _parts(shape: tuple[int, ...]) -> list[Box]:
    """The whole image, or blocks of it if it does not fit into memory."""
    if prod(shape) < LARGE:
        return [Box.of(shape)]
    edge = round(_PART ** (1 / len(shape)))
    alike = (edge,) * len(shape)
    return [tile.write for tile in tiles(shape, alike, (0,) * len(shape))]
