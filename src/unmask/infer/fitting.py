"""Fit a predictor to an image unlike those of its training: its scale, and what is too small.

A network that has learned objects of some sizes cuts larger ones into pieces and takes specks for
objects. Coarser images have neither. The scale is chosen without any label, by one of two rules.

**Models that have not seen such images** (``scale`` and ``size``): from the finest to the
coarsest, a coarser scale is taken as long as

- its objects have a similar outline to those of the scale before it (F1 at IoU 0.5), but not so
  similar that nothing is to be gained,
- its objects are not much larger in the image than those of the scale before it,
- its objects are not smaller on the network's grid than what the network can outline, and
- the network is about as sure of them as at the finest scale.

At the chosen scale, objects of less than half the typical size that the network is not sure of are
removed. The limits were chosen on training images of five sets (fluorescent nuclei, phase contrast,
germline nuclei, worms, bacteria) with the shipped models; see `docs/results/starting-weights.md`.

**Models trained on a few labeled images** (``scale`` alone), whose objects may all have one size:
the scale of the training is kept if the next coarser one finds the same objects (F1 at IoU 0.5).
Pieces of larger objects are others at every scale, until the objects fit the model: the first
scale that finds the objects of the scale before it is taken, if they are at least four and cover
about as much of the image or more.
The limit was chosen on left-out training images; see `docs/results/few-labels.md`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from unmask.data.source import cut_image, hold_whole
from unmask.errors import RecipeError, message
from unmask.infer.views import ONE_VIEW
from unmask.io.stacks import lead_axes, plane_of
from unmask.labels.doubtful import find_doubtful, typical_size
from unmask.labels.dropped import diameter
from unmask.labels.relabeling import compact
from unmask.space.box import Box
from unmask.tasks.complete import complete

if TYPE_CHECKING:
    from unmask.infer.predictor import Predictor
    from unmask.io import Image

# Scales that are tried, in this order; relative to that of the training.
SCALES = (1.0, 0.7, 0.5, 0.35, 0.25)
# What is fitted.
SCALE, SIZE = "scale", "size"
# Share of the objects of two neighboring scales that agree, as F1 at IoU 0.5.
_AGREE = 0.2
# From this share on the finer scale is kept, if its typical object is no longer than this diameter.
_SETTLED, _LARGEST = 0.9, 56.0
# Times by which the typical object may become larger in the image from one scale to the next.
_GROWN = 1.5
# Diameter of the typical object in voxels of the network's grid.
_SMALLEST = 12.0
# How much less sure the network may be of objects at a coarser scale.
_LESS_SURE = 0.07
# Objects below this share of the typical size are small, and doubtful below this mean score.
_SMALL, _SURE = 0.5, 0.9
# From this F1 on, two neighboring scales find the same objects; they may cover so much less of the
# image than those of the first scale.
_SAME, _COVERED = 0.75, 0.9
# Fewer objects may agree at random: a weak model joins those of an image to two or three.
_FEWEST = 4
# Voxels of the part of an image that decides.
_SAMPLE = 1 << 20


@dataclass(frozen=True)
class Trial:
    """What was found at one scale.

    Attributes:
        scale: that was tried, relative to that of the predictor.
        labels: ``(*space)`` of the sample, without doubtful objects.
        typical: typical size of its objects in voxels of the network's grid.
        small: objects of fewer voxels of this grid were removed if they were doubtful.
        sureness: mean probability of the voxels of all objects.
        scores: ``(S, *space)`` joined scores of the sample on the network's grid.
    """

    scale: float
    labels: NDArray[np.int32]
    typical: float
    small: int
    sureness: float
    scores: NDArray[np.float32]

    @property
    def diameter(self) -> float:
        """Diameter of the typical object on the network's grid."""
        return float(diameter(self.typical, self.labels.ndim))

    @property
    def diameter_in_view(self) -> float:
        """Diameter of the typical object on the grid that the predictor sees without a fit."""
        return self.diameter / self.scale

    @property
    def count(self) -> int:
        """Number of objects."""
        return int(np.count_nonzero(np.unique(self.labels)))

    @property
    def covered(self) -> float:
        """Share of the image that objects cover."""
        return float((self.labels > 0).mean())


def fit_predictor(predictor: Predictor, image: Image) -> Predictor:
    """The predictor for one image; itself, unless its recipe asks for a fit.

    Images of more than a million voxels are judged by the part with the highest contrast.

    Raises:
        DataError: the image does not fit the model or cannot be read.
        RecipeError: the task has no probability of being in an object.
    """
    if not predictor.fit:
        return predictor
    plain, view = replace(predictor, fit=()), predictor.view
    doubting = SIZE in predictor.fit
    sample = choose_sample(image)
    # Mirrored views change scores a little, and sizes of objects hardly.
    trials = try_scales(
        replace(plain, views=ONE_VIEW),
        sample,
        SCALES if SCALE in predictor.fit else (1.0,),
        doubting=doubting,
    )
    chosen = choose_trial(trials) if doubting else choose_stable(trials)
    across = chosen.diameter_in_view / view.factor
    view = view.resized(chosen.scale)
    origin, scale = plain.origin, 1.0 if view.scale is None else view.scale
    if origin is not None:
        # Another process makes the same predictor from these.
        known = [f"infer.scale={list(scale) if isinstance(scale, tuple) else scale}"]
        known += [f"task.doubtful_size={chosen.small}"] if doubting else []
        origin = replace(origin, settings=(*origin.settings, *known, "infer.fit=false"))
    return replace(
        plain,
        task=complete(plain.task).doubting(chosen.small) if doubting else plain.task,
        view=view,
        origin=origin,
        notes={**plain.notes, "fit": {"scale": view.factor, "diameter": round(across, 1)}},
        # A trial on the whole image has its scores already.
        known=(image, chosen.scores)
        if sample.shape == image.shape and plain.views == ONE_VIEW
        else None,
    )


def fit_to_stack(predictor: Predictor, stack: Image) -> Predictor:
    """The predictor for all positions of a stack or movie, fitted to the one in the middle."""
    if not predictor.fit:
        return predictor
    lengths = stack.shape[1 : 1 + len(lead_axes(stack, predictor.ndim))]
    return fit_predictor(predictor, plane_of(stack, [length // 2 for length in lengths]))


def describe_fit(given: Predictor, fitted: Predictor) -> str | None:
    """What was chosen for an image, for the user; None: it is seen at its size."""
    if SCALE not in given.fit:
        return None
    scale, found = fitted.notes["fit"]["scale"], fitted.notes["fit"]["diameter"]
    if scale == given.view.factor:
        return None
    unit = "pixels" if fitted.ndim < 3 else "voxels"
    usual = "the size" if given.view.factor == 1 else "the scale of the training"
    return (
        f"objects of about {found:.0f} {unit} across fit the model at {scale:g} times the size of "
        f"the image (--set infer.scale={given.view.factor:g} keeps {usual})."
    )


def choose_trial(trials: Iterator[Trial]) -> Trial:
    """The trial whose scale fits best, see above; trials are made as far as they are needed."""
    # The metrics are not needed by a predictor that is not fitted.
    from unmask.metrics.instance import f1

    best = finest = before = next(trials)
    for trial in trials:
        agreement = f1(before.labels, trial.labels)
        settled = agreement >= _SETTLED and before.diameter <= _LARGEST
        grown = trial.diameter_in_view > _GROWN * before.diameter_in_view
        if agreement < _AGREE or settled or grown:
            break
        before = trial
        if trial.diameter >= _SMALLEST and trial.sureness >= finest.sureness - _LESS_SURE:
            best = trial
    return best


def choose_stable(trials: Iterator[Trial]) -> Trial:
    """The first trial that finds the objects of the one before it, see above; else the first."""
    from unmask.metrics.instance import f1

    first = before = next(trials)
    for trial in trials:
        if f1(before.labels, trial.labels) >= _SAME:
            same = trial if trial.diameter >= _SMALLEST else before
            enough = min(before.count, trial.count) >= _FEWEST
            larger = before is not first and same.covered >= _COVERED * first.covered
            return same if enough and larger else first
        before = trial
    return first


def choose_sample(image: Image) -> Image:
    """The part of an image that decides: all of it, or a box with a high contrast."""
    image, space = hold_whole(image), image.shape[1:]
    edge = max(1, int(_SAMPLE ** (1 / len(space))))
    if prod(space) <= _SAMPLE:
        return image
    lengths = [min(n, edge) for n in space]
    starts = (sorted({0, (n - m) // 2, n - m}) for n, m in zip(space, lengths, strict=True))
    boxes = [
        Box(start, tuple(a + m for a, m in zip(start, lengths, strict=True)))
        for start in product(*starts)
    ]
    return cut_image(image, max(boxes, key=lambda box: float(np.std(image.read(box)))))


def try_scales(
    predictor: Predictor, image: Image, scales: Sequence[float], *, doubting: bool
) -> Generator[Trial, None, None]:
    """Predict an image at each scale; labels are on the grid of the image."""
    for scale in scales:
        own = replace(predictor, view=predictor.view.resized(scale))
        place = own.view.place(image)
        scores = own.score_seen(place.seen(image))
        sureness = complete(own.task).sureness(scores)
        if sureness is None:
            raise RecipeError(
                message(
                    "infer.fit",
                    expected="a task with a foreground score, flows",
                    found=type(own.task).__name__.lower(),
                    do="Leave it out (--set infer.fit=false).",
                )
            )
        labels = compact(complete(own.task).answer(scores, image.spacing).labels)
        small = round(_SMALL * typical_size(labels)) if doubting else 0
        doubtful = find_doubtful(labels, sureness, size=small, sure=_SURE)
        labels = np.where(doubtful[labels], 0, labels).astype(np.int32)
        seen = labels > 0
        yield Trial(
            scale,
            np.ascontiguousarray(place.back(labels)),
            typical_size(labels),
            small,
            float(sureness[seen].mean()) if seen.any() else 0.0,
            scores,
        )
