"""Temporary files of runs that were killed: found by their names, removed by the next run.

Only names of ``unmask.atomic`` count, and only when their process has ended. A folder that a kill
caught between two names comes back.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from pathlib import Path

from unmask.atomic import LONGEST, remove
from unmask.processes import owns

_NAME = re.compile(
    # Version 0.1.0 wrote the number of the process alone.
    r"\.(?P<name>.+)\.(?:(?P<host>[0-9a-f]{6})-)?(?P<pid>\d+)(?:-(?P<start>[0-9a-f]+))?\.tmp"
    r"(?P<suffix>(?:\.[^.]+){0,2}?)(?P<old>\.old)?"
)
_SHORTENED = re.compile("~[0-9a-f]{16}$")
# Processes of other hosts cannot be asked. No single file takes a day to write.
_DAY = 86_400


def remove_leftovers(*folders: Path) -> list[Path]:
    """Remove what killed runs left in folders; folders inside them are not entered.

    Returns:
        What was removed or brought back. What cannot be removed stays.
    """
    done: list[Path] = []
    for folder in folders:
        with suppress(OSError):
            for path in sorted(folder.iterdir()):
                with suppress(OSError):
                    if _settle(path):
                        done.append(path)
    return done


def _settle(path: Path) -> bool:
    found = _NAME.fullmatch(path.name)
    if found is None or not _is_abandoned(path, found):
        return False
    target = path.with_name(found["name"])
    # A long name was shortened: where the folder belongs is not known, so it stays.
    name = found["name"]
    whole = len(os.fsencode(name)) < LONGEST and not _SHORTENED.search(name)
    if found["old"] and not target.exists():
        if whole:
            path.rename(target)
        return whole
    remove(path)
    return True


def _is_abandoned(path: Path, found: re.Match[str]) -> bool:
    running = owns(found["host"] or "", int(found["pid"]), found["start"] or "")
    if running is None:
        return time.time() - path.lstat().st_mtime > _DAY
    return not running
