"""``train.precision=auto``: a few updates in each precision of the device, and the fastest one.

The choice is written into the run's recipe, so that a resumed run computes as before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unmask.data.pairs import Pair
from unmask.recipe import Recipe, load
from unmask.space.bf16 import has_bf16
from unmask.training.progress import duration
from unmask.training.timing import Timing, time_seen

# A run of fewer updates is over before a measurement pays off.
_FEWEST = 20
# The first update of a network compiles kernels and fills caches; the fastest of the others counts.
# A short run, such as one between two corrections in the browser, should not wait for a third one.
_UPDATES, _SHORT = 3, 200
# Another precision has to save this share of the time: timings of a busy machine vary by as much,
# and float32 needs no caution.
_GAIN = 0.05


@dataclass(frozen=True)
class Measured:
    """What updates cost.

    Attributes:
        recipe: with the precision that is used.
        timings: of a few updates, by precision; empty if none were run.
    """

    recipe: Recipe
    timings: Mapping[str, Timing]

    @property
    def timing(self) -> Timing | None:
        """Of the precision that is used."""
        return self.timings.get(self.recipe.train.precision)

    def describe(self) -> str:
        """The precision and the times behind it, in words."""
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
    """Precisions that a type of device computes in, float32 first; emulated ones are left out."""
    bf16 = ("bf16",) if has_bf16(device) else ()
    half = ("16",) if device == "cuda" else ()
    return ("32", *bf16, *half)


def measure_precision(pairs: Sequence[Pair], recipe: Recipe, device: str) -> Measured:
    """Time a few updates; with ``train.precision=auto`` in each precision, and take the fastest.

    Args:
        pairs: images as the network sees them.
        recipe: of the run.
        device: "cpu", "cuda" or "mps".

    Raises:
        DataError: images that cannot be read.
    """
    asked = recipe.train.precision
    if recipe.train.steps < _FEWEST:
        return Measured(pin_precision(recipe, device), {})
    names = supported_precisions(device) if asked == "auto" else (asked,)
    updates = _UPDATES if recipe.train.steps >= _SHORT else _UPDATES - 1
    timings = {
        name: time_seen(pairs, in_precision(recipe, name), updates=updates) for name in names
    }
    return Measured(in_precision(recipe, _fastest(timings)), timings)


def pin_precision(recipe: Recipe, device: str) -> Recipe:
    """The recipe with the usual precision of the device in place of ``auto``, without timings.

    Trainings that are compared need one precision, and timings may differ from run to run.
    """
    if recipe.train.precision != "auto":
        return recipe
    return in_precision(recipe, supported_precisions(device)[:2][-1])


def keep_precision(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe with the precision of the run in ``folder``, if it leaves the choice."""
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
