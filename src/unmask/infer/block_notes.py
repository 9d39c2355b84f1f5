"""Notes for the user on labels that were made in blocks, such as on objects at their borders."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import ceil
from typing import Any

from unmask.blocks.base import Doubts, Outcome
from unmask.blocks.grid import Grid
from unmask.data.grid import Place
from unmask.infer.notes import describe
from unmask.infer.predictor import Predictor
from unmask.tasks.base import Task
from unmask.wording import format_count

# Ids that are named in a note.
_NAMED = 8


def describe_blocks(predictor: Predictor, grid: Grid, place: Place, outcome: Outcome) -> list[str]:
    """All notes on the labels of an image."""
    total, task = Counter[str](), predictor.task
    for facts in outcome.facts:
        total.update(facts)
    return [
        *describe(task, total, place, predictor.trained),
        *doubt_note(grid, task, outcome.doubts),
        *cut_note(grid, task, total["cut"]),
    ]


def cut_note(grid: Grid, task: Task, count: int) -> tuple[str, ...]:
    """The note on objects that a filter dropped although a block saw only a part of them."""
    if not count:
        return ()
    halo = _larger(grid.halo)
    return (
        f"In {format_count(count, 'place')} an object that continues beyond the halo of "
        f"{grid.halo} voxels around a block was dropped. In the whole image it might be "
        f"kept: try a halo of {halo} voxels{_setting(task, halo)}, or larger blocks.",
    )


def doubt_note(grid: Grid, task: Task, doubts: Doubts) -> tuple[str, ...]:
    """The note on objects on which blocks do not agree."""
    count = len(doubts.ids)
    if not count:
        return ()
    named = ", ".join(map(str, sorted(doubts.ids)[:_NAMED]))
    more = f" and {count - _NAMED} more" if count > _NAMED else ""
    longest = int((doubts.boxes[:, 1] - doubts.boxes[:, 0]).max())
    # What is as long as the halo and still differs depends on more than its own extent.
    halo = max(longest, _larger(grid.halo))
    return (
        f"{format_count(count, 'object')} larger than the halo of {grid.halo} voxels around a "
        f"block, or depending on more than it: labels {named}{more}. Their parts are joined where "
        f"blocks agree; elsewhere they may be cut. A halo of {halo} voxels would do for what "
        f"was seen of them{_setting(task, halo)}; the whole image in one block needs none.",
    )


def _larger(halo: int) -> int:
    return halo + ceil(halo / 2)


def _setting(task: Any, halo: int) -> str:
    """How to get a halo: the smallest ``reach`` whose context is so large."""
    reach = getattr(task, "reach", None)
    if not isinstance(reach, int):
        return ""
    slope = replace(task, reach=reach + 1).context - task.context
    wanted = reach + max(0, ceil((halo - task.context) / max(1, slope)))
    return f" (--set task.reach={wanted})"
