"""Optimizers, and the groups of parameters that they update."""

import lazy_loader

from unmask.parts import Parts

OPTIMIZERS = Parts(
    "unmask.optimizers",
    {
        "adam": "unmask.optim.standard:adam",
        "adamw": "unmask.optim.standard:adamw",
        "lamb": "unmask.optim.standard:lamb",
        "muon": "unmask.optim.muon:Muon",
        "sgd": "unmask.optim.standard:sgd",
    },
)
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["OPTIMIZERS"]
