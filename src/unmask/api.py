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
    match_files,
    open_pairs,
)
from unmask.errors import DataError, gather
from unmask.infer.load import load_predictor, make_predictor
from unmask.infer.predictor import Prediction, Predictor
from unmask.io import Image, open_image, open_labels, output_name, save_image
from unmask.metrics import Report, default_metrics, evaluate_pair, summarise
from unmask.models.base import Objective
from unmask.recipe import Recipe, load
from unmask.space.batch import Batch
from unmask.space.random import generator
from unmask.tasks.segmenter import Segmenter
from unmask.training import Journal, RunFolder, fit, make_fabric
from unmask.training.advice import describe, forecast, suggest
from unmask.training.allocator import keep_freed_memory
from unmask.training.assemble import (
    build_crops,
    build_optimizer,
    build_plan,
    layout,
    new_method,
    new_segmenter,
)
from unmask.training.origin import initialise, note_run, versions

Settings = Iterable[str]
Say = Callable[[str], None]
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
    pairs = open_pairs(images, None, layout(chosen))
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
    pairs = open_pairs(images, labels, layout(chosen))
    if (val_images is None) != (val_labels is None):
        raise DataError("Validation: expected images and labels, found one of them. Give both.")
    if val_images is None or val_labels is None:
        pairs, held_out = _hold_out(pairs, chosen)
    else:
        held_out = open_pairs(val_images, val_labels, layout(chosen))
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

    Example:
        >>> result = predict("runs/cells", "new/017.tif")  # doctest: +SKIP
        >>> result.labels.shape  # doctest: +SKIP
        (512, 512)
    """
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
) -> list[Path]:
    """Segment files; one label image an input in ``out``, same stem and format family.

    Args:
        model: model file, run folder, or several of them (an ensemble).
        images: file, folder, glob or OME-Zarr, or several of them.
        out: folder of the label images.
        scores: write the joined activations too, as ``<stem>_scores.zarr``.
        settings: changes to the recipe's ``infer`` and ``task`` fields.
        say: gets one line a file.

    Raises:
        DataError: files that cannot be read, or two inputs of one output name; all at once.
    """
    predictor = load_predictor(model, settings)
    pairs = open_pairs(images, None, predictor.layout or Layout(predictor.ndim))
    before = fingerprint(pairs)
    written: list[Path] = []
    for number, pair in enumerate(pairs, 1):
        begin = time.perf_counter()
        result = predictor.predict(pair.image, keep_scores=scores)
        check_unchanged({pair.image.source: before[pair.image.source]}, [pair])
        path = output_name(pair.image, out)
        save_image(path, result.labels, spacing=result.spacing, like=pair.image)
        if result.scores is not None:
            save_image(Path(out) / f"{pair.image.name}_scores.zarr", result.scores)
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
        DataError: labels without a partner or of another size; all problems at once.
    """
    marks = dict(line.split("=", 1) for line in settings if "=" in line)
    rules = Layout(
        0,
        image_suffix=marks.get("data.image_suffix", ""),
        label_suffix=marks.get("data.label_suffix", ""),
    )
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
    chosen = load(recipe or suggest(images, labels)).with_settings(settings)
    audit = audit_pairs(images, labels, layout(chosen), read=True)
    for line in describe(audit, chosen):
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
    if start.init is not None:
        initialise(objective, start.init)
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
            summary = fit(
                objective,
                partial(_stream, crops, fabric, recipe.train.workers),
                fabric=fabric,
                optimizer=build_optimizer(recipe, objective),
                plan=build_plan(recipe),
                journal=journal,
                validate=validate,
                run=RunFolder(folder, card, resume=start.resume),
            )
    seconds = time.perf_counter() - begin
    return Run(folder, folder / "model.safetensors", summary.metrics, summary.step, seconds)


def _stream(crops: Crops, fabric: Fabric, workers: int, start: int) -> Iterator[Batch]:
    """Batches of this process; every process of a group draws others."""

    def make(index: int) -> Batch:
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
    chosen = set(order[: max(1, count)].tolist())
    held_out = [pair for index, pair in enumerate(pairs) if index in chosen]
    return [pair for index, pair in enumerate(pairs) if index not in chosen], held_out


def _same_shape(truth: Image, predicted: Image) -> None:
    if truth.shape != predicted.shape:
        raise DataError(
            f"{predicted.source}: expected the size of the truth {truth.source}, "
            f"{truth.shape[1:]}, found {predicted.shape[1:]}. Compare images of one size."
        )
