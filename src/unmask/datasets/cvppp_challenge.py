"""CVPPP A1: predict within the foreground that the archive gives, and write the submission file."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from unmask.atomic import atomic_path
from unmask.datasets.files import expect_some, list_files, match_files
from unmask.datasets.samples import check_size, read_labels
from unmask.errors import DataError, message, raise_problems
from unmask.io import open_image, save_image
from unmask.labels import relabel
from unmask.wording import format_count

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
    # Listing the sets must not import PyTorch.
    from unmask.infer.load import load_predictor
    from unmask.tasks.complete import complete

    predictor = load_predictor(model)
    task = complete(predictor.task)
    found = sorted((part / "images").glob("*.tif"))
    expect_some(found, part / "images", "images plantNNN.tif")
    foregrounds: dict[Path, np.ndarray] = {}
    problems: list[str] = []
    for path in found:
        try:
            foregrounds[path] = read_labels(part / "foreground" / path.name) > 0
            size = open_image(path, ndim=predictor.ndim).shape[1:]
            check_size(foregrounds[path].shape, size, path)
        except DataError as error:
            problems.append(str(error))
    raise_problems(problems)
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
    found = match_files(list_files(predicted), r"(plant\d+)[^/]*\.(?:png|tiff?)")
    expect_some(found, predicted, "label images plantNNN.tif or plantNNN.png")
    ready: dict[str, np.ndarray] = {}
    problems: list[str] = []
    for path, match in found.items():
        labels = relabel(read_labels(path))
        if labels.shape != CVPPP_SIZE or labels.max(initial=0) > 255 or match[1] in ready:
            problems.append(
                message(
                    path,
                    expected=f"{CVPPP_SIZE} pixels, at most 255 leaves, one file per plant",
                    found=f"{labels.shape}, {labels.max(initial=0)}, "
                    f"{format_count(1 + (match[1] in ready), 'file')}",
                    do="Predict the images of the archive as they are.",
                )
            )
        ready[match[1]] = labels.astype(np.uint8)
    raise_problems(problems)
    with atomic_path(out) as unfinished, h5py.File(unfinished, "w") as file:
        for name, labels in ready.items():
            file.create_dataset(f"A1/{name}/label", data=labels, compression="gzip")
    return list(ready)
