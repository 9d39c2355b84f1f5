"""MGH and MGZ files of FreeSurfer: raw values by box, packed ones whole."""

from __future__ import annotations

import gzip
from typing import Any

import numpy as np
from nibabel.freesurfer.mghformat import MGHHeader

from unmask.errors import DataError, message
from unmask.io.contract import Format, Location, Stored, only_level, signature
from unmask.io.flat import Flat, flat_reader, truncated
from unmask.io.placed import placed_volume

_HEADER = 284
# Acquisition parameters and commands of the history follow the values.
_MOST_REST = 1 << 20
_TYPES = {0: ">u1", 1: ">i4", 3: ">f4", 4: ">i2", 10: ">u2"}


def open_mgh(location: Location, *, level: int = 0, labels: bool = False) -> Stored:
    """Read the header.

    Raises:
        DataError: damaged, or another length than the header claims.
    """
    del labels
    only_level(location, level)
    mark = signature(location.path)
    packed = location.path.name.lower().endswith((".mgz", ".gz"))
    with gzip.open(location.path) if packed else location.path.open("rb") as handle:
        head = handle.read(_HEADER)
    if len(head) < _HEADER:
        raise truncated(location, _HEADER, len(head))
    fields: Any = MGHHeader(head, check=False)
    kind = int(fields["type"])
    sizes = tuple(int(size) for size in fields["dims"])
    if int(fields["version"]) != 1 or kind not in _TYPES or min(sizes) < 1:
        raise DataError(
            message(
                location.source,
                expected="an MGH file of version 1 with numbers",
                found=f"version {int(fields['version'])}, type {kind}, sizes {sizes}",
                do="Copy it again, or convert it with mri_convert.",
            )
        )
    stored, shape = np.dtype(_TYPES[kind]), sizes[::-1]
    offset, skip = (0, _HEADER) if packed else (_HEADER, 0)
    packing = "gzip" if packed else ""
    flat = Flat(location, mark, shape, stored, offset, packing, skip, rest=_MOST_REST)
    read = flat_reader(flat)
    dtype = stored.newbyteorder("=")
    lead = "t" if shape[0] == 1 else "T"
    if not int(fields["goodRASFlag"]):
        return Stored(shape, dtype, f"{lead}ZYX", read, whole=packed)
    # The header computes its affine from fields of 32 bits.
    affine = np.asarray(fields.get_affine(), float)
    return placed_volume(location.source, shape, dtype, read, affine, lead=lead, whole=packed)


FORMAT = Format("MGH", open_mgh, family=".nii.gz")
