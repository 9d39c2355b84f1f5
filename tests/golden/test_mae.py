"""The masked autoencoder gives the numbers of the published program (golden/mae)."""

import json
import re

import numpy as np
import pytest
import torch

from unmask.models import ViT, positions
from unmask.models.patches import patchify
from unmask.pretraining import MAE, masks


@pytest.fixture(scope="module")
def fixture(golden, fill):
    folder = golden / "mae"
    manifest = json.loads((folder / "manifest.json").read_text())
    return folder, manifest, fill


@pytest.fixture(scope="module")
def case(fixture):
    folder, manifest, fill = fixture
    recipe = manifest["cases"]["train"]["recipe"]
    shape = json.loads(found(r"\[\d[^\]]*\]", recipe["input"]).group())
    name = found(r"make_input\('(\w+)'", recipe["input"]).group(1)
    image = torch.from_numpy(fill.make_input(name, shape, manifest["salt"], "normal"))
    return recipe, np.load(folder / manifest["cases"]["train"]["file"]), image


def found(pattern, text):
    """The match of ``pattern`` in a sentence of the manifest."""
    match = re.search(pattern, text)
    assert match is not None, text
    return match


def renamed(name):
    """Published name to ours: the encoder stands under ``backbone``."""
    own = name.startswith(("mask_token", "decoder_"))
    return name if own else f"backbone.{name}"


def build(fixture, recipe, **options):
    folder, manifest, fill = fixture
    config = recipe["config"]
    backbone = ViT(
        2,
        config["in_chans"],
        image=config["img_size"],
        patch=config["patch_size"],
        dim=config["embed_dim"],
        depth=config["depth"],
        heads=config["num_heads"],
        mlp_ratio=float(config["mlp_ratio"]),
    )
    model = MAE(
        backbone,
        decoder_dim=config["decoder_embed_dim"],
        decoder_depth=config["decoder_depth"],
        decoder_heads=config["decoder_num_heads"],
        decoder_mlp_ratio=float(config["mlp_ratio"]),
        **options,
    )
    (listed,) = manifest["key_lists"].values()
    keys = json.loads((folder / listed["file"]).read_text())
    fixed = json.loads(found(r"keep=(\[.*\])", recipe["weights"]).group(1).replace("'", '"'))
    state = model.state_dict()
    assert {renamed(key): tuple(shape) for key, shape in keys.items()} == {
        key: tuple(value.shape) for key, value in state.items()
    }
    for key, value in fill.fill_state(keys, manifest["salt"], keep=fixed).items():
        state[renamed(key)] = torch.from_numpy(value)
    model.load_state_dict(state, strict=True)
    norms = json.loads((folder / listed["norm_layers_file"]).read_text())
    layers = dict(model.named_modules())
    for kind, names in norms.items():
        for name in names:
            assert layers[renamed(name)].eps == float(kind.split("eps=")[1]), name
    return model


def tolerance(fixture, kind):
    """The figure of the manifest's sentence that starts with ``kind``."""
    text = fixture[1]["cases"]["train"]["tolerance"]
    return float(found(rf"{kind} ([\d.e-]+)", text).group(1))


def settings(values):
    """Name, dropped percent and normalized target of every stored loss."""
    matches = [re.fullmatch(r"loss_r(\d+)_norm_pix_(\w+)", name) for name in values]
    return [(m.group(), int(m.group(1)), m.group(2) == "True") for m in matches if m]


def test_losses_and_gradients(fixture, case):
    recipe, stored, image = case
    values = fixture[1]["cases"]["train"]["values"]
    noise = torch.from_numpy(stored["noise"])
    assert settings(values)
    for name, percent, norm_target in settings(values):
        model = build(fixture, recipe, norm_target=norm_target)
        loss = model.masked_loss(image, masks.split(noise, percent / 100))
        assert loss.item() == pytest.approx(values[name], rel=tolerance(fixture, "losses"))
        loss.backward()
        parameters = dict(model.named_parameters())
        for key, norm in values[f"grad_{name}".replace("loss", "norm")].items():
            gradient = parameters[renamed(key)].grad
            assert gradient is not None, key
            limit = tolerance(fixture, "gradient norms")
            assert gradient.norm().item() == pytest.approx(norm, rel=limit), key


def test_predictions_latent_and_mask(fixture, case):
    recipe, stored, image = case
    entry = fixture[1]["cases"]["train"]
    model = build(fixture, recipe)
    for percent in (name.removeprefix("mask_r") for name in stored if name.startswith("mask_r")):
        mask = masks.split(torch.from_numpy(stored["noise"]), int(percent) / 100)
        dropped = torch.zeros(stored["noise"].shape).scatter(1, mask.drop, 1.0)
        assert np.array_equal(dropped.numpy(), stored[f"mask_r{percent}"])
        with torch.no_grad():
            predicted, latent = model.predict_all(image, mask)
        for kind, array in (("pred", predicted), ("latent", latent)):
            name = f"{kind}_r{percent}"
            stats = entry["stats"][name]
            sample = fixture[2].sample(array.numpy(), entry["sample_step"][kind])
            limit = tolerance(fixture, "arrays") * stats["std"]
            assert np.abs(sample - stored[name].ravel()).max() <= limit
            assert fixture[2].stats(array.numpy())["l2"] == pytest.approx(stats["l2"], rel=1e-4)


def test_patchify(case):
    recipe, stored, image = case
    step = int(found(r"::(\d+)", recipe["patchify"]).group(1))
    patches = patchify(image, (recipe["config"]["patch_size"],) * 2)
    assert np.array_equal(patches.numpy().ravel()[::step], stored["patchify"])


def test_position_tables(fixture, case):
    config = case[0]["config"]
    grid = (config["img_size"] // config["patch_size"],) * 2
    for name, table in fixture[1]["tables"].items():
        sized = re.fullmatch(r"sincos_d(\d+)_grid(\d+)_cls", name)
        if sized:
            mine = positions.sincos((int(sized.group(2)),) * 2, int(sized.group(1)))[0].numpy()
        else:
            mine = positions.sincos(grid, table["shape"][-1]).numpy()
        assert list(mine.shape) == table["shape"]
        sample = fixture[2].sample(mine, table["sample_step"])[: len(table["sample"])]
        np.testing.assert_allclose(sample, table["sample"], atol=1e-6)
        assert fixture[2].stats(mine)["l2"] == pytest.approx(table["l2"], rel=1e-6)


def test_position_interpolation(fixture):
    folder, manifest, fill = fixture
    entry = manifest["cases"]["pos_interpolation"]
    old, new = (tuple(int(n) for n in pair) for pair in re.findall(r"(\d+)x(\d+)", entry["what"]))
    stored = np.load(folder / entry["file"])["out"]
    name, shape = found(r"make_input\('(\w+)', \(([\d,]+)\)", entry["recipe"]).groups()
    sizes = [int(n) for n in shape.split(",")]
    table = torch.from_numpy(fill.make_input(name, sizes, manifest["salt"], "signed"))
    moved = positions.to_grid(table, old, new).numpy()
    np.testing.assert_allclose(moved, stored, atol=float(entry["tolerance"]), rtol=0)
