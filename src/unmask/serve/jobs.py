"""Trainings and predictions of a workspace: which commands they are, and what they gave."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from unmask import shipped
from unmask.atomic import atomic_write, remove, saving
from unmask.errors import message
from unmask.io import Image
from unmask.serve import processes
from unmask.serve.collect import Collector
from unmask.serve.commands import Defaults, Effort, recipe_of, train_command
from unmask.serve.crops import save_crop
from unmask.serve.processes import Job
from unmask.serve.refusal import RefusedError, missing
from unmask.serve.rounds import Stage, TrainingSet
from unmask.serve.workspace import Entry, Workspace
from unmask.shipped.starts import find_generalist
from unmask.space.box import Box

_ID = re.compile(r"(round|predict)-\d{3,9}")
# Ends the name of the folder with the training set of a run.
_SET = ".set"
_SCORE = "validation/"


class Jobs:
    """Starts, stops and finds jobs; safe for threads.

    Args:
        workspace: whose jobs.
        stage: makes training sets.
        collector: takes over what predictions have written.
        defaults: choices that no page can change.
    """

    def __init__(
        self, workspace: Workspace, stage: Stage, collector: Collector, defaults: Defaults
    ) -> None:
        self._workspace = workspace
        self._stage = stage
        self._collector = collector
        self._defaults = defaults
        self._lock = threading.RLock()

    @property
    def _predictions(self) -> Path:
        return self._workspace.notes / "jobs"

    def all(self) -> list[Job]:
        """Every job of this folder, newest first, also those of earlier servers."""
        folders = [
            *self._workspace.runs.glob(f"round-*{_SET}"), *self._predictions.glob("predict-*")
        ]  # fmt: skip
        return processes.by_age([job for job in map(processes.read, folders) if job is not None])

    def get(self, identity: str) -> Job:
        """A job.

        Raises:
            RefusedError: there is none of this name.
        """
        if _ID.fullmatch(identity):
            round_of = identity.startswith("round")
            parent = self._workspace.runs if round_of else self._predictions
            job = processes.read(parent / f"{identity}{_SET if round_of else ''}")
            if job is not None:
                return job
        raise missing("job")

    def train(self, effort: Effort | None = None) -> tuple[Job, TrainingSet]:
        """Start a training on a copy of the labels.

        Args:
            effort: how long it is, and what it begins with.

        Raises:
            RefusedError: another one runs (409), or nothing is labeled (422).
        """
        with self._lock:
            self._only_one("train")
            with saving(self._workspace.runs):
                name, folder = processes.new_folder(self._workspace.runs, "round", _SET)
            try:
                chosen = self._stage.write(folder)
            except BaseException:
                remove(folder)
                raise
            out, effort = self._workspace.runs / name, effort or Effort()
            command, init = train_command(chosen, out, effort, self._defaults, self.all())
            facts = {
                "preset": self._defaults.preset,
                "init": init,
                "notes": chosen.notes,
                "trained": chosen.trained,
                "held_out": chosen.held_out,
                "objects": chosen.objects,
            }
            job = Job(name, "train", folder, command, out, effort.updates or 0, facts=facts)
            with saving(folder):
                return processes.start(job), chosen

    def predict(
        self,
        entries: Sequence[Entry],
        *,
        ndim: int,
        model: str | None = None,
        part: tuple[Image, Box] | None = None,
    ) -> Job:
        """Start a prediction; its label images become proposals.

        Args:
            entries: the images.
            ndim: their number of axes.
            model: id of a round, or name of a shipped model; default: the last one.
            part: the only image, opened, and the box of it that is predicted.

        Raises:
            RefusedError: another one runs (409), or there is no model for them (422).
        """
        with self._lock:
            self._only_one("predict")
            chosen = self._model(model, ndim)
            with saving(self._predictions):
                name, folder = processes.new_folder(self._predictions, "predict")
            facts = {"images": [entry.id for entry in entries], "model": Path(chosen).name}
            paths = [str(entry.path) for entry in entries]
            if part is not None:
                cut = folder / "images" / f"{entries[0].name}.tif"
                wide = save_crop(*part, cut)
                paths = [str(cut)]
                facts |= {"box": [part[1].start, part[1].stop], "wide": [wide.start, wide.stop]}
            command = ("predict", _list_images(folder, paths), "--model", chosen,
                       "--out", str(folder / "out"), "--skip-bad",
                       *(() if part else ("--table",)))  # fmt: skip
            job = Job(name, "predict", folder, command, folder / "out", len(entries), facts=facts)
            with saving(folder):
                return processes.start(job, seconds=self._defaults.seconds)

    def cluster(
        self, entries: Sequence[Entry], *, ndim: int, classes: int, model: str | None = None
    ) -> Job:
        """Start to group the pixels of images; their label images become proposals.

        Args:
            entries: the images.
            ndim: their number of axes.
            classes: number of clusters.
            model: with patch tokens; as for `predict`.

        Raises:
            RefusedError: a prediction runs (409), or there is no model for them (422).
        """
        with self._lock:
            self._only_one("predict")
            chosen = self._model(model, ndim)
            with saving(self._predictions):
                name, folder = processes.new_folder(self._predictions, "predict")
            listing = _list_images(folder, [str(entry.path) for entry in entries])
            command = ("cluster", listing, "--model", chosen, "--classes", str(classes),
                       "--out", str(folder / "out"))  # fmt: skip
            facts = {"images": [entry.id for entry in entries], "model": Path(chosen).name}
            job = Job(name, "predict", folder, command, folder / "out", len(entries), facts=facts)
            with saving(folder):
                return processes.start(job, seconds=self._defaults.seconds)

    def resume(self, identity: str) -> Job:
        """Continue a job that was stopped.

        Raises:
            RefusedError: it runs, or another one does.
        """
        with self._lock:
            job = self.get(identity)
            self._only_one(job.kind)
            begun = (job.out / "recipe.yaml").is_file() or job.kind == "predict"
            with saving(job.folder):
                return processes.start(job, *(["--resume"] if begun else []))

    def describe(self, job: Job) -> dict[str, Any]:
        """What the page shows of a job; a prediction that has ended is collected first."""
        # In this order, so that all that a job has done is seen once it has ended.
        running = job.running()
        done = self.progress(job)
        steps = self.steps(job)
        state = "running" if running else processes.ended(job, done, steps)
        if job.kind == "predict" and state != "running":
            with self._lock:
                self._collector.collect(job)
        return {
            "id": job.id,
            "kind": job.kind,
            "state": state,
            "done": done,
            "steps": steps,
            "created": job.created,
            "error": processes.reason(job) if state == "failed" else "",
            "log": processes.tail(job),
            "picture": bool(self.pictures(job)),
            "scores": self.scores(job),
            **job.facts,
        }

    def progress(self, job: Job) -> int:
        """Updates or images that are done."""
        if job.kind == "predict":
            found = re.findall(r"^\[(\d+)/\d+\] ", processes.tail(job), re.MULTILINE)
            return int(found[-1]) if found else 0
        records = _journal(job)
        return int(records[-1].get("step", 0)) if records else 0

    def steps(self, job: Job) -> int:
        """Updates or images that it has to do; 0 as long as a plan is made."""
        if job.steps or job.kind != "train":
            return job.steps
        recipe = recipe_of(job)
        return 0 if recipe is None else recipe.train.steps

    def scores(self, job: Job) -> dict[str, float]:
        """What a training measured last on images that are held out."""
        for record in reversed(_journal(job)):
            found = {
                name.removeprefix(_SCORE): float(value)
                for name, value in record.items()
                if name.startswith(_SCORE) and isinstance(value, float | int)
            }
            if found:
                return found
        return {}

    def settle(self) -> None:
        """Collect the results of the last predictions that have finished since the last request."""
        with self._lock:
            for job in [job for job in self.all() if job.kind == "predict"][:3]:
                if not job.running():
                    self._collector.collect(job)

    def models(self) -> list[dict[str, str]]:
        """What can predict: rounds, newest first, then shipped models."""
        rounds = [
            {"id": job.id, "name": job.id}
            for job in self.all()
            if job.kind == "train" and (job.out / "model.safetensors").is_file()
        ]
        return [*rounds, *({"id": name, "name": name} for name in shipped.names())]

    def pictures(self, job: Job) -> list[Path]:
        """Pictures that a training has made, newest first."""
        return sorted((job.out / "pictures").glob("*.png"), reverse=True)

    def _only_one(self, kind: str) -> None:
        for job in self.all():
            if job.kind == kind and job.running():
                raise RefusedError(
                    409,
                    message(kind, expected="no other one at the same time", found=job.id,
                            do="Wait until it has ended, or stop it."),
                    job=job.id,
                )  # fmt: skip

    def _model(self, wanted: str | None, ndim: int) -> str:
        if wanted is not None:
            if wanted not in {model["id"] for model in self.models()}:
                raise missing("model")
            return wanted if wanted in shipped.names() else str(self.get(wanted).out)
        if self._defaults.model is not None:
            return self._defaults.model
        for job in self.all():
            if job.kind == "train" and (job.out / "model.safetensors").is_file():
                return str(job.out)
        # The rule of `unmask predict` without --model.
        start = find_generalist(ndim)
        if start is None:
            raise RefusedError(
                422,
                message("model", expected=f"one for {ndim} axes", found="none",
                        do="Outline a few objects and train first."),
            )  # fmt: skip
        return start.name


def _list_images(folder: Path, paths: Sequence[str]) -> str:
    """Write the images of a job as a list into its folder."""
    listing = folder / "dataset.json"
    listed = [{"image": path} for path in paths]
    atomic_write(listing, json.dumps({"training": listed}))
    return str(listing)


def _journal(job: Job) -> list[dict[str, Any]]:
    """Records of a training; a line that is being written is left out."""
    with suppress(OSError):
        lines = (job.out / "journal.jsonl").read_text(encoding="utf-8").splitlines()
        return [record for line in lines if (record := _record(line)) is not None]
    return []


def _record(line: str) -> dict[str, Any] | None:
    with suppress(ValueError):
        found = json.loads(line)
        return found if isinstance(found, dict) else None
    return None
