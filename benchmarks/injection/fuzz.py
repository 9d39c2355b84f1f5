"""Mutated small files through all readers, with limits of time and memory each.

A mutated file is refused with its name, or read. An image that is read has the size of the file
that it was made from, or the program says that something is odd: raw formats cannot notice other
values, but a size that does not fit the rest of the file can be noticed.
"""

from __future__ import annotations

import gzip
import json
import shutil
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from injection.forks import Limits
from injection.seeds import SEEDS
from injection.trial import Part, Trial, Verdict

SEED = 26
_EACH = 80
_LIMITS = Limits(seconds=60, cpu=10)
_GROWTH = 10**9
_ODD = (0, 1, 2, 7, 8, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 2**31 - 1, 2**31,
        2**32 - 1, 2**62)  # fmt: skip
_ODD_TEXT = (b"0", b"-1", b"1e9", b"99999999999999999999", b"null", b"[]", b"{}", b'""', b"NaN",
             b"true", b"\xff", b"*", b"&a", b"[[", b"..")  # fmt: skip
_TEXTS = {".json", ".yaml", ".csv", ".zarray", ".zattrs", ".zgroup"}
_KINDS = {
    ".tif": "TIFF", ".png": "PNG", ".bmp": "BMP", ".jpg": "JPEG", ".nii": "NIfTI", ".gz": "NIfTI",
    ".npy": "NPY", ".h5": "HDF5", ".zarr": "Zarr", ".safetensors": "model files",
    ".bin": "block records", ".yaml": "recipes", ".json": "dataset.json", ".csv": "tables",
}  # fmt: skip
# With another palette a gray picture is a good picture in color.
_PALETTES = {"gray.bmp"}
_FOLDERS = {"series": "DICOM", "snapshot": "snapshots"}


def prepare(at: Path, tiny: bool) -> None:  # noqa: ARG001, FBT001 - as all parts
    """Write the good files and the shapes that they have."""
    shapes: dict[str, Any] = {}
    for name, (make, _) in SEEDS.items():
        # A folder for each, since a list of data has images next to it.
        folder = at / "seeds" / name.replace(".", "_")
        folder.mkdir(parents=True)
        make(folder / name)
        shapes[name] = _read(folder / name, labels=False)[0]
    (at / "shapes.json").write_text(json.dumps(shapes))


def trials(at: Path, tiny: bool) -> list[Trial]:  # noqa: FBT001 - as all parts
    """80 mutations of each of 33 files, 2,640 in all; one of each in the small form."""
    return [
        Trial(f"{name} {number}", _kind(name), partial(_try, at, name, number), _LIMITS, _GROWTH)
        for number in range(1 if tiny else _EACH)
        for name in SEEDS
    ]


def _try(at: Path, name: str, number: int) -> dict[str, Any]:
    from unmask.errors import UnmaskError

    draw = np.random.default_rng([SEED, list(SEEDS).index(name), number])
    folder = at / "trials" / f"{name.replace('.', '_')}-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(at / "seeds" / name.replace(".", "_"), folder)
    path = folder / name
    files = [path] if path.is_file() else [p for p in sorted(path.rglob("*")) if p.is_file()]
    chosen = files[int(draw.integers(len(files)))]
    detail = f"{mutate(chosen, draw)} ({folder.name}/{chosen.relative_to(folder)})"
    wanted = json.loads((at / "shapes.json").read_text())[name]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            shape, notes = _read(path, labels=bool(number % 4 == 3))
        except UnmaskError as error:
            # A list names the files in it, which are in the folder.
            named = name in str(error) or chosen.name in str(error) or str(folder) in str(error)
            verdict, detail = "noticed" if named else "unnamed", f"{detail}; {error}"
        else:
            said = bool(notes or [w for w in caught if "unmask" in (w.filename or "")])
            wanted = [1, *wanted[1:]] if wanted and number % 4 == 3 else wanted
            same = shape == wanted or (name in _PALETTES and shape[1:] == wanted[1:])
            verdict = "read" if same else "noticed" if said else "size"
            detail += "" if shape == wanted else f"; {wanted} became {shape}"
    if verdict in {"noticed", "read"}:
        shutil.rmtree(folder)
    return Verdict(_kind(name), verdict, detail).json()


def mutate(path: Path, draw: np.random.Generator) -> str:
    """Change a file in one of several ways; says which."""
    content = bytearray(path.read_bytes())
    if packed := path.name.endswith(".gz") and draw.random() < 0.5:
        content = bytearray(gzip.decompress(bytes(content)))
    text = path.suffix in _TEXTS or path.name in _TEXTS
    choices = [_text] * 3 + [_cut, _drop] if text else _CHANGES
    if text and draw.random() < 0.3:
        choices = _CHANGES
    change = choices[int(draw.integers(len(choices)))]
    # Headers decide about sizes; three of four changes happen in them.
    reach = len(content) if draw.random() < 0.25 else min(len(content), 400)
    said = change(content, max(1, reach), draw)
    path.write_bytes(gzip.compress(bytes(content)) if packed else bytes(content))
    return f"{change.__name__.strip('_')} {said}{' inside gzip' if packed else ''}"


def _bytes(content: bytearray, reach: int, draw: np.random.Generator) -> str:
    places = draw.integers(0, reach, int(draw.integers(1, 5)))
    for place in places:
        content[place : place + 1] = bytes([int(draw.integers(256))])
    return f"at {places.tolist()}"


def _bit(content: bytearray, reach: int, draw: np.random.Generator) -> str:
    place = int(draw.integers(reach))
    content[place] ^= 1 << int(draw.integers(8))
    return f"at {place}"


def _number(content: bytearray, reach: int, draw: np.random.Generator) -> str:
    place, width = int(draw.integers(reach)), int(draw.choice([1, 2, 4, 8]))
    value = int(draw.choice(_ODD)) % 2 ** (8 * width)
    order = "little" if draw.random() < 0.7 else "big"
    content[place : place + width] = value.to_bytes(width, order)
    return f"{value} of {width} bytes at {place}"


def _cut(content: bytearray, _: int, draw: np.random.Generator) -> str:
    place = int(draw.integers(len(content)))
    del content[place:]
    return f"at {place}"


def _drop(content: bytearray, reach: int, draw: np.random.Generator) -> str:
    place, length = int(draw.integers(reach)), int(draw.integers(1, 20))
    del content[place : place + length]
    return f"{length} bytes at {place}"


def _double(content: bytearray, reach: int, draw: np.random.Generator) -> str:
    place, length = int(draw.integers(reach)), int(draw.integers(1, 40))
    content[place:place] = content[place : place + length]
    return f"{length} bytes at {place}"


def _append(content: bytearray, _: int, draw: np.random.Generator) -> str:
    length = int(draw.integers(1, 200))
    content += draw.bytes(length)
    return f"{length} bytes"


def _text(content: bytearray, _: int, draw: np.random.Generator) -> str:
    """Replace one number or word of a text."""
    import re

    tokens = list(re.finditer(rb"[\w.+-]+", bytes(content)))
    if not tokens:
        content += b"0"
        return "without words"
    token = tokens[int(draw.integers(len(tokens)))]
    value = _ODD_TEXT[int(draw.integers(len(_ODD_TEXT)))]
    content[token.start() : token.end()] = value
    return f"{token.group()!r} -> {value!r} at {token.start()}"


_CHANGES: list[Callable[[bytearray, int, np.random.Generator], str]] = [
    _bytes, _bit, _number, _number, _cut, _drop, _double, _append,
]  # fmt: skip


def _read(path: Path, *, labels: bool) -> tuple[Any, Any]:
    """Shape of an image, None for other files; and what the program says about it."""
    from unmask.io import open_image, open_labels

    ndim = SEEDS[path.name][1]
    if ndim is None:
        _OTHERS[path.name](path)
        return None, ()
    image = (open_labels if labels else open_image)(path, ndim=ndim)
    read = image.read()
    channels = 1 if labels else image.shape[0]
    if read.shape != image.shape:
        raise RuntimeError(f"{path}: {image.shape} promised, {read.shape} read")
    return [channels, *image.shape[1:]], getattr(image, "notes", ())


def _model(path: Path) -> None:
    from unmask.infer.load import load_predictor

    load_predictor(path)


def _record(path: Path) -> None:
    from unmask.blocks.store import read_arrays, read_values

    read_values(path)
    read_arrays(path, ["labels"])


def _snapshot(path: Path) -> None:
    from unmask.checkpoint import load_snapshot

    load_snapshot(path)


def _recipe(path: Path) -> None:
    from unmask.recipe import load

    load(path)


def _listing(path: Path) -> None:
    from unmask.data.pairs import Layout, open_pairs

    open_pairs(path, path, Layout(3), channels=1)


def _table(path: Path) -> None:
    from unmask.data.tables import read_table

    read_table(path)


_OTHERS: dict[str, Callable[[Path], None]] = {
    "model.safetensors": _model,
    "record.bin": _record,
    "snapshot": _snapshot,
    "recipe.yaml": _recipe,
    "dataset.json": _listing,
    "table.csv": _table,
}


def _kind(name: str) -> str:
    return _FOLDERS.get(name) or _KINDS[Path(name).suffix]


PART = Part("fuzz", prepare, trials)
