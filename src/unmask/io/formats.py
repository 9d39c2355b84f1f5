"""Every format by suffix: one file a format, one line to add."""

from __future__ import annotations

from unmask.io import dicom, hdf5, nifti, npy, raster, tiff, zarr
from unmask.io.contract import Format

FORMATS: dict[str, Format] = {
    ".tif": tiff.FORMAT,
    ".tiff": tiff.FORMAT,
    ".btf": tiff.FORMAT,
    ".lsm": tiff.FORMAT,
    ".ome.tif": tiff.OME_FORMAT,
    ".ome.tiff": tiff.OME_FORMAT,
    ".zarr": zarr.FORMAT,
    ".h5": hdf5.FORMAT,
    ".hdf5": hdf5.FORMAT,
    ".hdf": hdf5.FORMAT,
    ".nxs": hdf5.FORMAT,
    ".nii": nifti.FORMAT,
    ".nii.gz": nifti.PACKED_FORMAT,
    ".dcm": dicom.FILE_FORMAT,
    ".dicom": dicom.FILE_FORMAT,
    ".ima": dicom.FILE_FORMAT,
    ".png": raster.PNG,
    ".jpg": raster.JPEG,
    ".jpeg": raster.JPEG,
    ".bmp": raster.BMP,
    ".npy": npy.FORMAT,
}
