"""The files of one predicted image: labels, scores, and the uncertainty of voxels and objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from unmask.api.destinations import Destination
from unmask.api.overlap import Stages
from unmask.api.results import UNCERTAINTY, Result, summarize
from unmask.api.values import Say
from unmask.atomic import remove
from unmask.blocks.resume import FOLDER
from unmask.infer.facts import label_provenance, predictor_digest
from unmask.infer.fitting import describe_fit, fit_predictor
from unmask.infer.large import network_size
from unmask.infer.notes import name_image
from unmask.infer.predictor import OpenedImage, Predictor, ScoredImage
from unmask.infer.uncertainty import ObjectUncertainty, object_uncertainty
from unmask.io import Image, open_image, open_labels, save_image, save_labels
from unmask.io.missing_chunks import find_unwritten
from unmask.profiling import stage
from unmask.progress import Progress
from unmask.space.axes import SPACE
from unmask.wording import format_count


@dataclass(frozen=True)
class Outputs:
    """Output files of one image.

    Attributes:
        target: path of the label image.
        scores: path of the scores; None: not written.
        doubt: path of the uncertainty per voxel; None: not computed.
        objects: whether to compute the mean uncertainty per object.
        cluster: ``--workers`` that label blocks; None: this process.
        resume: keep the finished blocks of an interrupted run.
    """

    target: Destination
    scores: Path | None = None
    doubt: Path | None = None
    objects: bool = False
    cluster: str | None = None
    resume: bool = False

    def facts(self, predictor: Predictor) -> dict[str, Any]:
        """Settings that determine the stored results; a resumed run must have the same."""
        if self.doubt is None:
            return {}
        return {"uncertainty": [self.objects, list(map(list, predictor.compared))]}


def choose_outputs(
    predictor: Predictor,
    image: Image,
    target: Destination,
    *,
    scores: bool,
    table: bool,
    cluster: str | None,
    resume: bool,
) -> Outputs:
    """Choose the outputs of one image; the uncertainty for a table is only a temporary file."""
    stored = _store(image, target.out / "scores") if scores else None
    doubt = _store(image, target.out / "uncertainty") if scores else None
    # Uncertainty is written in the same pass as the scores, which other processes do not store.
    possible = cluster is None and not predictor.views.mirror_positions
    if table and doubt is None and possible:
        doubt = target.out / FOLDER / f"{image.name}.uncertainty.zarr"
    return Outputs(target, stored, doubt, table and doubt is not None, cluster, resume)


def divide_work(
    predictor: Predictor, image: Image, outputs: Outputs, say: Say, progress: Progress | None
) -> Stages:
    """The prediction of an image in one piece: reading, network, then decoding and writing."""

    def read() -> OpenedImage:
        if note := find_unwritten(image.source):
            say(note)
        return predictor.open(image)

    def compute(opened: OpenedImage) -> tuple[Predictor, ScoredImage]:
        own = fit_predictor(predictor, opened.image)
        if own is not predictor:
            opened = own.open(opened.image)
        if note := describe_fit(predictor, own):
            say(f"{image.source}: {note}")
        return own, own.score(opened, uncertainty=outputs.doubt is not None, progress=progress)

    def finish(found: tuple[Predictor, ScoredImage]) -> Result:
        return _write_prediction(*found, outputs, say)

    scores = 4 * (predictor.task.channels() + 1) * max(network_size(predictor, image), 1)
    return Stages(read, compute, finish, size=scores + prod(image.shape) * image.dtype.itemsize)


def _write_prediction(
    predictor: Predictor, scored: ScoredImage, outputs: Outputs, say: Say
) -> Result:
    """Decode scores and write all outputs of an image."""
    image, target = scored.image, outputs.target
    result = predictor.decode(scored, keep_scores=outputs.scores is not None)
    doubt = result.uncertainty

    def provenance() -> dict[str, Any]:
        return label_provenance(predictor, image, predictor_digest(predictor))

    with stage("writing"):
        if outputs.scores is not None and result.scores is not None:
            save_image(outputs.scores, result.scores, like=image)
            if outputs.doubt is not None and doubt is not None:
                save_image(outputs.doubt, doubt[None], like=image)
        save_labels(target.path, result.labels, like=image, name=target.name, provenance=provenance)
    for note in result.notes:
        say(name_image(note, image.source))
    found = summarize(result.labels, objects=predictor.task.context > 0)
    if outputs.objects and doubt is not None:
        axes = SPACE[-doubt.ndim :]
        both = [Image.from_array(each, axes=axes) for each in (result.labels, doubt)]
        found[UNCERTAINTY] = object_uncertainty(*both).to_json()
    return found


def predict_in_blocks(
    predictor: Predictor, image: Image, outputs: Outputs, say: Say, progress: Progress | None
) -> Result:
    """Predict a large image block by block."""
    # Most images need no blocks, and the import takes as long as reading a few images.
    from unmask.infer.predict_blocks import plan_work, run_work

    target = outputs.target
    given = {"scores": outputs.scores, "uncertainty": outputs.doubt, "cluster": outputs.cluster}
    work = plan_work(predictor, image, **given)
    if note := describe_fit(predictor, work.predictor):
        say(f"{image.source}: {note}")
    say(f"{image.source}: {work.forecast}")
    largest = run_work(
        work,
        work.output(target.path, target.name, target.kept),
        cluster=outputs.cluster,
        resume=outputs.resume,
        progress=progress,
        say=lambda note: say(name_image(note, image.source)),
    )
    found: Result = {"objects" if predictor.task.context > 0 else "classes": largest}
    if outputs.objects and outputs.doubt is not None:
        doubt = open_image(outputs.doubt, ndim=image.ndim)
        labels = open_labels(target.path, ndim=image.ndim)
        found[UNCERTAINTY] = object_uncertainty(labels, doubt).to_json()
        if outputs.scores is None:
            remove(outputs.doubt)
    return found


def uncertainty_columns(
    predictor: Predictor, results: Sequence[Result], say: Say
) -> list[dict[str, dict[int, float]]]:
    """Columns ``uncertainty`` and ``score`` by object id, per result; empty if not computed."""
    known = [result.get(UNCERTAINTY) for result in results]
    if missing := sum(each is None for each in known):
        say(
            f"note: objects.csv has no uncertainty for {format_count(missing, 'image')}: it is not "
            "computed for classes in stacks that are predicted plane by plane, nor with --workers "
            "without --scores."
        )
    if predictor.calibration is None and missing < len(known):
        say("note: the model has no calibration, so the column score is 1 - uncertainty.")
    return [
        {} if each is None else ObjectUncertainty.of_json(each).columns(predictor.calibration)
        for each in known
    ]


def _store(image: Image, folder: Path) -> Path:
    # A separate folder, so that a glob over the output folder finds label images alone.
    return folder / f"{image.name}.zarr"
