"""Kernels are compiled when they are called, and say so when that takes long."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np

from unmask.kernels import Kernel, njit


@njit(cache=False, nogil=True)
def half(x):
    return x // 2


@njit(cache=False, nogil=True)
def halvings(x):
    return 0 if x < 2 else 1 + halvings(half(x))


@njit(cache=False, nogil=True)
def both(x):
    inner = [half(value) for value in x]
    return len(inner)


def test_kernel_calls_other_kernels_and_itself():
    assert halvings(40) == 5
    assert halvings(41) == 5
    assert both(np.arange(3)) == 3


def test_kernel_is_compiled_once_and_keeps_its_name():
    kernel = Kernel(half.__wrapped__, {"nogil": True})
    assert kernel.__name__ == "half"
    assert kernel.compiled is kernel.compiled
    assert kernel(9) == 4


PROGRAM = """
import numpy as np
from unmask.labels import connected_components
from unmask.metrics import evaluate_pair
labels = np.array([[1, 1, 0, 2]])
connected_components(labels)
evaluate_pair(labels, labels, ["f1@0.5"])
"""


def test_compiling_is_reported_once_and_only_if_it_happens(tmp_path):
    """A cold cache costs seconds, which look like a hang without a word."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    runs = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        for _ in range(2)
    ]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr
    for index in tmp_path.glob("metrics*/*.nbi"):
        index.unlink()
    run = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True,
                         text=True, check=True)  # fmt: skip
    # What other commands have compiled is not announced again.
    assert "Compiling more kernels for this machine" in run.stderr
    assert "the first is in unmask.metrics" in run.stderr
    first, second = (run.stderr.splitlines() for run in runs)
    assert len(first) == 1
    assert first[0].startswith("Compiling kernels for this machine (once, about ")
    assert second == []
