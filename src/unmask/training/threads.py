"""``train.threads=auto``: on a busy machine, time a few updates with fewer threads.

PyTorch starts as many threads as there are cores, and every operator waits for the last of them. If
other programs use the cores, that one waits for a core: two threads on two busy cores were three
times slower than one. On an idle machine nothing is measured or changed.

The number is a fact of this machine and this hour. It is kept in a file of the run, not in its
recipe, which is used for other runs on other machines.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from unmask.atomic import atomic_write
from unmask.data.pairs import Pair
from unmask.processes import waiting_times
from unmask.recipe import Recipe, load
from unmask.training.precision import Measured
from unmask.training.timing import Timing, time_seen

Threads = int | Literal["auto"]
_FILE = "threads.json"
# Work that takes so many times longer than on an idle machine.
_BUSY = 1.3
# Fewer threads have to save this share of the time: what other programs do changes all the time,
# and they will not run for all of a long training.
_GAIN = 0.2
_UPDATES = 2


@contextmanager
def use_threads(threads: Threads) -> Generator[None, None, None]:
    """Compute with so many threads inside the block; ``auto`` changes nothing."""
    before = torch.get_num_threads()
    if threads in ("auto", before):
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def note_threads(folder: Path, measured: Measured) -> None:
    """Keep a measured number of threads for the commands that resume this run."""
    path = folder / _FILE
    if measured.fastest is None:
        path.unlink(missing_ok=True)
    else:
        atomic_write(path, json.dumps({"threads": measured.fastest}))


def kept_threads(folder: Path) -> int | None:
    """The measured number of threads of the run in ``folder``; None: not measured.

    Sums are rounded differently with other numbers of threads, and a resumed run must have the
    weights of one that was not interrupted.
    """
    try:
        count = json.loads((folder / _FILE).read_text(encoding="utf-8"))["threads"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return count if isinstance(count, int) and count > 0 else None


def keep_threads(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe with the threads of the run in ``folder``, if its own are ``auto``.

    Earlier versions wrote a measured number into the recipe of the run.
    """
    written = folder / "recipe.yaml"
    if recipe.train.threads != "auto" or not written.is_file():
        return recipe
    train = recipe.train.model_copy(update={"threads": load(written).train.threads})
    return recipe.model_copy(update={"train": train})


def measure_threads(
    pairs: Sequence[Pair],
    measured: Measured,
    *,
    time_updates: Callable[..., Timing] = time_seen,
) -> Measured:
    """Choose the number of threads of a training on the CPU, if the machine is busy.

    All cores, half of them and one are compared. The times of the chosen number replace those of
    the present one.

    Args:
        pairs: images on the grid of the network.
        measured: recipe and measured times with the present number of threads.
        time_updates: times updates of a recipe on these images.
    """
    recipe, timing, most = measured.recipe, measured.timing, torch.get_num_threads()
    if recipe.train.threads != "auto" or timing is None or most == 1 or not is_busy(timing):
        return measured
    timings = {most: timing}
    for count in sorted({max(1, most // 2), 1}, reverse=True):
        with use_threads(count):
            timings[count] = time_updates(pairs, recipe, updates=_UPDATES)
    seconds = {count: each.wall for count, each in timings.items()}
    best = min(seconds, key=lambda count: seconds[count])
    if seconds[best] > (1 - _GAIN) * seconds[most]:
        return replace(measured, threads=seconds)
    chosen = {**measured.timings, recipe.train.precision: timings[best]}
    return replace(measured, timings=chosen, fastest=best, threads=seconds)


def is_busy(timing: Timing) -> bool:
    """Whether other programs slowed updates down; by the load where a process cannot know."""
    if waiting_times() is not None or not hasattr(os, "getloadavg"):
        return timing.busy >= _BUSY
    return os.getloadavg()[0] >= _BUSY * (os.cpu_count() or 1)


def describe_threads(count: int, seconds: Mapping[int, float]) -> str:
    """Number of threads in words, with the times of others if they were measured.

    Examples:
        >>> describe_threads(1, {2: 1.9, 1: 0.6})
        '1 thread (0.6 s per update; 2 threads: 1.9 s)'
        >>> describe_threads(4, {})
        '4 threads'
    """
    text = _threads(count)
    if count not in seconds:
        return text
    others = "".join(f"; {_threads(n)}: {s:.2g} s" for n, s in seconds.items() if n != count)
    return f"{text} ({seconds[count]:.2g} s per update{others})"


def _threads(count: int) -> str:
    return f"{count} thread{'s' * (count > 1)}"
