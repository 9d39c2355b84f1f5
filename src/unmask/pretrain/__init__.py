"""Pre-training methods: learn from images without labels."""

from unmask.pretrain.mae import MAE

METHODS = {"mae": MAE}

__all__ = ["MAE", "METHODS"]
