"""Flows, masks, average precision and the index named AJI of Cellpose 4."""

import json
import re

import numpy as np
import pytest

from unmask.labels import flows_to_labels, labels_to_flows
from unmask.labels.flows import flow_errors
from unmask.metrics import aji_cellpose, ap, matching

_FREE = {"flow_error": None, "min_size": 0, "max_fraction": 1.0}


@pytest.fixture(scope="module")
def images(flow_images):
    return flow_images("cellpose")


@pytest.fixture(scope="module")
def limit(golden):
    """How far flows may be off."""
    case = json.loads((golden / "cellpose" / "manifest.json").read_text())["cases"]["flows"]
    return float(re.findall(r"flow ([\d.e-]+)", case["tolerance"])[0])


def test_flows(images, limit):
    for image in images:
        found = labels_to_flows(image["label"], compat="cellpose")
        np.testing.assert_allclose(found, image["flow"], atol=limit)


def test_flow_errors(images, limit):
    for image in images:
        noisy = image["noisy_in"][:2] / 5
        found = flow_errors(image["label"].astype(np.int32), noisy, compat="cellpose")
        np.testing.assert_allclose(found[1:], image["noisy_flow_error_f64"], atol=limit)


@pytest.mark.parametrize("options", [{}, _FREE], ids=["", "_no_filters"])
def test_masks(images, fill, options):
    suffix = "_no_filters" if options else ""
    for image in images:
        logit = np.where(image["label"] > 0, 6, -6)
        clean = (image["flow"], logit > 0)
        noisy = (image["noisy_in"][:2] / 5, image["noisy_in"][2] > 0)
        for kind, (flows, foreground) in {"clean": clean, "noisy": noisy}.items():
            found = flows_to_labels(flows, foreground, compat="cellpose", **options)
            expected = image[f"{kind}_mask{suffix}"]
            # The fixture allows a few voxels to move; their ids must not.
            moved = (found == 0) != (expected == 0)
            assert moved.mean() <= 5e-4
            assert fill.same_partition(np.where(moved, 0, found), np.where(moved, 0, expected))


def test_average_precision_and_index(golden):
    manifest = json.loads((golden / "cellpose" / "manifest.json").read_text())["cases"]["metrics"]
    thresholds = [float(number) for number in re.findall(r"0\.\d+", manifest["what"])]
    assert thresholds
    arrays = np.load(golden / "cellpose" / manifest["file"])
    tolerance = float(manifest["tolerance"])
    for name, values in manifest["values"].items():
        truth, predicted = arrays[f"{name}_true"], arrays[f"{name}_pred"]
        for place, threshold in enumerate(thresholds):
            found = matching(truth, predicted, threshold=threshold)
            assert (found.tp, found.fp, found.fn) == tuple(
                values[key][place] for key in ("tp", "fp", "fn")
            )
            assert ap(truth, predicted, threshold=threshold) == pytest.approx(
                values["ap"][place], abs=tolerance
            )
        assert aji_cellpose(truth, predicted) == pytest.approx(values["aji"][0], abs=tolerance)
