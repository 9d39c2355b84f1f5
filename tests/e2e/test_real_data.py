"""A few real images through the command line: nuclei in 2D, a labeled volume in 3D."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from unmask.io import list_files, open_image, open_labels, stem

pytestmark = [pytest.mark.data, pytest.mark.slow]


@pytest.fixture
def some(data_root, tmp_path):
    """``some(name, count)``: the smallest images of a training set, with labels, as copies."""

    def copied(name: str, count: int) -> Path:
        source = data_root / name / "train"
        images = {stem(path): Path(path) for path in list_files(source / "images")}
        labels = {stem(path): Path(path) for path in list_files(source / "labels")}
        common = sorted(images.keys() & labels.keys(), key=lambda key: images[key].stat().st_size)
        assert len(common) >= count
        for part, files in {"images": images, "labels": labels}.items():
            folder = tmp_path / name / part
            folder.mkdir(parents=True)
            for key in common[:count]:
                shutil.copy(files[key], folder)
        return tmp_path / name

    return copied


@pytest.mark.parametrize(
    ("name", "count", "preset", "settings"),
    [
        ("dsb2018_nuclei", 6, "cells", ["model.backbone.width=4", "data.crop=[64, 64]"]),
        ("hippocampus_mri", 2, "semantic3d", ["model.backbone.width=4", "data.crop=[24, 24, 24]"]),
    ],
)
def test_real_images(name, count, preset, settings, some, command, tmp_path):
    folder = some(name, count)
    images, labels = folder / "images", folder / "labels"
    lines = [*settings, "train.steps=4", "train.batch_size=2", "model.backbone.depth=3"]
    given = [part for line in lines for part in ("--set", line)]

    def done(*words: object) -> str:
        answer = command(*words)
        assert answer.code == 0, answer.err + answer.out
        return answer.out

    text = done("check", images, "--labels", labels, "--preset", preset, *given)
    assert f"{count} usable images, {count} with labels" in text
    run, out, report = tmp_path / "run", tmp_path / "out", tmp_path / "report.json"
    where = ("--images", images, "--labels", labels, "--out", run)
    done("train", "--preset", preset, *where, *given)
    done("predict", "--model", run, images, "--out", out)
    for path in list_files(images):
        image = open_image(path, ndim=3 if preset.endswith("3d") else 2)
        found = next(
            open_labels(each, ndim=image.ndim)
            for each in list_files(out)
            if stem(each) == image.name
        )
        assert found.shape[1:] == image.shape[1:]
        assert (found.spacing, found.unit) == (image.spacing, image.unit)
    done("evaluate", "--truth", labels, "--predicted", out, "--out", report)
    summary = json.loads(report.read_text())["summary"]
    assert summary
    assert all(np.isfinite(figure["n"]) for figure in summary.values())
