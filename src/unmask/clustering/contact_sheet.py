"""Contact sheets: what each cluster looks like, so that a person can name it."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

from unmask.io import Image
from unmask.plain_text import printable
from unmask.space.box import Box
from unmask.space.random import generator

# Voxels of a section that are shown, and of a detail.
_SECTION = 384
_DETAIL = 48
_DETAILS = 5
_SECTIONS = 4
# Pixels of a picture on the sheet, of the text above it, and between pictures.
_CELL = 168
_TEXT = 18
_GAP = 6


def contact_sheet(image: Image, labels: Image, names: Mapping[int, str], *, seed: int = 0) -> bytes:
    """PNG with a row for each label: where it is, and details around places of it.

    The first row shows sections spread over the volume, plain and with all labels.

    Args:
        image: ``(C, *space)``.
        labels: ``(1, *space)`` of the same size.
        names: text above each row, by label.
        seed: of the places.
    """
    sections = _sections(image, labels)
    colors = _palette(len(names))
    above = [
        each for pair in sections for each in (_make_gray(pair[0]), _all(*pair, names, colors))
    ]
    rows = [("sections, and all labels", above[: _DETAILS + 1])]
    for color, (label, text) in zip(colors, names.items(), strict=True):
        rng = generator(seed, "contact", label)
        best = max(sections, key=lambda pair, n=label: int((pair[1] == n).sum()))
        details = [_lit(*part, label, color) for part in _details(sections, label, rng)]
        rows.append((text, [_lit(*best, label, color, dim=0.6), *details]))
    return _sheet(rows)


def _sheet(rows: Sequence[tuple[str, Sequence[np.ndarray]]]) -> bytes:
    """PNG of rows of pictures ``(y, x, 3)`` in [0, 1] with a text above each row."""
    step = _CELL + _GAP
    size = ((_DETAILS + 1) * step + _GAP, len(rows) * (step + _TEXT) + _GAP)
    sheet = Picture.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    for row, (text, pictures) in enumerate(rows):
        top = _GAP + row * (step + _TEXT)
        draw.text((_GAP, top), printable(text, one_line=True), fill="black", font=font)
        for column, picture in enumerate(pictures):
            shown = Picture.fromarray((255 * picture).astype(np.uint8))
            width, height = shown.size
            scale = _CELL / max(width, height)
            fitted = (max(1, round(width * scale)), max(1, round(height * scale)))
            how = Picture.Resampling.NEAREST if scale > 1 else Picture.Resampling.BOX
            sheet.paste(shown.resize(fitted, how), (_GAP + column * step, top + _TEXT))
    buffer = io.BytesIO()
    sheet.save(buffer, format="png")
    return buffer.getvalue()


def _palette(count: int) -> np.ndarray:
    """Colors ``(count, 3)`` far from each other: neighbors differ in brightness, too."""
    return np.array(
        [
            colorsys.hls_to_rgb(number / max(1, count), (0.45, 0.65)[number % 2], 0.95)
            for number in range(count)
        ]
    )


def _sections(image: Image, labels: Image) -> list[tuple[np.ndarray, np.ndarray]]:
    """Gray values in [0, 1] and labels of some sections spread over the volume, their middles."""
    *slow, height, width = image.shape[1:]
    counts = [min(_SECTIONS, n) for n in slow[:1]] + [1 for _ in slow[1:]]
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for cell in np.ndindex(*counts):
        start = [(2 * i + 1) * n // (2 * c) for i, n, c in zip(cell, slow, counts, strict=True)]
        low = [max(0, (n - _SECTION) // 2) for n in (height, width)]
        size = [1] * len(slow) + [min(_SECTION, n) for n in (height, width)]
        corner = (*start, *low)
        box = Box(corner, tuple(a + n for a, n in zip(corner, size, strict=True)))
        plane = image.read(box).astype(np.float32).mean(axis=0).reshape(size[-2:])
        found.append((plane, labels.read(box).reshape(size[-2:])))
    low, high = np.percentile(np.stack([plane for plane, _ in found]), (0.5, 99.5))
    scale = max(float(high - low), 1e-6)
    return [(np.clip((plane - low) / scale, 0, 1), drawn) for plane, drawn in found]


def _details(
    sections: Sequence[tuple[np.ndarray, np.ndarray]], label: int, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Small parts around random places of a label."""
    places = [
        (number, *place)
        for number, (_, drawn) in enumerate(sections)
        for place in np.argwhere(drawn == label)
    ]
    if not places:
        return []
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for pick in rng.choice(len(places), min(_DETAILS, len(places)), replace=False):
        number, *middle = places[pick]
        gray, drawn = sections[number]
        start = [
            int(np.clip(m - _DETAIL // 2, 0, max(0, n - _DETAIL)))
            for m, n in zip(middle, gray.shape, strict=True)
        ]
        part = tuple(slice(a, a + _DETAIL) for a in start)
        found.append((gray[part], drawn[part]))
    return found


def _make_gray(plane: np.ndarray) -> np.ndarray:
    return np.repeat(plane[..., None], 3, axis=-1)


def _lit(
    plane: np.ndarray, drawn: np.ndarray, label: int, color: np.ndarray, dim: float = 1.0
) -> np.ndarray:
    """Gray with one label in color, the others darker by ``dim``."""
    gray = _make_gray(plane)
    return np.where((drawn == label)[..., None], 0.55 * gray + 0.45 * color, dim * gray)


def _all(
    plane: np.ndarray, drawn: np.ndarray, names: Mapping[int, str], colors: np.ndarray
) -> np.ndarray:
    """Gray with all labels in their colors."""
    result = gray = _make_gray(plane)
    for label, color in zip(names, colors, strict=True):
        result = np.where((drawn == label)[..., None], 0.5 * gray + 0.5 * color, result)
    return result
