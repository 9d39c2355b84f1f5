"""Weights of ImageNet for mix transformers, as the start of MEDIAR."""

from collections.abc import Callable

import pytest
import torch

from unmask.errors import CheckpointError
from unmask.interop.official import read
from unmask.models import MixTransformer


def saved(path, change: Callable[[dict], dict] = dict):
    torch.manual_seed(0)
    network = MixTransformer(2, 3, heads=(1, 2, 5, 8), dims=(8, 8, 20, 16), depths=(1, 2, 1, 1))
    weights = network.state_dict() | {
        "head.weight": torch.zeros(5, 16),
        "head.bias": torch.zeros(5),
    }
    torch.save(change(weights), path)
    return path, network.eval()


def test_the_encoder_of_imagenet_starts_mediar(tmp_path):
    """The classifier is dropped; features are those of the published names."""
    path, network = saved(tmp_path / "mit_b9.pth")
    found = read(path, "mit")
    assert found.recipe.model.backbone.choice.options["dims"] == [8, 8, 20, 16]
    decoder = found.recipe.model.decoder
    assert decoder is not None
    assert decoder.name == "manet"
    assert all(name.startswith("backbone.") for name in found.weights)
    image = torch.randn(1, 3, 64, 64)
    for ours, theirs in zip(found.network()(image), network(image), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_wrapped_and_incomplete_files(tmp_path):
    wrapped = saved(
        tmp_path / "a.pth", lambda w: {"state_dict": {f"backbone.{n}": v for n, v in w.items()}}
    )
    assert (
        read(wrapped[0], "mit").weights.keys()
        == read(saved(tmp_path / "b.pth")[0], "mit").weights.keys()
    )
    cut = saved(
        tmp_path / "c.pth",
        lambda w: {n: v for n, v in w.items() if "block2.1" not in n or "fc2" not in n},
    )
    with pytest.raises(CheckpointError, match="missing"):
        read(cut[0], "mit")
    with pytest.raises(CheckpointError, match="Give --source mit"):
        read(saved(tmp_path / "d.pth")[0], "mediar")
