"""The loop over files: what is reported, skipped, resumed, and refused."""

from __future__ import annotations

import os
import re
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from unmask.api.files import FileTask, run_files
from unmask.api.overlap import Stages
from unmask.blocks.resume import batch
from unmask.data.fingerprint import fingerprint
from unmask.data.pairing import Pair
from unmask.errors import DataError
from unmask.io import open_image, save_image


@pytest.fixture
def pairs(tmp_path):
    for name in "ab":
        save_image(tmp_path / f"{name}.tif", np.ones((4, 4), np.uint8))
    return [Pair(name, open_image(tmp_path / f"{name}.tif", ndim=2)) for name in "ab"]


def fail() -> int:
    raise DataError("b.tif is wrong.")


def test_one_line_per_file(pairs):
    lines: list[str] = []
    tasks = [FileTask(pair, lambda: 3, describe=lambda n: f"{n} objects") for pair in pairs]
    found = [result for _, result in run_files(tasks, fingerprint(pairs), say=lines.append)]
    assert found == [3, 3]
    assert re.fullmatch(r"\[1/2\] .*a\.tif: 3 objects \(0\.\d s, \d s left\)", lines[0])
    assert re.fullmatch(r"\[2/2\] .*b\.tif: 3 objects \(0\.\d s\)", lines[1])


def test_a_file_that_is_wrong_is_skipped_or_an_error(pairs):
    lines: list[str] = []
    skipped: list[str] = []
    tasks = [FileTask(pairs[0], lambda: 1), FileTask(pairs[1], fail)]
    before = fingerprint(pairs)
    done = [task.pair.name for task, _ in run_files(tasks, before, say=lines.append,
                                                    skipped=skipped)]  # fmt: skip
    assert done == ["a"]
    assert skipped == ["b.tif is wrong."]
    assert lines[-1].endswith("b.tif: skipped")
    with pytest.raises(DataError, match=r"b\.tif is wrong"):
        list(run_files(tasks, before, say=lines.append))


def test_a_file_that_changes_meanwhile_is_refused(pairs):
    before = fingerprint(pairs)
    tasks = [FileTask(pair, lambda: os.utime(pairs[0].image.source, ns=(1, 1))) for pair in pairs]
    with pytest.raises(DataError, match=r"a\.tif: expected it unchanged"):
        list(run_files(tasks, before, say=lambda _: None))


def test_finished_outputs_are_not_made_again(pairs, tmp_path):
    calls: list[str] = []
    out = tmp_path / "out"
    out.mkdir()

    def task(pair: Pair) -> FileTask[str]:
        path = out / f"{pair.name}.txt"

        def run() -> str:
            calls.append(pair.name)
            if len(calls) == 2:
                raise KeyboardInterrupt
            path.write_text(pair.name)
            return pair.name

        return FileTask(pair, run, path, lambda: {"version": 1})

    tasks, before = [task(pair) for pair in pairs], fingerprint(pairs)
    lines: list[str] = []
    with pytest.raises(KeyboardInterrupt), batch(out, resume=False) as finished:
        list(run_files(tasks, before, say=lines.append, finished=finished))
    with batch(out, resume=True) as finished:
        done = run_files(tasks, before, say=lines.append, finished=finished)
        assert [result for _, result in done] == ["a", "b"]
    assert calls == ["a", "b", "b"]
    assert lines[1].endswith("a.txt (finished before)")


def test_stages_of_files_overlap_and_report_in_order(pairs):
    lines: list[str] = []
    computed = Event()

    def task(pair: Pair, number: int) -> FileTask[int]:
        notes: list[str] = []

        def compute(value: int) -> int:
            if number == 1:
                computed.set()
            return value

        def finish(value: int) -> int:
            # The first file is finished while the second one is computed.
            assert number or computed.wait(30)
            notes.append(f"note {number}")
            return value

        stages = Stages(lambda: number, compute, finish)
        return FileTask(pair, stages.run, stages=stages, notes=notes)

    tasks = [task(pair, number) for number, pair in enumerate(pairs)]
    found = [result for _, result in run_files(tasks, fingerprint(pairs), say=lines.append)]
    assert found == [0, 1]
    assert [line[:6] for line in lines] == ["note 0", "[1/2] ", "note 1", "[2/2] "]


def test_a_finished_file_is_kept_when_a_later_one_is_interrupted(pairs, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    written = Event()

    def finish(path: Path) -> str:
        path.write_text("a")
        written.set()
        return "a"

    def interrupt(_: Path) -> Path:
        assert written.wait(30)
        raise KeyboardInterrupt

    def tasks(second) -> list[FileTask[str]]:
        made = []
        for pair, compute in zip(pairs, (lambda path: path, second), strict=True):
            path = out / f"{pair.name}.txt"
            stages = Stages(lambda path=path: path, compute, finish)
            made.append(FileTask(pair, stages.run, path, lambda: {"version": 1}, stages=stages))
        return made

    before = fingerprint(pairs)
    with pytest.raises(KeyboardInterrupt), batch(out, resume=False) as finished:
        list(run_files(tasks(interrupt), before, say=lambda _: None, finished=finished))
    lines: list[str] = []
    with batch(out, resume=True) as finished:
        list(run_files(tasks(lambda path: path), before, say=lines.append, finished=finished))
    assert ["finished before" in line for line in lines] == [True, False]
