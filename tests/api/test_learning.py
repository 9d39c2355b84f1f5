"""Pairs held out for validation."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest

import unmask
from unmask.api import learning, predict_files
from unmask.checkpoint import load_model
from unmask.data.diameters import ObjectDiameters
from unmask.data.pairs import Pair
from unmask.errors import DataError, RecipeError
from unmask.io import Image, save_image
from unmask.recipe import Recipe, load


def some_pairs(count: int) -> list[Pair]:
    array = np.zeros((4, 4), np.uint8)
    return [
        Pair(str(number), Image.from_array(array, name=str(number), ndim=2))
        for number in range(count)
    ]


def recipe(*settings: str) -> Recipe:
    return load("cells").with_settings(settings)


@pytest.mark.parametrize(
    ("count", "share", "held"), [(4, 0.5, 0), (5, 0.1, 1), (20, 0.1, 2), (20, 0.0, 0), (5, 0.99, 4)]
)
def test_held_out_pairs(count, share, held):
    """Never all of them, never of fewer than five."""
    pairs = some_pairs(count)
    kept, out = learning._hold_out(pairs, recipe(f"data.holdout={share}"))
    assert len(out) == held
    assert sorted(pair.name for pair in kept + out) == sorted(pair.name for pair in pairs)
    again = learning._hold_out(pairs, recipe(f"data.holdout={share}"))[1]
    assert [pair.name for pair in out] == [pair.name for pair in again]


def test_one_half_of_a_validation_is_refused(phantoms, tmp_path, tiny):
    folder = phantoms[2]
    with pytest.raises(DataError, match="images and labels"):
        unmask.train(
            "semantic2d",
            images=folder / "images",
            labels=folder / "classes",
            out=tmp_path / "run",
            val_images=folder / "images",
            settings=tiny(2)[1::2],
        )
    assert not (tmp_path / "run").exists()


def test_replay_is_refused_in_pre_training(phantoms, tmp_path, tiny):
    settings = [*tiny(2)[1::2], "data.replay={batch: 1}"]
    images, out = phantoms[2] / "images", tmp_path / "run"
    with pytest.raises(RecipeError, match=r"no data\.replay in pre-training.*data\.replay=null"):
        unmask.pretrain("mae2d", images=images, out=out, settings=settings)
    assert not out.exists()


@pytest.mark.parametrize(("preset", "labels"), [("cells", "labels"), ("semantic2d", "classes")])
def test_the_card_has_the_sizes_of_objects_and_not_of_classes(
    preset, labels, phantoms, tmp_path, tiny
):
    folder = phantoms[2]
    run = unmask.train(
        preset,
        images=folder / "images",
        labels=folder / labels,
        out=tmp_path / "run",
        settings=[*tiny(2)[1::2], *(["task.classes=2"] if labels == "classes" else [])],
    )
    sizes = ObjectDiameters.of_card(load_model(run.model).card.get("object_diameters"))
    if labels == "classes":
        assert sizes is None
    else:
        assert sizes is not None
        assert 3 < sizes.low <= sizes.median <= sizes.high < 40


@pytest.mark.slow
def test_every_verb_brings_volumes_to_the_grid_of_the_recipe(tmp_path, capsys):
    """Files of unlike voxel sizes and orders: trained, validated, predicted, evaluated."""
    rng = np.random.default_rng(0)
    for number in range(5):
        sizes = np.array([0.5, 1.0, 2.0])[rng.permutation(3)]
        shape = tuple(int(n) for n in 16 / sizes)
        places = np.indices(shape).transpose(1, 2, 3, 0) * sizes
        inside = (np.abs(places - 8) < 4).all(axis=-1)
        image = (inside * 800 - 200 + rng.normal(size=shape) * 20).astype(np.int16)
        affine = np.diag([*sizes, 1.0])[:, [*rng.permutation(3), 3]]
        # The same permutation for the array, so that a voxel keeps its size.
        order = [int(np.argmax(affine[:3, axis])) for axis in range(3)]
        for kind, array in (("images", image), ("labels", inside.astype(np.uint8))):
            (tmp_path / kind).mkdir(exist_ok=True)
            turned = nibabel.Nifti1Image(np.transpose(array, order), affine)
            nibabel.save(turned, tmp_path / kind / f"{number}.nii.gz")
    settings = [
        "data.crop=[8, 8, 8]", "data.spacing=[2, 2, 2]", "data.foreground_crop=-150",
        "data.normalize={name: window, low: -200, high: 600}", "data.augment=[]",
        "data.holdout=0.2", "task.classes=2", "model.backbone={name: resunet, width: 8, depth: 2}",
        "train.steps=40", "train.batch_size=4", "train.workers=0", "train.lr=0.01",
    ]  # fmt: skip
    audit = unmask.check(
        tmp_path / "images", labels=tmp_path / "labels", recipe="semantic3d", settings=settings
    )
    assert not audit.problems
    run = unmask.train(
        "semantic3d",
        images=tmp_path / "images",
        labels=tmp_path / "labels",
        out=tmp_path / "run",
        settings=settings,
    )
    written = predict_files(run.folder, tmp_path / "images", out=tmp_path / "out")
    for path in written:
        truth = nibabel.load(tmp_path / "labels" / path.name)
        found = nibabel.load(path)
        np.testing.assert_array_equal(found.affine, truth.affine)
        assert found.shape == truth.shape
    report = unmask.evaluate(
        truth=tmp_path / "labels", predicted=tmp_path / "out", metrics=["dice", "hd95"]
    )
    assert run.metrics["dice"] > 0.7
    assert report.summary["dice"]["mean"] > 0.7


def a_list(folder, **parts):
    (folder / "dataset.json").write_text(json.dumps(parts))
    return str(folder / "dataset.json")


def test_a_list_brings_its_labels_and_what_is_held_out(tmp_path):
    cases = [{"image": f"i{n}.nii", "label": f"l{n}.nii"} for n in range(6)]
    path = a_list(tmp_path, training=cases[:4], validation=cases[4:])
    assert learning.parts_of([path], None, None) == (f"{path}:train", f"{path}:val")
    path = a_list(tmp_path, training=cases)
    assert learning.parts_of(path, None, None) == (f"{path}:train", None)
    assert learning.parts_of(path, None, 3) == (f"{path}:train3", f"{path}:val3")
    assert learning.parts_of(f"{path}:train1", None, None) == (f"{path}:train1", None)
    assert learning.parts_of(path, "val/", None) == (path, "val/")
    assert learning.parts_of("images/", None, None) == ("images/", None)
    assert learning.labels_of([path], None) == [path]
    assert learning.labels_of("images/", None) is None
    assert learning.labels_of(path, "labels/") == "labels/"
    with pytest.raises(RecipeError, match=r"data\.fold=0: expected a list"):
        learning.parts_of("images/", None, 0)
    with pytest.raises(DataError, match="a whole list"):
        learning.parts_of(f"{path}:val1", None, 0)


def test_images_alone_have_no_labels(tmp_path):
    save_image(tmp_path / "images" / "a.tif", np.eye(40, dtype=np.uint8))
    with pytest.raises(DataError, match="Give them with --labels"):
        unmask.train("cells", images=tmp_path / "images", out=tmp_path / "run")


def test_scores_are_those_of_the_saved_model(phantoms, tmp_path):
    """Steps far too large make the last validation worse than an earlier one."""
    run = unmask.train(
        "semantic2d",
        images=phantoms[2] / "images",
        labels=phantoms[2] / "classes",
        out=tmp_path / "run",
        init=None,
        settings=[
            "data.channels=1", "data.crop=[32, 32]", "data.augment=[]", "data.holdout=0.4",
            "train.steps=8", "train.validate_every=2", "train.lr=3.0", "train.final_lr=1.0",
            "train.workers=0", "train.ema=0", "train.precision='32'",
            "model.backbone={name: resunet, width: 8, depth: 2}",
        ],
    )  # fmt: skip
    lines = (run.folder / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    scores = [line["validation/dice"] for line in map(json.loads, lines)]
    assert scores[-1] < max(scores) - 0.01
    assert run.metrics["dice"] == pytest.approx(max(scores), abs=1e-4)


@pytest.mark.slow
def test_a_fold_of_a_list_is_trained_predicted_and_evaluated(phantoms, tmp_path):
    """Five images of a list; what is predicted of a fold is compared with its own labels."""
    images = sorted((phantoms[2] / "images").iterdir())
    entries = [
        {"image": str(image), "label": str(phantoms[2] / "classes" / f"{image.stem}.tif")}
        for image in images
    ]
    path = a_list(tmp_path, training=[each | {"fold": n % 5} for n, each in enumerate(entries)])
    settings = [
        "data.fold=1", "data.crop=[32, 32]", "train.steps=3", "train.workers=0",
        "model.backbone={name: resunet, width: 8, depth: 2}", "data.augment=[]",
    ]  # fmt: skip
    run = unmask.train("semantic2d", images=path, out=tmp_path / "run", settings=settings)
    assert "dice" in run.metrics
    written = predict_files(run.folder, f"{path}:val1", out=tmp_path / "out")
    assert [file.stem for file in written] == [images[1].stem]
    report = unmask.evaluate(truth=f"{path}:val1", predicted=tmp_path / "out", metrics=["dice"])
    assert [row["name"] for row in report.images] == [images[1].stem]
