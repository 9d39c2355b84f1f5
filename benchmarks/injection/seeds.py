"""Small good files of every format that the program reads, as starting points of mutations."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

_RNG = np.random.default_rng(7)
PLANE = _RNG.integers(0, 255, (24, 32)).astype(np.uint8)
DEEP = _RNG.integers(0, 60_000, (24, 32)).astype(np.uint16)
VOLUME = _RNG.integers(0, 60_000, (5, 16, 20)).astype(np.uint16)
COLORS = _RNG.integers(0, 255, (24, 32, 3)).astype(np.uint8)
# Smooth, so that JPEG keeps its size small.
_SMOOTH = np.add.outer(np.arange(24), 3 * np.arange(32)).astype(np.uint8)

Maker = Callable[[Path], None]


def _tiff(array: np.ndarray, **options: Any) -> Maker:
    def make(path: Path) -> None:
        import tifffile

        tifffile.imwrite(path, array, **options)

    return make


def _picture(array: np.ndarray, **options: Any) -> Maker:
    def make(path: Path) -> None:
        from PIL import Image

        Image.fromarray(array).save(path, **options)

    return make


def _palette(path: Path) -> None:
    from PIL import Image

    Image.fromarray(COLORS).convert("P").save(path)


def _ours(array: np.ndarray, **options: Any) -> Maker:
    def make(path: Path) -> None:
        from unmask.io import save_image

        save_image(path, array, **options)

    return make


def _nifti(path: Path) -> None:
    import nibabel

    image: Any = nibabel.Nifti1Image(VOLUME.T, np.diag([0.5, 0.5, 2, 1]))
    nibabel.save(image, path)


def _npy(path: Path) -> None:
    np.save(path, VOLUME)


def _hdf5(**options: Any) -> Maker:
    def make(path: Path) -> None:
        import h5py

        with h5py.File(path, "w") as file:
            file.create_dataset("raw", data=VOLUME, **options)
            file["raw"].attrs["element_size_um"] = (2.0, 0.5, 0.5)

    return make


def _zarr(version: Literal[2, 3], **options: Any) -> Maker:
    def make(path: Path) -> None:
        import zarr

        array: Any = zarr.create_array(
            path, shape=VOLUME.shape, dtype="uint16", chunks=(2, 16, 20), zarr_format=version,
            **options,
        )  # fmt: skip
        array[...] = VOLUME

    return make


def _dicom(path: Path) -> None:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    path.mkdir()
    for number in range(3):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = f"1.2.3.{number}"
        data.SeriesInstanceUID, data.Modality = "1.2.4", "CT"
        data.Rows, data.Columns, data.SamplesPerPixel = 16, 20, 1
        data.PhotometricInterpretation = "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 0
        data.ImagePositionPatient = [0, 0, 2 * number]
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.PixelSpacing, data.SliceThickness = [0.5, 0.5], 2
        data.RescaleSlope, data.RescaleIntercept = 1, -1024
        data.PixelData = VOLUME[number].tobytes()
        data.save_as(path / f"{number}.dcm", enforce_file_format=True)


def _model(path: Path) -> None:
    from injection.bombs_model import SMALL, write_model

    write_model(path, json.dumps({"recipe": SMALL}))


def _record(path: Path) -> None:
    from unmask.blocks.store import write_arrays

    write_arrays(path, {"labels": VOLUME, "slab": PLANE}, {"top": 3, "own": 2})


def _recipe(path: Path) -> None:
    from unmask.recipe import load

    recipe = load("cells").model_dump(mode="json", exclude_none=True)
    path.write_text(json.dumps(recipe, indent=1))


def _listing(path: Path) -> None:
    cases = [{"image": f"images/{n}.nii", "label": f"labels/{n}.nii", "fold": n} for n in range(3)]
    for case in cases:
        for kind in ("image", "label"):
            file = path.parent / str(case[kind])
            file.parent.mkdir(exist_ok=True)
            _nifti(file)
    path.write_text(json.dumps({"training": cases, "test": ["images/0.nii"]}, indent=1))


def _table(path: Path) -> None:
    path.write_text("name,class\na,cat\nb,dog\nc,cat\nd,bird\n")


def _snapshot(path: Path) -> None:
    import torch

    from unmask.checkpoint import save_snapshot

    path.mkdir()
    tensors = {"model": {"w": torch.ones(30)}, "optimizer": {"w/step": torch.ones(3)}}
    save_snapshot(path, 3, tensors, {"step": 3, "best": 0.5})


# Name to maker and number of spatial axes; None for files that hold no image.
SEEDS: dict[str, tuple[Maker, int | None]] = {
    "plain.tif": (_tiff(PLANE), 2),
    "deflate.tif": (_tiff(DEEP, tile=(16, 16), compression="zlib", predictor=True), 2),
    "lzw.tif": (_tiff(DEEP, rowsperstrip=5, compression="lzw"), 2),
    "zstd.tif": (_tiff(VOLUME, compression="zstd", photometric="minisblack"), 3),
    "big.tif": (_tiff(VOLUME, bigtiff=True, byteorder=">", photometric="minisblack"), 3),
    "color.tif": (_tiff(COLORS, photometric="rgb", compression="zlib"), 2),
    "imagej.tif": (
        _tiff(VOLUME, imagej=True, metadata={"axes": "ZYX", "spacing": 2.0, "unit": "um"}), 3
    ),
    "channels.ome.tif": (
        _tiff(VOLUME, metadata={"axes": "CYX"}, photometric="minisblack", compression="zlib"), 2
    ),
    "ours.tif": (_ours(VOLUME, spacing=(2, 0.5, 0.5), unit="um"), 3),
    "ours.ome.tif": (_ours(VOLUME, spacing=(2, 0.5, 0.5), unit="um"), 3),
    "gray.png": (_picture(PLANE), 2),
    "deep.png": (_picture(DEEP), 2),
    "color.png": (_picture(COLORS), 2),
    "palette.png": (_palette, 2),
    "gray.bmp": (_picture(PLANE), 2),
    "color.bmp": (_picture(COLORS), 2),
    "gray.jpg": (_picture(_SMOOTH), 2),
    "volume.nii": (_nifti, 3),
    "volume.nii.gz": (_nifti, 3),
    "volume.npy": (_npy, 3),
    "chunked.h5": (_hdf5(chunks=(2, 16, 20), compression="gzip"), 3),
    "plain.h5": (_hdf5(), 3),
    "ours.h5": (_ours(VOLUME, spacing=(2, 0.5, 0.5), unit="um"), 3),
    "two.zarr": (_zarr(2), 3),
    "three.zarr": (_zarr(3), 3),
    "ours.ome.zarr": (_ours(VOLUME, spacing=(2, 0.5, 0.5), unit="um"), 3),
    "series": (_dicom, 3),
    "model.safetensors": (_model, None),
    "record.bin": (_record, None),
    "snapshot": (_snapshot, None),
    "recipe.yaml": (_recipe, None),
    "dataset.json": (_listing, None),
    "table.csv": (_table, None),
}  # fmt: skip
