"""The folder that is served: where its files are, and that nothing outside it is touched.

A path is resolved before it is compared, so neither ``..`` nor a link leads out. Requests never
carry paths: an image has an id, which is looked up in the list of files.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import xxhash

from unmask.errors import DataError, message, near_path
from unmask.io.paths import locate, named_files
from unmask.serve.refusal import RefusedError, missing

# Nanoseconds: a folder that changed later than this may change again within a tick of its clock.
_SETTLED = 2 * 10**9


@dataclass(frozen=True)
class Workspace:
    """Where everything is.

    Attributes:
        root: the folder, resolved.
        images: the folder of the images: ``root``, or ``root/images``.
        axes: axes of files that do not say theirs.
    """

    root: Path
    images: Path
    axes: str | None = None

    @property
    def labels(self) -> Path:
        """Label images, one per image, same stem."""
        return self.root / "labels"

    @property
    def predictions(self) -> Path:
        """Predicted label images that nobody has accepted yet."""
        return self.root / "predictions"

    @property
    def runs(self) -> Path:
        """Run folders of trainings."""
        return self.root / "runs"

    @property
    def notes(self) -> Path:
        """What only the server reads."""
        return self.root / ".unmask"

    def confine(self, path: Path) -> Path:
        """The path with all links resolved.

        Raises:
            RefusedError: it leads out of the folder.
        """
        try:
            resolved = path.resolve()
        except (OSError, RuntimeError, ValueError):
            resolved = Path("/")
        if not resolved.is_relative_to(self.root):
            raise RefusedError(
                403,
                message(path.name, expected=f"a file inside {self.root}",
                        found="a link that leads out of it",
                        do="Copy the file into the folder."),
            )  # fmt: skip
        return resolved


@dataclass(frozen=True)
class Entry:
    """An image of the folder.

    Attributes:
        id: stands for the image in requests; follows from its name.
        name: stem, by which labels pair.
        file: name of the file.
        path: the file or store.
        problem: why it cannot be used; empty if it can.
    """

    id: str
    name: str
    file: str
    path: Path
    problem: str = ""


def open_workspace(folder: Path | str, *, axes: str | None = None) -> Workspace:
    """The workspace of a folder with images, or with a folder ``images``.

    Raises:
        DataError: there is no such folder.
    """
    root = Path(folder).resolve()
    if not root.is_dir():
        raise DataError(
            message(folder, expected="a folder", found="none",
                    do=f"{near_path(folder)}Make it, or give another one.")
        )  # fmt: skip
    inner = root / "images"
    use_inner = not _files(root) and inner.is_dir() and inner.resolve().is_relative_to(root)
    return Workspace(root, inner if use_inner else root, axes)


def list_entries(workspace: Workspace) -> list[Entry]:
    """All images in natural order; those that cannot be used say why."""
    return list(_folder(workspace).read().entries)


def find_entry(workspace: Workspace, identity: str) -> Entry:
    """The image with an id.

    Raises:
        RefusedError: there is none (404), or it cannot be used.
    """
    entry = _folder(workspace).read().by_id.get(identity)
    if entry is None:
        raise missing("image")
    if entry.problem:
        raise RefusedError(422, entry.problem)
    # Links may have changed since the page was loaded.
    workspace.confine(entry.path)
    return entry


@dataclass(frozen=True)
class _Listing:
    """Images of a folder as it was at one time."""

    entries: tuple[Entry, ...] = ()
    by_id: Mapping[str, Entry] = field(default_factory=dict)
    names: frozenset[tuple[str, int]] | None = None
    mark: int = -1
    settled: bool = False


class _Folder:
    """The list of a folder, read again only after the folder has changed; safe for threads.

    Every request needs the list, also that of a thumbnail. To read 2,000 files takes 0.3 s, to
    compare their names 3 ms, to compare the time of the folder nothing. The server's own folders
    change that time, so right after the start it says nothing.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._lock = threading.Lock()
        self._known = _Listing()

    def read(self) -> _Listing:
        """The images now."""
        folder = self._workspace.images
        # Who comes while another request reads the folder waits for its result.
        with self._lock:
            known, now = self._known, time.time_ns()
            mark = folder.stat().st_mtime_ns if folder.is_dir() else 0
            if known.settled and known.mark == mark:
                return known
            names = _names(folder)
            entries, by_id = known.entries, known.by_id
            if names != known.names:
                entries = _scan(self._workspace)
                by_id = {entry.id: entry for entry in entries}
            self._known = _Listing(entries, by_id, names, mark, now - mark > _SETTLED)
            return self._known


@lru_cache(maxsize=4)
def _folder(workspace: Workspace) -> _Folder:
    return _Folder(workspace)


def _names(folder: Path) -> frozenset[tuple[str, int]]:
    """Names of the visible files; the number tells a file from the one that replaces it."""
    try:
        with os.scandir(folder) as files:
            return frozenset((f.name, f.inode()) for f in files if not f.name.startswith("."))
    except FileNotFoundError:
        return frozenset()


def _scan(workspace: Workspace) -> tuple[Entry, ...]:
    files = _files(workspace.images)
    stems = Counter(name for name, _ in files)
    return tuple(_entry(workspace, name, file, twice=stems[name] > 1) for name, file in files)


def _entry(workspace: Workspace, name: str, file: str, *, twice: bool) -> Entry:
    path = Path(file)
    relative = file.removeprefix(f"{workspace.images}{os.sep}").replace(os.sep, "/")
    identity = xxhash.xxh3_64_hexdigest(relative.encode(errors="surrogateescape"))
    problem = ""
    if twice:
        problem = message(relative, expected="one image of this name", found="several",
                          do="Rename one of them; labels pair by name.")  # fmt: skip
    # A plain file of a resolved folder lies in it; to resolve thousands of them takes a second.
    if path.parent != workspace.images or not os.path.lexists(path) or path.is_symlink():
        try:
            workspace.confine(locate(file).path)
        except RefusedError as refusal:
            problem = str(refusal)
    return Entry(identity, name, relative, path, problem)


def _files(folder: Path) -> list[tuple[str, str]]:
    """Names and paths of the images."""
    try:
        return [(name, file) for name, file in named_files(str(folder)) if isinstance(file, str)]
    except DataError:
        # A folder without images is empty, not wrong: they may be uploaded.
        return []
