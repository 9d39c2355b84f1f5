"""What `unmask info` says, and the compilation of kernels ahead of the first run."""

from __future__ import annotations

import json

from unmask.api import installation
from unmask.api.installation import describe_installation


def test_info_names_versions_devices_extras_and_caches(command):
    answer = command("info")
    assert answer.code == 0, answer.err
    words = ("unmask ", "torch ", "device cpu: ", "(used)", "extra dicom: ")
    for word in (*words, "models: generalist2d, nuclei"):
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


def test_kernels_are_compiled_on_request(command):
    """With a cold cache this takes a minute, so the cache of the other tests serves here."""
    answer = command("info", "--compile")
    assert answer.code == 0, answer.err
    assert "Kernels are compiled (" in answer.out
