"""OME-Zarr in a ZIP file (.zarr.zip, .ozx of NGFF RFC-9): read without extracting it.

``image.zarr.zip:labels/nuclei`` is an image inside the store.
"""

from __future__ import annotations

import copy
import os
import zipfile
import zlib
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from unmask.io import cache as recent
from unmask.io.contract import Format, Index, Location, Stored, check_file, file_error, signature
from unmask.io.unpack import DAMAGED, Decoder, copy_bytes, decode_bz2, inflate_raw, packed_limit

_METADATA = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
_MOST_FILES = 5_000_000
# `zipfile` decodes a file whole before it compares the result with the size in the directory, so a
# file of a kilobyte could fill the memory.
_DECODERS: dict[int, Decoder] = {
    zipfile.ZIP_STORED: copy_bytes,
    zipfile.ZIP_DEFLATED: inflate_raw,
    zipfile.ZIP_BZIP2: decode_bz2,
}
_ENCRYPTED = 1


@dataclass(frozen=True)
class Archive:
    """The files of a ZIP file by name, and the folders that they are in."""

    path: Path
    shelf: recent.Shelf[Any] = field(default_factory=recent.make_opened_shelf)

    @property
    def file(self) -> zipfile.ZipFile:
        """The open file; threads may share it."""
        return self.shelf.get_alone("zip", lambda: zipfile.ZipFile(self.path))

    @cached_property
    def entries(self) -> dict[str, zipfile.ZipInfo]:
        """Every file by its path."""
        return {info.filename: info for info in self.file.infolist() if not info.is_dir()}

    @cached_property
    def folders(self) -> set[str]:
        """Every folder that holds a file."""
        found = {str(parent) for name in self.entries for parent in PurePosixPath(name).parents}
        return (found - {"."}) | {""}


@dataclass(frozen=True)
class ZipPath:
    """A file or folder of a ZIP file, with the methods of a path that readers of stores use."""

    archive: Archive
    key: str = ""

    def __truediv__(self, other: object) -> ZipPath:
        parts = [part for part in f"{self.key}/{other}".split("/") if part not in ("", ".")]
        # Entries with ".." in their name do not exist for a reader of stores.
        return ZipPath(self.archive, "/".join(parts))

    def __str__(self) -> str:
        return f"{self.archive.path}:{self.key}" if self.key else str(self.archive.path)

    @property
    def name(self) -> str:
        """The last part."""
        return (self.key or self.archive.path.name).rpartition("/")[2]

    @property
    def parent(self) -> ZipPath:
        """The folder around it."""
        return ZipPath(self.archive, self.key.rpartition("/")[0])

    def resolve(self) -> ZipPath:
        """The path itself; links in ZIP files are not followed."""
        return self

    def is_file(self) -> bool:
        """Whether it is a file."""
        return self.key in self.archive.entries

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return self.key in self.archive.folders

    def exists(self) -> bool:
        """Whether it is a file or a folder."""
        return self.is_file() or self.is_dir()

    def stat(self) -> os.stat_result:
        """A status that knows the size only."""
        info = self.archive.entries.get(self.key)
        if info is None and not self.is_dir():
            raise FileNotFoundError(2, "no such file in the archive", str(self))
        return os.stat_result((0, 0, 0, 0, 0, 0, info.file_size if info else 0, 0, 0, 0))

    def read_text(self, encoding: str = "utf-8") -> str:
        """Text of a file of metadata, whose size was asked for before."""
        return self._unpack(self.archive.entries[self.key]).decode(encoding)

    def read_bytes(self, limit: int) -> bytes | None:
        """Content of a file; None if there is none.

        Raises:
            ValueError: more than ``limit`` bytes, damaged, or encrypted.
        """
        info = self.archive.entries.get(self.key)
        if info is None:
            return None
        if info.file_size > limit:
            raise ValueError(f"{self.key} has {info.file_size} bytes, more than {limit}")
        return self._unpack(info)

    def _unpack(self, info: zipfile.ZipInfo) -> bytes:
        """Content of a file, of the size in the directory.

        Raises:
            ValueError: damaged, or not to be read.
        """
        decode = _DECODERS.get(info.compress_type)
        if decode is None or info.flag_bits & _ENCRYPTED:
            raise ValueError(f"{self.key} cannot be read")
        if info.compress_size > packed_limit(info.file_size):
            raise ValueError(f"{self.key}: more than {info.file_size} bytes")
        packed: Any = copy.copy(info)
        packed.compress_type, packed.CRC = zipfile.ZIP_STORED, None
        packed.file_size = info.compress_size
        try:
            plain = decode(self.archive.file.read(packed), info.file_size)
        except (*DAMAGED, NotImplementedError, zipfile.BadZipFile) as error:
            raise ValueError(f"{self.key}: {error}") from error
        if len(plain) != info.file_size or zlib.crc32(plain) != info.CRC:
            raise ValueError(f"{self.key}: its size or its checksum does not fit")
        return plain

    def read_range(self, start: int, count: int, limit: int) -> bytes | None:
        """Some bytes of a file; counted from its end if ``start`` is negative."""
        whole = self.read_bytes(limit)
        if whole is None:
            return None
        return whole[start : start + count] if start >= 0 else whole[-count:]


def open_zipped(location: Location, *, level: int = 0, labels: bool = False) -> Stored:
    """Find the array of a resolution level, as in a folder.

    Raises:
        DataError: not a ZIP file, no store in it, or as for a store in a folder.
    """
    # Zarr takes 0.3 s to import.
    from unmask.io.zarr_open import open_zarr

    mark = signature(location.path)
    archive = Archive(location.path)
    try:
        count = len(archive.entries)
    except (zipfile.BadZipFile, NotImplementedError, OSError, UnicodeDecodeError) as error:
        raise _refused(location, "a ZIP file", f"{error} (truncated?)") from error
    if count > _MOST_FILES:
        raise _refused(location, f"at most {_MOST_FILES} files", f"{count}")
    _check_packing(location, archive)
    inside: Any = _root(location, ZipPath(archive))
    stored = open_zarr(replace(location, path=inside), level=level, labels=labels)

    def read(index: Index) -> np.ndarray:
        check_file(location, mark)
        return stored.read(index)

    return replace(stored, read=read)


def _check_packing(location: Location, archive: Archive) -> None:
    """Refuse passwords and unusual methods of compression before anything is read."""
    for info in archive.entries.values():
        if info.flag_bits & _ENCRYPTED:
            raise file_error(
                location,
                "files without a password",
                f"{info.filename}, which is encrypted",
                do="Extract the archive with its password, and give the folder.",
            )
        if info.compress_type not in _DECODERS:
            known: Any = zipfile
            method = known.compressor_names.get(info.compress_type, "unknown")
            raise file_error(
                location,
                "files that are stored, deflated or packed with bzip2",
                f"{info.filename}, packed with {method} (method {info.compress_type})",
                do="Extract the archive, and give the folder.",
            )


def _root(location: Location, path: ZipPath) -> ZipPath:
    """The folder of the store: the top, or the only folder at the top."""
    for _ in range(2):
        if any((path / name).is_file() for name in _METADATA):
            return path
        below = {name for name in path.archive.folders if name and name.count("/") == 0}
        if path.key or len(below) != 1:
            break
        path = path / below.pop()
    raise _refused(location, "an OME-Zarr inside", "no Zarr metadata at its top")


_refused = partial(
    file_error, do="Copy it again. Extract archives of other files, and give the folder."
)


FORMAT = Format("OME-Zarr in a ZIP file", open_zipped, container=True, family=".ome.zarr")
