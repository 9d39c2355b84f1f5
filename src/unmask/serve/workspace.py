"""The folder that is served: where its files are, and that nothing outside it is touched.

A path is resolved before it is compared, so neither ``..`` nor a link leads out. Requests never
carry paths: an image has an id, which is looked up in the list of files.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import xxhash

from unmask.errors import DataError, message, near_path
from unmask.io.paths import locate, named_files
from unmask.serve.refusal import RefusedError, missing

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
    mark = workspace.images.stat().st_mtime_ns if workspace.images.is_dir() else 0
    # A folder that is changing right now may change again within one tick of its clock.
    settled = time.time_ns() - mark > _SETTLED
    return list(_scanned(workspace, mark) if settled else _scan(workspace))


def find_entry(workspace: Workspace, identity: str) -> Entry:
    """The image with an id.

    Raises:
        RefusedError: there is none (404), or it cannot be used.
    """
    for entry in list_entries(workspace):
        if entry.id == identity:
            if entry.problem:
                raise RefusedError(422, entry.problem)
            # Links may have changed since the page was loaded.
            workspace.confine(entry.path)
            return entry
    raise missing("image")


@lru_cache(maxsize=4)
def _scanned(workspace: Workspace, mark: int) -> tuple[Entry, ...]:
    """The list of a folder that was last changed at ``mark``."""
    del mark
    return _scan(workspace)


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
