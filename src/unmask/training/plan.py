"""The values of an optimization, and what came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from unmask.recipe import Recipe


@dataclass(frozen=True)
class Plan:
    """The values of an optimization.

    Attributes:
        steps: updates.
        lr: peak learning rate; each group's own "scale" multiplies it.
        accumulate: batches summed up in one update.
        warmup: updates of linear warm-up.
        final_lr: end of the cosine as a share of ``lr``.
        cosine_steps: updates from the peak to the end of the cosine, after which it rises again;
            None: all.
        final_weight_decay: end of the weight decay's cosine as a multiple of its start.
        clip: largest gradient norm; None only measures it.
        ema: decay of averaged weights; 0 for none.
        validate_every: updates; 0 only at the end.
        validate_first: whether the initial weights are validated too, if ``validate_every`` is
            not 0: weights that know the task may be better than what few labels make of them.
        save_every: updates between snapshots.
        keep: snapshots kept.
        log_every: updates that one journal line averages.
        bad_steps: losses in a row that are not finite before the run ends.
        seed: seeds what is drawn on the device.
    """

    steps: int
    lr: float
    accumulate: int = 1
    warmup: int = 0
    final_lr: float = 0.0
    cosine_steps: int | None = None
    final_weight_decay: float = 1.0
    clip: float | None = 1.0
    ema: float = 0.0
    validate_every: int = 0
    validate_first: bool = False
    save_every: int = 500
    keep: int = 2
    log_every: int = 10
    bad_steps: int = 10
    seed: int = 0

    def is_due(self, step: int, every: int) -> bool:
        """Whether what happens every so many updates, and after the last one, happens now."""
        return step == self.steps or (every > 0 and step % every == 0)


def build_plan(recipe: Recipe) -> Plan:
    """The values of the recipe's ``train`` that the loop needs."""
    shared = Plan.__dataclass_fields__.keys() & type(recipe.train).model_fields.keys()
    return Plan(**{name: getattr(recipe.train, name) for name in shared})


@dataclass(frozen=True)
class Summary:
    """What came out of a run.

    Attributes:
        step: updates done.
        loss: mean of the last journal line; NaN if no step was left to do.
        best: best score; None without validation.
        best_step: its step; without validation the last one.
        metrics: scores of the last validation.
        seconds: of this call.
    """

    step: int
    loss: float
    best: float | None
    best_step: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
