"""``synth --like`` from Python and from the command line."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from unmask import api
from unmask.cli import app
from unmask.errors import DataError
from unmask.io import open_image, open_labels, save_image
from unmask.phantoms import draw
from unmask.phantoms.likeness import fit, resemble


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    """Fewer phantoms per decision: these tests are about files."""
    monkeypatch.setattr(fit, "_READ", 4)
    monkeypatch.setattr(fit, "_RIVALS", 1)
    monkeypatch.setattr(resemble, "_POOL", 3)


@pytest.fixture
def folder(tmp_path):
    for index, sample in enumerate(draw("nuclei", (96, 96), 4, seed=1)):
        save_image(tmp_path / "images" / f"n{index}.tif", sample.image.repeat(3, 0), axes="CYX")
        save_image(tmp_path / "labels" / f"n{index}.tif", sample.labels[None])
    return tmp_path


def test_labeled_images_of_the_form_of_the_photographs_are_written(folder):
    (folder / "labels" / "n0.tif").unlink()
    result = api.synth(
        folder / "images", out=folder / "out", count=4, kind="nuclei", labels=folder / "labels",
        size=(80, 72),
    )  # fmt: skip
    files = sorted((folder / "out" / "images").iterdir())
    assert len(files) == result.count == 4
    assert result.collages == 2
    for file in files:
        image = open_image(file)
        assert image.shape == (3, 80, 72)
        assert open_labels(folder / "out" / "labels" / file.name).shape == (1, 80, 72)
    assert result.groups[0].kind == "nuclei"
    with pytest.raises(DataError, match="--overwrite"):
        api.synth(folder / "images", out=folder / "out", count=1)


def test_constant_and_too_few_images_are_named(folder, tmp_path):
    save_image(folder / "images" / "black.tif", np.zeros((3, 96, 96), np.uint8), axes="CYX")
    result = api.synth(folder / "images", out=tmp_path / "one", count=1, kind="nuclei")
    assert any("black: left out" in note for note in result.notes)
    with pytest.raises(DataError, match="two images or more"):
        api.synth(folder / "images" / "n0.tif", out=tmp_path / "two", count=1)
    for index in range(4):
        save_image(folder / "images" / f"n{index}.tif", np.zeros((3, 96, 96), np.uint8), axes="CYX")
    with pytest.raises(DataError, match="constant"):
        api.synth(folder / "images", out=tmp_path / "two", count=1)
    assert not (tmp_path / "two").exists()


def test_a_family_that_does_not_fit_is_not_drawn_unless_it_is_named(tmp_path):
    rng = np.random.default_rng(0)
    for index in range(3):
        image = rng.integers(0, 255, (3, 96, 96)).astype(np.uint8)
        save_image(tmp_path / "noise" / f"x{index}.tif", image, axes="CYX")
    with pytest.raises(DataError, match="does not fit"):
        api.synth(tmp_path / "noise", out=tmp_path / "out", count=1)
    words = ["synth", "--like", tmp_path / "noise", "--kind", "nuclei", "--count", 1,
             "--out", tmp_path / "out"]  # fmt: skip
    answer = CliRunner().invoke(app, list(map(str, words)))
    assert answer.exit_code == 0, answer.output
    assert "does not fit" in answer.output
    warning, following = (answer.output.index(text) for text in ("Warning: ", "Next:"))
    assert warning < following


@pytest.mark.parametrize(("word", "warned"), [("close", False), ("fair", False), ("poor", True)])
def test_a_poor_fit_is_warned_of_and_other_families_are_only_named(
    tmp_path, monkeypatch, word, warned
):
    """Each family has a unit of its own, so the numbers of two of them would mislead."""
    rivals = (("fibers", 1.22), ("bright_field", 1.35), ("bacteria", 1.4))
    group = api.synthesis.FittedGroup(("a", "b"), "nuclei", 12.0, 1.49, word, rivals, {}, 3)
    result = api.synthesis.Synthesized(tmp_path, 3, (group,), 0, (api.synthesis._unsure(group),))
    monkeypatch.setattr(api, "synth", lambda *_, **__: result)
    words = ["synth", "--like", str(tmp_path), "--out", str(tmp_path / "out")]
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 0, answer.output
    assert "--kind: fibers, bright_field, bacteria\n" in answer.output
    assert "1.22" not in answer.output
    assert "fibers, bright_field and bacteria resemble the images about as well" in answer.output
    assert ("Warning: nuclei hardly resembles your images" in answer.output) == warned


def test_volumes_are_drawn_with_their_voxel_size(tmp_path):
    for index, sample in enumerate(draw("deep_nuclei", (10, 40, 48), 2, spacing=(3, 1, 1))):
        save_image(tmp_path / "in" / f"v{index}.tif", sample.image, spacing=(1.5, 0.5, 0.5))
    api.synth(tmp_path / "in", out=tmp_path / "out", count=1, kind="deep_nuclei")
    image = open_image(next((tmp_path / "out" / "images").iterdir()))
    assert image.shape == (1, 10, 40, 48)
    assert image.spacing == pytest.approx((3, 1, 1))
