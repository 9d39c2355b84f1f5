from .audit import check
from .catalog import ModelCard, model_card, shipped_models
from .clustering import Clustered, ClusterOptions, cluster
from .evaluation import evaluate
from .exporting import decode, export
from .installation import Installation, compile_kernels, describe_installation
from .interchange import convert, load_official
from .learning import Run, pretrain, train
from .mapping import evaluate_clusters
from .measuring import MeasureOptions, measure, measure_files
from .planning import plan
from .prediction import predict, predict_files
from .reporting import write_page
from .scribbling import save_fitted, scribble
from .selecting import Selected, select
from .sharing import Owner, Shared, ShareOptions, share
from .synthesis import FittedGroup, Synthesized, synth
from .tuning import Tuning, tune

__all__ = [
    "ClusterOptions",
    "Clustered",
    "FittedGroup",
    "Installation",
    "MeasureOptions",
    "ModelCard",
    "Owner",
    "Run",
    "Selected",
    "ShareOptions",
    "Shared",
    "Synthesized",
    "Tuning",
    "check",
    "cluster",
    "compile_kernels",
    "convert",
    "decode",
    "describe_installation",
    "evaluate",
    "evaluate_clusters",
    "export",
    "load_official",
    "measure",
    "measure_files",
    "model_card",
    "plan",
    "predict",
    "predict_files",
    "pretrain",
    "save_fitted",
    "scribble",
    "select",
    "share",
    "shipped_models",
    "synth",
    "train",
    "tune",
    "write_page",
]
