"""Ctrl-C and SIGTERM keep what is finished, end with 130 or 143, and `--resume` gives the rest."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from unmask import interruption, sealed
from unmask.api import image_outputs
from unmask.apps import demo
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
def test_predict(
    command, trained, images, signalled, content, printed, tmp_path, name, code, place
):
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
    assert "Traceback" not in answer.err
    work, first = tmp_path / "out" / ".predict", images / "nuclei_000.tif"
    blocks = len([*work.rglob("block-*")])
    verb = "is" if blocks == 1 else "are"
    kept = [f"{first}: {blocks} of 9 blocks {verb} finished and kept in {work}."] if blocks else []
    if place == "scores":
        # With a core to spare, blocks are decoded while the network goes on.
        share = 100 * lines_of(work / "nuclei_000.tif" / ".scores.zarr.written") // 90
        assert share > 0
        if share < 100 or not blocks:
            kept.append(f"{first}: {share} % of the scores are kept.")
    assert kept
    again = printed(answer.err, " ".join(kept))
    answer = command(*again)
    assert answer.code == 0, answer.err
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def lines_of(record: Path) -> int:
    """Lines of scores that a record says are on the disk."""
    return max(line["lines"] for line in sealed.read_lines(record))


@pytest.mark.parametrize(("name", "code"), SIGNALS[:2])
def test_a_folder(command, trained, phantoms, signalled, content, printed, tmp_path, name, code):
    """Images that need no blocks; those that are finished are not predicted again."""
    request = ("predict", phantoms[2] / "images", "--model", trained[2], "--out")
    assert command(*request, tmp_path / "whole").code == 0
    with pytest.MonkeyPatch.context() as patch:
        # One after the other, so that the signal comes while others are left.
        patch.setattr("unmask.api.overlap._MOST", 1)
        signalled(image_outputs, "save_labels", 2, getattr(signal, name))
        answer = command(*request, tmp_path / "out")
    assert answer.code == code, answer.err
    done = len([*(tmp_path / "out").glob("*.tif")])
    assert 2 <= done < 5
    answer = command(*printed(answer.err, f"{done} of 5 images are finished."))
    assert answer.code == 0, answer.err
    assert answer.out.count("(finished before)") == done
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_before_anything_is_kept(command, trained, phantoms, signalled, printed, tmp_path):
    """An earlier run into the same folder is not continued by a command that would refuse it."""
    request = ("predict", phantoms[2] / "images", "--model", trained[2], "--out", tmp_path / "out")
    for more in ((), ("--resume",)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("unmask.api.prediction.load_predictor", interrupt)
            answer = command(*request, *more)
        assert answer.code == 130, answer.err
        kept = "Nothing more is finished." if more else "Nothing of this run is kept."
        again = printed(answer.err, kept, "Continue with" if more else "Start again with")
        assert again == [str(word) for word in (*request, *more)]
        assert not (tmp_path / "out").exists()
    assert command(*again).code == 0
    assert command(*request).code == 2


def interrupt(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize("folds", [0, 2])
@pytest.mark.parametrize(("name", "code"), SIGNALS[:2])
def test_train(command, phantoms, tiny, signalled, printed, tmp_path, name, code, folds):
    where = ("--labels", phantoms[2] / "classes", "--preset", "semantic2d")
    small = (*tiny(2, steps=4), "--set", "task.classes=2", "--folds", folds)
    request = ("train", phantoms[2] / "images", *where, "--out", tmp_path / "a run", *small)
    with pytest.MonkeyPatch.context():
        # The second update of the training, or of the second fold.
        signalled(Guard, "before", 6 if folds else 2, getattr(signal, name))
        answer = command(*request)
    assert answer.code == code, answer.err
    fold = "1 of 2 folds is finished. " if folds else ""
    folder = tmp_path / "a run" / "folds" / "2" if folds else tmp_path / "a run"
    again = printed(answer.err, f"{fold}{folder}: step 2 of 4 is saved.")
    assert again.count("--resume") == 1
    answer = command(*again)
    assert answer.code == 0, answer.err
    steps = (json.loads(line)["step"] for line in (folder / "journal.jsonl").open())
    assert next(steps) == 2, "the first two steps are not made again"


def test_train_before_the_first_step(command, phantoms, tiny, printed, tmp_path):
    """The command that is printed starts again in the folder that was begun."""
    where = ("--labels", phantoms[2] / "classes", "--preset", "semantic2d")
    small = (*tiny(2, steps=2), "--set", "task.classes=2", "--folds", 0)
    request = ("train", phantoms[2] / "images", *where, "--out", tmp_path / "run", *small)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unmask.api.runs.fit", interrupt)
        answer = command(*request)
    assert answer.code == 130, answer.err
    assert (tmp_path / "run" / "recipe.yaml").exists()
    again = printed(answer.err, "Nothing of this run is kept.", "Start again with")
    assert command(*again).code == 0


def test_demo(command, signalled, tmp_path, monkeypatch):
    """It trains, but has no --resume."""
    monkeypatch.setattr(demo, "_PHANTOMS", 2)
    signalled(Guard, "before", 2, signal.SIGINT)
    answer = command("demo", "--out", tmp_path / "out")
    assert answer.code == 130, answer.err
    assert answer.err.splitlines()[-1] == (
        f"Interrupted. {tmp_path / 'out'} holds a part of the demo, which cannot be resumed. "
        "Choose another --out."
    )


@pytest.mark.parametrize(("name", "code"), SIGNALS[:2])
def test_cluster(
    command, phantoms, tiny, images, signalled, content, printed, tmp_path, monkeypatch, name, code
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
    work = tmp_path / "out" / ".predict"
    total = re.search(r"(\d+) blocks", answer.out)
    assert total is not None
    blocks = f"{len([*work.rglob('block-*')])} of {total[1]} blocks are finished and kept in {work}"
    kept = f"The centers are kept. {images / 'nuclei_000.tif'}: {blocks}."
    answer = command(*printed(answer.err, kept))
    assert answer.code == 0, answer.err
    assert content(tmp_path / "out") == content(tmp_path / "whole")


@pytest.mark.parametrize(("name", "code", "doublings"), [("SIGINT", 130, 1), ("SIGTERM", 143, 0)])
def test_curve(command, phantoms, tiny, signalled, printed, tmp_path, name, code, doublings):
    where = ("--images", phantoms[2] / "images", "--labels", phantoms[2] / "classes")
    request = ("curve", "--preset", "semantic2d", *where, "--labels-per-run", "1,2", "--repeats", 1)
    request = (*request, "--out", tmp_path / "out", *tiny(2, steps=3), "--set", "task.classes=2")
    request = (*request, "--doublings", doublings)
    signalled(Guard, "before", 5, getattr(signal, name))
    answer = command(*request)
    assert answer.code == code, answer.err
    runs = tmp_path / "out" / "runs"
    # With doublings, the first trainings show whether more updates are needed.
    done = (
        f"The trainings so far are kept in {runs}" if doublings else "1 of 2 trainings is finished"
    )
    run = runs / ("scratch-2-0-3-updates" if doublings else "scratch-2-0")
    answer = command(*printed(answer.err, f"{done}. {run}: step 2 of 3 is saved."))
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
