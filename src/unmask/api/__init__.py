"""The verbs, one file for each pair of inputs and outputs; all take paths or arrays."""

from __future__ import annotations

from unmask.api.audit import check
from unmask.api.catalogue import ModelCard, model_card, shipped_models
from unmask.api.clustering import Clustered, ClusterOptions, cluster
from unmask.api.evaluation import evaluate
from unmask.api.interchange import convert, load_official
from unmask.api.learning import Run, pretrain, train
from unmask.api.mapping import evaluate_clusters
from unmask.api.prediction import predict, predict_files

__all__ = [
    "ClusterOptions",
    "Clustered",
    "ModelCard",
    "Run",
    "check",
    "cluster",
    "convert",
    "evaluate",
    "evaluate_clusters",
    "load_official",
    "model_card",
    "predict",
    "predict_files",
    "pretrain",
    "shipped_models",
    "train",
]
