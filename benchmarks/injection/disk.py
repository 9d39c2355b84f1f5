"""Errors of the disk at system calls: no space, an I/O error, no permission, read-only.

A first run counts the calls of each function that concern the trial's folder; then one call at a
time fails, spread evenly over the run. Compiled libraries call the kernel directly: a limit of the
size of files stops their writes in the middle.
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import io
import json
import os
import resource
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from injection.forks import Limits, start_command
from injection.kills import BLOCKS, TILES, differences, finish, small_blocks, small_network
from injection.trial import Part, Trial, Verdict

_LIMITS = Limits(seconds=200, cpu=100, memory=None)
_ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS)
# Where each function lives; names of one function are replaced together.
_PLACES: dict[str, tuple[tuple[Any, str], ...]] = {
    "open": ((builtins, "open"), (io, "open")),
    "os.open": ((os, "open"),),
    "os.write": ((os, "write"),),
    "os.fsync": ((os, "fsync"),),
    "os.replace": ((os, "replace"),),
    "os.rename": ((os, "rename"),),
    "os.mkdir": ((os, "mkdir"),),
}
_FILE_SIZES = (100, 1000, 5000, 20_000)


@dataclass(frozen=True)
class Verb:
    """A command line; ``{out}`` stands for the folder of outputs.

    Attributes:
        name: row of the table.
        arguments: given the folder of inputs.
        again: run over the outputs of an earlier run, which must stay whole.
        calls: of each function that fail.
        tiny: part of the small form.
    """

    name: str
    arguments: Callable[[Path], list[object]]
    again: bool = True
    calls: int = 8
    tiny: bool = False


def _train(at: Path) -> list[object]:
    where = ["--images", at / "images", "--labels", at / "labels"]
    return [
        "train",
        "--preset",
        "cells",
        *where,
        *small_network("resunet", steps=4),
        "--out",
        "{out}",
    ]


def _predict(images: str, *more: str) -> Callable[[Path], list[object]]:
    return lambda at: [
        "predict", at / images, "--model", "nuclei", *TILES, *more, "--out", "{out}"
    ]  # fmt: skip


def _cluster(at: Path) -> list[object]:
    options = ["--classes", "4", "--quality", "draft", "--set", "infer.precision='32'"]
    return ["cluster", at / "tiffs", "--model", at / "encoder", *options, "--out", "{out}"]


def _evaluate(at: Path) -> list[object]:
    where = ["--truth", at / "labels", "--predicted", at / "predicted"]
    return ["evaluate", *where, "--out", "{out}/report.json"]


def _check(at: Path) -> list[object]:
    return ["check", at / "images", "--labels", at / "labels"]


VERBS = (
    Verb("train", _train, again=False),
    Verb("predict in memory", _predict("tiffs", "--scores")),
    Verb("predict in blocks", _predict("stores", *BLOCKS, "--scores"), tiny=True),
    Verb("cluster", _cluster),
    Verb("evaluate", _evaluate, tiny=True),
    # It times an update of the whole network, which takes ten seconds.
    Verb("check", _check, calls=3),
)


def prepare(at: Path, tiny: bool) -> None:  # noqa: FBT001 - as all parts
    """Inputs, a reference of every verb, and its calls."""
    from unmask.io import open_image, save_image
    from unmask.phantoms.cells import write_set

    write_set(at, "nuclei", shape=(48, 40), count=4, seed=1)
    shutil.copytree(at / "labels", at / "predicted")
    write_set(at / "wide", "nuclei", shape=(96, 80), count=1, seed=2)
    picture = open_image(next((at / "wide" / "images").iterdir()), ndim=2).read()
    save_image(at / "tiffs" / "a.tif", picture)
    save_image(at / "stores" / "a.ome.zarr", picture)
    encoder = ["pretrain", "--preset", "mae2d", "--images", at / "images"]
    finish([*encoder, *small_network("vit", steps=2), "--out", at / "encoder"], at / "encoder.log")
    counts: dict[str, Counter[str]] = {}
    for number, verb in _verbs(tiny):
        out = at / "whole" / str(number)
        out.mkdir(parents=True)
        finish(_arguments(verb, at, out), at / f"{number}.log")
        out = at / "counted" / str(number)
        out.mkdir(parents=True)
        if verb.again:
            shutil.copytree(at / "whole" / str(number), out, dirs_exist_ok=True)
        file = at / f"{number}.calls"
        install = partial(_count_calls, at, file)
        pid = start_command(_arguments(verb, at, out), at / f"{number}.log", install)
        os.waitpid(pid, 0)
        counts[str(number)] = Counter(file.read_text().split())
    (at / "calls.json").write_text(json.dumps(counts))


def trials(at: Path, tiny: bool) -> list[Trial]:  # noqa: FBT001 - as all parts
    """Up to 8 calls of each function and verb; one in the small form."""
    counts: dict[str, dict[str, int]] = json.loads((at / "calls.json").read_text())
    found = []
    for number, verb in _verbs(tiny):
        for name, count in sorted(counts[str(number)].items()):
            for nth in sorted(
                set(np.linspace(0, count - 1, 1 if tiny else verb.calls).astype(int))
            ):
                code = _ERRORS[(int(nth) + number) % len(_ERRORS)]
                run = partial(_fail, at, number, name, int(nth), code)
                key = f"{verb.name}: {errno.errorcode[code]} at call {nth} of {name}"
                found.append(Trial(key, verb.name, run, _LIMITS))
        for size in _FILE_SIZES[: 1 if tiny else None] if verb.name != "check" else ():
            run = partial(_fail, at, number, "size", size, errno.EFBIG)
            found.append(Trial(f"{verb.name}: files of {size} bytes", verb.name, run, _LIMITS))
    return found


def _verbs(tiny: bool) -> list[tuple[int, Verb]]:  # noqa: FBT001 - as all parts
    return [(number, verb) for number, verb in enumerate(VERBS) if verb.tiny or not tiny]


def _arguments(verb: Verb, at: Path, out: Path) -> list[object]:
    return [str(part).replace("{out}", str(out)) for part in verb.arguments(at)]


def _fail(at: Path, number: int, name: str, nth: int, code: int) -> dict[str, Any]:
    verb = VERBS[number]
    out = at / "trials" / f"{number}-{name}-{nth}"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    whole = at / "whole" / str(number)
    if verb.again:
        shutil.copytree(whole, out, dirs_exist_ok=True)
    log, hit = (out.with_name(f"{out.name}{end}") for end in (".log", ".hit"))
    install = partial(_install, at, name, nth, code, hit)
    # A pipe, since a limit of the size of files would cut the log as well.
    pipe, end = os.pipe()
    fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, 1 << 20)
    pid = start_command(_arguments(verb, at, out), end, install)
    os.close(end)
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    text = os.read(pipe, 1 << 20).decode(errors="replace")
    os.close(pipe)
    log.write_text(text)
    place = hit.read_text() if hit.exists() else "a file"
    verdict = _judge(ended, text, at)
    problems = differences(out, whole)
    if verdict == "equal" and problems and name != "size" and "/pictures/" not in place:
        verdict = "silent" if any("other content" in line for line in problems) else "equal"
    if verdict == "message" and verb.again:
        # What stood there before is whole, and nothing half-written stands next to it; hidden
        # files go with the next run.
        stale = [line for line in problems if not line.startswith(".") and "/." not in line]
        verdict = "old files damaged" if stale else verdict
    detail = f"at {place}: exit code {ended}; {problems[:4]}; {text[-1200:]}"
    if verdict in {"equal", "message"}:
        shutil.rmtree(out)
    return Verdict(verb.name, verdict, detail).json()


def _judge(code: int, text: str, at: Path) -> str:
    if "Traceback" in text or code not in {0, 2}:
        return "traceback"
    if code == 0:
        return "equal"
    return "message" if str(at) in text else "unnamed"


def _install(at: Path, name: str, nth: int, code: int, hit: Path) -> None:
    small_blocks()
    if name == "size":
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (nth, nth))
        return
    calls = 0
    write = os.write

    def fail(place: str) -> None:
        nonlocal calls
        calls += 1
        if calls == nth + 1:
            handle = _REAL_OPEN(hit, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            write(handle, place.encode())
            os.close(handle)
            raise OSError(code, os.strerror(code), place)

    _replace(name, at, fail)


def _count_calls(at: Path, file: Path) -> None:
    small_blocks()
    handle = _REAL_OPEN(file, os.O_WRONLY | os.O_CREAT)
    write = os.write
    for name in _PLACES:

        def note(_: str, name: str = name) -> None:
            write(handle, f"{name}\n".encode())

        _replace(name, at, note)


_REAL_OPEN = os.open


def _replace(name: str, at: Path, before: Callable[[str], None]) -> None:
    """Call ``before`` with the path of every call of a function that concerns our folder."""
    real = getattr(*_PLACES[name][0])

    def call(first: Any, *given: Any, **named: Any) -> Any:
        place = _path_of(first)
        # Logs and caches of the trial itself are not what is tested.
        if place.startswith(f"{at}/") and not place.endswith((".log", ".calls", ".hit")):
            before(place)
        return real(first, *given, **named)

    for module, attribute in _PLACES[name]:
        setattr(module, attribute, call)


def _path_of(target: Any) -> str:
    """The absolute path of a path or of an open file."""
    if isinstance(target, int):
        try:
            return str(Path(f"/proc/self/fd/{target}").readlink())
        except OSError:
            return ""
    try:
        return os.path.abspath(os.fsdecode(target))  # noqa: PTH100 - no call of the patched ones
    except TypeError:
        return ""


PART = Part("disk", prepare, trials)
