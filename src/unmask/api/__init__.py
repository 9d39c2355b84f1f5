"""The verbs, one file for each pair of inputs and outputs; all take paths or arrays.

Each is loaded when it is first used: measuring objects must not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unmask.api.audit import check
    from unmask.api.catalogue import shipped_models
    from unmask.api.clustering import Clustered, ClusterOptions, cluster
    from unmask.api.evaluation import evaluate
    from unmask.api.interchange import convert, load_official
    from unmask.api.learning import Run, pretrain, train
    from unmask.api.mapping import evaluate_clusters
    from unmask.api.measuring import MeasureOptions, measure, measure_files
    from unmask.api.prediction import predict, predict_files

__all__ = [
    "ClusterOptions",
    "Clustered",
    "MeasureOptions",
    "Run",
    "check",
    "cluster",
    "convert",
    "evaluate",
    "evaluate_clusters",
    "load_official",
    "measure",
    "measure_files",
    "predict",
    "predict_files",
    "pretrain",
    "shipped_models",
    "train",
]

_HOMES = {
    "ClusterOptions": "clustering",
    "Clustered": "clustering",
    "MeasureOptions": "measuring",
    "Run": "learning",
    "check": "audit",
    "cluster": "clustering",
    "convert": "interchange",
    "evaluate": "evaluation",
    "evaluate_clusters": "mapping",
    "load_official": "interchange",
    "measure": "measuring",
    "measure_files": "measuring",
    "predict": "prediction",
    "predict_files": "prediction",
    "pretrain": "learning",
    "shipped_models": "catalogue",
    "train": "learning",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'unmask.api' has no attribute {name!r}")
    return getattr(import_module(f"unmask.api.{_HOMES[name]}"), name)
