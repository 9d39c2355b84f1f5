"""``train.precision=auto``: time a few updates in each supported precision, use the fastest.

The choice is written into the recipe of the run, so that a resumed run uses the same precision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from unmask.data.pairs import Pair
from unmask.progress import duration
from unmask.recipe import Recipe, load
from unmask.space.bf16 import has_bf16
from unmask.training.timing import Timing, time_seen

# A run of fewer updates is over before a measurement pays off.
_FEWEST = 20
# The first update compiles kernels and fills caches, so the fastest of several counts. Runs of
# fewer than 200 updates, such as rounds in the browser, are timed with one update less.
_UPDATES, _SHORT = 3, 200
# A precision other than float32 has to save this share of the time: timings of a busy machine vary
# by as much, and float32 is numerically safer.
_GAIN = 0.05


@dataclass(frozen=True)
class Measured:
    """Measured times of updates.

    Attributes:
        recipe: recipe with the chosen precision.
        timings: times of a few updates by precision; empty: not measured.
        threads: seconds per update by the clock, by number of threads; empty: not compared.
        fastest: number of threads that is much faster than the usual one; None: there is none.
    """

    recipe: Recipe
    timings: Mapping[str, Timing]
    threads: Mapping[int, float] = field(default_factory=dict)
    fastest: int | None = None

    @property
    def used_threads(self) -> int | Literal["auto"]:
        """Threads of the training: those of the recipe, or else the fastest."""
        asked = self.recipe.train.threads
        return asked if asked != "auto" or self.fastest is None else self.fastest

    @property
    def timing(self) -> Timing | None:
        """Times in the chosen precision; None: not measured."""
        return self.timings.get(self.recipe.train.precision)

    def describe(self) -> str:
        """Text with the chosen precision and the measured times."""
        names = {"32": "float32", "bf16": "bfloat16", "16": "float16"}
        used = self.recipe.train.precision
        text = names.get(used, used)
        if (timing := self.timing) is None:
            return text
        text += f" ({duration_of(timing)} per update"
        for name, other in self.timings.items():
            if name != used:
                text += f"; {names[name]} {duration_of(other)}"
        return f"{text})"


def duration_of(timing: Timing) -> str:
    """Seconds per update in words."""
    return f"{timing.update:.2g} s" if timing.update < 10 else duration(timing.update)


def supported_precisions(device: str) -> tuple[str, ...]:
    """Precisions that a type of device supports, float32 first; emulated ones are left out."""
    if has_bf16(device):
        return ("32", "bf16")
    # Older GPUs (V100, T4) compute in float16, whose small range needs a scaler.
    return ("32", "16") if device == "cuda" else ("32",)


def measure_precision(
    pairs: Sequence[Pair], recipe: Recipe, device: str, *, updates: int | None = None
) -> Measured:
    """Time a few updates, and resolve ``train.precision=auto`` to the fastest precision.

    Runs of fewer than 20 updates are not measured.

    Args:
        pairs: images on the grid of the network.
        recipe: recipe of the run.
        device: "cpu", "cuda" or "mps".
        updates: number of timed updates per precision; None: 3, and 2 for runs below 200 updates.

    Raises:
        DataError: an image cannot be read.
    """
    asked = recipe.train.precision
    if recipe.train.steps < _FEWEST:
        return Measured(pin_precision(recipe, device), {})
    names = supported_precisions(device) if asked == "auto" else (asked,)
    updates = updates or count_timed(recipe)
    timings = {
        name: time_seen(pairs, in_precision(recipe, name), updates=updates) for name in names
    }
    return Measured(in_precision(recipe, _fastest(timings)), timings)


def count_timed(recipe: Recipe) -> int:
    """Number of updates that a training times in each precision before it starts."""
    steps = recipe.train.steps
    return 0 if steps < _FEWEST else _UPDATES if steps >= _SHORT else _UPDATES - 1


def pin_precision(recipe: Recipe, device: str) -> Recipe:
    """The recipe with the usual precision of the device in place of ``auto``, without timings.

    Trainings that are compared need one precision, and timings may differ from run to run.
    """
    if recipe.train.precision != "auto":
        return recipe
    return in_precision(recipe, supported_precisions(device)[:2][-1])


def keep_precision(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe with the precision of the run in ``folder``, if its own is ``auto``."""
    written = folder / "recipe.yaml"
    if recipe.train.precision != "auto" or not written.is_file():
        return recipe
    return in_precision(recipe, load(written).train.precision)


def in_precision(recipe: Recipe, precision: str) -> Recipe:
    """The recipe in another precision."""
    train = recipe.train.model_copy(update={"precision": precision})
    return recipe.model_copy(update={"train": train})


def _fastest(timings: Mapping[str, Timing]) -> str:
    first = next(iter(timings))
    best = min(timings, key=lambda name: timings[name].update)
    saved = 1 - timings[best].update / timings[first].update
    return best if saved > _GAIN else first
