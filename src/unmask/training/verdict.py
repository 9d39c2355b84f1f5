"""Verdict on a finished run from its journal: still rising, overfitting, or leveled off."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from unmask.wording import format_count

VALIDATION = "validation/"
# Smallest number of validations for a trend.
_FEWEST = 4
# Last part of the validations, which is compared with the earlier ones.
_LAST = 1 / 3
# Smaller changes of the score count as noise: a share of the range of all scores, and a smallest
# absolute change.
_NOISE, _LEAST = 0.05, 0.003
# The loss still falls if its mean over the last third is lower than before by more than this share.
_FALLS = 0.03
# Fewer losses than this in a third of a run differ by the images that they are of.
_LOSSES = 4

Trend = Literal["rising", "overfitting", "level", "unknown"]
Records = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Verdict:
    """The course of a run.

    Attributes:
        trend: trend of the first metric, or of the loss if no image was held out.
        sentences: the verdict and its numbers, for the user.
        best_step: update of the best score; None without validation.
        steps: suggested number of updates to continue with; None: more updates do not help.
    """

    trend: Trend
    sentences: tuple[str, ...]
    best_step: int | None = None
    steps: int | None = None


def judge_run(journal: Records, steps: int, *, folds: bool = False, labels: bool = True) -> Verdict:
    """Judge a run by its journal.

    Args:
        journal: records with "step", "loss" and "validation/...".
        steps: number of updates of the whole run.
        folds: whether a cross-validation has chosen the number of updates.
        labels: whether the run learns from labels; a pre-training has no score.

    Examples:
        >>> lines = [{"step": n, "loss": 1 / n, "validation/dice": n / 10} for n in range(1, 9)]
        >>> judge_run(lines, 8).trend
        'rising'
    """
    name = first_metric(journal)
    if name is None:
        return _judge_loss(journal, steps, folds=folds, labels=labels)
    points = series(journal, name)
    shown = name.removeprefix(VALIDATION)
    if not points:
        text = f"{shown} was undefined in every validation: the last weights are kept."
        return Verdict("unknown", (text,))
    best_step, best = max(points, key=_rank)
    first = f"Best {shown} {best:.4f} at update {best_step:,} of {steps:,}."
    if best_step == 0:
        first = (
            f"Best {shown} {best:.4f} before the first update: no update was better than the "
            "start weights, so they are the model. More labels may change this."
        )
    # The trend is that of the training; start weights may know the task already.
    points = [point for point in points if point[0] > 0]
    peak_step, peak = max(points, key=_rank, default=(best_step, best))
    if len(points) < _FEWEST:
        few = format_count(len(points), "validation shows", "validations show")
        text = f"{few} no trend; lower train.validate_every for more."
        return Verdict("unknown", (first, text), best_step)
    scores = [score for _, score in points]
    noise = max(_LEAST, _NOISE * (max(scores) - min(scores)))
    begin = len(points) - max(2, math.ceil(len(points) * _LAST))
    before, last = max(scores[:begin]), scores[begin:]
    gain, drop = max(last) - before, peak - sum(last[-2:]) / 2
    losses = series(journal, "loss")
    if gain > noise:
        text = (
            f"Still rising: {shown} gained {gain:.4f} in the last {len(last)} validations. More "
            "updates will probably help."
        )
        return Verdict("rising", (first, text), best_step, _more(steps))
    if drop > noise and _falls_since(losses, peak_step):
        after = [score for step, score in points if step > peak_step]
        text = (
            f"Overfitting since update {peak_step:,}: the training loss kept falling while "
            f"{shown} fell from {peak:.4f} to {after[-1]:.4f}. The best model is kept. More labels "
            "or stronger augmentation help, more updates do not."
        )
        return Verdict("overfitting", (first, text), best_step)
    text = f"Leveled off: {shown} gained {max(gain, 0):.4f} in the last {len(last)} validations."
    return Verdict("level", (first, text), best_step)


def _rank(point: tuple[int, float]) -> tuple[float, int]:
    """The higher score ranks higher; of equal ones the earlier."""
    return point[1], -point[0]


def first_metric(journal: Records) -> str | None:
    """Name of the metric that chooses the best model; None without validation."""
    names = (name for record in journal for name in record if name.startswith(VALIDATION))
    return next(names, None)


def series(journal: Records, name: str) -> list[tuple[int, float]]:
    """Steps and values of one metric where it is defined."""
    return [
        (int(record["step"]), float(record[name]))
        for record in journal
        if isinstance(record.get(name), int | float) and math.isfinite(record[name])
    ]


def _judge_loss(journal: Records, steps: int, *, folds: bool, labels: bool) -> Verdict:
    """Without held-out images only the training loss is known."""
    losses = [loss for _, loss in series(journal, "loss")]
    if folds:
        text = f"The final model was trained on all images for the {steps:,} updates chosen there."
        return Verdict("unknown", (text,))
    first = "Nothing was held out, so no score is known and the last weights are kept."
    if not labels:
        first = "A pre-training has no score: it is judged by what is trained from it."
    part = len(losses) // 3
    if part < _LOSSES:
        return Verdict("unknown", (first,))
    before, last = sum(losses[-2 * part : -part]) / part, sum(losses[-part:]) / part
    numbers = f"from {before:.4g} to {last:.4g} over the last third"
    if last < before * (1 - _FALLS):
        text = f"The training loss is still falling ({numbers})."
        return Verdict("rising", (first, text), None, _more(steps))
    words = "has leveled off" if last < before * (1 + _FALLS) else "no longer falls"
    return Verdict("level", (first, f"The training loss {words} ({numbers})."))


def _falls_since(losses: Sequence[tuple[int, float]], step: int) -> bool:
    """Whether the loss after a step is lower than around it."""
    before = [loss for at, loss in losses if at <= step][-5:]
    after = [loss for at, loss in losses if at > step][-5:]
    return bool(before and after) and sum(after) / len(after) < sum(before) / len(before)


def _more(steps: int) -> int:
    """1.5 times the number of updates, rounded up to two digits."""
    wanted = steps * 1.5
    unit = 10 ** max(0, math.floor(math.log10(wanted)) - 1)
    return int(math.ceil(wanted / unit) * unit)
