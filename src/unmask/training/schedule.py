"""The learning rate over time."""

from __future__ import annotations

from math import cos, pi


def schedule(
    step: int,
    *,
    steps: int,
    warmup: int,
    final: float = 0.0,
    start: float = 0.005,
    period: int | None = None,
) -> float:
    """Factor of the peak learning rate for update ``step``: linear warm-up, then half a cosine.

    Args:
        step: updates done before this one, from 0.
        steps: updates in all; the last one runs at ``final``.
        warmup: updates until the peak.
        final: last factor.
        start: first factor of the warm-up.
        period: updates from the peak to ``final``, after which the factor rises to the peak again;
            None: all that follow the warm-up.

    Examples:
        >>> [round(schedule(s, steps=5, warmup=2, start=0.0), 3) for s in range(5)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if step < warmup:
        return start + (1 - start) * step / warmup
    if period is None:
        progress = min(1.0, (step - warmup) / max(1, steps - 1 - warmup))
    else:
        progress = (step - warmup) / period
    return final + (1 - final) * (1 + cos(pi * progress)) / 2
