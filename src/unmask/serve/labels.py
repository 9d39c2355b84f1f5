"""Label images that are edited by box, saved atomically and versioned.

A version is a hash of the label file, so it also changes if another program writes the file. Who
saves names the version that the change was made on; if it is not the current one, nothing is
written. The file is a TIFF that is replaced as a whole. For volumes that are too large for that it
is an OME-Zarr, written chunk by chunk; its version counts the saves.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from unmask.atomic import make_folder, saving
from unmask.errors import DataError, message
from unmask.io import Image, open_labels, save_image, stem
from unmask.serve.facts import FactsBook
from unmask.serve.versions import ABSENT, ANY, conflict
from unmask.serve.workspace import Entry, Workspace
from unmask.space.box import Box

# From this many voxels on, labels are an OME-Zarr: a save must not rewrite a gigabyte.
LARGE = 2**27
# Bytes of one response or request, and of label images kept in memory.
MOST = 2**28
_CACHE = 2**27
# Images whose pixels per id are kept, which a stroke changes in its box alone.
_COUNTED = 32


@dataclass(frozen=True, eq=False)
class Patch:
    """New values for a box of a label image.

    Attributes:
        start: first voxel of the box.
        values: ids, ``uint16`` or ``uint32``.
        version: of the labels that the patch was made on; ``*`` for any.
    """

    start: tuple[int, ...]
    values: np.ndarray
    version: str

    @property
    def box(self) -> Box:
        """The voxels that are replaced."""
        sizes = zip(self.start, self.values.shape, strict=True)
        return Box(self.start, tuple(start + size for start, size in sizes))


class LabelStore:
    """Reads and writes the label images of a workspace; safe for threads.

    Args:
        workspace: says where they are.
        facts: gets the number of objects after every save.
    """

    def __init__(self, workspace: Workspace, facts: FactsBook) -> None:
        self._workspace = workspace
        self._facts = facts
        self._locks: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)
        self._arrays: OrderedDict[str, tuple[str, np.ndarray]] = OrderedDict()
        self._digests: dict[Path, tuple[tuple[int, ...], str]] = {}
        self._sizes: dict[str, tuple[str, np.ndarray]] = {}

    def path(self, entry: Entry) -> Path | None:
        """The label file of an image; None if there is none.

        Raises:
            RefusedError: it is a link that leads out of the folder.
        """
        folder = self._workspace.labels
        # Not Path.exists: it refuses a name that fits with the shorter suffix only.
        usual = [folder / f"{entry.name}{suffix}" for suffix in (".tif", ".ome.zarr")]
        path = next((path for path in usual if os.path.lexists(path)), None)
        if path is None and folder.is_dir():
            path = next((p for p in folder.iterdir() if _is_labels(p, entry.name)), None)
        if path is not None:
            self._workspace.confine(path)
        return path

    def version(self, entry: Entry) -> str:
        """Version of the labels; ``"0"`` if there are none."""
        path = self.path(entry)
        if path is None:
            return ABSENT
        if path.is_dir():
            return f"w{self._facts.get(entry.id).writes}"
        state = path.stat()
        mark = (state.st_ino, state.st_mtime_ns, state.st_size)
        known = self._digests.get(path)
        if known is None or known[0] != mark:
            digest = xxhash.xxh3_64_hexdigest(path.read_bytes())
            self._digests[path] = known = (mark, digest)
        return known[1]

    def read(self, entry: Entry, shape: tuple[int, ...], box: Box) -> tuple[np.ndarray, str]:
        """Ids of a box as ``uint16`` or ``uint32``, and the version they belong to.

        Args:
            entry: the image.
            shape: its spatial axes.
            box: inside of it.

        Raises:
            DataError: labels that cannot be read or are those of another image.
        """
        with self._locks[entry.id]:
            version, path = self.version(entry), self.path(entry)
            if path is None:
                return np.zeros(box.shape, np.uint16), version
            if prod(shape) >= LARGE:
                return _narrow(_opened(path, shape).read(box)[0]), version
            return self._whole(entry, path, shape, version)[box.slices], version

    def top(self, entry: Entry, shape: tuple[int, ...]) -> int:
        """The largest id, after which new ones are counted."""
        with self._locks[entry.id]:
            path = self.path(entry)
            if path is None:
                return 0
            if prod(shape) >= LARGE:
                return self._facts.get(entry.id).top
            return int(self._whole(entry, path, shape, self.version(entry)).max())

    def write(self, entry: Entry, image: Image, patch: Patch) -> tuple[str, int | None]:
        """Save a patch; the new version and number of objects.

        Raises:
            RefusedError: the labels have another version (409); nothing was written.
            SaveError: the disk; the older file is untouched.
        """
        with self._locks[entry.id]:
            version = self.version(entry)
            if patch.version not in (ANY, version):
                # The answer to an earlier attempt may have been lost.
                if version != ABSENT and np.array_equal(
                    self.read(entry, image.shape[1:], patch.box)[0], patch.values
                ):
                    return version, self._facts.get(entry.id).objects
                raise conflict(f"labels of {entry.name}", version)
            if prod(image.shape[1:]) >= LARGE:
                return self._write_part(entry, image, patch)
            return self._write_whole(entry, image, patch, version)

    def _write_whole(
        self, entry: Entry, image: Image, patch: Patch, version: str
    ) -> tuple[str, int]:
        path, shape = self.path(entry), image.shape[1:]
        if path is None:
            path, before = self._workspace.labels / f"{entry.name}.tif", None
        else:
            before = self._whole(entry, path, shape, version)
        dtype = patch.values.dtype if before is None else np.promote_types(
            before.dtype, patch.values.dtype
        )  # fmt: skip
        after = np.zeros(shape, dtype) if before is None else before.astype(dtype)
        after[patch.box.slices] = patch.values
        after = _narrow(after)
        sizes = self._sizes_after(entry.id, version, before, after, patch.box)
        self._workspace.confine(path.parent)
        save_image(path, after, like=image)
        now = self.version(entry)
        self._keep(entry.id, now, after)
        self._sizes.pop(entry.id, None)
        if sizes is not None:
            self._sizes[entry.id] = (now, sizes)
        while len(self._sizes) > _COUNTED:
            self._sizes.pop(next(iter(self._sizes)))
        count = count_objects(after) if sizes is None else int(np.count_nonzero(sizes[1:]))
        self._note(entry, objects=count, version=now)
        return now, count

    def _sizes_after(
        self, identity: str, version: str, before: np.ndarray | None, after: np.ndarray, box: Box
    ) -> np.ndarray | None:
        """Pixels per id after a save; only those of the box are counted again. None: wide ids."""
        if after.dtype != np.uint16:
            return None
        known = self._sizes.get(identity)
        if before is None or known is None or known[0] != version:
            return _sizes(after)
        return known[1] + _sizes(after[box.slices]) - _sizes(before[box.slices])

    def _write_part(self, entry: Entry, image: Image, patch: Patch) -> tuple[str, None]:
        path = self.path(entry) or self._workspace.labels / f"{entry.name}.ome.zarr"
        if not path.is_dir():
            self._workspace.confine(path.parent)
        write_box(path, image, patch.box, patch.values)
        writes = self._facts.get(entry.id).writes + 1
        top = max(self._facts.get(entry.id).top, int(patch.values.max()))
        self._note(entry, writes=writes, objects=None, version=f"w{writes}", top=top)
        return f"w{writes}", None

    def _note(self, entry: Entry, **changes: Any) -> None:
        accepted = self._facts.get(entry.id).accepted
        self._facts.change(entry.id, corrected=accepted, **changes)

    def _whole(self, entry: Entry, path: Path, shape: tuple[int, ...], version: str) -> np.ndarray:
        known = self._arrays.get(entry.id)
        if known is not None and known[0] == version:
            self._arrays.move_to_end(entry.id)
            return known[1]
        array = _narrow(_opened(path, shape).read()[0])
        self._keep(entry.id, version, array)
        return array

    def _keep(self, identity: str, version: str, array: np.ndarray) -> None:
        array.flags.writeable = False
        self._arrays[identity] = (version, array)
        self._arrays.move_to_end(identity)
        while sum(kept.nbytes for _, kept in list(self._arrays.values())) > _CACHE:
            if len(self._arrays) < 2:
                break
            self._arrays.popitem(last=False)


def write_box(path: Path, image: Image, box: Box, values: np.ndarray) -> None:
    """Write ids into a box of an OME-Zarr of the image's size, which is made if there is none.

    Raises:
        SaveError: the disk.
    """
    # The server starts without it: only images of gigabytes need it.
    from unmask.io.zarr import create_zarr

    with saving(path):
        if not path.is_dir():
            make_folder(path.parent)
            create_zarr(path, image.shape[1:], np.dtype(np.uint32), axes=image.axes[1:],
                        spacing=image.spacing, unit=image.unit)  # fmt: skip
        array: Any = _zarr(path)
        array[box.slices] = values


def count_objects(labels: np.ndarray) -> int:
    """Number of different ids above 0."""
    if labels.dtype == np.uint16:
        return int(np.count_nonzero(np.bincount(labels.ravel(), minlength=1)[1:]))
    return int(np.count_nonzero(np.unique(labels)))


def _sizes(labels: np.ndarray) -> np.ndarray:
    """Pixels per id of 16 bits."""
    return np.bincount(labels.ravel(), minlength=2**16)


def _narrow(labels: np.ndarray) -> np.ndarray:
    """Ids as ``uint16`` where they fit, else as ``uint32``: the types that a page can take.

    Raises:
        DataError: ids that need 64 bits.
    """
    top = int(labels.max()) if labels.size and labels.dtype.itemsize > 2 else 0
    if top >= 2**32:
        raise DataError(
            message("labels", expected="ids below 2**32", found=str(top),
                    do="Number the objects again.")
        )  # fmt: skip
    return labels.astype(np.uint16 if top < 2**16 else np.uint32, copy=False)


def _opened(path: Path, shape: tuple[int, ...]) -> Image:
    labels = open_labels(path, ndim=len(shape))
    if labels.shape[1:] != shape:
        raise DataError(
            message(f"{path.parent.name}/{path.name}", expected=f"the size of its image, {shape}",
                    found=str(labels.shape[1:]), do="Remove it, or replace it by its own labels.")
        )  # fmt: skip
    return labels


def _zarr(path: Path) -> Any:
    import zarr

    return zarr.open_array(path / "0", mode="r+")


def _is_labels(path: Path, name: str) -> bool:
    return not path.name.startswith(".") and "." in path.name and stem(path) == name
