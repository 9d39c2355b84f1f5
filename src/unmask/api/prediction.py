"""``predict``: from images to label images, in memory and in files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

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
from unmask.infer.load import load_predictor
from unmask.infer.predictor import Prediction, Predictor
from unmask.infer.tiled import Progress
from unmask.io import Image, open_image, output_name, save_image


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
