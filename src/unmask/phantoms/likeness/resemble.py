"""Draw phantoms that resemble images: draw a pool, choose from it, apply the look of an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from unmask.phantoms.families import draw_one
from unmask.phantoms.likeness.bank import Canvas, Ranges
from unmask.phantoms.likeness.fit import Fit
from unmask.phantoms.likeness.look import apply_look
from unmask.phantoms.likeness.photographs import Photograph, reduce
from unmask.phantoms.likeness.statistics import measure
from unmask.phantoms.phantom import Phantom
from unmask.space.random import generator

# Phantoms in the pool at least, and phantoms in it per image that is drawn.
_POOL, _PER_IMAGE = 32, 1.5
# Diameters of a phantom around that of an image, and the factor up to which they count as equal.
_NEAR, _SAME = (0.9, 1.1), 1.3


def draw_alike(
    fit: Fit,
    photographs: Sequence[Photograph],
    canvas: Canvas,
    count: int,
    *,
    seed: int = 0,
    shrink: int = 1,
) -> Iterator[Phantom]:
    """``count`` phantoms, each of which resembles one of the images.

    Args:
        fit: family and options.
        photographs: what to resemble; each is a model about equally often.
        canvas: size of the phantoms.
        count: number of phantoms.
        seed: of all of them.
        shrink: factor by which the last two axes are reduced before images are compared.
    """
    # A phantom is drawn again when it is chosen, so that the pool needs no memory.
    size = max(_POOL, round(_PER_IMAGE * count)) if count else 0
    rng = generator(seed, "likeness models", 0)
    # Sizes are as frequent in the pool as among the images, which a range would not keep.
    wanted = _diameters(fit, photographs)
    diameters = np.quantile(wanted, (rng.permutation(size) + 0.5) / max(1, size))
    pool = [_options(fit, each) for each in diameters.tolist()]
    rows = [
        measure(reduce(_draw(fit, canvas, seed, index, options).image, shrink))
        for index, options in enumerate(pool)
    ]
    models = rng.permutation(np.resize(np.arange(len(photographs)), count)).tolist()
    apart = np.abs(np.log(wanted[models][:, None] / diameters[None]))
    chosen = _choose(fit, [photographs[m] for m in models], np.array(rows), apart > np.log(_SAME))
    for number, (model, index) in enumerate(zip(models, chosen, strict=True)):
        noise = generator(seed, "likeness draw", number)
        phantom = _draw(fit, canvas, seed, index, pool[index])
        image = apply_look(phantom.image, photographs[model].look, noise)
        yield replace(phantom, image=image)


def _diameters(fit: Fit, photographs: Sequence[Photograph]) -> NDArray[np.float64]:
    """Estimated diameter of the objects of each image: the median of its parts."""
    ends = np.cumsum([len(each.rows) for each in photographs])[:-1]
    return np.array([np.median(parts) for parts in np.split(fit.diameters, ends)])


def _choose(
    fit: Fit,
    models: Sequence[Photograph],
    rows: NDArray[np.float32],
    unlike: NDArray[np.bool_],
) -> list[int]:
    """The phantom of the pool nearest to each model that no other model has taken.

    Args:
        fit: whose metric counts.
        models: images to resemble.
        rows: ``(n, d)`` statistics of the pool.
        unlike: ``(models, n)`` whether objects differ in size; such a phantom is the last choice.
    """
    free = np.ones(len(rows), np.bool_)
    chosen = []
    points = fit.metric.scale(rows) if len(rows) else rows
    for model, other in zip(models, unlike, strict=True):
        own = fit.metric.scale(model.rows)
        apart = np.linalg.norm(points[:, None] - own[None], axis=-1).min(axis=1)
        apart = np.where(other, apart + apart.max(), apart)
        index = int(np.where(free, apart, np.inf).argmin())
        free[index] = False
        chosen.append(index)
    return chosen


def _options(fit: Fit, diameter: float) -> Ranges:
    low, high = _NEAR
    return fit.ranges | {"diameter": (low * diameter, high * diameter)}


def _draw(fit: Fit, canvas: Canvas, seed: int, index: int, options: Ranges) -> Phantom:
    return draw_one(
        fit.kind, canvas.shape, seed=seed, index=index, spacing=canvas.spacing, options=options
    )
