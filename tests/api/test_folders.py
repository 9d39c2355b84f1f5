"""Folders as people have them, from ``check`` to ``evaluate``: layouts, few labels, outlines."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

import unmask
from unmask.data.pairs import Layout, open_pairs
from unmask.io import open_image, open_labels, save_image
from unmask.io.outlines.coco import write_coco
from unmask.wording import format_count

SUFFIX = {2: ".png", 3: ".nii.gz"}


def sources(phantoms, ndim):
    """Names, images and labels of phantoms."""
    root = phantoms[ndim]
    return [
        (path.name.split(".")[0], open_image(path).read()[0],
         open_labels(root / "labels" / path.name).read()[0])
        for path in sorted((root / "images").iterdir())
    ]  # fmt: skip


def write(path, array):
    """An image file, with a voxel size where the format has one."""
    spacing = (1.0,) * array.ndim if path.suffix != ".png" else None
    save_image(path, array, spacing=spacing, unit=spacing and "mm")


def cellpose(root, items, end):
    for name, image, labels in items:
        write(root / f"{name}{end}", image)
        write(root / f"{name}_masks{end}", labels)


def stardist(root, items, end):
    for name, image, labels in items:
        write(root / "images" / f"{name}{end}", image)
        write(root / "masks" / f"{name}{end}", labels)


def mediar(root, items, end):
    for number, (_, image, labels) in enumerate(items, 1):
        write(root / "images" / f"cell_{number:05d}{end}", image)
        write(root / "labels" / f"cell_{number:05d}_label{end}", labels)


def labels_inside(root, items, end):
    for name, image, labels in items:
        write(root / f"{name}{end}", image)
        write(root / "labels" / f"{name}{end}", labels)


def nnunet(root, items, end):
    for name, image, labels in items:
        write(root / "imagesTr" / f"{name}_0000{end}", image)
        write(root / "labelsTr" / f"{name}{end}", labels)
    tree = {"channel_names": {"0": "CT"}, "labels": {"background": 0}, "file_ending": end}
    (root / "dataset.json").write_text(json.dumps(tree))


def nnunet_without_list(root, items, end):
    nnunet(root, items, end)
    (root / "dataset.json").unlink()
    write(root / "imagesTs" / f"t_0000{end}", items[0][1])


def divided(root, items, end):
    for part, chosen in (("train", items[:-2]), ("val", items[-2:-1]), ("test", items[-1:])):
        stardist(root / part, chosen, end)


def divided_below(root, items, end):
    for part, chosen in (("training", items[:-2]), ("validation", items[-2:])):
        for name, image, labels in chosen:
            write(root / "images" / part / f"{name}{end}", image)
            write(root / "labels" / part / f"{name}{end}", labels)


def dsb(root, items, end):
    for name, image, labels in items:
        write(root / name / "images" / f"{name}{end}", image)
        for key in np.unique(labels)[1:]:
            mask = np.where(labels == key, 255, 0).astype(np.uint8)
            write(root / name / "masks" / f"{name}_{key}{end}", mask)


def outlines_next_to(root, items, end):
    for name, image, labels in items:
        write(root / f"{name}{end}", image)
        path = unmask.write_outlines(root / f"{name}.geojson", labels)
        path.rename(path.with_suffix(".json"))


def coco(root, items, end):
    for name, image, _ in items:
        write(root / "images" / f"{name}{end}", image)
    write_coco(root / "instances.json", [(f"{name}{end}", labels) for name, _, labels in items])


def coco_next_to_images(root, items, end):
    for name, image, _ in items:
        write(root / f"{name}{end}", image)
    write_coco(root / "instances.json", [(f"{name}{end}", labels) for name, _, labels in items])


def two_files(root, items, end):
    _, image, labels = items[0]
    write(root / f"raw{end}", image)
    write(root / f"mask{end}", labels)


LAYOUTS = [
    cellpose, stardist, mediar, labels_inside, nnunet, nnunet_without_list, divided, divided_below,
    dsb, outlines_next_to, coco, coco_next_to_images, two_files,
]  # fmt: skip
PLANES_ONLY = (dsb, outlines_next_to, coco, coco_next_to_images)
CASES = [
    pytest.param(layout, ndim, id=f"{layout.__name__}-{ndim}d")
    for layout in LAYOUTS
    for ndim in ((2,) if layout in PLANES_ONLY else (2, 3))
]


def preset(ndim):
    return ("--preset", "cells" if ndim == 2 else "cells3d")


@pytest.fixture
def clear(monkeypatch, tmp_path):
    """A working directory of its own, and no forecasts, which take most of the time."""
    monkeypatch.setattr("unmask.api.audit.forecast_lines", lambda *_: iter(["Forecast"]))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.mark.parametrize(("layout", "ndim"), CASES)
@pytest.mark.usefixtures("clear")
def test_the_root_alone_is_enough(layout, ndim, command, phantoms, trained, tiny, tmp_path):
    root, run = tmp_path / "my data", tmp_path / "run"
    items = sources(phantoms, ndim)
    layout(root, items, SUFFIX[ndim])
    before = sorted(root.rglob("*"))
    count = {two_files: 1, divided: len(items) - 2, divided_below: len(items) - 2}.get(
        layout, len(items)
    )
    answer = command("check", root, *preset(ndim), *tiny(ndim))
    assert answer.code == 0, answer.out + answer.err
    assert f"{format_count(count, 'usable image')}, {count} with labels" in answer.out
    answer = command("train", "--images", root, "--out", run, *preset(ndim), *tiny(ndim, steps=1))
    assert answer.code == 0, answer.err
    said = answer.out + answer.err
    if layout in (divided, divided_below):
        part = next(path for path in root.rglob("val*") if path.is_dir())
        assert f"validation from {part}" in said
        # One image is validated on, and no message says that it was trained on too.
        assert "training images too" not in said
    if layout is divided:
        assert f"left out: {root / 'test' / 'images'}" in said
        root = root / "train"
    if layout is divided_below:
        images, root = root / "images" / "training", root / "labels" / "training"
    else:
        images = root
    if layout is nnunet_without_list:
        images, root = root / "imagesTr", root / "labelsTr"
    answer = command("predict", images, "--model", trained[ndim], "--out", tmp_path / "out")
    assert answer.code == 0, answer.err
    assert len(list((tmp_path / "out").iterdir())) == count
    answer = command("evaluate", "--truth", root, "--predicted", tmp_path / "out")
    assert answer.code == 0, answer.err + answer.out
    report = unmask.evaluate(truth=root, predicted=tmp_path / "out", metrics=["dice/1"])
    assert len(report.images) == count
    if root == tmp_path / "my data":
        assert sorted(root.rglob("*")) == before


@pytest.fixture
def few(phantoms, tmp_path):
    """Eight images, two of which have labels."""
    root = tmp_path / "few labels"
    _, image, labels = sources(phantoms, 2)[0]
    for number in range(8):
        write(root / "images" / f"i{number}.png", image + np.uint8(number))
    for number in (1, 4):
        write(root / "masks" / f"i{number}.png", labels)
    return root


def test_images_without_labels_are_a_note_with_the_command(few, command, tiny, tmp_path, clear):
    answer = command("check", few, *preset(2), *tiny(2))
    assert answer.code == 0, answer.out
    assert "2 usable images, 2 with labels" in answer.out
    assert "note: 2 of 8 images have labels: training on 2. The other 6 (i0.png, i2.png, i3.png, " \
        "...) can be used with --unlabeled" in answer.out  # fmt: skip
    run = tmp_path / "run"
    answer = command("train", "--images", few, "--out", run, *preset(2), *tiny(2, steps=1))
    assert answer.code == 0, answer.err
    assert "2 of 8 images have labels: training on 2" in answer.err
    # The command of the note works as it is.
    (line,) = re.findall(r"`unmask (.*?)`", answer.err)
    answer = command(*shlex.split(line))
    assert answer.code == 0, answer.err
    assert "uses 6 unlabeled images" in answer.err
    val = ("--val-images", few / "images", "--val-labels", few / "masks" / "i1.png")
    answer = command("check", few, *val, *preset(2), *tiny(2))
    assert "Validation: 1 of 8 images has labels; the others are left out" in answer.out
    answer = command("train", "--images", few, "--out", tmp_path / "third", *val, *preset(2),
                     *tiny(2, steps=1))  # fmt: skip
    assert "Validation: 1 of 8 images has labels; the others are left out" in answer.err
    # Without labels there is nothing to note.
    answer = command("check", few / "images", "--preset", "spark2d", *tiny(2))
    assert answer.code == 0, answer.out
    assert "8 usable images, 0 with labels" in answer.out
    assert "have labels" not in answer.out


def test_labels_without_images_are_one_problem_and_listed_in_full(few, command, tiny, tmp_path,
                                                                  clear):  # fmt: skip
    for number in range(20, 32):
        shutil.copy(few / "masks" / "i1.png", few / "masks" / f"z{number}.png")
    before = sorted(few.rglob("*"))
    answer = command("check", few, *preset(2), *tiny(2))
    assert answer.code == 2
    problems = [line for line in answer.out.splitlines() if "PROBLEM" in line]
    assert len(problems) == 1
    assert "12 files: expected an image of that name, found none" in problems[0]
    assert f"(in {few / 'masks'}: z20.png, z21.png" in problems[0]
    assert "The full list is in check.txt" in answer.out
    assert Path("check.txt").read_text().count("PROBLEM: ") == 12
    run = tmp_path / "runs" / "a"
    answer = command("train", "--images", few, "--out", run, *preset(2), *tiny(2))
    assert answer.code == 2
    assert f"The full list is in {run.with_name('check.txt')}" in answer.err
    assert run.with_name("check.txt").read_text().count("PROBLEM: ") == 12
    assert not run.exists()
    answer = command("check", few, "--out", tmp_path / "all.txt", *preset(2), *tiny(2))
    assert (tmp_path / "all.txt").read_text().count("PROBLEM: ") == 12
    os.chdir(few)
    answer = command("check", ".", *preset(2), *tiny(2))
    assert answer.code == 2
    assert "The full list" not in answer.out
    assert sorted(few.rglob("*")) == before


DRAWN = ["zip", "roi.zip", "geojson", "coco.json", "labelme.json", "csv"]


def drawn(folder, name, labels, form):
    """Outlines of labels in a form; the place that is given as labels."""
    folder.mkdir(exist_ok=True)
    if form in ("labelme.json", "csv"):
        shapes = []
        for key in np.unique(labels)[1:]:
            rows, columns = np.nonzero(labels == key)
            (top, left), (low, right) = (rows.min(), columns.min()), (rows.max(), columns.max())
            shapes.append([(top, left), (top, right), (low, right), (low, left)])
        if form == "csv":
            rows = ["index,shape-type,vertex-index,axis-0,axis-1"]
            rows += [f"{n},polygon,{k},{y},{x}" for n, shape in enumerate(shapes)
                     for k, (y, x) in enumerate(shape)]  # fmt: skip
            (folder / f"{name}.csv").write_text("\n".join(rows))
        else:
            height, width = labels.shape
            points = [[[int(x), int(y)] for y, x in shape] for shape in shapes]
            entries = [{"label": "cell", "shape_type": "polygon", "points": p} for p in points]
            tree = {"imageHeight": height, "imageWidth": width, "shapes": entries}
            (folder / f"{name}.json").write_text(json.dumps(tree))
        return
    path = unmask.write_outlines(folder / f"{name}.{form.rpartition('.')[2]}", labels)
    path.rename(folder / f"{name}.{form}")


@pytest.mark.parametrize("form", DRAWN)
@pytest.mark.usefixtures("clear")
def test_outlines_are_labels_in_every_verb(form, command, phantoms, trained, tiny, tmp_path):
    items = sources(phantoms, 2)[:3]
    where = tmp_path / "drawn"
    for name, image, labels in items:
        write(tmp_path / "images" / f"{name}.png", image)
        if form != "coco.json":
            drawn(where, name, labels, form)
    if form == "coco.json":
        where = tmp_path / "all.json"
        write_coco(where, [(f"{name}.png", labels) for name, _, labels in items])
    given = (tmp_path / "images", "--labels", where)
    answer = command("check", *given)
    assert "--preset cells" in answer.out, answer.out + answer.err
    assert "Plan      flows" in answer.out
    answer = command("check", *given, *preset(2), *tiny(2))
    assert answer.code == 0, answer.out + answer.err
    assert "3 with labels" in answer.out
    answer = command("train", "--images", *given, "--out", tmp_path / "run", *preset(2),
                     *tiny(2, steps=1))  # fmt: skip
    assert answer.code == 0, answer.err
    pairs = open_pairs(tmp_path / "images", where, Layout(2))
    if form not in ("labelme.json", "csv"):
        for pair, (_, _, labels) in zip(pairs, items, strict=True):
            assert pair.labels is not None
            assert ((pair.labels.read()[0] > 0) == (labels > 0)).all()
    answer = command("predict", given[0], "--model", trained[2], "--out", tmp_path / "out")
    assert answer.code == 0, answer.err
    answer = command("evaluate", "--truth", where, "--predicted", tmp_path / "out")
    assert answer.code == 0, answer.err
    table = unmask.measure(where, images=given[0])
    assert len(set(table["image"])) == 3


def test_overlaps_of_outlines_are_reported(command, tiny, tmp_path, clear):
    write(tmp_path / "images" / "a.png", np.arange(1600, dtype=np.uint8).reshape(40, 40))
    squares = [[(2, 2), (2, 12), (12, 12), (12, 2)], [(8, 8), (8, 20), (20, 20), (20, 8)]]
    features = [{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [
        [[x, y] for y, x in [*square, square[0]]]]}} for square in squares]  # fmt: skip
    (tmp_path / "a.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "features": features})
    )
    given = (tmp_path / "images", "--labels", tmp_path / "a.geojson", *preset(2), *tiny(2))
    answer = command("check", *given)
    assert answer.code == 0, answer.out + answer.err
    assert "16 pixels are in more than one object" in answer.out
    answer = command("train", "--images", *given, "--out", tmp_path / "r", "--set", "train.steps=1")
    assert answer.code == 0
    assert "16 pixels are in more than one object" in answer.err


def decathlon(root, channels):
    cases = []
    for number in range(3):
        values = np.random.default_rng(number).integers(0, 99, (20, 24, 12, channels))
        labels = np.zeros((20, 24, 12), np.uint8)
        labels[4:12, 4:12, 3:8] = 1 + number % 2
        image, label = f"imagesTr/c{number}.nii.gz", f"labelsTr/c{number}.nii.gz"
        for path, array in ((image, values.astype(np.int16)), (label, labels)):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), root / path)
        cases.append({"image": f"./{image}", "label": f"./{label}"})
    names = {str(n): f"m{n}" for n in range(channels)}
    tree = {"modality": names, "labels": {"0": "b", "1": "t"}, "training": cases, "test": []}
    (root / "dataset.json").write_text(json.dumps(tree))


@pytest.mark.parametrize("given", ["root", "list", "folders"])
def test_modalities_of_the_decathlon_are_channels(command, tiny, tmp_path, clear, given):
    root = tmp_path / "Task01"
    decathlon(root, channels=4)
    where = {
        "root": (root,),
        "list": (root / "dataset.json",),
        "folders": (root / "imagesTr", "--labels", root / "labelsTr"),
    }[given]
    answer = command("check", *where)
    assert answer.code == 0, answer.out + answer.err
    assert "--preset semantic3d" in answer.out
    assert "--set 'data.channels=4'" in answer.out
    small = ("--preset", "semantic3d", *tiny(3, steps=1), "--set", "task.classes=3", "--set",
             "data.channels=4")  # fmt: skip
    answer = command("train", "--images", *where, "--out", tmp_path / "run", *small)
    assert answer.code == 0, answer.err
    if given == "folders":
        shutil.copytree(root / "imagesTr", tmp_path / "new")
        where = (tmp_path / "new",)
    out = tmp_path / "out"
    answer = command("predict", where[0], "--model", tmp_path / "run", "--out", out)
    assert answer.code == 0, answer.err
    assert sorted(path.name for path in out.iterdir()) == [f"c{n}.nii.gz" for n in range(3)]
    truth = root / "labelsTr" if given == "folders" else where[0]
    answer = command("evaluate", "--truth", truth, "--predicted", out, "--metrics", "dice/1")
    assert answer.code == 0, answer.err


@pytest.mark.parametrize("listed", [True, False])
def test_channels_in_files_of_their_own(command, phantoms, tiny, tmp_path, clear, listed):
    root = tmp_path / "Dataset001"
    items = sources(phantoms, 3)
    nnunet(root, items, ".nii.gz")
    for name, image, _ in items:
        write(root / "imagesTr" / f"{name}_0001.nii.gz", image[::-1])
    tree = json.loads((root / "dataset.json").read_text())
    tree["channel_names"] = {"0": "T1", "1": "T2"}
    (root / "dataset.json").write_text(json.dumps(tree))
    if not listed:
        (root / "dataset.json").unlink()
    folders = (root / "imagesTr", "--labels", root / "labelsTr")
    small = (*preset(3), *tiny(3, steps=1), "--set", "data.channels=2")
    for number, given in enumerate(((root,), folders)):
        answer = command("check", *given, *small)
        assert answer.code == 0, answer.out + answer.err
        usable = format_count(len(items), "usable image")
        assert f"{usable}, {len(items)} with labels" in answer.out
        assert f"{len(items)} of" in answer.out
        assert "2 channels" in answer.out
        run, out = tmp_path / f"run{number}", tmp_path / f"out{number}"
        assert command("train", "--images", *given, "--out", run, *small).code == 0
        images = root / "imagesTr" if not listed else given[0]
        answer = command("predict", images, "--model", run, "--out", out)
        assert answer.code == 0, answer.err
        assert len(list(out.iterdir())) == len(items)
        answer = command("evaluate", "--truth", root / "labelsTr", "--predicted", out)
        assert answer.code == 0, answer.err
    (root / "imagesTr" / f"{items[0][0]}_0001.nii.gz").unlink()
    answer = command("check", *folders, *small)
    assert answer.code == 2
    assert "found no file for _0001" in answer.out
