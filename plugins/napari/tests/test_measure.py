"""Measure with real clicks: the table is joined to the layer."""

from __future__ import annotations

import csv

import numpy as np


def test_the_table_is_in_the_features(viewer, open_form, run, click, nuclei, tmp_path):
    image, labels = nuclei
    viewer.add_image(image, name="field", scale=(0.5, 0.5), units=("um", "um"))
    doubts = {"index": np.unique(labels)[1:], "uncertainty": np.unique(labels)[1:] / 100}
    layer = viewer.add_labels(labels, name="truth", scale=(0.5, 0.5), features=doubts)
    form = open_form("Measure")
    run(form)
    table = layer.features.set_index("index")
    ids, sizes = np.unique(labels[labels > 0], return_counts=True)
    np.testing.assert_array_equal(table.loc[ids, "area"], sizes)
    np.testing.assert_allclose(table.loc[ids, "area_um2"], sizes / 4)
    np.testing.assert_allclose(table.loc[ids, "uncertainty"], ids / 100)
    means = [image[labels == each].mean() for each in ids]
    column = next(name for name in table if name.startswith("mean_"))
    np.testing.assert_allclose(table.loc[ids, column], means, rtol=1e-5)
    item = form.table.item(2, 0)
    form.table.itemClicked.emit(item)
    assert layer.selected_label == int(form.table.item(2, 0).text())
    form.path.setText(str(tmp_path / "objects.csv"))
    click(form.save_button)
    with (tmp_path / "objects.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(ids)
    click(form.save_button)
    assert "expected a new file" in form.messages.toPlainText()


def test_images_of_another_shape_are_refused(viewer, open_form, click, nuclei):
    viewer.add_image(nuclei[0][:50], name="half")
    viewer.add_labels(nuclei[1], name="truth")
    form = open_form("Measure")
    click(form.run_button)
    assert "truth: expected labels of the shape of half" in form.messages.toPlainText()
