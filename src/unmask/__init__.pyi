from . import labels, metrics
from .api import check, cluster, convert, evaluate, load_official, predict, pretrain, train
from .infer.predictor import Prediction, Predictor
from .io import open_image, save_image
from .recipe import Recipe

__all__ = [
    "Prediction",
    "Predictor",
    "Recipe",
    "check",
    "cluster",
    "convert",
    "evaluate",
    "labels",
    "load_official",
    "metrics",
    "open_image",
    "predict",
    "pretrain",
    "save_image",
    "train",
]
