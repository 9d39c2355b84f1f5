import numpy as np
import pytest

from unmask.pixels.labeled import features_at, find_places
from unmask.space.tiling import Tiling


def test_ignored_values_are_no_labels_and_large_classes_are_thinned():
    labels = np.zeros((20, 20), np.uint8)
    labels[:10], labels[15, 3:9] = 1, 2
    places = find_places(labels, 0, most=50, seed=0)
    assert {int(v): int((places.values == v).sum()) for v in np.unique(places.values)} == {
        1: 50,
        2: 6,
    }
    assert (labels[tuple(places.voxels.T)] == places.values).all()
    assert 0 in find_places(labels, None, most=5, seed=0).values
    assert len(find_places(np.zeros((4, 4), int), 0, most=5, seed=0).values) == 0


@pytest.mark.parametrize("space", [(40, 33), (9, 20, 17)])
def test_features_are_read_at_their_own_voxels(space):
    image = np.random.default_rng(0).normal(size=(2, *space)).astype(np.float32)
    voxels = np.stack([np.random.default_rng(1).integers(0, n, 30) for n in space], axis=1)
    tiling = Tiling((12,) * len(space), overlap=0.5, blend="crop")
    found = features_at(
        lambda window: 2 * window, lambda box: image[:, *box.slices], space, voxels, tiling=tiling
    )
    np.testing.assert_array_equal(found, 2 * image[:, *voxels.T].T)
