"""SIGKILL at a random moment of every long verb, then ``--resume``, then a comparison of all bytes.

The moment is uniform over the wall time (even trials) or the CPU time (odd ones) of an
uninterrupted run, imports excluded. In every third trial the resumed run is killed as well.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from injection.forks import Limits, start_command
from injection.trial import Part, Trial, Verdict

SEED = 15
_LIMITS = Limits(seconds=300, cpu=200, memory=None)
_BACKBONES = {
    "resunet": "model.backbone={name: resunet, width: 4, depth: 3}",
    "vit": "model.backbone={name: vit, patch: [8, 8], dim: 24, depth: 2, heads: 2}",
    "vit3": "model.backbone={name: vit, patch: [4, 8, 8], dim: 24, depth: 2, heads: 2}",
}
# Time of a process since a start: its number, and ``perf_counter`` at the start.
Clock = Callable[[int, float], float]
# Lines of a journal differ in their speed alone.
_SPEED = "samples_per_second"


@dataclass(frozen=True)
class Scenario:
    """A verb with its arguments.

    Attributes:
        name: row of the table.
        arguments: command line without ``--out`` and ``--resume``, given the folder of inputs.
        share: kills in a full run, in relation to the others.
        tiny: part of the small form.
    """

    name: str
    arguments: Callable[[Path], list[object]]
    share: float = 1.0
    tiny: bool = False


def small_network(backbone: str, *, steps: int, crop: str = "[32, 32]") -> list[str]:
    """Settings of a network that trains in a second."""
    lines = [
        _BACKBONES[backbone],
        f"data.crop={crop}",
        "data.channels=1",
        f"train.steps={steps}",
        "train.batch_size=2",
        "train.save_every=2",
        "train.validate_every=4",
        "train.workers=1",
        "train.precision='32'",
        "infer.precision='32'",
    ]
    return _set(*lines)


def _set(*lines: str) -> list[str]:
    return [part for line in lines for part in ("--set", line)]


def _pretrain(at: Path) -> list[object]:
    return [
        "pretrain",
        "--preset",
        "mae2d",
        "--images",
        at / "images",
        *small_network("vit", steps=12),
    ]


def _train(at: Path) -> list[object]:
    where = ["--images", at / "images", "--labels", at / "labels"]
    return ["train", "--preset", "cells", *where, *small_network("resunet", steps=12)]


def _train_3d(at: Path) -> list[object]:
    where = ["--images", at / "volumes" / "images", "--labels", at / "volumes" / "classes"]
    network = small_network("vit3", steps=6, crop="[8, 16, 16]")
    return ["train", "--preset", "semantic3d", *where, *network, *_set("task.classes=2")]


def _predict(images: str, *more: str) -> Callable[[Path], list[object]]:
    # The shipped model: one of a few updates finds no object, and empty images are always equal.
    return lambda at: ["predict", at / images, "--model", "nuclei", *TILES, *more]


def _cluster(at: Path) -> list[object]:
    where = [at / "large" / "a.tif", at / "large" / "b.tif", "--model", at / "encoder"]
    options = ["--classes", "4", "--quality", "draft"]
    return ["cluster", *where, *options, *_set("infer.precision='32'")]


def _curve(at: Path) -> list[object]:
    where = ["--images", at / "images", "--labels", at / "labels"]
    where += ["--val-images", at / "wide" / "images", "--val-labels", at / "wide" / "labels"]
    plan = ["--labels-per-run", "1,2", "--repeats", "1"]
    return ["curve", "--preset", "cells", *where, *plan, *small_network("resunet", steps=3)]


TILES = _set("infer.tile=[64, 64]")
BLOCKS = _set("infer.block=[32, 32]")
SCENARIOS = (
    Scenario("pretrain", _pretrain),
    Scenario("train, 2D", _train, tiny=True),
    Scenario("train, 3D", _train_3d),
    Scenario("predict in memory", _predict("images")),
    Scenario("predict in memory, --scores", _predict("images", "--scores"), tiny=True),
    Scenario("predict in blocks, TIFF", _predict("large", *BLOCKS)),
    Scenario("predict in blocks, TIFF, --scores", _predict("large", "--scores", *BLOCKS)),
    Scenario("predict in blocks, OME-Zarr", _predict("stores", *BLOCKS)),
    Scenario(
        "predict in blocks, OME-Zarr, --scores", _predict("stores", "--scores", *BLOCKS), tiny=True
    ),
    Scenario("cluster", _cluster, tiny=True),
    Scenario("curve", _curve, share=0.5),
)


def small_blocks() -> None:
    """Let ``cluster`` divide small images; without effect if the product has no such constant."""
    from unmask.clustering import dense as features

    if hasattr(features, "_BLOCK_BYTES"):
        setattr(features, "_BLOCK_BYTES", 4 * 24 * 32 * 32)  # noqa: B010 - not ours to know


def prepare(at: Path, tiny: bool) -> None:  # noqa: FBT001 - as all parts
    """Images, volumes and models, then an uninterrupted run of every verb with its duration."""
    from unmask.io import open_image, save_image
    from unmask.phantoms.cells import write_set

    write_set(at, "nuclei", shape=(48, 40), count=4, seed=1)
    write_set(at / "volumes", "nuclei", shape=(10, 24, 20), count=2, seed=1)
    write_set(at / "wide", "nuclei", shape=(96, 80), count=2, seed=2)
    for folder, suffix in {"large": ".tif", "stores": ".ome.zarr"}.items():
        for name, path in zip("ab", sorted((at / "wide" / "images").iterdir()), strict=True):
            save_image(at / folder / f"{name}{suffix}", open_image(path, ndim=2).read())
    finish([*_pretrain(at), "--out", at / "encoder"], at / "encoder.log")
    durations: dict[str, tuple[float, float]] = {}
    for number, scenario in _chosen(tiny):
        # The second run counts: the first one fills the cache of compiled kernels.
        for out in (at / "warm" / str(number), at / "whole" / str(number))[bool(tiny) :]:
            begin, used = time.perf_counter(), _children()
            finish([*scenario.arguments(at), "--out", out], at / f"{number}.log")
            durations[str(number)] = time.perf_counter() - begin, _children() - used
        if scenario.name.startswith(("predict", "cluster")):
            check_objects(at / "whole" / str(number))
    (at / "durations.json").write_text(json.dumps(durations))


def check_objects(out: Path) -> None:
    """Refuse references without objects, with which any damage would go unnoticed.

    Raises:
        RuntimeError: a label image is empty.
    """
    from unmask.io import open_image

    for path in sorted(out.iterdir()):
        if path.suffix in {".tif", ".zarr"} and not open_image(path, ndim=2).read().any():
            raise RuntimeError(f"{path}: expected objects, found none.")


def trials(at: Path, tiny: bool) -> list[Trial]:  # noqa: FBT001 - as all parts
    """220 kills; four in the small form."""
    share = sum(scenario.share for scenario in SCENARIOS)
    found = []
    for number, scenario in _chosen(tiny):
        count = 1 if tiny else max(1, round(220 * scenario.share / share))
        for trial in range(count):
            run = partial(kill_and_resume, at, number, trial)
            found.append(Trial(f"{scenario.name} {trial}", scenario.name, run, _LIMITS))
    # Verbs take turns, so that an interrupted run of this script has seen all of them.
    return sorted(found, key=lambda trial: int(trial.key.rpartition(" ")[2]))


def _chosen(tiny: bool) -> list[tuple[int, Scenario]]:  # noqa: FBT001 - as all parts
    return [(n, each) for n, each in enumerate(SCENARIOS) if each.tiny or not tiny]


def kill_and_resume(at: Path, number: int, trial: int) -> dict[str, Any]:
    """One trial: kill, perhaps kill again, resume, compare."""
    scenario = SCENARIOS[number]
    draw = np.random.default_rng([SEED, number, trial])
    out = at / "trials" / f"{number}-{trial}"
    log = out.with_suffix(".log")
    out.parent.mkdir(exist_ok=True)
    arguments = [*scenario.arguments(at), "--out", out]
    # By the clock of the wall, or by CPU seconds, which do not depend on other programs.
    clock, unit = ((_wall, "s"), (_cpu, "CPU s"))[trial % 2]
    duration = json.loads((at / "durations.json").read_text())[str(number)][trial % 2]
    moments = []
    left: list[str] = []
    for again in range(2 if trial % 3 == 2 else 1):
        resume = ["--resume"] if again else []
        moment = 0.0
        # The machine may be quicker now; a run that ended before its kill is repeated.
        for _ in range(5):
            moment = float(draw.uniform(0, duration))
            code = _kill([*arguments, *resume], log, moment, clock)
            if code == -signal.SIGKILL or again:
                break
            duration *= 0.8
            shutil.rmtree(out, ignore_errors=True)
        moments.append(round(moment, 3))
        left = _listing(out)
    code = finish([*arguments, "--resume"], log, check=False)
    detail = f"killed after {moments} {unit} of {duration:.2f}; left: {left}"
    if code:
        text = log.read_text(errors="replace")
        return Verdict(scenario.name, "not resumable", f"{detail}; {code}: {text}").json()
    problems = differences(out, at / "whole" / str(number))
    if problems:
        return Verdict(scenario.name, "different", f"{detail}; {problems[:5]}").json()
    shutil.rmtree(out)
    return Verdict(scenario.name, "equal", detail).json()


def differences(found: Path, expected: Path) -> list[str]:
    """What differs between two folders of outputs; empty if nothing does."""
    ours, wanted = _files(found), _files(expected)
    lines = [f"{name}: missing" for name in sorted(wanted.keys() - ours.keys())]
    lines += [f"{name}: left behind" for name in sorted(ours.keys() - wanted.keys())]
    for name in sorted(ours.keys() & wanted.keys()):
        if not _same(ours[name], wanted[name]):
            lines.append(f"{name}: other content")
    return lines


def _files(folder: Path) -> dict[str, Path]:
    every = (path for path in sorted(folder.rglob("*")) if path.is_file())
    named = {path.relative_to(folder).as_posix(): path for path in every}
    # Event files of TensorBoard have the time and the process in their name. A run of a curve is
    # done with its last model, before its last snapshot and its report are there.
    return {
        name: path
        for name, path in named.items()
        if "tfevents" not in name
        and not (name.startswith("runs/") and ("/snapshots/" in name or "/report" in name))
    }


def _same(left: Path, right: Path) -> bool:
    if left.suffix == ".jsonl":
        return _lines(left) == _lines(right)
    if left.name in _NOT_COMPARED:
        return True
    return left.read_bytes() == right.read_bytes()


# Locks hold a process id; figures and reports hold a date.
_NOT_COMPARED = {".lock", "curve.svg", "curve.png", "curve.html", "report.html"}


def _lines(path: Path) -> list[Any]:
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        records = [json.loads(line) for line in text.splitlines()]
    except ValueError:
        return [text]
    return [{k: v for k, v in record.items() if k != _SPEED} for record in records]


def _kill(arguments: list[object], log: Path, moment: float, clock: Clock) -> int:
    """Start a run and kill it when its clock shows ``moment``; its exit code."""
    pid = start_command(arguments, log, small_blocks)
    begin = time.perf_counter()
    while clock(pid, begin) < moment:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _wall(_: int, begin: float) -> float:
    return time.perf_counter() - begin


def _cpu(pid: int, _: float) -> float:
    """CPU seconds of a process and its threads, to 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def finish(arguments: list[object], log: Path, *, check: bool = True) -> int:
    pid = start_command(arguments, log, small_blocks)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if check and code:
        raise RuntimeError(f"{arguments}: exit code {code}\n{log.read_text(errors='replace')}")
    return code


def _listing(folder: Path) -> list[str]:
    """Names of what a killed run left, for the message."""
    return [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in {"zarr.json"}
    ][:40]


PART = Part("kills", prepare, trials)
