"""What a user should know of the labels of an image: dropped foreground, objects of strange size.

Facts are whole numbers that add up over the blocks of an image; notes are sentences made of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from unmask.data.diameters import ObjectDiameters
from unmask.data.grid import Place
from unmask.errors import DataError
from unmask.io import Image
from unmask.labels.dropped import Region, Tally, diameter
from unmask.labels.objects import find_objects
from unmask.labels.relabeling import compact
from unmask.profiling import stage
from unmask.tasks.base import Answer, Task
from unmask.tasks.complete import complete

Facts = dict[str, int]
# An object is far smaller than those of the training if its diameter is so many times below that of
# the smallest 5 %: training resizes crops by less.
_SMALLER = 2.0
# Above this share of the objects, or of the foreground, their size is doubted.
_MANY = 0.5
_MUCH = 0.1


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
    tally = Tally(region, None if trained is None else trained.high)
    try:
        with stage("decoding"):
            answer = complete(task).answer(scores, image.spacing, tally)
    except DataError as error:
        raise DataError(f"{image.source}: {error}") from error
    if task.context and trained is not None and answer.classes is None:
        _count_sizes(answer.labels, trained, tally)
    return answer, tally.counts


def _count_sizes(labels: np.ndarray, trained: ObjectDiameters, tally: Tally) -> None:
    """Count the objects, and those that are far smaller than the training objects."""
    objects = find_objects(compact(labels))
    here = np.ones(len(objects), bool)
    if tally.region is not None:
        here = tally.region.holds(objects.start)
    size = objects.size[here]
    across = diameter(size, labels.ndim)
    tally.add("objects", len(size))
    small = across < trained.low / _SMALLER
    tally.add("smaller", np.count_nonzero(small))
    tally.add("smaller.voxels", size[small].sum())


@dataclass(frozen=True)
class _Reader:
    """What the sentences of one image need."""

    facts: Mapping[str, int]
    place: Place
    trained: ObjectDiameters | None

    @property
    def unit(self) -> str:
        return "pixels" if len(self.place.whole) < 3 else "voxels"

    @property
    def small(self) -> float:
        """Mean diameter of the objects that are too small, on the network's grid."""
        count, voxels = self.facts.get("smaller", 0), self.facts.get("smaller.voxels", 0)
        return float(diameter(voxels / max(count, 1), len(self.place.whole)))

    @property
    def width(self) -> float:
        """Mean width of the foreground's pieces, on the network's grid; 0 if not measured."""
        return self.facts.get("wide.sum", 0) / max(1, self.facts.get("wide.voxels", 0))


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
    if (advice := _size_note(reader, dropped)) is not None:
        found.append(advice)
    return tuple(found)


def _dropped(facts: Mapping[str, int]) -> dict[str, int]:
    sizes = ("wide", "smaller")
    return {n: c for n, c in facts.items() if "." in n and n.partition(".")[0] not in sizes}


def _dropped_note(reader: _Reader, reasons: Mapping[str, str], dropped: int) -> str:
    parts = []
    for reason, text in reasons.items():
        voxels = reader.facts.get(f"{reason}.voxels", 0)
        objects = reader.facts.get(f"{reason}.objects", 0)
        if voxels:
            many = f" in {objects:,} object(s)" if objects else ""
            parts.append(f"{voxels:,}{many} {text}")
    total = max(reader.facts.get("foreground", 0), dropped)
    # Of the network's grid, which is the image's own one unless it is resampled.
    grid = reader.unit if reader.place.still else f"{reader.unit} of the network's grid"
    return f"foreground of {dropped:,} {grid} dropped (of {total:,}): {'; '.join(parts)}."


def _size_note(reader: _Reader, dropped: int) -> str | None:
    """Advice where objects seem to be of another size than those of the training."""
    facts, trained = reader.facts, reader.trained
    objects, small = facts.get("objects", 0), facts.get("smaller", 0)
    much = dropped > _MUCH * facts.get("foreground", 0)
    if trained is not None and reader.width > trained.high:
        what, across = "The foreground is wider than", reader.width
    elif small > _MANY * objects:
        what, across = f"{small:,} of {objects:,} objects are far smaller than", reader.small
    elif much and reader.width > 0:
        what, across = (
            "Much foreground is dropped; its objects may differ in size from",
            reader.width,
        )
    else:
        return None
    if trained is None:
        return (
            f"{what} those of the training, whose sizes the model does not name. If objects look "
            "cut, joined or lost, resize the image: --set infer.scale=0.5, or 2."
        )
    return (
        f"{what} the objects that the model was trained on ({trained.low:.0f} to "
        f"{trained.high:.0f} {reader.unit} in diameter on the network's grid). If objects look "
        f"cut, joined or lost, give their diameter in {reader.unit} of the image: "
        f"--diameter {across / reader.place.factor:.0f} (an estimate)."
    )
