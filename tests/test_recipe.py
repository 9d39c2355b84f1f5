import re

import pytest

from unmask import recipe as recipes
from unmask.errors import RecipeError
from unmask.lookup import Choice
from unmask.recipe import Part, load

BASE = {
    "name": "small",
    "data": {"crop": [32, 32]},
    "model": {"backbone": "resunet"},
    "task": {"name": "semantic", "classes": 3},
    "train": {"steps": 10},
}


def parse(**changes):
    return recipes.parse({**BASE, **changes}, source="here")


def test_yaml_round_trip(tmp_path):
    recipe = parse()
    file = tmp_path / "r.yaml"
    file.write_text(recipe.to_yaml())
    assert recipes.load(file) == recipe


def test_a_part_is_a_name_or_a_name_with_options():
    assert recipes.Part.model_validate("flows").choice == Choice("flows", {})
    part = recipes.Part.model_validate({"name": "semantic", "classes": 3})
    assert part.choice == Choice("semantic", {"classes": 3})


def test_settings_reach_fields_and_options():
    recipe = parse().with_settings(
        ["train.lr=0.1", "task.classes=5", "model.backbone.width=8", "data.crop=[8, 8, 8]"]
    )
    assert recipe.train.lr == 0.1
    assert recipe.task == recipes.Part.model_validate({"name": "semantic", "classes": 5})
    assert recipe.model.backbone.choice.options == {"width": 8}
    assert recipe.data.ndim == 3


def test_a_part_can_be_replaced_by_a_name():
    assert parse().with_settings(["task=flows"]).task == recipes.Part(name="flows")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("train.stepz=1", "Did you mean 'train.steps'"),
        ("trian.steps=1", "there is no field"),
        ("train.steps", "expected KEY=VALUE"),
        (
            "train.steps=-1",
            "train.steps: expected a number of 1 or more, found -1. `unmask presets",
        ),
        ("train.steps=soon", "train.steps: expected a whole number, found 'soon'. `unmask"),
        ("data.crop=", "data.crop: expected a list such as [1, 2], found None"),
        ("train.lr=fast", "train.lr: expected a number, found 'fast'"),
        ("infer.tile=[8]", "infer.tile"),
        ("infer.tta=[[2]]", "axes outside 0 .. 1"),
        ("infer.average=votes", "'scores' or 'logits'"),
        ("infer.pad=edge", "'mirror' or 'zero'"),
        ("train.lr={a: !!python/object:os.system {}}", "expected YAML"),
        ("train.lr=&a [*a]", "anchors"),
    ],
)
def test_wrong_settings_are_explained(setting, words):
    with pytest.raises(RecipeError) as error:
        parse().with_settings([setting])
    assert words in str(error.value)


def test_all_problems_come_at_once():
    with pytest.raises(RecipeError) as error:
        parse(train={"steps": 0, "lrr": 1}, data={"crop": [1], "foreground": 3})
    for words in ("train.steps", "train.lrr", "Did you mean 'train.lr'", "data.foreground"):
        assert words in str(error.value)


def test_what_is_wrong_is_left_out_of_the_repaired_recipe():
    with pytest.raises(RecipeError) as error:
        parse(train={"steps": 7, "lr": -1}, infer={"overlap": 2, "tile": [8]})
    repaired = error.value.repaired
    assert repaired is not None
    assert (repaired.train.steps, repaired.train.lr) == (7, 1e-3)
    assert repaired.infer == recipes.InferRecipe()
    assert [line.split(":")[0] for line in error.value.problems] == [
        "train.lr",
        "infer.overlap",
        "recipe",
    ]
    with pytest.raises(RecipeError) as error:
        parse(train={"steps": 7, "lr": 0.5}).with_settings(["train.lr=-1", "train.ema=0.5", "a=1"])
    repaired = error.value.repaired
    assert repaired is not None
    assert (repaired.train.lr, repaired.train.ema) == (0.5, 0.5)


def test_too_little_is_left_of_some_recipes():
    for wrong in ({"train": {}}, {"data": {"crop": "x"}}, {"method": "mae"}, {"model": 3}):
        with pytest.raises(RecipeError) as error:
            parse(**wrong)
        assert error.value.repaired is None
        assert len(error.value.problems) == 1


def test_a_recipe_has_one_purpose():
    with pytest.raises(RecipeError, match="either method") as error:
        parse(method="mae")
    # The rule alone: a printed recipe would hide it.
    assert "Value error" not in str(error.value)
    assert "{" not in str(error.value)


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(RecipeError, match="Did you mean 'cells'"):
        recipes.load("cell")


@pytest.mark.parametrize("name", recipes.presets())
def test_presets_are_valid_and_named_after_their_file(name):
    recipe = recipes.load(name)
    assert recipe.name == name
    assert recipe.description


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("data.spacing=[1, 1]", r"data\.spacing=.* has 2 axes, images have 3"),
        ("data.spacing=[1, 0, 1]", r"data\.spacing\.1"),
        ("data.spacing=1.5", r"data\.spacing"),
        ("data.foreground_crop=air", r"data\.foreground_crop"),
    ],
)
def test_the_grid_of_the_network_is_checked(line, told):
    with pytest.raises(RecipeError, match=told):
        recipes.load("semantic3d").with_settings([line])
    assert recipes.load("semantic3d").with_settings(["data.spacing=[3, 1.5, 1]"]).data.spacing == (
        3,
        1.5,
        1,
    )
    # Sections have an axis less than the volumes they are cut from.
    assert recipes.load("maester").with_settings(["data.spacing=[1, 1, 1]"])


@pytest.mark.parametrize(
    ("setting", "field", "value"),
    [
        ("train.precision=32", "train.precision", "32"),
        ("infer.precision=16", "infer.precision", "16"),
        ("name=1e-3", "name", "1e-3"),
        ("name=yes", "name", "yes"),
        ("name=true", "name", "true"),
        ("name=010", "name", "010"),
        ("description=2024-01-01", "description", "2024-01-01"),
        ("data.axes=no", "data.axes", "no"),
        ("data.axes=null", "data.axes", None),
        ("data.image_suffix=0", "data.image_suffix", "0"),
        ("train.freeze=[on, 3, backbone]", "train.freeze", ("on", "3", "backbone")),
        ("task=1.5", "task", Part(name="1.5")),
        ("data.normalize={name: 7}", "data.normalize", Part(name="7")),
        ("data.augment=[1, {name: off}]", "data.augment", (Part(name="1"), Part(name="off"))),
        ("data={crop: [8, 8], axes: 1e5}", "data.axes", "1e5"),
        ("train.lr=1e-3", "train.lr", 0.001),
        ("infer.tta=yes", "infer.tta", True),
        ("train.seed=007", "train.seed", 7),
    ],
)
def test_text_fields_hold_what_is_written(setting, field, value, tmp_path):
    changed = load("cells").with_settings([setting])
    found: object = changed
    for name in field.split("."):
        found = getattr(found, name)
    assert found == value
    assert type(found) is type(value)
    # A file with the same words gives the same recipe, and a written recipe comes back.
    file = tmp_path / "r.yaml"
    file.write_text(changed.to_yaml())
    assert load(file) == changed


@pytest.mark.parametrize(
    "setting", ["train.precision=8", "train.precision=true", "train.lr=.nan", "train.lr=.inf",
                "task={name: flows, steps: .nan}", "train.steps=1:30", "infer.blend=no"]
)  # fmt: skip
def test_values_that_stay_wrong(setting):
    with pytest.raises(RecipeError, match=re.escape(setting.split("=")[0])):
        load("cells").with_settings([setting])


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"[" * 5000, b"a: &a [*a]", b"{a: " * 5000, b"1: 2", b"null: 3", b""]
)
def test_files_that_are_no_recipe(content, tmp_path):
    file = tmp_path / "r.yaml"
    file.write_bytes(content)
    with pytest.raises(RecipeError, match=r"r\.yaml"):
        load(file)
