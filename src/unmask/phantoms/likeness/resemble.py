"""Draw phantoms that resemble images: fit, choose among candidates, give them the look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmask.phantoms.families import draw_one
from unmask.phantoms.likeness.bank import Canvas
from unmask.phantoms.likeness.fit import Fit
from unmask.phantoms.likeness.look import Look, apply_look
from unmask.phantoms.likeness.photographs import reduce
from unmask.phantoms.likeness.statistics import Statistics, measure
from unmask.phantoms.phantom import Phantom
from unmask.space.random import generator

# Phantoms that are drawn for one that is kept.
_CANDIDATES = 6


@dataclass(frozen=True)
class Model:
    """A photograph that phantoms are to resemble.

    Attributes:
        statistics: of its parts.
        look: its gray values, colors and noise.
    """

    statistics: Statistics
    look: Look


def draw_alike(
    fit: Fit,
    models: Sequence[Model],
    canvas: Canvas,
    count: int,
    *,
    seed: int = 0,
    shrink: int = 1,
) -> Iterator[Phantom]:
    """``count`` phantoms, each of which resembles one of the images.

    Phantom ``i`` depends on ``seed`` and ``i`` alone.

    Args:
        fit: family and options.
        models: what to resemble; taken in turn.
        canvas: size of the phantoms.
        count: number of phantoms.
        seed: of all of them.
        shrink: factor by which the last two axes are reduced before images are compared.
    """
    for index in range(count):
        rng = generator(seed, "likeness draw", index)
        model = models[int(rng.integers(len(models)))]
        nearest = min(
            (_draw(fit, canvas, seed, _CANDIDATES * index + k) for k in range(_CANDIDATES)),
            key=lambda phantom: _distance(fit, reduce(phantom.image, shrink), model),
        )
        yield replace(nearest, image=apply_look(nearest.image, model.look, rng))


def _draw(fit: Fit, canvas: Canvas, seed: int, index: int) -> Phantom:
    return draw_one(
        fit.kind, canvas.shape, seed=seed, index=index, spacing=canvas.spacing, options=fit.ranges
    )


def _distance(fit: Fit, image: NDArray[Any], model: Model) -> float:
    points = fit.metric(np.stack([measure(image), model.statistics]))
    return float(np.linalg.norm(points[0] - points[1]))
