import unmask.parts

from .glmae import GLMAE
from .mae import MAE
from .spark import Spark

METHODS: unmask.parts.Parts

__all__ = [
    "GLMAE",
    "MAE",
    "METHODS",
    "Spark",
]
