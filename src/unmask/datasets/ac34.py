"""AC3 and AC4: electron microscopy of mouse cortex, the published slices of both volumes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from unmask.datasets.dataset import DataSet
from unmask.datasets.samples import Sample, check_size, write_samples
from unmask.errors import DataError, message

_NANOMETERS = (30.0, 6.0, 6.0)
# Volume, first and last slice of each part; None counts as the end.
_PARTS = {"train": ("AC4", 0, 80), "val": ("AC4", -20, None), "test": ("AC3", -100, None)}


def prepare(archive: Path, out: Path) -> dict[str, int]:
    """Write the parts of Pixel-Embedded Affinity (doi:10.1609/aaai.v36i1.19984).

    Raises:
        DataError: a volume that is missing or too short, or labels of another size.
    """
    return write_samples(_read_samples(archive), out)


def _read_samples(archive: Path) -> Iterator[Sample]:
    """Read the published slices of both volumes, with voxels of 6 x 6 x 30 nm."""
    for part, (volume, first, last) in _PARTS.items():
        paths = [archive / f"{volume}_{kind}.h5" for kind in ("inputs", "labels")]
        image, labels = (_volume(path) for path in paths)
        check_size(labels, image.shape, paths[1])
        if len(image) < abs(first) or len(image) < (last or 0):
            raise DataError(
                message(
                    paths[0],
                    expected=f"{max(abs(first), last or 0)} slices or more",
                    found=f"{len(image)}",
                    do="Get the whole volume.",
                )
            )
        part_of = slice(first, last)
        whole = {"image": image[part_of][None], "labels": labels[part_of]}
        yield Sample(part, f"{volume}_{part}", **whole, spacing=_NANOMETERS, unit="nm")


def _volume(path: Path) -> np.ndarray:
    """Read the data set ``main``, an array ``(z, y, x)``."""
    try:
        with h5py.File(path, "r") as file:
            array = np.asarray(file["main"])
    except (OSError, KeyError) as error:
        raise DataError(
            message(
                path,
                expected="an HDF5 file with the data set main",
                found=str(error),
                do="Put the four files of AC3 and AC4 into one folder.",
            )
        ) from error
    if array.shape != array.shape[-3:]:
        raise DataError(
            message(
                path, expected="axes (z, y, x)", found=f"{array.shape}", do="Get the file again."
            )
        )
    return array


SET = DataSet(
    name="ac34",
    title="Electron microscopy of mouse cortex, all neurites",
    license="terms of the source",
    citation="doi:10.1016/j.cell.2015.06.054",
    source="Kasthuri et al. 2015, volumes AC3 and AC4",
    archive="AC3_inputs.h5, AC3_labels.h5, AC4_inputs.h5, AC4_labels.h5, data set main",
    prepare=prepare,
    preset="pea_ac34",
)
