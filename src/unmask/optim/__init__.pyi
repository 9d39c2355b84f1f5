import unmask.parts

from .groups import parameter_groups
from .standard import adamw

OPTIMIZERS: unmask.parts.Parts

__all__ = [
    "OPTIMIZERS",
    "adamw",
    "parameter_groups",
]
