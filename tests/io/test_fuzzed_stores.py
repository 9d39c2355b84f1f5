"""Small valid HDF5, Zarr and DICOM files with changed bytes: read, or refused with a message.

An array that is read has the shape of the original, or the file does not contradict itself.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr

from unmask.errors import DataError
from unmask.io import Image, list_files, open_image, save_image
from unmask.io.precomputed import write_precomputed
from unmask.memory import track_growth

pydicom = pytest.importorskip("pydicom")

SHAPE = (6, 32, 40)
VOLUME = np.random.default_rng(8).integers(0, 4000, SHAPE).astype(np.uint16)
COUNT = int(os.environ.get("UNMASK_FUZZ", "60"))


def hdf5(folder: Path) -> Path:
    with h5py.File(folder / "a.h5", "w") as file:
        options: dict[str, Any] = {"compression": "gzip", "shuffle": True, "fletcher32": True}
        data = file.create_dataset("raw", data=VOLUME, chunks=(3, 16, 40), **options)
        data.attrs["resolution"] = (40.0, 4.0, 4.0)
        file["labels"] = VOLUME
    return folder / "a.h5:raw"


def zarr_2(folder: Path) -> Path:
    root = zarr.open_group(folder / "a.zarr", mode="w", zarr_format=2)
    array: Any = root.create_array("0", shape=SHAPE, dtype="u2", chunks=(3, 16, 40))
    array[...] = VOLUME
    steps = [{"type": "scale", "scale": [2.0, 0.5, 0.5]}]
    datasets = [{"path": "0", "coordinateTransformations": steps}]
    axes = [{"name": a, "type": "space"} for a in "zyx"]
    root.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    return folder / "a.zarr"


def zarr_3(folder: Path) -> Path:
    save_image(folder / "a.zarr", VOLUME, spacing=(2, 1, 1), unit="um")
    return folder / "a.zarr"


def shards(folder: Path) -> Path:
    array: Any = zarr.create_array(
        folder / "a.zarr", shape=SHAPE, dtype="u2", chunks=(3, 16, 20), shards=(6, 32, 40)
    )
    array[...] = VOLUME
    return folder / "a.zarr"


def zipped(folder: Path) -> Path:
    save_image(folder / "b.zarr", VOLUME, spacing=(2, 1, 1), unit="um")
    shutil.make_archive(str(folder / "a.zarr"), "zip", folder / "b.zarr")
    shutil.rmtree(folder / "b.zarr")
    return folder / "a.zarr.zip"


def precomputed(folder: Path) -> Path:
    image = Image.from_array(VOLUME, ndim=3, spacing=(2, 1, 1))
    return write_precomputed(image, folder / "a.precomputed", labels=False)


def sharded_precomputed(folder: Path) -> Path:
    tensorstore: Any = pytest.importorskip("tensorstore")
    sharding = {
        "@type": "neuroglancer_uint64_sharded_v1", "hash": "murmurhash3_x86_128",
        "preshift_bits": 1, "minishard_bits": 1, "shard_bits": 1,
        "minishard_index_encoding": "gzip", "data_encoding": "raw",
    }  # fmt: skip
    scale = {
        "key": "k", "size": SHAPE[::-1], "resolution": (4, 4, 8), "chunk_size": (16, 16, 4),
        "encoding": "raw", "sharding": sharding,
    }  # fmt: skip
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": str(folder / "a.precomputed")},
        "multiscale_metadata": {"data_type": "uint16", "num_channels": 1, "type": "image"},
        "scale_metadata": scale,
    }
    tensorstore.open(spec, create=True).result()[..., 0].write(VOLUME.T).result()
    return folder / "a.precomputed"


def dicom(folder: Path) -> Path:
    (folder / "scan").mkdir()
    for number, pixels in enumerate(VOLUME):
        one = pydicom.Dataset()
        one.file_meta = pydicom.dataset.FileMetaDataset()
        one.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        one.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
        one.file_meta.MediaStorageSOPInstanceUID = f"1.2.{number}"
        one.SOPClassUID, one.SOPInstanceUID = pydicom.uid.CTImageStorage, f"1.2.{number}"
        one.SeriesInstanceUID, one.Modality = "1.2.3", "CT"
        one.Rows, one.Columns = pixels.shape
        one.PixelSpacing, one.SliceThickness = [0.5, 0.5], 2
        one.ImagePositionPatient = [0.0, 0.0, 2.0 * number]
        one.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 0
        one.PixelData = pixels.tobytes()
        one.save_as(folder / "scan" / f"s{number}.dcm", enforce_file_format=True)
    return folder / "scan"


def outcome(source: Path) -> tuple[int, ...] | None:
    """Shape of what is read; None if it is refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            (path,) = list_files(source)
            return open_image(path, ndim=3).read().shape
        except DataError:
            return None


KINDS = [hdf5, zarr_2, zarr_3, shards, zipped, precomputed, sharded_precomputed, dicom]


@pytest.mark.parametrize("kind", KINDS)
def test_changed_bytes(
    tmp_path: Path,
    kind: Callable[[Path], Path],
    changed_copies: Callable[..., Iterator[Path]],
) -> None:
    good = tmp_path / "good"
    good.mkdir()
    source = kind(good).relative_to(good)
    rng, grown = np.random.default_rng(1), track_growth()
    # Errors other than a refusal go through.
    shapes = [outcome(copy / source) for copy in changed_copies(good, COUNT, rng, most=2)]
    if os.environ.get("UNMASK_FUZZ"):
        print(kind.__name__, shapes.count(None), f"refused, {grown() >> 20} MiB")
    assert 5 < shapes.count(None) < COUNT
    assert {shape for shape in shapes if shape} == {(1, *SHAPE)}
    assert grown() < 2**30
