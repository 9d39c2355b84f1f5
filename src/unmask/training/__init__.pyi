from .average import Average
from .guard import TrainingError
from .journal import Journal
from .loop import fit
from .parallel import choose_precision, count_processes, launch, make_fabric
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
    "count_processes",
    "fit",
    "launch",
    "make_fabric",
    "schedule",
]
