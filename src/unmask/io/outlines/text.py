"""JSON files of limited size; what is damaged is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from unmask.errors import DataError, message

_MAX_BYTES = 2_000_000_000


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        DataError: not JSON, or unreasonably large.
    """
    if path.stat().st_size > _MAX_BYTES:
        raise DataError(
            message(path, expected=f"at most {_MAX_BYTES} bytes of JSON",
                 found=f"{path.stat().st_size}", do="Divide the file.")
        )  # fmt: skip
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(
            message(path, expected="JSON", found=f"something else ({str(error)[:100]})",
                 do="Export the file again.")
        ) from error  # fmt: skip


def strange(path: Path, found: str, what: str) -> DataError:
    """The error for a file whose content is not as its format says."""
    return DataError(message(path, expected=what, found=found[:200], do="Export the file again."))
