"""``predict``: from images to label images, in memory and in files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, overload

from unmask.api.files import FileTask, run_files
from unmask.api.values import ModelLike, Say, Settings
from unmask.atomic import remove
from unmask.blocks.resume import FOLDER, batch
from unmask.data.pairs import (
    Layout,
    Pair,
    Paths,
    audit_pairs,
    fingerprint,
    keep_inputs,
)
from unmask.errors import DataError, RecipeError, SkippedError, gather, grouped
from unmask.infer.facts import prediction_facts, predictor_digest
from unmask.infer.large import is_large
from unmask.infer.load import compare_flips, load_predictor
from unmask.infer.predictor import Prediction, Predictor
from unmask.infer.uncertainty import ObjectUncertainty, object_uncertainty
from unmask.io import Image, open_image, open_labels, output_name, save_image
from unmask.io.identity import is_in_files
from unmask.io.inputs import ArrayInput, Input, as_inputs, one_input
from unmask.io.missing_chunks import unwritten
from unmask.progress import Progress
from unmask.space.axes import SPACE
from unmask.space.spacing import checked
from unmask.tasks.complete import complete

# What is kept with the labels of an image: see `ObjectUncertainty.to_json`.
Values = dict[str, list[float]] | None


@dataclass(frozen=True)
class Options:
    """What a prediction of files writes, and where its work is done.

    Attributes:
        scores: write the joined activations too, as ``scores/<stem>.zarr``, and the uncertainty of
            every voxel as ``uncertainty/<stem>.zarr``.
        cluster: None for this process; ``threads:N`` or ``processes:N`` for workers on this
            machine; or the address of a dask.distributed scheduler.
        resume: keep what an ended run of the same request has finished.
        skip_bad: leave out files that are wrong, and name them at the end.
        diameter: of the objects in the images, in their pixels; see ``predict``.
        table: write ``objects.csv`` too, with one row per object of every image, its uncertainty
            among them.
    """

    scores: bool = False
    cluster: str | None = None
    resume: bool = False
    skip_bad: bool = False
    diameter: float | None = None
    table: bool = False


@overload
def predict(
    model: ModelLike | Sequence[ModelLike] | Predictor,
    image: list[Any] | tuple[Any, ...],
    *,
    spacing: Sequence[float] | None = None,
    axes: str | None = None,
    settings: Settings = (),
    allow_code: bool = False,
    diameter: float | int | None = None,
) -> Iterator[Prediction]: ...


@overload
def predict(
    model: ModelLike | Sequence[ModelLike] | Predictor,
    image: Input,
    *,
    spacing: Sequence[float] | None = None,
    axes: str | None = None,
    settings: Settings = (),
    allow_code: bool = False,
    diameter: float | int | None = None,
) -> Prediction: ...


def predict(
    model: ModelLike | Sequence[ModelLike] | Predictor,
    image: Input | list[Any] | tuple[Any, ...],
    *,
    spacing: Sequence[float] | None = None,
    axes: str | None = None,
    settings: Settings = (),
    allow_code: bool = False,
    diameter: float | int | None = None,
) -> Prediction | Iterator[Prediction]:
    """Segment one image; joined scores and their uncertainty are kept next to its labels.

    A list of images gives an iterator over their predictions, in the same order; all of them are
    opened first, so that everything that is wrong is reported at once.

    Args:
        model: model file, run folder, name of a shipped model, several of them (an ensemble), or
            a ``Predictor``.
        image: path, array ``(*space)`` or ``(C, *space)`` (numpy, dask, zarr, torch, PIL, xarray),
            or an opened image; or a list of them.
        spacing: voxel size of an array, slow axis first.
        axes: axes of the file or array where they are not plain.
        settings: changes to the recipe's ``infer`` and ``task`` fields.
        allow_code: run parts that the model carries as source; without it such a model is refused.
        diameter: of the objects in the image, in its pixels. The image is resized so that they
            are as large as the objects that the model was trained on; labels keep its own size.

    Examples:
        >>> result = predict("runs/cells", "new/017.tif")  # doctest: +SKIP
        >>> result.labels.shape  # doctest: +SKIP
        (512, 512)
    """
    if isinstance(model, Predictor) and (list(settings) or diameter is not None):
        raise RecipeError(
            f"settings={list(settings)}, diameter={diameter}: expected neither with a Predictor, "
            "which has its own. Give the model's path, or change the predictor."
        )
    notes: list[str] = []
    predictor = (
        model
        if isinstance(model, Predictor)
        else load_predictor(
            model, settings, diameter=diameter, allow_code=allow_code, say=notes.append
        )
    )

    def predict_one(image: Image) -> Prediction:
        result = predictor.predict(image, keep_scores=True, uncertainty=True)
        return replace(result, notes=(*notes, *result.notes), image=image)

    if not isinstance(image, list | tuple):
        return predict_one(_open_input(image, predictor, axes, spacing))
    return map(predict_one, _open_inputs(image, predictor, axes, spacing))


def _open_inputs(
    images: list[Any] | tuple[Any, ...],
    predictor: Predictor,
    axes: str | None,
    spacing: Sequence[float] | None,
) -> list[Image]:
    """Open all images of a list; all problems at once."""
    opened: list[Image] = []
    problems: list[str] = []
    for each in as_inputs(images):
        try:
            opened.append(_open_input(each, predictor, axes, spacing))
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError(gather(problems, heading=f"{len(problems)} problem(s) found:"))
    return opened


def _open_input(
    image: Input, predictor: Predictor, axes: str | None, spacing: Sequence[float] | None
) -> Image:
    """An image in memory or in a file; ``spacing`` is that of an array."""
    given = one_input(image)
    opened = open_image(given, axes=axes, ndim=predictor.ndim)
    in_memory = isinstance(given, ArrayInput) and not isinstance(given.data, Image)
    if spacing is None or not in_memory:
        return opened
    return replace(opened, spacing=checked(spacing, opened.ndim, source=opened.source))


def predict_files(
    model: ModelLike | Sequence[ModelLike],
    images: Paths,
    *,
    out: str | Path,
    settings: Settings = (),
    options: Options | None = None,
    say: Say = print,
    progress: Progress | None = None,
    allow_code: bool = False,
) -> list[Path]:
    """Segment files; one label image per input in ``out``, same stem and format family.

    Large images are predicted in blocks, see ``unmask.infer.predict_blocks``. A task about whole
    images writes one table instead, see ``unmask.api.classes``.

    Args:
        model: model file, run folder, name of a shipped model, or several of them (an ensemble).
        images: file, folder, glob or OME-Zarr, or several of them.
        out: folder of the label images.
        settings: changes to the recipe's ``infer`` and ``task`` fields.
        options: what is written and where the work is done.
        say: gets one line per file, and what a user should know of its labels.
        progress: called with (windows done, windows in all) of the image in work.
        allow_code: run parts that the models carry as source; without it such models are refused.

    Raises:
        DataError: files that cannot be read, or two inputs of one output name; all at once.
        SkippedError: with ``skip_bad``, after all other files are done.
        CheckpointError: another run works in ``out``, or an ended one had other settings.
        SaveError: ``out`` cannot be written.
    """
    options = options or Options()
    predictor = load_predictor(
        model, settings, diameter=options.diameter, allow_code=allow_code, say=say
    )
    predictor = _with_flips(predictor, options)
    rules = predictor.layout or Layout(predictor.ndim)
    pairs, bad = _open_pairs(images, rules, predictor, options, say)
    if complete(predictor.task).image_classes:
        from unmask.api.classes import write_classes

        skipped = bad if options.skip_bad else None
        table = write_classes(predictor, pairs, Path(out), skipped, say=say, progress=progress)
        return _report_skipped([table], bad)
    keep_inputs(pairs, Path(out), resume=options.resume)
    before, weights = fingerprint(pairs), predictor_digest(predictor)
    tasks = [
        _file_task(predictor, pair, Path(out), weights, options, say, progress) for pair in pairs
    ]
    with batch(Path(out), resume=options.resume) as finished:
        skipped = bad if options.skip_bad else None
        done = run_files(tasks, before, say=say, finished=finished, skipped=skipped)
        results = {task.output: found for task, found in done if task.output is not None}
        written = list(results)
        if options.table:
            _write_table(predictor, pairs, results, Path(out), say)
        # After an error what is finished stays known, so that --resume does the skipped files.
        return _report_skipped(written, bad)


def _with_flips(predictor: Predictor, options: Options) -> Predictor:
    """The predictor with the mirrored views that its uncertainty needs."""
    asked = predictor.uncertainty
    if asked == "flips" or (asked is None and options.scores):
        return compare_flips(predictor)
    return predictor


def _file_task(
    predictor: Predictor,
    pair: Pair,
    out: Path,
    weights: str,
    options: Options,
    say: Say,
    progress: Progress | None,
) -> FileTask[Values]:
    path = output_name(pair.image, out)
    wanted = _wanted(predictor, pair.image, path, options)

    def facts() -> dict[str, Any]:
        known = prediction_facts(predictor, pair.image, weights)
        # Labels do not depend on it, but what is kept with them does.
        doubt = [wanted.measured, bool(wanted.scores), list(map(list, predictor.compared))]
        return known | {"uncertainty": doubt} if wanted.doubt else known

    return FileTask(pair, partial(_predict_file, predictor, pair.image, wanted, say, progress),
                    path, facts)  # fmt: skip


@dataclass(frozen=True)
class _Wanted:
    """What is made of one image.

    Attributes:
        labels: the label image.
        scores: where scores go; None: nowhere.
        doubt: where the uncertainty of every voxel goes; None: nowhere.
        measured: whether the mean uncertainty per object is wanted.
        blocks: whether the image is predicted in blocks.
        cluster: of the options.
        resume: of the options.
    """

    labels: Path
    scores: Path | None
    doubt: Path | None
    measured: bool
    blocks: bool
    cluster: str | None
    resume: bool


def _wanted(predictor: Predictor, image: Image, path: Path, options: Options) -> _Wanted:
    blocks = _needs_blocks(predictor, image, options)
    scores = _store_of(image, path, "scores") if options.scores else None
    doubt = _store_of(image, path, "uncertainty") if options.scores else None
    # The uncertainty of blocks is stored with the scores, in one pass of this process.
    possible = options.cluster is None and not predictor.views.mirror_positions
    if options.table and doubt is None and (possible or not blocks):
        doubt = path.parent / FOLDER / f"{image.name}.uncertainty.zarr"
    measured = options.table and doubt is not None
    return _Wanted(path, scores, doubt, measured, blocks, options.cluster, options.resume)


def _write_table(
    predictor: Predictor,
    pairs: Sequence[Pair],
    results: Mapping[Path, Values],
    out: Path,
    say: Say,
) -> None:
    from unmask.api.measuring import write_objects

    images = {output_name(pair.image, out): pair.image for pair in pairs}
    columns = {
        path: ObjectUncertainty.of_json(found).columns(predictor.calibration)
        for path, found in results.items()
        if found
    }
    if missing := len(results) - len(columns):
        say(f"note: {missing} image(s) have no uncertainty in objects.csv, as their scores are "
            "not in this process. Add --scores.")  # fmt: skip
    elif predictor.calibration is None:
        say("note: the model knows no calibration; the column score is 1 - uncertainty.")
    write_objects([(path, images[path]) for path in results], out, columns=columns, say=say)


def _open_pairs(
    images: Paths, rules: Layout, predictor: Predictor, options: Options, say: Say
) -> tuple[list[Pair], list[str]]:
    """Images that can be predicted, and what is wrong with those that are skipped.

    Raises:
        DataError: files that are wrong, if they are not skipped or no other is left.
        RecipeError: options that mean nothing for them.
    """
    audit = audit_pairs(images, None, rules, channels=predictor.channels)
    if audit.problems and not (options.skip_bad and audit.pairs):
        raise DataError(gather(audit.problems, heading=f"{len(audit.problems)} problem(s) found:"))
    _check_options(audit.pairs, options, whole_image=bool(complete(predictor.task).image_classes))
    for note in grouped(audit.notes):
        say(f"note: {note}")
    return audit.pairs, audit.problems


def _report_skipped(written: list[Path], bad: Sequence[str]) -> list[Path]:
    if bad:
        raise SkippedError(bad, written)
    return written


def _predict_file(
    predictor: Predictor,
    image: Image,
    wanted: _Wanted,
    say: Say,
    progress: Progress | None,
) -> Values:
    """Predict one image into files; gives the uncertainty of its objects, if it is wanted.

    Raises:
        DataError: the image is wrong.
    """
    if note := unwritten(image.source):
        say(note)
    work = _predict_in_blocks if wanted.blocks else _predict_at_once
    return work(predictor, image, wanted, say, progress)


def _needs_blocks(predictor: Predictor, image: Image, options: Options) -> bool:
    return bool(options.cluster or predictor.block or is_large(predictor, image))


def _check_options(pairs: Sequence[Pair], options: Options, *, whole_image: bool) -> None:
    """Refuse options that mean nothing here.

    Raises:
        RecipeError: options of label images for a task about whole images; to resume with arrays.
    """
    if whole_image and options != Options(skip_bad=options.skip_bad):
        raise RecipeError(
            "expected none of --scores, --table, --workers and --resume with a task about whole "
            "images, found one of them. They are for label images; leave them out."
        )
    arrays = [pair.name for pair in pairs if not is_in_files(pair.image)]
    if options.resume and arrays:
        raise RecipeError(
            f"resume: expected images in files, found {arrays[0]} in memory, of which a later run "
            "cannot tell whether it is the same. Leave out resume."
        )


def _predict_at_once(
    predictor: Predictor,
    image: Image,
    wanted: _Wanted,
    say: Say,
    progress: Progress | None,
) -> Values:
    result = predictor.predict(
        image,
        keep_scores=wanted.scores is not None,
        uncertainty=wanted.doubt is not None,
        progress=progress,
    )
    if wanted.scores is not None and result.scores is not None:
        save_image(wanted.scores, result.scores, like=image)
    if wanted.scores is not None and wanted.doubt is not None and result.uncertainty is not None:
        save_image(wanted.doubt, result.uncertainty[None], like=image)
    save_image(wanted.labels, result.labels, like=image)
    for note in result.notes:
        say(f"{image.source}: {note}")
    if not wanted.measured or result.uncertainty is None:
        return None
    axes = SPACE[-result.labels.ndim :]
    labels, doubt = (Image.from_array(a, axes=axes) for a in (result.labels, result.uncertainty))
    return object_uncertainty(labels, doubt).to_json()


def _predict_in_blocks(
    predictor: Predictor,
    image: Image,
    wanted: _Wanted,
    say: Say,
    progress: Progress | None,
) -> Values:
    # The engine of blocks is not needed for most images, and costs as much as reading a few.
    from unmask.infer.predict_blocks import plan_work, run_work

    work = plan_work(
        predictor,
        image,
        scores=wanted.scores,
        uncertainty=wanted.doubt,
        cluster=wanted.cluster,
    )
    say(f"{image.source}: {work.forecast}")
    run_work(
        work,
        wanted.labels,
        cluster=wanted.cluster,
        resume=wanted.resume,
        progress=progress,
        say=lambda note: say(f"{image.source}: {note}"),
    )
    if not wanted.measured or wanted.doubt is None:
        return None
    doubt = open_image(wanted.doubt, ndim=image.ndim)
    found = object_uncertainty(open_labels(wanted.labels, ndim=image.ndim), doubt)
    if wanted.scores is None:
        remove(wanted.doubt)
    return found.to_json()


def _store_of(image: Image, path: Path, kind: str) -> Path:
    """In a folder of their own, so that the other one holds label images alone."""
    return path.parent / kind / f"{image.name}.zarr"
