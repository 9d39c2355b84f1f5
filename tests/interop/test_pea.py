"""Weights of Pixel-Embedded Affinity: whole files become networks and model files."""

import json

import pytest
import torch

from unmask.build import build_segmenter
from unmask.errors import CheckpointError
from unmask.infer.load import load_predictor
from unmask.interop import official
from unmask.models import BACKBONES
from unmask.recipe import load

CASES = {"pea2d": ("pea_cvppp", (1, 3, 32, 32)), "pea3d": ("pea_ac34", (1, 1, 3, 32, 32))}


def small(source):
    """A small network of the published form."""
    preset, shape = CASES[source]
    backbone = load(preset).model.backbone.name
    assert backbone in BACKBONES
    recipe = load(preset).with_settings(
        [f"model.backbone={{name: {backbone}, widths: [3, 4, 5, 6, 7]}}", "task.dims=8"]
    )
    torch.manual_seed(0)
    image = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    return build_segmenter(recipe).eval(), image


def published(source, segmenter):
    """Its weights by the published names, as the program saves them."""
    chosen = official.SOURCES[source]
    prefixes = ("backbone.", "decoder.")
    names = {
        "head.embedding.": "outconv_emb.conv.",
        "head.foreground.": "binary_seg.",
        "head.": "out_put.0.",
    }
    side = "outconv{}.conv." if source == "pea2d" else "out_put{}.0."
    names |= {f"side_heads.{n}.": side.format(4 - n) for n in range(4)}
    entries = {}
    for name, value in segmenter.state_dict().items():
        theirs = name
        for old, new in names.items():
            if name.startswith(old):
                theirs = new + name.removeprefix(old)
                break
        for prefix in prefixes:
            theirs = theirs.removeprefix(prefix)
        assert chosen.renamed(theirs) == name
        entries[theirs] = value
    return {"current_iter": 7, "valid_result": None, "model_weights": entries}


@pytest.mark.parametrize("source", CASES)
class TestSources:
    def test_outputs(self, source, tmp_path):
        segmenter, image = small(source)
        path = tmp_path / "published.ckpt"
        torch.save(published(source, segmenter), path)
        read = official.read(path, source)
        assert read.recipe.model.backbone.choice.options["widths"] == [3, 4, 5, 6, 7]
        assert read.recipe.task is not None
        assert read.recipe.task.choice.options["dims"] == 8
        with torch.no_grad():
            outputs = read.network()(image)
            logits = segmenter.logits(image)
        assert len(outputs) == (6 if source == "pea2d" else 5)
        sizes = [output.shape[-1] for output in outputs[:5]]
        assert sizes == [2, 4, 8, 16, 32]
        torch.testing.assert_close(outputs[4], logits[:, :8])

    def test_what_is_missing_is_named(self, source, tmp_path):
        segmenter, _ = small(source)
        tree = published(source, segmenter)
        gone = next(name for name in tree["model_weights"] if name.startswith("up"))
        del tree["model_weights"][gone]
        path = tmp_path / "published.ckpt"
        torch.save(tree, path)
        with pytest.raises(CheckpointError, match=gone):
            official.read(path, source)

    def test_another_source_is_guessed(self, source, tmp_path):
        path = tmp_path / "published.ckpt"
        torch.save(published(source, small(source)[0]), path)
        other = next(name for name in CASES if name != source)
        with pytest.raises(CheckpointError, match=f"--source {source}"):
            official.read(path, other)


@pytest.mark.parametrize(("source", "keys"), [("pea2d", "resunet2d"), ("pea3d", "unet3d")])
def test_published_names_and_sizes(golden, source, keys):
    entries = json.loads((golden / "pea" / f"keys_{keys}.json").read_text())
    tensors = {name: torch.empty(shape, device="meta") for name, shape in entries.items()}
    chosen = official.SOURCES[source]
    assert chosen.belongs(tensors)
    with torch.device("meta"):
        network = chosen.build(chosen.recipe(tensors))
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert {chosen.renamed(name): tuple(shape) for name, shape in entries.items()} == expected


def test_a_converted_file_predicts(command, tmp_path):
    segmenter, _ = small("pea2d")
    torch.save(published("pea2d", segmenter), tmp_path / "leaves.ckpt")
    out = tmp_path / "leaves.safetensors"
    answer = command("convert", tmp_path / "leaves.ckpt", "--source", "pea2d", "--out", out)
    assert answer.code == 0, answer.err
    assert load_predictor(out).task.dims == 8
