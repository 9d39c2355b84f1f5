"""Give random weights the budget of each start: its updates or seconds, pre-training included."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from unmask.apps.curve_runs import Pretraining
from unmask.apps.curve_starts import Start
from unmask.atomic import atomic_write
from unmask.data.pairs import Pair
from unmask.errors import RecipeError, message
from unmask.recipe import Recipe
from unmask.training.timing import time_updates

Equal = Literal["training", "updates", "seconds"]
_WORDS = {"updates": "updates in all", "seconds": "seconds in all"}
# Updates that are measured; the fastest counts.
_UPDATES = 4


def parse_equal(text: str) -> Equal:
    """The kind of budget that a text names.

    Raises:
        RecipeError: unknown.
    """
    for known in get_args(Equal):
        if text == known:
            return known
    raise RecipeError(
        message(
            "--equal",
            expected=f"one of {', '.join(get_args(Equal))}",
            found=repr(text),
            do="Change it.",
        )
    )


class Costs:
    """Seconds per update of recipes on this device, measured once and kept in a file.

    A curve that is resumed needs the same numbers, because runs are named by their updates.

    Args:
        file: where they are kept.
        pairs: images whose crops are used.
    """

    def __init__(self, file: Path, pairs: Sequence[Pair]) -> None:
        self._file, self._pairs = file, pairs

    def __call__(self, recipe: Recipe) -> float:
        """Seconds per update."""
        known = json.loads(self._file.read_text("utf-8")) if self._file.is_file() else {}
        key = recipe.model_dump_json()
        if key not in known:
            known[key] = time_updates(self._pairs, recipe, updates=_UPDATES).update
            atomic_write(self._file, json.dumps(known, indent=1) + "\n")
        return known[key]


def equalize(
    starts: Sequence[Start],
    pretrainings: Mapping[str, Pretraining],
    equal: Equal,
    seconds: Callable[[Recipe], float],
    say: Callable[[str], None],
) -> list[Start]:
    """Compare each start with random weights that get as much as its trainings together.

    Only pre-trainings of this curve count: nobody knows what a given model has cost.

    Args:
        starts: all starts, the one with random weights of a network first.
        pretrainings: pre-trainings by the name of their start.
        equal: ``training`` leaves the starts as they are, which have equal numbers of updates
            without the pre-training; ``updates`` counts its updates too; ``seconds`` counts the
            time of both on this device.
        seconds: returns the seconds per update of a recipe; called for ``seconds`` only.
        say: receives one line per start whose random weights are given more updates.

    Returns:
        The starts, with further ones of random weights before those that need them.
    """
    known = {start.name: start for start in starts}
    found: dict[str, Start] = {}
    for start in starts:
        fresh = known[start.against]
        steps = _budget(start, fresh.recipe, pretrainings.get(start.name), equal, seconds)
        if steps <= fresh.recipe.train.steps:
            found[start.name] = start
            continue
        name = f"{fresh.name}-{steps}-updates"
        say(f"{start.name} is compared with {name}, whose trainings take as many {_WORDS[equal]}.")
        found.setdefault(name, replace(fresh.with_steps(steps), name=name, against=name))
        found[start.name] = replace(start, against=name)
    return list(found.values())


def _budget(
    start: Start,
    fresh: Recipe,
    before: Pretraining | None,
    equal: Equal,
    seconds: Callable[[Recipe], float],
) -> int:
    """Updates from random weights that equal the training of a start."""
    own, earlier = start.recipe.train.steps, before.recipe.train.steps if before else 0
    if start.init is None or equal == "training":
        return own
    if equal == "updates":
        return own + earlier
    spent = own * seconds(start.recipe) + (earlier * seconds(before.recipe) if before else 0.0)
    return math.ceil(spent / seconds(fresh))
