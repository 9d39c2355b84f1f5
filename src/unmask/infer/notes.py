"""Notes for the user on labels of an image: dropped foreground, objects of unexpected size.

Facts are whole numbers that add up over the blocks of an image; notes are sentences made of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod

import numpy as np
from jaxtyping import Float

from unmask.data.diameters import ObjectDiameters
from unmask.data.grid import Place
from unmask.errors import DataError
from unmask.io import Image, smallest_uint
from unmask.labels.dropped import Region, Tally, diameter
from unmask.labels.objects import find_objects
from unmask.labels.relabeling import compact
from unmask.profiling import stage
from unmask.space.box import Box
from unmask.tasks.base import Answer, Task
from unmask.tasks.complete import complete
from unmask.wording import format_count, format_part

Facts = dict[str, int]
# An object is far smaller than those of the training if its diameter is so many times below that of
# the smallest 5 %, and far larger if it is so many times above that of the largest 5 %: training
# resizes crops by less.
_SMALLER, _LARGER = 2.0, 1.5
# Above this share of the objects and of their voxels, the size of the objects is doubted.
_MANY = 0.5
# Bytes of scores that are on the grid of an image at once.
_SLAB_BYTES = 64 << 20


def decode_scores(
    task: Task,
    scores: Float[np.ndarray, "s *space"],
    image: Image,
    *,
    region: Region | None = None,
    trained: ObjectDiameters | None = None,
) -> tuple[Answer, Facts]:
    """The answer of the scores of an image or of a part of it, and the facts behind its notes.

    Args:
        task: decodes.
        scores: joined scores.
        image: the image they belong to.
        region: the part that counts; None: everything.
        trained: sizes of the objects that the model was trained on, if known.

    Raises:
        DataError: scores that cannot be decoded; names the image.
    """
    tally = Tally(region)
    try:
        with stage("decoding"):
            answer = complete(task).answer(scores, image.spacing, tally)
    except DataError as error:
        raise DataError(f"{image.source}: {error}") from error
    if task.context and trained is not None and answer.classes is None:
        _count_sizes(answer.labels, trained, tally)
    return answer, tally.counts


def is_voxelwise(task: Task) -> bool:
    """Whether every voxel is labeled by its own scores, so that scores can be resampled first."""
    return task.context == 0 and not complete(task).image_classes


def decode_image(
    task: Task,
    scores: Float[np.ndarray, "s *space"],
    image: Image,
    place: Place,
    *,
    trained: ObjectDiameters | None = None,
) -> tuple[Answer, Facts]:
    """As `decode_scores` for a whole image, with labels on the image's own grid.

    If every voxel is labeled alone, its scores are interpolated on that grid first: they know where
    between two voxels of the network's grid a border is, which labels do not (Dice of small organs
    at half the resolution: 0.995 instead of 0.976). Objects are resampled as labels: directions and
    distances count voxels of the network's grid.

    Args:
        task: decodes.
        scores: joined scores on the network's grid.
        image: the image on its own grid.
        place: what the network saw of it.
        trained: sizes of the objects that the model was trained on, if known.

    Raises:
        DataError: scores that cannot be decoded; names the image.
    """
    if place.still or not is_voxelwise(task):
        answer, facts = decode_scores(task, scores, place.seen(image), trained=trained)
        with stage("decoding"):
            return replace(answer, labels=place.back(smallest_uint(answer.labels))), facts
    parts: list[np.ndarray] = []
    total = Counter[str]()
    # In slabs: the scores of a CT with 14 classes take gigabytes on its own grid.
    line = scores.itemsize * len(scores) * prod(place.whole[1:])
    thick = max(1, _SLAB_BYTES // line)
    for start in range(0, place.whole[0], thick):
        rest = place.whole[1:]
        stop = min(start + thick, place.whole[0])
        slab = Box((start, *(0 for _ in rest)), (stop, *rest))
        labels, facts = decode_part(task, lambda box: scores[:, *box.slices], image, place, slab)
        parts.append(labels)
        total.update(facts)
    return Answer(smallest_uint(np.concatenate(parts))), dict(total)


def decode_part(
    task: Task,
    read: Callable[[Box], np.ndarray],
    image: Image,
    place: Place,
    box: Box,
) -> tuple[np.ndarray, Facts]:
    """Labels in a box of an image from scores interpolated on its grid; 0 outside the part seen.

    Args:
        task: labels every voxel by its own scores.
        read: gives the scores in a box of the network's grid.
        image: the image on its own grid.
        place: what the network sees of it.
        box: of the image.

    Raises:
        DataError: scores that cannot be decoded; names the image.
    """
    inside = box.clip(place.box)
    if inside.size == 0:
        return np.zeros(box.shape, np.uint8), {}
    scores = read(place.cover(inside))
    with stage("decoding"):
        scores = place.interpolate_scores(scores, inside)
    answer, facts = decode_scores(task, scores, image)
    labels = np.zeros(box.shape, answer.labels.dtype)
    labels[inside.relative_to(box).slices] = answer.labels
    return labels, facts


def _count_sizes(labels: np.ndarray, trained: ObjectDiameters, tally: Tally) -> None:
    """Count the objects, and those that are far smaller or larger than the training objects."""
    objects = find_objects(compact(labels))
    here = np.ones(len(objects), bool)
    if tally.region is not None:
        here = tally.region.holds(objects.start)
    size = objects.size[here]
    across = diameter(size, labels.ndim)
    kinds = {
        "objects": np.ones(len(size), bool),
        "smaller": across < trained.low / _SMALLER,
        "larger": across > trained.high * _LARGER,
    }
    tally.add({name: np.count_nonzero(chosen) for name, chosen in kinds.items()})
    tally.add({f"{name}.voxels": size[chosen].sum() for name, chosen in kinds.items()})


class DroppedNote(str):
    """A note on foreground that was dropped.

    Attributes:
        source: the image, if known.
        share: of the foreground, 0 to 1.
    """

    __slots__ = ("share", "source")
    source: str
    share: float

    @classmethod
    def of(cls, text: str, share: float, source: str = "") -> DroppedNote:
        """A note of this text."""
        note = cls(text)
        note.share, note.source = share, source
        return note


def name_image(note: str, source: str) -> str:
    """The note with the name of its image in front."""
    text = f"{source}: {note}"
    return DroppedNote.of(text, note.share, source) if isinstance(note, DroppedNote) else text


@dataclass(frozen=True)
class _Reader:
    """What the sentences of one image need."""

    facts: Mapping[str, int]
    place: Place
    trained: ObjectDiameters | None

    @property
    def unit(self) -> str:
        return "pixels" if len(self.place.whole) < 3 else "voxels"

    def diameter(self, kind: str) -> float:
        """Diameter of the mean object of a kind ("smaller", "larger"), on the network's grid."""
        count, voxels = self.facts.get(kind, 0), self.facts.get(f"{kind}.voxels", 0)
        return float(diameter(voxels / max(count, 1), len(self.place.whole)))

    def are_most(self, kind: str) -> bool:
        """Whether most objects are of a kind, and most of what is labeled belongs to them.

        Debris next to good objects is most of the objects, but little of what is labeled.
        """
        parts = ((kind, "objects"), (f"{kind}.voxels", "objects.voxels"))
        return all(self.facts.get(n, 0) > _MANY * self.facts.get(of, 0) for n, of in parts)


def describe(
    task: Task, facts: Mapping[str, int], place: Place, trained: ObjectDiameters | None
) -> tuple[str, ...]:
    """Sentences about the labels of one image.

    Args:
        task: what decoded them.
        facts: see `decode_scores`, of the whole image.
        place: the grid that was decoded.
        trained: sizes of the objects that the model was trained on, if known.
    """
    reader = _Reader(facts, place, trained)
    found: list[str] = []
    dropped = sum(count for name, count in _dropped(facts).items() if name.endswith(".voxels"))
    if dropped:
        found.append(_dropped_note(reader, complete(task).reasons(), dropped))
    if (advice := _size_note(reader)) is not None:
        found.append(advice)
    return tuple(found)


def _dropped(facts: Mapping[str, int]) -> dict[str, int]:
    sizes = ("smaller", "larger", "objects")
    return {n: c for n, c in facts.items() if "." in n and n.partition(".")[0] not in sizes}


def _dropped_note(reader: _Reader, reasons: Mapping[str, str], dropped: int) -> str:
    parts = []
    for reason, text in reasons.items():
        voxels = reader.facts.get(f"{reason}.voxels", 0)
        objects = reader.facts.get(f"{reason}.objects", 0)
        if voxels:
            many = f" in {format_count(objects, 'object')}" if objects else ""
            parts.append(f"{voxels:,}{many} {text}")
    total = max(reader.facts.get("foreground", 0), dropped)
    # Of the network's grid, which is the image's own one unless it is resampled.
    grid = reader.unit if reader.place.still else f"{reader.unit} of the network's grid"
    text = f"foreground of {dropped:,} {grid} dropped (of {total:,}): {'; '.join(parts)}."
    return DroppedNote.of(text, dropped / total)


def _size_note(reader: _Reader) -> str | None:
    """Advice where the objects that were found are of another size than those of the training.

    Only sizes of objects count. Foreground that is dropped, or wide because its objects touch, says
    nothing about sizes: a diameter estimated from it has made results worse (worms: F1 from 0.26 to
    0).
    """
    facts, trained = reader.facts, reader.trained
    kind = next((kind for kind in ("smaller", "larger") if reader.are_most(kind)), None)
    if trained is None or kind is None:
        return None
    factor, unit = reader.place.factor, reader.unit
    part = format_part(facts[kind], facts["objects"], "object", "are")
    return (
        f"{part} far {kind} than the objects that the model was trained on "
        f"({trained.low:.0f} to {trained.high:.0f} {unit} in diameter on the "
        f"network's grid). If objects look cut, joined or lost, measure a few by eye and try their "
        f"diameter on one image first: --diameter {reader.diameter(kind) / factor:.0f} is that of "
        f"the labels, in {unit} of the image."
    )
