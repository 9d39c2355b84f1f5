"""Stored outputs of the network for held-out images, to decode them several times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Integer

from unmask.data.grid import Place
from unmask.data.pairs import Pair
from unmask.errors import DataError, message
from unmask.infer.fitting import fit_predictor
from unmask.infer.notes import decode_image
from unmask.infer.predictor import Predictor
from unmask.metrics import evaluate_pair
from unmask.tasks.base import Task


@dataclass(frozen=True)
class Output:
    """Output of the network for one image.

    Attributes:
        pair: image and labels.
        place: grid of the network.
        scores: joined scores on this grid ``(S, *space)``.
        fold: number of the fold that held the image out, starting at 1; 0: no cross-validation.
    """

    pair: Pair
    place: Place
    scores: Float32[np.ndarray, "s *space"]
    fold: int = 0

    @property
    def truth(self) -> Integer[np.ndarray, "*space"]:
        """Labels of the image.

        Raises:
            DataError: the image has no labels, or they cannot be read.
        """
        if self.pair.labels is None:
            raise DataError(
                message(
                    self.pair.image.source,
                    expected="labels",
                    found="none",
                    do="Give them with --labels.",
                )
            )
        return self.pair.labels.read()[0]


def compute_output(predictor: Predictor, pair: Pair, *, fold: int = 0) -> Output:
    """Run the network once on an image.

    Raises:
        DataError: the image does not fit the model, or cannot be read.
    """
    own = fit_predictor(predictor, pair.image)
    scored = own.score(own.open(pair.image))
    return Output(pair, scored.place, scored.scores, fold)


def decode_output(task: Task, output: Output) -> Integer[np.ndarray, "*space"]:
    """Decode an output into a label image on the grid of the image, as ``predict`` does."""
    answer, _ = decode_image(task, output.scores, output.pair.image, output.place)
    return answer.labels


def measure_output(
    task: Task, output: Output, names: Sequence[str], ignore: int | None
) -> dict[str, float]:
    """Decode an output and compute its metrics; voxels with the label ``ignore`` do not count."""
    return evaluate_pair(
        output.truth,
        decode_output(task, output),
        names,
        spacing=output.pair.image.spacing,
        ignore=ignore,
    )


def move_to_disk(folder: Path, output: Output) -> Output:
    """Write the scores as ``NAME.npy``; the returned output maps the file into memory."""
    path = folder / f"{output.pair.name}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, output.scores)
    return replace(output, scores=np.load(path, mmap_mode="r"))
