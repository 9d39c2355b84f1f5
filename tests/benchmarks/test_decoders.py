"""The table of decoders, on perfect affinities of two cells."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def decoders():
    spec = importlib.util.spec_from_file_location("decoders", FOLDER / "decoders.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["decoders"] = module
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("decoders")


@pytest.fixture
def file(tmp_path):
    """Two cells with a wall between them."""
    truth = np.ones((12, 20), np.int32)
    truth[:, 9:11], truth[:, 11:] = 0, 2
    affinities = np.ones((2, 12, 20), np.float32)
    affinities[0, :, 9:11] = affinities[1, :, 9:12] = 0
    path = tmp_path / "part.npz"
    np.savez(path, affinities=affinities, offsets=[[-1, 0], [0, -1]], truth=truth)
    return path


def test_every_decoder_has_its_line(decoders, file, monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["decoders", str(file), "--thresholds", "0.5", "--min-size", "20"]
    )
    decoders.main()
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == [*decoders.METRICS, "s"]
    assert [line.split()[0] for line in lines] == [
        "mutex",
        "mutex",
        "waterz",
        "average",
        "waterz",
        "waterz",
        "multicut",
    ]
    perfect = dict(zip(head.split(), map(float, lines[1].split()[3:]), strict=True))
    assert perfect["arand"] == perfect["voi"] == 0
    # the wall of no cell belongs to one of them, so that both overlap their truth by three quarters
    assert perfect["f1@0.5"] == 1


def test_figures_are_means_over_files(decoders, file):
    scene = decoders.read(file)
    wrong = decoders.Scene(scene.affinities, scene.offsets, np.where(scene.truth > 0, 1, 0))
    options = {"method": "waterz", "min_size": 20}
    ((_, both),) = decoders.compare([scene, wrong], [options])
    ((_, alone),) = decoders.compare([wrong], [options])
    assert both["arand"] == pytest.approx(alone["arand"] / 2)
    assert both["arand"] > 0
