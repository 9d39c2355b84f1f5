"""Tensors of a TorchScript file, read without running anything in it.

PyTorch's own loader runs code of the file (``__setstate__`` of its classes) and has no limits. The
file is a zip of a pickle and one file per tensor storage. The pickle is read with a list of allowed
names: classes of the file become plain holders of their attributes, and tensors are rebuilt here.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unmask.errors import CheckpointError, message

# Storages are raw memory; what is larger than the file itself was compressed to mislead.
_MOST_PER_BYTE = 4
_TYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class _Holder:
    """An object of a class of the file: its attributes, without its code."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


@dataclass(frozen=True)
class _Storage:
    dtype: torch.dtype
    values: Tensor = field(repr=False)


def load_script_state(path: Path | str) -> dict[str, Tensor]:
    """The state dict of a TorchScript file.

    Raises:
        CheckpointError: missing, damaged, or with other objects than modules and tensors.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            root = _read(archive, path)
    except CheckpointError:
        raise
    except Exception as error:
        # A damaged pickle raises whatever its bytes ask for.
        raise _archive_error(path, f"{type(error).__name__}: {error}") from error
    found: dict[str, Tensor] = {}
    _collect(root, "", found, depth=0)
    if not found:
        raise _archive_error(path, "no tensors")
    return found


def _read(archive: zipfile.ZipFile, path: Path) -> Any:
    entries = {info.filename: info for info in archive.infolist()}
    size = sum(info.file_size for info in entries.values())
    if size > _MOST_PER_BYTE * path.stat().st_size + (1 << 20):
        raise _archive_error(path, f"{size} bytes packed into {path.stat().st_size}")
    pickles = [name for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise _archive_error(path, "no data.pkl")
    folder = pickles[0].removesuffix("data.pkl")
    return _Reader(archive, folder, archive.read(pickles[0])).load()


class _Reader(pickle.Unpickler):
    """Reads modules and tensors; every other name is refused."""

    def __init__(self, archive: zipfile.ZipFile, folder: str, content: bytes) -> None:
        super().__init__(io.BytesIO(content))
        self._archive, self._folder = archive, folder
        self._storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return _Holder
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in _TYPES:
            return _TYPES[name]
        if module == "torch.jit._pickle" and name.startswith("build_"):
            return _take
        raise pickle.UnpicklingError(f"{module}.{name} is not a module or a tensor")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError(f"unknown record {str(kind)[:40]}")
        if key not in self._storages:
            content = bytearray(self._archive.read(f"{self._folder}data/{key}"))
            if len(content) != count * dtype.itemsize:
                raise pickle.UnpicklingError(f"storage {key} has {len(content)} bytes")
            empty = torch.empty(0, dtype=dtype)
            values = torch.frombuffer(content, dtype=dtype) if content else empty
            self._storages[key] = _Storage(dtype, values)
        return self._storages[key]


def _take(value: Any, *_: Any) -> Any:
    """Lists of numbers are values with a declared type."""
    return value


def _rebuild(storage: _Storage, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
    # A view that reaches outside of the storage raises.
    return storage.values.as_strided(tuple(size), tuple(stride), offset).clone()


def _collect(value: Any, name: str, found: dict[str, Tensor], *, depth: int) -> None:
    """Tensors of an object and of the objects in it, by their dotted names."""
    if depth > 100:
        raise CheckpointError(
            "TorchScript file: expected modules, found a ring of them. Use another copy."
        )
    if isinstance(value, Tensor):
        found[name] = value
        return
    state = value.state if isinstance(value, _Holder) else None
    if isinstance(state, Mapping):
        for key, inner in state.items():
            _collect(inner, f"{name}.{key}" if name else str(key), found, depth=depth + 1)


def _archive_error(path: Path, why: str) -> CheckpointError:
    return CheckpointError(
        message(
            path,
            expected="a TorchScript file of modules and tensors",
            found=f"damage or another file ({why[:200]})",
            do="Use another copy. Nothing in it was run.",
        )
    )
