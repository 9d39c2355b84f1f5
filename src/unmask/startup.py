"""The start of a process: no garbage collection while libraries are imported, no lines of theirs.

An import makes some 400,000 objects and no garbage, yet the collector looks through all of them
several times: 0.3 s of the 1.8 s of processor time that ``import torch`` takes.
"""

from __future__ import annotations

import gc
import logging
import os
import warnings
from collections.abc import Generator
from contextlib import contextmanager

# Libraries that print about files. Whatever is wrong with a file is reported by our readers, with
# its name and what to do.
_LOGGERS = ("nibabel.global", "pydicom", "tifffile")
_WARNERS = r"(nibabel|pydicom|tifffile|zarr|numcodecs)(\.|$)"
# Turns of 0.07 us in which a thread of GNU OpenMP waits for the others before it sleeps. Its own
# number is 300,000, or 1000 if it knows of more threads than cores; other programs it knows not.
# Two threads on two busy cores (benchmarks/waiting.py): 1.55 CPU s with 300,000, 0.26 with 3000,
# 0.18 with one thread.
_TURNS = "3000"
_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


@contextmanager
def without_collection() -> Generator[None, None, None]:
    """Let no garbage collection run inside the block, unless something else switches it on."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def quick_imports() -> Generator[None, None, None]:
    """Import inside the block what a command needs; the collector never looks at that again.

    Only for the command line: a program that imports unmask may have garbage of its own, which
    would be kept for good.
    """
    with without_collection():
        yield
        gc.freeze()


def silence_libraries() -> None:
    """Keep lines of libraries off the terminal; only for the command line, as above."""
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=_WARNERS)


def limit_waiting() -> None:
    """Let threads of PyTorch sleep soon while they wait for one that has no core.

    Call it before the first import of PyTorch. The number of threads stays, and with it the bits of
    every result. Only for the command line, as above; a choice of the user is kept.
    """
    if not any(name in os.environ for name in _WAITING):
        os.environ["GOMP_SPINCOUNT"] = _TURNS
