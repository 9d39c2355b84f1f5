"""Search over decoding options on stored outputs; the network is not run again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from unmask.build import build_task
from unmask.crossvalidation.outputs import Output, measure_output
from unmask.crossvalidation.record import Tuned
from unmask.errors import DataError
from unmask.progress import Progress
from unmask.recipe import Recipe
from unmask.tasks.base import CompleteTask

# Number of combinations, and the number of decoded voxels over all combinations that reduces it.
_TRIALS, _VOXELS = 40, 400_000_000
# A smaller gain on images that did not choose the options can be random.
_GAIN = 0.005

SCALE = "infer.scale"
Scale = float | tuple[float, ...] | None
_Picks = tuple[Any, ...]


@dataclass
class _Table:
    """Scores ``(images,)`` of each combination that was decoded so far."""

    recipe: Recipe
    task: CompleteTask
    outputs: Mapping[Scale, Sequence[Output]]
    metric: str
    names: Sequence[str]
    scores: dict[_Picks, np.ndarray] = field(default_factory=dict)

    def score(self, picks: _Picks) -> float:
        """Mean over the images where the metric is defined; NaN if the options cannot decode."""
        if picks not in self.scores:
            self.scores[picks] = self._measure(picks)
        return _mean(self.scores[picks])

    def _measure(self, picks: _Picks) -> np.ndarray:
        chosen = dict(zip(self.names, picks, strict=True))
        outputs = self.outputs[chosen.pop(SCALE, next(iter(self.outputs)))]
        task = build_task(self.recipe.with_settings(settings_of(self.task, chosen)))
        ignore = self.recipe.data.ignore_label
        try:
            rows = [measure_output(task, each, [self.metric], ignore) for each in outputs]
        except DataError:
            return np.full(len(outputs), np.nan)
        return np.array([row.get(self.metric, np.nan) for row in rows], float)


def tune_decoding(
    outputs: Mapping[Scale, Sequence[Output]],
    recipe: Recipe,
    metric: str,
    *,
    trials: int | None = None,
    progress: Progress | None = None,
) -> Tuned | None:
    """Choose the decoding options that score best on stored outputs.

    The gain is measured by leave-one-out: each image is decoded with the options that are best on
    all other images. If the gain is .005 or less, the options of the recipe are kept.

    Args:
        outputs: outputs for images that the networks were not trained on, for each value of
            ``infer.scale``; the current value first, the same images for all values.
        recipe: recipe whose options are tried first.
        metric: metric to maximize.
        trials: number of combinations to try; None: 40, fewer for large images.
        progress: called with (finished combinations, all combinations).

    Returns:
        The result; None if the task has no options to choose, or there are fewer than two images.
    """
    task = build_task(recipe)
    choices = dict(task.decoding_choices())
    if len(outputs) > 1:
        choices[SCALE] = tuple(outputs)
    first = next(iter(outputs.values()))
    if not choices or len(first) < 2:
        return None
    names = list(choices)
    table = _Table(recipe, task, outputs, metric, names)
    current = tuple(choices[name][0] for name in names)
    size = sum(each.scores[0].size for each in first)
    count = trials or _count(size)
    before = table.score(current)
    _search(table, choices, count, progress)
    return _judge(table, current, before)


def count_trials(task: CompleteTask, voxels: int) -> int:
    """Number of combinations that `tune_decoding` tries.

    Args:
        task: task that is decoded; one without options gets 0.
        voxels: number of voxels of all images together.
    """
    choices = task.decoding_choices()
    if not choices:
        return 0
    return min(_count(voxels), prod(len(values) for values in choices.values()))


def _count(voxels: int) -> int:
    return max(8, min(_TRIALS, _VOXELS // max(1, voxels)))


def settings_of(task: CompleteTask, picks: Mapping[str, Any]) -> list[str]:
    """Write options as settings of a recipe; ``decoding.x`` is an entry of ``task.decoding``."""
    inner = {n.partition(".")[2]: v for n, v in picks.items() if n.startswith("decoding.")}
    settings = [f"task.{n}={json.dumps(v)}" for n, v in picks.items() if "." not in n]
    settings += [f"{SCALE}={json.dumps(v)}" for n, v in picks.items() if n == SCALE]
    if inner:
        settings.append(f"task.decoding={json.dumps({**_decoding(task), **inner})}")
    return settings


def _search(
    table: _Table,
    choices: Mapping[str, Sequence[Any]],
    count: int,
    progress: Progress | None,
) -> None:
    """Fill the table with combinations proposed by a tree-structured Parzen estimator."""
    # The import takes a second, so it is local.
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=table.recipe.train.seed)
    )
    # The options of the recipe come first, so that the result is never worse.
    study.enqueue_trial(dict.fromkeys(table.names, 0))

    def objective(trial: Any) -> float:
        places = [trial.suggest_int(name, 0, len(choices[name]) - 1) for name in table.names]
        picks = tuple(choices[n][place] for n, place in zip(table.names, places, strict=True))
        score = table.score(picks)
        if progress is not None:
            progress(trial.number + 1, count)
        return score if score == score else -1.0

    study.optimize(objective, n_trials=count)


def _judge(table: _Table, current: _Picks, before: float) -> Tuned:
    """The best combination, and its gain on images that did not choose it."""
    combinations = list(table.scores)
    scores = np.stack([table.scores[each] for each in combinations])
    best = _best(scores, combinations.index(current))
    count = scores.shape[1]
    after = np.array(
        [
            scores[_best(np.delete(scores, image, axis=1), combinations.index(current)), image]
            for image in range(count)
        ]
    )
    names = [output.pair.name for output in next(iter(table.outputs.values()))]
    rows = zip(names, table.scores[current].tolist(), after.tolist(), strict=True)
    gain = _mean(after) - before
    picks = zip(table.names, combinations[best], current, strict=True)
    changed = {name: value for name, value, now in picks if value != now}
    return Tuned(
        settings=tuple(settings_of(table.task, changed)) if gain > _GAIN else (),
        metric=table.metric,
        before=before,
        after=_mean(after),
        found=_mean(scores[best]),
        trials=len(combinations),
        images=tuple({"name": n, "before": b, "after": a} for n, b, a in rows),
    )


def _best(scores: np.ndarray, current: int) -> int:
    """The row with the highest mean; a tie keeps the current options."""
    means = np.array([_mean(row) for row in scores])
    means = np.where(np.isnan(means), -np.inf, means)
    return current if means[current] >= means.max() else int(means.argmax())


def _decoding(task: CompleteTask) -> dict[str, Any]:
    decoding = getattr(task, "decoding", {})
    return {"name": decoding} if isinstance(decoding, str) else dict(decoding)


def _mean(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")
