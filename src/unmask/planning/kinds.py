"""Do label values number objects or classes? Evidence is collected and weighed, never assumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np

from unmask.planning.image_facts import ImageFacts
from unmask.planning.label_facts import LabelImage

# More values than a set of classes usually has; 117 classes of one public atlas are the exception.
_MANY, _VERY_MANY = 24, 150
# So few values may happen to be missing from an image.
_FEW = 4
# Classes lie at similar places in images that are aligned, such as organs.
_SAME_PLACE, _ANY_PLACE = 0.10, 0.18
_WIDE = 0.6
# Below this value an image without negative sources is a CT scan in Hounsfield units.
_AIR = -500


@dataclass(frozen=True)
class Verdict:
    """Whether labels are classes, and why.

    Attributes:
        classes: values are classes; otherwise they number objects.
        weight: sum of the evidence; positive for classes.
        reasons: the evidence in words, strongest first.
        aligned: values keep their places from image to image.
        against: the evidence for the opposite, strongest first.
    """

    # The weight of evidence from which a verdict is called sure.
    SURE: ClassVar[int] = 3

    classes: bool
    weight: float
    reasons: tuple[str, ...]
    aligned: bool = False
    against: tuple[str, ...] = ()

    @property
    def sure(self) -> bool:
        """Whether the evidence is strong."""
        return abs(self.weight) >= self.SURE


def classes_or_objects(labels: Sequence[LabelImage], images: ImageFacts) -> Verdict:
    """Weigh what label values say about classes (positive) and objects (negative)."""
    seen = [one for one in labels if len(one.ids)]
    places = _places(seen)
    votes = [*_counts(seen), *_sets(seen), *_pieces(seen), *places, *_sizes(seen)]
    if images.minimum <= _AIR and images.ndim > 2:
        votes.append((4.0, "intensities are Hounsfield units of CT, labels of which are organs"))
    votes.sort(key=lambda vote: -abs(vote[0]))
    weight = sum(vote for vote, _ in votes)
    reasons = tuple(text for vote, text in votes if vote and (vote > 0) == (weight > 0))
    against = tuple(text for vote, text in votes if vote and (vote > 0) != (weight > 0))
    aligned = any(vote > 0 for vote, _ in places)
    return Verdict(weight > 0, weight, reasons, aligned, against)


def all_values(labels: Sequence[LabelImage]) -> np.ndarray:
    """Every value other than 0 that occurs."""
    return np.unique(np.concatenate([np.zeros(0, np.int64), *(one.ids for one in labels)]))


_Votes = list[tuple[float, str]]


def _counts(seen: Sequence[LabelImage]) -> _Votes:
    count = len(all_values(seen))
    if count > _VERY_MANY:
        return [(-4.0, f"{count} different label values are too many for classes")]
    if count > _MANY:
        return [(-2.0, f"{count} different label values are many for classes")]
    if count == 0:
        return []
    if count == 1:
        return [(2.0, "there is one label value besides 0")]
    return [(0.5, f"there are {count} label values besides 0")]


def _sets(seen: Sequence[LabelImage]) -> _Votes:
    """Classes recur from image to image; ids count from 1 to another number in each."""
    if len(seen) < 2:
        return []
    sets = [frozenset(one.ids.tolist()) for one in seen]
    counting = np.mean([max(one) == len(one) for one in sets])
    lengths = {len(one) for one in sets}
    if counting >= 0.8 and len(lengths) > 1 and max(lengths) > _FEW:
        return [(-2.0, "the values count from 1 to another number in each image")]
    shared = float(np.mean([len(a & b) / len(a | b) for a, b in pairwise(sets)]))
    if shared >= 0.8:
        return [(2.0, f"{shared:.0%} of the values recur from image to image")]
    return []


def _pieces(seen: Sequence[LabelImage]) -> _Votes:
    """A class has several pieces, an object has one."""
    if not seen:
        return []
    pieces = np.concatenate([one.pieces for one in seen])
    several = float(np.mean(pieces > 1))
    if several >= 0.5:
        return [(3.0, f"{several:.0%} of the values are in several pieces within one image")]
    if several <= 0.2 and max(len(one.ids) for one in seen) >= 3:
        return [(-1.5, f"{1 - several:.0%} of the values are one connected piece each")]
    return []


def _places(seen: Sequence[LabelImage]) -> _Votes:
    """In aligned images, such as scans of one organ, a class keeps its place."""
    by_value: dict[int, list[np.ndarray]] = {}
    for one in seen:
        # What reaches over most of the image has its center in the middle, wherever it lies.
        small = (one.extents < _WIDE * one.space).all(axis=1)
        for value, center in zip(one.ids[small].tolist(), one.centers[small], strict=True):
            by_value.setdefault(value, []).append(center)
    spreads = [np.std(each, axis=0).mean() for each in by_value.values() if len(each) >= 3]
    if not spreads:
        return []
    scatter = float(np.median(spreads))
    if scatter <= _SAME_PLACE:
        return [(2.0, f"a value keeps its place (it scatters by {scatter:.0%} of the image)")]
    if scatter >= _ANY_PLACE:
        return [(-0.5, f"a value is anywhere (it scatters by {scatter:.0%} of the image)")]
    return []


def _sizes(seen: Sequence[LabelImage]) -> _Votes:
    """Objects of one image have similar sizes; classes need not."""
    spreads = [np.std(np.log(one.sizes)) for one in seen if len(one.ids) >= 3]
    if not spreads:
        return []
    spread = float(np.median(spreads))
    if spread < 0.7:
        return [(-1.0, f"sizes within an image are similar (factor {np.exp(spread):.1f})")]
    if spread > 1.1:
        return [(0.5, f"sizes within an image differ (factor {np.exp(spread):.1f})")]
    return []
