"""Phantoms that resemble images: statistics, families, look, collages."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.phantoms import FAMILIES, draw, draw_one
from unmask.phantoms.likeness import fit as fit_module
from unmask.phantoms.likeness.bank import Canvas, draw_bank, option_ranges
from unmask.phantoms.likeness.collage import draw_collages, take_apart
from unmask.phantoms.likeness.fit import describe_distance, fit_images, separate_groups
from unmask.phantoms.likeness.look import apply_look, read_look
from unmask.phantoms.likeness.photographs import Photograph
from unmask.phantoms.likeness.reference import load_reference
from unmask.phantoms.likeness.resemble import draw_alike
from unmask.phantoms.likeness.statistics import measure, noise_level

CANVAS = Canvas((128, 128), (1.0, 1.0))
PLAIN = read_look(draw_one("nuclei", (96, 96), seed=4).image)


def rows_of(name, count, diameter):
    options = {"diameter": (diameter, diameter)}
    return np.stack(
        [measure(p.image) for p in draw(name, (128, 128), count, seed=9, options=options)]
    )


def test_the_reference_holds_all_families_and_most_are_among_those_compared_again():
    for ndim in (2, 3):
        assert load_reference(ndim).names == tuple(FAMILIES)
    reference = load_reference(2)
    found = []
    for name in FAMILIES:
        diameter = 9.0 if name in ("worms", "fibers") else 22.0
        rows = rows_of(name, 4, diameter)
        ranks = reference.rank(rows)
        found.append(name in reference.near(rows, fit_module._NEARLY)[: fit_module._RIVALS])
        assert dict(ranks)[name] < 1.6
    assert sum(found) >= 0.8 * len(FAMILIES)


def test_the_family_and_the_diameter_are_found(monkeypatch):
    name = "membranes"
    monkeypatch.setattr(fit_module, "_READ", 20)
    monkeypatch.setattr(fit_module, "_RIVALS", 1)
    fit = fit_images(rows_of(name, 4, 20.0), CANVAS, reference=load_reference(2), seed=1)
    assert fit.kind == name
    assert 20 / 1.2 < fit.diameter < 20 * 1.2
    assert fit.word in ("close", "fair", "poor")
    assert set(fit.ranges) == set(option_ranges(name))


def test_images_of_two_magnifications_are_drawn_in_both():
    small, large = rows_of("nuclei", 6, 10.0), rows_of("nuclei", 3, 42.0)
    rows = np.concatenate([small, large])
    fit = fit_images(rows, CANVAS, reference=load_reference(2), kind="nuclei", seed=1)
    assert np.median(fit.diameters[:6]) < 15
    assert np.median(fit.diameters[6:]) > 30
    images = [Photograph(str(k), row[None], PLAIN) for k, row in enumerate(rows)]
    drawn = [p.labels for p in draw_alike(fit, images, CANVAS, 9, seed=1)]
    across = [2 * np.sqrt(np.median(np.bincount(one[one > 0])[1:]) / np.pi) for one in drawn]
    assert sum(each < 16 for each in across) in (5, 6, 7)
    assert sum(each > 24 for each in across) in (2, 3, 4)


def test_noise_and_stripes_resemble_no_family():
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 255, (3, 128, 128)).astype(np.float32)
    stripes = np.tile(255.0 * (np.arange(128) // 2 % 2), (3, 128, 1)).astype(np.float32)
    for image in (colors, stripes):
        distance = load_reference(2).rank(measure(image)[None])[0][1]
        assert describe_distance(distance) == "does not fit"


def test_groups_are_images_that_are_near_each_other():
    points = np.array([[0.0, 0], [0, 1], [9, 9], [1, 0], [9, 8]])
    assert separate_groups(points, 3.0) == [[0, 1, 3], [2, 4]]


@pytest.mark.parametrize("shape", [(64, 64), (4, 40, 40)])
def test_options_are_spread_and_known(shape):
    bank = draw_bank(["bacteria"], Canvas(shape), 3, seed=2)
    assert bank.rows.shape[0] == len(bank.options) == 3
    low, high = option_ranges("bacteria")["aspect"]
    assert all(low <= options["aspect"] <= high for options in bank.options)
    assert np.isfinite(bank.rows).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_phantom_takes_the_look_of_a_photograph(channels):
    rng = np.random.default_rng(1)
    phantom = draw_one("nuclei", (96, 96), seed=3).image
    scene = draw_one("nuclei", (96, 96), seed=4).image[0].astype(float)
    photograph = np.stack([1000 + 9 * scene * (c + 1) for c in range(channels)])
    photograph = (photograph + rng.normal(0, 60, photograph.shape)).astype(np.uint16)
    image = apply_look(phantom, read_look(photograph), rng)
    assert image.dtype == np.uint16
    assert image.shape == (channels, 96, 96)
    for own, wanted in zip(image, photograph, strict=True):
        assert np.median(own) == pytest.approx(np.median(wanted), rel=0.1)
    # Noise is added up to that of the photograph; what a phantom has of its own stays.
    assert noise_level(image.mean(0)) >= 0.7 * noise_level(photograph.mean(0))


@pytest.mark.parametrize("shape", [(64, 64), (16, 40, 40)])
def test_collages_hold_objects_of_the_labeled_images_on_their_ground(shape):
    sample = draw_one("nuclei", shape, seed=1, options={"diameter": (8.0, 8.0), "count": 12})
    sheet = take_apart(sample.image, sample.labels)
    # Nothing bright is left of the objects.
    ground = sample.image[0][sample.labels == 0]
    assert sheet.ground[0][sample.labels > 0].mean() < ground.mean() + 2 * ground.std() + 3
    larger = tuple(n + 9 for n in shape)
    for image, labels in draw_collages([sheet], larger, 2, seed=1):
        assert image.shape == (1, *larger)
        assert image.dtype == sample.image.dtype
        numbers = np.unique(labels)
        assert numbers.tolist() == list(range(len(numbers)))
        assert len(numbers) > 2
