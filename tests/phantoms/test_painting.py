"""Painters against geometry that is known exactly."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from unmask.phantoms import bodies
from unmask.phantoms.bodies import Bodies, Grid, separate, solid
from unmask.phantoms.fields import field
from unmask.phantoms.painting import Tubes, paint_cells, paint_ellipsoids, paint_tubes
from unmask.phantoms.placing import (
    bent_paths,
    lattice_seeds,
    log_uniform,
    merge_seeds,
    orthonormal,
    random_ellipsoids,
    scatter,
)
from unmask.phantoms.stacking import number_stacked


@pytest.mark.parametrize("half", [(30.0, 17.0), (14.0, 20.0, 9.0)])
def test_an_ellipsoid_has_its_area_and_extent(half):
    n = len(half)
    grid = Grid((70,) * n, (1.0,) * n)
    center = np.full((1, n), 34.5)
    body = Bodies(center, np.diag(1 / np.array(half))[None], np.array([max(half) * 1.1]))
    painted = paint_ellipsoids(grid, body)
    volume = {2: np.pi, 3: 4 / 3 * np.pi}[n] * np.prod(half)
    assert np.sum(painted.owner == 1) == pytest.approx(volume, rel=0.02)
    at = np.argwhere(painted.owner == 1)
    np.testing.assert_allclose(np.ptp(at, axis=0), 2 * np.array(half), atol=1.5)


def test_spacing_is_physical():
    grid = Grid((20, 80), (4.0, 1.0))
    ball = random_ellipsoids(np.array([[40.0, 40.0]]), np.array([20.0]), np.random.default_rng(0),
                             elongation=1.0)  # fmt: skip
    owner = paint_ellipsoids(grid, ball).owner
    assert 4 * owner.sum() == pytest.approx(np.pi * 400, rel=0.05)


def test_touching_ellipsoids_share_at_the_nearer_one_or_stack():
    grid = Grid((40, 60), (1.0, 1.0))
    form = np.repeat(np.eye(2)[None] / 12, 2, 0)
    pair = Bodies(np.array([[20.5, 22.5], [20.5, 38.5]]), form, np.array([13.0, 13.0]))
    nearest = paint_ellipsoids(grid, pair).owner
    assert nearest[20, 29] == 1
    assert nearest[20, 31] == 2
    stacked = paint_ellipsoids(grid, pair, stacked=True).owner
    assert stacked[20, 29] == 2
    assert np.sum(stacked == 2) == pytest.approx(np.pi * 144, rel=0.03)


def test_a_tube_has_its_width_and_later_ones_lie_on_top():
    grid = Grid((60, 60), (1.0, 1.0))
    paths = np.array([[[30.5, 5.0], [30.5, 55.0]], [[5.0, 30.5], [55.0, 30.5]]])
    tubes = Tubes(paths, np.full((2, 2), 4.0), np.array([1, 2]))
    painted = paint_tubes(grid, tubes)
    # Rectangle and two half discs.
    assert np.sum(painted.owner == 2) == pytest.approx(50 * 8 + np.pi * 16, rel=0.06)
    assert painted.owner[30, 30] == 2
    assert painted.along[30, 8] < 0.1 < 0.9 < painted.along[30, 53]
    labels, crossings = number_stacked(painted)
    assert crossings.tolist() == [[2, 1]]
    assert ndimage.label(labels == 1, output=np.zeros(labels.shape, np.int32)) == 2


@pytest.mark.parametrize("shape", [(50, 64), (16, 20, 24)])
def test_cells_are_the_power_diagram(shape):
    """Against the definition, over all seeds."""
    rng = np.random.default_rng(1)
    grid = Grid(shape, (1.0,) * len(shape))
    seeds = lattice_seeds(grid, 9.0, rng, jitter=0.2, spread=0.05)
    owner, gap = paint_cells(grid, seeds)
    points = np.stack(np.indices(shape), axis=-1).reshape(-1, len(shape))
    power = np.sum((points[:, None] - seeds.centers[None]) ** 2, axis=2) - seeds.weight
    nearest = np.argsort(power, axis=1)[:, :2]
    np.testing.assert_array_equal(owner.ravel(), seeds.group[nearest[:, 0]])
    first, second = np.take_along_axis(power, nearest, 1).T
    apart = np.linalg.norm(seeds.centers[nearest[:, 0]] - seeds.centers[nearest[:, 1]], axis=1)
    np.testing.assert_allclose(gap.ravel(), (second - first) / (2 * apart), atol=1e-3)


def test_merged_seeds_have_no_wall_between_them():
    rng = np.random.default_rng(2)
    grid = Grid((80, 80), (1.0, 1.0))
    seeds = lattice_seeds(grid, 10.0, rng)
    merged = merge_seeds(grid, seeds, 0.8, rng)
    assert len(np.unique(merged.group)) < len(np.unique(seeds.group))
    owner, gap = paint_cells(grid, merged)
    inside = (owner[:, 1:] == owner[:, :-1]) & (owner[:, 1:] != 0)
    assert np.all(gap >= -1e-3)
    assert len(np.unique(owner)) < len(np.unique(paint_cells(grid, seeds)[0]))
    assert inside.mean() > 0.7


@pytest.mark.parametrize("shape", [(200,), (64, 70), (20, 24, 30)])
@pytest.mark.parametrize("scale", [0.5, 1.0, 3.7, 40.0, 500.0])
def test_fields_are_the_dense_spline(shape, scale):
    """The compiled field against the first one, which multiplies by dense matrices."""
    grid = Grid(shape, (1.0,) * len(shape))
    steps = np.maximum(scale, 1.0)
    rng = np.random.default_rng(3)
    ours = field(grid, scale, rng)
    assert ours.shape == shape
    assert ours.dtype == np.float32
    again = np.random.default_rng(3)
    knots = [int(np.ceil((n - 1) / steps)) + 4 for n in shape]
    values = again.standard_normal(knots, dtype=np.float32)
    for axis in reversed(range(len(shape))):
        at = np.arange(shape[axis]) / steps + 1 + again.random()
        weights = bodies._spline_weights(at, knots[axis])
        values = np.moveaxis(np.tensordot(weights, values, (1, axis)), 0, axis)
    values = values / bodies.SPLINE_POWER ** (len(shape) / 2)
    np.testing.assert_allclose(ours, values, atol=1e-5)


def test_fields_have_mean_0_and_variance_1():
    grid = Grid((96, 96), (1.0, 1.0))
    rng = np.random.default_rng(4)
    values = np.stack([field(grid, 5.0, rng) for _ in range(40)])
    assert abs(values.mean()) < 0.03
    assert values.var() == pytest.approx(1, abs=0.06)


def test_solid_keeps_the_largest_piece_and_separate_keeps_all():
    owner = np.zeros((12, 12), np.int32)
    owner[:3, :4] = 7
    owner[6:, :4] = 7
    owner[:, 8:] = 3
    owner[11, 6] = 5
    kept = solid(owner)
    assert kept.dtype == np.uint16
    assert np.unique(kept).tolist() == [0, 1, 2]
    assert kept[0, 0] == 0
    assert kept[8, 0] == 2
    assert kept[0, 9] == 1
    assert np.unique(separate(owner)).tolist() == [0, 1, 2, 3]


def test_places_are_apart_and_directions_orthonormal():
    rng = np.random.default_rng(5)
    grid = Grid((100, 100), (1.0, 1.0))
    radius = np.full(60, 5.0)
    centers = scatter(grid, radius, rng, nearest=0.9)
    distance = np.linalg.norm(centers[:, None] - centers[None], axis=2)
    assert distance[np.triu_indices(len(centers), 1)].min() >= 9.0 - 1e-9
    for n in (2, 3, 4):
        rows = orthonormal(7, n, rng)
        np.testing.assert_allclose(rows @ rows.swapaxes(1, 2), np.repeat(np.eye(n)[None], 7, 0),
                                   atol=1e-9)  # fmt: skip


def test_paths_have_their_length_and_middle():
    rng = np.random.default_rng(6)
    middle = rng.uniform(0, 50, (5, 3))
    paths = bent_paths(middle, np.full(5, 30.0), np.full(5, 1.0), rng)
    steps = np.linalg.norm(np.diff(paths, axis=1), axis=2).sum(axis=1)
    np.testing.assert_allclose(steps, 30.0, rtol=1e-6)
    np.testing.assert_allclose(paths.mean(axis=1), middle, atol=1e-9)


def test_log_uniform_covers_its_range():
    rng = np.random.default_rng(7)
    values = [log_uniform(rng, 2, 32) for _ in range(400)]
    assert 2 <= min(values) < 3
    assert 22 < max(values) <= 32
    assert np.median(values) == pytest.approx(8, rel=0.2)
