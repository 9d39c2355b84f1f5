"""Training: one loop for pre-training and fine-tuning, its optimisers, journal and devices."""

from unmask.errors import Interrupted
from unmask.training.guard import TrainingError
from unmask.training.journal import Journal
from unmask.training.loop import fit
from unmask.training.optim import OPTIMIZERS, Average, adamw, lamb, parameter_groups, schedule
from unmask.training.parallel import choose_precision, launched, make_fabric, started
from unmask.training.plan import Plan, Summary
from unmask.training.saving import RunFolder

__all__ = [
    "OPTIMIZERS",
    "Average",
    "Interrupted",
    "Journal",
    "Plan",
    "RunFolder",
    "Summary",
    "TrainingError",
    "adamw",
    "choose_precision",
    "fit",
    "lamb",
    "launched",
    "make_fabric",
    "parameter_groups",
    "schedule",
    "started",
]
