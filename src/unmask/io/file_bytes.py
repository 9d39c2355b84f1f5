"""Parts of an open file, without a mapping.

Pages of a mapping that were touched count as memory of the process: random regions of a slide of
400 MB took 100 MB for the file alone, and a file that is cut meanwhile ends the process.
"""

from __future__ import annotations

import os
import threading
import weakref

from unmask.errors import DataError, message
from unmask.io.contract import Location, Mark, check_same

_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0)


class FileBytes:
    """An open file; safe for threads.

    Args:
        location: of the file.
        expected: what it was when its header was read.

    Raises:
        DataError: the file is not the one whose header was read.
    """

    def __init__(self, location: Location, expected: Mark) -> None:
        self._source = location.source
        self._alone = threading.Lock()
        self._handle = os.open(location.path, _READ)
        # A file object would warn that nobody closed it; the shelf of open files drops it at last.
        weakref.finalize(self, os.close, self._handle)
        check_same(location.source, os.fstat(self._handle), expected)

    def read(self, start: int, count: int) -> bytes:
        """Bytes ``start`` to ``start + count``.

        Raises:
            DataError: the file is shorter.
        """
        data = self._read(start, count)
        # A system call gives at most 2 GiB.
        while len(data) < count and (more := self._read(start + len(data), count - len(data))):
            data += more
        if len(data) < count:
            raise DataError(
                message(
                    self._source,
                    expected=f"{start + count} bytes",
                    found=f"{start + len(data)} bytes (truncated)",
                    do="Copy the file again.",
                )
            )
        return data

    def _read(self, start: int, count: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._handle, count, start)
        # Windows has one position per file.
        with self._alone:
            os.lseek(self._handle, start, os.SEEK_SET)
            return os.read(self._handle, count)
