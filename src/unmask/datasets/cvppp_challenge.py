"""CVPPP A1: predict within the foreground that the archive gives, and write the submission file."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from unmask.datasets.samples import check_size, expect_files, read_image
from unmask.errors import DataError, gather, message
from unmask.infer.load import load_predictor
from unmask.io import open_image, save_image
from unmask.labels import relabel
from unmask.tasks.complete import complete

CVPPP_SIZE = (530, 500)


def segment_foreground(part: Path, out: Path, *, model: str) -> list[str]:
    """Predict the leaves of ``part/images`` within ``part/foreground``, as published.

    Args:
        part: a part that `prepare` wrote.
        out: folder of the label images.
        model: a run or model file that decodes affinities.

    Returns:
        The names of the images.


    Raises:
        DataError: no images, or no foreground of their size; all such images at once.
        RecipeError: a model that does not decode affinities.
    """
    predictor = load_predictor(model)
    task = complete(predictor.task)
    found = sorted((part / "images").glob("*.tif"))
    expect_files(found, part / "images", "images plantNNN.tif")
    foregrounds: dict[Path, np.ndarray] = {}
    problems: list[str] = []
    for path in found:
        try:
            foregrounds[path] = read_image(part / "foreground" / path.name)[0] > 0
            check_size(foregrounds[path], open_image(path, ndim=predictor.ndim).shape[1:], path)
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError(gather(problems, heading=f"{len(problems)} problem(s) found:"))
    for path, foreground in foregrounds.items():
        scores = predictor.scores(open_image(path, ndim=predictor.ndim))
        labels = task.decode_within(scores, foreground)
        save_image(out / path.name, labels.astype(np.min_scalar_type(labels.max(initial=0))))
    return [path.stem for path in found]


def write_submission(predicted: Path, out: Path) -> list[str]:
    """Write the HDF5 file that the website of CVPPP takes, ``A1/plantNNN/label``.

    Args:
        predicted: folder of label images ``plantNNN*``.
        out: the file.

    Returns:
        The names of the images.


    Raises:
        DataError: no such images, one of another size, or more leaves than 8 bits count.
    """
    found = sorted(path for path in predicted.glob("plant*") if path.suffix in {".png", ".tif"})
    expect_files(found, predicted, "label images plantNNN.tif or plantNNN.png")
    ready: dict[str, np.ndarray] = {}
    problems: list[str] = []
    for path in found:
        labels = relabel(read_image(path)[0])
        if labels.shape != CVPPP_SIZE or labels.max(initial=0) > 255:
            problems.append(
                message(
                    path,
                    expected=f"{CVPPP_SIZE} pixels and at most 255 leaves",
                    found=f"{labels.shape} and {labels.max(initial=0)}",
                    do="Predict the images of the archive as they are.",
                )
            )
        ready[path.name.partition("_")[0].partition(".")[0]] = labels.astype(np.uint8)
    if problems:
        raise DataError(gather(problems, heading=f"{len(problems)} problem(s) found:"))
    out.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(out, "w") as file:
        for name, labels in ready.items():
            file.create_dataset(f"A1/{name}/label", data=labels, compression="gzip")
    return list(ready)
