"""The result of one block as one file: complete and verified, or not there.

Magic, length and digest of a JSON header, header, packed arrays (zstd). The header has the digest
of every array, so that a flipped bit or a truncated file is noticed, whatever part is read.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import xxhash

from unmask.atomic import atomic_path
from unmask.errors import CheckpointError, message
from unmask.io.codecs import imagecodecs

_MAGIC = b"unmaskb1"
_HEAD = struct.Struct("<8sI16s")


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
    """Write arrays and some JSON values, durably and at once.

    Raises:
        SaveError: the file could not be written.
    """
    codec = imagecodecs("A file of a block")
    parts: list[bytes] = []
    entries: dict[str, Any] = {}
    offset = 0
    for name, array in arrays.items():
        packed = bytes(codec.zstd_encode(np.ascontiguousarray(array).tobytes(), level=1))
        entries[name] = {
            "dtype": array.dtype.str,
            "shape": array.shape,
            "offset": offset,
            "size": len(packed),
            "digest": xxhash.xxh3_128_hexdigest(packed),
        }
        parts.append(packed)
        offset += len(packed)
    header = json.dumps({"values": dict(values), "arrays": entries}).encode()
    head = _HEAD.pack(_MAGIC, len(header), xxhash.xxh3_128_digest(header))
    with atomic_path(path) as aside:
        aside.write_bytes(b"".join([head, header, *parts]))


def read_values(path: Path) -> dict[str, Any]:
    """The JSON values of a file, after a check of all that is in it.

    Raises:
        CheckpointError: missing, damaged or not such a file.
    """
    with _open(path) as handle:
        header = _read_header(path, handle)
        for name in header["arrays"]:
            _read_packed(path, handle, header, name)
    return header["values"]


def read_arrays(path: Path, names: Sequence[str]) -> list[np.ndarray]:
    """Some arrays of a file, in the order of ``names``; the others are not read.

    Raises:
        CheckpointError: missing, damaged or not such a file.
    """
    codec = imagecodecs("A file of a block")
    arrays: list[np.ndarray] = []
    with _open(path) as handle:
        header = _read_header(path, handle)
        for name in names:
            packed = _read_packed(path, handle, header, name)
            entry = header["arrays"][name]
            dtype = np.dtype(entry["dtype"])
            size = prod(entry["shape"]) * dtype.itemsize
            plain = codec.zstd_decode(packed, out=size) if size else b""
            arrays.append(np.frombuffer(plain, dtype).reshape(entry["shape"]))
    return arrays


@contextmanager
def _open(path: Path) -> Generator[BinaryIO, None, None]:
    try:
        with path.open("rb") as handle:
            yield handle
    except OSError as error:
        raise CheckpointError(
            _describe_damage(path, f"none ({error.strerror or error})")
        ) from error
    except (struct.error, KeyError) as error:
        raise CheckpointError(_describe_damage(path, f"another or a cut one ({error})")) from error


def _read_header(path: Path, handle: BinaryIO) -> dict[str, Any]:
    magic, length, digest = _HEAD.unpack(handle.read(_HEAD.size))
    text = handle.read(length)
    if magic != _MAGIC or xxhash.xxh3_128_digest(text) != digest:
        raise CheckpointError(_describe_damage(path, "a header that does not match its digest"))
    return {**json.loads(text), "start": _HEAD.size + length}


def _read_packed(path: Path, handle: BinaryIO, header: Mapping[str, Any], name: str) -> bytes:
    entry = header["arrays"][name]
    handle.seek(header["start"] + entry["offset"])
    packed = handle.read(entry["size"])
    if xxhash.xxh3_128_hexdigest(packed) != entry["digest"]:
        raise CheckpointError(_describe_damage(path, f"{name!r} that does not match its digest"))
    return packed


def _describe_damage(path: Path, found: str) -> str:
    return message(
        path, expected="the file of a finished block", found=found, do="Resume with --resume."
    )
