"""Training: one loop for pre-training and fine-tuning, its optimisers, journal and devices."""

from unmask.train.guard import Interrupted, TrainingError
from unmask.train.journal import Journal
from unmask.train.loop import fit
from unmask.train.optim import OPTIMIZERS, Average, adamw, lamb, parameter_groups, schedule
from unmask.train.parallel import choose_precision, make_fabric
from unmask.train.plan import Plan, Summary
from unmask.train.saving import Run

__all__ = [
    "OPTIMIZERS",
    "Average",
    "Interrupted",
    "Journal",
    "Plan",
    "Run",
    "Summary",
    "TrainingError",
    "adamw",
    "choose_precision",
    "fit",
    "lamb",
    "make_fabric",
    "parameter_groups",
    "schedule",
]
