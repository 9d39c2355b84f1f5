"""A prediction as a small picture, for notebooks."""

from __future__ import annotations

import base64
import colorsys
import io

import numpy as np
from PIL import Image as Pillow

_SIDE = 512
# The golden ratio spreads the hues of neighboring ids evenly.
_TURN = 0.618033988749895
_COLORS = 256


def label_picture(labels: np.ndarray) -> bytes:
    """PNG of a label image, one color per id; of a volume the middle slices.

    Args:
        labels: ``(*space)``; background is black.

    Examples:
        >>> label_picture(np.eye(4, dtype=np.uint8))[1:4]
        b'PNG'
    """
    plane = labels[tuple(n // 2 for n in labels.shape[:-2])]
    # A few pixels per object suffice; a mean of ids would be another id.
    step = max(1, -(-max(plane.shape) // _SIDE))
    plane = plane[::step, ::step].astype(np.int64)
    index = np.where(plane == 0, 0, 1 + (plane - 1) % (_COLORS - 1)).astype(np.uint8)
    picture = Pillow.fromarray(_palette()[index])
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def picture_html(png: bytes, caption: str) -> str:
    """An HTML figure that holds its picture."""
    data = base64.b64encode(png).decode("ascii")
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _palette() -> np.ndarray:
    colors = [(0.0, 0.0, 0.0)]
    for number in range(_COLORS - 1):
        value = 1.0 - 0.35 * (number % 3) / 2
        colors.append(colorsys.hsv_to_rgb(number * _TURN % 1, 0.65, value))
    return (255 * np.array(colors)).astype(np.uint8)
