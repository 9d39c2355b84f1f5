"""Names of label files."""

import numpy as np
import pytest

from unmask.api.destinations import check_ending
from unmask.errors import RecipeError
from unmask.io import open_image, output_name, save_image


def test_an_ending_replaces_the_suffix(tmp_path):
    """The names of the NeurIPS 2022 challenge; without an ending the format stays."""
    save_image(tmp_path / "cell_1.png", np.zeros((3, 4), np.uint8))
    image = open_image(tmp_path / "cell_1.png")
    assert output_name(image, tmp_path, "_label.tiff") == tmp_path / "cell_1_label.tiff"
    assert output_name(image, tmp_path) == tmp_path / "cell_1.tif"


@pytest.mark.parametrize("ending", ["_label", "_label.docx", "sub/x.tif", "_label.zarr"])
def test_endings_without_a_format(ending):
    check_ending("_label.tiff", in_place=False)
    check_ending(None, in_place=True)
    with pytest.raises(RecipeError, match=r"--label-ending .*_label\.tiff"):
        check_ending(ending, in_place=False)
    with pytest.raises(RecipeError, match="no --in-place"):
        check_ending("_label.tiff", in_place=True)
