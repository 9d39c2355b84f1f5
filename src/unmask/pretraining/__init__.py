"""Pre-training methods: learn from images without labels."""

from unmask.pretraining.mae import MAE
from unmask.pretraining.spark import Spark

METHODS = {"mae": MAE, "spark": Spark}

__all__ = ["MAE", "METHODS", "Spark"]
