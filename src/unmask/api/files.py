"""The loop over files that ``predict``, ``cluster`` and ``measure`` share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from unmask.api.overlap import Stages, overlap
from unmask.blocks.resume import Finished
from unmask.data.fingerprint import check_unchanged
from unmask.data.pairing import Pair
from unmask.data.portions import unreadable
from unmask.errors import DataError, raise_problems
from unmask.progress import TimeLeft, describe_finished

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
        stages: the work in stages, which overlap with those of other files; None: not divided.
        notes: what the stages have to report; it is reported when it is the turn of this file.
    """

    pair: Pair
    run: Callable[[], Result]
    output: Path | None = None
    facts: Callable[[], Mapping[str, Any]] | None = None
    describe: Callable[[Result], str] | None = None
    stages: Stages | None = None
    notes: list[str] = field(default_factory=list)

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
    works = (_work(number, task, before, finished) for number, task in enumerate(tasks, 1))
    total = len(tasks) - (0 if finished is None else count_outputs(tasks, finished))
    done, left = 0, TimeLeft(0)
    jobs = ((work, work.stages) for work in works)
    # Closed at once after an error, whose traceback keeps the loop alive: no later file is written.
    with closing(overlap(jobs, stop=skipped is None)) as outcomes:
        for outcome in outcomes:
            work, begin = outcome.key, time.perf_counter()
            task, title = work.task, f"[{work.number}/{len(tasks)}] {work.title}"
            for note in task.notes:
                say(note)
            if work.finished:
                yield task, outcome.result
                say(f"{title} (finished before)")
                continue
            done += 1
            if outcome.error is not None:
                if not isinstance(outcome.error, DataError):
                    raise outcome.error
                if skipped is None:
                    others = _unreadable_after(tasks[work.number :])
                    raise_problems([str(outcome.error), *others] if others else [])
                    raise outcome.error
                skipped.append(str(outcome.error))
                say(f"{title}: skipped")
                continue
            yield task, outcome.result
            found = "" if task.describe is None else f": {task.describe(outcome.result)}"
            seconds = outcome.seconds + time.perf_counter() - begin
            times = [f"{seconds:.1f} s", *filter(None, [left.describe(done, total)])]
            say(f"{title}{found} ({', '.join(times)})")


def count_outputs(tasks: Sequence[FileTask[Any]], finished: Finished) -> int:
    """Number of outputs that a run that resumes skips."""
    return sum(
        task.output is not None
        and task.facts is not None
        and finished.skips(task.output, task.facts)
        for task in tasks
    )


def describe_outputs(
    tasks: Sequence[FileTask[Any]], finished: Finished, what: str = "image"
) -> str:
    """The finished outputs, for people; "" if there are none."""
    count = count_outputs(tasks, finished)
    return f"{describe_finished(count, len(tasks), what)}." if count else ""


@dataclass(frozen=True)
class _Work:
    """A task whose turn comes.

    Attributes:
        number: of the task, from 1.
        task: what is done.
        stages: of the work, or of getting its earlier result.
        finished: the output of an ended run is kept.
    """

    number: int
    task: FileTask[Any]
    stages: Stages
    finished: bool = False

    @property
    def title(self) -> str:
        """The files that are read and written."""
        output = self.task.output
        return self.task.sources[0] + ("" if output is None else f" -> {output}")


def _work(
    number: int, task: FileTask[Any], before: Mapping[str, str], finished: Finished | None
) -> _Work:
    facts = None if task.facts is None else task.facts()
    kept = None if facts is None or finished is None else task.output
    stages = task.stages or Stages.of(task.run)
    if finished is None or facts is None or kept is None:
        return _Work(number, task, replace(stages, finish=partial(_finish, task, stages, before)))
    if finished.has(kept, facts):
        result = finished.result(kept)
        return _Work(number, task, Stages.of(lambda: result), finished=True)

    def finish(value: Any) -> Any:
        result = _finish(task, stages, before, value)
        # At once: a run that ends while a later file is in work does not lose this one.
        finished.add(kept, facts, result)
        return result

    return _Work(number, task, replace(stages, finish=finish))


def _finish(task: FileTask[Any], stages: Stages, before: Mapping[str, str], value: Any) -> Any:
    """The last stage, and looks before and after it whether the files have changed.

    What changed before is not written.

    Raises:
        DataError: a file that is wrong or changed.
    """
    known = {source: before[source] for source in task.sources}
    check_unchanged(known, [task.pair])
    result = stages.finish(value)
    check_unchanged(known, [task.pair])
    return result
