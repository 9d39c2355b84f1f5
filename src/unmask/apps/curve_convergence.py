"""Check whether the trainings of a curve are limited by labels or by updates.

A curve of labels means nothing if the training from scratch has not converged. It has converged if
twice the updates raise its score by less than .01, with the most and with the fewest labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from unmask.apps.curve_runs import Training, run_all
from unmask.apps.curve_starts import with_steps
from unmask.apps.curve_table import Row
from unmask.recipe import Recipe
from unmask.wording import format_count

# Smaller rises of the score are negligible.
_NEGLIGIBLE = 0.01
# The estimate extrapolates gains that halve with every doubling, at most over this many doublings.
_MOST_DOUBLINGS = 6


@dataclass(frozen=True)
class Convergence:
    """Effect of more updates on the score.

    Attributes:
        steps: number of updates before the last doubling.
        rises: rise of the score by the last doubling, by number of labels.
        enough: number of updates that suffice; an estimate if it is above twice ``steps``.
    """

    steps: int
    rises: dict[int, float]
    enough: int

    @property
    def converged(self) -> bool:
        """Whether twice the updates raise no score noticeably."""
        return all(abs(rise) < _NEGLIGIBLE or rise < 0 for rise in self.rises.values())

    def describe(self, metric: str) -> str:
        """One sentence."""
        rises = ", ".join(
            f"{rise:+.3f} with {format_count(n, 'labeled image')}" for n, rise in self.rises.items()
        )
        if self.converged:
            return (
                f"Scratch has converged: {2 * self.steps} updates instead of {self.steps} change "
                f"{metric} by {rises}."
            )
        return (
            f"Updates limit the scores, not labels: {2 * self.steps} updates instead of "
            f"{self.steps} change {metric} by {rises}. About "
            f"{self.enough} may be enough "
            f"(--set train.steps={self.enough}); no verdict on labels is given."
        )


def find_convergence(
    make: Callable[[Recipe, int], Training],
    recipe: Recipe,
    counts: Sequence[int],
    metric: str,
    *,
    doublings: int,
    cluster: str | None = None,
    say: Callable[[str], None] = print,
) -> Convergence:
    """Double the updates of scratch until it has converged, at most ``doublings`` times.

    Args:
        make: returns a training from scratch for a recipe and a number of labeled images.
        recipe: recipe of the trainings.
        counts: numbers of labeled images; the smallest and the largest are used.
        metric: metric that is compared.
        doublings: largest number of doublings, 1 or more.
        cluster: workers, as for the curve.
        say: receives one line per training.
    """
    ends = sorted({min(counts), max(counts)})
    how = {"cluster": cluster, "say": say}
    scores = _scores(make, recipe, ends, metric, how)
    found = Convergence(recipe.train.steps, {}, recipe.train.steps)
    for _ in range(doublings):
        steps = recipe.train.steps
        doubled = with_steps(recipe, 2 * steps)
        after = _scores(make, doubled, ends, metric, how)
        rises = {n: after[n] - scores[n] for n in ends}
        found = Convergence(steps, rises, _enough(steps, max(rises.values())))
        if found.converged:
            break
        recipe, scores = doubled, after
    return found


def _enough(steps: int, rise: float) -> int:
    """Updates at which the next doubling is negligible, if gains halve with every doubling."""
    if not math.isfinite(rise) or rise < _NEGLIGIBLE:
        return steps
    more = min(_MOST_DOUBLINGS, 1 + math.ceil(math.log2(rise / _NEGLIGIBLE)))
    return steps * 2**more


def _scores(
    make: Callable[[Recipe, int], Training],
    recipe: Recipe,
    counts: Sequence[int],
    metric: str,
    how: Mapping[str, Any],
) -> dict[int, float]:
    found: dict[int, float] = {}

    def keep(row: Row) -> None:
        value = row.metrics.get(metric)
        found[row.labels] = math.nan if value is None else value

    trainings = [make(recipe, count) for count in counts]
    run_all([_apart(each, recipe) for each in trainings], keep, **how)
    return found


def _apart(training: Training, recipe: Recipe) -> Training:
    """The training in a separate folder, because the curve has runs of the same names."""
    name = f"{training.folder.name}-{recipe.train.steps}-updates"
    return replace(training, folder=training.folder.parent / name)
