"""Collect the outputs of a prediction: label images become proposals, uncertainties are stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from unmask.atomic import fsync_file, remove, replace_folder, saving
from unmask.errors import UnmaskError
from unmask.io import open_labels, stem
from unmask.serve import processes
from unmask.serve.doubts import Doubts
from unmask.serve.facts import FactsBook
from unmask.serve.pictures import Pictures
from unmask.serve.processes import Job
from unmask.serve.proposals import Proposals
from unmask.serve.workspace import Entry, Workspace, list_entries
from unmask.space.box import Box

_TABLE = "objects.csv"
# Predictions of so many images are mirrored too; more would keep the machine busy for long.
_MOST_MIRRORED = 200


class Collector:
    """Moves finished predictions to their place.

    Args:
        workspace: the place.
        proposals: predictions that wait for a person.
        facts: notes on images.
        doubts: uncertainty of predictions.
        pictures: opens the images.
        mirror: predict once more to learn how sure predictions are.
    """

    def __init__(
        self,
        workspace: Workspace,
        proposals: Proposals,
        facts: FactsBook,
        doubts: Doubts,
        pictures: Pictures,
        *,
        mirror: bool = True,
    ) -> None:
        self._mirrors = mirror
        self._workspace = workspace
        self._proposals = proposals
        self._facts = facts
        self._doubts = doubts
        self._pictures = pictures

    def collect(self, job: Job) -> None:
        """Take over the results of a job that has ended; a second call finds nothing left to do.

        Raises:
            SaveError: the disk; what is left is taken over by the next call.
        """
        if not job.out.is_dir():
            self._compare(job)
            return
        files = [path for path in job.out.iterdir() if not path.name.startswith(".")]
        if not files:
            self._compare(job)
            return
        entries = self._entries(job)
        labels = [path for path in files if path.name != _TABLE]
        if job.command[0] == "cluster":
            # Centers, statistics and pictures of clusters stay where they are.
            labels = [path for path in labels if stem(path) in entries]
        for path in labels:
            if "box" in job.facts:
                self._add_part(job, path, entries)
            else:
                self._place(path, entries)
        shown = {name: (entry, path) for name, path in self._proposals.names().items()
                 if (entry := entries.get(name)) is not None}  # fmt: skip
        known = (job.out / _TABLE) in files and self._doubts.read_table(job.out / _TABLE, shown)
        (job.out / _TABLE).unlink(missing_ok=True)
        done = processes.ended(job, 0, 1) == "done"
        wanted = done and self._mirrors and not known and "box" not in job.facts
        wanted = wanted and job.command[0] != "cluster"
        if wanted and entries and 0 < len(labels) <= _MOST_MIRRORED:
            self._mirror(job, ndim=self._pictures.open(next(iter(entries.values()))).ndim)

    def _entries(self, job: Job) -> dict[str, Entry]:
        wanted = set(job.facts.get("images", ()))
        return {e.name: e for e in list_entries(self._workspace) if e.id in wanted}

    def _place(self, path: Path, entries: Mapping[str, Entry]) -> None:
        target = self._workspace.predictions
        place = self._workspace.confine(target) / path.name
        if (entry := entries.get(stem(path))) is not None:
            self._facts.change(entry.id, parts=())
        with saving(place):
            if path.is_dir():
                replace_folder(path, place)
                return
            target.mkdir(parents=True, exist_ok=True)
            fsync_file(path)
            path.replace(place)

    def _add_part(self, job: Job, path: Path, entries: Mapping[str, Entry]) -> None:
        entry = entries.get(stem(path))
        if entry is not None:
            image = self._pictures.open(entry)
            wide, box = (Box(*map(tuple, job.facts[name])) for name in ("wide", "box"))
            labels = open_labels(path, ndim=image.ndim).read()[0]
            self._proposals.add(entry, image, wide, box, labels)
        remove(path)

    def _mirror(self, job: Job, *, ndim: int) -> None:
        """Start a second prediction of the images, mirrored along all axes; does not wait."""
        folder = job.folder / "mirrored"
        command = [*job.command]
        command[command.index("--out") + 1] = str(folder / "out")
        command += ["--set", f"infer.tta=[{list(range(ndim))}]"]
        with saving(folder):
            folder.mkdir(exist_ok=True)
            again = replace(job, folder=folder, command=tuple(command), out=folder / "out")
            processes.start(again)

    def _compare(self, job: Job) -> None:
        """Store the uncertainty if the mirrored prediction has finished."""
        again = processes.read(job.folder / "mirrored")
        if again is None or again.running() or not again.out.is_dir():
            return
        entries, shown = self._entries(job), self._proposals.names()
        for path in again.out.iterdir():
            entry, prediction = entries.get(stem(path)), shown.get(stem(path))
            if entry is not None and prediction is not None and path.is_file():
                self._doubts.compare(entry, prediction, path)
        try:
            remove(again.out)
        except (OSError, UnmaskError):
            # Compared again at the next look; nothing is wrong meanwhile.
            return
