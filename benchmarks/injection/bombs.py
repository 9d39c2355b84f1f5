"""Small files that claim or unpack to far more than they should: refused, cheaply.

Each is opened and read whole. It must be refused, or read right if the bomb is in a place that
nobody reads, with less than 1 GB more memory and 2 CPU seconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from injection import bombs_chunked, bombs_flat, bombs_model
from injection.forks import Limits
from injection.trial import Part, Trial, Verdict

GROWTH, CPU = 10**9, 2.0
_LIMITS = Limits(seconds=60, cpu=30)
MAKERS: dict[str, Callable[[Path], object]] = {
    **bombs_flat.MAKERS,
    **bombs_chunked.MAKERS,
    **bombs_model.MAKERS,
}
_KINDS = {
    "tif": "TIFF", "png": "PNG, BMP, JPEG", "bmp": "PNG, BMP, JPEG", "jpg": "PNG, BMP, JPEG",
    "nii": "NIfTI", "nii.gz": "NIfTI", "npy": "NPY", "npz": "NPY", "h5": "HDF5", "zarr": "Zarr",
    "dcm": "DICOM", "safetensors": "model files", "yaml": "recipes (YAML)",
    "json": "dataset.json",
}  # fmt: skip


def prepare(at: Path, tiny: bool) -> None:  # noqa: ARG001, FBT001 - as all parts
    """Write all files."""
    for name, make in MAKERS.items():
        make(at / name)


def trials(at: Path, tiny: bool) -> list[Trial]:  # noqa: ARG001, FBT001 - as all parts
    """All files; they are few."""
    return [
        Trial(name, _kind(name), partial(_read, at / name), _LIMITS, growth=GROWTH, cpu=CPU)
        for name in MAKERS
    ]


def read(path: Path) -> Any:
    """Open and read a file by its kind, as the program does."""
    from unmask import recipe
    from unmask.data.pairs import Layout, open_pairs
    from unmask.infer.load import load_predictor
    from unmask.io import open_image

    if path.suffix == ".safetensors":
        return load_predictor(path)
    if path.suffix == ".yaml":
        return recipe.load(path)
    if path.suffix == ".json":
        return open_pairs(path, None, Layout(3), channels=1)
    folder = path if path.suffix != ".dcm" else path.parent / path.stem
    return open_image(folder).read()


def _read(path: Path) -> dict[str, Any]:
    from unmask.errors import UnmaskError

    group = _kind(path.name)
    try:
        value = read(path)
    except UnmaskError as error:
        named = path.stem.partition(".")[0] in str(error)
        return Verdict(group, "refused" if named else "unnamed", str(error)).json()
    # A picture with a bomb next to its pixels may be read; its pixels are all 7.
    right = getattr(value, "size", 0) in (256, 4096) and (value == 7).all()
    shape = getattr(value, "shape", type(value).__name__)
    return Verdict(group, "read" if right else "accepted", json.dumps(str(shape))).json()


def _kind(name: str) -> str:
    return _KINDS[name.partition(".")[2]]


PART = Part("bombs", prepare, trials)
