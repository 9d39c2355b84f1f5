"""Training: one loop for pre-training and fine-tuning, its optimizers, journal and devices."""

import lazy_loader

from unmask.parts import Parts

OPTIMIZERS = Parts(
    "unmask.optimizers",
    {
        "adam": "unmask.training.optim:adam",
        "adamw": "unmask.training.optim:adamw",
        "lamb": "unmask.training.optim:lamb",
        "muon": "unmask.training.muon:Muon",
        "sgd": "unmask.training.optim:sgd",
    },
)
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["OPTIMIZERS"]
