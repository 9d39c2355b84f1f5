"""Files and folders that are either complete and durable, or not there.

The order is always the same: write aside, fsync the content, rename, fsync the folder. A rename
alone survives a killed process, but not a power cut.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import xxhash

from unmask.errors import SaveError, message
from unmask.processes import owner

# What an fsync of a folder answers on file systems that cannot do it (CIFS, some FUSE).
_NO_FSYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF}
# Bytes of a file name, and those of it that are kept in a temporary one.
_MOST, LONGEST = 255, 170
# An fsync mostly waits; together they share the commits of the disk's journal.
_THREADS = 8


def fsync_folder(folder: Path) -> None:
    """Make renames inside ``folder`` durable (no effect where folders cannot be opened).

    Raises:
        OSError: the disk.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:
        # Windows opens no folders, and keeps renames without being asked.
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_FSYNC:
            raise
    finally:
        os.close(handle)


def fsync_file(path: Path) -> None:
    """Make the content of a file durable.

    Raises:
        OSError: the disk.
    """
    with path.open("rb+") as handle:
        os.fsync(handle.fileno())


def fsync_all(files: Iterable[Path], folders: Iterable[Path]) -> None:
    """Make files durable, several at a time, then the folders that hold them.

    Raises:
        OSError: the disk.
    """
    with ThreadPoolExecutor(_THREADS, "unmask-sync") as pool:
        for action, paths in ((fsync_file, files), (fsync_folder, folders)):
            _each(pool, action, paths)


def fsync_tree(folder: Path) -> None:
    """Make a folder durable with all that is in it; its own name is up to its parent.

    Raises:
        OSError: the disk.
    """
    files: list[Path] = []
    folders: list[Path] = []
    for inner, _, names in os.walk(folder):
        folders.append(Path(inner))
        files += [Path(inner, name) for name in names]
    fsync_all(files, folders)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, durably.

    Raises:
        OSError: the disk.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in reversed(missing):
        fsync_folder(each.parent)


@contextmanager
def tidy_folder(folder: Path | str) -> Generator[None, None, None]:
    """Leave no empty folder after an error: those that are made inside the block go again.

    Folders that existed before stay, and so do those that hold something.
    """
    whole = Path(folder).absolute()
    missing = [each for each in (whole, *whole.parents) if not each.exists()]
    try:
        yield
    except BaseException:
        for each in missing:
            with suppress(OSError):
                each.rmdir()
        raise


@contextmanager
def atomic_path(path: Path | str) -> Generator[Path, None, None]:
    """Give a temporary path next to ``path``; on success it becomes ``path``, on failure it goes.

    The temporary name keeps the suffix, so that libraries which choose a format by it still work.

    Raises:
        SaveError: the file could not be written; the older file is untouched.

    Examples:
        >>> with atomic_path("report.json") as aside:  # doctest: +SKIP
        ...     aside.write_text("{}")
    """
    path = Path(path)
    aside = path.with_name(aside_name(path))
    with saving(path), tidy_folder(path.parent):
        try:
            make_folder(path.parent)
            yield aside
            fsync_file(aside)
            aside.replace(path)
            fsync_folder(path.parent)
        finally:
            # What hindered the write may hinder the removal; the first error is the one to report.
            with suppress(OSError):
                aside.unlink(missing_ok=True)


def refuse_folder(path: Path | str) -> None:
    """Refuse a folder as the name of a file that is to be written, before long work.

    Raises:
        SaveError: it is a folder.
    """
    if Path(path).is_dir():
        raise save_error(path, IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)))


def atomic_write(path: Path | str, content: bytes | str) -> None:
    """Write a whole file atomically and durably; text as UTF-8.

    A file name that is not UTF-8 is escaped in text, as on the terminal.
    """
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    with atomic_path(path) as aside:
        aside.write_bytes(data)


def append(path: Path, line: str, *, durable: bool = True) -> None:
    """Add a line to a text file; a line that a kill or a full disk has cut stays alone.

    Args:
        path: the file; made if missing.
        line: without its end.
        durable: return when the line is on the disk.

    Raises:
        OSError: the disk.
    """
    new = not path.exists()
    with path.open("ab+") as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
        torn = size > 0 and file.read(1) != b"\n"
        file.write(b"\n" * torn + line.encode() + b"\n")
        file.flush()
        if durable:
            os.fsync(file.fileno())
    if durable and new:
        fsync_folder(path.parent)


def replace_folder(aside: Path, path: Path) -> None:
    """Let a finished folder take its place, durably; an older one stays whole until then.

    A kill between the two renames leaves the older folder under a hidden name, from which the next
    run brings it back (``unmask.leftovers``).

    Raises:
        OSError: the disk; the older folder is at its place again.
    """
    old = path.with_name(f"{aside_name(path)}.old")
    make_folder(path.parent)
    fsync_tree(aside)
    remove(old)
    if path.exists():
        path.rename(old)
    try:
        aside.rename(path)
    except OSError:
        with suppress(OSError):
            old.rename(path)
        raise
    for parent in {path.parent, aside.parent}:
        fsync_folder(parent)
    remove(old)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it, if it is there.

    Raises:
        OSError: the disk.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def aside_name(path: Path) -> str:
    """Hidden temporary name for ``path`` with its suffix, at most 255 bytes long."""
    start = _shorten(path.name, LONGEST)
    suffix = "".join(part for part in path.suffixes[-2:] if len(part) < 16)
    return f".{start}.{owner()}.tmp{suffix}"


def fit_name(name: str, ending: str) -> str:
    """``name`` with ``ending``; of a name that is too long for a file, the beginning and a hash.

    Examples:
        >>> fit_name("cells", ".zip")
        'cells.zip'
        >>> len(fit_name("cells" * 51, ".zip"))
        255
    """
    return _shorten(name, _MOST - len(os.fsencode(ending))) + ending


def _shorten(name: str, most: int) -> str:
    data = os.fsencode(name)
    if len(data) <= most:
        return name
    return f"{data[: most - 17].decode(errors='ignore')}~{xxhash.xxh3_64_hexdigest(data)}"


@contextmanager
def saving(path: Path, more: str = "") -> Generator[None, None, None]:
    """Turn an error of the disk inside the block into one that a user can act on.

    Args:
        path: what is written.
        more: a sentence about what is kept.

    Raises:
        SaveError: names the path and the free space.
    """
    try:
        yield
    except SaveError:
        raise
    except OSError as error:
        raise save_error(path, error, more) from error


def save_error(path: Path | str, error: OSError, more: str = "") -> SaveError:
    """What to report when ``path`` could not be written."""
    folder = Path(path).parent
    if error.errno == errno.ENAMETOOLONG:
        return SaveError(f"{path}: could not be written ({error.strerror}). Shorten the name.")
    blocked = next((each for each in Path(path).parents if each.is_file()), None)
    if blocked is not None and error.errno in (errno.EEXIST, errno.ENOTDIR):
        return SaveError(
            message(path, expected="a folder to write into", found=f"{blocked}, which is a file",
                    do="Choose another name for the output.")
        )  # fmt: skip
    if error.errno == errno.EISDIR:
        return SaveError(
            message(path, expected="the name of a file to write", found="a folder",
                    do="Add a file name, or choose another one.")
        )  # fmt: skip
    return SaveError(
        f"{path}: could not be written ({error.strerror or error}); "
        f"{free_space(folder)} free in {folder}. "
        + (more or "An older file of this name is untouched. ")
        + "Free space, check the permissions, or choose another folder."
    )


def free_space(folder: Path) -> str:
    """Free space of a disk, or of that of the nearest folder that exists."""
    for each in (folder, *folder.parents):
        with suppress(OSError):
            return f"{shutil.disk_usage(each).free / 1e6:.0f} MB"
    return "unknown space"


def _each(pool: ThreadPoolExecutor, action: Callable[[Path], None], paths: Iterable[Path]) -> None:
    for _ in pool.map(action, paths):
        pass
