"""SparK's three layouts: read, written, and refused where something is missing."""

import numpy as np
import pytest
import torch

from unmask.build import new_method
from unmask.checkpoint import load_model, save_model
from unmask.errors import CheckpointError
from unmask.infer.load import load_predictor
from unmask.interop.official import read
from unmask.interop.spark import LAYOUTS, write
from unmask.io import Image
from unmask.models import ResNet
from unmask.pretraining import Spark
from unmask.recipe import load
from unmask.training.provenance import initialize


@pytest.fixture(scope="module")
def method():
    torch.manual_seed(0)
    return Spark(ResNet(2, 3, width=4, blocks=[1, 2, 1, 1]), decoder_top=32).eval()


@pytest.fixture
def file(tmp_path):
    """``file(tree)``: the path of a saved tree."""

    def save(tree):
        torch.save(tree, tmp_path / "a.pth")
        return tmp_path / "a.pth"

    return save


def card(found):
    return {"recipe": found.recipe.model_dump(mode="json"), "origin": dict(found.origin)}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_model_file_becomes_a_published_one(method, layout, file, tmp_path):
    save_model(tmp_path / "model.safetensors", method.state_dict(), {"recipe": {}})
    path = file(write(load_model(tmp_path).weights, layout))
    tree = torch.load(path, weights_only=True)
    state = tree["module"] if layout == "module" else tree
    first = "conv1.weight" if layout == "timm" else "sparse_encoder.sp_cnn.conv1.weight"
    assert torch.equal(state[first], method.backbone.conv1.weight)
    assert ("norm_black" in state) == (layout != "timm")
    assert ("dense_decoder.proj.weight" in state) == (layout != "timm")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_round_trip(method, layout, file, tmp_path):
    tree = write(method.state_dict(), layout)
    if layout == "module":
        tree |= {"args": "x", "epoch": 3, "optimizer": {"state": {}}}
        tree["module"]["config"] = {"width": 768}
    found = read(file(tree), "spark")
    own = method.state_dict()
    names = [n for n in own if layout != "timm" or n.startswith("backbone.")]
    assert sorted(found.weights) == sorted(names)
    assert all(torch.equal(found.weights[name], own[name]) for name in names)
    save_model(tmp_path / "a.safetensors", found.weights, card(found))
    other = new_method(found.recipe)
    lines = initialize(other, tmp_path / "a.safetensors").lines
    assert "backbone 100% taken over" in lines[0]
    assert lines[0].count("100% taken over") == (1 if layout == "timm" else 3)
    backbone = other.get_submodule("backbone")
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, own[f"backbone.{name}"])
    again = write(found.weights, layout)
    assert again.keys() == write(own, layout).keys()
    image = torch.randn(1, 3, 64, 64)
    for ours, theirs in zip(found.network()(image), method.backbone(image), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_published_names(method):
    flat = write(method.state_dict(), "flat")
    assert {
        "sparse_encoder.sp_cnn.layer2.1.bn3.running_var",
        "dense_decoder.dec.4.up_sample.weight",
        "dense_decoder.proj.bias",
        "densify_projs.3.weight",
        "mask_tokens.0",
        "norm_black",
    } <= flat.keys()
    assert "layer1.0.downsample.1.weight" in write(method.state_dict(), "timm")


@pytest.mark.parametrize("classes", [1, 4])
def test_a_finetuned_file_predicts(file, tmp_path, method, classes):
    weights = dict(method.state_dict())
    weights |= {
        n: torch.randn(classes, *weights[n].shape[1:]) for n in ("head.weight", "head.bias")
    }
    found = read(file(write(weights, "flat")), "spark")
    save_model(tmp_path / "pets.safetensors", found.weights, card(found))
    predictor = load_predictor(tmp_path / "pets.safetensors", ["infer.tile=[64, 64]"])
    array = np.random.default_rng(0).integers(0, 255, (3, 64, 80)).astype(np.uint8)
    labels = predictor.predict(Image.from_array(array, axes="CYX")).labels
    assert labels.shape == (64, 80)
    assert labels.max() < max(2, classes)
    assert found.network()(torch.randn(1, 3, 64, 64)).shape == (1, classes, 64, 64)


def test_torchvision_and_data_parallel_files(method, file):
    timm = write(method.state_dict(), "timm")
    old = {k: v for k, v in timm.items() if not k.endswith("num_batches_tracked")}
    found = read(file(old | {"fc.weight": torch.ones(2, 2)}), "spark")
    assert found.weights["backbone.bn1.num_batches_tracked"] == 0
    parallel = {f"module.{k}": v for k, v in write(method.state_dict(), "flat").items()}
    assert read(file(parallel), "spark").weights.keys() == method.state_dict().keys()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_less_than_the_whole_encoder_is_refused(method, layout, file):
    tree = write(method.state_dict(), layout)
    state = tree.get("module", tree)
    gone = [name for name in state if "layer3.0.conv2" in name or "layer1.0.bn1.bias" in name]
    for name in gone:
        del state[name]
    with pytest.raises(CheckpointError, match=r"a\.pth.*2 differences") as caught:
        read(file(tree), "spark")
    assert "backbone.layer3.0.conv2.weight: missing" in str(caught.value)
    assert "backbone.layer1.0.bn1.bias: missing" in str(caught.value)


def test_other_files_are_refused(method, file):
    for tree in ({}, {"model": {"x": torch.ones(1)}}, {"patch_embed.proj.weight": torch.ones(1)}):
        with pytest.raises(CheckpointError, match="expected weights of a ResNet of SparK"):
            read(file(tree), "spark")
    flat = write(method.state_dict(), "flat")
    flat["sparse_encoder.sp_cnn.layer1.0.conv1.weight"] = torch.ones(4, 4, 3, 3)
    flat["strange"] = torch.ones(1)
    with pytest.raises(CheckpointError, match="2 differences") as caught:
        read(file(flat), "spark")
    assert "strange: not expected" in str(caught.value)
    with pytest.raises(CheckpointError, match="layout 'x'"):
        write(method.state_dict(), "x")


def test_the_published_size_is_that_of_the_preset(file):
    network = new_method(load("spark_pets"))
    found = read(file(write(network.state_dict(), "timm")), "spark")
    assert found.recipe.model.backbone.choice.options == {"width": 64, "depth": 50}
