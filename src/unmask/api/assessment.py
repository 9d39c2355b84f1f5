"""The best model of a run on the images that were held out: scores, pictures, calibration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from unmask import checkpoint
from unmask.api.validation import HeldOut
from unmask.calibration import Calibration, fit_calibration
from unmask.checkpoint.model import MODEL_FILE
from unmask.data.pairs import Pair
from unmask.infer.load import compare_flips
from unmask.infer.notes import decode_image
from unmask.infer.predictor import Predictor
from unmask.infer.uncertainty import voxel_uncertainty
from unmask.io import open_labels
from unmask.metrics import Report, evaluate_pair
from unmask.metrics.overlap_table import overlap
from unmask.reports.evaluation import Compared, evaluation_sections, worst_first
from unmask.reports.page import Section
from unmask.space.random import generator
from unmask.tasks.base import Task
from unmask.tasks.segmenter import Segmenter
from unmask.wording import format_count

# A predicted object is right if its IoU with a true one is at least this.
_RIGHT = 0.5
# Voxels per image that are sampled for classes: a curve of two parameters needs no more.
_VOXELS = 4000


@dataclass(frozen=True)
class Judged:
    """A held-out image with its prediction.

    Attributes:
        pair: image and labels.
        labels: predicted labels, on the image's grid.
        doubts: uncertainty per voxel in [0, 1], by its source: ``scores`` or ``views``.
    """

    pair: Pair
    labels: np.ndarray
    doubts: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def truth(self) -> np.ndarray:
        """True labels."""
        return (
            np.zeros_like(self.labels) if self.pair.labels is None else self.pair.labels.read()[0]
        )


@dataclass(frozen=True)
class Assessment:
    """Scores and calibration of a model on held-out images.

    Attributes:
        report: scores per image.
        sections: sections of the HTML report.
        calibrations: one per source of the uncertainty: ``scores`` or ``views``.
        unit: calibrated unit, "objects" or "voxels".
    """

    report: Report
    sections: Sequence[Section]
    calibrations: Mapping[str, Calibration]
    unit: str

    def worst(self, count: int = 3) -> list[str]:
        """Names and first scores of the worst images."""
        name = next(iter(self.report.summary), "")
        rows = {str(row["name"]): row for row in self.report.images}
        return [
            f"{each} ({name} {rows[each].get(name, float('nan')):.3f})"
            for each in worst_first(self.report)[:count]
        ]


def predict_held_out(predictor: Predictor, pairs: Iterable[Pair]) -> Iterator[Judged]:
    """Predict images, with the uncertainty from one view and from several."""
    compared = compare_flips(predictor)
    for pair in pairs:
        place = predictor.view.place(pair.image)
        seen = place.seen(pair.image)
        scores, doubt = compared.doubt_seen(seen)
        answer, _ = decode_image(predictor.task, scores, pair.image, place)
        doubts = {"scores": voxel_uncertainty(predictor.task, scores)}
        if compared.compares:
            doubts["views"] = doubt
        back = {name: place.back_scores(each[None])[0] for name, each in doubts.items()}
        yield Judged(pair, answer.labels, back)


def read_held_out(folder: Path, pairs: Iterable[Pair]) -> Iterator[Judged]:
    """Read the predictions of a cross-validation; images without a prediction are skipped."""
    for pair in pairs:
        path = folder / f"{pair.name}.tif"
        if path.is_file():
            yield Judged(pair, open_labels(path, ndim=pair.image.ndim).read()[0])


def assess(
    judged: Iterable[Judged], task: Task, names: Sequence[str], *, ignore: int | None
) -> Assessment:
    """Score predictions of held-out images.

    Args:
        judged: the predictions; the uncertainty of one at a time is held in memory.
        task: task of the model.
        names: metrics; the first one ranks the images.
        ignore: label value that is excluded from scores; None: no value.
    """
    objects = task.context > 0
    rows, kept = [], list[Judged]()
    doubts: dict[str, list[np.ndarray]] = {}
    right: dict[str, list[np.ndarray]] = {}
    for item in judged:
        truth, image = item.truth, item.pair.image
        row = evaluate_pair(truth, item.labels, names, spacing=image.spacing, ignore=ignore)
        rows.append({"name": item.pair.name, **row})
        for name, (values, good) in measure_doubts(item, objects=objects, ignore=ignore).items():
            doubts.setdefault(name, []).append(values)
            right.setdefault(name, []).append(good)
        kept.append(replace(item, doubts={}))
    report = Report.of(rows, settings={"metrics": list(names)})
    title = f"Scores on {format_count(len(rows), 'held-out image')}"
    sections = evaluation_sections(report, map(_compare, kept), objects=objects, title=title)
    fitted = {name: fit_calibration(doubts[name], right[name]) for name in doubts}
    found = {name: each for name, each in fitted.items() if each is not None}
    return Assessment(report, sections, found, "objects" if objects else "voxels")


def measure_doubts(
    item: Judged, *, objects: bool, ignore: int | None
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Measure the uncertainty of objects, or of sampled voxels, and whether they are right."""
    truth, pick = item.truth, _objects if objects else _voxels
    known = np.ones(truth.shape, bool) if ignore is None else truth != ignore
    return {
        name: pick(truth * known, item.labels * known, doubt, known)
        for name, doubt in item.doubts.items()
    }


def assess_best(folder: Path, segmenter: Segmenter, held_out: HeldOut) -> Assessment | None:
    """Score the best model of a run and write the calibration into its file.

    Args:
        folder: the run folder.
        segmenter: is overwritten with the weights of the best model.
        held_out: images that were held out.

    Returns:
        The assessment; None for the classification of whole images.
    """
    if segmenter.task.image_classes:
        return None
    path = folder / MODEL_FILE
    model = checkpoint.load_model(path)
    checkpoint.load_weights(segmenter, model.weights, source=path)
    names = held_out.metrics or segmenter.task.metrics
    predictor = held_out.predictor(segmenter)
    ignore = held_out.recipe.data.ignore_label
    found = assess(
        predict_held_out(predictor, held_out.chosen), predictor.task, names, ignore=ignore
    )
    if found.calibrations:
        entry = {name: each.to_card() for name, each in found.calibrations.items()}
        checkpoint.save_model(path, model.weights, {**model.card, "calibration": entry})
    return found


def _compare(item: Judged) -> Compared:
    return Compared(item.pair.name, item.truth, item.labels, item.pair.image.read())


def _objects(
    truth: np.ndarray, labels: np.ndarray, doubt: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean uncertainty per predicted object, and whether the object is right."""
    table = overlap(truth, labels).objects
    best = np.zeros(len(table.predicted_ids))
    np.maximum.at(best, table.predicted_index, table.iou)
    inside = (labels > 0) & known
    index = np.searchsorted(table.predicted_ids, labels[inside].astype(np.uint64))
    total = np.bincount(index, doubt[inside], len(best))
    return total / np.maximum(np.bincount(index, minlength=len(best)), 1), best >= _RIGHT


def _voxels(
    truth: np.ndarray, labels: np.ndarray, doubt: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Uncertainty of sampled voxels, and whether their class is right."""
    places = np.flatnonzero(known)
    rng = generator(0, "calibration")
    if len(places) > _VOXELS:
        places = rng.choice(places, _VOXELS, replace=False)
    right = truth.reshape(-1)[places] == labels.reshape(-1)[places]
    return doubt.reshape(-1)[places].astype(np.float64), right
