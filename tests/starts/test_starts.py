"""Start weights: which are taken, what is reported, and when a trial turns them down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import unmask
from unmask import shipped
from unmask.api.defaults import choose_model_for
from unmask.build import new_segmenter
from unmask.checkpoint import load_model, save_model
from unmask.crossvalidation.record import load_scores
from unmask.errors import CheckpointError, DataError, RecipeError
from unmask.models.base import Objective
from unmask.recipe import Recipe, load
from unmask.shipped.starts import find_start
from unmask.starts import choose, trial

PRESETS = {2: "cells", 3: "cells3d"}
DATA = {"name": "7 synthetic images", "license": "Apache-2.0"}


def recipe(ndim: int, *more: str) -> Recipe:
    tiny = (
        f"data.crop={[16] * ndim}",
        "data.augment=[]",
        "model.backbone={name: resunet, width: 4, depth: 2}",
        "train.batch_size=1",
        "train.warmup=1",
        "train.steps=9",
        "train.precision='32'",
        "infer.tile=null",
    )
    return load(PRESETS[ndim]).with_settings([*tiny, *more])


def state(network: Objective) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(network: Objective, before: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.fixture(params=[2, 3], ids=["2d", "3d"])
def start(request, tmp_path, monkeypatch) -> tuple[int, Path]:
    """A shipped start of two or three axes for three channels, and nothing else."""
    ndim = request.param
    given = recipe(ndim, "data.channels=3", "train.seed=5")
    file = tmp_path / f"phantoms{ndim}d.safetensors"
    card = {"recipe": given.model_dump(mode="json"), "data": DATA, "license": "Apache-2.0"}
    save_model(file, new_segmenter(given).state_dict(), card)
    monkeypatch.setattr(shipped, "names", lambda: {file.stem: file})
    return ndim, file


def test_none_is_the_network_of_the_recipe(start, tmp_path):
    network = new_segmenter(recipe(start[0]))
    before = state(network)
    for init in (None, "none"):
        chosen = choose.choose_start(init, network, recipe(start[0]), folder=tmp_path)
        assert chosen == choose.Chosen("none")
    assert same(network, before)


def test_channels_and_tasks_are_adapted_and_reported(start, tmp_path):
    ndim, file = start
    other = recipe(ndim, "data.channels=1", "task={name: semantic, classes: 2}")
    network = new_segmenter(other)
    chosen = choose.choose_start("phantoms", network, other, folder=tmp_path)
    assert chosen.model == file.stem
    assert not chosen.unsure
    text = " ".join(chosen.lines)
    for words in ("7 synthetic images", "backbone 100% taken over", "stem.conv.weight",
                  "decoder 100% taken over", "head not taken over"):  # fmt: skip
        assert words in text
    first, mine = load_model(file).weights, network.state_dict()["backbone.stem.conv.weight"]
    assert torch.allclose(mine, first["backbone.stem.conv.weight"].sum(1, keepdim=True))
    assert chosen.to_card() == {
        "start": {"model": file.stem, "data": DATA, "license": "Apache-2.0"}
    }


def test_another_backbone_starts_from_random_weights(start, tmp_path):
    ndim, file = start
    other = recipe(ndim, "model.backbone.width=6")
    network = new_segmenter(other)
    before = state(network)
    for init in ("auto", "phantoms"):
        chosen = choose.choose_start(init, network, other, folder=tmp_path)
        assert chosen.model is None
        assert len(chosen.lines) == 1
        for words in (file.stem, "width 4", "width 6", "random weights", "--set 'model.backbone="):
            assert words in chosen.lines[0]
    assert same(network, before)
    with pytest.raises(CheckpointError, match=r"leave out\s+--init"):
        choose.choose_start(str(file), network, other, folder=tmp_path)


def test_axes_without_a_start_are_reported_if_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "names", dict)
    network = new_segmenter(recipe(3))
    for init, words in (("auto", ""), ("phantoms", "no start weights for 3D images")):
        chosen = choose.choose_start(init, network, recipe(3), folder=tmp_path)
        assert chosen.model is None
        assert words in " ".join(chosen.lines)


def run(phantoms, out: Path, init: str | None, ndim: int, **more) -> unmask.api.Run:
    folder = phantoms[ndim]
    return unmask.train(
        recipe(ndim, "data.channels=1", "data.holdout=0"),
        images=folder / "images",
        labels=folder / "labels",
        out=out,
        init=init,
        **more,
    )


def test_a_start_that_helps_is_used_and_kept_by_a_run_that_resumes(
    start, phantoms, tmp_path, monkeypatch
):
    ndim, file = start
    monkeypatch.setattr(trial, "_PART", 1)
    losses = iter([1.0, 2.0])
    monkeypatch.setattr(trial, "_loss", lambda *_, **__: next(losses))
    model = load_model(run(phantoms, tmp_path / "r", "auto", ndim).model)
    assert model.card["start"]["license"] == "Apache-2.0"
    note = json.loads((tmp_path / "r" / "start.json").read_text())
    assert note["model"] == file.stem
    assert note["trial"] == {"updates": 9, "loss_with": 1.0, "loss_without": 2.0}
    assert "The start weights are used." in note["lines"][-1]
    again = choose.choose_start(
        "none", new_segmenter(recipe(ndim)), recipe(ndim), folder=tmp_path / "r", resume=True
    )
    assert again.model == file.stem
    (tmp_path / "r" / "start.json").write_text("{}")
    with pytest.raises(DataError, match=r"start\.json.*Restore it"):
        run(phantoms, tmp_path / "r", "auto", ndim, resume=True)


def test_weights_that_know_the_task_are_scored_before_the_first_update(
    start, phantoms, tmp_path, capsys
):
    ndim, file = start
    more = ["train.folds=2", "train.steps=4", "train.validate_every=2", "train.workers=0"]
    folder = phantoms[ndim]
    given = {"images": folder / "images", "labels": folder / "labels", "init": str(file)}
    done = unmask.train(recipe(ndim, "data.channels=1", *more), **given, out=tmp_path / "folds")
    scores = load_scores(done.folder)
    assert scores is not None
    assert scores.curve.steps == (0, 2, 4)
    # The score before the first update is that of the start weights on the images held out.
    assert (
        (tmp_path / "folds" / "folds" / "1" / "journal.jsonl")
        .read_text()
        .startswith('{"step": 0, "validation/')
    )
    assert load_model(done.model).card["start"]["data"] == DATA
    assert "Before the first update, the start weights have f1@0.5" in capsys.readouterr().err
    semantic = recipe(ndim, "data.channels=1", "task={name: semantic, classes: 2}")
    other = choose.choose_start(str(file), new_segmenter(semantic), semantic, folder=tmp_path)
    assert not other.whole


def test_a_start_that_harms_is_left_out(start, phantoms, tmp_path, monkeypatch):
    """The run then equals one without it, bit by bit."""
    ndim, file = start
    model = load_model(file)
    save_model(file, {name: 30 * value for name, value in model.weights.items()}, model.card)
    find_start.__globals__["_read"].cache_clear()
    monkeypatch.setattr(trial, "_PART", 1)
    tried = load_model(run(phantoms, tmp_path / "auto", "auto", ndim).model)
    plain = load_model(run(phantoms, tmp_path / "none", None, ndim).model)
    assert not (tmp_path / "none" / "start.json").exists()
    note = json.loads((tmp_path / "auto" / "start.json").read_text())
    assert note["model"] is None
    assert note["trial"]["loss_with"] > note["trial"]["loss_without"]
    assert "start" not in tried.card
    assert all(torch.equal(tried.weights[name], value) for name, value in plain.weights.items())


def test_short_trainings_take_the_start_untried(start, phantoms, tmp_path):
    ndim, file = start
    run(phantoms, tmp_path / "r", "auto", ndim)
    note = json.loads((tmp_path / "r" / "start.json").read_text())
    assert (note["model"], note["trial"]) == (file.stem, {})
    assert "too few for a trial" in note["lines"][-1]


@pytest.mark.parametrize(
    ("ndim", "presets"),
    [(2, ("cells", "membranes2d", "semantic2d")), (3, ("cells3d", "semantic3d"))],
    ids=["2d", "3d"],
)
def test_the_shipped_start_fits_the_presets(ndim, presets):
    start = find_start(ndim)
    assert start is not None
    for preset in presets:
        mine, theirs = load(preset).model, start.recipe.model
        assert (mine.backbone, mine.decoder) == (theirs.backbone, theirs.decoder), preset


def test_prediction_without_a_model_takes_the_shipped_one(phantoms, command, tmp_path):
    image = sorted((phantoms[2] / "images").iterdir())[0]
    answer = command("predict", image, "--out", tmp_path / "o")
    assert answer.code == 0, answer.err
    for words in (
        "Model: generalist2d",
        "not trained on your images",
        "synthetic images",
        "nuclei, phantoms2d, phantoms3d (--model)",
    ):
        assert words in answer.err + answer.out
    assert (tmp_path / "o" / f"{image.stem}.tif").is_file()


def test_prediction_of_axes_without_a_shipped_model_is_refused(
    phantoms, command, tmp_path, monkeypatch
):
    monkeypatch.setattr(shipped, "names", dict)
    answer = command("predict", phantoms[3] / "images", "--out", tmp_path / "o3")
    assert answer.code == 2
    for words in ("expected 2D or 3D images", "found 3 spatial axes", "--model", "unmask synth"):
        assert words in answer.err
    assert not (tmp_path / "o3").exists()


def test_an_array_without_a_model():
    notes: list[str] = []
    assert choose_model_for(torch.zeros(8, 9).numpy(), say=notes.append) == "generalist2d"
    assert "synthetic images" in notes[0]
    volume = torch.zeros(8, 9, 9).numpy()
    assert choose_model_for(volume, axes="ZYX", say=notes.append) == "phantoms3d"
    assert choose_model_for(volume, axes="ZYX", planes="z", say=notes.append) == "generalist2d"


@pytest.mark.parametrize("ndim", [2, 3], ids=["2d", "3d"])
def test_synthetic_images_are_a_second_source(ndim, phantoms, tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "names", dict)
    more = {"replay_images": "phantoms:nuclei,worms"}
    model = load_model(run(phantoms, tmp_path / "r", None, ndim, **more).model)
    assert model.card["recipe"]["data"]["replay"]["batch"] == 1
    with pytest.raises(RecipeError, match=r"found worm\. .*phantoms:nuclei,worms"):
        run(phantoms, tmp_path / "w", None, ndim, replay_images="phantoms:worm")
    with pytest.raises(RecipeError, match=r"task of objects.*semantic"):
        unmask.train(
            recipe(ndim, "task={name: semantic, classes: 2}"),
            images=phantoms[ndim] / "images",
            labels=phantoms[ndim] / "classes",
            out=tmp_path / "c",
            replay_images="phantoms",
        )
