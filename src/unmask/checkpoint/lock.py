"""One run at a time in a run folder."""

from __future__ import annotations

import importlib
import json
import os
import socket
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from errno import EACCES, EAGAIN, EDEADLK, ENOSYS
from pathlib import Path
from typing import Any

from unmask.atomic import free_space, make_folder
from unmask.errors import CheckpointError, SaveError, message
from unmask.processes import begin_of, is_running

LOCK_FILE = ".lock"
# Stands in for the lock on disks that have none.
OWNER_FILE = ".lock.owner"
# What a system answers when another process holds the lock. Everything else, such as ENOLCK or
# ENOTSUP of Lustre and NFS, says that this disk cannot lock files.
_HELD = {EACCES, EAGAIN, EDEADLK}
# Locks of Windows also keep others from reading, so the byte is far behind the text.
_FAR = 1 << 30


def warn(message: str) -> None:
    """Default of the ``report`` parameters here: a Python warning."""
    warnings.warn(message, stacklevel=3)


@contextmanager
def lock_run(
    folder: Path | str,
    *,
    report: Callable[[str], None] = warn,
    temporary: bool = False,
    instead: str = "choose another --out",
) -> Generator[None, None, None]:
    """Hold a run folder (made if missing) for this process.

    The kernel's file lock decides, so that a killed run never blocks the next one; the file's text
    says who holds it. On a disk without locks, a file with process, host and start stands in for
    it, and a warning says so. Where nothing was written, nothing is left behind.

    Args:
        folder: the run folder.
        report: gets a message when the folder is taken over from a killed run.
        temporary: remove the folder afterwards, if it is empty, even if it was there before.
        instead: what a user can do if the folder cannot be held.

    Raises:
        CheckpointError: another run works in the folder; names its process and start.
        SaveError: the folder cannot be written.
    """
    path = Path(folder) / LOCK_FILE
    go = temporary or not path.parent.exists()
    try:
        make_folder(path.parent)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            claim = _acquire(handle, path, report, instead)
        except BaseException:
            os.close(handle)
            raise
    except OSError as error:
        place = path.parent.parent
        raise SaveError(
            f"{folder}: expected a folder that can be written, found: {error.strerror or error}; "
            f"{free_space(place)} free in {place}. Check the permissions, or {instead}."
        ) from error
    try:
        yield
    finally:
        try:
            _release(handle, claim)
            if os.name != "nt":
                _leave(path, go=go)
        finally:
            os.close(handle)
        if os.name == "nt":
            # Windows removes no open file, and no file that another process has opened meanwhile.
            _leave(path, go=go)


def _release(handle: int, claim: Path | None) -> None:
    # Emptied on the way out, with an error too: text without a lock marks a killed run.
    with suppress(OSError):
        os.ftruncate(handle, 0)
    if claim is not None:
        with suppress(OSError):
            claim.unlink()


def _leave(path: Path, *, go: bool) -> None:
    """Remove the lock of a folder that holds nothing else, and the folder if it may go."""
    # The folder may be gone, or another run may begin in it at this moment.
    with suppress(OSError):
        if [entry.name for entry in path.parent.iterdir()] == [path.name]:
            path.unlink()
            if go:
                path.parent.rmdir()


def _acquire(handle: int, path: Path, report: Callable[[str], None], instead: str) -> Path | None:
    """Lock the open file and sign it; the file that stands in for the lock, if any."""
    holder = os.read(handle, 10_000).decode(errors="replace")
    claim: Path | None = None
    try:
        _lock(handle)
    except BlockingIOError as error:
        raise _lock_error(path.parent, holder, instead) from error
    except OSError as error:
        warn(
            f"{path.parent}: this disk cannot lock files ({error.strerror or error}). The file "
            f"{OWNER_FILE} with process, host and start stands in for the lock."
        )
        claim = path.with_name(OWNER_FILE)
        holder = _claim(claim, instead)
    # The file of a run that has just left an empty folder excludes nobody.
    if not os.fstat(handle).st_nlink:
        raise _lock_error(path.parent, holder, instead)
    if holder:
        report(
            f"{path.parent}: {_describe(holder)} was ended before it could release the folder; "
            "it is taken over."
        )
    os.ftruncate(handle, 0)
    os.lseek(handle, 0, os.SEEK_SET)
    os.write(handle, _signature().encode())
    return claim


def _lock(handle: int) -> None:
    """Take the kernel's lock.

    Raises:
        BlockingIOError: another process has it.
        OSError: the disk or the system has no such locks.
    """
    posix, windows = _module("fcntl"), _module("msvcrt")
    if posix is None and windows is None:
        raise OSError(ENOSYS, "this Python has no file locks")
    try:
        if posix is not None:
            posix.flock(handle, posix.LOCK_EX | posix.LOCK_NB)
        else:
            os.lseek(handle, _FAR, os.SEEK_SET)
            windows.locking(handle, windows.LK_NBLCK, 1)
    except OSError as error:
        if error.errno in _HELD:
            raise BlockingIOError(error.errno, error.strerror) from error
        raise


def _module(name: str) -> Any:
    """A module that only some systems have; None on the others."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _claim(path: Path, instead: str) -> str:
    """Make the file that stands in for the lock; the text of a killed run that left one.

    Raises:
        CheckpointError: its process runs, or belongs to another host.
        OSError: the disk.
    """
    before = ""
    while True:
        try:
            # Of all that a network disk offers, only this makes sure that one process succeeds.
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            before = path.read_text(encoding="utf-8", errors="replace")
            if not _has_ended(before):
                raise _lock_error(path.parent, before, instead, stale=path) from None
            # Renamed first: of two runs that find a dead one, one gets it.
            dead = path.with_name(f"{OWNER_FILE}.{os.getpid()}")
            with suppress(FileNotFoundError):
                path.replace(dead)
                if (quicker := dead.read_text(encoding="utf-8", errors="replace")) != before:
                    dead.replace(path)
                    raise _lock_error(path.parent, quicker, instead, stale=path) from None
                dead.unlink()
            continue
        try:
            os.write(handle, _signature().encode())
            os.fsync(handle)
        finally:
            os.close(handle)
        return before


def _has_ended(holder: str) -> bool:
    """Whether the process of a signature is one of this host that does not run."""
    try:
        text = json.loads(holder)
        here = text["host"] == socket.gethostname()
        return here and not is_running(int(text["pid"]), str(text.get("begun", "")))
    except (ValueError, KeyError, TypeError):
        return False


def _signature() -> str:
    return json.dumps(
        {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "begun": begin_of(os.getpid()),
        }
    )


def _lock_error(
    folder: Path, holder: str, instead: str, stale: Path | None = None
) -> CheckpointError:
    do = f"Wait for it, end it, or {instead}."
    if stale is not None:
        do += f" If it no longer runs, remove {stale}."
    found = f"{_describe(holder)} at work in it"
    return CheckpointError(message(folder, expected="a free run folder", found=found, do=do))


def _describe(holder: str) -> str:
    try:
        text = json.loads(holder)
        return f"process {text['pid']} (host {text['host']}, started {text['started']})"
    except (ValueError, KeyError, TypeError):
        return "another process"
