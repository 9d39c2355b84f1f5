"""The start of a process: no garbage collection while libraries are imported, no lines of theirs.

An import makes some 400,000 objects and no garbage, yet the collector looks through all of them
several times: 0.3 s of the 1.8 s of processor time that ``import torch`` takes.
"""

from __future__ import annotations

import gc
import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager

# Libraries that print about files. Whatever is wrong with a file is reported by our readers, with
# its name and what to do.
_LOGGERS = ("nibabel.global", "pydicom", "tifffile")
_WARNERS = r"(nibabel|pydicom|tifffile|zarr|numcodecs)(\.|$)"


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
