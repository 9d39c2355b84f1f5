from .average import Average
from .guard import TrainingError
from .journal import Journal
from .loop import fit
from .parallel import choose_precision, launched, make_fabric, started
from .plan import Plan, Summary, build_plan
from .saving import RunFolder
from .schedule import schedule

__all__ = [
    "Average",
    "Journal",
    "Plan",
    "RunFolder",
    "Summary",
    "TrainingError",
    "build_plan",
    "choose_precision",
    "fit",
    "launched",
    "make_fabric",
    "schedule",
    "started",
]
