"""Label a volume of any size block by block, on one machine or many, resumably.

Every block is labeled independently of the others and kept as one verified file. Then the objects
of neighboring blocks are stitched, and the labels are written with their final numbers. A block
is a pure function of the work and its number, so a run that was ended, or a worker that died, costs
only the blocks that were not finished.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from unmask.blocks.base import Doubts, Facts, Labeler, Outcome, Output, Plan, Work
from unmask.blocks.grid import Grid
from unmask.blocks.resume import block_file, describe_kept, hold
from unmask.blocks.scheduler import Run, scheduler
from unmask.blocks.stitch import read_labels, split_labels, stitch_blocks
from unmask.blocks.store import write_arrays
from unmask.blocks.write import Result, write_labels
from unmask.interruption import note_kept
from unmask.progress import BlockProgress, Progress

# Writes the final number of every id of every block; the largest one, and doubtful objects.
Stitch = Callable[[Grid, Path, Sequence[Facts], Run], tuple[int, Doubts]]


def run(
    work: Work,
    grid: Grid,
    out: Output,
    *,
    cluster: str | None = None,
    threads: int = 1,
    resume: bool = False,
    progress: Progress | None = None,
    stitch: Stitch = stitch_blocks,
) -> Outcome:
    """Label the blocks that are missing, stitch their objects, and write the label image.

    Finished blocks are kept in the folder ``.predict`` next to the result until it is complete.

    Args:
        work: labels blocks.
        grid: the blocks; with a halo their objects are stitched.
        out: where the labels go.
        cluster: None for threads of this process, else see ``scheduler``.
        threads: blocks at once in this process.
        resume: keep the finished blocks of a run that was ended.
        progress: called with (steps done, steps in all) of all blocks.
        stitch: joins the objects of blocks.

    Raises:
        CheckpointError: another run works on this output, or an ended one was given something else.
        DataError: a part of the image that cannot be read or decoded.
        RecipeError: workers elsewhere cannot get the model or the image.
        SaveError: the disk is full; finished blocks are kept.
    """
    plan, remote = work.plan(), cluster is not None
    with _hold(out, plan, len(grid), resume=resume) as (held, facts):
        folder = held.absolute()
        missing = [number for number in range(len(grid)) if number not in facts]
        counts = {"blocks": len(grid), "steps": plan.steps, "shared": plan.shared}
        shown = BlockProgress(progress, finished=len(facts), **counts)

        def done(block: tuple[int, Facts]) -> None:
            facts[block[0]] = block[1]
            shown.finish(block[0])

        # Other processes cannot report from within a block.
        inner = None if remote or progress is None else shown
        given = {"missing": len(missing), "remote": remote, "progress": shown.advance_shared}
        with (
            work.labeler(folder, **given) as labeler,
            scheduler(cluster, workers=threads) as run_units,
        ):
            shown.start()
            run_units(partial(label_block, labeler, grid, folder, shown=inner), missing, done)
            ordered = [facts[number] for number in range(len(grid))]
            top, doubts = stitch(grid, folder, ordered, run_units)
            largest = top if plan.largest is None else plan.largest
            result = Result(out, grid, largest, plan.provenance)
            write_labels(result, folder, partial(read_labels, folder), run_units)
        work.finish(folder)
    return Outcome(top, ordered, doubts)


@contextmanager
def _hold(
    out: Output, plan: Plan, blocks: int, *, resume: bool
) -> Generator[tuple[Path, dict[int, Facts]], None, None]:
    """Hold the folder for unfinished work; an end that was asked for says what is kept there."""
    with (
        hold(out.work or out.path, plan.facts, blocks=blocks, resume=resume) as (folder, facts),
        note_kept(partial(describe_kept, out.like.source, folder, blocks, plan.unit)),
    ):
        yield folder, facts


def label_block(
    labeler: Labeler,
    grid: Grid,
    folder: Path,
    number: int,
    *,
    shown: BlockProgress | None = None,
) -> tuple[int, Facts]:
    """Label one block and keep the result in a file.

    Returns:
        The number of the block, and what is known of it.

    Raises:
        DataError: a part of the image that cannot be read or decoded.
        SaveError: the result could not be kept.
    """
    progress = None if shown is None else partial(shown.advance, number)
    labels, noted = labeler.label(grid.tile(number), progress=progress)
    arrays, facts = split_labels(labels, grid, number)
    facts |= noted
    write_arrays(block_file(folder, number), arrays, facts)
    return number, facts
