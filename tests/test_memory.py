"""Memory as the system, its containers and this process have it."""

from __future__ import annotations

import mmap
import os
import sys

import pytest

from unmask import memory


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """``groups(own, {file: text})``: control groups of this process."""

    def make(own: str | None, files: dict[str, str]) -> None:
        monkeypatch.setattr(memory, "_GROUPS", tmp_path / "cgroup")
        monkeypatch.setattr(memory, "_OWN_GROUPS", tmp_path / "own")
        if own is not None:
            (tmp_path / "own").write_text(own)
        for name, text in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return make


def test_version_2_takes_the_tightest_group_around(groups):
    groups(
        "0::/slurm/job\n",
        {
            "slurm/job/memory.max": "max\n",
            "slurm/job/memory.current": "5\n",
            "slurm/memory.max": "1000\n",
            "slurm/memory.current": "700\n",
            "slurm/memory.stat": "anon 3\ninactive_file 200\n",
            "memory.max": "900\n",
            "memory.current": "100\n",
        },
    )
    assert memory._groups() == memory.free_memory() == 500


def test_version_1_in_a_container(groups):
    """The path of the group is that of the host; its files are at the root."""
    groups(
        "12:cpu,cpuacct:/docker/ab\n9:memory:/docker/ab\n0::/\n",
        {
            "memory/memory.limit_in_bytes": "2000",
            "memory/memory.usage_in_bytes": "1500",
            "memory/memory.stat": "total_inactive_file 100",
        },
    )
    assert memory._groups() == 600


def test_no_groups_at_all(groups):
    groups(None, {})
    assert memory._groups() == 2**62
    assert 2**20 < memory.free_memory() < 2**62


def test_a_full_group_leaves_nothing(groups):
    groups("0::/", {"memory.max": "10", "memory.current": "30"})
    assert memory.free_memory() == 0


def test_a_system_without_proc(groups, tmp_path, monkeypatch):
    groups(None, {})
    monkeypatch.setattr(memory, "Path", lambda _: tmp_path / "none")
    assert memory.free_memory() > 2**20
    monkeypatch.delattr(os, "sysconf", raising=False)
    assert memory.free_memory() == 8 * 2**30


def test_the_peak_is_in_bytes(monkeypatch):
    peak = memory.peak_memory()
    assert peak is not None
    assert 20 * 2**20 < peak < 2**42
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "darwin")
        assert memory.peak_memory() == peak // 1024
    monkeypatch.setitem(sys.modules, "resource", None)
    if os.name != "nt":
        assert memory.peak_memory() is None


def touch(size: int) -> None:
    """Take pages of the system and return them; an allocator might reuse what it has kept."""
    with mmap.mmap(-1, size) as pages:
        for start in range(0, size, mmap.PAGESIZE):
            pages[start] = 1


def test_growth_is_that_since_the_call():
    size = 2**27
    touch(2 * size)
    grown = memory.track_growth()
    assert grown() < size // 2
    touch(size)
    if memory._PEAK_RESET.exists():
        # Other pages may be freed meanwhile.
        assert size * 3 // 4 < grown() < 2 * size


def test_growth_where_the_peak_is_not_forgotten(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_PEAK_RESET", tmp_path / "none" / "none")
    assert 0 <= memory.track_growth()() < 2**24
