"""Folders as people have them, from ``check`` to ``evaluate``: layouts, few labels, outlines."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

import unmask
from unmask.io import open_image, open_labels, save_image

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


def two_files(root, items, end):
    _, image, labels = items[0]
    write(root / f"raw{end}", image)
    write(root / f"mask{end}", labels)


LAYOUTS = [
    cellpose, stardist, mediar, labels_inside, nnunet, nnunet_without_list, divided, divided_below,
    dsb, outlines_next_to, two_files,
]  # fmt: skip
PLANES_ONLY = (dsb, outlines_next_to)
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
    monkeypatch.setattr("unmask.api.audit.forecast", lambda *_: iter(["Forecast"]))
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
    assert f"{count} usable image(s), {count} with labels" in answer.out
    answer = command("train", "--images", root, "--out", run, *preset(ndim), *tiny(ndim, steps=1))
    assert answer.code == 0, answer.err
    if layout in (divided, divided_below):
        part = next(path for path in root.rglob("val*") if path.is_dir())
        assert f"validation from {part}" in answer.out
        # One image is validated on, and no message says that it was trained on too.
        assert "training images too" not in answer.out
    if layout is divided:
        assert f"left out: {root / 'test' / 'images'}" in answer.out
        root = root / "train"
    if layout is divided_below:
        images, root = root / "images" / "training", root / "labels" / "training"
    else:
        images = root
    if layout is nnunet_without_list:
        images, root = root / "imagesTr", root / "labelsTr"
    answer = command("predict", images, "--model", trained[ndim], "--out", tmp_path / "out")
    assert answer.code == 0, answer.err
    assert len(list((tmp_path / "out").iterdir())) == count + 0 * len(str(answer))
    answer = command("evaluate", "--truth", root, "--predicted", tmp_path / "out")
    assert answer.code == 0, answer.err + answer.out
    report = unmask.evaluate(truth=root, predicted=tmp_path / "out", metrics=["dice/1"])
    assert len(report.images) == count
    if root == tmp_path / "my data":
        assert sorted(root.rglob("*")) == before
