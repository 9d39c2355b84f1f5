"""Segment with real clicks: labels at the place of their image."""

from __future__ import annotations

import numpy as np


def test_a_labels_layer_with_scale_units_and_translation(viewer, open_form, run, nuclei):
    image, _ = nuclei
    viewer.add_image(image, name="field", scale=(0.5, 0.25), translate=(10, 20), units=("um", "um"))
    form = open_form("Segment")
    form.model.choose("nuclei")
    text = run(form)
    layer = viewer.layers["field nuclei"]
    assert layer.data.shape == image.shape
    assert layer.data.max() > 1
    np.testing.assert_allclose(layer.scale, (0.5, 0.25))
    np.testing.assert_allclose(layer.translate, (10, 20))
    assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]
    assert "object(s)" in text
    assert {"index", "uncertainty", "area_um2"} <= set(layer.features)
    shown = viewer.screenshot(canvas_only=True, flash=False)
    assert len(np.unique(shown.reshape(-1, 4), axis=0)) > 20
