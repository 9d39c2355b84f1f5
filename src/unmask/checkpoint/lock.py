"""One run at a time in a run folder."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from unmask.errors import CheckpointError, SaveError

LOCK_FILE = ".lock"


def warn(message: str) -> None:
    """Default of the ``report`` parameters here: a Python warning."""
    warnings.warn(message, stacklevel=3)


@contextmanager
def lock_run(
    folder: Path | str, *, report: Callable[[str], None] = warn
) -> Generator[None, None, None]:
    """Hold a run folder (made if missing) for this process.

    The kernel's file lock decides, so that a killed run never blocks the next one; the file's text
    tells who holds it. Where nothing was written, nothing is left behind.

    Raises:
        CheckpointError: another run works in the folder; names its process and start.
        SaveError: the folder cannot be written.
    """
    path = Path(folder) / LOCK_FILE
    made = not path.parent.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise SaveError(
            f"{folder}: expected a folder that can be written, found: {error.strerror}. "
            "Check the permissions, or choose another --out."
        ) from error
    try:
        _acquire(handle, folder, report)
        try:
            yield
        finally:
            # Emptied on the way out, with an error too: text without a lock marks a killed run.
            os.ftruncate(handle, 0)
            _leave(path, made=made)
    finally:
        os.close(handle)


def _leave(path: Path, *, made: bool) -> None:
    """Remove the lock of a folder that holds nothing else, and the folder if it was made here."""
    # The folder may be gone, or another run may begin in it at this moment.
    with suppress(OSError):
        if [entry.name for entry in path.parent.iterdir()] == [path.name]:
            path.unlink()
            if made:
                path.parent.rmdir()


def _acquire(handle: int, folder: Path | str, report: Callable[[str], None]) -> None:
    holder = os.pread(handle, 10_000, 0).decode(errors="replace")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The file of a run that has just left an empty folder excludes nobody.
        if not os.fstat(handle).st_nlink:
            raise BlockingIOError
    except OSError as error:
        raise CheckpointError(
            f"{folder}: expected a free run folder, found {_describe(holder)} at work in it. "
            "Wait for it, end it, or choose another --out."
        ) from error
    if holder:
        report(
            f"{folder}: {_describe(holder)} was ended before it could release the folder; "
            "it is taken over."
        )
    text = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps(text).encode(), 0)


def _describe(holder: str) -> str:
    try:
        text = json.loads(holder)
        return f"process {text['pid']} (host {text['host']}, started {text['started']})"
    except (ValueError, KeyError, TypeError):
        return "another process"
