"""Label images for the tests of object tables."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage as ndi


def cells(shape: tuple[int, ...], seed: int, count: int = 25) -> np.ndarray:
    """Touching objects with ragged borders, holes, pieces and gaps between the ids."""
    rng = np.random.default_rng(seed)
    seeds = np.zeros(shape, int)
    places = tuple(rng.integers(0, n, count) for n in shape)
    seeds[places] = rng.choice(500, count, replace=False) + 1
    nearest = np.zeros((len(shape), *shape), np.int32)
    ndi.distance_transform_edt(
        seeds == 0, return_distances=False, return_indices=True, indices=nearest
    )
    noise = ndi.gaussian_filter(rng.normal(size=shape), 1.5)
    return (seeds[tuple(nearest)] * (noise > -0.05)).astype(np.uint32)


@pytest.fixture(scope="session")
def make_cells():
    return cells
