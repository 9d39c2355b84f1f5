"""What a verb is given: lists, arrays, bad files, names, folders of outputs."""

from __future__ import annotations

import json
import os
import shutil
import sys

import dask.array
import numpy as np
import pytest
import torch

import unmask
from unmask.api import audit, predict_files
from unmask.api.inputs import find_inputs
from unmask.api.prediction import Options
from unmask.errors import DataError, RecipeError, SkippedError
from unmask.io import open_image, save_image
from unmask.recipe import load, presets


def arrays_of(folder, *, labels=False):
    opened = unmask.open_image if not labels else __import__("unmask.io").io.open_labels
    return [opened(path).read()[0] for path in sorted(folder.iterdir())]


@pytest.mark.parametrize("preset", presets())
def test_check_needs_no_labels(command, tmp_path, preset, monkeypatch):
    recipe = load(preset)
    ndim = recipe.data.ndim + (recipe.data.sections is not None)
    rng = np.random.default_rng(0)
    shape = (recipe.data.channels, *(24, 72, 72)[-ndim:])
    image = rng.integers(0, 255, shape).astype(np.uint8)
    save_image(tmp_path / "a.ome.tif", image, spacing=(1.0,) * ndim, unit="mm")
    settings = [f"data.crop={[16, 32, 32][-recipe.data.ndim :]}", "train.batch_size=2"]
    if recipe.task is None:
        # Forecasts of pre-training never needed labels, and some networks are large.
        monkeypatch.setattr(audit, "forecast_lines", lambda *_: iter(()))
        settings = []
    else:
        settings += ["model={backbone: {name: resunet, width: 4, depth: 2}}", "data.augment=[]"]
        # The small network has no blocks whose learning rates could differ.
        settings += ["train.layer_decay=1"]
    settings += ["data.replay=null"] if recipe.data.replay else []
    settings += ["task.classes=[a, b]"] if preset.startswith("classify") else []
    settings += ["data.axes=null"] if recipe.data.axes else []
    given = [part for line in settings for part in ("--set", line)]
    answer = command("check", tmp_path, "--preset", preset, *given)
    assert answer.code == 0, answer.out + answer.err
    assert "1 usable image, 0 with labels" in answer.out
    assert ("Forecast" in answer.out) == (recipe.task is not None)


def listing(folder, ndim, *, validation=False):
    """A dataset.json over phantoms, one label of another size."""
    cases = [{"image": f"i{n}.tif", "label": f"l{n}.tif"} for n in range(3)]
    shape = (8, 24, 20)[-ndim:]
    for number, case in enumerate(cases):
        rng = np.random.default_rng(number)
        save_image(folder / case["image"], rng.integers(0, 255, shape).astype(np.uint8))
        labels = np.zeros(shape, np.uint8)
        labels[..., :5] = 1
        save_image(folder / case["label"], labels[..., : 18 if number == 1 else None])
    tree = {"training": cases[:2], "validation": cases[2:]} if validation else {"training": cases}
    (folder / "dataset.json").write_text(json.dumps(tree))
    return folder / "dataset.json"


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("validation", [False, True])
def test_check_reads_the_labels_of_a_list(command, tiny, tmp_path, ndim, validation):
    path = listing(tmp_path, ndim, validation=validation)
    for given in ((), ("--labels", path)):
        answer = command("check", path, "--preset", f"semantic{ndim}d", *given, *tiny(ndim))
        assert answer.code == 2
        assert answer.out.count("PROBLEM") == 1, answer.out
        assert "l1.tif: expected the size of its image" in answer.out
    answer = command("check", path)
    assert answer.code == 2
    assert f"--preset semantic{ndim}d" in answer.out


def test_a_list_without_labels_is_checked(command, tiny, tmp_path):
    save_image(tmp_path / "a.tif", np.eye(40, dtype=np.uint8))
    (tmp_path / "d.json").write_text(json.dumps({"training": [{"image": "a.tif"}]}))
    answer = command("check", tmp_path / "d.json", "--preset", "semantic2d", *tiny(2))
    assert answer.code == 0, answer.err + answer.out
    assert "0 with labels" in answer.out


@pytest.mark.parametrize("ndim", [2, 3])
def test_check_and_train_report_what_labels_hold(command, tiny, tmp_path, ndim):
    images = tmp_path / "images"
    shape = (12, 40, 40)[-ndim:]
    labels = np.zeros(shape, np.uint8)
    for start in (0, 10, 20):
        labels[..., start : start + 6, start : start + 6] = 1
    for name in "abc":
        picture = np.random.default_rng(ord(name)).integers(1, 255, shape).astype(np.uint8)
        save_image(images / f"{name}.tif", picture)
        save_image(tmp_path / "mask" / f"{name}.tif", labels)
        save_image(tmp_path / "empty" / f"{name}.tif", 0 * labels)
    preset = "cells" if ndim == 2 else "cells3d"
    for labels, says in (
        (tmp_path / "empty", "found 0 everywhere"),
        (images, "found the image itself"),
        (tmp_path / "mask", "one id (1)"),
    ):
        where = (images, "--labels", labels, "--preset", preset, *tiny(ndim))
        answer = command("check", *where)
        assert answer.code == 2
        assert says in answer.out, answer.out
        answer = command("train", "--images", *where, "--out", tmp_path / "run")
        assert answer.code == 2
        assert says in answer.err
        assert not (tmp_path / "run").exists()


def test_validation_images_that_are_trained_on_are_reported(command, tiny, phantoms, tmp_path):
    folder = phantoms[2]
    for name in ("images", "labels"):
        shutil.copytree(folder / name, tmp_path / name)
    where = ("--labels", folder / "labels", "--val-images", tmp_path / "images", "--val-labels",
             tmp_path / "labels", "--preset", "semantic2d", *tiny(2))  # fmt: skip
    answer = command("check", folder / "images", *where, "--set", "task.classes=16")
    assert "5 validation images are training images too" in answer.out, answer.out + answer.err
    run = ("--set", "task.classes=16", "--out", tmp_path / "run")
    answer = command("train", "--images", folder / "images", *where, *run)
    assert answer.code == 0, answer.err
    assert "5 validation images are training images too" in answer.out + answer.err


def test_a_run_inside_the_images_is_refused(command, tiny, phantoms):
    images, labels = phantoms[2] / "images", phantoms[2] / "labels"
    for out in (images, images / "run", labels / "run"):
        where = ("--images", images, "--out", out, *tiny(2))
        answer = command("train", "--preset", "semantic2d", *where, "--labels", labels)
        assert answer.code == 2
        assert "expected a folder of its own for the run" in answer.err
        assert not (out / "recipe.yaml").exists()
    answer = command("pretrain", "--preset", "mae2d", "--images", images, "--out", images / "r")
    assert answer.code == 2


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_list_of_images_is_predicted_in_order(trained, phantoms, ndim):
    paths = sorted((phantoms[ndim] / "images").iterdir())[:2]
    arrays = arrays_of(phantoms[ndim] / "images")[:2]
    expected = [unmask.predict(trained[ndim], path).labels for path in paths]
    given = [paths[0], dask.array.from_array(arrays[1]), torch.from_numpy(arrays[0])]
    found = unmask.predict(trained[ndim], given)
    for result, wanted in zip(found, [*expected, expected[0]], strict=True):
        np.testing.assert_array_equal(result.labels, wanted)
    with pytest.raises(DataError) as caught:
        unmask.predict(trained[ndim], [arrays[0], "missing.tif", np.zeros(3)])
    assert "2 problems" in str(caught.value)


@pytest.mark.parametrize("ndim", [2, 3])
def test_training_and_evaluation_take_arrays(tiny, phantoms, tmp_path, ndim):
    images = arrays_of(phantoms[ndim] / "images")
    classes = arrays_of(phantoms[ndim] / "classes", labels=True)
    settings = [part for part in tiny(ndim) if part != "--set"]
    runs = [
        unmask.train(f"semantic{ndim}d", images=first, labels=second, out=tmp_path / name,
                     settings=[*settings, "task.classes=2"])
        for name, first, second in (
            ("paths", phantoms[ndim] / "images", phantoms[ndim] / "classes"),
            ("arrays", images, [torch.from_numpy(each) for each in classes]),
        )
    ]  # fmt: skip
    weights = [(run.model).read_bytes() for run in runs]
    assert len(weights[0]) > 0
    first, second = (unmask.predict(run.folder, images[0]) for run in runs)
    assert first.scores is not None
    assert second.scores is not None
    np.testing.assert_array_equal(first.scores, second.scores)
    report = unmask.evaluate(truth=classes, predicted=[each.copy() for each in classes])
    assert report.summary["dice"]["mean"] == 1
    found = unmask.check(images, labels=classes, recipe=f"semantic{ndim}d",
                         settings=[*settings, "task.classes=2"], say=lambda _: None)  # fmt: skip
    assert found.problems == []
    written = predict_files(runs[0].folder, images[:2], out=tmp_path / "out", say=lambda _: None)
    assert [path.name for path in written] == ["array_0.tif", "array_1.tif"]
    with pytest.raises(RecipeError, match="expected images in files"):
        predict_files(runs[0].folder, images, out=tmp_path / "o", options=Options(resume=True))


def test_bad_files_are_skipped_and_named(command, trained, phantoms, tmp_path):
    images = tmp_path / "i"
    images.mkdir()
    for path in sorted((phantoms[2] / "images").iterdir()):
        save_image(images / f"{path.stem}.png", open_image(path).read()[0])
    first, second, *good = sorted(images.iterdir())
    first.write_bytes(b"not an image")
    second.write_bytes(second.read_bytes()[:-200])
    given = ("predict", images, "--model", trained[2], "--out", tmp_path / "out")
    answer = command(*given)
    assert answer.code == 2
    assert not list(tmp_path.glob("out/*.tif"))
    # Headers are whole, pixels are not: all of them are named, and the audit knows them too.
    shutil.copy(good[0], first)
    for path in (first, second):
        path.write_bytes(path.read_bytes()[:-200])
    answer = command(*given)
    assert answer.code == 2
    assert str(first) in answer.err
    assert str(second) in answer.err
    labels = tmp_path / "labels"
    save_image(labels / f"{good[0].stem}.tif", np.ones(open_image(good[0]).shape[1:], np.uint8))
    audited = audit.check(images, labels=labels, say=lambda _: None)
    assert {str(first), str(second)} <= {line.partition(": ")[0] for line in audited.problems}
    first.write_bytes(b"not an image")
    answer = command(*given, "--skip-bad")
    assert answer.code == 2
    assert f"2 problems skipped, {len(good)} files written" in answer.err
    assert str(first) in answer.err
    assert str(second) in answer.err
    names = sorted(path.stem for path in (tmp_path / "out").glob("*.tif"))
    assert names == [path.stem for path in good]
    with pytest.raises(SkippedError) as caught:
        predict_files(trained[2], images, out=tmp_path / "p", options=Options(skip_bad=True))
    assert len(caught.value.problems) == 2
    assert sorted(path.stem for path in caught.value.written) == names
    # The ones that were bad are all that is left to do.
    for path in (first, second):
        shutil.copy(good[0], path)
    answer = command(*given, "--resume", "--skip-bad")
    assert answer.code == 0, answer.err
    assert answer.out.count("(finished before)") == len(good)
    # Results are not replaced unless asked for.
    again = command(*given)
    assert again.code == 2
    assert f"found {2 + len(good)} of {2 + len(good)} outputs, such as" in again.err
    assert "--overwrite" in again.err
    again = command(*given, "--overwrite", "--planes", "t")
    assert again.code == 0, again.err
    total = 2 + len(good)
    assert f"--planes t is not used for {total} of {total} images" in again.out + again.err
    # These images have one channel, which cannot be planes.
    assert "data.axes=TYX" not in again.out + again.err
    assert len(list((tmp_path / "out").glob("*.tif"))) == 2 + len(good)


def test_nothing_but_bad_files_is_refused(command, trained, tmp_path):
    (tmp_path / "a.png").write_bytes(b"?")
    out = tmp_path / "out"
    answer = command("predict", tmp_path, "--model", trained[2], "--out", out, "--skip-bad")
    assert answer.code == 2
    assert not out.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="names of other systems are text")
def test_names_that_are_not_utf8(command, trained, phantoms, tmp_path):
    for name, folder in (("i", "images"), ("l", "labels")):
        (tmp_path / name).mkdir()
        for number, path in enumerate(sorted((phantoms[2] / folder).iterdir())[:2]):
            target = os.fsencode(tmp_path / name) + b"/caf\xe9_%d" % number
            shutil.copy(path, target + os.fsencode(path.suffix))
    out = tmp_path / "out"
    answer = command("predict", tmp_path / "i", "--model", trained[2], "--out", out)
    assert answer.code == 0, answer.err
    names = sorted(os.fsencode(path.name) for path in out.glob("*.tif"))
    assert names == [b"caf\xe9_0.tif", b"caf\xe9_1.tif"]
    for suffix in (".json", ".csv"):
        report = tmp_path / f"r{suffix}"
        answer = command("evaluate", "--truth", tmp_path / "l", "--predicted", out, "--out", report)
        assert answer.code == 0, answer.err
        assert "caf\\udce9_1" in report.read_text(encoding="utf-8")


@pytest.mark.parametrize("axes", [None, "ZYX"])
def test_advice_for_a_stack_does_not_lead_in_circles(command, trained, tmp_path, axes):
    np.save(tmp_path / "s.npy", np.zeros((5, 40, 40), np.uint8))
    given = ("predict", tmp_path / "s.npy", "--model", trained[2], "--out", tmp_path / "out")
    answer = command(*given, *(() if axes is None else ("--set", f"data.axes={axes}")))
    assert answer.code == 2
    assert "a stack of 5" in answer.err
    assert "predict --planes z" in answer.err
    assert "axes=ZYX" not in answer.err
    assert ("axes=CYX" in answer.err) == (axes is None)


def test_images_that_a_list_leaves_out_are_reported(tmp_path):
    """nnU-Net lists images by their labels, so those without labels are in no list."""
    about = {"channel_names": {"0": "T1", "1": "T2"}, "labels": {}, "file_ending": ".png"}
    (tmp_path / "dataset.json").write_text(json.dumps(about))
    for name in ("a_0000", "a_0001", "b_0000", "b_0001"):
        save_image(tmp_path / "imagesTr" / f"{name}.png", np.eye(9, dtype=np.uint8), axes="YX")
    save_image(tmp_path / "labelsTr" / "a.png", np.eye(9, dtype=np.uint8), axes="YX")
    for given in (tmp_path, tmp_path / "dataset.json"):
        notes = " ".join(find_inputs(str(given), None).notes)
        assert "2 files in" in notes
        assert f"b_0000.png. They can be used with --unlabeled {tmp_path / 'imagesTr'}" in notes
    save_image(tmp_path / "labelsTr" / "b.png", np.eye(9, dtype=np.uint8), axes="YX")
    assert "not listed" not in " ".join(find_inputs(str(tmp_path), None).notes)
