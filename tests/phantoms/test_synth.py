"""``unmask synth``: from words on the command line to files."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from unmask.cli import app
from unmask.errors import DataError, RecipeError
from unmask.io import open_labels
from unmask.phantoms import FAMILIES, draw_one
from unmask.phantoms.request import parse_numbers, parse_options


def call(*words):
    result = CliRunner().invoke(app, ["synth", *map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_families_are_listed_with_a_sentence_each():
    lines = call().output.splitlines()
    assert [line.split()[0] for line in lines] == list(FAMILIES)
    assert all(len(line.split()) > 4 for line in lines)


def test_images_with_labels_are_written_and_not_replaced(tmp_path):
    request = ["--kind", "worms", "--count", 2, "--size", "40,48", "--out", tmp_path / "set",
               "--seed", 3, "--set", "count=4"]  # fmt: skip
    assert call(*request).exit_code == 0
    labels = open_labels(tmp_path / "set" / "labels" / "worms_001.tif", ndim=2).read()[0]
    expected = draw_one("worms", (40, 48), seed=3, index=1, options={"count": 4})
    np.testing.assert_array_equal(labels, expected.labels)
    with pytest.raises(DataError, match="--overwrite"):
        call(*request)
    assert call(*request, "--overwrite").exit_code == 0


def test_wrong_words_are_named():
    assert call("--kind", "worms").exit_code == 2
    with pytest.raises(DataError, match=r"--size.*whole numbers"):
        parse_numbers("--size", "64,a", whole=True)
    with pytest.raises(DataError, match=r"--size.*whole numbers"):
        parse_numbers("--size", "64.5,3", whole=True)
    with pytest.raises(RecipeError, match="KEY=VALUE"):
        parse_options(["diameter"])
    assert parse_numbers("--spacing", "2.5,1,1") == [2.5, 1, 1]
