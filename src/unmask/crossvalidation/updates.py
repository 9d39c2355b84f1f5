"""Choose the number of updates of the final training from the scores of all folds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# The learning rate reaches its end at the last update, so a shorter training is preferred only if
# the full one is clearly worse: on few images, scores differ by about this much at random.
_CLEARLY = 0.02


@dataclass(frozen=True)
class Curve:
    """Scores of held-out images during the training of the folds.

    Attributes:
        steps: numbers of updates at which all folds were validated, ascending.
        folds: score of each fold at each step, ``[fold][step]``; NaN if undefined.
        sizes: number of held-out images of each fold.
    """

    steps: tuple[int, ...]
    folds: tuple[tuple[float, ...], ...]
    sizes: tuple[int, ...]

    @property
    def means(self) -> tuple[float, ...]:
        """Mean over the images at each step; NaN if no fold has a score."""
        return tuple(
            _mean([fold[index] for fold in self.folds], self.sizes)
            for index in range(len(self.steps))
        )


def curve_of(journals: Sequence[Sequence[Mapping[str, object]]], sizes: Sequence[int]) -> Curve:
    """Read the curve of the first metric from the journals of the folds."""
    scores = [_scores(lines) for lines in journals]
    common = sorted(set.intersection(*(set(each) for each in scores)))
    folds = tuple(tuple(each[step] for step in common) for each in scores)
    return Curve(tuple(common), folds, tuple(sizes))


def choose_updates(curve: Curve) -> int:
    """Choose the number of updates that is best on held-out images.

    It is the full number, unless the score of a smaller number is higher by more than .02.

    Examples:
        >>> choose_updates(Curve((100, 200, 300), ((0.5, 0.7, 0.6), (0.4, 0.7, 0.6)), (2, 1)))
        200
    """
    last, means = curve.steps[-1], curve.means
    # The score before the first update is a warning only: the user has asked for a training.
    trained = [pair for pair in zip(means, curve.steps, strict=True) if pair[1] > 0]
    defined = [(mean, step) for mean, step in trained if mean == mean]
    if not defined:
        return last
    best, step = max(defined, key=lambda pair: (pair[0], pair[1]))
    final = means[-1]
    return step if math.isnan(final) or best > final + _CLEARLY else last


def start_is_better(curve: Curve, steps: int) -> bool:
    """Whether the initial weights are clearly better than those after a number of updates.

    Examples:
        >>> start_is_better(Curve((0, 100), ((0.8, 0.7),), (1,)), 100)
        True
    """
    start = score_at(curve, 0)
    return start is not None and start > (score_at(curve, steps) or 0.0) + _CLEARLY


def score_at(curve: Curve, step: int) -> float | None:
    """Mean over the images at a step; None if it is undefined or was not measured."""
    found = dict(zip(curve.steps, curve.means, strict=True)).get(step, math.nan)
    return None if math.isnan(found) else found


def _scores(lines: Sequence[Mapping[str, object]]) -> dict[int, float]:
    """The first validation metric by step."""
    found: dict[int, float] = {}
    for line in lines:
        values = [value for name, value in line.items() if name.startswith("validation/")]
        if values:
            score = values[0]
            found[int(str(line["step"]))] = (
                float(score) if isinstance(score, int | float) else math.nan
            )
    return found


def _mean(values: Sequence[float], weights: Sequence[int]) -> float:
    pairs = [(v, w) for v, w in zip(values, weights, strict=True) if not math.isnan(v)]
    total = sum(w for _, w in pairs)
    return sum(v * w for v, w in pairs) / total if total else math.nan
