"""Pre-training methods: learn from images without labels."""

from unmask.pretraining.mae import MAE

METHODS = {"mae": MAE}

__all__ = ["MAE", "METHODS"]
