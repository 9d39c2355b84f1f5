"""The verbs: pretrain, train, predict, evaluate, check. The whole story on one page."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from lightning_fabric import Fabric

from unmask import checkpoint
from unmask.data.crops import Crops
from unmask.data.loader import batches
from unmask.data.pairs import (
    Audit,
    Layout,
    Pair,
    Paths,
    audit_pairs,
    check_unchanged,
    fingerprint,
    keep_inputs,
    match_files,
    open_pairs,
    pairing,
)
from unmask.errors import DataError, RecipeError, gather
from unmask.infer.load import load_predictor, make_predictor
from unmask.infer.predictor import Prediction, Predictor
from unmask.infer.tiled import Progress
from unmask.io import Image, open_image, open_labels, output_name, save_image
from unmask.metrics import (
    METRICS,
    Report,
    default_metrics,
    evaluate_pair,
    find_metric,
    summarise,
)
from unmask.models.base import Objective
from unmask.recipe import Recipe, load
from unmask.space.batch import Batch
from unmask.space.random import generator
from unmask.tasks.segmenter import Segmenter, build_task
from unmask.training import Journal, RunFolder, fit, make_fabric
from unmask.training.advice import describe, forecast, suggest
from unmask.training.allocator import keep_freed_memory
from unmask.training.assemble import (
    build_crops,
    build_optimizer,
    build_plan,
    encoder,
    layout,
    new_method,
    new_segmenter,
)
from unmask.training.origin import initialise, note_run, versions

Settings = Iterable[str]
Say = Callable[[str], None]
# Batches between two looks at the files' sizes and times.
_LOOK_EVERY = 100
RecipeLike = str | Path | Recipe
ModelLike = str | Path


@dataclass(frozen=True)
class Start:
    """Where a run goes and what it begins with."""

    out: str | Path
    init: ModelLike | None = None
    devices: int = 1
    resume: bool = False


@dataclass(frozen=True)
class Run:
    """A finished training.

    Attributes:
        folder: everything the run wrote.
        model: its best model file.
        metrics: validation of the best model; empty where nothing was held out.
        steps: updates done.
        seconds: wall time of this call.
    """

    folder: Path
    model: Path
    metrics: Mapping[str, float]
    steps: int
    seconds: float


def pretrain(
    recipe: RecipeLike,
    *,
    images: Paths,
    out: str | Path,
    init: ModelLike | None = None,
    settings: Settings = (),
    devices: int = 1,
    resume: bool = False,
) -> Run:
    """Learn from unlabelled images.

    Args:
        recipe: preset name, YAML file or recipe with a ``method``.
        images: file, folder, glob or OME-Zarr, or several of them.
        out: folder of the run.
        init: model file or run folder whose backbone weights are taken over first.
        settings: ``key=value`` changes to the recipe.
        devices: number of GPUs or processes.
        resume: go on from the newest snapshot in ``out``.

    Raises:
        RecipeError: the recipe is wrong.
        DataError: files are wrong; all problems at once.
    """
    chosen = load(recipe).with_settings(settings)
    method = new_method(chosen)
    pairs = open_pairs(images, None, layout(chosen), channels=chosen.data.channels)
    return _run(chosen, method, pairs, start=Start(out, init, devices, resume))


def train(  # noqa: PLR0913 - the verb's promised arguments
    recipe: RecipeLike,
    *,
    images: Paths,
    labels: Paths,
    out: str | Path,
    init: ModelLike | None = None,
    val_images: Paths | None = None,
    val_labels: Paths | None = None,
    settings: Settings = (),
    devices: int = 1,
    resume: bool = False,
) -> Run:
    """Learn to segment from labelled images.

    Without ``val_images`` a share of the pairs is held out (``data.holdout``) to choose the best
    model. Arguments and errors are those of ``pretrain``, and:

    Args:
        recipe: preset name, YAML file or recipe with a ``task``.
        images: images; they pair with labels by stem.
        labels: label images.
        out: folder of the run.
        init: model file or run folder; a pre-trained backbone or a whole segmenter.
        val_images: images of the validation.
        val_labels: labels of the validation.
        settings: ``key=value`` changes to the recipe.
        devices: number of GPUs or processes.
        resume: go on from the newest snapshot in ``out``.
    """
    chosen = load(recipe).with_settings(settings)
    segmenter = new_segmenter(chosen)
    channels = chosen.data.channels
    pairs = open_pairs(images, labels, layout(chosen), channels=channels)
    if (val_images is None) != (val_labels is None):
        raise DataError("Validation: expected images and labels, found one of them. Give both.")
    if val_images is None or val_labels is None:
        pairs, held_out = _hold_out(pairs, chosen)
    else:
        held_out = open_pairs(val_images, val_labels, layout(chosen), channels=channels)
    validate = partial(_validate, recipe=chosen, pairs=held_out) if held_out else None
    start = Start(out, init, devices, resume)
    return _run(chosen, segmenter, pairs, start=start, validate=validate)


def predict(
    model: ModelLike | Sequence[ModelLike] | Predictor,
    image: str | Path | np.ndarray | Image,
    *,
    spacing: Sequence[float] | None = None,
    axes: str | None = None,
    settings: Settings = (),
) -> Prediction:
    """Segment one image.

    Args:
        model: model file, run folder, several of them (an ensemble), or a ``Predictor``.
        image: path, array ``(*space)`` or ``(C, *space)``, or an opened image.
        spacing: voxel size of an array, slow axis first.
        axes: axes of the file or array where they are not plain.
        settings: changes to the recipe's ``infer`` and ``task`` fields.

    Examples:
        >>> result = predict("runs/cells", "new/017.tif")  # doctest: +SKIP
        >>> result.labels.shape  # doctest: +SKIP
        (512, 512)
    """
    if isinstance(model, Predictor) and list(settings):
        raise RecipeError(
            f"settings={list(settings)}: expected none beside a Predictor, which has its own. "
            "Give the model's path, or change the predictor."
        )
    predictor = model if isinstance(model, Predictor) else load_predictor(model, settings)
    if isinstance(image, np.ndarray):
        opened = Image.from_array(image, axes=axes, spacing=spacing, ndim=predictor.ndim)
    elif isinstance(image, Image):
        opened = image
    else:
        opened = open_image(image, axes=axes, ndim=predictor.ndim)
    return predictor.predict(opened)


def predict_files(
    model: ModelLike | Sequence[ModelLike],
    images: Paths,
    *,
    out: str | Path,
    scores: bool = False,
    settings: Settings = (),
    say: Say = print,
    progress: Progress | None = None,
) -> list[Path]:
    """Segment files; one label image an input in ``out``, same stem and format family.

    Args:
        model: model file, run folder, or several of them (an ensemble).
        images: file, folder, glob or OME-Zarr, or several of them.
        out: folder of the label images.
        scores: write the joined activations too, as ``scores/<stem>.zarr``.
        settings: changes to the recipe's ``infer`` and ``task`` fields.
        say: gets one line a file.
        progress: called with (windows done, windows in all) of the image in work.

    Raises:
        DataError: files that cannot be read, or two inputs of one output name; all at once.
        SaveError: ``out`` cannot be written.
    """
    predictor = load_predictor(model, settings)
    rules = predictor.layout or Layout(predictor.ndim)
    pairs = open_pairs(images, None, rules, channels=predictor.channels)
    keep_inputs(pairs, Path(out))
    before = fingerprint(pairs)
    written: list[Path] = []
    for number, pair in enumerate(pairs, 1):
        begin = time.perf_counter()
        result = predictor.predict(pair.image, keep_scores=scores, progress=progress)
        check_unchanged({pair.image.source: before[pair.image.source]}, [pair])
        path = output_name(pair.image, out)
        save_image(path, result.labels, like=pair.image)
        if result.scores is not None:
            # In a folder of their own, so that ``out`` holds label images alone.
            folder = Path(out) / "scores"
            save_image(folder / f"{pair.image.name}.zarr", result.scores, like=pair.image)
        written.append(path)
        seconds = time.perf_counter() - begin
        say(f"[{number}/{len(pairs)}] {pair.image.source} -> {path} ({seconds:.1f} s)")
    return written


def evaluate(
    *,
    truth: Paths,
    predicted: Paths,
    metrics: Sequence[str] | None = None,
    settings: Settings = (),
) -> Report:
    """Compare label images with the truth.

    Args:
        truth: true labels.
        predicted: predicted labels; they pair by stem.
        metrics: metric names as in ``unmask.metrics``; default: by what the labels look like.
        settings: ``data.image_suffix`` (of predicted) and ``data.label_suffix`` (of truth).

    Raises:
        RecipeError: an unknown metric or setting.
        DataError: labels without a partner or of another size; all problems at once.
    """
    rules = pairing(settings)
    for name in metrics or ():
        find_metric(name, METRICS)
    problems: list[str] = []
    opened: list[tuple[str, Image, Image]] = []
    for name, predicted_path, truth_path in match_files(predicted, truth, rules, problems):
        try:
            pair = open_labels(truth_path or ""), open_labels(predicted_path)
            _same_shape(*pair)
            opened.append((name, *pair))
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError(gather(problems, heading=f"{len(problems)} problem(s) found:"))
    names = metrics or default_metrics(opened[0][1].read()[0])
    rows = [
        {
            "name": name,
            **evaluate_pair(true.read()[0], other.read()[0], names, spacing=true.spacing),
        }
        for name, true, other in opened
    ]
    return Report.of(rows, settings={"metrics": list(names)})


def check(
    images: Paths,
    *,
    labels: Paths | None = None,
    recipe: RecipeLike | None = None,
    settings: Settings = (),
    say: Say = print,
) -> Audit:
    """Read every file once and tell what is wrong, what would be trained and how long it takes.

    Args:
        images: images to be trained on.
        labels: their labels, if any.
        recipe: the recipe meant for them; default: the one that fits what is found.
        settings: changes to the recipe.
        say: gets the lines of the audit.

    Returns:
        The audit; ``problems`` is empty where training can start.
    """
    given, advice = suggest(images, labels) if recipe is None else (load(recipe), "")
    chosen = given.with_settings(settings)
    task = None if chosen.task is None else encoder(build_task(chosen))
    channels = chosen.data.channels
    audit = audit_pairs(images, labels, layout(chosen), read=True, channels=channels, encode=task)
    for line in (advice, *describe(audit, chosen)):
        if line:
            say(line)
    if not audit.problems:
        for line in forecast(audit.pairs, chosen):
            say(line)
    return audit


def _run(
    recipe: Recipe,
    objective: Objective,
    pairs: Sequence[Pair],
    *,
    start: Start,
    validate: Callable[[Segmenter], dict[str, float]] | None = None,
) -> Run:
    """Train ``objective`` on ``pairs`` into a run folder."""
    begin = time.perf_counter()
    folder = Path(start.out)
    origin = [] if start.init is None else initialise(objective, start.init)
    fabric = make_fabric(start.devices, recipe.train.precision)
    fabric.launch()
    if fabric.device.type == "cpu":
        keep_freed_memory()
    marks = fingerprint(pairs)
    with checkpoint.lock_run(folder) if fabric.is_global_zero else nullcontext():
        note_run(folder, recipe, marks, resume=start.resume)
        crops = build_crops(recipe, pairs, getattr(objective, "task", None))
        card = {"recipe": recipe.model_dump(mode="json"), "data": marks, "versions": versions()}
        with Journal(folder, steps=recipe.train.steps) as journal:
            for line in origin:
                journal.say(line)
            summary = fit(
                objective,
                partial(
                    _stream,
                    crops,
                    fabric,
                    recipe.train.workers,
                    partial(check_unchanged, marks, pairs),
                ),
                fabric=fabric,
                optimizer=build_optimizer(recipe, objective),
                plan=build_plan(recipe),
                journal=journal,
                validate=validate,
                run=RunFolder(folder, card, resume=start.resume),
            )
    seconds = time.perf_counter() - begin
    return Run(folder, folder / "model.safetensors", summary.metrics, summary.step, seconds)


def _stream(
    crops: Crops, fabric: Fabric, workers: int, look: Callable[[], None], start: int
) -> Iterator[Batch]:
    """Batches of this process; every process of a group draws others.

    Now and then ``look`` is called, which refuses files that have changed since the start.
    """

    def make(index: int) -> Batch:
        if index % _LOOK_EVERY == 0:
            look()
        return crops.batch(index * fabric.world_size + fabric.global_rank)

    return batches(make, start, workers=workers)


def _validate(segmenter: Segmenter, recipe: Recipe, pairs: Sequence[Pair]) -> dict[str, float]:
    """Mean of the task's metrics over whole decoded images, spread evenly over ``pairs``."""
    predictor = make_predictor([segmenter], recipe)
    step = max(1, -(-len(pairs) // recipe.train.validate_images))
    names = segmenter.task.metrics
    rows = [
        evaluate_pair(
            pair.labels.read()[0],
            predictor.predict(pair.image).labels,
            names,
            spacing=pair.image.spacing,
            ignore=recipe.data.ignore_label,
        )
        for pair in pairs[::step]
        if pair.labels is not None
    ]
    figures = summarise(rows)
    return {name: figures[name]["mean"] for name in names}


def _hold_out(pairs: list[Pair], recipe: Recipe) -> tuple[list[Pair], list[Pair]]:
    """Training and validation pairs; nothing is held out of fewer than five."""
    count = round(len(pairs) * recipe.data.holdout)
    if len(pairs) < 5 or recipe.data.holdout == 0:
        return pairs, []
    order = generator(recipe.train.seed, "holdout").permutation(len(pairs))
    chosen = set(order[: min(max(1, count), len(pairs) - 1)].tolist())
    held_out = [pair for index, pair in enumerate(pairs) if index in chosen]
    return [pair for index, pair in enumerate(pairs) if index not in chosen], held_out


def _same_shape(truth: Image, predicted: Image) -> None:
    if truth.shape != predicted.shape:
        raise DataError(
            f"{predicted.source}: expected the size of the truth {truth.source}, "
            f"{truth.shape[1:]}, found {predicted.shape[1:]}. Compare images of one size."
        )
