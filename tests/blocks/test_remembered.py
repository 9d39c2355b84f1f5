"""Lists of complete runs are kept in the cache of the user, and their absence is no error."""

from __future__ import annotations

import os

import pytest

from unmask.blocks import remembered
from unmask.blocks.remembered import cache_folder, forget, recall, remember
from unmask.blocks.resume import batch


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNMASK_CACHE_DIR", str(tmp_path / "cache"))


def test_outputs_of_a_complete_run_are_known_again(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with batch(out, resume=False, skip=True) as finished:
        (out / "a.txt").write_text("a")
        finished.add(out / "a.txt", {"version": 1}, 3)
    assert [path.name for path in out.iterdir()] == ["a.txt"]
    with batch(out, resume=True) as finished:
        assert not finished.has(out / "a.txt", {"version": 1})
    with batch(out, resume=True, skip=True) as finished:
        assert finished.has(out / "a.txt", {"version": 1})
        assert finished.result(out / "a.txt") == 3
        assert not finished.has(out / "a.txt", {"version": 2})
    (out / "a.txt").write_text("other")
    with batch(out, resume=True, skip=True) as finished:
        assert not finished.has(out / "a.txt", {"version": 1})
    with batch(out, resume=False, skip=True):
        pass
    assert not list(cache_folder().iterdir())


def test_old_lists_go(tmp_path, monkeypatch):
    monkeypatch.setattr(remembered, "_MOST", 2)
    for number in range(4):
        (tmp_path / "list").write_text(f"{number}")
        remember(tmp_path / str(number), tmp_path / "list")
        newest = max(cache_folder().iterdir(), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (number, number))
    recall(tmp_path / "0", tmp_path / "0.list")
    recall(tmp_path / "3", tmp_path / "3.list")
    assert not (tmp_path / "0.list").exists()
    assert (tmp_path / "3.list").read_text() == "3"


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("UNMASK_CACHE_DIR", str(tmp_path / "file"))
    for call in (remember, recall):
        call(tmp_path, tmp_path / "file")
    forget(tmp_path)
