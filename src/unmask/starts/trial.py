"""A short trial with and without start weights, to check whether they help."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import replace

from lightning_fabric import Fabric

from unmask.build import build_optimizer
from unmask.models.base import Objective
from unmask.recipe import Recipe
from unmask.space.batch import Batch
from unmask.starts.choose import Chosen, without
from unmask.training import Journal, TrainingError, build_plan, fit
from unmask.training.plan import Plan

# Updates of each of the two trainings: a fiftieth of the run, at least 9 and at most 30. The
# losses of fewer updates are not comparable.
_PART, _FEWEST, _MOST = 50, 9, 30


def try_start(
    chosen: Chosen,
    objective: Objective,
    scratch: Callable[[], Objective],
    batches: Callable[[int], Iterator[Batch]],
    *,
    recipe: Recipe,
    fabric: Fabric,
) -> Chosen:
    """Keep the start weights if the loss of a short training is lower with them.

    Both trainings see the same crops with the same augmentations, so their losses differ by the
    weights alone. The network afterwards has the weights of the better start, untrained.

    Args:
        chosen: the start weights.
        objective: the network, with these weights.
        scratch: makes the same network with random weights.
        batches: returns the batches of the training, starting at a number.
        recipe: recipe of the run.
        fabric: devices and precision of the run.
    """
    if not chosen.unsure or chosen.model is None:
        return chosen
    updates = count_updates(recipe)
    if not updates:
        text = f"{recipe.train.steps} updates are too few for a trial, so the weights are used."
        return replace(chosen, lines=(*chosen.lines, text), unsure=False)
    plan = _trial_plan(recipe, updates)
    losses = {
        name: _loss(trained, batches, plan=plan, recipe=recipe, fabric=fabric)
        for name, trained in (("with", copy.deepcopy(objective)), ("without", scratch()))
    }
    # Processes train on different crops, so the first one decides for all.
    losses = fabric.broadcast(losses)
    trial = {"updates": updates, "loss_with": losses["with"], "loss_without": losses["without"]}
    text = (
        f"{updates} updates on crops of the training images: loss {losses['with']:.4g} with "
        f"{chosen.model}, {losses['without']:.4g} from random weights"
    )
    if losses["with"] <= losses["without"]:
        lines = (*chosen.lines, f"{text}. The start weights are used.")
        return replace(chosen, lines=lines, unsure=False, trial=trial)
    objective.load_state_dict(scratch().state_dict())
    return replace(
        without(chosen, f"{text}. The training starts from random weights."), trial=trial
    )


def count_updates(recipe: Recipe) -> int:
    """Number of updates of each of the two trainings; 0: the run is too short for a trial."""
    updates = min(_MOST, recipe.train.steps // _PART) // 3 * 3
    return updates if updates >= _FEWEST else 0


def _trial_plan(recipe: Recipe, updates: int) -> Plan:
    """A short training with the learning rate of the run; its loss is that of the last third."""
    return replace(
        build_plan(recipe),
        steps=updates,
        warmup=updates // 3,
        final_lr=1.0,
        cosine_steps=None,
        ema=0.0,
        validate_every=0,
        save_every=updates,
        log_every=updates // 3,
    )


def _loss(
    objective: Objective,
    batches: Callable[[int], Iterator[Batch]],
    *,
    plan: Plan,
    recipe: Recipe,
    fabric: Fabric,
) -> float:
    """Mean loss of the last updates; infinite if it is not a number."""
    optimizer = build_optimizer(recipe, objective)
    journal = Journal(None, steps=plan.steps, tensorboard=False, quiet=True)
    try:
        found = fit(
            objective, batches, fabric=fabric, optimizer=optimizer, plan=plan, journal=journal
        )
    except TrainingError:
        return math.inf
    return found.loss if math.isfinite(found.loss) else math.inf
