"""Lists of the outputs of complete runs, so that ``--resume`` skips them.

They are in the cache folder of the user, one file per folder of outputs: that folder has no other
files than the outputs. Without a list, outputs are only made again, so nothing here is an error.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import xxhash

from unmask.atomic import atomic_write

# Lists that are kept; older ones go.
_MOST = 100


def cache_folder() -> Path:
    """Folder of the lists; ``UNMASK_CACHE_DIR`` and ``XDG_CACHE_HOME`` can move it.

    Raises:
        RuntimeError: the user has no home.
    """
    if given := os.environ.get("UNMASK_CACHE_DIR"):
        return Path(given) / "finished"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "unmask" / "finished"


def remember(out: Path, finished: Path) -> None:
    """Keep the list of a complete run in the folder ``out``."""
    with suppress(OSError, RuntimeError):
        target = _file(out)
        target.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(target, finished.read_text(encoding="utf-8"))
        lists = sorted(target.parent.glob("*.jsonl"), key=lambda path: -path.stat().st_mtime)
        for old in lists[_MOST:]:
            old.unlink(missing_ok=True)


def recall(out: Path, finished: Path) -> None:
    """Write the list of an earlier complete run in ``out`` to ``finished``, if it is known."""
    with suppress(OSError, RuntimeError):
        if not finished.exists():
            atomic_write(finished, _file(out).read_text(encoding="utf-8"))


def forget(out: Path) -> None:
    """Remove the list of an earlier run in ``out``."""
    with suppress(OSError, RuntimeError):
        _file(out).unlink(missing_ok=True)


def _file(out: Path) -> Path:
    return cache_folder() / f"{xxhash.xxh3_128_hexdigest(os.fsencode(out.absolute()))}.jsonl"
