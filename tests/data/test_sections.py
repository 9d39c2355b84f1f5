import numpy as np
import pytest

from unmask.data.crops import CropPlan, Crops
from unmask.data.normalize import NoNormalize
from unmask.data.pairs import Pair
from unmask.data.sections import orient
from unmask.errors import DataError, RecipeError
from unmask.io import Image
from unmask.recipe import load


def volume(spacing=(1.0, 1.0, 1.0), shape=(9, 11, 13)):
    """Voxels that tell their place: 10000 z + 100 y + x."""
    z, y, x = np.indices(shape)
    array = (10000 * z + 100 * y + x).astype(np.float32)
    return Pair("volume", Image.from_array(array, spacing=spacing, name="volume"))


def test_each_orientation_has_its_axis_first():
    pairs = orient([volume((1.0, 1.1, 1.2))], [0, 1, 2])
    assert [pair.image.shape for pair in pairs] == [
        (1, 9, 11, 13),
        (1, 11, 9, 13),
        (1, 13, 9, 11),
    ]
    assert [pair.image.spacing for pair in pairs] == [(1, 1.1, 1.2), (1.1, 1, 1.2), (1.2, 1, 1.1)]
    whole = pairs[0].image.read()
    assert np.array_equal(pairs[1].image.read(), whole.transpose(0, 2, 1, 3))
    assert np.array_equal(
        pairs[2].image[:, 3:5, 2, 1:9], whole.transpose(0, 3, 1, 2)[:, 3:5, 2, 1:9]
    )


@pytest.mark.parametrize("cache", [0, 1e9])
def test_crops_are_sections_of_all_orientations_and_places(cache):
    plan = CropPlan(crop=(4, 5), channels=1, batch_size=60, seed=3)
    pairs = orient([volume()], [0, 1, 2])
    crops = Crops(pairs, plan, normalize=NoNormalize(), cache_bytes=cache)
    images = np.concatenate([crops.batch(number).image.numpy() for number in range(5)])
    assert images.shape == (300, 1, 4, 5)
    steps = {(int(i[0, 1, 0] - i[0, 0, 0]), int(i[0, 0, 1] - i[0, 0, 0])) for i in images}
    assert steps == {(100, 1), (10000, 1), (10000, 100)}
    across_z = {int(i[0, 0, 0] // 10000) for i in images if i[0, 1, 0] - i[0, 0, 0] == 100}
    assert across_z == set(range(9))
    assert len({image.tobytes() for image in images}) > 200
    assert crops.middle(1).shape == (1, 4, 5)


def test_thick_sections_are_cut_across_the_long_axis_only():
    with pytest.raises(DataError, match=r"equal sides.*sections=\[0\]"):
        orient([volume((5.0, 1.0, 1.0))], [0, 1, 2])
    assert len(orient([volume((5.0, 1.0, 1.0))], [0])) == 1


@pytest.mark.parametrize("across", [[], [0, 0], [3], [-1]])
def test_axes_there_are_not(across):
    with pytest.raises(RecipeError, match=r"data\.sections"):
        orient([volume()], across)


def test_sections_are_for_pretraining():
    with pytest.raises(RecipeError, match="pre-training"):
        load("semantic2d").with_settings(["data.sections=[0]"])
