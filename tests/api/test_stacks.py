"""Movies, stacks, pictures and counts through the command line and through Python."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import tifffile

import unmask
from unmask.api.results import unused_planes
from unmask.errors import RecipeError
from unmask.io import Image, open_image


@pytest.fixture
def movie(phantoms, tmp_path):
    plane = open_image(sorted((phantoms[2] / "images").iterdir())[0], ndim=2).read()[0]
    frames = np.stack([plane, plane[::-1]]).astype(np.uint16)
    tifffile.imwrite(tmp_path / "movie.tif", frames, imagej=True, metadata={"axes": "TYX"})
    tifffile.imwrite(tmp_path / "slices.tif", frames, imagej=True, metadata={"axes": "ZYX"})
    return tmp_path / "movie.tif"


def test_a_movie_is_one_result(command, trained, movie, tmp_path):
    out = tmp_path / "out"
    answer = command("predict", movie, "--model", trained[2], "--out", out, "--json", "--table")
    assert answer.code == 0, answer.err
    (line,) = map(json.loads, answer.out.splitlines())
    assert line["positions"] == 2
    assert "in 2 planes" in answer.err
    labels = tifffile.imread(out / "movie.tif")
    single = unmask.predict(trained[2], tifffile.imread(movie)[1]).labels
    np.testing.assert_array_equal(labels[1], single)
    result = unmask.predict(trained[2], tifffile.imread(movie), planes="t")
    assert result.axes == "TYX"
    np.testing.assert_array_equal(result.labels, labels)
    rows = (out / "objects.csv").read_text().splitlines()
    assert rows[0].startswith("image,time,plane,id")
    assert len(rows) - 1 == len(result.objects)


def test_slices_need_to_be_asked_for(command, trained, movie, tmp_path):
    given = ["predict", movie.with_name("slices.tif"), "--model", trained[2],
             "--out", tmp_path / "out"]  # fmt: skip
    answer = command(*given)
    assert answer.code == 2
    assert "--planes z" in answer.err
    answer = command(*given, "--planes", "x")
    assert answer.code == 2
    assert "--planes x: expected z (slices) or t" in answer.err
    answer = command(*given, "--planes", "z", "--scores")
    assert answer.code == 2
    assert "neither --workers nor --scores" in answer.err
    answer = command(*given, "--planes", "z", "--workers", "threads:0")
    assert answer.code == 2
    assert not (tmp_path / "out").exists()
    with pytest.raises(RecipeError, match="--join: expected a model that numbers objects"):
        unmask.predict(trained[2], tifffile.imread(movie), planes="z", join=True)


def test_pictures_and_the_page_of_a_folder(command, trained, phantoms, tmp_path):
    images = sorted((phantoms[2] / "images").iterdir())[:2]
    given = ["predict", *images, "--model", trained[2], "--out", tmp_path / "out"]
    answer = command(*given, "--overlay")
    assert answer.code == 0, answer.err
    pictures = sorted((tmp_path / "out" / "overlay").iterdir())
    assert [path.name for path in pictures] == [f"{path.stem}.png" for path in images]
    assert (tmp_path / "out" / "summary.html").read_text().count("<figure>") == 2
    assert len(re.findall(r" \d class(?:es)? on ", answer.out)) == 2
    assert f"Pictures: {tmp_path / 'out' / 'overlay'}\n" in answer.out
    assert f"Overview: {tmp_path / 'out' / 'summary.html'}\n" in answer.out
    assert "Tracks:" not in answer.out


@pytest.mark.parametrize(("channels", "hint"), [(4, True), (1, False)])
def test_pages_that_were_saved_as_channels_are_explained(channels, hint):
    """Programs save four planes as one image in color, which has no planes."""
    image = Image.from_array(np.zeros((channels, 8, 8), np.uint8), axes="CYX")
    (note,) = unused_planes([image], "t", 2)
    assert "--planes t is not used for 1 of 1 image" in note
    assert ("--set data.axes=TYX" in note) == hint
