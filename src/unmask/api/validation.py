"""Scores of a segmenter on held-out images; they choose the best model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unmask.api.classes import class_scores, shares_of
from unmask.data.normalize import Normalizer
from unmask.data.pairs import Pair
from unmask.infer.load import make_predictor
from unmask.infer.predictor import Predictor
from unmask.io import Image
from unmask.metrics import evaluate_pair, summarize
from unmask.recipe import Recipe
from unmask.reports.overlay import draw, join_pictures
from unmask.tasks.complete import complete
from unmask.tasks.segmenter import Segmenter
from unmask.training.validation import Validated

# Held-out images whose predictions are drawn in every validation.
_DRAWN = 3


@dataclass(frozen=True)
class HeldOut:
    """Scores a segmenter on images that were held out; called by the training loop.

    Attributes:
        recipe: of the segmenter.
        pairs: images and labels that were held out.
        normalize: the recipe's normalization, if it is built already.
    """

    recipe: Recipe
    pairs: Sequence[Pair]
    normalize: Normalizer | None = None

    @property
    def metrics(self) -> Sequence[str]:
        """Names of the metrics; empty: those of the task."""
        return self.recipe.train.metrics

    @property
    def chosen(self) -> Sequence[Pair]:
        """The images that count, spread evenly over all."""
        return self.pairs[:: max(1, -(-len(self.pairs) // self.recipe.train.validate_images))]

    def predictor(self, segmenter: Segmenter) -> Predictor:
        """Predicts without test-time augmentation."""
        # One view is enough to compare models with each other, at a fraction of the cost.
        infer = self.recipe.infer.model_copy(update={"tta": False, "mirror_positions": False})
        changed = self.recipe.model_copy(update={"infer": infer})
        return make_predictor([segmenter], changed, segmenter.task, self.normalize)

    def __call__(self, segmenter: Segmenter) -> Validated:
        """The task's metrics over whole decoded images, and a picture of some of them."""
        results = [result for _, result in self.measure(segmenter, 0, 1)]
        return self.summarize(segmenter, results)

    def measure(self, network: Segmenter, first: int, step: int) -> list[tuple[int, Any]]:
        """Number and result of every ``step``-th image from ``first`` on."""
        predictor = self.predictor(network)
        measure = self._measure_class if network.task.image_classes else self._measure_labels
        labeled = [(pair, pair.labels) for pair in self.chosen if pair.labels is not None]
        return [
            (number, measure(predictor, *labeled[number], drawn=number < _DRAWN))
            for number in range(first, len(labeled), step)
        ]

    def summarize(self, network: Segmenter, results: Sequence[Any]) -> Validated:
        """Means over the images; of classes, one number for all images together."""
        if network.task.image_classes:
            known = [result for result in results if result is not None]
            truth, shares = [value for value, _ in known], [share for _, share in known]
            names = self.metrics or network.task.metrics
            return Validated(class_scores(np.array(truth), np.array(shares).T, names))
        scores = {name: row["mean"] for name, row in summarize([row for row, _ in results]).items()}
        drawn = [picture for _, picture in results if picture is not None]
        return Validated(scores, {"held-out": join_pictures(drawn)} if drawn else {})

    def _measure_labels(
        self, predictor: Predictor, pair: Pair, labels: Image, *, drawn: bool
    ) -> tuple[dict[str, float], np.ndarray | None]:
        """Metrics of a decoded image, and its picture if it is drawn."""
        task = complete(predictor.task)
        truth, found = labels.read()[0], predictor.predict(pair.image).labels
        names, spacing = self.metrics or task.metrics, pair.image.spacing
        row = evaluate_pair(truth, found, names, spacing=spacing, ignore=self._ignore)
        if not drawn:
            return row, None
        return row, draw(pair.image.read(), truth, found, objects=task.context > 0)

    def _measure_class(
        self,
        predictor: Predictor,
        pair: Pair,
        labels: Image,
        *,
        drawn: bool,  # noqa: ARG002 - answers about whole images are not drawn
    ) -> tuple[int, np.ndarray] | None:
        """True class and predicted shares of an image; None without a class."""
        value = int(labels.read().flat[0])
        return None if value in (0, self._ignore) else (value, shares_of(predictor, pair.image))

    @property
    def _ignore(self) -> int | None:
        return self.recipe.data.ignore_label


def score_pairs(
    segmenter: Segmenter,
    recipe: Recipe,
    pairs: Sequence[Pair],
    *,
    normalize: Normalizer | None = None,
) -> dict[str, float]:
    """The task's metrics over whole decoded images, spread evenly over ``pairs``.

    Args:
        segmenter: what is measured.
        recipe: its recipe.
        pairs: images and labels that were held out.
        normalize: the recipe's normalization, if it is built already.
    """
    return dict(HeldOut(recipe, pairs, normalize)(segmenter).scores)
