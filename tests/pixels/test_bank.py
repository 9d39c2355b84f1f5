import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from unmask.models import nd
from unmask.pixels.bank import filter_bank, filters_per_channel, gaussian


def test_gaussian_is_that_of_scipy():
    image = np.random.default_rng(0).normal(size=(2, 9, 30, 21)).astype(np.float32)
    found = gaussian(torch.from_numpy(image)[None], [0.0, 2.0, 7.5])[0].numpy()
    for channel, truth in zip(found, image, strict=True):
        known = gaussian_filter(truth, (0, 2, 7.5), mode="mirror", truncate=3.0)
        # Both cut where the weights are small, at rounded distances.
        np.testing.assert_allclose(channel, known, atol=2e-3)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_eigenvalues_are_those_of_torch(size):
    matrix = torch.randn(50, size, size, generator=torch.Generator().manual_seed(0))
    matrix = matrix + matrix.transpose(1, 2)
    entries = {(i, j): matrix[:, i, j] for i in range(size) for j in range(i, size)}
    found = torch.stack(nd.symmetric_eigenvalues(entries, size), dim=1)
    torch.testing.assert_close(found, torch.linalg.eigvalsh(matrix).flip(1), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("space", [(20, 24), (6, 20, 24), (1, 7), (1, 1, 1)])
def test_number_of_filters_and_finite_values(space):
    image = torch.randn(2, 3, *space)
    found = filter_bank(image, (1.0, 4.0), (1.0,) * len(space))
    assert found.shape == (2, 3 * filters_per_channel(2, len(space)), *space)
    assert found.isfinite().all()


def test_a_ridge_and_an_edge_are_found_by_their_filters():
    image = torch.zeros(1, 1, 32, 32)
    image[..., 8] = 1.0
    image[..., 20:] = 1.0
    mean, std, edge, high, low = filter_bank(image, (1.0,), (1.0, 1.0))[0, :, 16]
    assert low[8] < 3 * low[4] - 0.1
    assert edge[19:21].max() > edge[26:].max() + 0.1
    assert high[8].abs() < 1e-4
    assert std[20] > std[26]
    assert mean[28] == pytest.approx(1.0, abs=1e-4)


def test_a_coarse_axis_is_filtered_by_fewer_voxels():
    image = torch.zeros(1, 1, 9, 9)
    image[..., 4, 4] = 1.0
    mean = filter_bank(image, (2.0,), (4.0, 1.0))[0, 0]
    assert mean[4, 6] > 10 * mean[6, 4]
