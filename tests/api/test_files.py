"""The loop over files: what is reported, skipped, resumed, and refused."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest

from unmask.api.files import FileTask, run_files
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
    tasks = [FileTask(pair, lambda: 3, describe=lambda n: f"{n} object(s)") for pair in pairs]
    found = [result for _, result in run_files(tasks, fingerprint(pairs), say=lines.append)]
    assert found == [3, 3]
    assert re.fullmatch(r"\[2/2\] .*b\.tif: 3 object\(s\) \(0\.\d s\)", lines[1])


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
