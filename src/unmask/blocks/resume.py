"""Where unfinished work on an output is kept, what it belongs to, and what of it is finished."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from unmask import sealed
from unmask.atomic import fsync_folder, remove, saving
from unmask.blocks.base import Facts
from unmask.blocks.remembered import forget, recall, remember
from unmask.blocks.store import read_values
from unmask.checkpoint import lock_run
from unmask.checkpoint.lock import LOCK_FILE, OWNER_FILE, warn
from unmask.errors import CheckpointError, message
from unmask.io.identity import identity
from unmask.leftovers import remove_leftovers
from unmask.progress import describe_finished

# Next to the outputs, one folder per output in work; hidden, so that it is not read as an image.
FOLDER = ".predict"
_PLAN = "plan.json"
_FINISHED = "finished.jsonl"
# Folders of outputs inside that of the label images.
_INNER = ("scores", "uncertainty", "contact")


class Finished:
    """Outputs that are complete, kept in a file so that an ended run can be resumed.

    Every output is one line with its digest, so a kill costs at most the last one.

    Args:
        folder: where it is kept, next to the unfinished work on the outputs.

    Attributes:
        folder: the same.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / _FINISHED
        self._known: dict[str, Any] = {line["name"]: line for line in sealed.read_lines(self._file)}
        self._checked: set[str] = set()

    def has(self, path: Path, facts: Mapping[str, Any]) -> bool:
        """Whether an output of these facts is there and unchanged since."""
        known = self._known.get(self._name(path), {})
        same = known.get("facts") == dict(facts) and known.get("file") == identity(path)
        if not (same and path.exists()):
            return False
        self._checked.add(self._name(path))
        return True

    def skips(self, path: Path, facts: Callable[[], Mapping[str, Any]]) -> bool:
        """Whether a run that resumes skips an output; facts are computed only if that is open."""
        name = self._name(path)
        return name in self._checked or (name in self._known and self.has(path, facts()))

    def result(self, path: Path) -> Any:
        """What was kept with an output that is there, see ``has``."""
        return self._known[self._name(path)]["result"]

    def add(self, path: Path, facts: Mapping[str, Any], result: Any = None) -> None:
        """Keep that an output is complete, and JSON values that belong to it.

        Raises:
            SaveError: the disk.
        """
        line = {"facts": dict(facts), "file": identity(path), "result": result}
        line = {"name": self._name(path), **line}
        with saving(self._file):
            sealed.add_line(self._file, line)
        self._known[self._name(path)] = line
        self._checked.add(self._name(path))

    def _name(self, path: Path) -> str:
        """The path below the folder of the outputs; several stores have labels of one name."""
        folder = self.folder.parent
        return path.relative_to(folder).as_posix() if folder in path.parents else str(path)

    def same(self, facts: Mapping[str, Any]) -> bool:
        """Whether an ended run of these facts (JSON values) is resumed; False: there is none.

        Raises:
            CheckpointError: the ended run was given something else.
        """
        return _continues(self.folder, facts, self.folder.parent)

    def keep(self, facts: Mapping[str, Any]) -> None:
        """Keep what the run was given, for ``same``."""
        sealed.write(self.folder / _PLAN, facts)


@contextmanager
def batch(out: Path, *, resume: bool, skip: bool = False) -> Generator[Finished, None, None]:
    """Hold a folder of outputs for one run; what is known of the outputs goes when it succeeds.

    Temporary files of killed runs are removed.

    Args:
        out: the folder.
        resume: keep what an ended run has finished.
        skip: ``resume`` also skips the outputs of a run that was complete.

    Raises:
        CheckpointError: another run works in the folder.
        SaveError: the folder cannot be written.
    """
    folder = out / FOLDER
    with lock_run(folder, report=_ignore_owner, temporary=True):
        remove_leftovers(out, folder, *(out / name for name in _INNER))
        if not resume:
            clear(folder)
            forget(out)
        elif skip:
            recall(out, folder / _FINISHED)
        # What is finished is kept for --resume if the run ends early.
        yield Finished(folder)
        if skip:
            remember(out, folder / _FINISHED)
        clear(folder)


@contextmanager
def hold(
    out: Path, facts: Mapping[str, Any], *, blocks: int, resume: bool
) -> Generator[tuple[Path, dict[int, Facts]], None, None]:
    """Hold the folder for the unfinished work on ``out``; it goes when the work succeeds.

    Args:
        out: the output.
        facts: JSON values that decide about the result.
        blocks: number of blocks.
        resume: keep what an ended run of the same facts has finished.

    Yields:
        The folder, and what is known of the finished blocks; damaged ones are left out.

    Raises:
        CheckpointError: another run works on this output, or the ended run had other facts.
        SaveError: the folder cannot be written.
    """
    folder = out.parent / FOLDER / out.name
    with lock_run(folder, report=_ignore_owner, temporary=True):
        if not (resume and _continues(folder, facts, out)):
            clear(folder)
            sealed.write(folder / _PLAN, dict(facts))
        remove_leftovers(folder)
        yield folder, _read_finished(folder, blocks)
        clear(folder)
    with suppress(OSError):
        folder.parent.rmdir()


def clear(folder: Path) -> None:
    """Remove what is in a folder, except its lock; the plan first.

    Work without a plan counts for nothing, so a kill on the way leaves nothing that a later run
    could take for its own.

    Raises:
        SaveError: the disk.
    """
    with saving(folder):
        if (folder / _PLAN).exists():
            (folder / _PLAN).unlink()
            fsync_folder(folder)
        for path in folder.iterdir():
            if path.name not in (LOCK_FILE, OWNER_FILE):
                remove(path)


def block_file(folder: Path, number: int) -> Path:
    """Where the result of a block is kept."""
    return folder / f"block-{number:06d}.bin"


def describe_kept(image: str, folder: Path, blocks: int, unit: str) -> str:
    """What a run that resumes finds of an image, for people; "" if no block is finished."""
    if not (count := count_blocks(folder)):
        return ""
    return f"{image}: {describe_finished(count, blocks, unit)} and kept in {folder.parent}."


def count_blocks(folder: Path) -> int:
    """Number of finished blocks in the folder of an output."""
    return sum(1 for _ in folder.glob("block-*.bin"))


def _ignore_owner(_: str) -> None:
    """A run that takes over the folder of a killed run was asked to; there is nothing to report."""


def _read_finished(folder: Path, blocks: int) -> dict[int, Facts]:
    finished: dict[int, Facts] = {}
    for number in range(blocks):
        file = block_file(folder, number)
        if not file.exists():
            continue
        try:
            finished[number] = read_values(file)
        except CheckpointError as error:
            warn(f"{error} The block is computed again.")
            with saving(file):
                file.unlink(missing_ok=True)
    return finished


def _continues(folder: Path, facts: Mapping[str, Any], out: Path) -> bool:
    """Whether a folder holds work of a run with these facts; False: there is none.

    Raises:
        CheckpointError: the ended run was given something else.
    """
    file = folder / _PLAN
    if not file.exists():
        return False
    try:
        before = sealed.read(file)
    except CheckpointError:
        warn(f"{file}: the plan of the ended run is damaged. Its work is done again.")
        return False
    other = [
        f"{name}: {before.get(name)!r} before, {facts.get(name)!r} now"
        for name in sorted({*before, *facts})
        if before.get(name) != facts.get(name)
    ]
    if other:
        raise CheckpointError(
            message(
                out,
                expected="--resume with what the ended run was given",
                found="; ".join(other),
                do="Give the same again, or leave out --resume to start again.",
            )
        )
    return True
