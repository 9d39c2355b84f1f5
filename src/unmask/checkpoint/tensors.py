"""Named tensors in one safetensors file: written with a digest of every bit, read with suspicion.

The layout is that of https://github.com/huggingface/safetensors: 8 bytes of header length, a JSON
header, the bytes of the tensors. The format itself notices no flipped bit, so ``xxh3`` in the
metadata holds a digest of header (with the digest's own place zeroed) and data.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xxhash

from unmask.errors import CheckpointError, message
from unmask.memory import free_memory

if TYPE_CHECKING:
    from torch import Tensor

MAX_HEADER = 10_000_000
MAX_TENSORS = 100_000
_MAX_AXES = 64
_BLANK = "0" * 32
# Name in a file: name in torch, and bytes of one number.
_DTYPES = {
    "F64": ("float64", 8),
    "F32": ("float32", 4),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "F8_E4M3": ("float8_e4m3fn", 1),
    "F8_E5M2": ("float8_e5m2", 1),
    "C64": ("complex64", 8),
    "I64": ("int64", 8),
    "I32": ("int32", 4),
    "I16": ("int16", 2),
    "I8": ("int8", 1),
    "U64": ("uint64", 8),
    "U32": ("uint32", 4),
    "U16": ("uint16", 2),
    "U8": ("uint8", 1),
    "BOOL": ("bool", 1),
}
_NAMES = {f"torch.{name}": key for key, (name, _) in _DTYPES.items()}
_AGAIN = "Use another copy of the file, or make it again."


def total_bytes(tensors: Mapping[str, Tensor]) -> int:
    """Bytes the tensors take in a file, without the header."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write the file in place and flush it to the disk; the caller renames it.

    Raises:
        CheckpointError: a weight is NaN or infinite, or has a type that the format lacks.
        OSError: the disk.
    """
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header = _encode_header({name: tensors[name] for name in order}, metadata, path)
    digest = xxhash.xxh3_128(header)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little"))
        file.write(header)
        for name in order:
            content = _view_bytes(tensors[name], f"{path}: {name}")
            digest.update(content)
            file.write(content)
        file.seek(8)
        file.write(_with_digest(header, _BLANK, digest.hexdigest()))
        file.flush()
        os.fsync(file.fileno())


@dataclass(frozen=True)
class Contents:
    """A file's bytes, checked; tensors are made of them without a copy.

    Attributes:
        buffer: all bytes.
        entries: type, shape and first byte of each tensor by name.
        metadata: texts by name.
    """

    buffer: bytearray
    entries: Mapping[str, tuple[str, list[int], int]]
    metadata: Mapping[str, str]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor by name."""
        return {name: tuple(shape) for name, (_, shape, _) in self.entries.items()}

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name."""
        return {name: _view(self.buffer, *entry) for name, entry in self.entries.items()}


def read_contents(path: Path, *, digest: bool = True) -> Contents:
    """Read a file without torch, which takes seconds to import; every bit is verified.

    Args:
        path: the file.
        digest: False for files of other programs, which carry none.

    Raises:
        CheckpointError: not safetensors, damaged, or made to mislead; names the file.
    """
    buffer, start = _read_file(path)
    header = _parse_header(buffer[8:start], path)
    metadata = _metadata(header.pop("__metadata__", {}), path)
    spans = _check_spans(header, len(buffer) - start, path)
    if digest:
        _verify(buffer, start, metadata, path)
    entries = {
        name: (entry["dtype"], entry["shape"], start + spans[name][0])
        for name, entry in header.items()
    }
    return Contents(buffer, entries, metadata)


def read_tensors(path: Path, *, digest: bool = True) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata; see `read_contents`."""
    contents = read_contents(path, digest=digest)
    return contents.tensors(), dict(contents.metadata)


def _encode_header(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], path: Path) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"xxh3": _BLANK, "format": "pt", **metadata}}
    offset = 0
    for name, tensor in tensors.items():
        if str(tensor.dtype) not in _NAMES or name == "__metadata__":
            raise CheckpointError(
                message(
                    f"{path}: {name}",
                    expected="a tensor of numbers under another name than __metadata__",
                    found=str(tensor.dtype),
                    do="Convert or rename it.",
                )
            )
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _NAMES[str(tensor.dtype)],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise CheckpointError(
            f"{path}: expected a header of at most {MAX_HEADER} bytes, found {len(text)}. "
            "Shorten the card or join small tensors."
        )
    return text


def _view_bytes(tensor: Tensor, label: str) -> memoryview:
    if (tensor.is_floating_point() or tensor.is_complex()) and not _all_finite(tensor):
        raise CheckpointError(
            f"{label}: expected finite numbers, found NaN or infinity; nothing was saved. "
            "Lower the learning rate, or train with precision 32."
        )
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def _all_finite(tensor: Tensor) -> bool:
    import torch

    wide = tensor.float() if tensor.element_size() == 1 else tensor
    return bool(torch.isfinite(wide).all())


def _with_digest(header: bytes, old: str, new: str) -> bytes:
    # Inside the card's JSON the quotes are escaped, so this pattern meets the one true place.
    return header.replace(f'"xxh3":"{old}"'.encode(), f'"xxh3":"{new}"'.encode(), 1)


def _read_file(path: Path) -> tuple[bytearray, int]:
    """The file's bytes, and where the header ends; the header's length is checked first."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, MAX_HEADER):
                raise CheckpointError(
                    message(
                        path,
                        expected=f"a safetensors header within {min(size, MAX_HEADER)} bytes",
                        found=f"{size} bytes that claim a header of {length}",
                        do=_AGAIN,
                    )
                )
            header = _parse_header(file.read(length), path)
            header.pop("__metadata__", None)
            _check_spans(header, size - 8 - length, path)
            # A sparse file may claim any size at no cost.
            if size > free_memory() // 2:
                raise CheckpointError(
                    message(
                        path,
                        expected=f"at most half of the free memory, {free_memory() // 2} bytes",
                        found=f"{size} bytes",
                        do="Use a machine with more memory, or another copy of the file.",
                    )
                )
            file.seek(0)
            buffer = bytearray(size)
            if file.readinto(buffer) != size:
                raise CheckpointError(f"{path}: the file shrank while it was read. {_AGAIN}")
    except OSError as error:
        raise CheckpointError(
            f"{path}: expected a readable file, found: {error.strerror or error}. Check the path."
        ) from error
    return buffer, 8 + length


def _parse_header(text: bytes | bytearray, path: Path) -> dict[str, Any]:
    # Counted before parsing: objects in the thousands of thousands take seconds to build.
    if (count := text.count(b"data_offsets")) > MAX_TENSORS:
        raise CheckpointError(
            message(path, expected=f"at most {MAX_TENSORS} tensors", found=f"{count}", do=_AGAIN)
        )
    try:
        header = json.loads(bytes(text), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: expected a safetensors header, found text that is not valid JSON "
            f"({str(error)[:200]}). {_AGAIN}"
        ) from error
    if not isinstance(header, dict):
        raise CheckpointError(
            message(path, expected="tensors by name", found=type(header).__name__, do=_AGAIN)
        )
    return header


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _metadata(found: object, path: Path) -> dict[str, str]:
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise CheckpointError(f"{path}: expected metadata of texts, found {found!r:.80}. {_AGAIN}")
    return found


def _check_spans(header: dict[str, Any], size: int, path: Path) -> dict[str, tuple[int, int]]:
    """Byte ranges of all tensors: they cover the data without gap or overlap."""
    spans = {name: _span(entry, f"{path}: {name!r:.80}") for name, entry in header.items()}
    position = 0
    for name, (first, end) in sorted(spans.items(), key=lambda item: item[1]):
        if first != position:
            raise CheckpointError(
                message(
                    f"{path}: {name!r:.80}",
                    expected=f"bytes from {position} on, without gap or overlap",
                    found=f"bytes from {first} on",
                    do=_AGAIN,
                )
            )
        position = end
    if position != size:
        raise CheckpointError(
            message(path, expected=f"{position} bytes of tensors", found=f"{size}", do=_AGAIN)
        )
    return spans


def _span(entry: object, label: str) -> tuple[int, int]:
    if isinstance(entry, dict) and set(entry) == {"dtype", "shape", "data_offsets"}:
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if (
            isinstance(dtype, str)
            and dtype in _DTYPES
            and _are_sizes(shape)
            and _are_sizes(offsets)
            and len(offsets) == 2
            and offsets[1] - offsets[0] == prod(shape) * _DTYPES[dtype][1]
        ):
            return offsets[0], offsets[1]
    raise CheckpointError(
        message(
            label,
            expected="a known dtype, a shape and the bytes that belong to it",
            found=repr(entry)[:120],
            do=_AGAIN,
        )
    )


def _are_sizes(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= _MAX_AXES
        and all(type(number) is int and 0 <= number < 2**63 for number in value)
    )


def _verify(buffer: bytearray, start: int, metadata: Mapping[str, str], path: Path) -> None:
    told_digest = metadata.get("xxh3", "")
    header = _with_digest(bytes(buffer[8:start]), told_digest, _BLANK)
    digest = xxhash.xxh3_128(header)
    digest.update(memoryview(buffer)[start:])
    if digest.hexdigest() != told_digest:
        raise CheckpointError(
            message(
                path,
                expected=f"content of digest {told_digest or '(none given)'}",
                found=digest.hexdigest(),
                do=f"The file is damaged or was not made by unmask. {_AGAIN}",
            )
        )


def _view(buffer: bytearray, name: str, shape: list[int], offset: int) -> Tensor:
    import torch

    dtype_name, itemsize = _DTYPES[name]
    dtype, count = getattr(torch, dtype_name), prod(shape)
    if count == 0:
        return torch.empty(shape, dtype=dtype)
    if offset % itemsize:
        buffer, offset = buffer[offset : offset + count * itemsize], 0
    return torch.frombuffer(buffer, dtype=dtype, count=count, offset=offset).reshape(shape)
