import errno
import itertools
import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from unmask.checkpoint import lock_run
from unmask.errors import CheckpointError, SaveError

HOLDER = """
import sys
from unmask.checkpoint.lock import lock_run
with lock_run(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def held(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_refused_and_a_dead_one_replaced(tmp_path):
    """Row 28 of docs/reliability.md."""
    with held(tmp_path) as process:
        with (
            pytest.raises(CheckpointError, match=rf"process {process.pid} .*started 20.*--out"),
            lock_run(tmp_path),
        ):
            pass
        process.send_signal(signal.SIGKILL)
    warned = []
    with lock_run(tmp_path, report=warned.append):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
    assert len(warned) == 1
    assert "taken over" in warned[0]
    with lock_run(tmp_path):  # released in order: nothing to tell
        pass


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match="file/run"), lock_run(tmp_path / "file" / "run"):
        pass


def test_a_damaged_note_does_no_harm(tmp_path):
    (tmp_path / ".lock").write_bytes(b"\xff{")
    with pytest.warns(UserWarning, match="another process"), lock_run(tmp_path):
        pass


def test_nothing_is_left_where_nothing_was_written(tmp_path):
    with lock_run(tmp_path / "run"):
        pass
    assert not (tmp_path / "run").exists()
    (tmp_path / "own").mkdir()
    with lock_run(tmp_path / "own"):
        pass
    assert list((tmp_path / "own").iterdir()) == []
    with lock_run(tmp_path / "run"):
        (tmp_path / "run" / "journal.jsonl").write_text("{}")
    assert (tmp_path / "run" / ".lock").exists()


def test_a_lock_that_was_left_excludes_nobody(tmp_path, monkeypatch):
    """A run that opened the file before it was removed must not think that it holds the folder."""
    opened = os.open

    def open_then_lose(path, *rest):
        handle = opened(path, *rest)
        os.unlink(path)  # noqa: PTH108 - what another run does here
        return handle

    monkeypatch.setattr(os, "open", open_then_lose)
    with pytest.raises(CheckpointError, match="free run folder"), lock_run(tmp_path):
        pass


@pytest.fixture
def without_locks(monkeypatch):
    """A disk that answers as Lustre, NFS or CIFS do, or a Python without file locks."""

    def make(number):
        if number is None:
            monkeypatch.setitem(sys.modules, "fcntl", None)
            monkeypatch.setitem(sys.modules, "msvcrt", None)
            return
        fcntl = pytest.importorskip("fcntl")

        def flock(*given):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "flock", flock)

    return make


NUMBERS = [errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, None]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_disk_without_locks(tmp_path, without_locks, number):
    without_locks(number)
    owner = tmp_path / ".lock.owner"
    with (  # noqa: PT031 - what is held inside is looked at
        pytest.warns(UserWarning, match="cannot lock files"),
        lock_run(tmp_path),
    ):
        assert json.loads(owner.read_text())["pid"] == os.getpid()
        with (
            pytest.warns(UserWarning, match="cannot lock files"),
            pytest.raises(
                CheckpointError, match=rf"process {os.getpid()} .*remove .*\.lock\.owner"
            ),
            lock_run(tmp_path),
        ):
            pass
        assert owner.exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:.*cannot lock files")
def test_what_a_killed_run_left_on_a_disk_without_locks(tmp_path, without_locks):
    without_locks(errno.ENOLCK)
    owner = tmp_path / ".lock.owner"
    here = {"host": socket.gethostname(), "started": "then"}
    for ended in ({"pid": 2**30}, {"pid": os.getpid(), "begun": "earlier"}):
        owner.write_text(json.dumps(here | ended))
        warned = []
        with lock_run(tmp_path, report=warned.append):
            assert json.loads(owner.read_text())["pid"] == os.getpid()
        assert f"process {ended['pid']}" in warned[0]
        assert not owner.exists()
    for unknown in ({"pid": 7, "host": "elsewhere", "started": "then"}, {}):
        owner.write_text(json.dumps(unknown))
        with pytest.raises(CheckpointError, match=r"remove .*\.lock\.owner"), lock_run(tmp_path):
            pass
        assert json.loads(owner.read_text()) == unknown


@pytest.mark.filterwarnings("ignore:.*cannot lock files")
def test_two_runs_that_find_a_dead_one(tmp_path, without_locks, monkeypatch):
    """The slower one must not take the folder from the quicker one."""
    without_locks(errno.ENOLCK)
    owner = tmp_path / ".lock.owner"
    dead = {"pid": 2**30, "host": socket.gethostname(), "started": "then"}
    owner.write_text(json.dumps(dead))
    plain = os.replace

    def replace(source, target):
        if str(source) == str(owner):
            monkeypatch.setattr(os, "replace", plain)
            owner.write_text(json.dumps(dead | {"pid": os.getppid()}))
        plain(source, target)

    monkeypatch.setattr(os, "replace", replace)
    found = rf"process {os.getppid()}"
    with pytest.raises(CheckpointError, match=found), lock_run(tmp_path):
        pass
    assert json.loads(owner.read_text())["pid"] == os.getppid()


def test_the_lock_of_windows(tmp_path, monkeypatch):
    """Without fcntl its own module serves; a byte far behind the text is locked."""
    taken = []

    class Locks:
        LK_NBLCK = 3

        @staticmethod
        def locking(handle, kind, count):
            taken.append((os.lseek(handle, 0, os.SEEK_CUR), kind, count))
            if len(taken) == 2:
                raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", Locks)
    with lock_run(tmp_path):
        found = rf"process {os.getpid()}"
        with pytest.raises(CheckpointError, match=found), lock_run(tmp_path):
            pass
    assert taken == [(1 << 30, 3, 1)] * 2


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS])
def test_an_error_of_the_disk_names_folder_and_space(tmp_path, faults, number):
    folder, warned = tmp_path / "run", []
    for nth in itertools.count(1):
        with faults.failing(tmp_path, nth, number) as disk:
            try:
                with lock_run(folder):
                    pass
            except SaveError as error:
                warned.append(str(error))
        if len(disk.calls) < nth:
            break
        with lock_run(folder, report=lambda _: None):
            pass
    # Making the folder, opening the file, signing it; errors on the way out do no harm.
    assert len(warned) >= 4
    assert all(str(folder) in each and "MB free" in each for each in warned)
