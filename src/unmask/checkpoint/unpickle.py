"""Child process that opens one PyTorch pickle: limited in memory and time, weights only.

Run as a script by ``unmask.checkpoint.foreign``; it imports nothing of unmask, so that it starts
anywhere: ``python unpickle.py SOURCE RESULT MEMORY_BYTES SECONDS``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from typing import Any

import torch
from safetensors.torch import save_file


def main(source: str, result: str, memory: int, seconds: int) -> None:
    """Write the tensors of ``source`` to ``result``, its structure into the metadata."""
    _limit("RLIMIT_AS", memory)
    _limit("RLIMIT_CPU", seconds)
    # Namespaces of argparse stand in many published files; building one runs no foreign code.
    with torch.serialization.safe_globals([argparse.Namespace]):
        loaded = torch.load(source, map_location="cpu", weights_only=True)
    tensors: dict[str, torch.Tensor] = {}
    tree = _strip(loaded, tensors)
    save_file(tensors, result, {"tree": json.dumps(tree)})


def _strip(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """Nested dicts with tensors moved to ``tensors``; values outside of JSON become text."""
    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        # Cloned: the file format refuses tensors that share memory, and tied weights do.
        tensors[name] = value.detach().to_dense().clone(memory_format=torch.contiguous_format)
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[str(key), _strip(item, tensors)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        return {"list": [_strip(item, tensors) for item in value]}
    if isinstance(value, argparse.Namespace):
        return _strip(vars(value), tensors)
    if value is None or isinstance(value, (bool, int, float, str)):
        return {"value": value}
    return {"value": str(value)}


def _limit(name: str, amount: int) -> None:
    """Limit this process where the system can (not on Windows; macOS refuses some limits)."""
    try:
        resource: Any = importlib.import_module("resource")
        kind = getattr(resource, name)
        _, hard = resource.getrlimit(kind)
        least = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        resource.setrlimit(kind, (least, hard))
    except (ImportError, AttributeError):
        return
    except (OSError, ValueError):
        if sys.platform == "linux":
            raise


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
