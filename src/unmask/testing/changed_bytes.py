"""Files with changed bytes, for tests of readers: each must be read as before, or refused.

``change_bytes`` makes random changes; ``grow_sizes`` makes a small file claim a gigantic size, as a
decompression bomb does.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from unmask.errors import DataError
from unmask.io import open_image

_TEXT = "0123456789[]{}(),:.-="
# Headers are mostly within so many bytes.
_HEADER = 2000


def change_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """Change a few bytes, mostly at the start where headers are, or cut the file."""
    if rng.random() < 0.1:
        return data[: int(rng.integers(0, len(data) + 1))]
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        reach = len(data) if rng.random() < 0.5 else min(len(data), _HEADER)
        place = int(rng.integers(reach))
        choices = (
            int(rng.integers(256)),
            changed[place] ^ 1 << int(rng.integers(8)),
            ord(_TEXT[int(rng.integers(len(_TEXT)))]),
        )
        changed[place] = choices[int(rng.integers(3))]
    return bytes(changed)


def grow_sizes(data: bytes, lengths: tuple[int, ...]) -> Iterator[bytes]:
    """The content of a file with gigantic numbers in the place of the lengths of its axes.

    Each way to write a number is tried: text in two encodings, and integers of 2, 4 and 8 bytes in
    both byte orders. A way that the file does not use yields nothing.

    Args:
        data: content of a file.
        lengths: of the axes; odd numbers that are rare in a header.
    """
    ways = [(f"{order}{code}", giant) for order in "<>" for code, giant in _INTEGERS.items()]
    for format_, giant in ways:
        changed = data
        for length in lengths:
            changed = changed.replace(struct.pack(format_, length), struct.pack(format_, giant))
        if changed != data:
            yield changed
    for encoding in ("ascii", "utf-16-le"):
        changed = data
        for length in lengths:
            changed = changed.replace(str(length).encode(encoding), _DIGITS.encode(encoding))
        if changed != data:
            yield changed


_INTEGERS = {"h": 30_000, "i": 1_000_000, "q": 2**40}
_DIGITS = "1000000"


def read_shape(path: Path, ndim: int) -> tuple[tuple[int, ...], bool] | None:
    """Shape of a whole image that is read, and whether something was reported; None if refused."""
    try:
        image = open_image(path, ndim=ndim)
        return image.read().shape, bool(image.meta.get("notes"))
    except DataError:
        return None
