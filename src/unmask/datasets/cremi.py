"""CREMI: electron microscopy of the fly's brain, all neurons or synaptic clefts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from unmask.datasets.dataset import DataSet, Item
from unmask.datasets.files import expect_some, list_files, match_files
from unmask.datasets.samples import Sample, sample_item
from unmask.datasets.stored import hdf5_volume, open_hdf5
from unmask.errors import DataError, message
from unmask.io import Image

_KEYS = {"neurons": "volumes/labels/neuron_ids", "clefts": "volumes/labels/clefts"}
_NANOMETERS = (40.0, 4.0, 4.0)
# Voxels without a label are the largest numbers of 64 bits.
_LARGEST = 2**32 - 1


def find(archive: Path, *, target: str = "neurons", val_slices: int = 25) -> list[Item]:
    """List the samples A, B and C, and the tests A+, B+ and C+ if they are there.

    Args:
        archive: folder of the HDF5 files; of a cropped and a padded one, the cropped one is taken.
        target: ``neurons`` or ``clefts``.
        val_slices: last slices of each sample that are for validation; 0: none.

    Raises:
        DataError: no sample, or an option of another value.
    """
    if target not in _KEYS or not 0 <= val_slices < 125:
        raise DataError(
            f"target={target}, val_slices={val_slices}: expected {' or '.join(_KEYS)} and "
            "0 to 124, found others. Choose one of them."
        )
    found = match_files(list_files(archive), r"sample_([ABC]\+?)(_padded)?_?(\d*)\.(?:hdf|h5|hdf5)")
    expect_some(found, archive, "files such as sample_A_20160501.hdf")
    samples: dict[str, tuple[Path, re.Match[str]]] = {}
    for path, match in found.items():
        name = match[1].upper()
        if name not in samples or not match[2]:
            samples[name] = path, match
    items = []
    for name, (path, _) in samples.items():
        if name.endswith("+"):
            read = partial(_read, path, None, (None, None))
            items.append(sample_item("test", name.replace("+", "_plus"), read))
            continue
        parts = {"train": (0, -val_slices or None), "val": (-val_slices, None)}
        for part, slices in parts.items():
            if part == "train" or val_slices:
                items.append(sample_item(part, name, partial(_read, path, _KEYS[target], slices)))
    return items


def _read(path: Path, key: str | None, slices: tuple[int | None, int | None]) -> Sample:
    """Open slices of a sample; of a padded one, the part that has labels."""
    raw = hdf5_volume(path, "volumes/raw", spacing=_spacing(path), unit="nm")
    if key is None:
        return Sample(raw)
    labels = hdf5_volume(path, key, spacing=_spacing(path), unit="nm")
    raw = _cut(path, raw, _offset(path, key, raw), labels.shape[1:])
    depth = labels.shape[1]
    if depth <= max(abs(each) for each in (*slices, 0) if each is not None):
        raise DataError(
            message(
                path,
                expected="more slices than are held out",
                found=f"{depth}",
                do="Get the whole sample, or hold out fewer: --set val_slices=0.",
            )
        )
    first, last, _ = slice(*slices).indices(depth)
    size = (last - first, *labels.shape[2:])
    corner = (first, 0, 0)
    return Sample(_cut(path, raw, corner, size), _ids(_cut(path, labels, corner, size)))


def _spacing(path: Path) -> Sequence[float]:
    with open_hdf5(path) as file:
        stored = file["volumes/raw"].attrs.get("resolution") if "volumes/raw" in file else None
    return _NANOMETERS if stored is None else [float(each) for each in np.ravel(stored)]


def _offset(path: Path, key: str, raw: Image) -> tuple[int, ...]:
    """Position of the labels in the image, in voxels."""
    with open_hdf5(path) as file:
        stored = file[key].attrs.get("offset")
    if stored is None or raw.spacing is None:
        return (0, 0, 0)
    steps = np.asarray(np.ravel(stored), float) / raw.spacing
    return tuple(int(each) for each in np.rint(steps))


def _cut(path: Path, image: Image, corner: Sequence[int], size: Sequence[int]) -> Image:
    """The part of a volume from a corner on.

    Raises:
        DataError: it reaches outside of the volume.
    """
    ends = [low + length for low, length in zip(corner, size, strict=True)]
    if min(corner) < 0 or any(end > full for end, full in zip(ends, image.shape[1:], strict=True)):
        raise DataError(
            message(
                path,
                expected=f"labels inside of the image, {image.shape[1:]}",
                found=f"{tuple(size)} from {tuple(corner)} on",
                do="Download the file again.",
            )
        )

    def fetch(index: tuple[slice, ...]) -> np.ndarray:
        moved = (
            slice(part.start + low, part.stop + low)
            for part, low in zip(index[1:], corner, strict=True)
        )
        return image.fetch((index[0], *moved))

    return replace(image, shape=(1, *size), fetch=fetch)


def _ids(labels: Image) -> Image:
    """Labels of 32 bits, with 0 for voxels without a label."""

    def fetch(index: tuple[slice, ...]) -> np.ndarray:
        values = labels.fetch(index).astype(np.uint64)
        return np.where(values > _LARGEST, 0, values).astype(np.uint32)

    return replace(labels, dtype=np.dtype(np.uint32), fetch=fetch)


SET = DataSet(
    name="cremi",
    title="Electron microscopy of the fly's brain, all neurons or synaptic clefts (CREMI)",
    license="terms of the source",
    citation="doi:10.1016/j.cell.2018.06.019",
    source="https://cremi.org/data/",
    archive="sample_{A,B,C}_20160501.hdf or the padded ones, optionally sample_{A,B,C}+_*.hdf",
    find=find,
    counts={"train": (3,), "val": (0, 3), "test": (0, 3)},
    sizes=((None, 1250, 1250), (None, 3072, 3072)),
    preset="pea_ac34",
    notes="The challenge has no validation part: the last 25 slices of each sample are held out.",
)
