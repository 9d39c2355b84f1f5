"""The page of a training: verdict, next commands, curves, held-out predictions, plan and recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from unmask.calibration import Calibration
from unmask.reports import charts
from unmask.reports.page import Charts, Figure, Figures, Lines, Page, Section, Table, notes, values


@dataclass(frozen=True)
class RunPage:
    """What is shown of a training.

    Attributes:
        title: name of the run.
        verdict: sentences on its course and its worst images.
        commands: what to do next, one command per line.
        facts: lines of the block at its start.
        curves: (steps, values) by name of the metric; the loss first.
        best_step: update of the best model; None if nothing was held out.
        evaluation: parts of the report on held-out images, see ``evaluation_sections``.
        cross_validation: a row per image, each by a model that was not trained on it.
        calibrations: maps from uncertainty to probability, one per source: ``scores``, ``views``.
        unit: calibrated unit, "objects" or "voxels".
        pictures: of held-out predictions during the run, by the step of each.
        plan: reasons of the plan, one per line.
        notes: notes on the files.
        recipe: as YAML.
        origin: folder, date and the like.
        version: of unmask.
    """

    title: str
    verdict: Sequence[str]
    commands: Sequence[str]
    facts: Sequence[str]
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    best_step: int | None = None
    evaluation: Sequence[Section] = ()
    cross_validation: Sequence[Mapping[str, Any]] = ()
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    unit: str = "objects"
    pictures: Mapping[int, bytes] = field(default_factory=dict)
    plan: Sequence[str] = ()
    notes: Sequence[str] = ()
    recipe: str = ""
    origin: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""

    def to_html(self) -> str:
        """One file that opens offline and prints."""
        sections: list[Section] = [
            Lines(self.verdict, "Verdict"),
            Lines(self.commands, "Next commands", pre=True),
            Lines(self.facts, "Training", pre=True),
            notes(self.notes),
            Charts(self._curves(), "Curves", "The dashed line is the update of the best model."),
            *self.evaluation,
            Table(
                "Cross-validation",
                self.cross_validation,
                "Each image by a model that was not trained on it.",
                sortable=True,
            ),
            *self._uncertainty(),
            Figures(
                "Held-out predictions during the training",
                [Figure(f"update {step:,}", data) for step, data in self.pictures.items()],
                wide=True,
            ),
            Lines(self.plan, "Plan"),
            Lines([self.recipe] if self.recipe else [], "Recipe", pre=True),
            values("Origin", self.origin),
        ]
        return Page(self.title, sections, self.version).to_html()

    def _curves(self) -> list[str]:
        mark = None if self.best_step is None else float(self.best_step)
        return [
            charts.curves({name: line}, name, "update", mark=mark)
            for name, line in self.curves.items()
            if len(line[0])
        ]

    def _uncertainty(self) -> list[Section]:
        """How well the uncertainty tells right from wrong."""
        words = {"scores": "scores of one view", "views": "with mirrored views"}
        rows = [
            {
                "uncertainty": words[name],
                self.unit: each.count,
                "right": each.good,
                "AUROC": each.auroc,
                "calibration error": each.error,
            }
            for name, each in self.calibrations.items()
        ]
        title = f"Reliability on held-out {self.unit}"
        shown = [
            charts.reliability(title, *zip(*each.bins, strict=True))
            for each in list(self.calibrations.values())[-1:]
            if each.bins
        ]
        note = (
            "AUROC: how well the uncertainty ranks wrong above right. Each image is judged by a "
            "calibration without it, if there are five or more."
        )
        return [Table("Uncertainty", rows, note), Charts(shown)]
