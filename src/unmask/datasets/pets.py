"""Oxford-IIIT Pet: from the official archive to folders of images and labels.

    python -m unmask.datasets.pets ARCHIVE OUT [--split official|published]
                               [--border ignore|background] [--size 224]

ARCHIVE holds ``images/*.jpg``, ``annotations/trimaps/*.png`` and
``annotations/{trainval,test}.txt`` (Parkhi et al. 2012, doi:10.1109/CVPR.2012.6248092). OUT gets
``<part>/images`` and ``<part>/labels``: 0 background, 1 pet, 2 border where it is ignored.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from unmask.apps import command
from unmask.errors import DataError, gather, message
from unmask.io import save_image
from unmask.space.random import generator

BORDER_LABEL = 2
# Of the published shuffle; its order was that of one file system, ours is that of sorted names.
_SEED = 90
_TRAIN, _TEST = 0.7, 0.1
_FORMATS = ("JPEG", "PNG", "GIF", "BMP")  # some .jpg of the archive are PNG or GIF inside
_OFFICIAL = {"train": "trainval.txt", "test": "test.txt"}


def prepare(
    archive: Path,
    out: Path,
    *,
    split: str = "official",
    border: str = "ignore",
    size: int | None = 224,
    say: Callable[[str], None] = print,
) -> dict[str, int]:
    """Write the parts of a split as PNG; the number of images of each part comes back.

    Args:
        archive: folder of the official archive.
        out: folder of the parts.
        split: ``official`` (train, test), or ``published`` (train, val, test: 70, 20, 10 %).
        border: ``ignore`` keeps the border of the trimaps as label 2, ``background`` makes it 0.
        size: side to which images (bicubic) and labels (nearest) are brought without regard to
            their proportions, as published; None keeps their size.
        say: gets a line a part.

    Raises:
        DataError: files that are missing or wrong; all problems at once.
    """
    parts = read_split(archive, split)
    problems: list[str] = []
    for part, names in parts.items():
        for name in names:
            try:
                image, labels = read_pair(archive, name, border=border, size=size)
            except DataError as error:
                problems.append(str(error))
                continue
            save_image(out / part / "images" / f"{name}.png", image, axes="CYX")
            save_image(out / part / "labels" / f"{name}.png", labels)
        say(f"{part}: {len(names)} image(s) in {out / part}")
    if problems:
        raise DataError(gather(problems, heading=f"{len(problems)} problem(s) found:"))
    return {part: len(names) for part, names in parts.items()}


def read_split(archive: Path, split: str) -> dict[str, list[str]]:
    """Names of the images of every part.

    Raises:
        DataError: an unknown split, a missing list, or no images.
    """
    if split == "official":
        folder = archive / "annotations"
        return {part: _listed(folder / file) for part, file in _OFFICIAL.items()}
    if split != "published":
        raise DataError(
            f"split={split}: expected official or published, found neither. Choose one of them."
        )
    names = sorted(path.stem for path in (archive / "images").glob("*.jpg"))
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
    archive: Path, name: str, *, border: str = "ignore", size: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """A photograph ``(3, y, x)`` and its labels ``(y, x)``, both uint8.

    Raises:
        DataError: a file that is missing or no image, or a trimap with other values or size.
    """
    source = archive / "annotations" / "trimaps" / f"{name}.png"
    image = _opened(archive / "images" / f"{name}.jpg").convert("RGB")
    trimap = _opened(source)
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
    """Labels of a trimap (1 pet, 2 background, 3 border).

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
                do="Take the trimaps of annotations.tar.gz, not coloured or rescaled ones.",
            )
        )
    table = np.array([0, 1, 0, BORDER_LABEL if border == "ignore" else 0], np.uint8)
    return table[trimap]


def _listed(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            message(
                path,
                expected="a list of the official archive",
                found=str(error),
                do="Unpack annotations.tar.gz there, or choose --split published.",
            )
        ) from error
    names = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
    strange = [name for name in names if Path(name).name != name]
    if strange or not names:
        raise DataError(
            message(
                path,
                expected="names of images, one a line",
                found=f"{strange[:3] or 'no line'}",
                do="Unpack annotations.tar.gz again.",
            )
        )
    return names


def _opened(path: Path) -> Any:
    try:
        with Image.open(path, formats=_FORMATS) as file:
            file.load()
            return file.copy()
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(
            message(path, expected="an image", found=str(error), do="Unpack the archive again.")
        ) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit code 2 where the archive is wrong."""
    options = command.parser(__doc__)
    options.add_argument("archive", type=Path)
    options.add_argument("out", type=Path)
    options.add_argument("--split", choices=("official", "published"), default="official")
    options.add_argument("--border", choices=("ignore", "background"), default="ignore")
    options.add_argument("--size", type=int, default=224, help="0 keeps the size")
    return command.run(options, arguments, _prepare)


def _prepare(given: argparse.Namespace) -> None:
    size = given.size or None
    prepare(given.archive, given.out, split=given.split, border=given.border, size=size)


if __name__ == "__main__":
    sys.exit(main())
