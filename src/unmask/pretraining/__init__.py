"""Pre-training methods: learn from images without labels."""

from unmask.pretraining.glmae import GLMAE
from unmask.pretraining.mae import MAE
from unmask.pretraining.spark import Spark

METHODS = {"glmae": GLMAE, "mae": MAE, "spark": Spark}

__all__ = ["GLMAE", "MAE", "METHODS", "Spark"]
