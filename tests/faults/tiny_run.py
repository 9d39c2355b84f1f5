"""Trainings of half a second, for tests that end them.

Importing PyTorch takes longer than that, so one process imports it and forks for every run:
it reads lines of JSON ``{"folder", "errors", "options", "fault"}``, and answers with the process's
number, and later with its exit code; standard error is in the file ``errors``. A fault is
``[nth, action]``: at the file operation ``nth`` below the folder the process kills itself
(``kill``), or the disk is full from then on (``full``).
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import disk
import pytest
import torch
from torch import nn

from unmask.checkpoint import lock_run, save_snapshot
from unmask.errors import Interrupted, UnmaskError
from unmask.models.base import Objective, Step
from unmask.optim import adamw, parameter_groups
from unmask.space.batch import Batch
from unmask.space.random import device_seed, generator
from unmask.training import Journal, Plan, RunFolder, fit, make_fabric


class Tiny(Objective):
    """Two convolutions with batch norm and dropout: everything that has to be resumed."""

    def __init__(self, *, pause: float = 0.0, stop: tuple[int, int, int] | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.3), nn.Conv2d(8, 1, 1)
        )
        self.calls = 0
        self.pause = pause
        self.stop = stop

    def step(self, batch: Batch) -> Step:
        self.calls += self.training
        time.sleep(self.pause)
        if self.stop is not None and self.calls == self.stop[0]:
            for _ in range(self.stop[2]):
                os.kill(os.getpid(), self.stop[1])
        loss = (self.net(batch.image) - batch.image.mean()).square().mean()
        return Step(loss, {"twice": 2 * loss.detach()})


def sample(number: int) -> Batch:
    drawn = generator(7, "crop", number).standard_normal((2, 1, 8, 8), dtype="float32")
    return Batch(torch.from_numpy(drawn), seed=device_seed(7, "mask", number))


def batches_of(workers: int):
    """Batches as a loader with threads gives them; the number of threads changes nothing."""

    def batches(start: int) -> Iterator[Batch]:
        if workers == 0:
            number = start
            while True:
                yield sample(number)
                number += 1
        with ThreadPoolExecutor(workers) as pool:
            waiting = [pool.submit(sample, start + ahead) for ahead in range(2 * workers)]
            number = start + len(waiting)
            while True:
                yield waiting.pop(0).result()
                waiting.append(pool.submit(sample, number))
                number += 1

    return batches


def score(objective: Tiny) -> dict[str, float]:
    with torch.no_grad():
        return {"score": -float(objective.step(sample(10**6)).loss)}


def main(folder: Path, options: dict[str, str]) -> int:
    torch.set_num_threads(1)
    stop = options.get("stop", "").split("@")
    objective = Tiny(
        pause=float(options.get("pause", 0)),
        stop=(int(stop[1]), signal.Signals[stop[0]], int(options.get("times", 1)))
        if len(stop) == 2
        else None,
    )
    plan = Plan(
        steps=int(options.get("steps", 40)),
        lr=1e-2,
        accumulate=2,
        warmup=5,
        ema=0.9,
        validate_every=8,
        save_every=int(options.get("save_every", 4)),
        log_every=2,
        seed=3,
    )
    groups = parameter_groups(objective, lr=plan.lr, weight_decay=0.05)
    try:
        with (
            lock_run(folder),
            Journal(folder, steps=plan.steps, tensorboard=False, quiet=True) as journal,
        ):
            fit(
                objective,
                batches_of(int(options.get("workers", 0))),
                fabric=make_fabric(1, "32", "cpu"),
                optimizer=adamw(groups),
                plan=plan,
                journal=journal,
                validate=score,
                run=RunFolder(folder, {"recipe": "tiny"}, resume="resume" in options),
            )
    except UnmaskError as error:
        print(error, file=sys.stderr)
        return 2
    except Interrupted as end:
        return end.code
    assert threading.active_count() == 1
    return 0


def save_for_ever(folder: Path) -> NoReturn:
    """Snapshots without pause; the number of the last one that was finished is in ``done``."""
    folder.mkdir()
    step = 0
    while True:
        step += 1
        values = {"model": {"w": torch.full((300_000,), float(step))}}
        save_snapshot(folder, step, values, {"step": step})
        # A kill between truncating and writing would leave an empty file behind.
        (folder / "aside").write_text(f"{step}\n")
        (folder / "aside").replace(folder / "done")


def action_of(fault: list[Any] | None) -> Callable[[int, str], None]:
    """What happens at every file operation."""

    def act(number: int, name: str) -> None:
        if fault is None or number < fault[0]:
            return
        if fault[1] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if name not in ("unlink", "remove", "rmdir", "ftruncate"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return act


def run_child(request: dict[str, Any]) -> NoReturn:
    errors = os.open(request["errors"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(errors, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code, options, folder = 1, request["options"], Path(request["folder"])
    try:
        if "for_ever" in options:
            save_for_ever(folder)
        with disk.watched(folder, action_of(request["fault"]), writes=True) as operations:
            code = main(folder, options)
        if "count" in options:
            print(len(operations.calls), file=sys.stderr)
    except Exception:  # noqa: BLE001 - the parent reads it
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(code)


def serve() -> None:
    # A kill loses nothing that was written, flushed to the disk or not; a closed file is an error.
    pytest.MonkeyPatch().setattr(os, "fsync", os.fstat)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            run_child(json.loads(line))
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
