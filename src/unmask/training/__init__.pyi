import unmask.parts

from .guard import TrainingError
from .journal import Journal
from .loop import fit
from .optim import Average, adamw, parameter_groups, schedule
from .parallel import choose_precision, launched, make_fabric, started
from .plan import Plan, Summary
from .saving import RunFolder

OPTIMIZERS: unmask.parts.Parts

__all__ = [
    "OPTIMIZERS",
    "Average",
    "Journal",
    "Plan",
    "RunFolder",
    "Summary",
    "TrainingError",
    "adamw",
    "choose_precision",
    "fit",
    "launched",
    "make_fabric",
    "parameter_groups",
    "schedule",
    "started",
]
