"""The demo with networks and numbers of steps that take seconds."""

from __future__ import annotations

import json

import pytest

from unmask.apps import demo


@pytest.mark.slow
@pytest.mark.parametrize("ndim", [2, 3])
def test_the_demo_ends_with_a_report(tmp_path, ndim, monkeypatch):
    monkeypatch.setattr(demo, "_PHANTOMS", 3)
    monkeypatch.setattr(demo, "_LABELED", 2)
    monkeypatch.setattr(demo, "_UNSEEN", 2)
    monkeypatch.setattr(demo, "_SHAPES", {2: (64, 64), 3: (16, 32, 32)})
    monkeypatch.setattr(
        demo,
        "_SETTINGS",
        {2: ["data.channels=1", "data.crop=[32, 32]"], 3: ["data.crop=[8, 32, 32]"]},
    )
    small = "model.backbone={name: resunet, width: 4, depth: 2}"
    monkeypatch.setattr(demo, "_BACKBONE", {2: small, 3: small})
    monkeypatch.setattr(demo, "_OPTIONS", {"diameter": (10.0, 14.0)})
    for numbers in ("_START", "_TRAIN", "_BATCH"):
        monkeypatch.setattr(demo, numbers, {ndim: 2})
    said: list[str] = []
    report = demo.run_demo(tmp_path / "demo", ndim=ndim, say=said.append)
    assert report == tmp_path / "demo" / "report.html"
    text = report.read_text()
    assert text.count("data:image/jpeg") == 2
    assert "<h2>Pre-training on phantoms, and without it</h2>" in text
    assert "2 labeled images, from scratch" in text
    assert "<svg" in text
    assert "nuclei_000" in text
    summary = json.loads((tmp_path / "demo" / "report.json").read_text())["summary"]
    assert summary["f1@0.5"]["n"] == 2
    assert [line[:3] for line in said if line[1:3] == "/5"] == ["1/5", "2/5", "3/5", "4/5", "5/5"]
    assert sum(line.startswith("F1 ") for line in said) == 3
    assert len(list((tmp_path / "demo" / "predicted").iterdir())) == 2
