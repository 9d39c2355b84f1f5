"""Images and labels of cells as people have them, through the command line with MEDIAR's recipe."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from unmask.data.normalize import Mediar
from unmask.io import open_labels, save_image
from unmask.tasks.flows import Flows

SMALL = [
    "model.backbone={name: mit, dims: [8, 8, 16, 16], depths: [1, 1, 1, 1], heads: [1, 1, 2, 2]}",
    "model.decoder={name: manet, width: 4, attention: 4}",
    "data.crop=[32, 32]",
    "train.steps=2",
    "train.batch_size=2",
    "train.precision='32'",
    "infer.precision='32'",
    "infer.tile=[32, 32]",
]
SETTINGS = [part for line in SMALL for part in ("--set", line)]


def cells(count: int = 4, shape: tuple[int, int] = (40, 44)) -> np.ndarray:
    labels = np.zeros(shape, np.uint16)
    for number in range(count):
        row, column = divmod(number, 2)
        labels[4 + 17 * row : 18 + 17 * row, 4 + 19 * column : 20 + 19 * column] = number + 1
    return labels


def picture(labels: np.ndarray, channels: int = 3) -> np.ndarray:
    rng = np.random.default_rng(0)
    gray = 40 + 120 * (labels > 0) + rng.integers(0, 20, labels.shape)
    return np.stack([gray] * channels).astype(np.uint8)


def refused(answer, *words):
    assert answer.code == 2, answer.err
    assert "Traceback" not in answer.err
    for word in ("expected", "found", *words):
        assert str(word) in answer.err, f"{word!r} is not in: {answer.err}"


@pytest.fixture
def folder(tmp_path):
    """MEDIAR's layout: ``images/X.ext`` and ``labels/X_label.tiff``."""
    for count, (name, suffix) in enumerate({"a": "png", "b": "tif", "c": "bmp"}.items(), start=2):
        labels = cells(count)
        file = tmp_path / "images" / f"{name}.{suffix}"
        file.parent.mkdir(exist_ok=True)
        Picture.fromarray(np.moveaxis(picture(labels), 0, -1)).save(file)
        save_image(tmp_path / "labels" / f"{name}_label.tiff", labels)
    return tmp_path


@pytest.fixture
def train(command, folder):
    def run(*more, preset="mediar", images="images", labels="labels", out="run"):
        where = ["--images", folder / images, "--labels", folder / labels, "--out", folder / out]
        return command("train", "--preset", preset, *where, *SETTINGS, *more)

    return run


@pytest.fixture
def predict(command, folder):
    def run(images, *more):
        where = ("--model", folder / "run", folder / images, "--out", folder / "out")
        return command("predict", *where, *more)

    return run


def test_the_published_layout_is_read_directly(command, train, predict, folder):
    answer = train()
    assert answer.code == 0, answer.err
    assert predict("images").code == 0
    where = ("--truth", folder / "labels", "--metrics", "cellseg_f1,f1@0.5")
    out = folder / "report.json"
    # What this program predicts, and what MEDIAR's writes: X.tif and X_label.tiff.
    answer = command("evaluate", *where, "--predicted", folder / "out", "--out", out)
    assert answer.code == 0, answer.err
    assert [row["name"] for row in json.loads(out.read_text())["images"]] == ["a", "b", "c"]
    copy = shutil.copytree(folder / "labels", folder / "copy")
    answer = command("evaluate", *where, "--predicted", copy, "--out", out)
    assert answer.code == 0, answer.err
    summary = json.loads(out.read_text())["summary"]
    assert summary["cellseg_f1"]["mean"] == summary["f1@0.5"]["mean"] == 1


def test_a_missing_label_is_named_alone(train, folder):
    (folder / "labels" / "b_label.tiff").unlink()
    answer = train()
    assert answer.code == 0, answer.err
    (note,) = [line for line in answer.err.splitlines() if "have labels" in line]
    assert "b.tif" in note
    assert "a.png" not in note


def test_a_label_of_another_size(train, folder):
    save_image(folder / "labels" / "b_label.tiff", cells(shape=(44, 40)))
    refused(train(), folder / "labels" / "b_label.tiff", "(40, 44)", "(44, 40)")


def test_three_equal_channels_are_one_and_others_are_refused(train, folder):
    path = folder / "labels" / "b_label.tiff"
    save_image(path, np.stack([cells()] * 3), axes="CYX")
    assert train().code == 0
    np.testing.assert_array_equal(open_labels(path).read()[0], cells())
    save_image(path, np.stack([cells(), cells(), cells() + 1]), axes="CYX")
    refused(train(out="other"), path, "3 channels that differ")


@pytest.mark.parametrize("channels", [2, 5])
def test_other_channels_are_never_cut(train, predict, folder, channels):
    assert train().code == 0
    path = folder / "odd" / "b.tif"
    save_image(path, picture(cells(), channels), axes="CYX")
    refused(train(images="odd", out="other"), path, "3 channels", str(channels), "Split Channels")
    refused(predict("odd"), path, "3 channels", str(channels))


@pytest.mark.parametrize(("low", "code"), [(255, 0), (100, 2)])
def test_alpha_goes_only_where_it_says_nothing(train, folder, low, code):
    (folder / "images" / "b.tif").unlink()
    alpha = np.full((40, 44), 255, np.uint8)
    alpha[0, 0] = low
    array = np.moveaxis(np.concatenate([picture(cells()), alpha[None]]), 0, -1)
    Picture.fromarray(array).save(folder / "images" / "b.png")
    answer = train()
    assert answer.code == code, answer.err
    if code:
        refused(answer, folder / "images" / "b.png", "constant alpha", "between 100 and 255")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_images_of_zeros_are_trained_on_and_predicted(train, predict, folder, dtype):
    save_image(folder / "images" / "b.tif", np.zeros((40, 44), dtype))
    save_image(folder / "labels" / "b_label.tiff", np.zeros((40, 44), np.uint8))
    answer = train()
    assert answer.code == 0, answer.err
    assert '"loss": null' not in (folder / "run" / "journal.jsonl").read_text()
    assert predict("images").code == 0
    assert open_labels(folder / "out" / "b.tif").shape == (1, 40, 44)
    zeros = np.zeros((3, 4, 4), dtype)
    assert not Mediar().measure(zeros).apply(zeros).any()


@pytest.mark.parametrize("compat", [None, "mediar"])
def test_one_cell_over_the_whole_image(train, folder, compat):
    save_image(folder / "labels" / "b_label.tiff", np.ones((40, 44), np.uint8))
    answer = train("--set", f"task.compat={compat or 'null'}")
    assert answer.code == 0, answer.err
    target = Flows(2, compat=compat).encode(np.ones((40, 44), np.uint8), None)
    lengths = np.sqrt((target.values[:2] ** 2).sum(0))
    assert np.isfinite(target.values).all()
    assert np.median(lengths) == pytest.approx(1, abs=1e-3)


def test_more_cells_than_16_bits_number(command, train, folder):
    side = 260
    ids = np.arange(1, side * side + 1, dtype=np.uint32).reshape(side, side)
    labels = np.zeros((3 * side, 3 * side), np.uint32)
    for row in range(2):
        for column in range(2):
            labels[row::3, column::3] = ids
    assert labels.max() > 65_535
    save_image(folder / "many" / "a_label.tiff", labels)
    save_image(folder / "dense" / "a.tif", picture(labels), axes="CYX")
    answer = train(images="dense", labels="many")
    assert answer.code == 0, answer.err
    copy = shutil.copytree(folder / "many", folder / "copy")
    where = ("--truth", folder / "many", "--predicted", copy, "--out")
    answer = command("evaluate", *where, folder / "r.json", "--metrics", "cellseg_f1,f1@0.5")
    assert answer.code == 0, answer.err
    summary = json.loads((folder / "r.json").read_text())["summary"]
    assert summary["f1@0.5"]["mean"] == summary["cellseg_f1"]["mean"] == 1


class TestReplay:
    """A second source, and kinds of images."""

    STATISTICS = "data.sampling={name: modalities, clusters: 2, floor: 4, features: statistics}"

    def replay(self, folder: Path) -> tuple[object, ...]:
        return ("--replay-images", folder / "images", "--replay-labels", folder / "labels")

    def test_both_together_and_resumed(self, train, folder):
        given = (*self.replay(folder), "--set", self.STATISTICS, "--set", "data.holdout=0")
        answer = train(*given)
        assert answer.code == 0, answer.err
        written = (folder / "run" / "modalities.csv").read_text()
        assert written.startswith("image,cluster\n")
        assert len(written.splitlines()) == 4
        # The run notes what it did, so its own recipe resumes it.
        assert "batch: 1" in (folder / "run" / "recipe.yaml").read_text()
        before = (folder / "run" / "model.safetensors").read_bytes()
        answer = train(*given, "--resume")
        assert answer.code == 0, answer.err
        assert (folder / "run" / "modalities.csv").read_text() == written
        assert (folder / "run" / "model.safetensors").read_bytes() == before

    def test_one_half_of_a_source(self, train, folder):
        refused(train("--replay-images", folder / "images"), "Replay", "Give both")

    def test_a_recipe_with_replay_needs_a_source(self, train, folder):
        answer = train("--set", "data.replay={batch: 1}")
        refused(answer, "--replay-images", "data.replay=null")
        assert not (folder / "run").exists()

    def test_kinds_need_a_trained_network(self, train, folder):
        answer = train("--set", "data.sampling={name: modalities, clusters: 2}")
        refused(answer, "--init", "data.sampling.features=statistics")
        assert not (folder / "run").exists()

    def test_more_kinds_than_images(self, train, folder):
        sampling = "data.sampling={name: modalities, features: statistics}"
        refused(train("--set", sampling), "data.sampling.clusters=40", "3 training")

    def test_mistakes_in_parts_are_told_at_once(self, train, folder):
        answer = train(
            "--set",
            "data.sampling={name: modality}",
            "--set",
            "data.label_changes=[{name: exclude_boundary}]",
            "--set",
            "data.replay={augment: [{name: zooom}]}",
            *self.replay(folder),
        )
        refused(answer, "'modalities'", "'exclude_boundaries'", "'zoom'", "3 problems")

    def test_published_fine_tuning_from_a_pretrained_model(self, train, folder):
        assert train(preset="mediar_pretrain_joint").code == 0
        small = ("--set", "data.sampling.clusters=2", "--set", "data.sampling.floor=3")
        start = ("--init", folder / "run", *small, *self.replay(folder))
        answer = train(*start, preset="mediar_finetune_replay", out="fine")
        assert answer.code == 0, answer.err
        assert (folder / "fine" / "modalities.csv").is_file()
