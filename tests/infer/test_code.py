"""Model files never run code unless the user allows it, and carry the code they need."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from unmask import api
from unmask.checkpoint import load_model, save_model
from unmask.clustering.encoder import load_encoder
from unmask.errors import CheckpointError, UnmaskError
from unmask.infer.load import load_predictor
from unmask.io import open_labels

EVIL = """
from pathlib import Path
Path({marker!r}).write_text("ran")
class T:
    def __init__(self, **options):
        pass
"""

NORMALIZER = """
from dataclasses import dataclass
from unmask.data.normalize import Window

@dataclass(frozen=True)
class Scale:
    top: float = {top}
    def measure(self, image):
        return Window(low=0.0, high=self.top).measure(image)
"""

BACKBONE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, ndim, in_channels, *, weights=None, width=4):
        super().__init__()
        self.ndim, self.in_channels = ndim, in_channels
        self.channels, self.strides = (width,), ((1,) * ndim,)
        self.conv = {2: nn.Conv2d, 3: nn.Conv3d}[ndim](in_channels, width, 3, padding=1)
        if weights is not None:
            self.load_state_dict(torch.load(weights, weights_only=True))

    def forward(self, image):
        return [self.conv(image)]
"""


def with_recipe(model, change, path, **card):
    """A copy of a model whose recipe was changed by hand."""
    loaded = load_model(model)
    recipe = copy.deepcopy(dict(loaded.card["recipe"]))
    change(recipe)
    save_model(path, loaded.weights, {**loaded.card, "recipe": recipe, **card})
    return path


def put(position, value):
    def change(recipe):
        *parents, leaf = position.split(".")
        for name in parents:
            recipe[name] = recipe[name] or {}
            recipe = recipe[name]
        recipe[leaf] = value

    return change


def evil(folder: Path) -> tuple[str, Path]:
    marker = folder / "marker"
    (folder / "evil.py").write_text(EVIL.format(marker=str(marker)))
    return f"{folder / 'evil.py'}:T", marker


KINDS = {
    "data.normalize": lambda name: {"name": name},
    "data.augment": lambda name: [{"name": "flip"}, {"name": name}],
    "data.label_changes": lambda name: [{"name": name}],
    "data.sampling": lambda name: {"name": name},
    "data.replay": lambda name: {"batch": 1, "augment": [{"name": name}]},
    "model.backbone": lambda name: {"name": name},
    "model.decoder": lambda name: {"name": name},
    "model.head": lambda name: {"name": name},
    "task": lambda name: {"name": name},
    "task.decoding": lambda name: name,
    "task.deep": lambda name: {"inside": [{"a": name}]},
    "train.optimizer": lambda name: {"name": name},
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_of_part_runs_from_a_model(kind, trained, tmp_path):
    name, marker = evil(tmp_path)
    path = with_recipe(trained[2], put(kind, KINDS[kind](name)), tmp_path / "m.safetensors")
    for load in (load_predictor, load_encoder):
        with pytest.raises(CheckpointError, match="--allow-code") as caught:
            load(path)
        assert name in str(caught.value)
        assert kind.split(".")[0] in str(caught.value)
        assert "m.safetensors" in str(caught.value)
    assert not marker.exists()


def test_a_method_does_not_run_either(trained, tmp_path):
    name, marker = evil(tmp_path)

    def change(recipe):
        recipe["task"], recipe["method"] = None, {"name": name}

    path = with_recipe(trained[2], change, tmp_path / "m.safetensors")
    for load in (load_predictor, load_encoder):
        with pytest.raises(CheckpointError, match=r"method=.*evil\.py"):
            load(path)
    assert not marker.exists()


def test_predict_refuses_with_one_message(command, trained, phantoms, tmp_path):
    name, marker = evil(tmp_path)
    (tmp_path / "run").mkdir()
    with_recipe(trained[2], put("task", {"name": name}), tmp_path / "run" / "model.safetensors")
    images, out = phantoms[2] / "images", tmp_path / "out"
    for verb in (("predict",), ("cluster", "--classes", 2)):
        answer = command(*verb, images, "--model", tmp_path / "run", "--out", out)
        assert answer.code == 2
        assert name in answer.err
        assert "Traceback" not in answer.err
    assert not out.exists()
    assert not marker.exists()


def test_code_that_was_allowed_runs(trained, tmp_path):
    name, marker = evil(tmp_path)
    path = with_recipe(trained[2], put("task", {"name": name}), tmp_path / "m.safetensors")
    with pytest.raises(UnmaskError, match=r"T without context, .*decode"):
        load_predictor(path, allow_code=True)
    assert marker.exists()


def test_other_files_than_python_are_never_run(trained, tmp_path):
    (tmp_path / "evil.so").write_bytes(b"\x7fELF")
    name = f"{tmp_path / 'evil.so'}:T"
    path = with_recipe(trained[2], put("data.normalize", name), tmp_path / "m.safetensors")
    with pytest.raises(UnmaskError, match="py file"):
        load_predictor(path, allow_code=True)


def test_a_name_of_admitted_code_in_a_card_is_not_a_way_round(trained, tmp_path):
    (tmp_path / "scale.py").write_text(NORMALIZER.format(top=7.0))
    first = carried(trained, tmp_path)
    predictor = load_predictor(first, allow_code=True)
    del predictor
    digest = load_model(first).card["code"][0]["sha256"][:16]
    name = f"{tmp_path / 'scale.py'}#{digest}:Scale"
    path = with_recipe(trained[2], put("data.normalize", name), tmp_path / "n.safetensors")
    with pytest.raises(CheckpointError, match="--allow-code"):
        load_predictor(path)


def carried(trained, folder: Path, file: str | None = None, top: float = 7.0) -> Path:
    file = file or str(folder / "scale.py")
    source = NORMALIZER.format(top=top)
    from unmask.plugins import Code

    code = [{"file": file, "sha256": Code(file, source).digest, "source": source}]
    change = put("data.normalize", f"{file}:Scale")
    return with_recipe(trained[2], change, folder / f"{top}.safetensors", code=code)


def test_the_source_inside_goes_before_the_file(trained, tmp_path):
    (tmp_path / "scale.py").write_text(NORMALIZER.format(top=99.0))
    path, notes = carried(trained, tmp_path), []
    predictor = load_predictor(path, allow_code=True, say=notes.append)
    assert predictor.normalize.top == 7.0
    assert len(notes) == 1
    assert "scale.py differs" in notes[0]
    (tmp_path / "scale.py").write_text(NORMALIZER.format(top=7.0))
    load_predictor(path, allow_code=True, say=notes.append)
    (tmp_path / "scale.py").unlink()
    load_predictor(path, allow_code=True, say=notes.append)
    assert len(notes) == 1


def test_two_models_keep_their_own_source_of_one_name(trained, tmp_path):
    paths = [carried(trained, tmp_path, "parts/scale.py", top) for top in (3.0, 5.0)]
    predictors = [load_predictor(path, allow_code=True) for path in paths]
    assert [each.normalize.top for each in predictors] == [3.0, 5.0]


def test_changed_source_is_noticed(trained, tmp_path):
    path = carried(trained, tmp_path)
    model = load_model(path)
    code = [{**model.card["code"][0], "source": "class Scale: pass"}]
    save_model(path, model.weights, {**model.card, "code": code})
    with pytest.raises(CheckpointError, match="sha256"):
        load_predictor(path, allow_code=True)


@pytest.mark.parametrize("code", [3, "x", [1], [{"file": 1}], {"file": "a"}, [None]])
def test_damaged_sources(code, trained, tmp_path):
    path = carried(trained, tmp_path)
    model = load_model(path)
    save_model(path, model.weights, {**model.card, "code": code})
    with pytest.raises(CheckpointError, match=r"7\.0\.safetensors"):
        load_predictor(path, allow_code=True)


def test_without_source_inside_the_file_on_disk_is_used(trained, tmp_path):
    (tmp_path / "scale.py").write_text(NORMALIZER.format(top=99.0))
    change, notes = put("data.normalize", f"{tmp_path / 'scale.py'}:Scale"), []
    path = with_recipe(trained[2], change, tmp_path / "m.safetensors")
    assert load_predictor(path, allow_code=True, say=notes.append).normalize.top == 99.0
    assert "no source" in notes[0]


@pytest.mark.parametrize(
    ("source", "words"),
    [("1 / 0", "line 1"), ("x = (", "SyntaxError"), ("import no_such_module", "no_such_module")],
)
def test_code_that_fails_is_explained(source, words, trained, tmp_path):
    (tmp_path / "bad.py").write_text(source)
    change = put("data.normalize", f"{tmp_path / 'bad.py'}:Scale")
    path = with_recipe(trained[2], change, tmp_path / "m.safetensors")
    with pytest.raises(UnmaskError, match=words):
        load_predictor(path, allow_code=True)


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_model_of_own_parts_works_anywhere(ndim, command, phantoms, tiny, tmp_path, monkeypatch):
    home, away = tmp_path / "home", tmp_path / "away"
    (home / "a").mkdir(parents=True)
    away.mkdir()
    monkeypatch.chdir(home)
    Path("a/part.py").write_text(NORMALIZER.format(top=50.0))
    Path("part.py").write_text(BACKBONE)
    start = {"conv.weight": torch.ones((4, 1, *(3,) * ndim)), "conv.bias": torch.ones(4)}
    torch.save(start, "start.pth")
    folder = phantoms[ndim]
    settings = [
        "model.backbone={name: 'part.py:Net', weights: start.pth}",
        "data.normalize=a/part.py:Scale",
        "task.classes=2",
    ]
    given = [word for line in settings for word in ("--set", line)]
    where = ("--images", folder / "images", "--labels", folder / "classes", "--out", "run")
    preset = ("--preset", f"semantic{ndim}d")
    answer = command("train", *preset, *where, *tiny(ndim, steps=1), *given)
    assert answer.code == 0, answer.err
    card = load_model("run").card
    assert [entry["file"] for entry in card["code"]] == ["a/part.py", "part.py"]
    assert str(home) not in json.dumps(card["code"])

    before = api.predict("run", next((folder / "images").iterdir()), allow_code=True)
    (home / "start.pth").unlink()
    (home / "part.py").write_text("raise RuntimeError('another part')")
    (home / "a" / "part.py").unlink()
    monkeypatch.chdir(away)
    request = ("predict", folder / "images", "--model", home / "run", "--out", away / "out")
    answer = command(*request)
    assert answer.code == 2
    assert "model.backbone=part.py:Net" in answer.err
    assert not (away / "out").exists()
    answer = command(*request, "--allow-code")
    assert answer.code == 0, answer.err
    labels = open_labels(next((away / "out").glob("*.tif")), ndim=ndim)
    assert labels.shape[-ndim:] == before.labels.shape
    after = api.predict(home / "run", next((folder / "images").iterdir()), allow_code=True)
    assert np.array_equal(before.labels, after.labels)
    monkeypatch.chdir(home)
    notes = api.predict("run", next((folder / "images").iterdir()), allow_code=True).notes
    assert any("part.py differs" in note for note in notes)


def test_two_files_of_one_name_are_two_modules(tmp_path):
    from unmask.lookup import Choice, build

    for folder, value in (("a", 1.0), ("b", 2.0)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "part.py").write_text(NORMALIZER.format(top=value))
    names = [f"{tmp_path / folder / 'part.py'}:Scale" for folder in ("a", "b")]
    one, two = (build(Choice(name), {}, "data.normalize") for name in names)
    assert (one.top, two.top) == (1.0, 2.0)
    assert type(one).__module__ != type(two).__module__
    assert type(build(Choice(names[0]), {}, "data.normalize")) is type(one)
