import json
import os
import signal
import subprocess
import sys

import pytest

from unmask.checkpoint import lock_run
from unmask.errors import CheckpointError, SaveError

HOLDER = """
import sys, time
from unmask.checkpoint.lock import lock_run
with lock_run(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def held(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_refused_and_a_dead_one_replaced(tmp_path):
    """RELIABILITY row 28."""
    with held(tmp_path) as process:
        with (
            pytest.raises(CheckpointError, match=rf"process {process.pid} .*started 20.*--out"),
            lock_run(tmp_path),
        ):
            pass
        process.send_signal(signal.SIGKILL)
    told = []
    with lock_run(tmp_path, report=told.append):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
    assert len(told) == 1
    assert "taken over" in told[0]
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
