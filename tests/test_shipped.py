"""Models that come with the package."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from PIL import Image as Picture

from unmask import api, shipped
from unmask.checkpoint import load_model, save_model
from unmask.errors import CheckpointError
from unmask.infer.load import load_predictor
from unmask.io import open_image, open_labels
from unmask.metrics import evaluate_pair, summarize

NAMES = sorted(shipped.names())


def test_there_are_some():
    assert "nuclei" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_models_are_small_and_say_where_they_come_from(name):
    model = load_model(name)
    assert model.path == shipped.names()[name]
    assert model.path.stat().st_size <= 16 << 20
    for key in ("data", "license", "figures", "training", "recipe", "versions"):
        assert model.card[key], key
    # Nobody is to be cited for images that the package draws itself.
    drawn = {"citation"} if "families" in model.card["data"] else set()
    for key in {"name", "license", "source", "citation"} - drawn:
        assert model.card["data"][key], key
    assert load_predictor(name).trained is not None
    assert '"/' not in json.dumps(model.card)  # no path of the machine it was made on
    load_predictor(name)


def test_models_are_listed(command):
    answer = command("models")
    assert answer.code == 0, answer.err
    for model in api.shipped_models():
        size = f"{model.path.stat().st_size / 1e6:.1f} MB"
        words = (model.name, model.task, f"{model.ndim}D", size, model.data["license"])
        for word in (*words, model.license, "f1@0.5"):
            assert word in answer.out, word


def test_a_card_without_provenance_is_not_listed(trained, tmp_path, monkeypatch):
    model = load_model(trained[2])
    save_model(tmp_path / "bare.safetensors", model.weights, model.card)
    names = {"bare": tmp_path / "bare.safetensors"}
    monkeypatch.setattr(shipped, "names", lambda: names)
    with pytest.raises(CheckpointError, match=r"license, figures.*ship\.py"):
        api.shipped_models()


def test_a_path_goes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_model("nuclei").path == shipped.names()["nuclei"]
    save_model(tmp_path / "nuclei" / "model.safetensors", load_model("nuclei").weights, {"a": 1})
    assert load_model("nuclei").card == {"a": 1}
    (tmp_path / "nuclei" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="hides the shipped model 'nuclei'"):
        load_model("nuclei")


def test_unknown_names_list_the_shipped_ones(command, tmp_path, phantoms):
    given = (phantoms[2] / "images", "--out", tmp_path / "out")
    answer = command("predict", "--model", "nucleus", *given)
    assert answer.code == 2
    for word in ("nucleus", "expected", "found", "Shipped models: ", *NAMES, "you mean nuclei?"):
        assert word in answer.err
    assert not (tmp_path / "out").exists()


def test_a_misspelled_model_gets_the_nearest_name_of_all(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder, meant in (("nucval", "nuclei"), ("nuclii", "nuclii")):
        (tmp_path / folder).mkdir()
        with pytest.raises(CheckpointError) as refused:
            load_model("nucli")
        assert re.findall(r"Did you mean (\w+)\?", str(refused.value)) == [meant]


def test_prediction_by_name(command, tmp_path):
    yy, xx = np.mgrid[:128, :160]
    centers = [(y, x) for y in (30, 70, 105) for x in (25, 80, 130)]
    truth = np.zeros(yy.shape, np.uint8)
    for number, (y, x) in enumerate(centers, 1):
        truth[(yy - y) ** 2 + (xx - x) ** 2 < 100] = number
    noise = np.random.default_rng(0).normal(0, 6, truth.shape)
    photo = np.clip(20 + 120 * (truth > 0) + noise, 0, 255).astype(np.uint8)
    Picture.fromarray(photo).save(tmp_path / "photo.png")
    answer = command(
        "predict", "--model", "nuclei", tmp_path / "photo.png", "--out", tmp_path / "o"
    )
    assert answer.code == 0, answer.err
    found = open_labels(tmp_path / "o" / "photo.tif").read()[0]
    assert evaluate_pair(truth, found, ["f1@0.5"])["f1@0.5"] == 1


def test_training_starts_from_a_name(command, phantoms, tmp_path):
    folder = phantoms[2]
    where = ("--images", folder / "images", "--labels", folder / "labels", "--out", tmp_path / "r")
    small = ["data.crop=[32, 32]", "train.steps=1", "train.batch_size=1", "train.precision='32'"]
    settings = [part for line in small for part in ("--set", line)]
    answer = command("train", "--preset", "cells", "--init", "nuclei", *where, *settings)
    assert answer.code == 0, answer.err
    assert "nuclei: backbone 100% taken over" in answer.err


@pytest.mark.data
def test_nuclei_on_real_images(data_root):
    folder = data_root / "dsb2018_nuclei" / "val"
    predictor = load_predictor("nuclei")
    rows = []
    for path in sorted((folder / "images").iterdir()):
        image = open_image(path, ndim=2)
        if image.shape[1:] == (256, 256) and len(rows) < 5:
            truth = open_labels(folder / "labels" / path.name, ndim=2).read()[0]
            rows.append(evaluate_pair(truth, predictor.predict(image).labels, ["f1@0.5"]))
    assert summarize(rows)["f1@0.5"]["mean"] > 0.8
