"""Images to masks with as few labels as possible, in 2D and 3D.

The names below are loaded when they are first used, so that ``import unmask`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unmask import labels, metrics
    from unmask.api import (
        check,
        cluster,
        convert,
        evaluate,
        load_official,
        measure,
        predict,
        pretrain,
        train,
    )
    from unmask.infer.predictor import Prediction, Predictor
    from unmask.io import open_image, save_image
    from unmask.io.outlines import read_outlines, write_outlines
    from unmask.recipe import Recipe

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
    "measure",
    "metrics",
    "open_image",
    "predict",
    "pretrain",
    "read_outlines",
    "save_image",
    "train",
    "write_outlines",
]

_HOMES = {
    "Prediction": "unmask.infer.predictor",
    "Predictor": "unmask.infer.predictor",
    "Recipe": "unmask.recipe",
    "check": "unmask.api",
    "cluster": "unmask.api",
    "convert": "unmask.api",
    "evaluate": "unmask.api",
    "load_official": "unmask.api",
    "measure": "unmask.api",
    "open_image": "unmask.io",
    "predict": "unmask.api",
    "pretrain": "unmask.api",
    "read_outlines": "unmask.io.outlines",
    "save_image": "unmask.io",
    "train": "unmask.api",
    "write_outlines": "unmask.io.outlines",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in {"labels", "metrics"}:
        return import_module(f"unmask.{name}")
    raise AttributeError(f"module 'unmask' has no attribute {name!r}")
