"""Files that are either complete or not there: write aside, fsync, rename, fsync the folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from unmask.errors import SaveError


def fsync_folder(folder: Path) -> None:
    """Make renames inside ``folder`` durable (no effect where folders cannot be opened)."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def atomic_path(path: Path | str) -> Generator[Path, None, None]:
    """Give a temporary path beside ``path``; on success it becomes ``path``, on failure it goes.

    The temporary name keeps the suffix, so that libraries which choose a format by it still work.

    Raises:
        SaveError: the file could not be written; the older file is untouched.

    Examples:
        >>> with atomic_path("report.json") as aside:  # doctest: +SKIP
        ...     aside.write_text("{}")
    """
    path = Path(path)
    aside = path.with_name(aside_name(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        with aside.open("rb+") as handle:
            os.fsync(handle.fileno())
        aside.replace(path)
        fsync_folder(path.parent)
    except OSError as error:
        raise SaveError(
            f"{path}: could not be written ({error.strerror or error}); "
            f"{_free(path.parent)} free in {path.parent}. An older file of this name is untouched. "
            "Free space, check the permissions, or choose another folder."
        ) from error
    finally:
        # What hindered the write may hinder the removal; the first error is the one to tell.
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def aside_name(path: Path) -> str:
    """Hidden temporary name for ``path`` with its suffix, at most 255 bytes long."""
    start = os.fsencode(path.name)[:180].decode(errors="ignore")
    suffix = "".join(part for part in path.suffixes[-2:] if len(part) < 16)
    return f".{start}.{os.getpid()}.tmp{suffix}"


def atomic_write(path: Path | str, content: bytes | str) -> None:
    """Write a whole file atomically and durably; text as UTF-8.

    A file name that is not UTF-8 is escaped in text, as on the terminal.
    """
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    with atomic_path(path) as aside:
        aside.write_bytes(data)


def _free(folder: Path) -> str:
    try:
        return f"{shutil.disk_usage(folder).free / 1e6:.0f} MB"
    except OSError:
        return "unknown space"
