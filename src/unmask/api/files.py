"""The loop over files that ``predict``, ``cluster`` and ``measure`` share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from unmask.blocks.resume import Finished
from unmask.data.fingerprint import check_unchanged
from unmask.data.pairing import Pair
from unmask.data.portions import unreadable
from unmask.errors import DataError, raise_problems

Result = TypeVar("Result")


@dataclass(frozen=True)
class FileTask(Generic[Result]):
    """What is done with one file.

    Attributes:
        pair: the file, and what is read with it.
        run: does the work; gives JSON values if the task has an output that is resumed.
        output: the file that is written for it; None: there is none for each file.
        facts: JSON values that decide about the output; None: it is not resumed.
        describe: what to report of the result.
    """

    pair: Pair
    run: Callable[[], Result]
    output: Path | None = None
    facts: Callable[[], Mapping[str, Any]] | None = None
    describe: Callable[[Result], str] | None = None

    @property
    def sources(self) -> list[str]:
        """Names of the files that are read."""
        images = (self.pair.image, self.pair.labels)
        return [image.source for image in images if image is not None]


def _unreadable_after(tasks: Sequence[FileTask[Any]]) -> list[str]:
    """What is wrong with the files of the tasks that are left, so that all are named at once."""
    images = (each for task in tasks for each in (task.pair.image, task.pair.labels))
    problems = (unreadable(image) for image in images if image is not None)
    return [problem for problem in problems if problem]


def run_files(
    tasks: Sequence[FileTask[Result]],
    before: Mapping[str, str],
    *,
    say: Callable[[str], None],
    finished: Finished | None = None,
    skipped: list[str] | None = None,
) -> Iterator[tuple[FileTask[Result], Result]]:
    """Run the tasks in order and report one line per file; a task and its result each time.

    What the caller does with a result counts for the time that is reported.

    Args:
        tasks: what is done.
        before: ``fingerprint`` of the files when they were opened; a file that changes meanwhile is
            refused.
        say: gets one line per file.
        finished: outputs of an ended run, which are not made again.
        skipped: gets what is wrong with files that are left out; None: such a file is an error,
            which names all other files that cannot be read, too.

    Raises:
        DataError: a file that is wrong or changed, if such files are not skipped.
    """
    for number, task in enumerate(tasks, 1):
        begin = time.perf_counter()
        title = f"[{number}/{len(tasks)}] {task.sources[0]}"
        title += "" if task.output is None else f" -> {task.output}"
        facts = None if task.facts is None else task.facts()
        path = None if facts is None else task.output
        if finished is not None and path is not None and finished.has(path, facts or {}):
            yield task, finished.result(path)
            say(f"{title} (finished before)")
            continue
        try:
            result = task.run()
            check_unchanged({source: before[source] for source in task.sources}, [task.pair])
        except DataError as error:
            if skipped is None:
                others = _unreadable_after(tasks[number:])
                raise_problems([str(error), *others] if others else [])
                raise
            skipped.append(str(error))
            say(f"{title}: skipped")
            continue
        if finished is not None and path is not None:
            finished.add(path, facts or {}, result)
        yield task, result
        found = "" if task.describe is None else f": {task.describe(result)}"
        say(f"{title}{found} ({time.perf_counter() - begin:.1f} s)")
