"""``evaluate --out report.html`` with the images under the outlines."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

import unmask
from unmask import api
from unmask.errors import DataError, RecipeError
from unmask.io import save_image


@pytest.fixture
def folder(tmp_path):
    labels = np.zeros((40, 40), np.uint8)
    labels[5:15, 5:15] = 1
    labels[20:30, 20:30] = 2
    for name in ("a", "b"):
        save_image(tmp_path / "truth" / f"{name}.png", labels, axes="YX")
        save_image(tmp_path / "out" / f"{name}.png", labels * (labels == 1), axes="YX")
        save_image(tmp_path / "img" / f"{name}.png", labels * 90, axes="YX")
    return tmp_path


def evaluated(folder, command, *more):
    """The answer of ``evaluate`` with images, and its page."""
    page = folder / "report.html"
    answer = command(
        "evaluate", "--truth", folder / "truth", "--predicted", folder / "out",
        "--images", folder / "img", "--out", page, *more,
    )  # fmt: skip
    return answer, page


def test_a_page_with_pictures(folder, command):
    answer, page = evaluated(folder, command)
    assert answer.code == 0, answer.err
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/jpeg;base64,") == 2
    assert str(folder / "img") in text


def test_an_image_that_is_missing_is_named(folder, command):
    (folder / "img" / "b.png").unlink()
    answer, page = evaluated(folder, command)
    assert answer.code == 2
    assert "b: expected an image" in answer.err
    assert not page.exists()


@pytest.fixture
def movie(tmp_path):
    """Truth with a time axis, as `predict` writes it; an object is missing at the second point."""
    truth = np.zeros((5, 40, 40), np.uint16)
    truth[:, 5:15, 5:15] = 1
    truth[:, 20:30, 20:30] = 2
    found = truth.copy()
    found[1, 20:30] = 0
    for name, stack in (("truth", truth), ("out", found), ("img", truth * 90)):
        (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / name / "m.tif", stack, imagej=True, metadata={"axes": "TYX"})
    return tmp_path


def test_a_movie_has_a_row_per_point_in_time(movie, command):
    answer, page = evaluated(movie, command)
    assert answer.code == 0, answer.err
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/jpeg;base64,") == 5
    assert text.count("m, t = 1") >= 1
    report = unmask.evaluate(truth=movie / "truth", predicted=movie / "out", metrics=["f1@0.5"])
    assert [row["name"] for row in report.images] == [f"m, t = {at}" for at in range(5)]
    assert [row["f1@0.5"] for row in report.images] == [1, pytest.approx(2 / 3), 1, 1, 1]


def test_a_movie_against_a_truth_saved_as_slices(movie):
    path = movie / "truth" / "m.tif"
    tifffile.imwrite(path, tifffile.imread(path), imagej=True, metadata={"axes": "ZYX"})
    predicted = movie / "out" / "m.tif"
    report = unmask.evaluate(truth=path, predicted=predicted, metrics=["f1@0.5"])
    assert [row["f1@0.5"] for row in report.images] == [1, pytest.approx(2 / 3), 1, 1, 1]


def test_axes_without_names_are_given(movie, command):
    """Plain TIFFs name no axis; the page needs the setting as well."""
    for name, axes in (("truth", {}), ("out", {}), ("img", {"axes": "TZYX"})):
        path = movie / name / "m.tif"
        stack = np.stack([tifffile.imread(path)] * 2)
        tifffile.imwrite(path, stack, imagej="axes" in axes, metadata=axes)
    refused, _ = evaluated(movie, command)
    assert refused.code == 2
    assert "--set data.axes" in refused.err
    answer, page = evaluated(movie, command, "--set", "data.axes=TZYX")
    assert answer.code == 0, answer.err
    assert "m, t = 1" in page.read_text(encoding="utf-8")
    settings = ["data.axes=TZYX"]
    given = {"truth": movie / "truth", "predicted": movie / "out", "metrics": ["f1@0.5"]}
    assert len(unmask.evaluate(**given, settings=settings).images) == 2


def test_a_movie_of_another_length_is_refused(movie):
    path = movie / "out" / "m.tif"
    tifffile.imwrite(path, tifffile.imread(path)[:2], imagej=True, metadata={"axes": "TYX"})
    with pytest.raises(DataError, match=r"expected the size of the truth .*\(5, 40, 40\)"):
        unmask.evaluate(truth=movie / "truth", predicted=movie / "out")


def test_tracks_of_a_movie_are_objects(tmp_path):
    """Their ids recur at every point in time, as those of classes recur in every image."""
    frames = np.zeros((4, 64, 64), np.uint16)
    for number in range(36):
        row, column = 10 * (number // 6), 10 * (number % 6)
        frames[1:, row : row + 7, column : column + 7] = number + 1
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, frames, imagej=True, metadata={"axes": "TYX"})
    report = unmask.evaluate(truth=path, predicted=path)
    assert [row["f1@0.5"] for row in report.images[1:]] == [1, 1, 1]


def test_a_missing_prediction_is_not_called_an_image(folder, command):
    (folder / "out" / "b.png").unlink()
    answer, _ = evaluated(folder, command)
    assert answer.code == 2
    assert "b.png: expected a prediction named 'b', found none" in answer.err
    (folder / "out" / "a.png").rename(folder / "out" / "z.png")
    save_image(folder / "out" / "y.png", np.ones((40, 40), np.uint8), axes="YX")
    answer, _ = evaluated(folder, command)
    assert "expected true labels with the names of the 2 predictions" in answer.err


@pytest.mark.parametrize(
    ("mappings", "given", "text"),
    [
        (["transfered"], {}, "found transfered"),
        (["transferred"], {}, "found no --fit-truth and no --fit-predicted"),
        (["transferred"], {"fit_truth": "a"}, "found no --fit-predicted. Give --fit-predicted"),
    ],
)
def test_mappings_that_cannot_be_made(folder, mappings, given, text):
    """A misspelled name and images to fit on that are missing have a message each."""
    files = {"truth": folder / "truth", "predicted": folder / "out"}
    with pytest.raises(RecipeError, match=text):
        api.evaluate_clusters(**files, mappings=mappings, **given)
