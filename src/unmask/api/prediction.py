"""``predict``: from images to label images, in memory and in files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, overload

from unmask.api.destinations import Destination, destinations, name_of
from unmask.api.files import FileTask, run_files
from unmask.api.values import ModelLike, Say, Settings
from unmask.blocks.resume import batch
from unmask.data.pairs import (
    Layout,
    Pair,
    Paths,
    audit_pairs,
    fingerprint,
    keep_inputs,
)
from unmask.errors import DataError, RecipeError, SkippedError, gather, grouped
from unmask.infer.facts import label_provenance, prediction_facts, predictor_digest
from unmask.infer.large import is_large
from unmask.infer.load import load_predictor
from unmask.infer.predictor import Prediction, Predictor
from unmask.io import Image, open_image, save_image, save_labels
from unmask.io.identity import is_in_files
from unmask.io.inputs import ArrayInput, Input, as_inputs, one_input
from unmask.io.missing_chunks import unwritten
from unmask.progress import Progress
from unmask.space.spacing import checked
from unmask.tasks.complete import complete


@dataclass(frozen=True)
class Options:
    """What a prediction of files writes, and where its work is done.

    Attributes:
        scores: write the joined activations too, as ``scores/<stem>.zarr``.
        cluster: None for this process; ``threads:N`` or ``processes:N`` for workers on this
            machine; or the address of a dask.distributed scheduler.
        resume: keep what an ended run of the same request has finished.
        skip_bad: leave out files that are wrong, and name them at the end.
        diameter: of the objects in the images, in their pixels; see ``predict``.
        table: write ``objects.csv`` too, with one row per object of every image.
        in_place: put the labels of an OME-Zarr into its own store, as ``labels/<name>``.
        label_name: name of the label image inside an OME-Zarr; None: that of the model.
    """

    scores: bool = False
    cluster: str | None = None
    resume: bool = False
    skip_bad: bool = False
    diameter: float | None = None
    table: bool = False
    in_place: bool = False
    label_name: str | None = None


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
    """Segment one image; the joined scores are kept next to its labels.

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
        result = predictor.predict(image, keep_scores=True)
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
    if predictor.layout is not None:
        opened = predictor.layout.channels.choose(opened)
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
    rules = predictor.layout or Layout(predictor.ndim)
    pairs, bad = _open_pairs(images, rules, predictor, options, say)
    skipped = bad if options.skip_bad else None
    if complete(predictor.task).image_classes:
        from unmask.api.classes import write_classes

        table = write_classes(predictor, pairs, Path(out), skipped, say=say, progress=progress)
        return _report_skipped([table], bad)
    targets = destinations(
        pairs, Path(out), name_of(predictor, options.label_name), in_place=options.in_place
    )
    keep_inputs([] if options.in_place else pairs, Path(out), resume=options.resume)
    before, weights = fingerprint(pairs), predictor_digest(predictor)
    tasks = [
        _file_task(predictor, pair, target, weights, options, say, progress)
        for pair, target in zip(pairs, targets, strict=True)
    ]
    with batch(Path(out), resume=options.resume) as finished:
        done = run_files(tasks, before, say=say, finished=finished, skipped=skipped)
        written = [task.output for task, _ in done if task.output is not None]
        if options.table:
            images = {it.path: pair.image for it, pair in zip(targets, pairs, strict=True)}
            _write_table(images, written, Path(out), say)
        # After an error what is finished stays known, so that --resume does the skipped files.
        return _report_skipped(written, bad)


def _file_task(
    predictor: Predictor,
    pair: Pair,
    target: Destination,
    weights: str,
    options: Options,
    say: Say,
    progress: Progress | None,
) -> FileTask[None]:
    return FileTask(
        pair,
        partial(_predict_file, predictor, pair.image, target, options, say, progress),
        target.path,
        partial(prediction_facts, predictor, pair.image, weights),
    )


def _write_table(
    images: Mapping[Path, Image], written: Sequence[Path], out: Path, say: Say
) -> None:
    from unmask.api.measuring import write_objects

    write_objects([(path, images[path]) for path in written], out, say=say)


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
    target: Destination,
    options: Options,
    say: Say,
    progress: Progress | None,
) -> None:
    """Predict one image into a file.

    Raises:
        DataError: the image is wrong.
    """
    if note := unwritten(image.source):
        say(note)
    work = _predict_in_blocks if _needs_blocks(predictor, image, options) else _predict_at_once
    work(predictor, image, target, options, say, progress)


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
    target: Destination,
    options: Options,
    say: Say,
    progress: Progress | None,
) -> None:
    result = predictor.predict(image, keep_scores=options.scores, progress=progress)
    if result.scores is not None:
        save_image(_scores_of(image, target.out), result.scores, like=image)

    def provenance() -> dict[str, Any]:
        return label_provenance(predictor, image, predictor_digest(predictor))

    save_labels(target.path, result.labels, like=image, name=target.name, provenance=provenance)
    for note in result.notes:
        say(f"{image.source}: {note}")


def _predict_in_blocks(
    predictor: Predictor,
    image: Image,
    target: Destination,
    options: Options,
    say: Say,
    progress: Progress | None,
) -> None:
    # The engine of blocks is not needed for most images, and costs as much as reading a few.
    from unmask.infer.predict_blocks import plan_work, run_work

    scores = _scores_of(image, target.out) if options.scores else None
    work = plan_work(predictor, image, scores=scores, cluster=options.cluster)
    say(f"{image.source}: {work.forecast}")
    run_work(
        work,
        work.output(target.path, target.name, target.kept),
        cluster=options.cluster,
        resume=options.resume,
        progress=progress,
        say=lambda note: say(f"{image.source}: {note}"),
    )


def _scores_of(image: Image, out: Path) -> Path:
    """In a folder of their own, so that the other one holds label images alone."""
    return out / "scores" / f"{image.name}.zarr"
