"""``predict``: from images to label images, in memory and in files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, overload

from unmask.api.defaults import choose_model, choose_model_for
from unmask.api.destinations import Destination, settle_destinations
from unmask.api.dropped_notes import group_dropped
from unmask.api.files import FileTask, describe_outputs, run_files
from unmask.api.image_outputs import (
    Outputs,
    choose_outputs,
    divide_work,
    predict_in_blocks,
    uncertainty_columns,
)
from unmask.api.opening import open_all, open_one
from unmask.api.prediction_options import Options, refuse_label_options
from unmask.api.results import (
    Done,
    Result,
    check_planes,
    check_stack,
    describe_result,
    ignore_record,
    predict_planes_into,
    record_of,
    report_profile,
    suspicious_notes,
    unused_join,
    unused_planes,
    write_pictures,
    write_table_of,
)
from unmask.api.values import ModelLike, Say, Settings
from unmask.atomic import tidy_folder
from unmask.blocks.resume import batch
from unmask.blocks.scheduler import check_workers
from unmask.data.channel_choice import channel_notes
from unmask.data.outputs import keep_results, mixed_note
from unmask.data.pairs import (
    Layout,
    Pair,
    Paths,
    audit_pairs,
    fingerprint,
)
from unmask.data.tables import PREDICTED
from unmask.errors import RecipeError, SkippedError, group_problems, message, raise_problems
from unmask.infer.facts import prediction_facts, predictor_digest
from unmask.infer.large import is_large
from unmask.infer.load import compare_flips, load_predictor
from unmask.infer.predictor import Prediction, Predictor
from unmask.interruption import note_kept
from unmask.io import Image
from unmask.io.identity import is_in_files
from unmask.io.inputs import Input
from unmask.io.missing_chunks import find_unwritten
from unmask.io.stacks import lead_axes
from unmask.profiling import stage
from unmask.progress import Progress
from unmask.tasks.complete import complete


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
    progress: Progress | None = None,
    device: str = "auto",
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
    progress: Progress | None = None,
    device: str = "auto",
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
    progress: Progress | None = None,
    device: str = "auto",
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
        progress: called with (windows done, windows in all) of the image in work.
        device: where the network runs: ``auto`` (the GPU if there is one), ``cpu``, ``cuda:1``, ...

    Examples:
        >>> result = predict("runs/cells", "new/017.tif")  # doctest: +SKIP
        >>> result.labels.shape  # doctest: +SKIP
        (512, 512)
    """
    given: dict[str, Any] = {"settings": list(settings), "diameter": diameter, "device": device}
    notes: list[str] = []
    if model is None:
        first: Any = image[0] if isinstance(image, list | tuple) and image else image
        model = choose_model_for(first, axes=axes, planes=planes, say=notes.append)
    if isinstance(model, Predictor):
        _refuse_changes(given)
        predictor = model
    else:
        predictor = load_predictor(model, **given, allow_code=allow_code, say=notes.append)
    predict_one = partial(_predict_one, predictor, notes, join=join, progress=progress)
    channels = (predictor.layout or Layout(predictor.ndim)).channels
    layout = Layout(predictor.ndim, axes, planes=check_planes(planes) or "auto", channels=channels)
    if not isinstance(image, list | tuple):
        return predict_one(open_one(image, predictor, layout, spacing))
    return map(predict_one, open_all(image, predictor, layout, spacing))


def _refuse_changes(given: Mapping[str, Any]) -> None:
    """Refuse changes to a predictor that is loaded already."""
    if given != {"settings": [], "diameter": None, "device": "auto"}:
        raise RecipeError(
            message(
                ", ".join(f"{name}={value}" for name, value in given.items()),
                expected="none of them with a Predictor, which has its own",
                found="some",
                do="Give the model's path, or change the predictor.",
            )
        )


def _predict_one(
    predictor: Predictor,
    notes: Sequence[str],
    image: Image,
    *,
    join: bool,
    progress: Progress | None,
) -> Prediction:
    """The prediction of an opened image or stack, with the notes on the model."""
    if lead_axes(image, predictor.ndim):
        from unmask.infer.planes import predict_stack

        result = predict_stack(predictor, image, join=join, progress=progress)
    else:
        result = predictor.predict(image, keep_scores=True, uncertainty=True, progress=progress)
    choice = (predictor.layout or Layout(predictor.ndim)).channels
    notes = (*notes, *channel_notes([image], predictor.channels, choice))
    return replace(result, notes=(*notes, *result.notes), image=image)


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
        say: receives one line per file, and notes on its labels.
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
    check_workers(options.cluster)
    with report_profile(say, record) if options.profile else nullcontext():
        with stage("model"):
            if model is None:
                model = choose_model(images, settings := list(settings), say, planes=options.planes)
            predictor = _load(model, settings, options, allow_code=allow_code, say=say)
        with tidy_folder(out):
            return _predict_files(predictor, images, Path(out), options, say, progress, record)


def _predict_files(
    predictor: Predictor,
    images: Paths,
    out: Path,
    options: Options,
    say: Say,
    progress: Progress | None,
    record: Callable[[Mapping[str, Any]], None],
) -> list[Path]:
    pairs, bad = _open_pairs(images, predictor, options, say)
    skipped = bad if options.skip_bad else None
    for pair in pairs:
        if lead_axes(pair.image, predictor.ndim):
            check_stack(pair.image, refused=bool(options.cluster or options.scores))
    if complete(predictor.task).image_classes:
        from unmask.api.classes import write_classes

        keep_results([out / PREDICTED], out, kept=not options.overwrite)
        table = write_classes(predictor, pairs, out, skipped, say=say, progress=progress)
        record({"output": table})
        return _report_skipped([table], bad)
    targets = settle_destinations(predictor, pairs, out, options)
    if options.label_ending is None and not options.in_place:
        for note in mixed_note(pairs, [target.path for target in targets], out):
            say(note)
    tasks: list[FileTask[Result]] = []
    with (
        batch(out, resume=options.resume, skip=True) as finished,
        note_kept(lambda: describe_outputs(tasks, finished)),
    ):
        with group_dropped(say, len(pairs)) as note:
            tasks += _make_tasks(predictor, pairs, targets, options, note, progress)
            run = partial(run_files, say=note, finished=finished, skipped=skipped)
            results = _predict_labels(tasks, run, note)
        _write_extras(predictor, results, out, options, say)
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
    given: dict[str, Any] = {"diameter": options.diameter, "device": options.device}
    predictor = load_predictor(model, settings, **given, allow_code=allow_code, say=say)
    # Each mirrored view costs one more run of the network, so only --scores compares them.
    if (predictor.uncertainty or ("flips" if options.scores else "scores")) != "flips":
        return predictor
    compared = compare_flips(predictor)
    if not compared.compares:
        say("note: mirrored views cannot be compared here, so the uncertainty is that of one view.")
    return compared


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


def _make_tasks(
    predictor: Predictor,
    pairs: Sequence[Pair],
    targets: Sequence[Destination],
    options: Options,
    say: Say,
    progress: Progress | None,
) -> list[FileTask[Result]]:
    """The work on all files, in their order."""
    weights = predictor_digest(predictor)
    work = zip(pairs, targets, strict=True)
    return [_file_task(predictor, *each, weights, options, say, progress) for each in work]


def _predict_labels(
    tasks: Sequence[FileTask[Result]],
    run: Callable[..., Iterator[tuple[FileTask[Result], Result]]],
    say: Say,
) -> list[Done]:
    """Predict all files, and report suspicious results."""
    before = fingerprint([task.pair for task in tasks])
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

    image, notes = pair.image, list[str]()
    apart = options.cluster or predictor.block or lead_axes(image, predictor.ndim)
    if apart or is_large(predictor, image):
        run, stages = (
            partial(_predict_file, predictor, image, outputs, options, say, progress),
            None,
        )
    else:
        stages = divide_work(predictor, image, outputs, notes.append, progress)
        run = stages.run
    return FileTask(pair, run, outputs.target.path, facts, describe_result, stages, notes)


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
        raise_problems(audit.problems)
    _check_options(audit.pairs, options, whole_image=bool(complete(predictor.task).image_classes))
    opened = [pair.image for pair in audit.pairs]
    channels = channel_notes(opened, predictor.channels, rules.channels)
    stacks = unused_planes(opened, options.planes, rules.ndim)
    stacks += unused_join(opened, rules.ndim, join=options.join)
    for note in group_problems([*audit.notes, *channels, *stacks]):
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
    """Predict a stack, or an image in blocks, into its files."""
    if note := find_unwritten(image.source):
        say(note)
    if lead_axes(image, predictor.ndim):
        work = partial(predict_planes_into, join=options.join, resume=options.resume)
        work = partial(work, uncertain=outputs.objects)
        return work(predictor, image, outputs.target, say=say, progress=progress)
    return predict_in_blocks(predictor, image, outputs, say, progress)


def _check_options(pairs: Sequence[Pair], options: Options, *, whole_image: bool) -> None:
    """Refuse options that mean nothing here.

    Raises:
        RecipeError: options of label images for a task about whole images; to resume with arrays.
    """
    if whole_image:
        refuse_label_options(options)
    arrays = [pair.name for pair in pairs if not is_in_files(pair.image)]
    if options.resume and arrays:
        raise RecipeError(
            f"resume: expected images in files, found {arrays[0]} in memory, of which a later run "
            "cannot tell whether it is the same. Leave out resume."
        )
