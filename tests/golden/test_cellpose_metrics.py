"""Numbers of cellpose's average precision and its index named AJI."""

import json

import numpy as np
import pytest

from unmask.metrics import aji_cellpose, ap, matching

# The official thresholds are those of the manifest's sentence; its ratios are float32.
THRESHOLDS = (0.5, 0.75, 0.9)


def test_average_precision_and_index(golden):
    manifest = json.loads((golden / "cellpose" / "manifest.json").read_text())["cases"]["metrics"]
    assert all(str(threshold) in manifest["what"] for threshold in THRESHOLDS)
    arrays = np.load(golden / "cellpose" / manifest["file"])
    tolerance = float(manifest["tolerance"])
    for name, values in manifest["values"].items():
        truth, predicted = arrays[f"{name}_true"], arrays[f"{name}_pred"]
        for place, threshold in enumerate(THRESHOLDS):
            found = matching(truth, predicted, threshold=threshold)
            assert (found.tp, found.fp, found.fn) == tuple(
                values[key][place] for key in ("tp", "fp", "fn")
            )
            assert ap(truth, predicted, threshold=threshold) == pytest.approx(
                values["ap"][place], abs=tolerance
            )
        assert aji_cellpose(truth, predicted) == pytest.approx(values["aji"][0], abs=tolerance)
