import pytest
from torch import nn

from unmask.build import new_method, new_segmenter, resolve_recipe
from unmask.training.compiling import compile_parts


@pytest.fixture
def backends(monkeypatch):
    """Modules are not compiled, which takes minutes; what they would be compiled with is noted."""
    asked = []
    monkeypatch.setattr(nn.Module, "compile", lambda module, backend: asked.append(backend))
    return asked


def test_the_parts_of_a_segmenter_are_compiled(backends):
    recipe = resolve_recipe("cells", ["model.backbone={name: resunet, width: 4, depth: 2}"])
    assert compile_parts(new_segmenter(recipe)) == ["backbone", "decoder", "head"]
    assert backends == ["inductor"] * 3


def test_transformers_are_compiled_block_by_block(backends):
    small = "model.backbone={name: vit, patch: [8, 8], dim: 8, depth: 2, heads: 1}"
    found = compile_parts(new_method(resolve_recipe("mae2d", [small, "method=mae"])))
    blocks = [
        f"{place}.{number}" for place in ("backbone.blocks", "decoder_blocks") for number in (0, 1)
    ]
    assert sorted(found) == blocks


def test_a_recipe_compiles_only_on_demand():
    assert not resolve_recipe("cells", []).train.compile
    assert resolve_recipe("cells", ["train.compile=true"]).train.compile
