"""Flows and masks of Cellpose 4."""

import json

import numpy as np
import pytest

from unmask.labels import flows_to_labels, labels_to_flows
from unmask.labels.flows import flow_errors

_FREE = {"flow_error": None, "min_size": 0, "max_fraction": 1.0}


@pytest.fixture(scope="module")
def images(golden):
    """For each image of the fixture: its arrays by the rest of their names."""
    case = json.loads((golden / "cellpose/manifest.json").read_text())["cases"]["flows"]
    file = np.load(golden / "cellpose" / case["file"])
    names = [name.removesuffix("_label") for name in case["arrays"] if name.endswith("_label")]
    assert names
    return [
        {key.removeprefix(f"{name}_"): file[key] for key in file if key.startswith(f"{name}_")}
        for name in names
    ]


def test_flows(images):
    for image in images:
        found = labels_to_flows(image["label"], compat="cellpose")
        np.testing.assert_allclose(found, image["flow"], atol=1e-5)


def test_flow_errors(images):
    for image in images:
        noisy = image["noisy_in"][:2] / 5
        found = flow_errors(image["label"].astype(np.int32), noisy, compat="cellpose")
        np.testing.assert_allclose(found[1:], image["noisy_flow_error_f64"], atol=1e-5)


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
            assert moved.sum() <= 5
            assert fill.same_partition(np.where(moved, 0, found), np.where(moved, 0, expected))
