"""Pre-training methods, which learn from images without labels."""

import lazy_loader

from unmask.parts import Parts

METHODS = Parts(
    "unmask.methods",
    {
        "glmae": "unmask.pretraining.glmae:GLMAE",
        "mae": "unmask.pretraining.mae:MAE",
        "spark": "unmask.pretraining.spark:Spark",
    },
)
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["METHODS"]
