"""Label curves end to end on phantoms: trained, killed, resumed; wrong requests."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from unmask import api
from unmask.apps import curve, curve_runs
from unmask.apps.curve import Files, Plan, run_curve
from unmask.apps.curve_plan import divide_pairs, facts, record_plan
from unmask.apps.curve_starts import shipped_starts
from unmask.checkpoint import load_model
from unmask.errors import CheckpointError, DataError, RecipeError
from unmask.phantoms.cells import write_set
from unmask.recipe import load

SMALL = (
    "model.backbone={name: resunet, width: 4, depth: 2}",
    "data.crop=[16, 16]",
    "data.channels=1",
    "data.normalize={name: percentile, low: 2.0, high: 98.0}",
    "train.steps=2",
    "train.batch_size=2",
    "train.precision='32'",
)
PRETRAIN = ("data.crop=[16, 16]", "train.steps=2", "train.batch_size=2", "train.precision='32'")
EMPTY, IMAGES, LABELS = "empty", "images", "labels"
VIT = ("model.backbone={name: vit, patch: [8, 8], dim: 24, depth: 2, heads: 2}",)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_set(tmp_path_factory.mktemp("set"), "nuclei", shape=(24, 32), count=6, seed=1)


def files(folder, **more):
    return Files(folder / "images", folder / "classes", unlabeled=folder / "images", **more)


def plan(**more):
    given = {"counts": (1, 4), "repeats": 2, "pretrain": ("spark2d",), "settings": SMALL}
    return Plan(**{**given, "pretrain_settings": PRETRAIN, **more})


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "curve"
    run_curve("semantic2d", files(folder), out=out, plan=plan(), say=lambda _: None)
    return out


def test_table_plot_and_sentence(whole):
    lines = (whole / "curve.csv").read_text().splitlines()
    assert lines[0] == "start,labels,repeat,updates,dice,iou,accuracy,run"
    assert [line.split(",")[:3] for line in lines[1:]] == [
        [start, count, repeat]
        for start in ("scratch", "spark2d")
        for count in "14"
        for repeat in "01"
    ]
    found = json.loads((whole / "curve.json").read_text())
    assert found["metric"] == "dice"
    assert found["sentences"][0].startswith("With 1 labeled image, spark2d scores like ")
    assert len(found["settings"]["validation"]) == 1
    assert not set(found["settings"]["validation"]) & set(found["settings"]["training"])


def test_every_training_is_an_ordinary_run(whole, folder):
    pretrained = load_model(whole / "runs" / "pretrained-spark2d").card["recipe"]
    trained = load_model(whole / "runs" / "spark2d-1-0").card["recipe"]
    assert pretrained["data"]["normalize"] == trained["data"]["normalize"]
    assert pretrained["data"]["normalize"]["low"] == 2
    assert pretrained["model"]["backbone"] == trained["model"]["backbone"]
    runs = sorted(path.name for path in (whole / "runs").iterdir())
    assert "pretrained-spark2d" in runs
    assert len(runs) == 1 + 8
    first, second = (load_model(whole / "runs" / f"{s}-4-1").card for s in ("scratch", "spark2d"))
    assert first["recipe"]["train"]["seed"] == second["recipe"]["train"]["seed"] == 1
    assert first["data"].keys() == second["data"].keys()
    assert len(first["data"]) == 8
    one = load_model(whole / "runs" / "scratch-1-1").card["data"]
    assert set(one) < set(first["data"])  # nested draws
    result = api.predict(whole / "runs" / "scratch-1-0", folder / "images" / "nuclei_000.tif")
    assert result.labels.shape == (24, 32)


@pytest.mark.slow
def test_ended_and_resumed_gives_the_same_table(whole, folder, tmp_path, monkeypatch):
    train, calls = api.train, []

    def ended(*given, **named):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return train(*given, **named)

    monkeypatch.setattr(curve_runs.api, "train", ended)
    out = tmp_path / "curve"
    with pytest.raises(KeyboardInterrupt):
        run_curve("semantic2d", files(folder), out=out, plan=plan(), say=lambda _: None)
    with pytest.raises(CheckpointError, match="--resume"):
        run_curve("semantic2d", files(folder), out=out, plan=plan())
    said: list[str] = []
    run_curve("semantic2d", files(folder), out=out, plan=plan(), resume=True, say=said.append)
    assert len(calls) == 4 + 5
    assert not any(line.startswith("Pre-training") for line in said)
    for name in ("curve.csv", "curve.json"):
        assert (out / name).read_text() == (whole / name).read_text()
    # a third time nothing is trained
    run_curve("semantic2d", files(folder), out=out, plan=plan(), resume=True, say=said.append)
    assert len(calls) == 4 + 5


@pytest.mark.slow
def test_resume_takes_more_repeats_but_no_other_recipe(whole, folder, tmp_path):
    out = tmp_path / "curve"
    shutil.copytree(whole, out)
    other = plan(settings=(*SMALL, "train.lr=0.5"))
    with pytest.raises(CheckpointError, match=r"another recipe \(train.lr: 0.001 before, 0.5 now"):
        run_curve("semantic2d", files(folder), out=out, plan=other, resume=True)
    more = plan(counts=(1,), repeats=3)
    rows = run_curve(
        "semantic2d", files(folder), out=out, plan=more, resume=True, say=lambda _: None
    )
    assert len(rows) == 6


def touched(path, seconds=1):
    """Give a file another time of change."""
    now = path.stat().st_mtime_ns + seconds * 1_000_000_000
    os.utime(path, ns=(now, now))


def test_resume_refuses_files_that_changed(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "set")
    model, out = tmp_path / "model.safetensors", tmp_path / "curve"
    model.write_bytes(b"weights")
    recipe, where = load("semantic2d").with_settings(SMALL), files(tmp_path / "set")

    def now(start="mine", *, unlabeled=True):
        pairs, held_out = divide_pairs(recipe, where)
        images = [*pairs, *held_out] if unlabeled else []
        given = plan(starts={start: str(model)})
        return facts(recipe, given, pairs, held_out, (1,), images)

    before = now()
    record_plan(out, before, resume=False)
    record_plan(out, now(), resume=True)
    training, validation = (min(before["files"][name]) for name in ("training", "validation"))
    for path, words in (
        (Path(training).parents[1] / "classes" / Path(training).name, "another training file"),
        (Path(validation), "another validation file"),
        (Path(validation), "image without labels"),
        (model, r"another model to start from \(mine\)"),
    ):
        touched(path)
        with pytest.raises(CheckpointError, match=words) as caught:
            record_plan(out, now(), resume=True)
        assert path == model or path.name in str(caught.value)
        touched(path, -1)
    # what is left out for once is still known when it comes back
    record_plan(out, now("other", unlabeled=False), resume=True)
    touched(model)
    with pytest.raises(CheckpointError, match=r"model to start from \(mine\)"):
        record_plan(out, now(), resume=True)


def test_resume_of_a_curve_that_noted_no_files(folder, tmp_path):
    recipe = load("semantic2d").with_settings(SMALL)
    pairs, held_out = divide_pairs(recipe, files(folder))
    given = facts(recipe, plan(), pairs, held_out, (1,))
    older = {name: value for name, value in given.items() if name != "files"}
    (tmp_path / "plan.json").write_text(json.dumps(older))
    record_plan(tmp_path, given, resume=True)
    assert json.loads((tmp_path / "plan.json").read_text())["files"] == given["files"]


@pytest.mark.parametrize(
    ("preset", "unasked", "backbone"),
    [
        ("mae_pets", "spark2d", "resnet"),
        ("pea_cvppp", "spark2d", "resunet_pea"),
        ("pea_ac34", "spark3d", "superhuman"),
        ("mediar", "spark2d", "resunet"),
    ],
)
def test_unasked_pre_training_takes_the_network_that_it_can(preset, unasked, backbone):
    where = Files("images", "labels", unlabeled="images")
    small = () if preset != "mediar" else ("model.backbone={name: mit, size: b0}",)
    recipe = load(preset).with_settings(small)
    found = curve._pretrainings(recipe, Plan(), where, Path("out"))
    assert list(found) == [unasked]
    assert found[unasked].recipe.model.backbone.name == backbone
    if backbone != "resunet":
        assert found[unasked].recipe.model.backbone == recipe.model.backbone
    named = curve._pretrainings(recipe, Plan(pretrain=(unasked,)), where, Path("out"))
    assert named[unasked].recipe.model.backbone.name == "resunet"
    one = Plan(pretrain_settings=("model.backbone={name: resunet, width: 4}",))
    asked = curve._pretrainings(recipe, one, where, Path("out"))
    assert asked[unasked].recipe.model.backbone.name == "resunet"


def a_list(folder, path, *, held=()):
    """The images of ``folder`` as ``dataset.json``; ``held`` are its own validation."""
    images = sorted((folder / "images").iterdir())
    cases = [{"image": str(p), "label": str(folder / "classes" / p.name)} for p in images]
    parts = {
        "training": [case for n, case in enumerate(cases) if n not in held],
        "validation": [case for n, case in enumerate(cases) if n in held],
    }
    path.write_text(json.dumps(parts))
    return path


def test_a_list_says_what_is_held_out(folder, tmp_path):
    recipe = load("semantic2d").with_settings(SMALL)
    own = a_list(folder, tmp_path / "dataset.json", held=(2, 4))
    training, held_out = divide_pairs(recipe, Files(str(own), str(own)))
    assert [pair.name for pair in held_out] == ["nuclei_002", "nuclei_004"]
    assert len(training) == 4
    whole = a_list(folder, tmp_path / "whole.json")
    parts = [divide_pairs(recipe.with_settings([f"data.fold={n}"]), Files(str(whole), str(whole)))
             for n in range(5)]  # fmt: skip
    assert sorted(pair.name for _, held in parts for pair in held) == [
        f"nuclei_{n:03d}" for n in range(6)
    ]
    assert all(pair.labels is not None for part in parts for pairs in part for pair in pairs)
    with pytest.raises(RecipeError, match=r"data\.fold=0: expected a list"):
        divide_pairs(recipe.with_settings(["data.fold=0"]), files(folder))


def test_a_fold_is_trained(folder, tmp_path):
    whole = str(a_list(folder, tmp_path / "whole.json"))
    given = plan(counts=(1,), repeats=1, pretrain=(), settings=(*SMALL, "data.fold=1"))
    rows = run_curve(
        "semantic2d", Files(whole, whole), out=tmp_path / "o", plan=given, say=lambda _: None
    )
    assert rows[0].metrics


@pytest.mark.slow
def test_models_of_another_backbone_bring_it_along_and_its_own_scratch(folder, tmp_path):
    settings = ("data.channels=1", *PRETRAIN, *VIT)
    api.pretrain("mae2d", images=folder / "images", out=tmp_path / "mae", settings=settings)
    given = plan(
        counts=(2,),
        repeats=1,
        pretrain=("mae2d",),
        pretrain_settings=(*PRETRAIN, *VIT),
        starts={"mae": str(tmp_path / "mae")},
    )
    out = tmp_path / "curve"
    rows = run_curve("semantic2d", files(folder), out=out, plan=given, say=lambda _: None)
    assert [(row.start, row.against) for row in rows] == [
        ("scratch", "scratch"),
        ("scratch-vit", "scratch-vit"),
        ("mae", "scratch-vit"),
        ("mae2d", "scratch-vit"),
    ]
    recipes = [load_model(out / row.run).card["recipe"] for row in rows]
    assert [recipe["model"]["backbone"]["name"] for recipe in recipes] == ["resunet", *["vit"] * 3]
    assert recipes[1] == recipes[2] == recipes[3]


@pytest.mark.slow
@pytest.mark.parametrize(("network", "preset"), [((), "spark2d"), (VIT, "mae2d")])
def test_unlabeled_images_are_used_unasked(folder, tmp_path, network, preset):
    given = plan(counts=(1,), repeats=1, pretrain=(), settings=(*SMALL, *network), equal="seconds")
    rows = run_curve(
        "semantic2d", files(folder), out=tmp_path / "curve", plan=given, say=lambda _: None
    )
    assert [row.start for row in rows][::2] == ["scratch", preset]
    assert rows[1].start == rows[2].against == f"scratch-{rows[1].updates}-updates"
    assert (rows[0].updates or 0) < (rows[1].updates or 0)


@pytest.mark.slow
def test_a_cluster_gives_the_same_rows(whole, folder, tmp_path):
    out = tmp_path / "curve"
    shutil.copytree(whole, out)
    for name in ("scratch-1-0", "spark2d-4-1"):
        shutil.rmtree(out / "runs" / name)
    (out / "curve.json").unlink()
    given = plan(cluster="processes:2")
    rows = run_curve("semantic2d", files(folder), out=out, plan=given, resume=True)
    before = json.loads((whole / "curve.json").read_text())["rows"]
    assert [(row.start, row.labels, row.repeat) for row in rows] == [
        (row["start"], row["labels"], row["repeat"]) for row in before
    ]
    for row, other in zip(rows, before, strict=True):
        assert dict(row.metrics) == pytest.approx(other["metrics"], rel=1e-3)
    assert json.loads((out / "curve.json").read_text())["summary"]
    with pytest.raises(RecipeError, match="--workers nowhere"):
        run_curve("semantic2d", files(folder), out=out, plan=plan(cluster="nowhere"), resume=True)


@pytest.mark.slow
def test_objects_in_volumes(tmp_path):
    volumes = write_set(tmp_path, "nuclei", shape=(8, 16, 16), count=6, seed=1)
    small = [line.replace("[16, 16]", "[8, 16, 16]") for line in (*SMALL, "task.min_size=0")]
    given = Plan((2,), 1, None, ("spark3d",), (*PRETRAIN[1:], small[1]), tuple(small))
    where = Files(volumes / "images", volumes / "labels", unlabeled=volumes / "images")
    rows = run_curve("cells3d", where, out=tmp_path / "curve", plan=given, say=lambda _: None)
    assert [row.start for row in rows] == ["scratch", "spark3d"]
    assert all("f1@0.5" in row.metrics for row in rows)


def test_a_model_that_does_not_fit_is_refused_before_anything_is_trained(folder, tmp_path):
    wide = ("data.channels=1", *PRETRAIN, "model.backbone={name: resunet, width: 6, depth: 2}")
    api.pretrain("spark2d", images=folder / "images", out=tmp_path / "wide", settings=wide)
    given = plan(pretrain=(), starts={"wide": str(tmp_path / "wide")})
    where = Files(folder / "images", folder / "classes")
    with pytest.raises(CheckpointError, match="wide"):
        run_curve("semantic2d", where, out=tmp_path / "curve", plan=given)
    assert not (tmp_path / "curve").exists()


@pytest.mark.parametrize(
    ("changes", "more", "error", "words"),
    [
        ({"counts": (1, 9)}, {}, DataError, "at least 9 labeled images.*found 5"),
        ({"counts": (2, 2)}, {}, RecipeError, "different numbers"),
        ({"counts": (0,)}, {}, RecipeError, "1 or more"),
        ({"repeats": 0}, {}, RecipeError, "--repeats 0"),
        ({"settings": (*SMALL, "data.holdout=0")}, {}, DataError, "Validation.*--val-images"),
        ({"starts": {"scratch-vit": "x"}}, {}, RecipeError, "other than scratch"),
        ({"starts": {"scratch": "x"}}, {}, RecipeError, "other than scratch"),
        ({"starts": {"a/b": "x"}}, {}, RecipeError, "NAME=MODEL"),
        ({"starts": {"a": "missing"}}, {}, CheckpointError, "missing"),
        ({"pretrain": ("mae3d",)}, {}, RecipeError, "2 axes.*found 3"),
        ({"pretrain": ("cells",)}, {}, RecipeError, "found a task"),
        ({}, {"unlabeled": None}, DataError, "--unlabeled"),
        ({}, {"val_images": "x"}, DataError, "Give both"),
        ({}, {"val_images": EMPTY, "val_labels": EMPTY}, DataError, "empty"),
        ({}, {"unlabeled": EMPTY}, DataError, "empty"),
        ({}, {"val_images": IMAGES, "val_labels": LABELS}, DataError, "found 6 that are: nuclei"),
        ({"settings": (*SMALL, "data.replay={batch: 1}")}, {}, RecipeError, "data.replay=null"),
        ({"settings": (*SMALL, "data.fold=0")}, {}, RecipeError, r"found [^\[\]]*\. Leave it out"),
        ({"pretrain_settings": ("method.mask_ratio=1.0",)}, {}, RecipeError, "mask_ratio"),
    ],
)
def test_wrong_requests(folder, tmp_path, changes, more, error, words):
    (tmp_path / EMPTY).mkdir()
    known = {EMPTY: tmp_path / EMPTY, IMAGES: folder / "images", LABELS: folder / "classes"}
    more = {name: known.get(value, value) for name, value in more.items()}
    given = Files(
        **{
            **{"images": folder / "images", "labels": folder / "classes"},
            **{"unlabeled": folder / "images", **more},
        }
    )
    with pytest.raises(error, match=words):
        run_curve("semantic2d", given, out=tmp_path / "out", plan=plan(**changes))
    assert not (tmp_path / "out").exists()


def test_the_command_line(folder, tmp_path, command):
    where = ("--images", folder / "images", "--labels", folder / "classes", "--out", tmp_path / "o")
    small = [part for line in SMALL for part in ("--set", line)]
    counts = ("--labels-per-run", "1,2", "--repeats", "1", "--doublings", "0")
    answer = command("curve", "--preset", "semantic2d", *where, *small, *counts)
    assert answer.code == 0, answer.err
    assert "2/2 scratch, 2 labels, repeat 0: dice" in answer.out
    # Each training is announced before its own lines.
    lines = answer.out.splitlines()
    begins = [lines.index(f"Training: scratch, {text}, repeat 0, 2 updates ({n} of 2)")
              for n, text in ((1, "1 label"), (2, "2 labels"))]  # fmt: skip
    ends = [n for n, line in enumerate(lines) if line.startswith(("1/2", "2/2"))]
    assert begins[0] < ends[0] < begins[1] < ends[1]
    assert (tmp_path / "o" / "curve.png").is_file()
    for wrong in (("--labels-per-run", "1,x"), ("--init", "nothing")):
        answer = command("curve", "--preset", "semantic2d", *where, *wrong)
        assert answer.code == 2


@pytest.mark.slow
def test_a_real_kill(whole, folder, tmp_path):
    """SIGKILL in the middle of a training; the same command with --resume ends with the table."""
    out = tmp_path / "curve"
    where = ["--images", folder / "images", "--labels", folder / "classes", "--out", out]
    more = ["--unlabeled", folder / "images", "--pretrain", "spark2d", "--repeats", "2"]
    lists = {"--set": SMALL, "--pretrain-set": PRETRAIN}
    more += [part for flag, lines in lists.items() for line in lines for part in (flag, line)]
    program = [str(Path(sys.executable).with_name("unmask")), "curve", "--preset", "semantic2d"]
    given = [*program, *map(str, [*where, *more]), "--labels-per-run", "1,4"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(given, env=environment, stdout=subprocess.DEVNULL, stderr=-3)
    while child.poll() is None and not (out / "runs" / "scratch-4-0" / "recipe.yaml").exists():
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    # On a busy machine the curve may have ended before.
    assert child.wait() in (-signal.SIGKILL, 0)
    done = subprocess.run(
        [*given, "--resume"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (out / "curve.csv").read_text() == (whole / "curve.csv").read_text()


def test_the_start_of_a_training_joins_in(folder, tmp_path):
    """Without any other start: what `unmask train` would start from, if it fits the network."""
    preset = ("data.crop=[32, 32]", "train.batch_size=1", "train.steps=1", "train.precision='32'")
    where = Files(folder / "images", folder / "labels")
    plain = Plan(counts=(1,), repeats=1, settings=preset)
    said: list[str] = []
    rows = run_curve("cells", where, out=tmp_path / "auto", plan=plain, say=said.append)
    assert [row.start for row in rows] == ["scratch", "generalist2d"]
    assert "--init none" in said[0]
    card = load_model(tmp_path / "auto" / "runs" / "generalist2d-1-0").card
    assert card["start"]["model"] == "generalist2d"
    small = Plan(counts=(1,), repeats=1, settings=SMALL)
    for name, given in {"none": replace(plain, starts={}), "small": small}.items():
        rows = run_curve("cells", where, out=tmp_path / name, plan=given, say=said.append)
        assert [row.start for row in rows] == ["scratch"]
    assert shipped_starts(load("semantic3d").with_settings(["task.classes=2"])) == {
        "phantoms3d": "phantoms3d"
    }
