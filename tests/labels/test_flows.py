"""Flow fields: definition, round trips in any number of axes, hostile input."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unmask.errors import DataError
from unmask.labels import flows_to_labels, labels_to_flows, relabel, remove_small, tracking
from unmask.labels.dropped import Tally
from unmask.labels.flows import _pad, flow_errors


def balls(rng, shape, count, radius=(3.5, 6.0)):
    """Label image of balls that do not overlap; some touch."""
    labels = np.zeros(shape, np.int64)
    axes = np.indices(shape)
    for name in range(1, count + 1):
        size = rng.uniform(*radius)
        center = [rng.uniform(0, n) for n in shape]
        inside = sum((x - c) ** 2 for x, c in zip(axes, center, strict=True)) < size**2
        if not (labels[inside] > 0).any():
            labels[inside] = name
    return labels


def agreement(truth, found):
    """Share of the truth's voxels that lie in their object's best match."""
    same = 0
    for name in np.unique(truth[truth > 0]):
        ids, counts = np.unique(found[truth == name], return_counts=True)
        best = counts[ids > 0].max(initial=0)
        same += best
    return same / max(1, (truth > 0).sum())


# --- labels to flows -----------------------------------------------------------------------------


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.integers(1, 3))
def test_unit_length_inside_and_zero_outside(seed, ndim):
    labels = balls(np.random.default_rng(seed), (30, 22, 17)[:ndim], 6)
    flows = labels_to_flows(labels)
    assert flows.shape == (ndim, *labels.shape)
    assert flows.dtype == np.float32
    length = np.sqrt((flows.astype(np.float64) ** 2).sum(0))
    assert (length[labels == 0] == 0).all()
    assert ((np.abs(length - 1) < 1e-5) | (length == 0)).all()


def test_a_symmetric_object_points_to_its_middle_and_is_zero_there():
    labels = np.zeros((9, 9), np.int32)
    labels[1:8, 1:8] = 1
    flows = labels_to_flows(labels)
    assert (flows[0, 1:4, 1:8] > 0).all()
    assert (flows[0, 5:8, 1:8] < 0).all()
    np.testing.assert_allclose(flows[0], flows[1].T, atol=1e-6)
    np.testing.assert_array_equal(flows[:, 4, 4], [0, 0])


def test_a_heat_step_as_written_down():
    """Against the definition, voxel by voxel."""
    labels = np.zeros((6, 7), np.int32)
    labels[1:5, 1:3] = 1
    labels[4, 1:6] = 1
    heat, steps = np.zeros((6, 7)), 2 * (4 + 2 + 5 + 2)
    where = np.argwhere(labels)
    source = tuple(where[((where - where.mean(0)) ** 2).sum(1).argmin()])
    for _ in range(steps):
        heat[source] += 1
        padded = np.pad(heat, 1)
        mean = sum(padded[a : a + 6, b : b + 7] for a in range(3) for b in range(3)) / 9
        heat = np.where(labels > 0, mean, 0)
    padded = np.pad(heat, 1)
    slope = np.stack([padded[2:, 1:-1] - padded[:-2, 1:-1], padded[1:-1, 2:] - padded[1:-1, :-2]])
    expected = slope / np.maximum(np.sqrt((slope**2).sum(0)), 1e-60)
    flows = labels_to_flows(labels)
    np.testing.assert_allclose(flows[:, labels > 0], expected[:, labels > 0], atol=1e-5)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_an_object_does_not_depend_on_its_neighbors_or_its_place(ndim):
    rng = np.random.default_rng(3)
    labels = balls(rng, (40, 24, 18)[:ndim], 30)
    flows = labels_to_flows(labels)
    name = np.unique(labels)[1]
    alone = np.pad(np.where(labels == name, 1, 0), 2)
    there = labels_to_flows(alone)[(slice(None), *(slice(2, -2),) * ndim)]
    inside = labels == name
    np.testing.assert_array_equal(flows[:, inside], there[:, inside])


@pytest.mark.parametrize("offset", [0, 65535, 2**31, 2**62])
def test_ids_of_any_size_and_with_gaps(offset):
    labels = balls(np.random.default_rng(0), (32, 32), 12)
    wide = np.where(labels > 0, labels * 3 + offset, 0)
    np.testing.assert_array_equal(labels_to_flows(wide), labels_to_flows(labels))


def test_more_than_65535_objects():
    labels = np.zeros((515, 1030), np.int64)
    labels[::2, ::4] = np.arange(1, 258 * 258 + 1).reshape(258, 258)
    labels[::2, 1::4] = labels[::2, ::4]
    flows = labels_to_flows(labels)
    assert len(np.unique(labels)) > 65536
    # Heat enters at the left one of two voxels.
    assert (flows[1, ::2, 1::4] == -1).all()


def test_one_voxel_and_nothing():
    assert not labels_to_flows(np.ones((1, 1), np.uint8)).any()
    assert not labels_to_flows(np.zeros((5, 4), np.uint8)).any()
    assert labels_to_flows(np.zeros((0, 4), np.uint8)).shape == (2, 0, 4)


def test_one_object_covers_all():
    flows = labels_to_flows(np.ones((12, 15), np.uint8))
    assert np.isfinite(flows).all()
    assert (flows[0, 0] > 0).all()
    assert (flows[0, -1] < 0).all()


def test_an_object_in_two_pieces_is_still_finite():
    labels = np.zeros((8, 20), np.int32)
    labels[2:6, 1:5] = labels[2:6, 12:19] = 1
    assert np.isfinite(labels_to_flows(labels)).all()


def test_published_rule_reads_touching_neighbors():
    labels = np.zeros((10, 12), np.int32)
    labels[2:8, 1:6], labels[2:8, 6:11] = 1, 2
    default, published = labels_to_flows(labels), labels_to_flows(labels, compat="cellpose")
    assert (default[1, 3:7, 5] < -0.5).all()
    assert not np.allclose(default[:, 2:8, 5], published[:, 2:8, 5], atol=1e-2)


@pytest.mark.parametrize("compat", ["cellpose", "mediar"])
def test_published_rule_in_volumes_points_to_the_center(compat):
    labels = np.zeros((9, 11, 11), np.int32)
    labels[1:8, 1:10, 1:10] = 1
    flows = labels_to_flows(labels, compat=compat)
    for axis in range(3):
        half = flows[axis].swapaxes(0, axis)
        assert (half[1] >= 0).all()
        assert half[1].max() > 0.9


def test_floats_are_no_labels():
    with pytest.raises(DataError, match="integer"):
        labels_to_flows(np.ones((3, 3)))


# --- flows to labels -----------------------------------------------------------------------------


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.sampled_from([(64, 56), (30, 32, 28), (900,)]))
def test_round_trip(seed, shape):
    """What is encoded comes back, object by object, touching ones included."""
    radius = (4.5, 7.0) if len(shape) > 1 else (20.0, 40.0)
    truth = balls(np.random.default_rng(seed), shape, 14, radius=radius)
    # Objects that the border cuts to less than a peak of the histogram needs cannot come back.
    truth = remove_small(truth, 40)
    found = flows_to_labels(
        labels_to_flows(truth), truth > 0, min_size=0, max_fraction=1.0, flow_error=None
    )
    assert found.max() == len(np.unique(truth[truth > 0]))
    assert agreement(truth, found) > 0.99
    assert (found[truth == 0] == 0).all()


def test_flow_check_accepts_its_own_field_and_refuses_noise():
    rng = np.random.default_rng(1)
    truth = balls(rng, (60, 60), 12)
    flows = labels_to_flows(truth)
    assert flow_errors(relabel(truth), flows).max() == 0
    kept = flows_to_labels(flows, truth > 0)
    assert kept.max() == len(np.unique(truth[truth > 0]))
    # A field that turns around the center gathers nothing that looks like an object's own field.
    swirl = np.stack([flows[1] + 0.3 * flows[0], -flows[0] + 0.3 * flows[1]])
    assert flows_to_labels(swirl, truth > 0, min_size=0).max() == 0
    assert flows_to_labels(swirl, truth > 0, min_size=0, flow_error=None).max() > 0


def test_small_objects_holes_and_large_objects():
    labels = np.zeros((40, 40), np.int32)
    labels[2:22, 2:22] = 1
    labels[30:34, 30:34] = 2
    flows, inside = labels_to_flows(labels), labels > 0
    inside[11:13, 11:13] = False
    found = flows_to_labels(flows, inside, min_size=20)
    np.testing.assert_array_equal(found, labels == 1)
    free = {"min_size": 0, "flow_error": None}
    assert not flows_to_labels(flows, inside, **free)[11:13, 11:13].any()
    assert flows_to_labels(flows, inside, **free).max() == 2
    without_large = flows_to_labels(flows, inside, max_fraction=0.1, **free)
    np.testing.assert_array_equal(without_large, labels == 2)


def test_scores_are_cut_by_the_threshold():
    labels = np.zeros((20, 20), np.int32)
    labels[4:15, 4:15] = 1
    flows, score = labels_to_flows(labels), np.where(labels > 0, 0.6, 0.1)
    assert flows_to_labels(flows, score).max() == 1
    assert flows_to_labels(flows, score, threshold=0.7).max() == 0


@pytest.mark.parametrize("steps", [1, 7, 199, 200, 203])
def test_any_number_of_steps(steps):
    labels = np.zeros((24, 24), np.int32)
    labels[3:18, 3:18] = 1
    found = flows_to_labels(labels_to_flows(labels), labels > 0, steps=steps, min_size=0)
    missing = ((labels == 1) != (found == 1)).sum()
    # Seven steps bring all but the corners close enough to the middle, one step brings none.
    assert missing == {1: 225, 7: 4}.get(steps, 0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (40, 40), (12, 14, 16), (300,)])
@pytest.mark.parametrize("compat", [None, "cellpose", "mediar"])
def test_no_flow_makes_no_objects(shape, compat):
    found = flows_to_labels(np.zeros((len(shape), *shape)), np.ones(shape, bool), compat=compat)
    assert found.shape == shape
    assert not found.any()


def test_no_foreground():
    assert not flows_to_labels(np.ones((2, 30, 30)), np.zeros((30, 30))).any()
    assert flows_to_labels(np.ones((2, 0, 30)), np.zeros((0, 30))).shape == (0, 30)


def test_flows_that_are_not_finite_count_as_background():
    labels = np.zeros((40, 40), np.int32)
    labels[4:16, 4:16], labels[22:36, 20:36] = 1, 2
    flows = labels_to_flows(labels)
    flows[:, :20] = np.nan
    flows[1, 25, 25] = np.inf
    found = flows_to_labels(flows, np.ones((40, 40)) * (labels > 0), min_size=0)
    assert not found[:20].any()
    assert found[25, 25] == 0
    assert found.max() == 1
    assert not flows_to_labels(np.full((2, 9, 9), np.nan), np.ones((9, 9))).any()
    assert not flows_to_labels(flows, np.full((40, 40), np.nan)).any()


@pytest.mark.parametrize("size", [0.7, 50.0, 3e38])
@pytest.mark.parametrize("direction", [(1, 1), (-1, 0), (0, 1)])
def test_a_stream_out_of_the_image_ends_at_its_border(size, direction):
    flows = np.ones((2, 33, 31), np.float32) * np.reshape(direction, (2, 1, 1)) * np.float32(size)
    found = flows_to_labels(
        flows, np.ones((33, 31), bool), max_fraction=1.0, flow_error=None, min_size=0
    )
    assert found.max() >= 1
    assert not flows_to_labels(flows, np.ones((33, 31), bool)).any()


def test_all_flows_to_one_sink_make_one_object():
    rows, columns = np.mgrid[:41, :41] - 20.0
    flows = -np.stack([rows, columns]) / np.maximum(np.hypot(rows, columns), 1)
    inside = np.ones((41, 41), bool)
    found = flows_to_labels(flows, inside, max_fraction=1.0)
    assert found.max() == 1
    assert found.all()
    assert not flows_to_labels(flows, inside).any()


def test_random_flows_give_consecutive_ids():
    rng = np.random.default_rng(0)
    found = flows_to_labels(
        rng.normal(size=(3, 24, 24, 24)), rng.random((24, 24, 24)), flow_error=None, min_size=0
    )
    np.testing.assert_array_equal(np.unique(found), np.arange(found.max() + 1))


def test_the_input_is_not_changed():
    labels = balls(np.random.default_rng(2), (30, 30), 5)
    flows, score = labels_to_flows(labels), (labels > 0).astype(np.float32)
    before = flows.copy(), score.copy()
    flows_to_labels(flows, score)
    np.testing.assert_array_equal(flows, before[0])
    np.testing.assert_array_equal(score, before[1])


@pytest.mark.parametrize("shape", [(2, 5, 5), (3, 4, 5), (2, 4)])
def test_shapes_that_do_not_fit(shape):
    with pytest.raises(DataError, match="one channel for each axis"):
        flows_to_labels(np.zeros(shape), np.zeros((4, 5)))


def test_an_unknown_program():
    with pytest.raises(DataError, match="cellpose, mediar"):
        labels_to_flows(np.ones((3, 3), np.int32), compat="stardist")
    with pytest.raises(DataError, match="cellpose, mediar"):
        flows_to_labels(np.zeros((2, 3, 3)), np.ones((3, 3)), compat="stardist")


# --- published paths ------------------------------------------------------------------------------


def published_ends(field, inside, steps):
    """The published loop in PyTorch: positions from -1 to 1, ``grid_sample``, clamped."""
    ndim, lengths = len(field), [float(n - 1) for n in inside.shape[::-1]]
    image = torch.from_numpy(np.where(inside, field, 0)[::-1].astype(np.float32).copy())[None]
    places = np.stack(np.nonzero(inside)[::-1], axis=-1).astype(np.float32)
    points = torch.from_numpy(places).reshape(*(1,) * ndim, -1, ndim)
    for axis, length in enumerate(lengths):
        image[:, axis] *= 2.0 / length
        points[..., axis] /= length
    points = points * 2 - 1
    for _ in range(steps):
        moved = torch.nn.functional.grid_sample(image, points, align_corners=False)
        points = (points + torch.movedim(moved, 1, -1)).clamp(-1, 1)
    ends = (points + 1) * 0.5 * torch.tensor(lengths)
    return ends.reshape(-1, ndim).numpy().astype(int)[:, ::-1]


@pytest.mark.parametrize("shape", [(60, 71), (14, 20, 22)])
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_published_paths_end_in_the_very_same_voxels(shape, noise):
    """A path that ends a rounding error away falls into another voxel, and objects change."""
    rng = np.random.default_rng(5)
    labels = balls(rng, shape, 14)
    field = labels_to_flows(labels, compat="cellpose")
    field = field + noise * rng.normal(size=field.shape).astype(np.float32)
    inside = labels > 0
    points = np.flatnonzero(inside)
    found = tracking.follow(_pad(field, inside), points, shape, 200, exact=False)
    places = np.unravel_index(found, [n + 2 * tracking.REACH for n in shape])
    ends = np.stack(places, axis=-1) - tracking.REACH
    assert np.array_equal(ends, published_ends(field, inside, 200))


def test_where_sinks_meet():
    """The one with more ends has the voxels between them; in MEDIAR the later one."""
    size = 21 + 2 * tracking.REACH
    ends = np.repeat(np.arange(size)[tracking.REACH :][[5, 6, 7, 8, 9]], [40, 5, 4, 5, 30])
    strong, later = (tracking.sinks(ends, (21,), by_count=by_count) for by_count in (True, False))
    assert strong.tolist() == [1] * 84 == (3 - later).tolist()


@pytest.mark.parametrize("ndim", [2, 3])
def test_what_is_not_finite_is_counted(ndim):
    labels = balls(np.random.default_rng(1), (24, 26, 28)[:ndim], 3)
    field, score = labels_to_flows(labels), (labels > 0).astype(np.float32)
    score[(3,) * ndim] = np.nan
    place = tuple(axis[0] for axis in np.nonzero(labels))
    field[(0, *place)] = np.inf
    tally = Tally()
    flows_to_labels(field, score, max_fraction=1.0, tally=tally)
    assert tally.counts["undefined.voxels"] == 2
    for bad in (np.nan, np.inf):
        tally = Tally()
        assert not flows_to_labels(np.full_like(field, bad), labels > 0, tally=tally).any()
        assert tally.counts == {"undefined.voxels": np.count_nonzero(labels)}


@pytest.mark.parametrize("compat", [None, "cellpose", "mediar"])
def test_fields_without_a_way(compat):
    """Zero flow, one sink for all, steps beyond the image, images of one voxel or none."""
    inside, places = np.ones((40, 44), bool), np.indices((40, 44))
    toward = np.array([20, 22])[:, None, None] - places
    one = (toward / np.maximum(np.sqrt((toward**2).sum(0)), 1e-9)).astype(np.float32)
    free = {"compat": compat, "max_fraction": 1.0, "flow_error": None, "min_size": 0}
    assert flows_to_labels(one, inside, **free).tolist()[0] == [1] * 44
    assert not flows_to_labels(0 * one, inside, **free).any()
    assert flows_to_labels(1e30 * np.ones_like(one), inside, **free).max() <= 1
    for shape in ((1, 1), (1, 50), (0, 5)):
        zero = np.zeros((2, *shape), np.float32)
        assert not flows_to_labels(zero, np.ones(shape, bool), **free).any()
