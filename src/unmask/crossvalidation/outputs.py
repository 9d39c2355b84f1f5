"""Outputs of the network for images it was not trained on; decoding them again costs no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Integer

from unmask.data.grid import Place
from unmask.data.pairs import Pair
from unmask.errors import DataError, message
from unmask.infer.notes import decode_scores
from unmask.infer.predictor import Predictor
from unmask.io import smallest_uint
from unmask.metrics import evaluate_pair
from unmask.tasks.base import Task


@dataclass(frozen=True)
class Output:
    """What the network gave for one image.

    Attributes:
        pair: image and labels.
        place: the grid that the network saw.
        scores: joined scores on this grid ``(S, *space)``.
        fold: number of the fold that held it out, from 1; 0 outside of a cross-validation.
    """

    pair: Pair
    place: Place
    scores: Float32[np.ndarray, "s *space"]
    fold: int = 0

    @property
    def truth(self) -> Integer[np.ndarray, "*space"]:
        """Labels of the image.

        Raises:
            DataError: there are none, or they cannot be read.
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
    place = predictor.view.place(pair.image)
    return Output(pair, place, predictor.score_seen(place.seen(pair.image)), fold)


def decode_output(task: Task, output: Output) -> Integer[np.ndarray, "*space"]:
    """Label image of an output on the grid of the image, as a prediction has it."""
    answer, _ = decode_scores(task, output.scores, output.place.seen(output.pair.image))
    return output.place.back(smallest_uint(answer.labels))


def measure_output(
    task: Task, output: Output, names: Sequence[str], ignore: int | None
) -> dict[str, float]:
    """Metrics of an output that a task decodes."""
    return evaluate_pair(
        output.truth,
        decode_output(task, output),
        names,
        spacing=output.pair.image.spacing,
        ignore=ignore,
    )


def move_to_disk(folder: Path, output: Output) -> Output:
    """Write the scores as ``NAME.npy``; the output returned reads them when they are needed."""
    path = folder / f"{output.pair.name}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, output.scores)
    return replace(output, scores=np.load(path, mmap_mode="r"))
