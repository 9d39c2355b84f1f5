"""Fit a predictor to an image unlike those of its training: its scale, and what is too small.

A network that has learned objects of some sizes cuts larger ones into pieces and takes specks for
objects. Coarser images have neither. The scale is chosen without any label, from the finest to the
coarsest: a coarser one is taken as long as

- its objects have a similar outline to those of the scale before it (F1 at IoU 0.5), but not so
  similar that nothing is to be gained,
- its objects are not much larger in the image than those of the scale before it,
- its objects are not smaller on the network's grid than what the network can outline, and
- the network is about as sure of them as at the finest scale.

At the chosen scale, objects of less than half the typical size that the network is not sure of are
removed. The limits were chosen on training images of five sets (fluorescent nuclei, phase contrast,
germline nuclei, worms, bacteria) with the shipped models; see `docs/results/starting-weights.md`.
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
from unmask.io.stacks import lead_axes, plane_of
from unmask.labels.doubtful import find_doubtful, typical_size
from unmask.labels.dropped import diameter
from unmask.labels.relabeling import compact
from unmask.space.box import Box
from unmask.tasks.complete import complete

if TYPE_CHECKING:
    from unmask.infer.predictor import Predictor
    from unmask.io import Image

# Scales that are tried, in this order.
SCALES = (1.0, 0.7, 0.5, 0.35, 0.25)
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
# Voxels of the part of an image that decides.
_SAMPLE = 1 << 20


@dataclass(frozen=True)
class Trial:
    """What was found at one scale.

    Attributes:
        scale: that was tried.
        labels: ``(*space)`` of the sample, without doubtful objects.
        typical: typical size of its objects in voxels of the network's grid.
        small: objects of fewer voxels of this grid were removed if they were doubtful.
        sureness: mean probability of the voxels of all objects.
    """

    scale: float
    labels: NDArray[np.int32]
    typical: float
    small: int
    sureness: float

    @property
    def diameter(self) -> float:
        """Diameter of the typical object on the network's grid."""
        return float(diameter(self.typical, self.labels.ndim))

    @property
    def diameter_in_image(self) -> float:
        """Diameter of the typical object in voxels of the image."""
        return self.diameter / self.scale


def fit_predictor(predictor: Predictor, image: Image) -> Predictor:
    """The predictor for one image; itself, unless its recipe asks for a fit.

    Images of more than a million voxels are judged by the part with the highest contrast.

    Raises:
        DataError: the image does not fit the model or cannot be read.
        RecipeError: the task has no probability of being in an object.
    """
    if not predictor.fit:
        return predictor
    plain = replace(predictor, fit=False)
    scales = SCALES if predictor.view.scale is None else (predictor.view.scale,)
    chosen = choose_trial(_trials(plain, choose_sample(image), scales))
    size, across = chosen.small, chosen.diameter_in_image
    origin, scale = plain.origin, scales[0] if len(scales) == 1 else chosen.scale
    if origin is not None:
        # Another process makes the same predictor from these.
        known = (f"infer.scale={scale}", f"task.doubtful_size={size}", "infer.fit=false")
        origin = replace(origin, settings=(*origin.settings, *known))
    return replace(
        plain,
        task=complete(plain.task).doubting(size),
        view=plain.view if scale == 1 else replace(plain.view, scale=scale),
        origin=origin,
        notes={**plain.notes, "fit": {"scale": scale, "diameter": round(across, 1)}},
    )


def fit_to_stack(predictor: Predictor, stack: Image) -> Predictor:
    """The predictor for all positions of a stack or movie, fitted to the one in the middle."""
    if not predictor.fit:
        return predictor
    lengths = stack.shape[1 : 1 + len(lead_axes(stack, predictor.ndim))]
    return fit_predictor(predictor, plane_of(stack, [length // 2 for length in lengths]))


def describe_fit(given: Predictor, fitted: Predictor) -> str | None:
    """What was chosen for an image, for the user; None: it is seen at its size."""
    if not given.fit or given.view.scale is not None:
        return None
    scale, found = fitted.notes["fit"]["scale"], fitted.notes["fit"]["diameter"]
    if scale == 1:
        return None
    unit = "pixels" if fitted.ndim < 3 else "voxels"
    return (
        f"objects of about {found:.0f} {unit} across fit the model at {scale:g} times the size of "
        "the image (--set infer.scale=1 keeps the size)."
    )


def choose_trial(trials: Iterator[Trial]) -> Trial:
    """The trial whose scale fits best, see above; trials are made as far as they are needed."""
    # The metrics are not needed by a predictor that is not fitted.
    from unmask.metrics.instance import f1

    best = finest = before = next(trials)
    for trial in trials:
        agreement = f1(before.labels, trial.labels)
        settled = agreement >= _SETTLED and before.diameter <= _LARGEST
        grown = trial.diameter_in_image > _GROWN * before.diameter_in_image
        if agreement < _AGREE or settled or grown:
            break
        before = trial
        if trial.diameter >= _SMALLEST and trial.sureness >= finest.sureness - _LESS_SURE:
            best = trial
    return best


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


def _trials(
    predictor: Predictor, image: Image, scales: Sequence[float | tuple[float, ...]]
) -> Generator[Trial, None, None]:
    """Predict an image at each scale; labels are on the grid of the image."""
    for scale in scales:
        own = replace(predictor, view=replace(predictor.view, scale=scale))
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
        small = round(_SMALL * typical_size(labels))
        doubtful = find_doubtful(labels, sureness, size=small, sure=_SURE)
        labels = np.where(doubtful[labels], 0, labels).astype(np.int32)
        seen = labels > 0
        yield Trial(
            scale if isinstance(scale, float) else 1.0,
            np.ascontiguousarray(place.back(labels)),
            typical_size(labels),
            small,
            float(sureness[seen].mean()) if seen.any() else 0.0,
        )
