"""The whole way through the command line on phantoms: check, pretrain, train, predict, evaluate."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import yaml

import unmask
from unmask.checkpoint import load_model
from unmask.io import open_image, open_labels, save_image
from unmask.phantoms.cells import write_set
from unmask.recipe import load

INSTALLED = Path(sys.executable).with_name("unmask")


def installed(*given: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """The installed command in a process of its own."""
    return subprocess.run(
        [str(INSTALLED), *map(str, given)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def assert_run(folder: Path, *, steps: int) -> None:
    """A run folder holds what was promised."""
    lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == steps
    assert {"step", "loss", "lr", "samples_per_second"} <= set(lines[-1])
    assert load(folder / "recipe.yaml").train.steps == steps
    assert list(folder.glob("events.out.tfevents.*"))
    assert [path.name for path in (folder / "snapshots").iterdir()]
    card = load_model(folder).card
    assert card["recipe"]["train"]["steps"] == steps
    assert card["step"] == steps
    assert {"data", "versions", "metrics"} <= set(card)


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_whole_way(ndim, command, phantoms, tiny, tmp_path):
    images, labels = phantoms[ndim] / "images", phantoms[ndim] / "labels"
    names = sorted(path.stem for path in images.iterdir())
    small = tiny(ndim, steps=3, backbone="vit")
    train = {2: "cells", 3: "cells3d"}[ndim]

    def done(*given: object) -> str:
        answer = command(*given)
        assert answer.code == 0, answer.err
        return answer.out

    text = done("check", images, "--labels", labels, "--preset", train, *small)
    assert f"{len(names)} usable images, {len(names)} with labels" in text
    assert "Forecast" in text

    pre, run, out = tmp_path / "pre", tmp_path / "run", tmp_path / "out"
    done("pretrain", "--preset", f"mae{ndim}d", "--images", images, "--out", pre, *small)
    assert_run(pre, steps=3)
    assert (pre / "pictures" / "step-0000003-reconstruction.png").is_file()
    where = ("--images", images, "--labels", labels, "--out", run)
    validation = ("--val-images", images, "--val-labels", labels)
    text = done("train", "--preset", train, *where, *validation, "--init", pre, *small)
    assert "f1@0.5" in text
    assert_run(run, steps=3)
    last = (run / "journal.jsonl").read_text().splitlines()[-1]
    assert "validation/f1@0.5" in json.loads(last)

    models = ("--model", run, "--model", run / "model.safetensors")
    flags = ("--scores", "--tta", "--set", "infer.overlap=0.5", "--set", "task.min_size=0")
    text = done("predict", *models, images, "--out", out, *flags)
    assert text.count("->") == len(names)
    written = [*(f"{n}.tif" for n in names), "scores", "uncertainty"]
    assert sorted(path.name for path in out.iterdir()) == written
    for name in names:
        image, found = open_image(images / f"{name}.tif"), open_labels(out / f"{name}.tif")
        assert found.shape == (1, *image.shape[1:])
        assert found.spacing == image.spacing
        scores = open_image(out / "scores" / f"{name}.zarr", ndim=ndim)
        assert scores.shape == (ndim + 1, *image.shape[1:])

    # A copy of the truth as the prediction has metrics that are known.
    copy = shutil.copytree(labels, tmp_path / "copy")
    for suffix in ("json", "csv", "html"):
        report = tmp_path / f"report.{suffix}"
        predicted = copy if suffix == "json" else out
        where = ("--truth", labels, "--predicted", predicted, "--metrics", "f1@0.5,ap,aji,voi")
        assert "f1@0.5" in done("evaluate", *where, "--out", report)
        text = report.read_text()
        assert all(name in text for name in names)
    found = json.loads((tmp_path / "report.json").read_text())
    assert set(found) == {"images", "summary", "settings", "version"}
    assert [row["name"] for row in found["images"]] == names
    assert found["version"] == version("unmask")
    expected = {"mean": 1.0, "median": 1.0, "n": len(names), "undefined": 0}
    assert found["summary"]["f1@0.5"] == expected
    assert found["summary"]["voi"]["mean"] == pytest.approx(0, abs=1e-9)
    rows = list(csv.DictReader((tmp_path / "report.csv").read_text().splitlines()))
    assert [row["name"] for row in rows][: len(names)] == names


def test_check_without_a_recipe_says_what_fits(command, tmp_path):
    """Objects are told from classes, and the advice is a set of arguments that work."""
    folder = write_set(tmp_path, "nuclei", shape=(96, 96), count=2, seed=1)
    for part, preset in {"labels": "cells", "classes": "semantic2d"}.items():
        where = (folder / "images", "--labels", folder / part)
        small = ("--set", "train.batch_size=1", "--set", "data.crop=[64, 64]")
        answer = command("check", *where, *small, "--set", "model.backbone.width=4")
        assert answer.code == 0, answer.err + answer.out
        assert f"What fits these files: --preset {preset}" in answer.out


def test_formats_of_outputs(command, trained, tmp_path):
    """Same stem and family; PNG gives TIFF; voxel sizes are kept."""
    array = np.arange(40 * 36, dtype=np.uint8).reshape(40, 36)
    for name in ("a.tif", "b.zarr", "c.h5", "d.png", "e.npy"):
        spacing = None if name[0] in "de" else (0.5, 0.25)
        save_image(tmp_path / "images" / name, array, spacing=spacing)
    out = tmp_path / "out"
    answer = command("predict", "--model", trained[2], tmp_path / "images", "--out", out)
    assert answer.code == 0, answer.err
    found = {path.name for path in out.iterdir()}
    assert {"a.tif", "c.h5", "d.tif", "e.tif"} < found
    assert len(found) == 5
    for path in out.iterdir():
        labels = open_labels(path, ndim=2)
        assert labels.dtype == np.uint8
        assert labels.spacing == (None if path.name[0] in "de" else (0.5, 0.25))


def test_presets_can_be_printed_and_used(command, tmp_path):
    listed = command("presets")
    assert listed.code == 0
    for line in listed.out.splitlines():
        name = line.split()[0]
        answer = command("presets", name)
        assert yaml.safe_load(answer.out)["name"] == name
        (tmp_path / "mine.yaml").write_text(answer.out)
        assert load(tmp_path / "mine.yaml") == load(name)
    only = command("presets", "--axes", "3").out.splitlines()
    assert 0 < len(only) < len(listed.out.splitlines())


@pytest.mark.slow
def test_the_installed_command(phantoms, trained, tmp_path):
    """Exit codes and streams of the real process: errors on standard error, no traceback."""
    out = tmp_path / "out"
    done = installed("predict", "--model", trained[2], phantoms[2] / "images", "--out", out)
    assert done.returncode == 0, done.stderr
    assert len(list(out.iterdir())) == 5
    done = installed("predict", "--model", trained[2], tmp_path / "none", "--out", out)
    assert done.returncode == 2
    assert "none" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_bare_environment(phantoms, trained, tmp_path):
    """Row 33 of docs/reliability.md: read-only folders, no locale, broken torchvision."""
    source = Path(next(iter(unmask.__path__)))
    package = tmp_path / "site" / "unmask"
    shutil.copytree(source, package, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in (package, *(path for path in package.rglob("*") if path.is_dir())):
        # A file in its place: not even root can put a cache there.
        (folder / "__pycache__").write_text("")
    (tmp_path / "site" / "torchvision.py").write_text("raise RuntimeError('operator missing')")
    images = tmp_path / "bilder-ä"
    shutil.copytree(phantoms[2] / "images", images)
    out = ["--out", str(tmp_path / "out")]
    program = "import unmask; print(unmask.__file__); from unmask.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "predict", "--model", str(trained[2]), str(images), *out],
        env={
            "PATH": os.defpath,
            "PYTHONPATH": str(tmp_path / "site"),
            "HOME": "/dev/null",
            "LC_ALL": "C",
            "OMP_NUM_THREADS": "1",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(package))
    assert len(list((tmp_path / "out").iterdir())) == 5
