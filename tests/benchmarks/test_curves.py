"""The numbers that the study of label curves and the probe are made of."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


def script(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def curves():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        yield script("curves")
    for name in ("curves", "harness"):
        sys.modules.pop(name, None)


def test_rows_stand_beside_scratch_of_the_same_network(curves):
    starts = {"scratch": "scratch", "scratch-vit": "scratch-vit", "mae2d": "scratch-vit"}
    trainings = [
        {"start": start, "against": against, "labels": 2, "metrics": {"f1": value, "aji": 0.5}}
        for value, (start, against) in enumerate(starts.items())
    ]
    points = [
        {"start": start, "labels": 2, "mean": value / 4, "low": None, "high": None}
        | {"equivalent": "more" if start == "mae2d" else None}
        for value, start in enumerate(starts)
    ]
    (row,) = curves.rows({"rows": trainings, "summary": points, "metric": "f1"})
    assert row["what"] == "2 labels, mae2d against scratch-vit"
    assert (row["ours"], row["peer"]) == (0.5, 0.25)
    assert "worth more labels than were tried; aji 0.500 against aji 0.500" in row["note"]


def test_validation_images_are_cut_to_their_middle(curves):
    image = np.arange(300 * 260).reshape(1, 300, 260)
    assert curves.middle(image)[0, 0, 0] == image[0, 22, 2]
    assert curves.middle(image).shape == (1, 256, 256)
    assert curves.middle(image[0, :200]).shape == (200, 256)
    assert curves.brought_to(np.zeros((3, 30, 20), np.uint8), side=16).shape == (3, 16, 16)
    labels = curves.brought_to(np.full((30, 20), 2, np.uint8), side=16)
    assert np.unique(labels).tolist() == [2]


def test_every_study_has_a_recipe(curves):
    for study in curves.STUDIES.values():
        curves.load(study.preset).with_settings(study.settings)
        for preset, settings in study.pretrain.items():
            curves.load(preset).with_settings(settings)


def test_the_probe_knows_a_linear_map_and_the_rank():
    probe = script("probe")
    table = torch.randn(400, 5, generator=torch.Generator().manual_seed(0))
    truth = torch.stack([table @ torch.arange(5.0), torch.randn(400)], dim=1)
    known, noise = probe.explained((table[:300], truth[:300]), (table[300:], truth[300:]))
    assert known > 0.99
    assert noise < 0.1
    assert probe.rank(table) == pytest.approx(5, abs=0.2)
    assert probe.rank(table[:, :1].expand(-1, 5)) == pytest.approx(1, abs=0.01)
    sys.modules.pop("probe")
