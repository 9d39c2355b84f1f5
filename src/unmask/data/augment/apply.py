"""Augmentation: what a random change of a sample is, and how several are put together.

Every part separates chance from action: ``draw`` takes all random numbers of one sample from the
generator it is given, ``apply`` is a pure function of images and drawn parameters. So a sample can
be repeated exactly, on any number of workers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from unmask.data.warp import center
from unmask.errors import DataError, RecipeError


@runtime_checkable
class Augmentation(Protocol):
    """A random change of intensities; a frozen dataclass whose fields are its options."""

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> Any:
        """Parameters for one sample ``shape = (C, *space)``; None leaves the sample alone."""
        ...

    def apply(self, images: Tensor, params: Sequence[Any]) -> Tensor:
        """Changed images ``(B, C, *space)``, float32, on their device; the input stays as it is."""
        ...


@runtime_checkable
class LabeledAugmentation(Protocol):
    """A random change of intensities that depends on the objects."""

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> Any:
        """Parameters for one sample ``shape = (C, *space)``; None leaves the sample alone."""
        ...

    def apply_labeled(self, images: Tensor, labels: Tensor, params: Sequence[Any]) -> Tensor:
        """Changed images ``(B, C, *space)`` of objects ``(B, *space)``."""
        ...


@runtime_checkable
class Resampler(Protocol):
    """A random change of geometry, of images and labels alike, done as one resampling."""

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> Any:
        """Parameters for one sample whose result has ``shape = (C, *space)``."""
        ...

    def read_shape(self, crop: Sequence[int]) -> tuple[int, ...]:
        """Region to read around the center of a crop so that the warped crop is filled."""
        ...

    def resample(
        self, images: Tensor, labels: Tensor | None, params: Sequence[Any], *, crop: Sequence[int]
    ) -> tuple[Tensor, Tensor | None]:
        """New images ``(B, C, *crop)`` and labels ``(B, *crop)`` out of the regions read."""
        ...


@runtime_checkable
class MixingAugmentation(Protocol):
    """A random change that mixes a sample with other samples of the batch.

    A sample with the parameters None does not depend on its batch.
    """

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> Any:
        """Parameters for one sample ``shape = (C, *space)``; None leaves the sample alone."""
        ...

    def mix(self, images: Tensor, labels: Tensor, params: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """New images ``(B, C, *space)`` and labels ``(B, *space)``; the input stays as it is."""
        ...


Part = Augmentation | LabeledAugmentation | Resampler | MixingAugmentation
_Action = Callable[[Tensor, Tensor | None, Sequence[Any]], Tensor]


def read_shape(crop: Sequence[int], parts: Sequence[Part]) -> tuple[int, ...]:
    """Region that ``augment`` needs to be given for a result of size ``crop``."""
    resampler, _, _ = _divide(parts)
    return tuple(crop) if resampler is None else resampler.read_shape(crop)


def augment(
    images: Tensor,
    labels: Tensor | None,
    rngs: Sequence[np.random.Generator],
    *,
    crop: Sequence[int],
    parts: Sequence[Part],
) -> tuple[Tensor, Tensor | None]:
    """Change a batch at random: geometry, mixing of samples, intensities in the order of ``parts``.

    Args:
        images: ``(B, C, *read)`` float32.
        labels: ``(B, *read)`` int64, or None.
        rngs: one generator for each sample; it alone decides what happens to the sample.
        crop: size of the result along each spatial axis.
        parts: augmentations, among them at most one that changes the geometry. Without one the
            center is cut out.

    Returns:
        Images ``(B, C, *crop)`` and labels ``(B, *crop)`` (or None).

    Raises:
        DataError: shapes that do not fit together.
        RecipeError: two geometric parts, or one that needs labels where there are none.
    """
    _check(images, labels, rngs, crop)
    resampler, mixers, others = _divide(parts)
    shape = (images.shape[1], *crop)
    # Every sample draws for all parts in turn, so a batch is the sum of its samples.
    drawn = [
        (
            resampler.draw(rng, shape) if resampler else None,
            [part.draw(rng, shape) for part in mixers],
            [part.draw(rng, shape) for part in others],
        )
        for rng in rngs
    ]
    if resampler is None:
        images, labels = center(images, crop), None if labels is None else center(labels, crop)
    else:
        geometry = [params for params, _, _ in drawn]
        images, labels = resampler.resample(images, labels, geometry, crop=crop)
    for number, part in enumerate(mixers):
        images, labels = _mix(part, images, labels, [params[number] for _, params, _ in drawn])
    if not others:
        return images, labels
    intensity = [params for _, _, params in drawn]
    actions = [_action(part) for part in others]
    if images.device.type != "cpu":
        return _intensities(images, labels, actions, intensity), labels
    # Sample by sample the data stays in the processor's cache from part to part. What a resampler
    # returns is ours to overwrite.
    ours = resampler is not None and not mixers
    result = images if ours else torch.empty_like(images)
    for b in range(len(images)):
        one = slice(b, b + 1)
        own = None if labels is None else labels[one]
        result[one] = _intensities(images[one], own, actions, intensity[one])
    return result, labels


def _mix(
    part: MixingAugmentation, images: Tensor, labels: Tensor | None, params: Sequence[Any]
) -> tuple[Tensor, Tensor]:
    if labels is None:
        raise _without_labels(part)
    return part.mix(images, labels, params)


def _without_labels(part: Part) -> RecipeError:
    return RecipeError(
        f"augmentation {type(part).__name__}: expected labels, found none. "
        "Leave it out of data.augment for images without labels."
    )


def _intensities(
    images: Tensor,
    labels: Tensor | None,
    actions: Sequence[_Action],
    drawn: Sequence[Sequence[Any]],
) -> Tensor:
    """All intensity parts in order; ``drawn`` holds a list over the parts for each sample."""
    for number, act in enumerate(actions):
        params = [of_sample[number] for of_sample in drawn]
        if any(values is not None for values in params):
            images = act(images, labels, params)
    return images


def _action(part: Augmentation | LabeledAugmentation) -> _Action:
    """The part's ``apply`` in the form that takes labels."""
    if not isinstance(part, LabeledAugmentation):
        return lambda images, _, params: part.apply(images, params)

    def act(images: Tensor, labels: Tensor | None, params: Sequence[Any]) -> Tensor:
        if labels is None:
            raise _without_labels(part)
        return part.apply_labeled(images, labels, params)

    return act


def _divide(
    parts: Sequence[Part],
) -> tuple[Resampler | None, list[MixingAugmentation], list[Augmentation | LabeledAugmentation]]:
    geometric = [part for part in parts if isinstance(part, Resampler)]
    if len(geometric) > 1:
        raise RecipeError(
            f"data.augment: expected at most one geometric part, found {len(geometric)}. "
            "Join their options in one, so that images are resampled once."
        )
    mixing = [part for part in parts if isinstance(part, MixingAugmentation)]
    others = [part for part in parts if not isinstance(part, Resampler | MixingAugmentation)]
    return (geometric[0] if geometric else None), mixing, others


def _check(
    images: Tensor,
    labels: Tensor | None,
    rngs: Sequence[np.random.Generator],
    crop: Sequence[int],
) -> None:
    fits = images.ndim == len(crop) + 2 and len(images) == len(rngs)
    if labels is not None:
        fits = fits and labels.shape == (images.shape[0], *images.shape[2:])
    if not fits:
        raise DataError(
            f"augment: expected images (B, C, *read) with {len(crop)} spatial axes, labels "
            f"(B, *read) and one generator for each sample, found images {tuple(images.shape)}, "
            f"labels {None if labels is None else tuple(labels.shape)}, {len(rngs)} generators. "
            "Give arrays of one batch."
        )
