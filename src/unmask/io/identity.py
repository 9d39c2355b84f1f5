"""What changes when a file does: its size and the time of its last change, as text."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import xxhash

from unmask.io.image import Image
from unmask.io.multi_file import files_of
from unmask.io.paths import locate, suffix_of
from unmask.io.remote import METADATA, is_remote

# Labels inside the store of an image.
_LABELS = "labels"
# Folders other than stores, and arrays, have no identity.
# Folders that are one image.
_STORES = (".zarr", ".n5", ".precomputed")
UNKNOWN = "-"


def file_identity(path: Path) -> str:
    """Size and time of change of one file.

    Raises:
        OSError: there is no such file.
    """
    status = path.stat()
    return f"{status.st_size}:{status.st_mtime_ns}"


def identity(source: str | Path) -> str:
    """Sizes and times of change of all files behind a source; "-" for other folders and arrays.

    All files of a Zarr store count, metadata and chunks.
    """
    found = [_identity(file) for file in files_of(source)]
    return UNKNOWN if UNKNOWN in found else ";".join(found)


def image_identity(image: Image) -> str:
    """What changes when any file of an image does."""
    return ";".join(identity(path) for path in image.meta.get("files", (image.source,)))


def is_in_files(image: Image) -> bool:
    """Whether an image is in files, so that another process can open it again."""
    return all(locate(file).path.exists() for file in files_of(image.source))


def _remote_identity(folder: Any) -> str:
    """Digest of the metadata of a remote store: requests for every chunk would take hours."""
    digest = xxhash.xxh3_128()
    levels = [folder, *(folder / str(number) for number in range(2))]
    for path in (level / name for level in levels for name in METADATA):
        digest.update(path.read_text().encode() if path.is_file() else b"-")
    return f"metadata:{digest.hexdigest()}"


def _identity(file: str) -> str:
    location = locate(file)
    if is_remote(file):
        return _remote_identity(location.path / location.key)
    if location.path.is_file():
        return file_identity(location.path)
    folder = location.path / location.key
    if not folder.is_dir() or suffix_of(location) not in _STORES:
        return UNKNOWN
    digest, files = xxhash.xxh3_128(), 0
    for parent, inner, names in os.walk(folder):
        if Path(parent) == folder and len(inner) > 1 and _LABELS in inner:
            # Labels that are added to the store of an image do not change the image.
            inner.remove(_LABELS)
        inner.sort()
        for path in (Path(parent, name) for name in sorted(names)):
            relative = path.relative_to(folder).as_posix()
            size, _, modified = file_identity(path).partition(":")
            digest.update(f"{relative} {size} {modified}\n".encode())
            files += 1
    return f"{files} files:{digest.hexdigest()}"
