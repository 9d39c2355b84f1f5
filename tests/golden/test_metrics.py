"""Numbers of StarDist, the NeurIPS evaluation, scikit-image, PEA and MEDIAR."""

import json

import numpy as np
import pytest

from unmask.metrics import (
    aji_pea,
    best_dice,
    cellseg_f1,
    cellseg_matching,
    dic,
    fgbg_dice,
    matching,
    rand,
    sbd,
    sbd_max,
    voi_merge,
    voi_split,
)
from unmask.metrics.instance import Matching

# StarDist divides in float32; the NeurIPS program rounds to four decimals.
SINGLE, DECIMALS = 1e-6, 5.1e-5


def case(golden, system, name):
    manifest = json.loads((golden / system / "manifest.json").read_text())["cases"][name]
    arrays = np.load(golden / system / manifest["file"])
    return manifest, lambda pair: (arrays[f"{pair}_true"], arrays[f"{pair}_pred"])


def check_matching(found, expected):
    assert (found.tp, found.fp, found.fn) == tuple(expected[k] for k in ("tp", "fp", "fn"))
    assert found.precision == pytest.approx(expected["precision"], abs=1e-9)
    assert found.recall == pytest.approx(expected["recall"], abs=1e-9)
    assert found.f1 == pytest.approx(expected["f1"], abs=1e-9)
    assert found.ap == pytest.approx(expected["accuracy"], abs=1e-9)
    assert found.sq == pytest.approx(expected["mean_matched_score"], abs=SINGLE)
    assert found.pq == pytest.approx(expected["panoptic_quality"], abs=SINGLE)


def test_stardist_matching_of_every_criterion_and_threshold(golden):
    manifest, pair = case(golden, "metrics", "objects")
    for name, settings in manifest["stardist"].items():
        for setting, expected in settings.items():
            criterion, threshold = setting.split("_")
            found = matching(
                *pair(name), threshold=float(threshold), criterion=criterion, empty="reference"
            )
            check_matching(found, expected)


def test_stardist_pools_counts_over_a_data_set(golden):
    manifest, pair = case(golden, "metrics", "objects")
    for setting, expected in manifest["stardist_dataset"].items():
        threshold = float(setting.rpartition("_")[2])
        each = [
            matching(*pair(name), threshold=threshold, empty="reference")
            for name in manifest["stardist_dataset_order"]
        ]
        if expected["by_image"]:
            assert np.mean([m.f1 for m in each]) == pytest.approx(expected["f1"], abs=1e-9)
            assert np.mean([m.pq for m in each]) == pytest.approx(
                expected["panoptic_quality"], abs=SINGLE
            )
        else:
            check_matching(sum(each, Matching(0, 0, 0, 0.0)), expected)


def test_neurips_f1(golden):
    manifest, pair = case(golden, "metrics", "objects")
    for name, expected in manifest["neurips"].items():
        if name.startswith("_"):  # means over the pairs
            continue
        for setting, values in expected.items():
            kind, _, threshold = setting.rpartition("_")
            if kind == "default":
                found = cellseg_f1(*pair(name), threshold=float(threshold))
                assert found == pytest.approx(values["F1"], abs=DECIMALS)
            if kind == "count_boundary_cells":
                whole = matching(*pair(name), threshold=float(threshold), empty="reference")
                assert whole.f1 == pytest.approx(values["F1"], abs=DECIMALS)


def test_mediar_f1(golden):
    manifest, pair = case(golden, "mediar", "f1")
    for name, thresholds in manifest["values"].items():
        truth, predicted = pair(name)
        for threshold, values in thresholds.items():
            found = cellseg_matching(truth, predicted, threshold=float(threshold))
            assert (found.precision, found.recall, found.f1) == tuple(values["precision_recall_f1"])
            if predicted.any():  # the official program counts nothing where this is empty
                assert [found.tp, found.fp, found.fn] == values["tp_fp_fn"]


def test_rand_error_and_variation_of_information(golden):
    manifest, pair = case(golden, "metrics", "arand_voi")
    for name, settings in manifest["values"].items():
        for setting, background in (("ignore_none", True), ("ignore_truth_0", False)):
            values, arrays = settings[setting], pair(name)
            found = rand(*arrays, background=background)
            # scikit-image calls S/A precision and S/B recall
            assert [found.error, found.recall, found.precision] == pytest.approx(
                values["arand_error_precision_recall"], abs=1e-9
            )
            split, merge = values["voi_split_merge"]
            assert voi_split(*arrays, background=background) == pytest.approx(split, abs=1e-9)
            assert voi_merge(*arrays, background=background) == pytest.approx(merge, abs=1e-9)


def test_pea_leaves(golden):
    manifest, pair = case(golden, "pea", "metrics")
    for name, values in manifest["values"].items():
        # the official program takes the lowest label as background
        truth, predicted = (labels - labels.min() for labels in pair(name))
        found = {
            "BD(pred,true)": best_dice(predicted, truth, empty="reference"),
            "BD(true,pred)": best_dice(truth, predicted, empty="reference"),
            "SBD_min": sbd(truth, predicted, empty="reference"),
            "SBD_max": sbd_max(truth, predicted, empty="reference"),
            "DiC": dic(truth, predicted),
            "FgBgDice": fgbg_dice(truth, predicted, empty="reference"),
        }
        assert found == pytest.approx({key: values[key] for key in found}, abs=1e-9)


def test_pea_objects(golden):
    manifest, pair = case(golden, "pea", "metrics")
    compared = {"AJI_pea": 0, "DQ_SQ_PQ": 0}
    for name, values in manifest["values"].items():
        arrays = pair(name)
        assert fgbg_dice(*arrays) == pytest.approx(values["pixel_F1"], abs=1e-9)
        if isinstance(values["AJI_pea"], float):  # else the error that the program raised
            compared["AJI_pea"] += 1
            assert aji_pea(*arrays) == pytest.approx(values["AJI_pea"], abs=1e-9)
        if isinstance(values["DQ_SQ_PQ"], list):
            compared["DQ_SQ_PQ"] += 1
            found = matching(*arrays, strict=True, empty="reference")
            # the official SQ divides by TP + 1e-6
            quality = found.total / (found.tp + 1e-6)
            expected = [found.f1, quality, found.f1 * quality]
            assert expected == pytest.approx(values["DQ_SQ_PQ"], abs=1e-9)
    assert all(compared.values())
