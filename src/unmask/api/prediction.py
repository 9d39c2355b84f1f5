"""``predict``: from images to label images, in memory and in files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, overload

from unmask.api.defaults import choose_model, choose_model_for
from unmask.api.destinations import Destination, destinations, name_of
from unmask.api.files import FileTask, run_files
from unmask.api.image_outputs import (
    Outputs,
    choose_outputs,
    predict_at_once,
    predict_in_blocks,
    uncertainty_columns,
)
from unmask.api.results import (
    Done,
    Result,
    check_planes,
    check_stack,
    describe_result,
    ignore_record,
    predict_planes_into,
    record_of,
    suspicious_notes,
    unused_planes,
    write_pictures,
    write_table_of,
)
from unmask.api.values import ModelLike, Say, Settings
from unmask.blocks.resume import batch
from unmask.data.outputs import keep_results
from unmask.data.pairs import (
    Layout,
    Pair,
    Paths,
    audit_pairs,
    fingerprint,
    keep_inputs,
    open_as_seen,
)
from unmask.errors import DataError, RecipeError, SkippedError, gather, group_problems
from unmask.infer.facts import prediction_facts, predictor_digest
from unmask.infer.large import is_large
from unmask.infer.load import compare_flips, load_predictor
from unmask.infer.predictor import Prediction, Predictor
from unmask.io import Image
from unmask.io.identity import is_in_files
from unmask.io.inputs import ArrayInput, Input, as_inputs, one_input
from unmask.io.missing_chunks import find_unwritten
from unmask.io.stacks import lead_axes
from unmask.progress import Progress
from unmask.space.axes import spatial
from unmask.space.spacing import check_spacing
from unmask.tasks.complete import complete


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
        planes: axis of a stack whose positions are segmented separately: "z" for slices, "t" for
            time points; None: time points alone.
        join: join objects of neighboring slices, and track objects over time.
        overlay: write ``overlay/<stem>.png`` too, the image with outlines of its objects, and
            ``summary.html`` for several images.
        overwrite: replace results of an earlier run.
        in_place: write the labels of an OME-Zarr into its own store, as ``labels/<name>``.
        label_name: name of the label image inside an OME-Zarr; None: that of the model.
    """

    scores: bool = False
    cluster: str | None = None
    resume: bool = False
    skip_bad: bool = False
    diameter: float | None = None
    table: bool = False
    planes: str | None = None
    join: bool = False
    overlay: bool = False
    overwrite: bool = False
    in_place: bool = False
    label_name: str | None = None


@overload
def predict(
    model: ModelLike | Sequence[ModelLike] | Predictor | None,
    image: list[Any] | tuple[Any, ...],
    *,
    spacing: Sequence[float] | None = None,
    axes: str | None = None,
    settings: Settings = (),
    allow_code: bool = False,
    diameter: float | int | None = None,
    planes: str | None = None,
    join: bool = False,
) -> Iterator[Prediction]: ...


@overload
def predict(
    model: ModelLike | Sequence[ModelLike] | Predictor | None,
    image: Input,
    *,
    spacing: Sequence[float] | None = None,
    axes: str | None = None,
    settings: Settings = (),
    allow_code: bool = False,
    diameter: float | int | None = None,
    planes: str | None = None,
    join: bool = False,
) -> Prediction: ...


def predict(  # noqa: PLR0913 - the command line has as many options
    model: ModelLike | Sequence[ModelLike] | Predictor | None,
    image: Input | list[Any] | tuple[Any, ...],
    *,
    spacing: Sequence[float] | None = None,
    axes: str | None = None,
    settings: Settings = (),
    allow_code: bool = False,
    diameter: float | int | None = None,
    planes: str | None = None,
    join: bool = False,
) -> Prediction | Iterator[Prediction]:
    """Segment one image; joined scores and their uncertainty are kept next to its labels.

    A list of images gives an iterator over their predictions, in the same order; all of them are
    opened first, so that everything that is wrong is reported at once.

    Args:
        model: model file, run folder, name of a shipped model, several of them (an ensemble), or
            a ``Predictor``; None for the shipped model that fits the image.
        image: path, array ``(*space)`` or ``(C, *space)`` (numpy, dask, zarr, torch, PIL, xarray),
            or an opened image; or a list of them.
        spacing: voxel size of an array, slow axis first.
        axes: axes of the file or array where they are not plain.
        settings: changes to the recipe's ``infer`` and ``task`` fields.
        allow_code: run parts that the model carries as source; without it such a model is refused.
        diameter: of the objects in the image, in its pixels. The image is resized so that they
            are as large as the objects that the model was trained on; labels keep its own size.
        planes: axis of a stack whose positions are segmented separately: "z" for slices, "t" for
            time points; None: time points alone. Scores of stacks are not kept.
        join: join objects of neighboring slices, and track objects over time.

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
    if model is None:
        first: Any = image[0] if isinstance(image, list | tuple) and image else image
        model = choose_model_for(first, axes=axes, say=notes.append)
    predictor = (
        model
        if isinstance(model, Predictor)
        else load_predictor(
            model, settings, diameter=diameter, allow_code=allow_code, say=notes.append
        )
    )
    predict_one = partial(_predict_one, predictor, notes, join=join)
    channels = (predictor.layout or Layout(predictor.ndim)).channels
    layout = Layout(predictor.ndim, axes, planes=check_planes(planes) or "auto", channels=channels)
    if not isinstance(image, list | tuple):
        return predict_one(_open_input(image, predictor, layout, spacing))
    return map(predict_one, _open_inputs(image, predictor, layout, spacing))


def _predict_one(
    predictor: Predictor,
    notes: Sequence[str],
    image: Image,
    *,
    join: bool,
) -> Prediction:
    """The prediction of an opened image or stack, with the notes on the model."""
    if lead_axes(image, predictor.ndim):
        from unmask.infer.planes import predict_stack

        result = predict_stack(predictor, image, join=join)
    else:
        result = predictor.predict(image, keep_scores=True, uncertainty=True)
    return replace(result, notes=(*notes, *result.notes), image=image)


def _open_inputs(
    images: list[Any] | tuple[Any, ...],
    predictor: Predictor,
    layout: Layout,
    spacing: Sequence[float] | None,
) -> list[Image]:
    """Open all images of a list; all problems at once."""
    opened: list[Image] = []
    problems: list[str] = []
    for each in as_inputs(images):
        try:
            opened.append(_open_input(each, predictor, layout, spacing))
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError(gather(problems, heading=f"{len(problems)} problem(s) found:"))
    return opened


def _open_input(
    image: Input, predictor: Predictor, layout: Layout, spacing: Sequence[float] | None
) -> Image:
    """An image in memory or in a file; ``spacing`` is that of an array."""
    given = one_input(image)
    opened = open_as_seen(given, layout, predictor.channels)
    in_memory = isinstance(given, ArrayInput) and not isinstance(given.data, Image)
    if spacing is None or not in_memory:
        return opened
    count = len(spatial(opened.axes))
    return replace(opened, spacing=check_spacing(spacing, count, source=opened.source))


def predict_files(  # noqa: PLR0913 - the command line has as many options
    model: ModelLike | Sequence[ModelLike] | None,
    images: Paths,
    *,
    out: str | Path,
    settings: Settings = (),
    options: Options | None = None,
    say: Say = print,
    progress: Progress | None = None,
    allow_code: bool = False,
    record: Callable[[Mapping[str, Any]], None] = ignore_record,
) -> list[Path]:
    """Segment files; one label image per input in ``out``, same stem and format family.

    Large images are predicted in blocks, see ``unmask.infer.predict_blocks``. A task about whole
    images writes one table instead, see ``unmask.api.classes``.

    Args:
        model: model file, run folder, name of a shipped model, or several of them (an ensemble);
            None for the shipped model that fits the images.
        images: file, folder, glob or OME-Zarr, or several of them.
        out: folder of the label images.
        settings: changes to the recipe's ``infer`` and ``task`` fields.
        options: what is written and where the work is done.
        say: gets one line per file, and what a user should know of its labels.
        progress: called with (windows done, windows in all) of the image in work.
        allow_code: run parts that the models carry as source; without it such models are refused.
        record: called per file with a mapping: ``image``, ``output`` and counts of the labels.

    Raises:
        DataError: unreadable files, two inputs of one output name, or results that exist already.
        SkippedError: with ``skip_bad``, after all other files are done.
        CheckpointError: another run works in ``out``, or an ended one had other settings.
        SaveError: ``out`` cannot be written.
    """
    options = options or Options()
    if model is None:
        model = choose_model(images, settings := list(settings), say)
    predictor = _load(model, settings, options, allow_code=allow_code, say=say)
    pairs, bad = _open_pairs(images, predictor, options, say)
    skipped = bad if options.skip_bad else None
    if complete(predictor.task).image_classes:
        from unmask.api.classes import TABLE, write_classes

        keep_results([Path(out) / TABLE], Path(out), kept=not options.overwrite)
        table = write_classes(predictor, pairs, Path(out), skipped, say=say, progress=progress)
        record({"output": table})
        return _report_skipped([table], bad)
    targets = destinations(
        pairs, Path(out), name_of(predictor, options.label_name), in_place=options.in_place
    )
    kept = not (options.resume or options.overwrite or options.in_place)
    keep_inputs([] if options.in_place else pairs, Path(out), resume=options.resume)
    keep_results([target.path for target in targets], Path(out), kept=kept)
    with batch(Path(out), resume=options.resume) as finished:
        run = partial(run_files, say=say, finished=finished, skipped=skipped)
        results = _predict_labels(predictor, pairs, targets, options, run, say, progress)
        _write_extras(predictor, results, Path(out), options, say)
        for image, path, result in results:
            record(record_of(image, path, result))
        # What is finished stays known, so that --resume does the skipped files.
        return _report_skipped([path for _, path, _ in results], bad)


def _load(
    model: ModelLike | Sequence[ModelLike],
    settings: Settings,
    options: Options,
    *,
    allow_code: bool,
    say: Say,
) -> Predictor:
    """The predictor of files, which compares mirrored views if it has to."""
    predictor = load_predictor(
        model, settings, diameter=options.diameter, allow_code=allow_code, say=say
    )
    # Each mirrored view costs one more run of the network, so only --scores compares them.
    if (predictor.uncertainty or ("flips" if options.scores else "scores")) == "flips":
        return compare_flips(predictor)
    return predictor


def _write_extras(
    predictor: Predictor, results: Sequence[Done], out: Path, options: Options, say: Say
) -> None:
    """Write the pictures and the table that were asked for, of all files together."""
    if options.overlay:
        write_pictures(predictor, results, out, say)
    if options.table:
        columns = uncertainty_columns(predictor, [found for _, _, found in results], say)
        given = {"join": options.join, "columns": columns, "say": say}
        write_table_of(results, out, predictor.ndim, **given)


def _predict_labels(
    predictor: Predictor,
    pairs: Sequence[Pair],
    targets: Sequence[Destination],
    options: Options,
    run: Callable[..., Iterator[tuple[FileTask[Result], Result]]],
    say: Say,
    progress: Progress | None,
) -> list[Done]:
    """Predict all files, and report suspicious results."""
    before, weights = fingerprint(pairs), predictor_digest(predictor)
    work = zip(pairs, targets, strict=True)
    tasks = [_file_task(predictor, *each, weights, options, say, progress) for each in work]
    results = [
        (task.pair.image, task.output, result or {})
        for task, result in run(tasks, before)
        if task.output is not None
    ]
    for note in suspicious_notes(results):
        say(note)
    return results


def _file_task(
    predictor: Predictor,
    pair: Pair,
    target: Destination,
    weights: str,
    options: Options,
    say: Say,
    progress: Progress | None,
) -> FileTask[Result]:
    outputs = choose_outputs(
        predictor, pair.image, target, scores=options.scores, table=options.table,
        cluster=options.cluster, resume=options.resume,
    )  # fmt: skip

    def facts() -> dict[str, Any]:
        return prediction_facts(predictor, pair.image, weights) | outputs.facts(predictor)

    run = partial(_predict_file, predictor, pair.image, outputs, options, say, progress)
    return FileTask(pair, run, outputs.target.path, facts, describe_result)


def _open_pairs(
    images: Paths, predictor: Predictor, options: Options, say: Say
) -> tuple[list[Pair], list[str]]:
    """Images that can be predicted, and what is wrong with those that are skipped.

    Raises:
        DataError: files that are wrong, if they are not skipped or no other is left.
        RecipeError: options that mean nothing for them.
    """
    planes = check_planes(options.planes) or "auto"
    rules = replace(predictor.layout or Layout(predictor.ndim), planes=planes)
    audit = audit_pairs(images, None, rules, channels=predictor.channels)
    if audit.problems and not (options.skip_bad and audit.pairs):
        raise DataError(gather(audit.problems, heading=f"{len(audit.problems)} problem(s) found:"))
    _check_options(audit.pairs, options, whole_image=bool(complete(predictor.task).image_classes))
    opened = [pair.image for pair in audit.pairs]
    for note in group_problems([*audit.notes, *unused_planes(opened, options.planes, rules.ndim)]):
        say(f"note: {note}")
    return audit.pairs, audit.problems


def _report_skipped(written: list[Path], bad: Sequence[str]) -> list[Path]:
    if bad:
        raise SkippedError(bad, written)
    return written


def _predict_file(
    predictor: Predictor,
    image: Image,
    outputs: Outputs,
    options: Options,
    say: Say,
    progress: Progress | None,
) -> Result:
    """Predict one image into its files.

    Raises:
        DataError: the image is wrong.
    """
    if note := find_unwritten(image.source):
        say(note)
    if lead_axes(image, predictor.ndim):
        check_stack(image, refused=bool(options.cluster or options.scores))
        work = partial(predict_planes_into, join=options.join, resume=options.resume)
        work = partial(work, uncertain=outputs.objects)
        return work(predictor, image, outputs.target, say=say, progress=progress)
    blocks = options.cluster or predictor.block or is_large(predictor, image)
    work = predict_in_blocks if blocks else predict_at_once
    return work(predictor, image, outputs, say, progress)


def _check_options(pairs: Sequence[Pair], options: Options, *, whole_image: bool) -> None:
    """Refuse options that mean nothing here.

    Raises:
        RecipeError: options of label images for a task about whole images; to resume with arrays.
    """
    if whole_image and replace(options, skip_bad=False, overwrite=False) != Options():
        raise RecipeError(
            "expected none of --scores, --table, --overlay, --planes, --join, --workers and "
            "--resume with a task about whole images, found one of them. They are for label "
            "images; leave them out."
        )
    arrays = [pair.name for pair in pairs if not is_in_files(pair.image)]
    if options.resume and arrays:
        raise RecipeError(
            f"resume: expected images in files, found {arrays[0]} in memory, of which a later run "
            "cannot tell whether it is the same. Leave out resume."
        )
