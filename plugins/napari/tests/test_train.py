"""Train with real clicks: twenty updates, a curve, a model that Segment offers; stop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from qtpy.QtTest import QTest

from napari_unmask import models

UPDATES = 20
SMALL = "model.backbone.width=4; model.backbone.depth=2; data.crop=[32, 32]; train.batch_size=2"


def prepare(viewer, open_form, nuclei, out):
    image, labels = nuclei
    viewer.add_image(image, name="field", scale=(0.5, 0.5), units=("um", "um"))
    viewer.add_labels(labels, name="truth")
    form = open_form("Train")
    form.updates.setValue(UPDATES)
    form.init.setCurrentText("none")
    form.settings.setText(SMALL)
    form.out.setText(str(out))
    return form


def test_twenty_updates_then_segment(viewer, open_form, run, nuclei, tmp_path):
    out = tmp_path / "run"
    form = prepare(viewer, open_form, nuclei, out)
    text = run(form)
    assert f"{UPDATES} updates" in text, text
    assert (out / "model.safetensors").is_file()
    assert form.curve.losses[-1][0] == UPDATES
    assert len(form.curve.losses) == UPDATES
    assert form.out.text() != str(out)
    segment = open_form("Segment")
    assert segment.model.itemText(1) == str(out)
    models._TRAINED.clear()
    segment.model.choose(out)
    run(segment)
    assert viewer.layers["field run"].data.shape == nuclei[0].shape


def test_stop_saves_the_run(viewer, open_form, run, click, qtbot, nuclei, tmp_path):
    form = prepare(viewer, open_form, nuclei, tmp_path / "run")
    form.updates.setValue(100_000)
    with qtbot.waitSignal(form.job.ended, timeout=400_000) as blocker:
        click(form.run_button)
        qtbot.waitUntil(lambda: bool(form.curve.losses), timeout=400_000)
        assert form.cancel_button.isEnabled()
        click(form.cancel_button)
    assert blocker.args[0].cancelled
    assert "saved" in form.messages.toPlainText()
    assert any((tmp_path / "run" / "snapshots").iterdir())
    assert form.run_button.isEnabled()


def test_plan_says_its_reasons(viewer, open_form, run, nuclei, tmp_path):
    form = prepare(viewer, open_form, nuclei, tmp_path / "run")
    text = run(form, form.plan_button)
    assert "task" in text, text
    assert not Path(form.out.text()).exists()


def test_wrong_layers_are_refused(viewer, open_form, click, nuclei, volume, tmp_path):
    form = prepare(viewer, open_form, nuclei, tmp_path / "run")
    other = viewer.add_labels(volume[1], name="other")
    form.labels.choose(other)
    click(form.run_button)
    text = form.messages.toPlainText()
    assert "other: expected labels of the shape of field" in text
    assert not form.job.running
    empty = viewer.add_labels(np.zeros_like(nuclei[1]), name="empty")
    form.labels.choose(empty)
    click(form.run_button)
    assert "expected labels of a few objects" in form.messages.toPlainText()
    QTest.qWait(1)
    assert not (tmp_path / "run").exists()


def test_labeled_slices_of_a_volume(viewer, open_form, volume, tmp_path):
    image, labels = volume
    few = np.zeros_like(labels)
    few[2], few[4] = labels[2], labels[4]
    viewer.add_image(image, name="stack", scale=(2, 0.5, 0.5), units=("um",) * 3)
    viewer.add_labels(few, name="two")
    form = open_form("Train")
    form.space.setCurrentText("labeled slices (z), in 2D")
    pairs = form._examples()
    assert [pair.image.name for pair in pairs] == ["stack z0002", "stack z0004"]
    np.testing.assert_array_equal(pairs[0].image.read()[0], image[2])
    np.testing.assert_array_equal(pairs[1].labels.read()[0], labels[4])
    assert pairs[0].image.spacing == (0.5, 0.5)
