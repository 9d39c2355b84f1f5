"""Tasks, one file each; a recipe names them by the keys of ``TASKS``."""

import lazy_loader

from unmask.parts import Parts

TASKS = Parts(
    "unmask.tasks",
    {
        "affinities": "unmask.tasks.affinities:Affinities",
        "boundary": "unmask.tasks.boundary:Boundary",
        "classify": "unmask.tasks.classify:Classify",
        "embeddings": "unmask.tasks.embeddings:Embeddings",
        "flows": "unmask.tasks.flows:Flows",
        "semantic": "unmask.tasks.semantic:Semantic",
    },
)
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["TASKS"]
