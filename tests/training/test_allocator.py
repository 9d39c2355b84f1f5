"""Freed memory stays with the process, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from unmask.training.allocator import keep_freed_memory

_PROGRAM = """
import ctypes, sys
from unmask.training.allocator import keep_freed_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
before = resident()
kept = keep_freed_memory() if sys.argv[1] == "keep" else False
size = 256 << 20
block = libc.malloc(size)
ctypes.memset(block, 1, size)
libc.free(block)
print(kept, resident() - before > size // 2)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
@pytest.mark.parametrize("mode", ["keep", "plain"])
def test_freed_blocks_stay(mode):
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, mode], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == (["True", "True"] if mode == "keep" else ["False", "False"])


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False
