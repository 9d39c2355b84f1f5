"""Cards that claim what their tensors do not hold are refused before anything is built."""

from __future__ import annotations

import copy
import json
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from unmask import api
from unmask.build import build_segmenter, new_segmenter
from unmask.checkpoint import load_model, save_model
from unmask.checkpoint.tensors import write_tensors
from unmask.clustering.encoder import load_encoder
from unmask.errors import CheckpointError, UnmaskError
from unmask.infer.load import load_predictor
from unmask.models.finished import build_finished, without_start_weights
from unmask.recipe import load

HUGE = 10**9
CLAIMS = [
    ("model.backbone", {"name": "resunet", "width": HUGE, "depth": 3}),
    ("model.backbone", {"name": "resunet", "width": 4, "depth": HUGE}),
    ("model.backbone", {"name": "resunet", "width": 4, "depth": 3, "blocks": HUGE}),
    ("model.backbone", {"name": "resunet", "width": 4, "depth": 3, "blocks": 4000}),
    ("model.backbone", {"name": "vit", "dim": 2**20, "depth": 4, "heads": 1}),
    ("model.backbone", {"name": "vit", "dim": 4096, "depth": 4000, "heads": 1}),
    ("model.backbone", {"name": "vit", "dim": 24, "depth": HUGE, "heads": 1}),
    ("model.backbone", {"name": "vit", "dim": 24, "depth": 2, "heads": 2, "mlp_ratio": 1e12}),
    ("model.backbone", {"name": "vit", "dim": 24, "depth": 2, "heads": 2, "patch": 1}),
    ("model.backbone", {"name": "mit", "depths": [HUGE, 1, 1, 1]}),
    ("model.backbone", {"name": "mit", "dims": [HUGE] * 4}),
    ("model.backbone", {"name": "mit", "depths": [3000, 3000, 3000, 3000]}),
    ("model.backbone", {"name": "resnet", "width": HUGE}),
    ("model.backbone", {"name": "superhuman", "widths": [HUGE] * 5}),
    ("model.backbone", {"name": "superhuman", "widths": [4] * 4000}),
    ("model.decoder", {"name": "unet", "width": HUGE}),
    ("model.decoder", {"name": "unet", "blocks": HUGE}),
    ("model.head", {"name": "mlp", "hidden": HUGE}),
    ("model.deep_supervision", HUGE),
    ("data.channels", HUGE),
    ("data.crop", [HUGE, HUGE]),
    ("data.crop", [2**15, 2**15]),
    ("infer.tile", [HUGE, HUGE]),
    ("task.classes", HUGE),
]


def put(recipe, position, value):
    *parents, leaf = position.split(".")
    for name in parents:
        recipe = recipe[name]
    recipe[leaf] = value


@pytest.mark.parametrize(("position", "value"), CLAIMS, ids=range(len(CLAIMS)))
def test_a_small_file_that_claims_a_huge_network(position, value, trained, tmp_path):
    model = load_model(trained[2])
    recipe = copy.deepcopy(dict(model.card["recipe"]))
    put(recipe, position, value)
    if position == "data.crop" and value[0] == 2**15:
        # A table of positions of a billion tokens.
        recipe["model"]["backbone"] = {"name": "vit", "patch": 1, "dim": 24, "depth": 2, "heads": 2}
    path = tmp_path / "m.safetensors"
    save_model(path, model.weights, {**model.card, "recipe": recipe})
    tracemalloc.start()
    try:
        with pytest.raises(UnmaskError) as caught:
            load_predictor(path)
        if not position.startswith(("task", "infer", "data.channels", "model.deep")):
            with pytest.raises(UnmaskError):
                load_encoder(path) if position.startswith("model.backbone") else load_predictor(
                    path
                )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200e6
    assert len(str(caught.value)) < 5000


def test_the_shape_of_every_tensor_counts(trained, tmp_path):
    model = load_model(trained[2])
    recipe = copy.deepcopy(dict(model.card["recipe"]))
    recipe["model"]["backbone"]["width"] = 5
    save_model(tmp_path / "m.safetensors", model.weights, {**model.card, "recipe": recipe})
    with pytest.raises(CheckpointError, match=r"m\.safetensors does not fit"):
        load_predictor(tmp_path / "m.safetensors")


VALUES = [None, 3, -1, HUGE, 10**30, 1.5, 1e300, "x", "", [], [1], ["a", None], {}, {"name": "vit"},
          {"a": 1}, True]  # fmt: skip


def positions(tree, above=()):
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield (*above, key)
        if isinstance(value, dict | list):
            yield from positions(value, (*above, key))


@pytest.mark.parametrize("part", ["data", "model", "task", "infer", "train", "name", "method"])
def test_no_field_of_a_card_breaks_the_program(part, trained, tmp_path):
    model = load_model(trained[2])
    recipe = dict(model.card["recipe"])
    places = [at for at in positions(recipe) if at[0] == part]
    image = np.random.default_rng(0).integers(0, 255, (40, 36), dtype=np.uint8)
    path = tmp_path / "m.safetensors"
    rng = np.random.default_rng(len(part))
    for place in places:
        for value in [VALUES[i] for i in rng.permutation(len(VALUES))[:4]]:
            changed = copy.deepcopy(recipe)
            node = changed
            for step in place[:-1]:
                node = node[step]
            node[place[-1]] = value
            save_model(path, model.weights, {**model.card, "recipe": changed})
            # Any other error than these fails the test; the file on disk is the case.
            with suppress(UnmaskError):
                api.model_card(path).to_text()
                api.predict(path, image, spacing=(1.0, 1.0))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "null", '"x"', '{"recipe": NaN}', '{"a": 1e999}', "[" * 100_000,
     '{"a":' * 2000 + "1" + "}" * 2000, '{"recipe": null}', '{"recipe": {"recipe": 1}}',
     '{"recipe": ' + '{"task":' * 40 + "1" + "}" * 40 + "}"],
    ids=range(13),
)  # fmt: skip
@pytest.mark.parametrize("verb", ["predict", "models", "train"])
def test_cards_that_are_none(text, verb, command, phantoms, tmp_path):
    path = tmp_path / "m.safetensors"
    write_tensors(path, {"w": torch.ones(1)}, {"unmask": text})
    images = phantoms[2] / "images"
    given = {
        "predict": ("predict", images, "--model", path, "--out", tmp_path / "out"),
        "models": ("models", path),
        "train": ("train", "--preset", "semantic2d", "--images", images, "--labels",
                  phantoms[2] / "classes", "--out", tmp_path / "out", "--init", path,
                  "--set", "model.backbone={name: resunet, width: 4, depth: 2}",
                  "--set", "data.channels=1", "--set", "data.crop=[16, 16]"),
    }[verb]  # fmt: skip
    answer = command(*given)
    assert answer.code == 2
    assert "m.safetensors" in answer.err
    assert "Traceback" not in answer.err
    assert not (tmp_path / "out").exists()


def test_other_safetensors(command, phantoms, tmp_path):
    save_file({"w": torch.ones(1)}, tmp_path / "m.safetensors", {"unmask": json.dumps({})})
    answer = command("predict", phantoms[2] / "images", "--model", tmp_path / "m.safetensors",
                     "--out", tmp_path / "out")  # fmt: skip
    assert answer.code == 2


def test_start_weights_are_left_out():
    vit = "model.backbone={name: vit, dim: 24, depth: 2, heads: 2}"
    chosen = load("semantic2d").with_settings([vit, "model.decoder={name: unetr, weights: a.pth}"])
    # An option that the constructor does not have stays, and is named when it is built.
    assert without_start_weights(chosen) == chosen
    assert without_start_weights(load("semantic2d")) == load("semantic2d")


@pytest.mark.parametrize("preset", ["cells", "semantic3d", "classify2d", "membranes2d"])
def test_finished_models_of_presets_are_built(preset):
    chosen = load(preset)
    small = [f"data.crop={[16] * chosen.data.ndim}"]
    if chosen.model.backbone.name == "resunet":
        small.append("model.backbone={name: resunet, width: 4, depth: 2}")
    chosen = chosen.with_settings(small)
    weights = new_segmenter(chosen).state_dict()
    built = build_finished(chosen, weights, build_segmenter, source="a test")
    assert all(torch.equal(tensor, weights[name]) for name, tensor in built.state_dict().items())
