"""From a folder to a recipe, and to a run, without a preset."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
import tifffile
import torch

from unmask import api, checkpoint
from unmask.api import planning
from unmask.errors import DataError, RecipeError
from unmask.io import open_labels, save_image
from unmask.phantoms.cells import write_set
from unmask.recipe import check_settings, load
from unmask.training.threads import use_threads
from unmask.training.timing import Timing

TINY = ["model.backbone.width=4", "model.backbone.depth=2", "data.crop=[32, 32]"]
SHORT = [*TINY, "train.steps=2", "train.batch_size=1", "train.precision='32'"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    write_set(folder, kind="nuclei", shape=(96, 96), count=3, seed=1)
    return folder


def save_start(folder, name):
    """A model file with the recipe of a preset, whose weights are not looked at."""
    path = folder / f"{name}.safetensors"
    card = {"recipe": load(name).model_dump(mode="json")}
    checkpoint.save_model(path, {"a": torch.zeros(1)}, card)
    return path


def test_a_plan_is_a_recipe_that_loads(folder, tmp_path):
    made = api.plan(folder / "images", labels=folder / "labels", out=tmp_path / "plan.yaml")
    assert load(tmp_path / "plan.yaml") == made.recipe
    assert made.recipe.task is not None
    assert made.recipe.task.name == "flows"


def test_minutes_set_the_number_of_updates(folder):
    images, labels = folder / "images", folder / "labels"
    short, long = (
        api.plan(images, labels=labels, minutes=minutes, settings=TINY) for minutes in (1, 60)
    )
    assert 20 <= short.recipe.train.steps < long.recipe.train.steps
    reason = next(each.reason for each in long.decisions if each.field == "train.steps")
    assert "the time limit is 60 min" in reason


def test_own_settings_win(folder):
    made = api.plan(
        folder / "images", labels=folder / "labels", minutes=5, settings=["train.steps=7"]
    )
    assert made.recipe.train.steps == 7
    assert "train.steps" not in {each.field for each in made.decisions}


def test_the_plan_takes_the_network_of_the_start_weights(folder, tmp_path):
    """Weights of another backbone could not be taken over, so the training would be refused."""
    images, labels = folder / "images", folder / "labels"
    starts = {name: load(name) for name in ("mae2d", "mae3d")}
    for name in starts:
        save_start(tmp_path, name)
    made = api.plan(images, labels=labels, init=tmp_path / "mae2d.safetensors")
    assert made.recipe.model.backbone == starts["mae2d"].model.backbone
    (why,) = [each.reason for each in made.decisions if each.field == "model.backbone"]
    assert "mae2d.safetensors (--init)" in why
    own = api.plan(images, labels=labels, init=tmp_path / "mae2d.safetensors",
                   settings=["model.backbone={name: resunet, width: 4}"])  # fmt: skip
    assert own.recipe.model.backbone.name == "resunet"
    other = api.plan(images, labels=labels, init=tmp_path / "mae3d.safetensors")
    assert other.recipe == api.plan(images, labels=labels, init=None).recipe


def test_training_without_a_preset_uses_the_plan_and_resumes(folder, tmp_path, capsys):
    run = {"images": folder / "images", "labels": folder / "labels", "out": tmp_path / "run"}
    api.train(**run, settings=SHORT)
    assert "task = flows" in capsys.readouterr().err
    written = load(tmp_path / "run" / "recipe.yaml")
    assert written.train.steps == 2
    # Another plan would have other values; a run that resumes keeps its own.
    assert api.train(**run, resume=True).steps == 2
    assert "task = flows" not in capsys.readouterr().err


def test_naming_the_planned_task_keeps_what_was_found_for_it(tmp_path):
    """The plan advises to name the task; its number of classes is not that of the preset."""
    labels = np.zeros((64, 64), np.uint8)
    labels[4:20, 8:40], labels[30:60, 20:60] = 1, 2
    for number in range(2):
        noise = np.random.default_rng(number).integers(0, 40, labels.shape).astype(np.uint8)
        save_image(tmp_path / "images" / f"{number}.png", labels * 80 + noise)
        save_image(tmp_path / "labels" / f"{number}.png", labels)
    run = {name: tmp_path / name for name in ("images", "labels")} | {"out": tmp_path / "run"}
    named = [*SHORT, "task=semantic", "train.folds=0"]
    api.train(**run, init="none", settings=named)
    task = load(tmp_path / "run" / "recipe.yaml").task
    assert task is not None
    assert task.choice.options["classes"] == 3
    assert api.train(**run, settings=[*named, "train.steps=3"], resume=True).steps == 3


def test_a_plan_can_be_trained(folder, tmp_path):
    images, labels = folder / "images", folder / "labels"
    made = api.plan(images, labels=labels, settings=SHORT)
    assert api.train(made, images=images, labels=labels, out=tmp_path / "run").steps == 2


def test_minutes_are_for_plans(folder, tmp_path):
    with pytest.raises(RecipeError, match="minutes"):
        api.train(
            "cells",
            images=folder / "images",
            labels=folder / "labels",
            out=tmp_path / "run",
            minutes=1,
        )


def test_images_without_labels_are_measured_too(folder, tmp_path):
    """A model has to see their colors, though no label tells what is in them."""
    shutil.copytree(folder / "images", tmp_path / "images")
    color = np.random.default_rng(0).integers(0, 255, (96, 96, 3)).astype(np.uint8)
    save_image(tmp_path / "images" / "color.tif", color, axes="YXC")
    made = api.plan(tmp_path / "images", labels=folder / "labels")
    assert (made.facts.images.count, made.facts.labeled) == (4, 3)
    assert made.recipe.data.channels == 3
    assert api.plan(folder / "images", labels=folder / "labels").recipe.data.channels == 1


def test_without_labels_pretraining_is_named(folder):
    with pytest.raises(DataError, match="unmask pretrain"):
        api.plan(folder / "images")


def test_the_scale_of_a_plan_is_used_by_prediction(folder, tmp_path):
    images, labels = folder / "images", folder / "labels"
    made = api.plan(images, labels=labels, settings=[*SHORT, "data.scale=0.5"])
    run = api.train(made, images=images, labels=labels, out=tmp_path / "run")
    image = sorted((folder / "images").iterdir())[0]
    found = api.predict(run.model, image)
    assert found.labels.shape == (96, 96)


def test_labels_tell_channels_from_slices(folder, tmp_path):
    """The first axis of an image without axis names holds channels if labels are planes."""
    for number, path in enumerate(sorted((folder / "labels").iterdir())):
        labels = open_labels(path).read()[0].astype(np.uint16)
        image = np.stack([labels > 0, labels * 0]) * np.uint8(50)
        for name, values in (("images", image), ("labels", labels)):
            (tmp_path / name).mkdir(exist_ok=True)
            tifffile.imwrite(tmp_path / name / f"{number}.tif", values)
    made = api.plan(tmp_path / "images", labels=tmp_path / "labels")
    assert (made.recipe.data.ndim, made.recipe.data.channels) == (2, 2)
    assert made.recipe.data.axes == "CYX"
    axes = next(each for each in made.decisions if each.field == "data.axes")
    assert "Not sure" in str(axes)
    assert any("channel 1 may be left out" in note for note in made.notes)


def test_check_says_what_training_without_a_preset_would_refuse(folder, tmp_path, monkeypatch):
    def refuse(*given, **more):
        raise DataError("labels: expected objects, found none. Draw some.")

    monkeypatch.setattr("unmask.api.audit.plan", refuse)
    found = api.check(folder / "images", labels=folder / "labels", out=tmp_path / "check.txt",
                      settings=TINY, say=lambda _: None)  # fmt: skip
    assert any("would refuse this: labels: expected objects" in note for note in found.notes)
    assert "would refuse this" in (tmp_path / "check.txt").read_text()


@pytest.mark.parametrize(
    ("shape", "preset"), [((72, 72), "membranes2d"), ((32, 32, 32), "neurites3d")]
)
def test_check_suggests_the_preset_of_the_plan(tmp_path, shape, preset):
    """Dense objects: both their preset and the plan learn affinities."""
    cells = np.ravel_multi_index(np.indices(shape) // 8, (9,) * len(shape)) + 1
    labels = np.where((np.indices(shape) % 8 == 0).any(axis=0), 0, cells).astype(np.uint16)
    noise = np.random.default_rng(0).integers(0, 40, shape).astype(np.uint8)
    for name, array in {"images": (labels > 0) * np.uint8(180) + noise, "labels": labels}.items():
        save_image(tmp_path / name / "a.ome.zarr", array)
    lines = []
    small = [f"data.crop={[16] * len(shape)}", *TINY[:2], "train.steps=2", "train.folds=0"]
    api.check(tmp_path / "images", labels=tmp_path / "labels", settings=small, say=lines.append)
    assert any(line.startswith("Plan      affinities") for line in lines)
    assert f"What fits these files: --preset {preset}" in lines


def test_a_busy_machine_is_planned_for_and_not_written_into_the_recipe(folder, monkeypatch):
    """The training will use one thread here; another machine reads the same recipe."""

    def time_updates(*_, **__):
        slow = torch.get_num_threads() > 1
        return Timing(1.0, 1000, None, torch.device("cpu"), busy=3.0 if slow else 1.0)

    monkeypatch.setattr(planning, "time_updates", time_updates)
    given = {"images": folder / "images", "labels": folder / "labels", "minutes": 3}
    own = [*TINY, "train.folds=0", "train.batch_size=8"]
    with use_threads(2):
        made = api.plan(**given, settings=own)
    assert (made.recipe.train.threads, made.recipe.train.steps) == ("auto", 153)
    fixed = api.plan(**given, settings=[*own, "train.threads=2"])
    assert (fixed.recipe.train.threads, fixed.recipe.train.steps) == (2, 51)


def test_little_time_makes_batches_smaller(folder, monkeypatch):
    """Many small updates learn more than a few large ones; a size that was set is kept."""
    timing = Timing(1.0, 1000, None, torch.device("cpu"))
    monkeypatch.setattr(planning, "time_updates", lambda *_, **__: timing)
    given = {"images": folder / "images", "labels": folder / "labels"}
    own = [*TINY, "train.folds=0"]
    sizes = []
    for minutes in (3, 300):
        made = api.plan(**given, minutes=minutes, settings=own)
        size = made.recipe.train.batch_size
        sizes.append(size)
        assert made.recipe.train.steps == pytest.approx(51 * minutes * 8 / size, abs=1)
    assert sizes == [2, 8]
    kept = api.plan(**given, minutes=3, settings=[*own, "train.batch_size=8"])
    assert (kept.recipe.train.batch_size, kept.recipe.train.steps) == (8, 153)


def test_little_time_makes_crops_of_volumes_smaller(tmp_path, monkeypatch):
    """They keep room for the objects; the network, the tiles and the updates follow."""
    write_set(tmp_path, kind="nuclei", shape=(80, 80, 80), count=1, seed=1)
    monkeypatch.setattr(
        planning, "time_updates", lambda *_: Timing(3.0, 1000, None, torch.device("cpu"))
    )
    given = {"images": tmp_path / "images", "labels": tmp_path / "labels"}
    long = api.plan(**given, minutes=300, settings=["train.folds=0"])
    short = api.plan(**given, minutes=3, settings=["train.folds=0"])
    crops = [np.array(made.recipe.data.crop) for made in (long, short)]
    objects = short.facts.objects
    assert objects is not None
    assert np.all(crops[1] < crops[0])
    assert np.all(2 * crops[1] >= crops[0])
    assert min(crops[1]) >= min(crops[0].min(), 1.5 * objects.high)
    assert tuple(short.recipe.infer.tile or ()) == short.recipe.data.crop
    updates = 0.85 * 180 / 3 * crops[0].prod() / crops[1].prod()
    updates *= long.recipe.train.batch_size / short.recipe.train.batch_size
    assert short.recipe.train.steps == pytest.approx(updates, abs=1)
    own = ["train.folds=0", f"data.crop={list(long.recipe.data.crop)}"]
    kept = api.plan(**given, minutes=3, settings=own)
    assert kept.recipe.data.crop == long.recipe.data.crop
    init = save_start(tmp_path, "mae3d")
    started = api.plan(**given, minutes=3, init=init, settings=["train.folds=0"]).recipe
    assert started.data.crop == short.recipe.data.crop
    assert started.model.backbone == load("mae3d").model.backbone


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("data.crp=[3, 3]", "Did you mean 'data.crop'"),
        ("trian.steps=3", "no field 'trian.steps'"),
        ("train.steps", "found no '='"),
        ("train.trackers=[mlflo]", "Did you mean 'mlflow'"),
    ],
)
def test_wrong_settings_are_refused_before_a_plan_is_made(tmp_path, setting, text):
    """A plan reads all labels and times the network, which takes long."""
    with pytest.raises(RecipeError, match=text):
        api.train(images=tmp_path, labels=tmp_path, out=tmp_path / "run", settings=[setting])


@pytest.mark.parametrize(
    "setting", ["task=flows", "task.reach=3", "model.backbone.width=4", "data={crop: [8, 8]}",
                "train.unlabeled.weight=1"],
)  # fmt: skip
def test_options_of_parts_are_left_to_the_recipe(setting):
    check_settings([setting])


@pytest.mark.parametrize(
    ("init", "own", "gentle"),
    [
        ("auto", (), True),
        ("phantoms", (), True),
        ("nuclei", (), True),
        # Nothing that could be forgotten: random weights, another network, another task.
        ("none", (), False),
        (None, (), False),
        ("auto", ("model.backbone.width=4",), False),
        ("auto", ("task=affinities",), False),
        # A rate that was set is kept.
        ("auto", ("train.lr=0.003",), False),
    ],
)
def test_weights_that_know_the_task_learn_in_small_steps(folder, monkeypatch, init, own, gentle):
    monkeypatch.setattr(planning, "score_start", lambda *_: 0.8)
    given = {"images": folder / "images", "labels": folder / "labels"}
    made = api.plan(**given, init=init, settings=list(own))
    expected = 0.003 if own == ("train.lr=0.003",) else 0.0005 if gentle else load("cells").train.lr
    if own != ("task=affinities",):
        assert made.recipe.train.lr == expected
    assert any(each.field == "train.lr" for each in made.decisions) is gentle


def test_weights_that_do_not_find_the_objects_learn_in_larger_steps(tmp_path):
    """They find nuclei, and no squares that are labeled in noise."""
    write_set(tmp_path / "nuclei", kind="nuclei", shape=(160, 160), count=2, seed=1)
    rng = np.random.default_rng(0)
    for number in range(2):
        image = rng.integers(0, 255, (160, 160)).astype(np.uint8)
        labels = np.zeros((160, 160), np.uint16)
        for cell in range(16):
            y, x = 40 * (cell // 4), 40 * (cell % 4)
            labels[y : y + 30, x : x + 30] = cell + 1
        save_image(tmp_path / "noise" / "images" / f"{number}.png", image)
        save_image(tmp_path / "noise" / "labels" / f"{number}.tif", labels)
    found = {}
    for kind in ("nuclei", "noise"):
        given = {"images": tmp_path / kind / "images", "labels": tmp_path / kind / "labels"}
        made = api.plan(**given, init="phantoms")
        (rate,) = (each for each in made.decisions if each.field == "train.lr")
        found[kind] = made.recipe.train.lr
        assert "phantoms2d" in rate.reason
        assert re.search(r"F1 [01]\.\d\d on labeled images", rate.reason)
    assert found == {"nuclei": 0.0005, "noise": 0.001}


def test_volumes_keep_the_rate_of_the_preset(phantoms):
    """In volumes, start weights with small steps were worse in every trial."""
    images, labels = phantoms[3] / "images", phantoms[3] / "labels"
    start = ["task=flows", "model.backbone={name: resunet, width: 24, depth: 4}"]
    made = api.plan(images, labels=labels, init="phantoms3d", settings=start)
    assert made.recipe.train.lr == load("cells3d").train.lr


def test_a_time_limit_that_cannot_be_kept_is_told(folder, monkeypatch):
    """A training has some updates at least, however long one takes."""
    monkeypatch.setattr(
        planning, "time_updates", lambda *_, **__: Timing(60.0, 1000, None, torch.device("cpu"))
    )
    given = {"images": folder / "images", "labels": folder / "labels"}
    made = api.plan(**given, minutes=1, settings=[*TINY, "train.folds=0", "data.crop=[16, 16]"])
    (reason,) = (each.reason for each in made.decisions if each.field == "train.steps")
    assert made.recipe.train.steps == 20
    assert "so the training takes about" in reason
    long = api.plan(**given, minutes=300, settings=[*TINY, "train.folds=0"])
    (reason,) = (each.reason for each in long.decisions if each.field == "train.steps")
    assert "so the training takes" not in reason


@pytest.mark.parametrize("wrong", ["labels", "unlabeled", "val"])
def test_wrong_files_are_refused_before_updates_are_timed(folder, tmp_path, monkeypatch, wrong):
    """Timing takes long, so a message about files does not wait for it."""
    monkeypatch.setattr(planning, "_time_update", lambda *_: pytest.fail("updates were timed"))
    shutil.copytree(folder, tmp_path / "set")
    more = {}
    if wrong == "labels":
        for path in (tmp_path / "set" / "labels").iterdir():
            save_image(path, np.zeros((96, 96), np.uint8))
        expected = "objects in at least one label image, found 0 everywhere"
    elif wrong == "unlabeled":
        more = {"unlabeled": next((folder / "images").iterdir())}
        expected = "--unlabeled: expected at least 2 images"
    else:
        more = {"val_images": tmp_path / "set" / "nothing", "val_labels": folder / "labels"}
        expected = "no such file"
    with pytest.raises(DataError, match=expected):
        api.train(images=tmp_path / "set", out=tmp_path / "run", minutes=1, **more)
