"""Temporary files of killed runs go, those of running ones and of other programs stay."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from unmask import processes
from unmask.atomic import aside_name, replace_folder
from unmask.leftovers import remove_leftovers

# No system gives such a number to a process.
NOBODY = 2**30


def left_by(path: Path, pid: int = NOBODY, host: str | None = None) -> Path:
    """Where a process would write aside."""
    name = aside_name(path).replace(f"-{os.getpid()}-", f"-{pid}-")
    return path.with_name(name if host is None else name.replace(processes.host_tag(), host))


def test_only_abandoned_files_of_ours_go(tmp_path):
    (tmp_path / "b.tmp").write_text("")
    (tmp_path / ".mine.tmp").write_text("")
    (tmp_path / ".mine.77.tmp").write_text("of version 0.1.0, perhaps of another host")
    running = left_by(tmp_path / "a.tif", os.getppid())
    ours = tmp_path / aside_name(Path("c.tif"))
    elsewhere = left_by(tmp_path / "d.tif", host="00ff00")
    dead = [left_by(tmp_path / name) for name in ("a.tif", "é b.nii.gz", "noend")]
    for path in (running, ours, elsewhere, *dead):
        path.write_text("half")
    folder = left_by(tmp_path / "z.ome.zarr")
    (folder / "0").mkdir(parents=True)
    (folder / "0" / "zarr.json").write_text("{}")
    before = {path.name for path in tmp_path.iterdir()}
    assert set(remove_leftovers(tmp_path, tmp_path / "not there")) == {*dead, folder}
    gone = {path.name for path in (*dead, folder)}
    assert {path.name for path in tmp_path.iterdir()} == before - gone
    os.utime(elsewhere, (1, 1))
    assert remove_leftovers(tmp_path) == [elsewhere]


def test_an_earlier_process_of_our_number(tmp_path, monkeypatch):
    """In containers every program is process 1."""
    monkeypatch.setattr(processes, "_start", lambda: "1a")
    mine = tmp_path / aside_name(Path("a.tif"))
    mine.write_text("half")
    assert remove_leftovers(tmp_path) == []
    monkeypatch.setattr(processes, "_start", lambda: "2b")
    assert remove_leftovers(tmp_path) == [mine]


def test_a_folder_between_two_names_comes_back(tmp_path):
    target = tmp_path / "a.ome.zarr"
    old = left_by(target).with_name(left_by(target).name + ".old")
    (old / "0").mkdir(parents=True)
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.ome.zarr"]
    (old / "1").mkdir(parents=True)
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.ome.zarr"]
    assert (target / "0").exists()
    # Where the full name is not known, the only copy stays.
    long = tmp_path / ("l" * 190)
    old = left_by(long).with_name(left_by(long).name + ".old")
    old.mkdir()
    assert remove_leftovers(tmp_path) == []
    assert old.exists()


def test_what_cannot_be_removed_stays(tmp_path, monkeypatch):
    dead = left_by(tmp_path / "a.tif")
    dead.write_text("half")

    def refuse(*given, **named):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        assert remove_leftovers(tmp_path) == []
    assert dead.exists()


def test_names_fit_and_keep_their_suffix():
    for name in ("a" * 255, "é" * 127, "x.ome.zarr", "." + "b." * 100):
        aside = aside_name(Path(name))
        assert len(f"{aside}.old".encode()) <= 255
        assert aside.startswith(".")
    assert aside_name(Path("x.nii.gz")).endswith(".tmp.nii.gz")


@pytest.mark.skipif(os.name == "nt", reason="a process that has ended is not waited for")
def test_running_and_ended_processes():
    child = subprocess.Popen([sys.executable, "-c", ""])
    begun = processes.begin_of(os.getpid())
    assert processes.is_running(os.getpid())
    assert processes.is_running(os.getpid(), begun)
    if begun:
        assert not processes.is_running(os.getpid(), begun + "1")
    assert not processes.is_running(0)
    assert not processes.is_running(NOBODY)
    child.wait()
    assert not processes.is_running(child.pid)
    assert processes.owns("000000", 1, "") is None
    assert processes.host_tag() == processes.owner().split("-")[0]
    assert socket.gethostname() not in processes.owner()


def test_a_replaced_folder_is_whole_at_any_moment(tmp_path, faults):
    def make(name: str, text: str) -> Path:
        folder = tmp_path / "work" / name
        (folder / "c").mkdir(parents=True)
        (folder / "c" / "0").write_text(text)
        return folder

    nth = 0
    while True:
        nth += 1
        replace_folder(make("old", "old"), tmp_path / "work" / "a.zarr")
        aside = make("new", "new")
        with faults.power_cut(tmp_path / "work", nth, ordered=False) as power:
            replace_folder(aside, tmp_path / "work" / "a.zarr")
        monkeyed = {path.name for path in (tmp_path / "work").iterdir()}
        for name in monkeyed:
            if name.endswith(".old") and "a.zarr" not in monkeyed:
                (tmp_path / "work" / name).rename(tmp_path / "work" / "a.zarr")
        assert (tmp_path / "work" / "a.zarr" / "c" / "0").read_text() in ("old", "new")
        if len(power.calls) < nth:
            assert (tmp_path / "work" / "a.zarr" / "c" / "0").read_text() == "new"
            break
        import shutil

        shutil.rmtree(tmp_path / "work")
