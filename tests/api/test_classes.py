"""Classification from files to scores: train, predict, evaluate; and what is refused."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

import unmask
from unmask.api.classes import class_scores
from unmask.checkpoint import load_model
from unmask.crossvalidation.split import class_notes, class_of, hold_out, validation_notes
from unmask.data.pairs import Pair
from unmask.data.tables import ImageClass
from unmask.errors import DataError
from unmask.io import Image, open_image, save_image

SHAPES = {2: (40, 36), 3: (10, 34, 33)}
NAMES = ("dark", "light", "striped")


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """By number of axes: images of three kinds, and a table that says which."""
    found = {}
    for ndim, shape in SHAPES.items():
        folder = tmp_path_factory.mktemp(f"kinds{ndim}")
        rng = np.random.default_rng(0)
        lines = ["name,class"]
        for number in range(12):
            kind = number % 3
            image = rng.normal((60, 160, 110)[kind], 20, shape)
            if kind == 2:
                image[..., ::4] += 100
            name = f"{number:02}"
            save_image(folder / "images" / f"{name}.tif", image.clip(0, 255).astype(np.uint8))
            lines.append(f"{name},{NAMES[kind]}")
        (folder / "classes.csv").write_text("\n".join(lines) + "\n")
        found[ndim] = folder
    return found


def settings(tiny, ndim, *, steps):
    lines = [
        f"task.classes={list(NAMES)}",
        "data.normalize={name: window, low: 0, high: 255}",
        "data.augment=[]",
        "data.holdout=0.5",
        "train.lr=0.01",
        "train.warmup=2",
        "train.ema=0",
    ]
    return [*tiny(ndim, steps=steps), *(part for line in lines for part in ("--set", line))]


@pytest.mark.parametrize("ndim", SHAPES)
def test_from_files_to_figures(ndim, sets, tiny, command, tmp_path):
    folder = sets[ndim]
    files = ("--images", folder / "images", "--labels", folder / "classes.csv")
    given = settings(tiny, ndim, steps=20)
    preset = ("--preset", f"classify{ndim}d")
    answer = command("check", folder / "images", *files[2:], *preset, *given)
    assert answer.code == 0, answer.err + answer.out
    answer = command("train", *preset, *files, "--out", tmp_path / "run", *given)
    assert answer.code == 0, answer.err
    # The command that is printed at the end compares tables.
    words = next(line for line in answer.err.splitlines() if "unmask evaluate" in line).split()
    assert words[3] == str(folder / "classes.csv")
    assert words[5] == str(tmp_path / "run-predicted" / "predicted.csv")
    metrics = load_model(tmp_path / "run").card["metrics"]
    assert set(metrics) == {"balanced_accuracy", "accuracy", "auc"}
    where = ("--model", tmp_path / "run", "--out", tmp_path / "out")
    answer = command("predict", folder / "images", *where)
    assert answer.code == 0, answer.err
    with (tmp_path / "out" / "predicted.csv").open() as handle:
        lines = list(csv.DictReader(handle))
    assert list(lines[0]) == ["name", "class", *NAMES]
    assert [line["name"] for line in lines] == [f"{number:02}" for number in range(12)]
    for line in lines:
        shares = [float(line[name]) for name in NAMES]
        assert sum(shares) == pytest.approx(1, abs=1e-5)
        assert line["class"] == NAMES[int(np.argmax(shares))]
    tables = ("--truth", folder / "classes.csv", "--predicted", tmp_path / "out" / "predicted.csv")
    answer = command("evaluate", *tables, "--out", tmp_path / "report.json")
    assert answer.code == 0, answer.err
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["summary"]["auc"]["mean"] > 0.8
    right = [row["truth"] == row["predicted"] for row in report["images"]]
    assert report["summary"]["accuracy"] == pytest.approx(
        {"mean": np.mean(right), "median": np.mean(right), "n": 12, "undefined": 0}
    )
    result = unmask.predict(tmp_path / "run", folder / "images" / "00.tif")
    assert result.classes is not None
    first = lines[0]
    assert next(iter(result.classes)) == first["class"]
    assert result.classes["dark"] == pytest.approx(float(first["dark"]), abs=1e-5)
    assert (result.labels == NAMES.index(first["class"]) + 1).all()
    refused = command("predict", folder / "images", *where, "--scores")
    assert refused.code == 2
    assert "whole images" in refused.err
    assert "--scores: expected options" in refused.err
    assert "Leave it out: predicted.csv has the probabilities of all classes." in refused.err
    others = ("--overlay", "--label-name", "x", "--in-place", "--overwrite")
    refused = command("predict", folder / "images", *where, *others)
    assert refused.code == 2
    assert "Error: --overlay, --in-place, --label-name: expected" in refused.err
    assert "report.html` shows the images" in refused.err
    # One table is written at the end, and --resume is refused as well.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unmask.api.classes.write_classes", interrupt)
        answer = command("predict", folder / "images", *where, "--overwrite")
    assert answer.code == 130
    again = "Nothing of this run is kept. Start again with: unmask predict"
    assert f"{again} {folder / 'images'}" in answer.err
    assert "--resume" not in answer.err


def interrupt(*_, **__):
    raise KeyboardInterrupt


def test_figures_of_one_class_only():
    """There is nothing to rank, so the area is not defined; the others are."""
    shares = np.array([[0.9, 0.2, 0.6], [0.1, 0.8, 0.4]])
    found = class_scores(np.array([1, 1, 1]), shares)
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert np.isnan(found["auc"])


def test_area_under_the_curve_is_of_each_class_against_the_rest():
    shares = np.array([[0.6, 0.5, 0.3], [0.3, 0.4, 0.2], [0.1, 0.1, 0.5]])
    assert class_scores(np.array([1, 2, 3]), shares, ["auc"])["auc"] == pytest.approx(1.0)
    assert class_scores(np.array([2, 1, 3]), shares, ["auc"])["auc"] == pytest.approx(2 / 3)


def write(path, text):
    path.write_text(text)
    return path


def test_tables_without_probabilities(tmp_path):
    truth = write(tmp_path / "t.csv", "name,class\na,x\nb,y\nc,y\nd,y\n")
    predicted = write(tmp_path / "p.csv", "name,class\na,x\nb,y\nc,x\nd,x\n")
    report = unmask.evaluate(truth=truth, predicted=predicted)
    assert report.summary["accuracy"]["mean"] == 0.5
    assert report.summary["balanced_accuracy"]["mean"] == pytest.approx((1 + 1 / 3) / 2)
    assert "auc" not in report.summary


def test_one_class_in_the_truth_is_reported_as_undefined(tmp_path):
    truth = write(tmp_path / "t.csv", "name,class\na,x\nb,x\n")
    predicted = write(tmp_path / "p.csv", "name,class,x,y\na,x,0.7,0.3\nb,y,0.2,0.8\n")
    report = unmask.evaluate(truth=truth, predicted=predicted)
    assert report.summary["auc"]["undefined"] == 2
    assert report.summary["accuracy"]["mean"] == 0.5


@pytest.mark.parametrize(
    ("predicted", "message"),
    [
        ("name,class,x,y\na,x,1,0\n", "'b': expected an answer"),
        ("name,class,x,z\na,x,1,0\nb,x,1,0\n", "'b': expected a class of x, z, found 'y'"),
        ("name,class,x,y\na,x,1,0\nb,y,?,1\n", "'b': expected a number for each of x, y"),
    ],
)
def test_answers_that_do_not_fit(tmp_path, command, predicted, message):
    truth = write(tmp_path / "t.csv", "name,class\na,x\nb,y\n")
    answer = command(
        "evaluate", "--truth", truth, "--predicted", write(tmp_path / "p.csv", predicted)
    )
    assert answer.code == 2
    assert message in answer.err


def test_a_misspelled_table_of_the_truth_is_named(tmp_path):
    for name in ("truth.csv", "predicted.csv"):
        (tmp_path / name).write_text("name,class\na,ill\n")
    with pytest.raises(DataError, match=r"truth\.cvs.*no such file.*Did you mean .*truth\.csv"):
        unmask.evaluate(truth=tmp_path / "truth.cvs", predicted=tmp_path / "predicted.csv")


def test_volumes_on_another_grid(sets, tiny, command, tmp_path):
    """Classes are learned and predicted at the recipe's voxel size."""
    given = settings(tiny, 3, steps=2)
    for path in sorted((sets[3] / "images").iterdir()):
        array = open_image(path, ndim=3).read()
        save_image(tmp_path / "images" / path.name, array, axes="CZYX", spacing=(2.0, 1.0, 1.0))
    where = ("--images", tmp_path / "images", "--labels", sets[3] / "classes.csv")
    spacing = ("--set", "data.spacing=[2.0,1.3,1.3]", "--out", tmp_path / "run")
    answer = command("train", "--preset", "classify3d", *where, *given, *spacing)
    assert answer.code == 0, answer.err
    out = ("--model", tmp_path / "run", "--out", tmp_path / "out")
    assert command("predict", tmp_path / "images", *out).code == 0
    result = unmask.predict(tmp_path / "run", tmp_path / "images" / "03.tif")
    with (tmp_path / "out" / "predicted.csv").open() as handle:
        line = next(line for line in csv.DictReader(handle) if line["name"] == "03")
    assert result.classes is not None
    assert result.classes["dark"] == pytest.approx(float(line["dark"]), abs=1e-5)
    assert result.labels.shape == SHAPES[3]


def labeled(*classes):
    """Pairs of tiny images with these classes."""
    found = []
    for number, value in enumerate(classes):
        image = Image.from_array(np.zeros((4, 4), np.uint8), name=str(number), ndim=2)
        found.append(Pair(str(number), image, ImageClass("t.csv", value).labels(image)))
    return found


@pytest.mark.parametrize(
    ("classes", "share", "held"),
    [
        ((1, 1, 1, 2, 2, 2), 0.1, [1, 2]),
        ((1,) * 18 + (2, 2), 0.1, [1, 1, 2]),
        ((1, 1, 1, 1, 2), 0.5, [1, 1]),
        ((1, 1, 2, 2, 3, 3), 0.99, [1, 2, 3]),
        ((1, 1, 2, 2), 0.5, []),
        ((1, 1, 2, 2, 2), 0.0, []),
    ],
)
def test_every_class_is_held_out_and_trained_on(classes, share, held):
    pairs = labeled(*classes)
    for seed in range(5):
        kept, out = hold_out(pairs, share, seed=seed, classes=True)
        assert sorted(map(class_of, out)) == held
        assert {class_of(pair) for pair in kept} == set(classes)
        assert len(kept) + len(out) == len(pairs)


def test_classes_of_too_few_images_are_noted():
    notes = class_notes(labeled(1, 1, 1, 2), NAMES)
    assert "class light (images: 3 dark, 1 light, 0 striped)" in notes[0]
    assert "class striped" in notes[1]
    assert not class_notes(labeled(1, 1, 2, 2, 3, 3), NAMES)
    assert "class striped" in validation_notes(labeled(1, 2), NAMES)[0]
    assert not validation_notes(labeled(3, 1, 2), NAMES)


@pytest.fixture
def compared(tmp_path):
    """Images of two classes with a table of four lines, and answers for three of the images."""
    for name in "abc":
        save_image(tmp_path / "images" / f"{name}.tif", np.arange(30, dtype=np.uint8).reshape(5, 6))
    write(tmp_path / "t.csv", "name,class\na,x\nb,y\nc,y\nother,x\n")
    (tmp_path / "out").mkdir()
    write(
        tmp_path / "out" / "predicted.csv",
        "name,class,x,y\na,x,0.9,0.1\nb,x,0.6,0.4\nc,x,0.8,0.2\n",
    )
    return tmp_path


def evaluate_tables(command, folder, *more, predicted="out/predicted.csv"):
    truth = ("--truth", folder / "t.csv", "--predicted", folder / predicted)
    return command("evaluate", *truth, *more)


def test_a_page_of_classes(compared, command):
    page = compared / "report.html"
    given = ("--images", compared / "images", "--out", page)
    answer = evaluate_tables(command, compared, *given)
    assert answer.code == 0, answer.err
    assert "1 line is of images that are not among --images" in answer.out
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/jpeg;base64,") == 3
    assert text.index("c, y, predicted x") < text.index("b, y, predicted x")
    assert text.index("b, y, predicted x") < text.index("a, x, right")
    matrix = text[text.index("Confusion matrix") :]
    for cell in ("predicted x", '<td class="text">y</td><td data-value="2.0">2</td>'):
        assert cell in matrix
    assert "2 of 3 are wrong" in text


def test_a_page_of_classes_without_pictures(compared, command):
    write(compared / "t.csv", "name,class\na,x\nb,y\n")
    answer = evaluate_tables(command, compared, "--out", compared / "report.html")
    assert answer.code == 0, answer.err
    assert "data:image" not in (compared / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("metric", ["f1@0.5", "hd95", "aji"])
def test_metrics_that_whole_images_do_not_have(compared, command, metric):
    answer = evaluate_tables(command, compared, "--metrics", metric)
    assert answer.code == 2
    assert f"--metrics {metric}: expected metrics for the classes of whole images" in answer.err
    assert "accuracy, balanced_accuracy, auc, dice, iou" in answer.err


def test_metrics_of_every_class(compared, command):
    given = ("--images", compared / "images", "--metrics", "dice/*")
    answer = evaluate_tables(command, compared, *given)
    assert answer.code == 0, answer.err
    assert "dice/1" in answer.out
    assert "dice/2" in answer.out


def test_the_folder_of_a_table_and_voxels_to_ignore(compared, command):
    answer = evaluate_tables(command, compared, predicted="out")
    assert answer.code == 2
    assert f"Give --predicted {compared / 'out' / 'predicted.csv'}" in answer.err
    answer = evaluate_tables(command, compared, "--ignore", "1")
    assert answer.code == 2
    assert "which have no voxels" in answer.err


def test_images_of_another_table(compared, command):
    save_image(compared / "more" / "z.tif", np.ones((5, 6), np.uint8))
    answer = evaluate_tables(command, compared, "--images", compared / "more")
    assert answer.code == 2
    assert "expected lines of the images of --images, such as 'z'" in answer.err


def test_a_table_without_a_preset(sets, command, tmp_path):
    """A table is not asked for again, and the preset has the axes of the images."""
    folder = sets[3]
    given = (folder / "images", "--labels", folder / "classes.csv")
    answer = command("train", *given, "--out", tmp_path / "run")
    assert answer.code == 2
    assert "found a table of classes" in answer.err
    assert "Give --labels" not in answer.err
    assert "--preset classify3d --set 'task.classes=[" in answer.err
    answer = command("check", *given, "--set", "data.crop=[8, 16, 16]")
    assert answer.code == 0, answer.err
    line = next(line for line in answer.out.splitlines() if "unmask train" in line)
    assert "--preset classify3d" in line
