"""Jobs: ordinary ``unmask`` processes that outlive the page and the server.

A job is a folder with a record, a log and, once it has ended, its exit code. So the server can be
restarted while a job runs, and finds it again.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from unmask.atomic import atomic_write
from unmask.errors import message
from unmask.processes import begin_of, is_running
from unmask.serve.refusal import RefusedError

_RECORD, _LOG, _EXIT = "job.json", "log.txt", "exit.json"
_TAIL = 4000
# Folders of children whose end this server will note, each with a mark of the latest child.
_AWAITED: dict[Path, object] = {}
PROGRAM = (sys.executable, "-m", "unmask")
_STOPPED = {130, 143, -signal.SIGINT, -signal.SIGTERM}


@dataclass(frozen=True)
class Job:
    """One process.

    Attributes:
        id: name of the job, such as ``round-001``.
        kind: "train" or "predict".
        folder: of its record and log.
        command: arguments of ``unmask``.
        out: what it writes into.
        steps: updates or images that it has to do.
        pid: process number.
        begun: start of the process, which tells it from a later one with the same number.
        created: when it was started, in seconds.
        facts: what the page shows of it.
    """

    id: str
    kind: str
    folder: Path
    command: tuple[str, ...]
    out: Path
    steps: int
    pid: int = 0
    begun: str = ""
    created: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        """What the process printed."""
        return self.folder / _LOG

    def running(self) -> bool:
        """Whether the process runs, or its exit code is still to be noted.

        The noted exit code is the end: the thread that wrote it may still wait for the disk, and a
        reader that saw the code must not find a job that runs.
        """
        if (self.folder / _EXIT).is_file():
            return False
        return self.folder in _AWAITED or is_running(self.pid, self.begun)


def start(job: Job, *more: str, seconds: float | None = None) -> Job:
    """Start the process, detached from this one.

    Args:
        job: what to run.
        more: further arguments, such as ``--resume``.
        seconds: after which it is ended.

    Raises:
        SaveError: its record cannot be written.
    """
    # Before the old exit code goes: a job that is started again is at no time one that has ended.
    mark = _AWAITED[job.folder] = object()
    try:
        (job.folder / _EXIT).unlink(missing_ok=True)
        child = _launch(job, more)
    except BaseException:
        _forget(job.folder, mark)
        raise
    begun = replace(job, pid=child.pid, begun=begin_of(child.pid), created=time.time())
    threading.Thread(target=_wait, args=(child, job.folder, mark, seconds), daemon=True).start()
    record = {**asdict(begun), "folder": "", "out": os.path.relpath(job.out, job.folder)}
    atomic_write(job.folder / _RECORD, json.dumps(record, indent=1))
    return begun


def _launch(job: Job, more: Sequence[str]) -> subprocess.Popen[bytes]:
    windows = os.name == "nt"
    with job.log.open("ab") as log:
        return subprocess.Popen(
            [*PROGRAM, *job.command, *more],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            creationflags=0x00000208 if windows else 0,
            start_new_session=not windows,
        )


def stop(job: Job) -> None:
    """Ask the process to save and end.

    Raises:
        RefusedError: it has ended already.
    """
    if not job.running():
        raise RefusedError(
            409, message(job.id, expected="a running job", found="one that has ended",
                         do="Reload the page.")
        )  # fmt: skip
    with suppress(ProcessLookupError):
        os.kill(job.pid, signal.CTRL_BREAK_EVENT if os.name == "nt" else signal.SIGTERM)


def read(folder: Path) -> Job | None:
    """The job of a folder; None if it was never started."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        tree = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        tree["command"] = tuple(tree["command"])
        out = Path(os.path.normpath(folder / tree["out"]))
        return Job(**{**tree, "folder": folder, "out": out})
    return None


def ended(job: Job, done: int, steps: int) -> str:
    """How a process ended: done, stopped or failed.

    Args:
        job: a job that does not run.
        done: updates or images that are finished; tells the end of a process that nobody waited
            for, because the server had ended too.
        steps: that it had to do; 0 if that never became known.
    """
    with suppress(OSError, ValueError, KeyError):
        code = json.loads((job.folder / _EXIT).read_text(encoding="utf-8"))["code"]
        return "done" if code == 0 else "stopped" if code in _STOPPED else "failed"
    return "done" if steps and done >= steps else "stopped"


def reason(job: Job) -> str:
    """The last message of a job, for one that failed."""
    text = tail(job)
    start_of = text.rfind("Error:")
    return text[start_of:].strip() if start_of >= 0 else text.strip()[-600:]


def tail(job: Job) -> str:
    """The end of its log."""
    try:
        with job.log.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - _TAIL))
            return log.read().decode(errors="replace")
    except OSError:
        return ""


def new_folder(parent: Path, kind: str, ending: str = "") -> tuple[str, Path]:
    """Name and folder of a new job: the next free number.

    Raises:
        SaveError: the disk.
    """
    parent.mkdir(parents=True, exist_ok=True)
    number = max((_number(path.name, kind) for path in parent.iterdir()), default=0)
    while True:
        number += 1
        name = f"{kind}-{number:03d}"
        with suppress(FileExistsError):
            (parent / f"{name}{ending}").mkdir()
            return name, parent / f"{name}{ending}"


def by_age(jobs: Sequence[Job]) -> list[Job]:
    """Newest first."""
    return sorted(jobs, key=lambda job: job.created, reverse=True)


def _number(name: str, kind: str) -> int:
    found = re.match(rf"{kind}-(\d+)", name)
    return int(found[1]) if found else 0


def _wait(
    child: subprocess.Popen[bytes], folder: Path, mark: object, seconds: float | None
) -> None:
    try:
        code = child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        code = child.wait()
    # Without it, the state follows from what the job has written.
    with suppress(OSError):
        atomic_write(folder / _EXIT, json.dumps({"code": code}))
    _forget(folder, mark)


def _forget(folder: Path, mark: object) -> None:
    """Stop waiting for a child, but not for one that was started in its folder since."""
    if _AWAITED.get(folder) is mark:
        del _AWAITED[folder]
