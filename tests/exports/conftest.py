"""A small model, and the package of it, which contains all formats."""

from __future__ import annotations

import pytest
import torch

from unmask import api
from unmask.build import build_segmenter
from unmask.checkpoint import save_model
from unmask.recipe import load

SETTINGS = [
    "data.channels=1",
    "data.crop=[40, 56]",
    "model.backbone.width=4",
    "model.backbone.depth=3",
    "data.normalize={name: percentile, per_channel: true}",
]


def _write_model(folder, *settings):
    """A model file of a small network with random weights."""
    torch.manual_seed(0)
    recipe = load("cells").with_settings([*SETTINGS, *settings])
    path = folder / "small.safetensors"
    card = {"recipe": recipe.model_dump(mode="json"), "license": "Apache-2.0"}
    save_model(path, build_segmenter(recipe).state_dict(), card)
    return path


@pytest.fixture(scope="session")
def write_model():
    return _write_model


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    return _write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def package(model, tmp_path_factory):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("bioimageio.core")
    out = tmp_path_factory.mktemp("package") / "small.zip"
    return api.export(model, format="bioimageio", out=out, check=True)
