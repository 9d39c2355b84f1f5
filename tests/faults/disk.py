"""A disk that fails, a process that is killed, a machine that loses power: at any file operation.

The functions of ``os`` and ``open`` are replaced for a while. Operations on files below one folder
are counted; at a chosen one something happens. The product knows nothing of it.
"""

from __future__ import annotations

import builtins
import io
import os
import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Killed(BaseException):
    """What stands for SIGKILL inside one process: nothing after it reaches the disk."""


class _Written:
    """An open file whose writes are operations too."""

    def __init__(self, file: Any, act: Callable[[str, Any], None], path: Any) -> None:
        self._file, self._act, self._path = file, act, path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _Written:
        self._file.__enter__()
        return self

    def __exit__(self, *error: object) -> Any:
        return self._file.__exit__(*error)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._file)

    def write(self, data: Any) -> Any:
        try:
            self._act("write", self._path)
        except BaseException:
            # A kill or a full disk comes in the middle of a write.
            with suppress(Exception):
                self._file.write(data[: len(data) // 2])
                self._file.flush()
            raise
        return self._file.write(data)


class Disk:
    """Counts operations below a folder; see ``watched``."""

    def __init__(self, root: Path, act: Callable[[int, str], None]) -> None:
        self.root = os.path.abspath(root)  # noqa: PTH100 - functions of os get texts
        self.calls: list[str] = []
        self._act = act
        self._lock = threading.RLock()

    def note(self, name: str, path: Any) -> None:
        """One operation; ``act`` may raise instead."""
        if not self.holds(path):
            return
        with self._lock:
            self.calls.append(f"{name} {path}")
            self._act(len(self.calls), name)

    def holds(self, path: Any) -> bool:
        if isinstance(path, int):
            try:
                path = os.readlink(f"/proc/self/fd/{path}")  # noqa: PTH115
            except OSError:
                return False
        text = os.path.abspath(os.fsdecode(path))  # noqa: PTH100
        if "tfevents" in text:
            # TensorBoard writes them at moments of its own, and nobody resumes from them.
            return False
        return text == self.root or text.startswith(self.root + os.sep)


@contextmanager
def watched(
    root: Path, act: Callable[[int, str], None] = lambda *_: None, *, writes: bool = False
) -> Generator[Disk, None, None]:
    """Count file operations below ``root`` inside the block.

    Args:
        root: the folder.
        act: called before each operation with its number (starting at 1) and name.
        writes: every write to a file opened by Python counts as well.
    """
    disk = Disk(root, act)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("mkdir", "rename", "replace", "unlink", "remove", "rmdir", "fsync", "link",
                     "ftruncate", "truncate", "write"):  # fmt: skip
            if name != "write" or writes:
                patch.setattr(os, name, _counted(disk, name, getattr(os, name)))
        patch.setattr(os, "open", _opened(disk, os.open))
        for module in (io, builtins):
            patch.setattr(module, "open", _opened_file(disk, io.open, writes=writes))
        yield disk


def _counted(disk: Disk, name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
    def call(path: Any, *more: Any, **named: Any) -> Any:
        # What shutil.rmtree removes is named inside an open folder.
        folder = named.get("dir_fd")
        disk.note(name, path if folder is None else folder)
        return plain(path, *more, **named)

    return call


def _opened(disk: Disk, plain: Callable[..., Any]) -> Callable[..., Any]:
    def call(path: Any, flags: int, *more: Any, **named: Any) -> Any:
        if flags & _WRITING and named.get("dir_fd") is None:
            disk.note("open", path)
        return plain(path, flags, *more, **named)

    return call


def _opened_file(disk: Disk, plain: Callable[..., Any], *, writes: bool) -> Callable[..., Any]:
    def call(file: Any, mode: str = "r", *more: Any, **named: Any) -> Any:
        if not set(mode) & set("wax+") or not disk.holds(file):
            return plain(file, mode, *more, **named)
        disk.note("open", file)
        found = plain(file, mode, *more, **named)
        return _Written(found, disk.note, file) if writes else found

    return call


@contextmanager
def killed(root: Path, nth: int, *, writes: bool = False) -> Generator[Disk, None, None]:
    """The block ends at its operation ``nth``; what follows (``finally``) reaches no disk."""

    def act(number: int, _: str) -> None:
        if number >= nth:
            raise Killed

    with watched(root, act, writes=writes) as disk:
        with suppress(Killed):
            yield disk
        _wait(disk)


def _wait(disk: Disk) -> None:
    """Until threads that the kill has overtaken have met it too."""
    before = -1
    while before != len(disk.calls):
        before = len(disk.calls)
        time.sleep(0.05)


class Power(Disk):
    """What a disk holds after a power cut that drops all that was not made durable by fsync."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, lambda *_: None)
        self.files: dict[int, bytes] = {}
        self.folders: dict[int, dict[str, int]] = {}
        self.graves = Path(f"{self.root}-graves")
        self.graves.mkdir()
        for folder, _, names in os.walk(self.root):
            self.sync_folder(folder)
            for name in names:
                path = Path(folder, name)
                self.files[path.stat().st_ino] = path.read_bytes()

    def bury(self, path: Any) -> None:
        """Keep the number of a file that goes, so that no later file gets it."""
        with suppress(OSError):
            os.link(path, self.graves / str(len(os.listdir(self.graves))))  # noqa: PTH208

    def sync(self, handle: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))  # noqa: PTH115
        if path.is_dir():
            self.sync_folder(path)
        else:
            self.files[os.fstat(handle).st_ino] = path.read_bytes()

    def sync_folder(self, folder: Any) -> None:
        entries = {entry.name: entry.inode() for entry in os.scandir(folder)}
        self.folders[os.stat(folder).st_ino] = entries  # noqa: PTH116

    def fail(self, *, ordered: bool) -> None:
        """Let the power go: the tree becomes what the disk holds.

        Args:
            ordered: names survive as they are (a journaling disk), only content is lost; otherwise
                every name that was not made durable is lost too.
        """
        root = Path(self.root)
        tree = self._ordered(root) if ordered else self._strict(root)
        while root.exists():
            # A thread that was writing may still put something there.
            shutil.rmtree(root, ignore_errors=True)
        for path, content in tree:
            if content is None:
                path.mkdir(parents=True, exist_ok=True)
            else:
                path.write_bytes(content)

    def _ordered(self, root: Path) -> list[tuple[Path, bytes | None]]:
        found: list[tuple[Path, bytes | None]] = []
        for folder, _, names in os.walk(root):
            found.append((Path(folder), None))
            for path in (Path(folder, name) for name in names):
                content, kept = path.read_bytes(), self.files.get(path.stat().st_ino)
                # A length that was written, without the blocks behind it.
                found.append((path, content if kept == content else bytes(len(content) // 2)))
        return found

    def _strict(self, root: Path) -> list[tuple[Path, bytes | None]]:
        found: list[tuple[Path, bytes | None]] = []
        waiting = [(root, os.stat(root).st_ino)]  # noqa: PTH116
        folders = {
            os.stat(folder).st_ino  # noqa: PTH116
            for folder, _, _ in os.walk(root)
        }
        while waiting:
            path, number = waiting.pop()
            if number in self.folders or number in folders:
                found.append((path, None))
                entries = self.folders.get(number, {})
                waiting += [(path / name, inode) for name, inode in entries.items()]
            else:
                found.append((path, self.files.get(number, b"")))
        return found


@contextmanager
def power_cut(root: Path, nth: int, *, ordered: bool) -> Generator[Power, None, None]:
    """The block ends at its operation ``nth``, and the disk keeps what it had to keep."""
    power = Power(root)

    def act(number: int, _: str) -> None:
        if number >= nth:
            raise Killed

    with watched(root, act) as disk:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", _synced(power, os.fsync))
            for name in ("unlink", "remove", "replace", "rename"):
                patch.setattr(os, name, _buried(power, getattr(os, name), name))
            with suppress(Killed):
                yield power
            _wait(disk)
        power.calls = disk.calls
    power.fail(ordered=ordered)
    shutil.rmtree(power.graves)


def _synced(power: Power, plain: Callable[[int], None]) -> Callable[[int], None]:
    def call(handle: int) -> None:
        plain(handle)
        if power.holds(handle):
            power.sync(handle)

    return call


def _buried(power: Power, plain: Callable[..., Any], name: str) -> Callable[..., Any]:
    def call(path: Any, *more: Any, **named: Any) -> Any:
        going = path if name in ("unlink", "remove") else more[0]
        folder = named.get("dir_fd")
        if folder is not None:
            going = f"/proc/self/fd/{folder}/{going}"
        if power.holds(folder if folder is not None else going):
            power.bury(going)
        return plain(path, *more, **named)

    return call


@contextmanager
def failing(
    root: Path, nth: int, number: int, *, lasting: bool = False, writes: bool = True
) -> Generator[Disk, None, None]:
    """Operation ``nth`` of the block fails with an error number.

    Args:
        root: the folder.
        nth: the operation, starting at 1.
        number: of ``errno``.
        lasting: all later ones that take room fail as well, as on a full disk.
        writes: writes to files count as well.
    """

    def act(place: int, name: str) -> None:
        room = name not in ("unlink", "remove", "rmdir", "ftruncate")
        if place == nth or (lasting and place > nth and room):
            raise OSError(number, os.strerror(number))

    with watched(root, act, writes=writes) as disk:
        yield disk
