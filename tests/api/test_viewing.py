"""Viewers get the image and its labels; without a viewer the message says what to install."""

from __future__ import annotations

import json
import sys
import types
import urllib.error
import urllib.request

import numpy as np
import pytest

from unmask.api import viewing
from unmask.api.viewing import export_precomputed, view
from unmask.errors import MissingPackageError, RecipeError
from unmask.io import save_image


@pytest.fixture
def folder(tmp_path):
    labels = np.zeros((20, 30), np.uint8)
    labels[4:9, 5:10] = 7
    save_image(tmp_path / "labels" / "a.tif", labels, spacing=(0.5, 0.5), unit="um")
    save_image(tmp_path / "images" / "a.tif", np.stack([labels, 2 * labels]), axes="CYX",
               spacing=(0.5, 0.5), unit="um")  # fmt: skip
    return tmp_path


def test_napari_gets_channels_and_labels(folder, monkeypatch):
    calls: list[tuple[str, dict]] = []

    class Viewer:
        def add_image(self, data, **options):
            calls.append(("image", {"data": data, **options}))

        def add_labels(self, data, **options):
            calls.append(("labels", {"data": data, **options}))

    fake = types.SimpleNamespace(Viewer=Viewer, run=lambda: calls.append(("run", {})))
    monkeypatch.setitem(sys.modules, "napari", fake)
    monkeypatch.setattr(viewing, "find_spec", lambda name: name == "napari")
    view(folder / "labels", folder / "images")
    assert [name for name, _ in calls] == ["image", "labels", "run"]
    image, labels = calls[0][1], calls[1][1]
    assert image["data"].shape == (2, 20, 30)
    assert (image["channel_axis"], len(image["name"])) == (0, 2)
    assert labels["data"].max() == 7
    assert labels["scale"] == (0.5, 0.5)


def test_the_page_of_neuroglancer(folder):
    pytest.importorskip("neuroglancer")
    said: list[str] = []
    page = view(folder / "labels", folder / "images", viewer="neuroglancer", say=said.append,
                wait=False)  # fmt: skip
    assert said[0].startswith("http://127.0.0.1:")
    layers = {layer.name: layer.layer for layer in page.state.layers}
    assert list(layers) == ["a_image", "a_labels"]
    with urllib.request.urlopen(said[0].splitlines()[0]) as answer:
        assert b"neuroglancer" in answer.read().lower()
    url = layers["a_labels"].source[0].url.removeprefix("precomputed://")
    with urllib.request.urlopen(f"{url}/info") as answer:
        assert said[0].startswith(answer.headers["Access-Control-Allow-Origin"])
        scale = json.load(answer)["scales"][0]
    assert scale["resolution"] == pytest.approx([500, 500, 500])
    # Chunks are read when the page asks for them.
    with urllib.request.urlopen(f"{url}/{scale['key']}/4-7_3-5_0-1") as answer:
        assert list(answer.read()) == [0, 0, 0, 0, 7, 7]
    for wrong in ("1_1_1/0-99_0-5_0-1", "9_9_9/0-1_0-1_0-1", "../x", "1_1_1/a"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{url}/{wrong}")


def test_without_a_viewer(folder, monkeypatch):
    monkeypatch.setattr(viewing, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"napari\[all\].*unmask\[view\].*--overlay"):
        view(folder / "labels")
    with pytest.raises(RecipeError, match="--viewer fiji: expected napari or neuroglancer"):
        view(folder / "labels", viewer="fiji")


def test_export(folder, tmp_path):
    written = export_precomputed(folder / "labels", folder / "images", out=tmp_path / "public",
                                 say=lambda _: None)  # fmt: skip
    assert [path.name for path in written] == ["a_labels", "a_image"]
    assert all((path / "info").is_file() for path in written)
