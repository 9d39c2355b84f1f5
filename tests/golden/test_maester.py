"""MAESTER's network, loss and dense features give the published numbers (golden/maester)."""

import json
import re

import numpy as np
import pytest
import torch

from unmask import recipe
from unmask.build import new_method
from unmask.clustering.dense import Dense
from unmask.pretraining import masks
from unmask.space.pad import pad_reads


def figure(pattern, text):
    """The number of a sentence of the manifest."""
    match = re.search(pattern + r"\s*([\d.e-]+)", text)
    assert match is not None, text
    return float(match.group(1))


def renamed(name):
    """Published name to ours: the encoder stands under ``backbone``."""
    return name if name.startswith(("mask_token", "decoder_")) else f"backbone.{name}"


@pytest.fixture(scope="module")
def manifest(golden):
    return json.loads((golden / "maester" / "manifest.json").read_text())


@pytest.fixture(scope="module")
def stored(golden, manifest):
    def read(name):
        return np.load(golden / "maester" / manifest["cases"][name]["file"])

    return read


@pytest.fixture(scope="module")
def method(golden, manifest, fill):
    """The preset's network at the fixture's sizes, filled; names and shapes are the published."""
    config = manifest["config"]
    window = [config["img_size"]] * 2
    backbone = {
        "name": "vit",
        "patch": [config["patch_size"]] * 2,
        "dim": config["embed_dim"],
        "depth": config["depth"],
        "heads": config["num_heads"],
        "mlp_ratio": config["mlp_ratio"],
        "position_scale": config["pos_encode_w"],
    }
    options = {
        "mask_ratio": config["mask_ratio"],
        "decoder_dim": config["decoder_embed_dim"],
        "decoder_depth": config["decoder_depth"],
        "decoder_heads": config["decoder_num_heads"],
        "decoder_mlp_ratio": config["mlp_ratio"],
    }
    chosen = recipe.load("maester").with_settings(
        [
            f"model.backbone={json.dumps(backbone)}",
            f"data.crop={window}",
            *(f"method.{name}={value}" for name, value in options.items()),
        ]
    )
    made = new_method(chosen).eval()
    listed = manifest["key_lists"]["maester"]
    keys = json.loads((golden / "maester" / listed["file"]).read_text())
    state = made.state_dict()
    assert {renamed(key): tuple(shape) for key, shape in keys.items()} == {
        key: tuple(value.shape) for key, value in state.items()
    }
    text = manifest["cases"]["tokens"]["recipe"]["weights"]
    kept = re.findall(r"'(\w+)'", text.partition("keep")[2])
    assert kept
    for key, value in fill.fill_state(keys, manifest["salt"], keep=kept).items():
        state[renamed(key)] = torch.from_numpy(value)
    made.load_state_dict(state, strict=True)
    norms = json.loads((golden / "maester" / listed["norm_layers_file"]).read_text())
    for kind, names in norms.items():
        layers = dict(made.named_modules())
        for name in names:
            assert layers[renamed(name)].eps == float(kind.split("eps=")[1]), name
    return made


def kinds(names):
    """Names of entries, those of all blocks as one."""
    return {re.sub(r"\d+", "N", name) for name in names}


def test_shipped_preset_is_the_published_network(golden, manifest):
    file = golden / "maester" / manifest["key_lists"]["maester"]["file"]
    keys = json.loads(file.read_text())
    shipped = new_method(recipe.load("maester")).state_dict()
    assert kinds(shipped) == kinds(map(renamed, keys))


def test_position_tables(manifest, method, fill):
    named = {"pos_embed": "backbone.pos_embed", "decoder_pos_embed": "decoder_pos_embed"}
    state = method.state_dict()
    for name, ours in named.items():
        table = manifest["tables"][name]
        sample = fill.sample(state[ours].numpy(), table["sample_step"])[: len(table["sample"])]
        np.testing.assert_allclose(sample, table["sample"], atol=1e-6)


def test_tokens(manifest, stored, method):
    case = stored("tokens")
    crops = torch.from_numpy(case["crops"].astype(np.float32) / 255)[:, None]
    with torch.no_grad():
        found = method.backbone.encode(method.backbone.embed(crops).values)
    limit = figure("max abs", manifest["cases"]["tokens"]["tolerance"])
    assert np.abs(found.numpy() - case["tokens"]).max() <= limit


def training_cases(manifest):
    return [name for name in manifest["cases"] if name.startswith("train")]


def test_losses_predictions_masks_and_gradients(manifest, stored, method):
    assert training_cases(manifest)
    for name in training_cases(manifest):
        entry, case = manifest["cases"][name], stored(name)
        ratio = figure("mask ratio", entry["what"])
        image = torch.from_numpy(case["images"].astype(np.float32) / 255)[:, None]
        mask = masks.split(torch.from_numpy(case["noise"]), ratio)
        dropped = torch.zeros(case["noise"].shape).scatter(1, mask.drop, 1.0)
        assert np.array_equal(dropped.numpy(), case["mask"])
        method.zero_grad()
        loss = method.masked_loss(image, mask)
        assert loss.item() == pytest.approx(
            float(case["loss"]), rel=figure("loss", entry["tolerance"])
        )
        with torch.no_grad():
            predicted = method.predict_all(image, mask)[0].numpy().ravel()
        sample = predicted[:: entry["sample_step"]["pred"]]
        assert np.abs(sample - case["pred"]).max() <= figure("pred", entry["tolerance"])
        norms = entry.get("gradient_norms", {})
        if norms:
            loss.backward()
        parameters = dict(method.named_parameters())
        limit = figure("gradient norms", entry["tolerance"])
        for key, norm in norms.items():
            gradient = parameters[renamed(key)].grad
            assert gradient is not None, key
            assert gradient.norm().item() == pytest.approx(norm, rel=limit), key


def compute(dense, image):
    """All vectors ``(*space, d)`` of an image padded with zeros, as in the fixture."""
    space = image.shape[1:]
    read = pad_reads(lambda box: image[:, *box.slices], space, mode="zero")
    found = np.empty((*space, dense.dim), np.float32)
    for box in dense.blocks(space):
        found[box.slices] = dense.compute(read, space, box).numpy()
    return found


def compare(found, case, compat, limit):
    rows, columns = case["rows"], case["cols"]
    step = -(-found.shape[-1] // case[compat].shape[-1])
    sampled = found[:, rows][:, :, columns][..., ::step]
    assert np.abs(sampled - case[compat]).max() <= limit
    means = found.mean(axis=(0, 3), dtype=np.float64)
    assert np.abs(means - case[f"{compat}_mean_f64"]).max() <= limit
    channels = found.mean(axis=(0, 1, 2), dtype=np.float64)
    assert np.abs(channels - case[f"{compat}_channel_mean"]).max() <= limit


@pytest.mark.slow
@pytest.mark.parametrize("compat", ["official", "aligned"])
def test_dense_features(manifest, stored, method, compat):
    names = [name for name in manifest["cases"] if name.startswith("cover_stride")]
    assert names
    dense = Dense(
        method.backbone, compat=compat, precision="32", center=manifest["config"]["central_patch"]
    )
    for name in names:
        case = stored(name)
        found = compute(dense, case["slices"].astype(np.float32)[None] / 255)
        compare(found, case, compat, figure("max abs", manifest["cases"][name]["tolerance"]))
        if compat == "official":
            filled = found.any(axis=(0, 3))
            assert np.array_equal(filled, case["official_filled"].astype(bool))
