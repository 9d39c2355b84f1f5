"""Result of a cross-validation, as ``held_out/scores.json`` of a run and as sentences."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unmask.atomic import atomic_write
from unmask.crossvalidation.updates import Curve, score_at, start_is_better
from unmask.errors import CheckpointError, describe_error, message

HELD_OUT = "held_out"
_FILE = "scores.json"


@dataclass(frozen=True)
class Tuned:
    """Result of a search over decoding options.

    Attributes:
        settings: changes to the recipe; empty: no options were better than those of the recipe.
        metric: metric that was maximized.
        before: mean over the images with the options of the recipe.
        after: mean over the images, each decoded with the options that are best on the others.
        found: mean over the images with ``settings``; too high, because these images chose them.
        trials: number of combinations that were tried.
        images: name, ``before`` and ``after`` of each image.
    """

    settings: tuple[str, ...]
    metric: str
    before: float
    after: float
    found: float
    trials: int
    images: tuple[Mapping[str, Any], ...] = ()

    def describe(self, predictions: str = "held-out predictions") -> str:
        """One sentence.

        Args:
            predictions: what was decoded.
        """
        if not self.settings:
            return (
                f"Decoding: {self.trials} combinations of options were tried on "
                f"{predictions}; none is better than those of the recipe ({self.metric} "
                f"{self.before:.3f})."
            )
        changes = ", ".join(line.removeprefix("task.") for line in self.settings)
        return (
            f"Decoding: {changes} raises {self.metric} on {predictions} from "
            f"{self.before:.3f} to {self.found:.3f}; {self.after:.3f} if each image is decoded "
            f"with the options chosen on the others ({self.trials} combinations were tried)."
        )


@dataclass(frozen=True)
class HeldOutScores:
    """Scores of images, each by a model that was not trained on it.

    Attributes:
        folds: number of folds.
        regions: whether the folds are regions of one image.
        steps: number of updates of the final training.
        asked: number of updates in the recipe.
        metric: first metric.
        metrics: means over the images, before tuning; None: undefined.
        images: name, fold and metrics of each image.
        curve: scores during the training of the folds.
        tuned: result of the search over decoding options; None: no search.
    """

    folds: int
    regions: bool
    steps: int
    asked: int
    metric: str
    metrics: Mapping[str, float | None]
    images: tuple[Mapping[str, Any], ...]
    curve: Curve
    tuned: Tuned | None = None

    @property
    def expected(self) -> dict[str, float | None]:
        """Expected metrics of the final model; tuning changes the first one."""
        found = dict(self.metrics)
        if self.tuned is not None and self.tuned.settings:
            found[self.metric] = self.tuned.after
        return found

    def describe(self) -> Iterator[str]:
        """Sentences about the folds, the scores and the tuning, one line each."""
        what = "region of the image" if self.regions else "labeled image"
        values = ", ".join(f"{n} {v:.3f}" for n, v in self.metrics.items() if v is not None)
        yield (
            f"Held out: each {what} once, in {self.folds} folds. Scores of models that have not "
            f"seen it: {values or 'undefined'}."
        )
        if self.regions:
            yield (
                "The regions are from one image, so these scores say nothing about other images. "
                "Label a second one."
            )
        shown = sorted(self.images, key=lambda row: row.get(self.metric) or 0.0)
        if self.metrics.get(self.metric) is not None and len(shown) > 1:
            low, high = shown[0], shown[-1]
            yield (
                f"  lowest {low['name']} ({_short(low.get(self.metric))}), highest {high['name']} "
                f"({_short(high.get(self.metric))})"
            )
        yield from self._compare_with_start()
        if self.steps < self.asked:
            yield (
                f"Scores on held-out images fell after {self.steps} of {self.asked} updates, so "
                f"the final model is trained for {self.steps}."
            )
        if self.tuned is not None:
            yield self.tuned.describe()

    def _compare_with_start(self) -> Iterator[str]:
        """What the initial weights reach on the same images, if they know the task."""
        start, trained = score_at(self.curve, 0), score_at(self.curve, self.steps)
        if start is None or trained is None:
            return
        text = (
            f"Before the first update, the start weights have {self.metric} {start:.3f} on these "
            f"images; after {self.steps}, the models have {trained:.3f}"
        )
        yield (
            f"{text}. The start weights are better: predict with them (--model), or label more "
            "images that differ from these."
            if start_is_better(self.curve, self.steps)
            else f"{text}."
        )


def save_scores(run: Path, scores: HeldOutScores) -> None:
    """Write ``held_out/scores.json`` of a run."""
    path = run / HELD_OUT / _FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, json.dumps(_plain(asdict(scores)), indent=1, allow_nan=False))


def load_scores(run: Path) -> HeldOutScores | None:
    """Read ``held_out/scores.json`` of a run; None if there is none.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = run / HELD_OUT / _FILE
    if not path.is_file():
        return None
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        curve, tuned = tree.pop("curve"), tree.pop("tuned")
        return HeldOutScores(
            **{**tree, "images": tuple(tree["images"])},
            curve=Curve(
                tuple(curve["steps"]),
                tuple(tuple(map(_number, fold)) for fold in curve["folds"]),
                tuple(curve["sizes"]),
            ),
            tuned=None if tuned is None else _tuned(tuned),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            message(
                path,
                expected="the scores of a cross-validation",
                found=describe_error(error),
                do="Remove the file; --resume makes it again.",
            )
        ) from error


def _tuned(tree: Mapping[str, Any]) -> Tuned:
    numbers = {name: _number(tree[name]) for name in ("before", "after", "found")}
    lists = {"settings": tuple(tree["settings"]), "images": tuple(tree["images"])}
    return Tuned(**{**tree, **numbers, **lists})


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _plain(value: Any) -> Any:
    """Replace NaN by None, because JSON has no NaN."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and value != value else value


def _short(value: Any) -> str:
    return "undefined" if value is None else f"{value:.3f}"
