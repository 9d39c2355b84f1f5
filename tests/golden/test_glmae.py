"""The encoder of GL-MAE: names, tokens, positions, and the layout of its checkpoints."""

import ast
import json
import re

import numpy as np
import pytest
import torch

import unmask
from unmask.interop.official import understand
from unmask.interop.tokens import PATCHES
from unmask.models import positions


@pytest.fixture(scope="module")
def fixture(golden, fill):
    folder = golden / "glmae"
    return folder, json.loads((folder / "manifest.json").read_text()), fill


def figure(pattern, text):
    match = re.search(pattern, text)
    assert match is not None, text
    return match


def options(fixture, name):
    """Shapes of the weights, and the settings that tensors do not show, from the manifest."""
    folder, manifest, _ = fixture
    shapes = json.loads((folder / manifest["key_lists"][name]["file"]).read_text())
    note = manifest["key_lists"][name]["note"]
    heads = re.search(r"heads (\d+)", note)
    return shapes, [f"model.backbone.heads={heads[1]}"] if heads else []


def image_of(fixture, text):
    name, sizes = figure(r"make_input\('(\w+)', ?([\[(][\d, ]+[\])])", text).groups()
    kind = re.search(r"'(uniform|normal|signed)'", text)
    return fixture[2].make_input(
        name, ast.literal_eval(sizes), fixture[1]["salt"], kind[1] if kind else "uniform"
    )


def weights_of(fixture, shapes):
    state = fixture[2].fill_state(shapes, fixture[1]["salt"])
    return {name: torch.from_numpy(np.asarray(value)) for name, value in state.items()}


def network(fixture, name):
    """The listed network, and the entry of the manifest and the image that it is run with."""
    case = fixture[1]["cases"][f"encoder_{name}"]
    image = image_of(fixture, case["recipe"]["input"])
    shapes, settings = options(fixture, name)
    settings.append(f"data.crop={list(image.shape[2:])}")
    return case, image, understand(weights_of(fixture, shapes), "glmae", settings).network()


def encoders(manifest):
    """Names of the networks that a case runs."""
    cases = [name for name in manifest["cases"] if name.startswith("encoder_")]
    assert cases
    return [name.removeprefix("encoder_") for name in cases]


def test_tokens_and_norms(fixture):
    folder, manifest, fill = fixture
    for name in encoders(manifest):
        case, image, model = network(fixture, name)
        with torch.no_grad():
            tokens = model(torch.from_numpy(image)).numpy()
        assert list(tokens.shape) == case["stats"]["shape"]
        limit = float(figure(r"([\d.e-]+)$", case["tolerance"])[1])
        sample = fill.sample(tokens, case["sample_step"])
        stored = np.load(folder / case["file"])["tokens"].ravel()
        assert np.abs(sample - stored).max() <= limit, name
        assert fill.stats(tokens)["l2"] == pytest.approx(case["stats"]["l2"], rel=1e-4)
        listed = json.loads((folder / manifest["key_lists"][name]["norm_layers_file"]).read_text())
        layers = dict(model.get_submodule("backbone").named_modules())
        for kind, names in listed.items():
            for each in names:
                assert layers[each].eps == float(kind.split("eps=")[1])


def test_every_listed_network_has_its_place(fixture):
    manifest = fixture[1]
    for name, listed in manifest["key_lists"].items():
        shapes, settings = options(fixture, name)
        assert len(shapes) == listed["entries"]
        zeros = {key: torch.zeros(shape) for key, shape in shapes.items()}
        if "non-cubic" in listed["note"]:
            settings.append(f"data.crop={_crop(manifest, name)}")
        found = understand(zeros, "glmae", settings)
        assert sum(each.numel() for each in found.weights.values()) == listed["numbers"]


def _crop(manifest, name):
    text = manifest["cases"][f"encoder_{name}"]["recipe"]["input"]
    return ast.literal_eval(figure(r"(\[[\d, ]+\])", text)[1])[2:]


def test_positions_of_another_grid(fixture):
    folder, manifest, fill = fixture
    case = manifest["cases"]["pos_interpolation"]
    stored = np.load(folder / case["file"])
    for name, text in case["recipe"]["grids"].items():
        old, new = (ast.literal_eval(grid) for grid in re.findall(r"\(\d[^)]*\)", text))
        shape = (1, int(np.prod(old)) + 1, stored[name].shape[2])
        given = fill.make_input(f"glmae_pos_{np.prod(old)}", shape, manifest["salt"], "signed")
        moved = positions.to_grid(torch.from_numpy(given), old, new).numpy()
        np.testing.assert_allclose(moved, stored[name], atol=float(case["tolerance"]), rtol=0)


def test_a_checkpoint_of_the_student(fixture, tmp_path):
    folder, manifest, _ = fixture
    case = manifest["cases"]["checkpoint"]
    text = case["recipe"]["source"]
    side, patch, dim, depth, heads = (
        int(figure(pattern, text)[1])
        for pattern in (r"(\d+)\^3", r"patch (\d+)", r"dim (\d+)", r"depth (\d+)", r"heads (\d+)")
    )
    shapes = _shapes(
        options(fixture, encoders(manifest)[0])[0], (side // patch) ** 3, patch, dim, depth
    )
    weights = weights_of(fixture, shapes)
    student = {f"module.backbone.{name}": value for name, value in weights.items()}
    student["module.head.mlp.0.weight"] = torch.zeros(4, dim)
    path = tmp_path / "checkpoint.pth"
    torch.save({"student": student, "teacher": {}, "epoch": 1599}, path)
    model = unmask.load_official(path, source="glmae", settings=[f"model.backbone.heads={heads}"])
    image = image_of(fixture, case["recipe"]["input"])
    stored, limit = np.load(folder / case["file"]), float(case["tolerance"])
    with torch.no_grad():
        tokens = model(torch.from_numpy(image)).numpy()
    np.testing.assert_allclose(tokens, stored["tokens"], atol=limit, rtol=0)
    table = model.get_submodule("backbone").get_buffer("pos_embed")
    grid = tuple(n // patch for n in image.shape[2:])
    moved = positions.to_grid(table, (side // patch,) * 3, grid)
    np.testing.assert_allclose(moved.numpy(), stored["pos_embed"], atol=limit, rtol=0)


def _shapes(like, places, patch, dim, depth):
    """The listed shapes of another size: sizes that are its dim's multiples scale with it."""
    old = like["cls_token"][-1]
    shapes = {}
    for name, shape in like.items():
        block = re.match(r"blocks\.(\d+)\.", name)
        if block and int(block[1]) >= depth:
            continue
        shapes[name] = [n * dim // old if n % old == 0 else n for n in shape]
    shapes["pos_embed"] = [1, places + 1, dim]
    shapes[PATCHES] = [dim, like[PATCHES][1], *(patch,) * (len(like[PATCHES]) - 2)]
    return shapes
