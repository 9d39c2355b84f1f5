"""From model files to a predictor."""

from __future__ import annotations

import pytest
import torch

from unmask.checkpoint import load_model, save_model
from unmask.data.diameters import ObjectDiameters
from unmask.errors import CheckpointError, RecipeError
from unmask.infer.load import load_predictor
from unmask.io import open_image
from unmask.recipe import load


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_model_explains_itself(trained, ndim):
    recipe = load(trained[ndim] / "recipe.yaml")
    predictor = load_predictor(trained[ndim])
    assert (predictor.ndim, predictor.channels) == (ndim, 1)
    assert predictor.tiling.window == recipe.data.crop
    assert predictor.tiling.overlap == recipe.infer.overlap
    assert predictor.layout is not None
    assert predictor.layout.ndim == ndim
    weights = load_model(trained[ndim]).weights
    for name, tensor in predictor.segmenters[0].state_dict().items():
        assert torch.equal(tensor.cpu(), weights[name]), name
    assert not predictor.segmenters[0].training


def test_files_and_folders_are_one(trained):
    folder, file = (load_predictor(p) for p in (trained[2], trained[2] / "model.safetensors"))
    image = torch.rand(1, 1, 32, 32)
    assert torch.equal(folder.forward(image), file.forward(image))


def test_published_inference_is_a_matter_of_settings(trained):
    lines = [
        "infer.tile=[64, 64]",
        "infer.overlap=0.6",
        "infer.pad=zero",
        "infer.tta=[[], [1], [0]]",
        "infer.mirror_positions=true",
        "infer.average=logits",
    ]
    found = load_predictor(trained[2], lines)
    views = found.views
    assert (found.tiling.pad, views.mirror_positions, found.average) == ("zero", True, "logits")
    assert views.flips == ((), (1,), (0,))
    assert load_predictor(trained[2], ["infer.tta=true"]).views.flips == ((), (0,), (1,))
    assert load_predictor(trained[2]).views.flips == ((),)


def test_settings(trained):
    lines = [
        "infer.tile=[16, 24]",
        "infer.blend=crop",
        "data.normalize=minmax",
        "task.dice=0.25",
        "data.image_suffix=_0000",
    ]
    predictor = load_predictor(trained[2], lines)
    assert (predictor.tiling.window, predictor.tiling.blend) == ((16, 24), "crop")
    assert type(predictor.normalize).__name__ == "MinMax"
    assert predictor.layout is not None
    assert predictor.layout.image_suffix == "_0000"


@pytest.mark.parametrize(
    "setting",
    ["data.crop=[8, 8]", "data.channels=2", "model.backbone.width=8", "train.steps=1", "name=x"],
)
def test_settings_of_the_network_are_refused(trained, setting):
    with pytest.raises(RecipeError, match="network"):
        load_predictor(trained[2], [setting])


def test_a_task_of_other_channels_is_refused(trained):
    with pytest.raises(RecipeError, match="2 channels"):
        load_predictor(trained[2], ["task.classes=3"])


def test_no_model():
    with pytest.raises(RecipeError, match="found none"):
        load_predictor([])


@pytest.mark.parametrize(
    ("setting", "word"),
    [("data.normalize=zscore", "normalization"), ("task.values=[0, 7]", "task")],
)
def test_models_of_an_ensemble_are_alike(trained, tmp_path, setting, word):
    model = load_model(trained[2])
    recipe = load(trained[2] / "recipe.yaml").with_settings([setting])
    other = tmp_path / "other.safetensors"
    save_model(other, model.weights, {**model.card, "recipe": recipe.model_dump(mode="json")})
    with pytest.raises(CheckpointError, match=f"other.safetensors: expected the {word}"):
        load_predictor([trained[2], other])


def test_the_first_model_of_an_ensemble_decodes(trained, tmp_path):
    model = load_model(trained[2])
    recipe = load(trained[2] / "recipe.yaml").with_settings(["task.threshold=0.3"])
    other = tmp_path / "other.safetensors"
    save_model(other, model.weights, {**model.card, "recipe": recipe.model_dump(mode="json")})
    notes: list[str] = []
    predictor = load_predictor([trained[2], other], say=notes.append)
    assert predictor.task == load_predictor(trained[2]).task
    assert any("other.safetensors: the decoding options differ" in note for note in notes)
    assert load_predictor([other, trained[2]]).task != predictor.task


@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_weights_of_another_network_are_refused(trained, tmp_path, change):
    model = load_model(trained[2])
    weights = dict(model.weights)
    name = next(iter(weights))
    if change == "missing":
        del weights[name]
    elif change == "extra":
        weights["more"] = torch.zeros(2)
    else:
        weights[name] = torch.zeros(7)
    path = tmp_path / "bad.safetensors"
    save_model(path, weights, model.card)
    with pytest.raises(CheckpointError, match=r"bad\.safetensors") as caught:
        load_predictor(path)
    assert ("more" if change == "extra" else name) in str(caught.value)


def test_a_card_without_a_recipe(trained, tmp_path):
    save_model(tmp_path / "m.safetensors", load_model(trained[2]).weights, {"step": 1})
    with pytest.raises(RecipeError, match=r"m\.safetensors"):
        load_predictor(tmp_path / "m.safetensors")


class TestDiameter:
    """Objects of a given size are brought to that of the training."""

    @pytest.fixture
    def sized(self, trained, tmp_path):
        model = load_model(trained[2])
        file = tmp_path / "model.safetensors"
        card = {"object_diameters": ObjectDiameters(20, 10, 40, 7).to_card()}
        save_model(file, model.weights, {**model.card, **card})
        return file

    def test_the_image_is_resized(self, sized):
        model = load_predictor(sized, diameter=80)
        assert model.view.scale == 0.25
        assert model.view.spacing is None
        assert model.trained == ObjectDiameters(20, 10, 40, 7)
        assert model.origin is not None
        # Workers elsewhere load the same from its settings.
        assert load_predictor(sized, model.origin.settings).view == model.view
        assert load_predictor(sized).view.scale is None
        assert load_predictor(sized, ["infer.scale=[0.5, 2]"]).view.scale == (0.5, 2.0)

    def test_it_needs_the_sizes_of_the_training(self, trained):
        with pytest.raises(CheckpointError, match=r"object_diameters.*infer\.scale"):
            load_predictor(trained[2], diameter=80)
        assert load_predictor(trained[2]).trained is None

    @pytest.mark.parametrize("diameter", [0, -3, float("nan"), float("inf"), 0.01, 1e6])
    def test_numbers_out_of_range(self, sized, diameter):
        with pytest.raises(RecipeError, match="--diameter"):
            load_predictor(sized, diameter=diameter)

    def test_one_way_to_say_it(self, sized):
        with pytest.raises(RecipeError, match=r"infer\.scale.*both"):
            load_predictor(sized, ["infer.scale=0.5"], diameter=30)

    @pytest.mark.parametrize("value", ["0", "-1", "1000", "[0.5]", "[1, 1, 1]", "x"])
    def test_scales_out_of_range(self, sized, value):
        with pytest.raises(RecipeError, match=r"infer\.scale"):
            load_predictor(sized, [f"infer.scale={value}"])

    def test_on_the_command_line(self, sized, command, phantoms, tmp_path):
        images = phantoms[2] / "images"
        run = ("predict", "--model", sized, images, "--out", tmp_path / "o", "--diameter", "40")
        answer = command(*run)
        assert answer.code == 0, answer.err
        first = next(path for path in sorted(images.iterdir()))
        found = open_image(tmp_path / "o" / f"{first.stem}.tif", ndim=2)
        assert found.shape == open_image(first, ndim=2).shape
        assert command(*run[:-1], "0").code == 2


def test_a_model_does_not_allow_other_files(trained, tmp_path):
    model = load_model(trained[2])
    card = dict(model.card)
    card["recipe"]["data"]["allow_external"] = True
    save_model(tmp_path / "m.safetensors", model.weights, card)
    layouts = [
        load_predictor(tmp_path / "m.safetensors", lines).layout
        for lines in ([], ["data.allow_external=true"])
    ]
    assert [layout is not None and layout.allow_external for layout in layouts] == [False, True]
