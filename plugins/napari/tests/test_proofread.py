"""Proofread with real clicks: order, split, merge, accept, undo, save."""

from __future__ import annotations

import json

import numpy as np
import pytest

from unmask.io import open_image, open_labels, save_image, save_labels


@pytest.fixture
def touching():
    """Object 1 is two disks that touch, object 2 one disk, object 3 a part of object 2."""
    y, x = np.indices((80, 100))
    labels = np.zeros((80, 100), np.uint16)
    labels[(y - 25) ** 2 + (x - 25) ** 2 < 150] = 1
    labels[(y - 25) ** 2 + (x - 46) ** 2 < 150] = 1
    labels[(y - 60) ** 2 + (x - 60) ** 2 < 200] = 2
    labels[(labels == 2) & (x > 62)] = 3
    return labels


def choose(form, label):
    for row in range(form.objects.count()):
        if form.objects.item(row).text().startswith(f"{label}:"):
            form.objects.setCurrentRow(row)
            form._show()
            return
    raise AssertionError(f"no object {label}")


def test_uncertain_objects_first_and_corrections(
    viewer, open_form, run, click, click_at, qtbot, touching, tmp_path
):
    features = {"index": [1, 2, 3], "uncertainty": [0.5, 0.1, 0.9]}
    layer = viewer.add_labels(touching, name="cells", scale=(2, 2), features=features)
    form = open_form("Proofread")
    run(form)
    order = [form.objects.item(row).text().split(":")[0] for row in range(3)]
    assert order == ["3", "1", "2"]
    assert form.current == 3
    np.testing.assert_allclose(
        np.asarray(viewer.camera.center)[-2:], layer.data_to_world(form.items[3].center), atol=0.01
    )
    click(form.merge_button)
    click_at(layer, (60, 55))
    np.testing.assert_array_equal(np.unique(layer.data), [0, 1, 3])
    click(form.undo_button)
    np.testing.assert_array_equal(layer.data, touching)
    choose(form, 1)
    click(form.split_button)
    click_at(layer, (25, 22))
    click_at(layer, (25, 49))
    assert not form.split_button.isChecked()
    np.testing.assert_array_equal(np.unique(layer.data), [0, 1, 2, 3, 4])
    assert layer.data[25, 20] == 1
    assert layer.data[25, 50] == 4
    click(form.accept_button)
    assert "1 of 4 accepted" in form.count.text()
    path = tmp_path / "cells.tif"
    form.path.setText(str(path))
    click(form.save_button)
    saved = open_labels(path, ndim=2)
    np.testing.assert_array_equal(saved.read()[0], layer.data)
    assert saved.spacing == (2.0, 2.0)
    assert json.loads((tmp_path / "cells.tif.accepted.json").read_text()) == {"accepted": [1]}
    shown = viewer.screenshot(canvas_only=True, flash=False)
    assert len(np.unique(shown.reshape(-1, 4), axis=0)) > 3


def test_labels_of_an_ome_zarr_are_saved_in_place(
    viewer, open_form, run, click, touching, tmp_path
):
    store = tmp_path / "field.ome.zarr"
    save_image(store, touching.astype(np.uint8), spacing=(0.5, 0.5), unit="um")
    image = open_image(store, ndim=2)
    save_labels(store / "labels" / "cells", touching, like=image, name="cells")
    viewer.open(str(store), plugin="napari-unmask")
    assert [type(layer).__name__ for layer in viewer.layers] == ["Image", "Labels"]
    form = open_form("Proofread")
    assert form.path.text() == str(store / "labels" / "cells")
    run(form)
    choose(form, 3)
    click(form.accept_button)
    choose(form, 2)
    click(form.remove_button)
    click(form.save_button)
    assert "Saved" in form.messages.toPlainText(), form.messages.toPlainText()
    saved = open_labels(store / "labels" / "cells", ndim=2).read()[0]
    np.testing.assert_array_equal(saved, np.where(touching == 2, 0, touching))
    np.testing.assert_array_equal(open_image(store, ndim=2).read()[0], touching)
    run(form)
    assert form.accepted == {3}


def test_another_file_is_not_overwritten(viewer, open_form, run, click, touching, tmp_path):
    path = tmp_path / "other.tif"
    path.write_bytes(b"mine")
    viewer.add_labels(touching, name="cells")
    form = open_form("Proofread")
    run(form)
    form.path.setText(str(path))
    click(form.save_button)
    assert "other.tif: expected a new file" in form.messages.toPlainText()
    assert path.read_bytes() == b"mine"
    click(form.split_button)
    form._points = [(0, 0)]
    form._points.append((25, 25))
    form.attempt(form._split)
    assert "inside of it" in form.messages.toPlainText()
