"""``predict``: from images to label images, in memory and in files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unmask.api.classes import write_classes
from unmask.api.values import ModelLike, Say, Settings
from unmask.data.pairs import (
    Layout,
    Paths,
    check_unchanged,
    fingerprint,
    keep_inputs,
    open_pairs,
)
from unmask.errors import RecipeError
from unmask.infer.blockwise import is_large, plan_blocks, predict_blocks
from unmask.infer.load import load_predictor
from unmask.infer.predictor import Prediction, Predictor
from unmask.infer.tiled import Progress
from unmask.infer.workplace import batch, plan_facts, weights_digest
from unmask.io import Image, open_image, output_name, save_image
from unmask.io.unwritten import unwritten
from unmask.tasks.base import WholeImage


@dataclass(frozen=True)
class Options:
    """What a prediction of files writes, and where its work is done.

    Attributes:
        scores: write the joined activations too, as ``scores/<stem>.zarr``.
        cluster: None for this process; ``threads:N`` or ``processes:N`` for workers on this
            machine; or the address of a dask.distributed scheduler.
        resume: keep what an ended run of the same request has finished.
        diameter: of the objects in the images, in their pixels; see ``predict``.
    """

    scores: bool = False
    cluster: str | None = None
    resume: bool = False
    diameter: float | None = None


def predict(
    model: ModelLike | Sequence[ModelLike] | Predictor,
    image: str | Path | np.ndarray | Image,
    *,
    spacing: Sequence[float] | None = None,
    axes: str | None = None,
    settings: Settings = (),
    diameter: float | int | None = None,
) -> Prediction:
    """Segment one image; the joined scores are kept beside its labels.

    Args:
        model: model file, run folder, name of a shipped model, several of them (an ensemble), or
            a ``Predictor``.
        image: path, array ``(*space)`` or ``(C, *space)``, or an opened image.
        spacing: voxel size of an array, slow axis first.
        axes: axes of the file or array where they are not plain.
        settings: changes to the recipe's ``infer`` and ``task`` fields.
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
    predictor = (
        model
        if isinstance(model, Predictor)
        else load_predictor(model, settings, diameter=diameter)
    )
    if isinstance(image, np.ndarray):
        opened = Image.from_array(image, axes=axes, spacing=spacing, ndim=predictor.ndim)
    elif isinstance(image, Image):
        opened = image
    else:
        opened = open_image(image, axes=axes, ndim=predictor.ndim)
    return predictor.predict(opened, keep_scores=True)


def predict_files(
    model: ModelLike | Sequence[ModelLike],
    images: Paths,
    *,
    out: str | Path,
    settings: Settings = (),
    options: Options | None = None,
    say: Say = print,
    progress: Progress | None = None,
) -> list[Path]:
    """Segment files; one label image an input in ``out``, same stem and format family.

    Large images are predicted in blocks, see ``unmask.infer.blockwise``. A task about whole images
    writes one table instead, see ``unmask.api.classes``.

    Args:
        model: model file, run folder, name of a shipped model, or several of them (an ensemble).
        images: file, folder, glob or OME-Zarr, or several of them.
        out: folder of the label images.
        settings: changes to the recipe's ``infer`` and ``task`` fields.
        options: what is written and where the work is done.
        say: gets one line a file, and what a user should know of its labels.
        progress: called with (windows done, windows in all) of the image in work.

    Raises:
        DataError: files that cannot be read, or two inputs of one output name; all at once.
        CheckpointError: another run works in ``out``, or an ended one had other settings.
        SaveError: ``out`` cannot be written.
    """
    options = options or Options()
    predictor = load_predictor(model, settings, diameter=options.diameter)
    rules = predictor.layout or Layout(predictor.ndim)
    pairs = open_pairs(images, None, rules, channels=predictor.channels)
    if isinstance(predictor.task, WholeImage):
        if options != Options():
            raise RecipeError(
                "expected none of --scores, --cluster and --resume with a task about whole images, "
                "found one of them. They are for label images; leave them out."
            )
        return [write_classes(predictor, pairs, Path(out), say=say, progress=progress)]
    keep_inputs(pairs, Path(out))
    before, weights = fingerprint(pairs), weights_digest(predictor)
    written: list[Path] = []
    with batch(Path(out), resume=options.resume) as finished:
        for number, pair in enumerate(pairs, 1):
            begin = time.perf_counter()
            path = output_name(pair.image, out)
            facts = plan_facts(predictor, pair.image, weights)
            place = f"[{number}/{len(pairs)}] {pair.image.source} -> {path}"
            written.append(path)
            if finished.has(path, facts):
                say(f"{place} (finished before)")
                continue
            if note := unwritten(pair.image.source):
                say(note)
            if options.cluster or predictor.block or is_large(predictor, pair.image):
                _in_blocks(predictor, pair.image, path, options, say=say, progress=progress)
            else:
                _at_once(predictor, pair.image, path, options, say=say, progress=progress)
            check_unchanged({pair.image.source: before[pair.image.source]}, [pair])
            finished.add(path, facts)
            say(f"{place} ({time.perf_counter() - begin:.1f} s)")
    return written


def _at_once(
    predictor: Predictor,
    image: Image,
    path: Path,
    options: Options,
    *,
    say: Say,
    progress: Progress | None,
) -> None:
    result = predictor.predict(image, keep_scores=options.scores, progress=progress)
    if result.scores is not None:
        save_image(_scores_of(image, path), result.scores, like=image)
    save_image(path, result.labels, like=image)
    for note in result.notes:
        say(f"{image.source}: {note}")


def _in_blocks(
    predictor: Predictor,
    image: Image,
    path: Path,
    options: Options,
    *,
    say: Say,
    progress: Progress | None,
) -> None:
    store = True if options.scores else None if options.cluster is None else False
    seen = predictor.view.place(image).seen(image)
    say(f"{image.source}: {plan_blocks(predictor, seen, store=store)[1]}")
    predict_blocks(
        predictor,
        image,
        path,
        cluster=options.cluster,
        scores=_scores_of(image, path) if options.scores else None,
        resume=options.resume,
        progress=progress,
        say=lambda note: say(f"{image.source}: {note}"),
    )


def _scores_of(image: Image, path: Path) -> Path:
    """In a folder of their own, so that the other one holds label images alone."""
    return path.parent / "scores" / f"{image.name}.zarr"
