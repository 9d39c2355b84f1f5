"""Segment with real clicks: labels at the place of their image."""

from __future__ import annotations

import re
import threading
import time

import numpy as np
from qtpy.QtCore import Qt

from unmask import api, interruption


def test_a_labels_layer_with_scale_units_and_translation(viewer, open_form, run, nuclei):
    image, _ = nuclei
    viewer.add_image(image, name="field", scale=(0.5, 0.25), translate=(10, 20), units=("um", "um"))
    form = open_form("Segment")
    form.model.choose("nuclei")
    steps = []
    form.job.progressed.connect(lambda done, total: steps.append((done, total)))
    text = run(form)
    assert steps[-1][0] == steps[-1][1] > 0
    layer = viewer.layers["field nuclei"]
    assert layer.data.shape == image.shape
    assert layer.data.any()
    np.testing.assert_allclose(layer.scale, (0.5, 0.25))
    np.testing.assert_allclose(layer.translate, (10, 20))
    assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]
    assert re.search(r"\d+ objects? in ", text)
    assert {"index", "uncertainty", "area_um2"} <= set(layer.features)
    shown = viewer.screenshot(canvas_only=True, flash=False)
    assert len(np.unique(shown.reshape(-1, 4), axis=0)) > 20


def test_a_region_keeps_its_place(viewer, open_form, run, nuclei):
    viewer.add_image(nuclei[0], name="field", scale=(2, 2), translate=(100, 50))
    box = np.array([[20, 30], [20, 80], [70, 80], [70, 30]])
    viewer.add_shapes([box], name="box", scale=(2, 2), translate=(100, 50))
    form = open_form("Segment")
    form.region.setCurrentText("box")
    text = run(form)
    layer = next(each for each in viewer.layers if type(each).__name__ == "Labels")
    assert layer.data.shape == (51, 51)
    np.testing.assert_allclose(layer.data_to_world((0, 0)), (100 + 40, 50 + 60))
    assert "Model: generalist2d" in text


def test_slices_of_a_volume_and_an_rgb_layer(viewer, open_form, run, qtbot, volume, nuclei):
    viewer.add_image(volume[0], name="stack", scale=(3, 1, 1), units=("um",) * 3)
    form = open_form("Segment")
    form.model.choose("nuclei")
    form.join.setChecked(True)
    text = run(form)
    assert "stack nuclei" in viewer.layers, text
    layer = viewer.layers["stack nuclei"]
    assert layer.data.shape == volume[0].shape
    np.testing.assert_allclose(layer.scale, (3, 1, 1))
    gray = np.clip(nuclei[0] / nuclei[0].max() * 255, 0, 255).astype(np.uint8)
    viewer.add_image(np.stack([gray] * 3, -1), name="colors", rgb=True)
    place = form.images.visualItemRect(form.images.item(form.images.count() - 1)).center()
    qtbot.mouseClick(form.images.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert [each.name for each in form.images.layers] == ["colors"]
    run(form)
    assert viewer.layers["colors nuclei"].data.shape == gray.shape


def test_wrong_requests_are_messages(viewer, open_form, run, click, nuclei, tmp_path):
    form = open_form("Segment")
    click(form.run_button)
    assert "expected a layer, found none" in form.messages.toPlainText()
    viewer.add_image(nuclei[0], name="field")
    viewer.add_image(nuclei[0][:40], name="part")
    form.images.selectAll()
    click(form.run_button)
    assert "expected layers of one shape" in form.messages.toPlainText()
    form.images.setCurrentRow(0)
    form.model.choose(tmp_path / "none.safetensors")
    assert "none.safetensors" in run(form)
    assert form.run_button.isEnabled()
    assert len(viewer.layers) == 2


def test_cancel(viewer, open_form, click, qtbot, nuclei, monkeypatch):
    entered = threading.Event()
    predict = api.predict

    def slow(*given, **named):
        entered.set()
        while not interruption.is_requested():
            time.sleep(0.01)
        return predict(*given, **named)

    monkeypatch.setattr(api, "predict", slow)
    viewer.add_image(nuclei[0], name="field")
    form = open_form("Segment")
    with qtbot.waitSignal(form.job.ended, timeout=600_000) as ended:
        click(form.run_button)
        qtbot.waitUntil(entered.is_set, timeout=600_000)
        click(form.cancel_button)
    assert ended.args[0].cancelled
    assert len(viewer.layers) == 1
    assert "Stopped" in form.messages.toPlainText()


def test_the_viewer_is_closed_during_work(viewer, open_form, click, qtbot, nuclei, monkeypatch):
    entered, left = threading.Event(), threading.Event()

    def slow(*given, **named):
        entered.set()
        while not interruption.is_requested():
            time.sleep(0.01)
        left.set()
        interruption.check()

    monkeypatch.setattr(api, "predict", slow)
    viewer.add_image(nuclei[0], name="field")
    form = open_form("Segment")
    click(form.run_button)
    qtbot.waitUntil(entered.is_set, timeout=600_000)
    viewer.close()
    qtbot.waitUntil(left.is_set, timeout=600_000)
