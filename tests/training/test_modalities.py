"""Kinds of images are found, written down, and come equally often."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from unmask.data.crops import CropPlan, Crops
from unmask.data.normalize import NoNormalize
from unmask.data.pairs import Pair
from unmask.data.sampling import Modalities
from unmask.errors import CheckpointError, DataError, RecipeError
from unmask.io import Image
from unmask.training import make_fabric, modalities

KINDS = [9, 4, 2]


class Backbone(nn.Module):
    """Two features: brightness and texture, with a dropout that evaluation switches off."""

    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)
        self.calls = 0

    def forward(self, image):
        self.calls += len(image)
        steps = image.diff(dim=-1, append=image[..., -1:]).abs()
        return [image, self.drop(torch.cat([image, steps], 1))]


def crops(shape=(20, 22), kinds=KINDS, *, names=None):
    """Images of one brightness and texture a kind, kinds in turn."""
    rng = np.random.default_rng(0)
    order = [k for turn in range(max(kinds)) for k, count in enumerate(kinds) if turn < count]
    pairs = []
    for number, kind in enumerate(order):
        array = 0.3 * kind + rng.normal(0, 0.02 * (1 + kind), shape)
        name = f"{names or 'image'}{number}"
        pairs.append(Pair(name, Image.from_array(array.astype("f4"), name=name, ndim=len(shape))))
    plan = CropPlan((16,) * len(shape), 1, 4, seed=3)
    return Crops(pairs, plan, normalize=NoNormalize()), np.array(order)


@pytest.fixture
def found(tmp_path):
    """``found(crops, **options)``: numbers of the images of an epoch."""
    fabric = make_fabric(1, "32", "cpu")

    def run(source, *, backbone=None, resume=False, **options):
        network = backbone or Backbone()
        chosen = Modalities(**{"clusters": 3, "floor": 6, **options})
        place = {"folder": tmp_path, "fabric": fabric, "resume": resume}
        return modalities.discover(source, network, chosen, **place)

    return run


@pytest.mark.parametrize("features", ["backbone", "statistics"])
@pytest.mark.parametrize("shape", [(20, 22), (18, 17, 20)])
def test_kinds_are_found_and_small_ones_repeated(found, tmp_path, features, shape):
    source, kinds = crops(shape)
    items = found(source, features=features)
    assert np.bincount(kinds[items]).tolist() == [9, 6, 6]
    rows = list(csv.DictReader((tmp_path / "modalities.csv").open()))
    assert sorted(row["image"] for row in rows) == sorted(source.sources)
    clusters = [int(row["cluster"]) for row in rows]
    # The largest kind first, one line per image.
    assert clusters == sorted(clusters)
    assert np.bincount(clusters).tolist() == KINDS
    by_name = {row["image"]: int(row["cluster"]) for row in rows}
    assert [by_name[name] for name in source.sources] == kinds.tolist()
    assert found(source, features=features) == items


def test_batches_follow_the_numbers(found):
    source, _ = crops()
    items = found(source)
    ordered = source.in_order_of(items)
    seen = [
        round(float(ordered.batch(i).image[b].mean()) / 0.3) for i in range(21) for b in range(4)
    ]
    # Four epochs of 21 samples.
    assert np.bincount(seen).tolist() == [36, 24, 24]
    plain = [
        round(float(source.batch(i).image[b].mean()) / 0.3) for i in range(15) for b in range(4)
    ]
    assert np.bincount(plain).tolist() == [36, 16, 8]


def test_the_network_is_asked_once_an_image_and_left_as_it_was(found):
    source, _ = crops()
    network = Backbone()
    found(source, backbone=network)
    assert network.calls == sum(KINDS)
    assert network.training
    found(source, backbone=network, resume=True)
    assert network.calls == sum(KINDS)
    found(source, backbone=network, features="statistics")
    assert network.calls == sum(KINDS)


@pytest.mark.parametrize("features", ["backbone", "statistics"])
def test_processes_divide_the_images(features, monkeypatch):
    """No process waits for the main one to look at all images, which may exceed the timeout."""
    source, _ = crops()
    chosen = Modalities(clusters=3, floor=6, features=features)
    alone = make_fabric(1, "32", "cpu")
    whole = modalities.describe(source, Backbone(), chosen, alone)
    shares, given = [], []

    def gather(parts, rows):
        shares.append(rows)
        parts[:] = given or [rows, []]

    monkeypatch.setattr(modalities.distributed, "all_gather_object", gather)
    monkeypatch.setattr(Fabric, "world_size", property(lambda _: 2))
    for attempt in range(2):
        for rank in range(2):
            monkeypatch.setattr(Fabric, "global_rank", property(lambda _, r=rank: r))
            found = modalities.describe(source, Backbone(), chosen, alone)
            if attempt:
                np.testing.assert_array_equal(found, whole)
        given[:] = shares[:2]
    assert [sum(map(len, rows)) for rows in given] == [8, 7]


def test_a_resumed_run_reads_its_clusters(found, tmp_path):
    source, kinds = crops()
    found(source)
    path = tmp_path / "modalities.csv"
    text = path.read_text()
    lines = text.splitlines()
    path.write_text("\n".join([lines[0], *(f"{line.split(',')[0]},0" for line in lines[1:])]))
    assert sorted(found(source, resume=True)) == list(range(15))
    path.write_text(text.replace(",2", ",x"))
    with pytest.raises(CheckpointError, match=r"modalities\.csv: expected a line for each"):
        found(source, resume=True)
    path.write_text(text)
    with pytest.raises(CheckpointError, match="other images: "):
        found(crops(names="other")[0], resume=True)
    # A new run finds its own.
    path.write_text("nothing")
    assert np.bincount(kinds[found(source)]).tolist() == [9, 6, 6]


def test_names_of_any_form_are_kept(found):
    source, kinds = crops(names='a, "b"\n\udcff')
    items = found(source)
    assert found(source, resume=True) == items
    assert np.bincount(kinds[items]).tolist() == [9, 6, 6]


def test_too_many_clusters(found):
    source, _ = crops()
    with pytest.raises(RecipeError, match=r"clusters=15: expected fewer than the 15 training"):
        found(source, clusters=15)
    same = Crops(
        [Pair(str(i), Image.from_array(np.ones((9, 9), "f4"), name=str(i), ndim=2)) for i in "abc"],
        CropPlan((4, 4), 1, 2),
        normalize=NoNormalize(),
    )
    for features in ("backbone", "statistics"):
        with pytest.raises(DataError, match="at least 2 distinct"):
            found(same, clusters=2, features=features)
        assert found(same, clusters=1, floor=0, features=features) == [0, 1, 2]


def test_a_network_that_has_learnt_nothing_is_refused(tmp_path):
    options = Modalities()
    with pytest.raises(RecipeError, match=r"--init.*data\.sampling\.features=statistics"):
        modalities.check_start(options, tmp_path, init=False, resume=True)
    modalities.check_start(options, tmp_path, init=True, resume=False)
    modalities.check_start(Modalities(features="statistics"), tmp_path, init=False, resume=False)
    (tmp_path / "modalities.csv").write_text("image,cluster\n")
    modalities.check_start(options, tmp_path, init=False, resume=True)
    with pytest.raises(RecipeError):
        modalities.check_start(options, tmp_path, init=False, resume=False)


def test_no_component_rules_the_distances():
    vectors = np.random.default_rng(1).normal([0, 5, 3], [1, 1000, 0], (200, 3))
    result = modalities.standardize(vectors)
    assert result.shape == (200, 2)
    np.testing.assert_allclose(result.std(0), 1, atol=1e-5)
    assert modalities.standardize(np.ones((4, 3))).tolist() == [[0]] * 4
