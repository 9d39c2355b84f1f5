import numpy as np
import pytest

from unmask.labels import flows_to_labels, labels_to_flows, tracking
from unmask.labels.tracking_device import follow_on_device


@pytest.mark.parametrize("shape", [(24, 31), (9, 12, 10)])
@pytest.mark.parametrize("steps", [20, 40])
def test_paths_end_where_those_of_the_cpu_end(shape, steps):
    """All positions are rounded alike, so ends are equal, at borders too."""
    rng = np.random.default_rng(1)
    field = rng.uniform(-1.5, 1.5, (len(shape), *shape)).astype(np.float32)
    padded = np.pad(field, [(0, 0), *((1, 1) for _ in shape)])
    flat = np.ascontiguousarray(np.moveaxis(padded, 0, -1)).reshape(-1)
    points = np.flatnonzero(rng.random(shape) < 0.7)
    found = follow_on_device(padded, points, steps, "cpu")
    np.testing.assert_array_equal(found, tracking.follow(flat, points, shape, steps))


def test_no_points_have_no_ends():
    field = np.zeros((2, 5, 5), np.float32)
    assert follow_on_device(field, np.zeros(0, np.int64), 16, "cpu").shape == (0,)


def test_labels_are_the_same():
    labels = np.zeros((40, 40), np.int32)
    labels[3:18, 4:20], labels[20:36, 8:30] = 1, 2
    flows = labels_to_flows(labels)
    found = flows_to_labels(flows, labels > 0, device="cpu")
    np.testing.assert_array_equal(found, flows_to_labels(flows, labels > 0))
    assert found.max() == 2
