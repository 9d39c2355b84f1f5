"""Ctrl-C and SIGTERM keep what is finished, end with 130 or 143, and `--resume` gives the rest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from unmask import interruption
from unmask.blocks import engine
from unmask.cli import main
from unmask.infer import sinks
from unmask.training.guard import Guard

BLOCKS = ("--set", "infer.block=[30, 30]", "--set", "infer.tile=[8, 8]")
SIGNALS = [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 143)]
pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="signals of POSIX")


@pytest.fixture
def signalled(monkeypatch):
    """``signalled(holder, name, nth, signal)``: the call ``nth`` comes with a signal."""

    def arm(holder, name: str, nth: int, number: int) -> None:
        plain, calls = getattr(holder, name), []

        def call(*given, **named):
            answer = plain(*given, **named)
            calls.append(1)
            if len(calls) == nth:
                os.kill(os.getpid(), number)
            return answer

        monkeypatch.setattr(holder, name, call)

    return arm


@pytest.mark.parametrize(("name", "code"), SIGNALS)
@pytest.mark.parametrize("place", ["blocks", "scores"])
def test_predict(command, trained, images, signalled, content, tmp_path, name, code, place):
    where = ("predict", "--model", trained[2], images, *BLOCKS)
    scores = ("--scores",) if place == "scores" else ("--set", "infer.overlap=0.0")
    assert command(*where, *scores, "--out", tmp_path / "whole").code == 0
    holder = (sinks.ZarrSink, "write") if place == "scores" else (engine, "write_arrays")
    with pytest.MonkeyPatch.context() as patch:
        # Pieces of the scores of one row of chunks each.
        patch.setattr("unmask.infer.tiles._PIECE_BYTES", 1)
        signalled(*holder, 2, getattr(signal, name))
        answer = command(*where, *scores, "--out", tmp_path / "out")
    assert answer.code == code, answer.err
    assert "--resume" in answer.err
    assert "Traceback" not in answer.err
    assert (tmp_path / "out" / ".predict").exists()
    answer = command(*where, *scores, "--out", tmp_path / "out", "--resume")
    assert answer.code == 0, answer.err
    assert content(tmp_path / "out") == content(tmp_path / "whole")


@pytest.mark.parametrize(("name", "code"), SIGNALS[:2])
def test_cluster(
    command, phantoms, tiny, images, signalled, content, tmp_path, monkeypatch, name, code
):
    monkeypatch.setattr("unmask.clustering.dense._BLOCK_BYTES", 4 * 24 * 32 * 32)
    run = tmp_path / "run"
    where = ("--preset", "mae2d", "--images", phantoms[2] / "images", "--out", run)
    assert command("pretrain", *where, *tiny(2, steps=1, backbone="vit")).code == 0
    request = ("cluster", images, "--model", run, "--classes", 3, "--quality", "draft")
    assert command(*request, "--out", tmp_path / "whole").code == 0
    signalled(engine, "write_arrays", 3, getattr(signal, name))
    answer = command(*request, "--out", tmp_path / "out")
    assert answer.code == code, answer.err
    answer = command(*request, "--out", tmp_path / "out", "--resume")
    assert answer.code == 0, answer.err
    assert content(tmp_path / "out") == content(tmp_path / "whole")


@pytest.mark.parametrize(("name", "code"), SIGNALS[:2])
def test_curve(command, phantoms, tiny, signalled, tmp_path, name, code):
    where = ("--images", phantoms[2] / "images", "--labels", phantoms[2] / "classes")
    request = ("curve", "--preset", "semantic2d", *where, "--labels-per-run", "1,2", "--repeats", 1)
    request = (*request, "--out", tmp_path / "out", *tiny(2, steps=3), "--set", "task.classes=2")
    signalled(Guard, "before", 5, getattr(signal, name))
    answer = command(*request)
    assert answer.code == code, answer.err
    answer = command(*request, "--resume")
    assert answer.code == 0, answer.err
    assert (tmp_path / "out" / "curve.json").exists()


SECOND = """
import os, signal
from unmask import interruption
interruption.remember()
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    os.kill(os.getpid(), signal.SIGTERM)  # a scheduler that repeats itself is ignored
    print("saving", flush=True)
    os.kill(os.getpid(), signal.SIGINT)
print("never")
"""


def test_a_second_ctrl_c_ends_at_once():
    done = subprocess.run(
        [sys.executable, "-c", SECOND], capture_output=True, text=True, check=False
    )
    assert done.returncode == 130
    assert done.stdout == "saving\n"
    assert "at once" in done.stderr


def test_a_request_reaches_threads():
    interruption.forget()
    interruption.check()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interruption, "_codes", [143])
        interruption._asked.set()
        with pytest.raises(interruption.Terminated):
            interruption.check()
    interruption.forget()


def test_an_error_of_the_system_is_no_traceback(monkeypatch, capsys, tmp_path):
    def fail(**_):
        raise PermissionError(13, "Permission denied", str(tmp_path / "a"))

    monkeypatch.setattr("unmask.cli.app", fail)
    handlers = {number: signal.getsignal(number) for number in interruption.signals()}
    with pytest.raises(SystemExit) as end:
        main()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    assert end.value.code == 2
    stderr = capsys.readouterr().err
    assert str(tmp_path / "a") in stderr
    assert "Permission denied" in stderr
    assert "MB free" in stderr


def test_errors_of_threads(capsys):
    """TensorBoard's thread raises errors of the disk, which the journal reports."""
    import threading

    from unmask.cli import _in_thread

    def raising(error):
        def work():
            raise error

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return capsys.readouterr().err

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading, "excepthook", _in_thread)
        assert raising(OSError(28, "No space left on device")) == ""
        assert "ValueError: odd" in raising(ValueError("odd"))
