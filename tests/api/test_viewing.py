"""Viewers get the image and its labels; without a viewer the message says what to install."""

from __future__ import annotations

import json
import sys
import types
import urllib.error
import urllib.request
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from unmask.api import viewing
from unmask.api.viewing import export_precomputed, view
from unmask.errors import MissingPackageError, RecipeError
from unmask.interruption import notes_of
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


@pytest.mark.parametrize("axes", ["TYX", "TZYX"])
def test_a_movie_has_a_time_axis(tmp_path, monkeypatch, axes):
    """Napari gets it as it is; the page of Neuroglancer as an OME-Zarr made on request."""
    labels = np.zeros((4, 3, 20, 30)[-3:] if axes == "TYX" else (4, 3, 20, 30), np.uint16)
    labels[..., 4:9, 5:10] = np.arange(1, len(labels) + 1).reshape(-1, *(1,) * (labels.ndim - 1))
    for what, array in (("labels", labels), ("images", 3 * labels)):
        (tmp_path / what).mkdir()
        tifffile.imwrite(tmp_path / what / "m.tif", array, imagej=True, metadata={"axes": axes})
    calls: list[tuple[str, dict]] = []

    class Viewer:
        def add_image(self, data, **options):
            calls.append(("image", {"data": data, **options}))

        def add_labels(self, data, **options):
            calls.append(("labels", {"data": data, **options}))

    monkeypatch.setitem(sys.modules, "napari", types.SimpleNamespace(Viewer=Viewer))
    monkeypatch.setattr(viewing, "find_spec", lambda name: name == "napari")
    view(tmp_path / "labels", tmp_path / "images", wait=False)
    np.testing.assert_array_equal(calls[1][1]["data"], labels)
    assert calls[0][1]["data"].shape == (1, *labels.shape)
    assert len(calls[1][1]["scale"]) == labels.ndim
    (source,) = viewing.open_sources(tmp_path / "labels", tmp_path / "images", planes=None,
                                     say=print)  # fmt: skip
    for image, is_labels in ((source.labels, True), (source.image, False)):
        assert image is not None
        served = viewing._serve_image(image, labels=is_labels)
        store = zarr.storage.MemoryStore()
        for key in [".zgroup", ".zattrs", "0/.zarray", *_chunks(served)]:
            content = served.answer(key)
            assert content is not None
            zarr.core.sync.sync(store.set(key, zarr.core.buffer.cpu.Buffer.from_bytes(content)))
        group = zarr.open_group(store, mode="r")
        attributes: dict[str, Any] = dict(group.attrs)
        assert attributes["multiscales"][0]["axes"][0]["name"] == "t"
        stored = group["0"]
        assert isinstance(stored, zarr.Array)
        read = np.asarray(stored[...])
        np.testing.assert_array_equal(
            read if is_labels else read[:, 0], labels * (3 - 2 * is_labels)
        )
    assert [served.answer(key) for key in ("0/9.9.9.9.9", "0/a.0", "1/.zarray", "../x")] == [
        None
    ] * 4


def _chunks(served):
    counts = [-(-n // size) for n, size in zip(served.shape, served.chunks, strict=True)]
    return [f"0/{'.'.join(map(str, number))}" for number in np.ndindex(*counts)]


def test_without_a_viewer(folder, monkeypatch):
    monkeypatch.setattr(viewing, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"napari\[all\].*unmask\[view\].*--overlay"):
        view(folder / "labels")
    with pytest.raises(RecipeError, match="--viewer fiji: expected napari or neuroglancer"):
        view(folder / "labels", viewer="fiji")


def test_an_ended_export_names_what_is_written(folder, tmp_path):
    lines: list[str] = []

    def say(text):
        lines.append(text)
        if len(lines) == 2:
            raise KeyboardInterrupt

    out = tmp_path / "public"
    with pytest.raises(KeyboardInterrupt) as ended:
        export_precomputed(folder / "labels", folder / "images", out=out, say=say)
    assert notes_of(ended.value) == f"2 volumes are written to {out}."


def test_export(folder, tmp_path):
    written = export_precomputed(folder / "labels", folder / "images", out=tmp_path / "public",
                                 say=lambda _: None)  # fmt: skip
    assert [path.name for path in written] == ["a_labels", "a_image"]
    assert all((path / "info").is_file() for path in written)
