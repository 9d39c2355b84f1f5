"""The figures of a segmenter on images that were held out: they choose the best model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unmask.api.classes import class_figures, shares_of
from unmask.data.normalize import Normalizer
from unmask.data.pairs import Pair
from unmask.infer.load import make_predictor
from unmask.infer.predictor import Predictor
from unmask.metrics import evaluate_pair, summarise
from unmask.recipe import Recipe
from unmask.reports.overlay import draw, join_pictures
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
        predictor, names = self.predictor(segmenter), self.metrics or segmenter.task.metrics
        if segmenter.task.image_classes:
            return Validated(_of_classes(predictor, self.chosen, names, self._ignore))
        rows, drawn = list[dict[str, float]](), list[np.ndarray]()
        for pair in self.chosen:
            if pair.labels is None:
                continue
            truth, found = pair.labels.read()[0], predictor.predict(pair.image).labels
            rows.append(
                evaluate_pair(truth, found, names, spacing=pair.image.spacing, ignore=self._ignore)
            )
            if len(drawn) < _DRAWN:
                image = pair.image.read()
                drawn.append(draw(image, truth, found, objects=segmenter.task.context > 0))
        scores = {name: entry["mean"] for name, entry in summarise(rows).items()}
        return Validated(scores, {"held-out": join_pictures(drawn)} if drawn else {})

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


def _of_classes(
    predictor: Predictor, pairs: Sequence[Pair], names: Sequence[str], ignore: int | None
) -> dict[str, float]:
    """One number for all images together: each of them is one answer."""
    truth, shares = [], []
    for pair in pairs:
        if pair.labels is None or (value := int(pair.labels.read().flat[0])) in (0, ignore):
            continue
        truth.append(value)
        shares.append(shares_of(predictor, pair.image))
    return class_figures(np.array(truth), np.array(shares).T, names)
