"""Flows and masks of MEDIAR."""

import numpy as np
import pytest

from unmask.labels import flows_to_labels, labels_to_flows
from unmask.labels.flows import flow_errors


@pytest.fixture(scope="module")
def images(flow_images):
    return flow_images("mediar")


def test_flows(images):
    for image in images:
        found = labels_to_flows(image["label"], compat="mediar")
        np.testing.assert_allclose(found, image["flow"], atol=1e-5)


def test_flow_errors(images):
    for image in images:
        labels = image["label"].astype(np.int32)
        found = flow_errors(labels, image["noisy_in"][:2] / 5, compat="mediar")
        np.testing.assert_allclose(found[1:], image["noisy_flow_error_f64"], atol=1e-5)


@pytest.mark.parametrize(("threshold", "suffix"), [(0.5, ""), (0.4, "_thr04")])
def test_masks(images, fill, threshold, suffix):
    for image in images:
        logit = np.where(image["label"] > 0, 6, -6)
        clean = np.concatenate([5 * image["flow"], logit[None]])
        for kind, given in {"clean": clean, "noisy": image["noisy_in"]}.items():
            score = 1 / (1 + np.exp(-given[2]))
            found = flows_to_labels(
                given[:2] / 5,
                score,
                threshold=threshold,
                min_size=0,
                max_fraction=0.9,
                compat="mediar",
            )
            expected = image[f"{kind}_mask{suffix}"]
            # The fixture allows a few voxels to move; their ids must not.
            moved = (found == 0) != (expected == 0)
            assert moved.sum() <= 5
            assert fill.same_partition(np.where(moved, 0, found), np.where(moved, 0, expected))
