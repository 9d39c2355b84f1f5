"""Cluster with real clicks; a click into the picture chooses the cluster that gets a name."""

from __future__ import annotations

import numpy as np
import pytest

from unmask import api
from unmask.io import open_labels

SMALL = [
    "model.backbone={name: vit, patch: 3, dim: 24, depth: 2, heads: 2, position_scale: 0.08}",
    "data.crop=[18, 18]",
    "data.normalize={name: window, low: 0, high: 255}",
    "method.decoder_dim=24",
    "method.decoder_depth=1",
    "method.decoder_heads=2",
    "train.steps=2",
    "train.batch_size=2",
    "train.precision='32'",
    "infer.precision='32'",
]


@pytest.fixture(scope="module")
def textured():
    """Two textures, the left and the right half of every slice."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 90, (2, 24, 36))
    image[..., 18:] += 160
    return image.astype(np.uint8)


@pytest.fixture(scope="module")
def model(textured, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "pre"
    return api.pretrain("maester", images=[textured], out=out, settings=SMALL).model


def test_name_clusters_by_clicking(
    viewer, open_form, run, click, click_at, textured, model, tmp_path
):
    viewer.add_image(textured, name="tissue", scale=(2, 1, 1))
    form = open_form("Cluster")
    form.model.choose(model)
    form.classes.setValue(3)
    form.out.setText(str(tmp_path / "out"))
    text = run(form)
    layer = viewer.layers["tissue clusters"]
    assert "Click on a structure" in text
    assert set(np.unique(layer.data)) == {1, 2, 3}
    np.testing.assert_allclose(layer.scale, (2, 1, 1))
    viewer.dims.set_point(0, 0)
    voxel = (0, 12, 30)
    click_at(layer, voxel)
    number = int(layer.data[voxel])
    assert form.table.currentRow() == number - 1
    form.table.item(number - 1, 2).setText("bright")
    click(form.name_button)
    classes = viewer.layers["tissue classes"]
    np.testing.assert_array_equal(classes.data == 1, layer.data == number)
    saved = open_labels(tmp_path / "out" / "classes.tif", ndim=3).read()[0]
    np.testing.assert_array_equal(saved, classes.data)
    assert f'"bright": [{number}]' in (tmp_path / "out" / "names.yaml").read_text()


def test_a_model_is_needed(viewer, open_form, click, textured):
    viewer.add_image(textured, name="tissue")
    form = open_form("Cluster")
    click(form.run_button)
    assert "expected a model with patch tokens" in form.messages.toPlainText()
