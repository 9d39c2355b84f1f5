"""Images and labels in place of each other, and all files that cannot be read."""

from __future__ import annotations

import re

import numpy as np
import pytest

from unmask.io import save_image

RNG = np.random.default_rng(0)
PICTURES = {
    "fractions": lambda: RNG.random((48, 48)).astype(np.float32),
    "colors": lambda: RNG.integers(0, 255, (48, 48, 3)).astype(np.uint8),
    "numbers": lambda: RNG.integers(0, 255, (48, 48)).astype(np.uint8),
}
EXCHANGE = "0.tif and 4 more: expected labels: areas of one number each"
LABELS = np.kron(np.arange(36, dtype=np.uint8).reshape(6, 6), np.ones((8, 8), np.uint8))


def write(folder, picture, labels=lambda: LABELS):
    for number in range(5):
        turned = np.roll(labels(), 8 * number)
        for name, array in (("pictures", picture()), ("areas", turned)):
            axes = "YXC" if array.ndim == 3 else "YX"
            save_image(folder / name / f"{number}.tif", array, axes=axes)
    return folder / "pictures", folder / "areas"


@pytest.mark.parametrize("preset", [[], ["--preset", "cells"]])
@pytest.mark.parametrize("verb", ["check", "train"])
@pytest.mark.parametrize("kind", PICTURES)
def test_exchanged_folders_get_one_message(command, tmp_path, kind, verb, preset):
    pictures, areas = write(tmp_path, PICTURES[kind])
    out = ["--out", tmp_path / "run" if verb == "train" else tmp_path / "list.txt"]
    answer = command(verb, areas, "--labels", pictures, *out, *preset)
    assert answer.code == 2
    text = answer.out + answer.err
    assert EXCHANGE in text
    assert text.count("Exchange --images and --labels.") == 1
    assert text.count("expected") == 1, text


@pytest.mark.parametrize("preset", [[], ["--preset", "cells"]])
@pytest.mark.parametrize("verb", ["check", "train"])
def test_all_fractional_labels_are_one_line(command, tmp_path, verb, preset):
    fractions = iter(np.linspace(0.1, 0.5, 5, dtype=np.float32))
    pictures, areas = write(
        tmp_path, PICTURES["numbers"], lambda: LABELS + next(fractions) * (LABELS > 0)
    )
    out = ["--out", tmp_path / "run" if verb == "train" else tmp_path / "list.txt"]
    answer = command(verb, pictures, "--labels", areas, *out, *preset)
    assert answer.code == 2
    (line,) = re.findall(".*expected.*", answer.out + answer.err)
    assert "5 files: expected ids: whole numbers from 0 to" in line
    assert re.search(r"found 1\.1 to [\d.]+ \(2,240 such voxels\)", line)
