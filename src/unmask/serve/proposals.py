"""Predicted label images that wait for a person: accept them as labels, or reject them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np

from unmask.atomic import remove, saving
from unmask.io import Image, open_labels, save_image, stem
from unmask.serve.corrections import Corrections
from unmask.serve.facts import FactsBook
from unmask.serve.labels import LARGE, LabelStore, Patch, write_box
from unmask.serve.refusal import RefusedError, missing
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
        corrections: counts what a person changes in it.
    """

    def __init__(
        self, workspace: Workspace, store: LabelStore, facts: FactsBook, corrections: Corrections
    ) -> None:
        self._corrections = corrections
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

        A prediction of the whole image replaces them; one of a part only adds its objects.

        Args:
            entry: the image.
            image: the same, opened.
            version: of the labels that are replaced.

        Raises:
            RefusedError: the labels have another version, or there is no prediction.
        """
        self._open(entry, image)
        facts = self._facts.get(entry.id)
        parts = [Box(start, stop) for start, stop in facts.parts]
        if not parts:
            self._facts.change(entry.id, accepted=False)
        try:
            version, objects = self._write_labels(entry, image, version, parts)
        except RefusedError:
            # The labels are what they were.
            self._facts.change(entry.id, accepted=facts.accepted)
            raise
        if parts:
            self.reject(entry)
        else:
            self._facts.change(entry.id, accepted=True, corrected=False)
            self._corrections.begin(entry, image)
        return version, objects

    def _write_labels(
        self, entry: Entry, image: Image, version: str, parts: Sequence[Box]
    ) -> tuple[str, int | None]:
        objects: int | None = None
        for box in parts or _parts(image.shape[1:]):
            values = self.read(entry, image, box)
            if parts:
                mine = self._store.read(entry, image.shape[1:], box)[0]
                values = np.where(mine == 0, values, mine)
            patch = Patch(box.start, values, version)
            version, objects = self._store.write(entry, image, patch)
        return version, objects

    def add(self, entry: Entry, image: Image, wide: Box, box: Box, labels: np.ndarray) -> None:
        """Add the predicted objects of a part of an image, where nothing is labeled yet.

        Args:
            entry: the image.
            image: the same, opened.
            wide: where ``labels`` lie.
            box: the part that was asked for; objects that reach into it are kept whole.
            labels: predicted ids.

        Raises:
            SaveError: the disk.
        """
        shape = image.shape[1:]
        inner = Box(
            tuple(a - b for a, b in zip(box.start, wide.start, strict=True)),
            tuple(a - b for a, b in zip(box.stop, wide.start, strict=True)),
        )
        wanted = np.unique(labels[inner.slices])
        found = np.where(np.isin(labels, wanted), labels, 0).astype(np.uint32)
        mine = self._store.read(entry, shape, wide)[0]
        # Most of the object lies on one that is there already: it is that one.
        covered = np.bincount(found[mine > 0], minlength=int(found.max(initial=0)) + 1)
        sizes = np.bincount(found.ravel(), minlength=len(covered))
        found[(mine > 0) | (2 * covered > sizes)[found]] = 0
        top = max(self._store.top(entry, shape), self._top(entry))
        found[found > 0] += top
        self._write(entry, image, wide, found)
        known = self._facts.get(entry.id).parts
        self._facts.change(entry.id, parts=(*known, (wide.start, wide.stop)), top_predicted=(
            int(found.max(initial=top))))  # fmt: skip

    def place(self, entry: Entry, image: Image, labels: np.ndarray) -> None:
        """Make labels of another program the prediction of an image.

        Raises:
            SaveError: the disk.
        """
        for path in [path for name, path in self.names().items() if name == entry.name]:
            remove(path)
        self._workspace.confine(self._workspace.predictions)
        save_image(self._workspace.predictions / f"{entry.name}.tif", labels, like=image)
        self._facts.change(entry.id, parts=(), top_predicted=0)

    def _top(self, entry: Entry) -> int:
        facts = self._facts.get(entry.id)
        return facts.top_predicted if facts.parts else 0

    def _write(self, entry: Entry, image: Image, wide: Box, found: np.ndarray) -> None:
        """Put ids into the prediction; a whole one that is older goes."""
        path, shape = self.names().get(entry.name), image.shape[1:]
        if path is not None and not self._facts.get(entry.id).parts:
            remove(path)
            path = None
        folder = self._workspace.predictions
        self._workspace.confine(folder)
        if prod(shape) >= LARGE:
            target = path or folder / f"{entry.name}.ome.zarr"
            write_box(target, image, wide, found)
            return
        target = path or folder / f"{entry.name}.tif"
        whole = (
            np.zeros(shape, np.uint32) if path is None
            else open_labels(path, ndim=image.ndim).read()[0].astype(np.uint32)
        )  # fmt: skip
        whole[wide.slices] = found
        save_image(target, whole, like=image)

    def reject(self, entry: Entry) -> None:
        """Remove the prediction.

        Raises:
            RefusedError: there is none.
        """
        path = self._path(entry)
        with saving(path):
            remove(path)
        self._facts.change(entry.id, parts=(), top_predicted=0)

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
