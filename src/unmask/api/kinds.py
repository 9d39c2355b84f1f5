"""What label images show, objects or classes, and doubts about comparing one with the other.

A label value is the number of an object in one file and of a class in another, and nothing in a
file says which. So the metrics are chosen by all truth images together, the reason is reported, and
pairs of which one side looks like objects and the other like classes are named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from unmask.io.pictures import CLASSES, looks_like_picture
from unmask.labels.components import connected_components
from unmask.metrics import INSTANCE, METRICS, SEMANTIC, Metric, find_metric
from unmask.metrics.metric import Kind
from unmask.wording import format_count

# An object has one piece, or a few if the image cuts it. Beyond this mean number of pieces per id
# ids are classes.
_PIECES = 2
# Up to so many different ids in all images nobody numbers objects.
_FEW = 2
# So many images with exactly the same ids show classes.
_SAME = 3
_NAMED = 3
_APART = "have nothing in common"
# Side of the part that is looked at for gray values of a picture.
_SIDE = 512


@dataclass(frozen=True)
class Look:
    """What one label image looks like.

    Attributes:
        ids: values other than background.
        pieces: connected pieces of one id each.
    """

    ids: tuple[int, ...]
    pieces: int

    @property
    def scattered(self) -> bool:
        """Whether there are clearly more pieces than ids, as in a mask of classes."""
        return self.pieces > _PIECES * len(self.ids)


def look_at(labels: np.ndarray, ignore: int | None = None) -> Look:
    """Ids and pieces of a label image ``(*space)``."""
    known = labels if ignore is None else np.where(labels == ignore, 0, labels)
    pieces = int(connected_components(known, connectivity=1).max(initial=0))
    return Look(tuple(_ids(known).tolist()), pieces)


def choose_metrics(looks: Iterable[Look]) -> tuple[tuple[str, ...], str]:
    """Metrics for truth that looks like this, and the reason.

    Args:
        looks: of every truth image.

    Returns:
        `INSTANCE` or `SEMANTIC`, and a sentence.
    """
    shown = [look for look in looks if look.ids]
    different = {value for look in shown for value in look.ids}
    ids, pieces = sum(len(look.ids) for look in shown), sum(look.pieces for look in shown)
    values, images = format_count(len(different), "label value"), format_count(len(shown), "image")
    counts = f"{format_count(pieces, 'piece')} of {values} in {images}"
    alike = len({look.ids for look in shown}) == 1
    if not shown:
        return SEMANTIC, "no truth image has a label"
    if len(different) <= _FEW:
        return SEMANTIC, f"truth has {counts}: too few values for numbered objects"
    if pieces > _PIECES * ids:
        return SEMANTIC, f"truth has {counts}: values come in many pieces, as classes do"
    if alike and len(shown) >= _SAME:
        return SEMANTIC, f"truth has {counts}: all images have the same values, as classes do"
    return INSTANCE, f"truth has {counts}: nearly every value is one piece, as objects are"


def reason_note(names: Sequence[str], reason: str) -> str:
    """Sentence about metrics that were chosen."""
    kind, other, example = "classes", "objects", "f1@0.5,aji"
    if tuple(names) == INSTANCE:
        kind, other, example = other, kind, "dice,iou"
    return f"compared as {kind}, because {reason}. For {other} give --metrics {example}."


@dataclass
class Doubts:
    """Collects doubts about pairs and tells them in few lines.

    Attributes:
        metrics: by name, those that are computed.
        ignore: value of the truth that counts nowhere.
        names: names of images by sentence.
        values: values of all truths, and of all predictions; 0 is one of them.
    """

    metrics: Sequence[str]
    ignore: int | None = None
    names: dict[str, list[str]] = field(default_factory=dict)
    values: tuple[set[int], set[int]] = field(default_factory=lambda: (set(), set()))

    def look(self, name: str, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Compare what both sides of a pair look like."""
        kinds = _kinds(self.metrics)
        for values, labels in zip(self.values, (truth, predicted), strict=True):
            values.update(_ids(labels).tolist(), [0] if (labels == 0).any() else ())
        if self.ignore is not None:
            truth = np.where(truth == self.ignore, 0, truth)
        here, there = _ids(truth), _ids(predicted)
        for side, ids, labels in (("truth", here, truth), ("prediction", there, predicted)):
            if ids.size and looks_like_picture(_middle(labels)):
                self._add(
                    name,
                    f"the values of the {side} change from pixel to pixel, as in a picture: is it "
                    "an image instead of labels?",
                )
        if here.size and there.size:
            if "instance" in kinds:
                self._objects(name, (truth, predicted), (here, there), kinds["instance"])
            if "semantic" in kinds:
                self._classes(name, here, there, kinds["semantic"])
        elif here.size and {"voi", "arand"} & {base.partition("_")[0] for base in self.metrics}:
            self._add(name, "the prediction is empty; voi and arand take it for one segment")

    def notes(self) -> list[str]:
        """One line for each kind of doubt."""
        shifted = self._other_numbers()
        return shifted + [
            f"{', '.join(names[:_NAMED])}"
            f"{f' and {len(names) - _NAMED} more' if len(names) > _NAMED else ''}: {sentence}"
            for sentence, names in self.names.items()
            # The line about all images says the same, and what to do.
            if not (shifted and _APART in sentence)
        ]

    def _other_numbers(self) -> list[str]:
        """Classes that each side has and the other lacks in all images: they are numbered apart."""
        truth, predicted = (values - {self.ignore} for values in self.values)
        own = "semantic" in _kinds(self.metrics) and len(predicted) <= len(truth) <= CLASSES
        if not (own and truth - predicted and predicted - truth):
            return []
        here, there = (_list_ids(np.array(sorted(values))) for values in (predicted, truth))
        return [
            f"the prediction has the classes {here}, the truth {there} (0: background): their "
            "numbers differ, and metrics compare equal numbers. Give --mapping one_to_one, which "
            "assigns them to each other by their overlap, or renumber one side."
        ]

    def _objects(
        self,
        name: str,
        sides: tuple[np.ndarray, np.ndarray],
        ids: tuple[np.ndarray, np.ndarray],
        metrics: Sequence[str],
    ) -> None:
        """One side has few ids in many pieces, the other has many ids."""
        titles = ("truth", "prediction")
        for own, other in ((0, 1), (1, 0)):
            if len(ids[own]) > _FEW or len(ids[other]) <= len(ids[own]):
                continue
            pieces = int(connected_components(sides[own], connectivity=1).max(initial=0))
            if pieces > _PIECES * len(ids[own]):
                self._add(
                    name,
                    f"the {titles[own]} has {_list_ids(ids[own])} in {pieces} separate pieces, the "
                    f"{titles[other]} {len(ids[other])} ids: is it a mask of classes? "
                    f"{', '.join(metrics)} compare numbered objects",
                )

    def _classes(
        self, name: str, truth: np.ndarray, predicted: np.ndarray, metrics: Sequence[str]
    ) -> None:
        both = (
            f"classes {_list_ids(predicted)} of the prediction and {_list_ids(truth)} of the truth"
        )
        if not np.intersect1d(truth, predicted).size:
            self._add(name, f"{both} {_APART} (metrics of classes: {', '.join(metrics)})")
        elif min(len(truth), len(predicted)) <= _FEW < 2 * _FEW < max(len(truth), len(predicted)):
            self._add(
                name,
                f"{both}: does one side number objects? (metrics of classes: {', '.join(metrics)})",
            )

    def _add(self, name: str, sentence: str) -> None:
        self.names.setdefault(sentence, []).append(name)


def _kinds(names: Sequence[str]) -> Mapping[Kind, list[str]]:
    found: dict[Kind, list[str]] = {}
    for name in names:
        metric: Metric = find_metric(name, METRICS)
        found.setdefault(metric.kind, []).append(name)
    return found


def _middle(labels: np.ndarray) -> np.ndarray:
    """The middle of the middle plane, which shows what the whole looks like."""
    plane = labels.reshape(-1, *labels.shape[-2:])
    plane = plane[len(plane) // 2]
    starts = (max(0, (n - _SIDE) // 2) for n in plane.shape)
    return plane[tuple(slice(start, start + _SIDE) for start in starts)]


def _ids(labels: np.ndarray) -> np.ndarray:
    """Values other than 0, ascending."""
    if labels.size and labels.dtype.kind in "bui" and int(labels.min()) >= 0:
        top = int(labels.max())
        if top <= max(1 << 16, labels.size):
            found = np.zeros(top + 1, bool)
            found[labels] = True
            found[0] = False
            return np.flatnonzero(found)
    values = np.unique(labels)
    return values[values != 0]


def _list_ids(ids: np.ndarray) -> str:
    """Few ids as they are, many as a range."""
    if len(ids) > 3 and int(ids[-1]) - int(ids[0]) == len(ids) - 1:
        return f"{ids[0]}..{ids[-1]}"
    shown = ", ".join(str(value) for value in ids[:3].tolist())
    return shown if len(ids) <= 3 else f"{shown}, ... ({len(ids)} values)"
