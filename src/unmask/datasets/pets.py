"""Oxford-IIIT Pet: photographs of cats and dogs with trimaps.

The archive holds ``images/*.jpg``, ``annotations/trimaps/*.png`` and
``annotations/{trainval,test}.txt``. Labels are 0 background, 1 pet, 2 border if it is ignored.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from unmask.datasets.dataset import DataSet, Item
from unmask.errors import DataError, describe_error, message
from unmask.io import save_image
from unmask.space.random import generator

BORDER_LABEL = 2
# Seed of the published shuffle. It shuffled the order of one file system; ours is sorted.
_SEED = 90
_TRAIN, _TEST = 0.7, 0.1
_FORMATS = ("JPEG", "PNG", "GIF", "BMP")  # some .jpg of the archive are PNG or GIF inside
_OFFICIAL = {"train": "trainval.txt", "test": "test.txt"}


def find(
    archive: Path, *, split: str = "official", border: str = "ignore", size: int = 224
) -> list[Item]:
    """List the photographs of a split.

    Args:
        archive: folder of the official archive.
        split: ``official`` (train, test), or ``published`` (train, val, test: 70, 20, 10 %).
        border: ``ignore`` keeps the border of the trimaps as label 2, ``background`` makes it 0.
        size: side length to which images (bicubic) and labels (nearest) are resized, without
            regard to their proportions, as published; 0 keeps their size.

    Raises:
        DataError: an unknown split, or a list that is missing or wrong.
    """
    images, trimaps = (_folder(archive, name) for name in ("images", "trimaps"))
    return [
        Item(
            part,
            name,
            partial(_write, images / f"{name}.jpg", trimaps / f"{name}.png", border, size),
        )
        for part, names in read_split(archive, split).items()
        for name in names
    ]


def _folder(archive: Path, name: str) -> Path:
    """Find a folder of the archive; its two files may be unpacked side by side."""
    found = [path for path in archive.rglob(name) if path.is_dir()]
    return min(found, key=lambda path: len(path.parts), default=archive / name)


def _write(
    photograph: Path, trimap: Path, border: str, size: int, folder: Path, name: str
) -> tuple[int, ...]:
    """Write a photograph and its labels as PNG."""
    image, labels = read_pair(photograph, trimap, border=border, size=size or None)
    save_image(folder / "images" / f"{name}.png", image, axes="CYX")
    save_image(folder / "labels" / f"{name}.png", labels)
    return image.shape[1:]


def read_split(archive: Path, split: str) -> dict[str, list[str]]:
    """Read the names of the images of every part.

    Raises:
        DataError: an unknown split, a missing list, or no images.
    """
    if split == "official":
        folder = _folder(archive, "annotations")
        return {part: _read_list(folder / file) for part, file in _OFFICIAL.items()}
    if split != "published":
        raise DataError(
            f"split={split}: expected official or published, found neither. Choose one of them."
        )
    names = sorted(path.stem for path in _folder(archive, "images").glob("*.jpg"))
    if not names:
        raise DataError(
            message(
                archive / "images",
                expected="the photographs *.jpg of the archive",
                found="none",
                do="Unpack images.tar.gz and annotations.tar.gz into one folder.",
            )
        )
    order = generator(_SEED, "pets").permutation(len(names))
    shuffled = [names[index] for index in order]
    train, test = int(_TRAIN * len(names)), int(_TEST * len(names))
    last = len(names) - test
    return {"train": shuffled[:train], "val": shuffled[train:last], "test": shuffled[last:]}


def read_pair(
    photograph: Path, source: Path, *, border: str = "ignore", size: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Read a photograph ``(3, y, x)`` and its labels ``(y, x)``, both uint8.

    Raises:
        DataError: a file that is missing or not an image, or a trimap with other values or size.
    """
    image = _open(photograph).convert("RGB")
    trimap = _open(source)
    if trimap.size != image.size:
        raise DataError(
            message(
                source,
                expected=f"the size of its photograph, {image.size[::-1]}",
                found=f"{trimap.size[::-1]}",
                do="Unpack the archive again.",
            )
        )
    labels = Image.fromarray(trimap_labels(np.asarray(trimap), border=border, source=str(source)))
    if size is not None:
        image = image.resize((size, size), Image.Resampling.BICUBIC)
        labels = labels.resize((size, size), Image.Resampling.NEAREST)
    return np.ascontiguousarray(np.moveaxis(np.asarray(image), -1, 0)), np.asarray(labels)


def trimap_labels(trimap: np.ndarray, *, border: str, source: str) -> np.ndarray:
    """Make labels of a trimap (1 pet, 2 background, 3 border).

    Raises:
        DataError: any other value, or another number of axes; names ``source``.
    """
    if border not in ("ignore", "background"):
        raise DataError(f"border={border}: expected ignore or background. Choose one of them.")
    values = np.unique(trimap)
    if trimap.shape != trimap.shape[:2] or not set(values.tolist()) <= {1, 2, 3}:
        raise DataError(
            message(
                source,
                expected="one channel with the values 1 (pet), 2 (background), 3 (border)",
                found=f"shape {trimap.shape} with the values {values[:8].tolist()}",
                do="Take the trimaps of annotations.tar.gz, not colored or rescaled ones.",
            )
        )
    table = np.array([0, 1, 0, BORDER_LABEL if border == "ignore" else 0], np.uint8)
    return table[trimap]


def _read_list(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            message(
                path,
                expected="a list of the official archive",
                found=describe_error(error),
                do="Give annotations.tar.gz as well, or choose --set split=published.",
            )
        ) from error
    names = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
    strange = [name for name in names if Path(name).name != name]
    if strange or not names:
        raise DataError(
            message(
                path,
                expected="names of images, one per line",
                found=f"{strange[:3] or 'no line'}",
                do="Unpack annotations.tar.gz again.",
            )
        )
    return names


def _open(path: Path) -> Any:
    try:
        with Image.open(path, formats=_FORMATS) as file:
            file.load()
            return file.copy()
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(
            message(path, expected="an image", found=str(error), do="Unpack the archive again.")
        ) from error


SET = DataSet(
    name="pets",
    title="Photographs of cats and dogs, the animal as foreground (Oxford-IIIT Pet)",
    license="CC BY-SA 4.0",
    citation="doi:10.1109/CVPR.2012.6248092",
    source="https://www.robots.ox.ac.uk/~vgg/data/pets/",
    archive="images.tar.gz, annotations.tar.gz: images/*.jpg, annotations/trimaps/*.png, "
    "annotations/{trainval,test}.txt",
    find=find,
    counts={"train": (3680, 5173, 5174), "val": (0, 1478, 1479), "test": (3669, 739)},
    preset="mae_pets",
)
