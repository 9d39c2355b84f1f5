from . import labels, metrics
from .api import (
    check,
    cluster,
    convert,
    decode,
    evaluate,
    export,
    load_official,
    measure,
    plan,
    predict,
    pretrain,
    scribble,
    select,
    share,
    synth,
    train,
    tune,
)
from .infer.predictor import Prediction, Predictor
from .io import open_image, save_image
from .io.outlines import read_outlines, write_outlines
from .recipe import Recipe

__version__: str

__all__ = [
    "Prediction",
    "Predictor",
    "Recipe",
    "check",
    "cluster",
    "convert",
    "decode",
    "evaluate",
    "export",
    "labels",
    "load_official",
    "measure",
    "metrics",
    "open_image",
    "plan",
    "predict",
    "pretrain",
    "read_outlines",
    "save_image",
    "scribble",
    "select",
    "share",
    "synth",
    "train",
    "tune",
    "write_outlines",
]
