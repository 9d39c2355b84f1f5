"""Whether labels or updates are short: a curve means nothing where scratch still learns.

Scratch has converged if twice the updates raise its score by less than .01, with the most and with
the fewest labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from unmask.apps.curve_runs import Training, run_all
from unmask.apps.curve_table import Row
from unmask.recipe import Recipe

# A rise of the score that counts as none.
_NEGLIGIBLE = 0.01
# Where gains halve with every doubling of the updates, more doublings than this say nothing.
_MOST_DOUBLINGS = 6


@dataclass(frozen=True)
class Convergence:
    """What more updates would bring.

    Attributes:
        steps: updates that were doubled last.
        rises: rise of the score when they were doubled, by number of labels.
        enough: updates that suffice; an estimate above twice ``steps``.
    """

    steps: int
    rises: dict[int, float]
    enough: int

    @property
    def converged(self) -> bool:
        """Whether twice the updates bring nothing."""
        return all(abs(rise) < _NEGLIGIBLE or rise < 0 for rise in self.rises.values())

    def describe(self, metric: str) -> str:
        """One sentence."""
        rises = ", ".join(f"{rise:+.3f} with {n}" for n, rise in self.rises.items())
        if self.converged:
            return (
                f"Scratch has converged: {2 * self.steps} updates instead of {self.steps} change "
                f"{metric} by {rises} labeled image(s)."
            )
        return (
            f"Updates are short, not labels: {2 * self.steps} updates instead of {self.steps} "
            f"change {metric} by {rises} labeled image(s). About {self.enough} may be enough "
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
) -> Convergence:
    """Double the updates of scratch until it has converged, at most ``doublings`` times.

    Args:
        make: a training from scratch of a recipe on a number of labeled images.
        recipe: of the trainings.
        counts: numbers of labeled images; the smallest and the largest are trained.
        metric: that is compared.
        doublings: 1 or more; 1 only compares.
        cluster: as in the curve.
    """
    ends = sorted({min(counts), max(counts)})
    scores = _scores(make, recipe, ends, metric, cluster)
    found = Convergence(recipe.train.steps, {}, recipe.train.steps)
    for _ in range(doublings):
        steps = recipe.train.steps
        doubled = _with_steps(recipe, 2 * steps)
        after = _scores(make, doubled, ends, metric, cluster)
        rises = {n: after[n] - scores[n] for n in ends}
        found = Convergence(steps, rises, _enough(steps, max(rises.values())))
        if found.converged:
            break
        recipe, scores = doubled, after
    return found


def _with_steps(recipe: Recipe, steps: int) -> Recipe:
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"steps": steps})})


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
    cluster: str | None,
) -> dict[int, float]:
    found: dict[int, float] = {}

    def keep(row: Row) -> None:
        value = row.metrics.get(metric)
        found[row.labels] = math.nan if value is None else value

    trainings = [make(recipe, count) for count in counts]
    run_all([_apart(each, recipe) for each in trainings], keep, cluster=cluster)
    return found


def _apart(training: Training, recipe: Recipe) -> Training:
    """The training in a folder of its own: the curve has runs of the same names."""
    name = f"{training.folder.name}-{recipe.train.steps}-updates"
    return replace(training, folder=training.folder.parent / name)
