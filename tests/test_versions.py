"""Files of every earlier version are read: models predict what they did, runs resume, starts work.

``tests/fixtures/make.py`` wrote them with the version that a folder is named after.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from unmask import api
from unmask.build import layout
from unmask.checkpoint import load_model
from unmask.data.pairs import fingerprint, open_pairs
from unmask.recipe import load

VERSIONS = sorted((Path(__file__).parent / "fixtures").glob("v*"))


@pytest.fixture(params=VERSIONS, ids=lambda path: path.name)
def files(request, tmp_path, monkeypatch) -> Path:
    """A copy of the files of a version, which is the working folder."""
    folder = tmp_path / "files"
    shutil.copytree(request.param, folder)
    monkeypatch.chdir(folder)
    return folder


def test_there_are_some():
    assert VERSIONS
    size = sum(path.stat().st_size for path in VERSIONS[0].rglob("*") if path.is_file())
    assert size < 300_000


@pytest.mark.parametrize("name", ["flows", "finished"])
def test_models_predict_what_they_did(files, name):
    facts = json.loads((files / "facts.json").read_text())
    found = api.predict(f"{name}.safetensors", facts["image"]).labels
    wanted = np.load(f"{name}.npy")
    assert found.shape == wanted.shape
    # Sums in another order, as on another processor, may move single pixels.
    assert ((found > 0) != (wanted > 0)).mean() < 0.01
    assert found.max() == wanted.max()


def test_a_run_predicts(files):
    facts = json.loads((files / "facts.json").read_text())
    assert api.predict("run", facts["image"]).labels.shape == np.load("flows.npy").shape


def test_a_run_resumes(command, files):
    facts = json.loads((files / "facts.json").read_text())
    recipe = load("run/recipe.yaml")
    pairs = open_pairs("images", "classes", layout(recipe), channels=recipe.data.channels)
    before, marks = json.loads(Path("run/data.json").read_text()), fingerprint(pairs)
    assert before.keys() == marks.keys()
    # A copy of the files has new times, and nothing else has changed.
    assert [m.split(":")[0] for m in before.values()] == [
        marks[name].split(":")[0] for name in before
    ]
    Path("run/data.json").write_text(json.dumps(marks))
    where = ("--images", "images", "--labels", "classes", "--out", "run")
    answer = command("train", "--recipe", "run/recipe.yaml", *where, "--resume")
    assert answer.code == 0, answer.err
    lines = [json.loads(line) for line in Path("run/journal.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == facts["steps"]
    resumed, wanted = load_model("run"), load_model("finished.safetensors")
    assert resumed.card["step"] == facts["steps"]
    assert resumed.weights.keys() == wanted.weights.keys()
    for name, tensor in wanted.weights.items():
        assert torch.allclose(resumed.weights[name], tensor, rtol=1e-3, atol=1e-4), name


@pytest.mark.parametrize("start", ["finished.safetensors", "run"])
def test_training_starts_from_a_model(command, files, start):
    where = ("--images", "images", "--labels", "classes", "--out", "next")
    settings = ("--set", "train.steps=1")
    answer = command("train", "--recipe", "run/recipe.yaml", *where, "--init", start, *settings)
    assert answer.code == 0, answer.err
    for part in ("backbone", "decoder", "head"):
        assert f"{part} 100% taken over" in answer.err


@pytest.mark.parametrize("name", ["flows.safetensors", "run"])
def test_cards_are_printed(command, files, name):
    answer = command("models", name)
    assert answer.code == 0, answer.err
    assert "nuclei_000.tif" in answer.out
