"""The orientation tag of EXIF and TIFF: pixels in the order in which viewers show them.

A camera stores its picture as the sensor lies and says in the tag how to turn it. Viewers obey, so
labels that are drawn in one fit the turned picture only.
"""

from __future__ import annotations

from dataclasses import replace

from unmask.io.contract import Stored
from unmask.io.orientation import Turn

TAG = 0x0112
# For each value of the tag: whether rows and columns swap, and which of the shown rows and columns
# run against the stored ones (EXIF 2.32, 4.6.4).
_TURNS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def orientation_in(block: bytes | None) -> int:
    """The orientation in an EXIF block; 1 if there is none, or none that makes sense."""
    if not block:
        return 1
    from PIL import Image as Pillow  # TIFF uses this module as well, without an EXIF block.

    exif = Pillow.Exif()
    try:
        exif.load(block)
        value = exif.get(TAG, 1)
    except Exception:  # noqa: BLE001 - a damaged block says nothing about the pixels
        return 1
    return value if isinstance(value, int) and value in _TURNS else 1


def apply_orientation(stored: Stored, value: object) -> Stored:
    """Turn an image as the tag says; parts are still read one by one.

    Args:
        stored: with the axes Y and X.
        value: of the tag; anything but 2 to 8 leaves the image as it is.
    """
    known = isinstance(value, int) and value in _TURNS and value != 1
    if not known or "Y" not in stored.axes or "X" not in stored.axes:
        return stored
    swap, rows, columns = _TURNS[int(value)]  # type: ignore[call-overload]
    y, x = stored.axes.index("Y"), stored.axes.index("X")
    order, flipped = list(range(len(stored.shape))), [False] * len(stored.shape)
    order[y], order[x] = (x, y) if swap else (y, x)
    flipped[y], flipped[x] = rows, columns
    turn = Turn(tuple(order), tuple(flipped))
    spacing = dict(stored.spacing)
    if swap:
        spacing = {{"Y": "X", "X": "Y"}.get(axis, axis): size for axis, size in spacing.items()}
    return replace(
        stored,
        shape=turn.shape(stored.shape),
        read=turn.reader(stored.read, stored.shape),
        spacing=spacing,
    )
