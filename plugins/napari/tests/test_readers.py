"""Files that napari cannot read, samples, and the manifest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from npe2 import PluginManifest

import napari_unmask
from napari_unmask.readers import get_reader
from unmask.io import save_image
from unmask.io.formats import FORMATS

MANIFEST = Path(napari_unmask.__file__).with_name("napari.yaml")
# napari's own readers have these.
OWN = {".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp"}


def test_the_manifest_is_valid_and_names_every_format():
    manifest = PluginManifest.from_file(MANIFEST)
    manifest.validate_imports()
    patterns = {
        each.removeprefix("*")
        for reader in manifest.contributions.readers or ()
        for each in reader.filename_patterns
    }
    assert set(FORMATS) - OWN <= patterns


@pytest.mark.parametrize("name", ["a.nii.gz", "a.h5", "a.ome.zarr", "a.ome.tif"])
def test_images_with_scale_and_units(tmp_path, name):
    array = np.arange(4 * 5 * 6, dtype=np.uint16).reshape(4, 5, 6)
    save_image(tmp_path / name, array, spacing=(2.0, 0.5, 0.25), unit="um")
    reader = get_reader(str(tmp_path / name))
    ((data, facts, kind),) = reader(str(tmp_path / name))
    np.testing.assert_array_equal(data, array)
    np.testing.assert_allclose(facts["scale"], (2.0, 0.5, 0.25), rtol=1e-5)
    assert kind == "image"
    assert len(facts["units"]) == 3


def test_labels_by_their_name(tmp_path):
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    path = tmp_path / "a_labels.h5"
    save_image(path, array, axes="YX")
    ((data, _, kind),) = get_reader(str(path))(str(path))
    assert (kind, data.dtype) == ("labels", np.uint32)
    np.testing.assert_array_equal(data, array)
    assert get_reader(str(tmp_path / "a.docx")) is None


def test_channels_become_layers(viewer, tmp_path):
    array = np.arange(2 * 8 * 9, dtype=np.uint16).reshape(2, 8, 9)
    save_image(tmp_path / "two.ome.zarr", array, axes="CYX", spacing=(0.5, 0.5), unit="um")
    viewer.open(str(tmp_path / "two.ome.zarr"), plugin="napari-unmask")
    assert len(viewer.layers) == 2
    np.testing.assert_array_equal(viewer.layers[1].data, array[1])
    np.testing.assert_allclose(viewer.layers[1].scale, (0.5, 0.5))


def test_samples(viewer):
    viewer.open_sample("napari-unmask", "nuclei_volume")
    image, labels = viewer.layers
    assert image.data.shape == labels.data.shape
    assert labels.data.max() > 2
    np.testing.assert_allclose(labels.scale, (2.0, 0.5, 0.5))
