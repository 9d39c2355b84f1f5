"""Timed updates are those of the training: with the crops of every source."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.build import assemble_segmenter
from unmask.data.pairs import Pair
from unmask.io import Image
from unmask.recipe import load
from unmask.training import timing

SMALL = ["model.backbone={name: resunet, width: 4, depth: 2}", "data.crop=[16, 16]",
         "train.batch_size=2"]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "labeled", "unlabeled"),
    [
        ([], 2, 0),
        (["train.unlabeled={name: consistency, batch: 3}"], 2, 3),
        (["data.replay={batch: 1}"], 3, 0),
        (["data.replay={batch: 1}", "train.unlabeled=consistency"], 3, 4),
    ],
)
def test_batches_hold_the_crops_of_every_source(settings, labeled, unlabeled):
    recipe = load("semantic2d").with_settings([*SMALL, *settings])
    array = np.arange(576, dtype=np.uint8).reshape(24, 24)
    pair = Pair("a", Image.from_array(array, name="a", ndim=2))
    pairs = timing.label_pairs([pair], recipe)
    batch = timing._batches(assemble_segmenter(recipe), pairs).batch(0)
    assert len(batch.image) == labeled
    assert (0 if batch.unlabeled is None else len(batch.unlabeled)) == unlabeled
