"""CVPPP leaves, BBBC039 nuclei, AC3/AC4 neurites: from their archives to images and labels.

    python -m unmask.datasets.pea_sets cvppp|bbbc039|ac34 ARCHIVE OUT
    python -m unmask.datasets.pea_sets segment PART PREDICTED --model RUN
    python -m unmask.datasets.pea_sets submit PREDICTED OUT.h5

OUT gets ``<part>/images`` and ``<part>/labels``. Splits are those of Pixel-Embedded Affinity
(doi:10.1609/aaai.v36i1.19984). ``segment`` predicts the leaves of a part within the foreground that
the archive gives, as published; ``submit`` writes the file that the CVPPP website takes.

- CVPPP A1: ``plantNNN_rgb.png``, ``plantNNN_fg.png``, ``plantNNN_label.png`` where there is truth.
- BBBC039: ``images/*.tif``, ``masks/*.png``, ``metadata/{training,validation,test}.txt``.
- AC3/AC4: ``AC3_inputs.h5``, ``AC3_labels.h5``, ``AC4_inputs.h5``, ``AC4_labels.h5``, data set
  ``main``.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from PIL import Image, UnidentifiedImageError

from unmask.apps import command
from unmask.errors import DataError, RecipeError, gather, message
from unmask.infer.load import load_predictor
from unmask.io import open_image, save_image
from unmask.labels import connected_components, relabel, remove_small
from unmask.tasks.complete import complete

# The published list; the program that drew it depends on the order of a folder's listing.
CVPPP_VAL = (2, 16, 29, 37, 45, 46, 55, 61, 72, 80, 88, 99, 104, 108, 115, 127, 130, 142, 148, 159)
CVPPP_SIZE = (530, 500)
_FORMATS = ("PNG", "TIFF")
_SMALLEST_NUCLEUS = 25
_NANOMETRES = (30.0, 6.0, 6.0)
# Volume, first and last slice of each part; None counts as the end.
_AC34 = {"train": ("AC4", 0, 80), "val": ("AC4", -20, None), "test": ("AC3", -100, None)}
_BBBC = {"train": "training.txt", "val": "validation.txt", "test": "test.txt"}


@dataclass(frozen=True)
class Sample:
    """One image of an archive.

    Attributes:
        part: ``train``, ``val`` or ``test``.
        name: stem of its files.
        image: ``(C, *space)``.
        labels: ``(*space)``; None where the archive has none.
        foreground: ``(*space)`` where the archive gives it.
        spacing: voxel size, where it is known.
        unit: of ``spacing``.
    """

    part: str
    name: str
    image: np.ndarray
    labels: np.ndarray | None
    foreground: np.ndarray | None = None
    spacing: tuple[float, ...] | None = None
    unit: str | None = None


def read_cvppp(archive: Path) -> Iterator[Sample]:
    """Leaves: images without labels are the test part.

    Raises:
        DataError: no images, or labels of another size; names the file.
    """
    found = sorted(archive.rglob("plant*_rgb.png"))
    _expect(found, archive, "files plantNNN_rgb.png of CVPPP A1")
    for path in found:
        name = path.name.removesuffix("_rgb.png")
        number = int("".join(re.findall(r"\d+", name)) or -1)
        image = _read(path)[:3]
        beside = {end: path.with_name(f"{name}_{end}.png") for end in ("label", "fg")}
        read = {end: _read(file)[0] if file.is_file() else None for end, file in beside.items()}
        for end, array in read.items():
            _same_size(array, image.shape[1:], beside[end])
        labelled = "val" if number in CVPPP_VAL else "train"
        part = "test" if read["label"] is None else labelled
        yield Sample(part, name, image, read["label"], foreground=read["fg"])


def read_bbbc039(archive: Path) -> Iterator[Sample]:
    """Nuclei: components of the first channel of the masks, of 25 pixels or more.

    Raises:
        DataError: a list or a file that is missing, or a mask of another size; names the file.
    """
    for part, file in _BBBC.items():
        listed = archive / "metadata" / file
        _expect([listed] if listed.is_file() else [], listed, "the official list of the split")
        names = [Path(line.strip()).stem for line in listed.read_text("utf-8").splitlines()]
        for name in filter(None, names):
            image = _read(_only(archive / "images", name, (".tif", ".tiff", ".TIF")))
            source = _only(archive / "masks", name, (".png",))
            mask = _read(source)[0]
            _same_size(mask, image.shape[1:], source)
            labels = remove_small(connected_components(mask), _SMALLEST_NUCLEUS)
            yield Sample(part, name, image, relabel(labels).astype(np.uint16))


def read_ac34(archive: Path) -> Iterator[Sample]:
    """Neurites: the published slices of both volumes, voxels of 6 x 6 x 30 nm.

    Raises:
        DataError: a volume that is missing or too short, or labels of another size.
    """
    for part, (volume, first, last) in _AC34.items():
        paths = [archive / f"{volume}_{kind}.h5" for kind in ("inputs", "labels")]
        image, labels = (_volume(path) for path in paths)
        _same_size(labels, image.shape, paths[1])
        if len(image) < abs(first) or len(image) < (last or 0):
            raise DataError(
                message(
                    paths[0],
                    expected=f"{max(abs(first), last or 0)} slices or more",
                    found=f"{len(image)}",
                    do="Get the whole volume.",
                )
            )
        part_of = slice(first, last)
        whole = {"image": image[part_of][None], "labels": labels[part_of]}
        yield Sample(part, f"{volume}_{part}", **whole, spacing=_NANOMETRES, unit="nm")


READERS: dict[str, Callable[[Path], Iterator[Sample]]] = {
    "cvppp": read_cvppp,
    "bbbc039": read_bbbc039,
    "ac34": read_ac34,
}


def prepare(archive: Path, out: Path, *, name: str) -> dict[str, int]:
    """Write all parts of an archive; the number of images of each part comes back.

    Raises:
        DataError: an archive without the files it should have.
    """
    counts: dict[str, int] = {}
    for sample in READERS[name](archive):
        folder = out / sample.part
        axes = "CZYX" if sample.spacing else "CYX"
        given = {"images": sample.image}
        maps = {"labels": sample.labels, "foreground": sample.foreground}
        given |= {kind: array[None] for kind, array in maps.items() if array is not None}
        for kind, array in given.items():
            path = folder / kind / f"{sample.name}.tif"
            save_image(path, array, axes=axes, spacing=sample.spacing, unit=sample.unit)
        counts[sample.part] = counts.get(sample.part, 0) + 1
    return counts


def segment(part: Path, out: Path, *, model: str) -> list[str]:
    """Label images of ``part/images`` within ``part/foreground``; the names written come back.

    Raises:
        DataError: no images, or no foreground of their size; all such images at once.
        RecipeError: a model whose task does not decode within a given foreground.
    """
    predictor = load_predictor(model)
    found = sorted((part / "images").glob("*.tif"))
    _expect(found, part / "images", "images plantNNN.tif")
    given: dict[Path, np.ndarray] = {}
    problems: list[str] = []
    for path in found:
        try:
            given[path] = _read(part / "foreground" / path.name)[0] > 0
            _same_size(given[path], open_image(path, ndim=predictor.ndim).shape[1:], path)
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError(gather(problems, heading=f"{len(problems)} problem(s) found:"))
    for path, foreground in given.items():
        scores = predictor.scores(open_image(path, ndim=predictor.ndim))
        labels = complete(predictor.task).decode_within(scores, foreground)
        save_image(out / path.name, labels.astype(np.min_scalar_type(labels.max(initial=0))))
    return [path.stem for path in found]


def submit(predicted: Path, out: Path) -> list[str]:
    """Write ``A1/plantNNN/label`` of all label images ``plantNNN*`` of a folder; names come back.

    Raises:
        DataError: no such images, one of another size, or more leaves than 8 bits count.
    """
    found = sorted(path for path in predicted.glob("plant*") if path.suffix in {".png", ".tif"})
    _expect(found, predicted, "label images plantNNN.tif or plantNNN.png")
    ready: dict[str, np.ndarray] = {}
    problems: list[str] = []
    for path in found:
        labels = relabel(_read(path)[0])
        if labels.shape != CVPPP_SIZE or labels.max(initial=0) > 255:
            problems.append(
                message(
                    path,
                    expected=f"{CVPPP_SIZE} pixels and at most 255 leaves",
                    found=f"{labels.shape} and {labels.max(initial=0)}",
                    do="Predict the images of the archive as they are.",
                )
            )
        ready[path.name.partition("_")[0].partition(".")[0]] = labels.astype(np.uint8)
    if problems:
        raise DataError(gather(problems, heading=f"{len(problems)} problem(s) found:"))
    out.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(out, "w") as file:
        for name, labels in ready.items():
            file.create_dataset(f"A1/{name}/label", data=labels, compression="gzip")
    return list(ready)


def _read(path: Path) -> np.ndarray:
    """An image ``(C, y, x)``; of one with a palette the indices, which are the ids."""
    try:
        with Image.open(path, formats=_FORMATS) as file:
            array = np.asarray(file)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(
            message(path, expected="an image", found=str(error), do="Unpack the archive again.")
        ) from error
    return np.moveaxis(np.atleast_3d(array), -1, 0)


def _volume(path: Path) -> np.ndarray:
    """The data set ``main``, an array ``(z, y, x)``."""
    try:
        with h5py.File(path, "r") as file:
            array = np.asarray(file["main"])
    except (OSError, KeyError) as error:
        raise DataError(
            message(
                path,
                expected="an HDF5 file with the data set main",
                found=str(error),
                do="Put the four files of AC3 and AC4 into one folder.",
            )
        ) from error
    if array.shape != array.shape[-3:]:
        raise DataError(
            message(
                path, expected="axes (z, y, x)", found=f"{array.shape}", do="Get the file again."
            )
        )
    return array


def _only(folder: Path, stem: str, ends: Sequence[str]) -> Path:
    """The file of that stem with one of the ends."""
    found = [folder / f"{stem}{end}" for end in ends if (folder / f"{stem}{end}").is_file()]
    _expect(found, folder / f"{stem}{ends[0]}", "a file of the archive")
    return found[0]


def _expect(found: Sequence[Path], place: Path, what: str) -> None:
    if not found:
        raise DataError(message(place, expected=what, found="none", do="Unpack the archive there."))


def _same_size(array: np.ndarray | None, space: tuple[int, ...], source: Path) -> None:
    if array is not None and array.shape != space:
        raise DataError(
            message(
                source,
                expected=f"the size of its image, {space}",
                found=f"{array.shape}",
                do="Unpack the archive again.",
            )
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit code 2 where files are wrong."""
    options = command.parser(__doc__)
    options.add_argument("what", choices=(*READERS, "segment", "submit"))
    options.add_argument("source", type=Path)
    options.add_argument("out", type=Path)
    options.add_argument("--model", help="for segment: model file or run")
    return command.run(options, arguments, _work)


def _work(given: argparse.Namespace) -> None:
    if given.what == "segment":
        if given.model is None:
            raise RecipeError("segment: expected --model with a model file or run, found none.")
        names = segment(given.source, given.out, model=given.model)
        print(f"{len(names)} image(s) in {given.out}")
        return
    if given.what == "submit":
        print(f"{len(submit(given.source, given.out))} image(s) in {given.out}")
        return
    for part, count in prepare(given.source, given.out, name=given.what).items():
        print(f"{part}: {count} image(s) in {given.out / part}")


if __name__ == "__main__":
    sys.exit(main())
