"""What `unmask info` says, and the compilation of kernels ahead of the first run."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from unmask.api import installation
from unmask.api.installation import describe_installation


def test_info_names_versions_devices_extras_and_caches(command):
    answer = command("info")
    assert answer.code == 0, answer.err
    for word in ("unmask ", "torch ", "device cpu: ", "(used)", "extra dicom: ", "models: nuclei"):
        assert word in answer.out


def test_info_as_json_is_one_object(command):
    answer = command("info", "--json")
    facts = json.loads(answer.out)
    assert facts["chosen"] in facts["devices"]
    assert set(facts["extras"]) >= {"dicom", "scale"}


def test_missing_package_of_an_extra_is_named(monkeypatch):
    monkeypatch.setattr(installation, "_is_installed", lambda package: package != "pydicom")
    text = describe_installation().to_text()
    assert "extra dicom: lacks pydicom (pip install 'unmask[dicom]')" in text
    assert "extra scale: complete" in text


@pytest.mark.slow
def test_after_compiling_a_first_run_compiles_nothing(tmp_path):
    """Signatures that predict really uses are compiled, not some others."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    program = [sys.executable, "-m", "unmask"]
    first = subprocess.run(
        [*program, "info", "--compile"], env=environment, capture_output=True, text=True, check=True
    )
    assert "Compiling kernels for this machine" in first.stderr
    assert "Kernels are compiled" in first.stdout
    before = sorted((tmp_path / "cache").rglob("*.nbc"))
    second = subprocess.run(
        [*program, "info", "--compile"], env=environment, capture_output=True, text=True, check=True
    )
    assert second.stderr == ""
    assert sorted((tmp_path / "cache").rglob("*.nbc")) == before
