"""Time and memory of a training before it starts, extrapolated from a few real updates."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil, nan, prod
from typing import TypeVar

import torch

from unmask.build import build_task, layout
from unmask.crossvalidation.outputs import compute_output, measure_output
from unmask.crossvalidation.tuning import count_trials
from unmask.data.pairs import Pair, cut_middle
from unmask.infer.load import make_predictor, tiling_of
from unmask.processes import busy_factor, waiting_times
from unmask.progress import duration
from unmask.recipe import Recipe
from unmask.starts.trial import count_updates
from unmask.tasks.segmenter import Segmenter
from unmask.training.allocator import keep_freed_memory
from unmask.training.parallel import device_type
from unmask.training.precision import Measured, count_timed, measure_precision
from unmask.training.threads import measure_threads, use_threads
from unmask.training.timing import label_pairs, time_seen

# Share of an update that is its forward pass; the backward pass takes about twice as long.
_FORWARD = 1 / 3
# Seconds per voxel for labels and metrics, which are not timed before a training: the kernels of
# decoding are compiled at their first call.
_DECODING = 2e-6
# A machine is called busy if work takes so many times longer.
_BUSY = 1.3
# Numbers per weight in a trial of start weights: two networks, each with its gradients and the two
# moments of the optimizer.
_COPIES = 8
_T = TypeVar("_T")


@dataclass(frozen=True)
class Forecast:
    """Cost of a training.

    Attributes:
        updates: number of updates of all its trainings together.
        seconds: on a machine that does nothing else; NaN: not measured.
        busy: how many times longer it takes while other programs run as at present.
        memory: largest memory of the process, or of the GPU, in bytes; None: unknown.
    """

    updates: int
    seconds: float = nan
    busy: float = 1.0
    memory: int | None = None

    def describe(self, what: str) -> str:
        """Time and memory in words; ``what`` names the updates."""
        if self.seconds != self.seconds:
            return f"{what}; their time was not measured"
        text = f"about {duration(self.seconds)} for {what}"
        if self.memory is not None:
            text += f"; {self.memory / 1e9:.2g} GB of memory"
        if self.busy >= _BUSY:
            slow = duration(self.seconds * self.busy)
            text += f". Other programs use this machine; while they do, it takes {slow}"
        return text


def describe_updates(recipe: Recipe, count: int) -> str:
    """Number of updates and size of their batches in words."""
    crop = " x ".join(map(str, recipe.data.crop))
    return f"{count:,} updates of {recipe.train.batch_size} crops {crop}"


def forecast(pairs: Sequence[Pair], recipe: Recipe) -> tuple[Measured, Forecast]:
    """Measure a few updates in each precision and forecast a training from start to end.

    Args:
        pairs: all images of the training, not resampled, with labels or without.
        recipe: recipe of the training.

    Returns:
        The measured times with the chosen precision, and the forecast.

    Raises:
        DataError: an image cannot be read.
    """
    device = device_type("auto")
    if device == "cpu":
        # The training does the same, so that its memory is that of its largest update.
        keep_freed_memory()
    ready = label_pairs(pairs, recipe)
    with use_threads(recipe.train.threads):
        measured = measure_precision(ready, recipe, device, updates=2)
    if measured.timing is None:
        precision = measured.recipe.train.precision
        timing = time_seen(ready, measured.recipe, updates=2)
        measured = replace(measured, timings={precision: timing})
    if device == "cpu":
        measured = measure_threads(ready, measured, time_updates=time_seen)
    labeled = [pair for pair in pairs if pair.labels is not None]
    count = ceil(recipe.data.holdout * len(labeled)) if len(labeled) > 1 else 0
    scored = labeled if recipe.train.folds else labeled[:count]
    made = extrapolate(measured, None, scored, folds=recipe.train.folds)
    timing = measured.timing
    if recipe.task is None or timing is None:
        return measured, made
    # The training times every precision again, and tries the start weights.
    tried = count_timed(recipe) * sum(each.update for each in measured.timings.values())
    seconds = made.seconds + tried + 2 * count_updates(recipe) * timing.update
    memory = None if made.memory is None else made.memory + 4 * _COPIES * timing.parameters
    return measured, replace(made, seconds=seconds, memory=memory)


def extrapolate(
    measured: Measured, network: object, scored: Sequence[Pair], *, folds: int
) -> Forecast:
    """Forecast updates and validations from measured updates.

    Args:
        measured: recipe and measured times of its updates.
        network: network that predicts the held-out images; None: the time is estimated.
        scored: images that are held out; with folds all images, each of which is held out once.
        folds: number of trainings of a cross-validation before the final one.
    """
    recipe, timing = measured.recipe, measured.timing
    updates = (folds + 1) * recipe.train.steps
    if timing is None:
        return Forecast(updates)
    seconds = updates * timing.update
    if scored:
        cost = _time_prediction(network, scored, recipe)
        if cost is None:
            voxels = recipe.train.batch_size * recipe.train.accumulate * prod(recipe.data.crop)
            cost = _Cost(_FORWARD * timing.update / voxels, _DECODING)
        seconds += _score_seconds(scored, recipe, cost, folds)
    return Forecast(updates, seconds, timing.busy, timing.peak)


@dataclass(frozen=True)
class _Cost:
    """Seconds per voxel that the network sees, and per voxel for labels and metrics."""

    network: float
    decoding: float = 0.0


def _score_seconds(scored: Sequence[Pair], recipe: Recipe, cost: _Cost, folds: int) -> float:
    """Seconds for all validations, and after the folds for scores and decoding options."""
    train = recipe.train
    few = min(1.0, train.validate_images * max(1, folds) / len(scored))
    rounds = few * (1 if train.validate_every == 0 else -(-train.steps // train.validate_every))
    voxels = sum(prod(pair.image.shape[1:]) for pair in scored)
    network = cost.network * sum(_seen(pair, recipe) for pair in scored)
    decoding = cost.decoding * voxels
    if not folds:
        return rounds * (network + decoding)
    trials = count_trials(build_task(recipe), voxels) if train.tune and len(scored) > 1 else 0
    # Each output is decoded for its label image, for its scores, and for every trial.
    return (rounds + 1) * network + (rounds + 2 + trials) * decoding


def _seen(pair: Pair, recipe: Recipe) -> float:
    """Voxels that the network sees of an image; those in several tiles count several times."""
    space = layout(recipe).view.place(pair.image).shape
    return float(tiling_of(recipe).adapted(space).seen(space))


def _time_prediction(network: object, scored: Sequence[Pair], recipe: Recipe) -> _Cost | None:
    """Predict and score the middle of the first labeled image, about as large as a tile.

    None for classes of whole images, and for networks that are not segmenters.
    """
    labeled = [pair for pair in scored if pair.labels is not None]
    if not isinstance(network, Segmenter) or network.task.image_classes or not labeled:
        return None
    task, training = network.task, network.training
    infer = recipe.infer.model_copy(update={"tta": False, "mirror_positions": False})
    plain = recipe.model_copy(update={"infer": infer})
    tile = recipe.infer.tile or recipe.data.crop
    factor = layout(recipe).view.place(labeled[0].image).factor
    pair = cut_middle(labeled[0], [max(1, round(length / factor)) for length in tile])
    names, ignore = recipe.train.metrics or task.metrics, recipe.data.ignore_label
    predictor = make_predictor([network.eval()], plain, task)
    with torch.no_grad():
        output, seconds = _timed(lambda: compute_output(predictor, pair))
        # The first call loads kernels.
        score = [_timed(lambda: measure_output(task, output, names, ignore))[1] for _ in range(2)]
    network.train(training)
    return _Cost(seconds / _seen(pair, recipe), min(score) / prod(pair.image.shape[1:]))


def _timed(call: Callable[[], _T]) -> tuple[_T, float]:
    """The result, and the seconds on a machine that does nothing else."""
    begin, waited = time.perf_counter(), waiting_times()
    result = call()
    return result, (time.perf_counter() - begin) / busy_factor(waited)
