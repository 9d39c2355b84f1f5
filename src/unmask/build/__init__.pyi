from .assembly import (
    Assembly,
    assemble_method,
    assemble_segmenter,
    new_method,
    new_segmenter,
    resolve_recipe,
)
from .networks import build_backbone, build_method, build_segmenter, build_task
from .normalizer import build_normalizer
from .optimizer import build_optimizer
from .pipeline import (
    Pipeline,
    build_crops,
    build_pipeline,
    build_replay,
    build_sampling,
    encoder,
    layout,
)

__all__ = [
    "Assembly",
    "Pipeline",
    "assemble_method",
    "assemble_segmenter",
    "build_backbone",
    "build_crops",
    "build_method",
    "build_normalizer",
    "build_optimizer",
    "build_pipeline",
    "build_replay",
    "build_sampling",
    "build_segmenter",
    "build_task",
    "encoder",
    "layout",
    "new_method",
    "new_segmenter",
    "resolve_recipe",
]
