"""Which files are images: suffixes, lists of files, names for pairing."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from unmask.errors import DataError, message, near_path
from unmask.io import dicom_names, foreign, plates
from unmask.io.contract import Format, Location
from unmask.io.formats import (
    FORMATS,
    SERIES,
    find_format,
    is_container,
    is_folder,
    match_suffix,
)
from unmask.io.inputs import ArrayInput, Inputs, as_inputs
from unmask.io.listing import cases, is_listing
from unmask.io.multi_file import files_of, without_parts
from unmask.io.ome_files import one_per_set
from unmask.io.precomputed_open import SUFFIX, is_precomputed
from unmask.io.remote import is_remote, only_zarr, remote_location

# Second suffixes that belong to the name of a format, not to the name of an image.
_DOUBLE = (".ome.tif", ".ome.tiff", ".ome.btf", ".ome.zarr", ".ome.zarr.zip")
# The number of an image in a file with several of them.
_NUMBERED = re.compile(
    r"(.*\.(?:tif|tiff|btf|lsm|stk|svs|ndpi|scn|qptiff|bif|czi|lif|nd2)):(\d{1,6})",
    re.IGNORECASE | re.DOTALL,
)
_COLON = re.compile(":")
# Names that a message shows.
_SHOWN = 6
# Files that tell what a folder is, whatever its name.
_MARKS = {
    **dict.fromkeys(("zarr.json", ".zgroup", ".zarray", ".zattrs"), ".zarr"),
    "attributes.json": ".n5",
}


def stem(path: str | Path) -> str:
    """Name without folder, suffix and key; pairs images with labels.

    Examples:
        >>> stem("a/b.nii.gz"), stem("c.ome.zarr/labels/0"), stem("d.h5:raw"), stem("e.tif:1")
        ('b', 'c', 'd', 'e_1')

    A field of a plate, ``plate.zarr/A/1/0``, is called ``plate_A_1_0``.
    """
    location = locate(without_parts(path))
    name = location.path.name
    # Images of one file must not overwrite each other's results.
    number = f"_{location.key}" if _NUMBERED.fullmatch(location.source) else ""
    lower = name.lower()
    for suffix in (*_DOUBLE, match_suffix(lower) or ""):
        if suffix and lower.endswith(suffix) and len(lower) > len(suffix):
            name = name[: -len(suffix)]
            break
    # Fields of a plate are images of their own; labels inside an image have its name.
    field = plates.field_name(location) if location.key and _is_zarr(location) else None
    return f"{name}_{field}" if field else name + number


def locate(path: str | Path) -> Location:
    """Split ``file.h5:key``, ``file.tif:1`` and ``store.zarr/inner/array`` into file and key."""
    source = str(path)
    for found in () if is_remote(source) else [*_COLON.finditer(source)][::-1]:
        colon = found.start()
        if colon and is_container(source[:colon]):
            return Location(source, Path(source[:colon]), source[colon + 1 :].strip("/"))
    numbered = _NUMBERED.fullmatch(source)
    if numbered:
        return Location(source, Path(numbered[1]), numbered[2])
    if is_remote(source):
        store, key = remote_location(source)
        return Location(source, cast("Path", store), key)
    whole = Path(path)
    # Suffixes start with a dot; most folders of a path have none. Folders are built only where one
    # of the names fits: this is called several times per file of a folder.
    if not any("." in part and is_folder(part) for part in whole.parts):
        return Location(source, whole)
    for folder in (whole, *whole.parents):
        if "." in folder.name and is_folder(folder.name):
            key = whole.relative_to(folder).as_posix()
            return Location(source, folder, "" if key == "." else key)
    return Location(source, whole)


def suffix_of(location: Location) -> str | None:
    """Key of the format by suffix; of folders with Zarr metadata, and of DICOM, by content."""
    name = location.path.name.lower()
    suffix = match_suffix(name)
    if suffix and not (name.endswith(dicom_names.SUFFIXES) and location.path.is_dir()):
        return suffix
    for mark, form in _MARKS.items():
        if (location.path / mark).is_file():
            return form
    if is_remote(location.source):
        return None
    if (location.path / "info").is_file() and is_precomputed(location.path):
        return SUFFIX
    if dicom_names.is_slice(location.path):
        return ".dcm"
    return SERIES if dicom_names.is_series(location.path) else None


def format_of(location: Location) -> Format | None:
    """The format of an image; its module is imported."""
    suffix = suffix_of(location)
    return None if suffix is None else find_format(suffix)


def is_plain_folder(path: Path) -> bool:
    """Whether a path is a folder of files, not one that is an image itself, such as OME-Zarr."""
    return path.is_dir() and suffix_of(locate(path)) is None


def list_files(paths: str | Path | Sequence[str | Path]) -> list[str]:
    """Every image behind a file, folder, glob, OME-Zarr or ``file.h5:key``, or several of them.

    ``dataset.json`` stands for the images that it lists (`unmask.io.listing`), and braces for files
    that are channels of one image (`unmask.io.multi_file`). Files of a folder or glob come in
    natural order (2 before 10); hidden files and files that are not images are left out; subfolders
    are not searched.

    Raises:
        DataError: a path leads to nothing, or to a file of another kind.
    """
    return [str(path) for _, path in named_files(paths)]


def named_files(paths: Inputs, *, labels: bool = False) -> list[tuple[str, str | ArrayInput]]:
    """As `list_files`, each with the name it pairs by; arrays stand for themselves.

    Args:
        paths: files, folders, globs, lists ...
        labels: of a list its label images, not its images.

    Raises:
        DataError: a path leads to nothing or to a file of another kind, or a list has no labels.
    """
    given = as_inputs(paths)
    if not given:
        raise DataError("images: expected at least one path, found none. Give a file or folder.")
    found: dict[str | ArrayInput, str] = {}
    for path in given:
        if isinstance(path, ArrayInput):
            found[path] = path.name
        elif is_listing(path):
            found.update((file, name) for name, file in _listed(path, labels=labels))
        else:
            files = [in_store(file) if labels else file for file in _expand(path)]
            found.update((file, stem(file)) for file in files)
    # The files of a set are one image, also if a shell has listed them one by one.
    named = [file for file in found if isinstance(file, str)]
    series, kept = dicom_names.series_of(named), set(one_per_set(named))
    result: dict[str | ArrayInput, str] = {}
    for file, name in found.items():
        if isinstance(file, ArrayInput):
            result[file] = name
        elif file in series:
            result[series[file]] = stem(series[file])
        elif file in kept:
            result[file] = name
    return [(name, file) for file, name in result.items()]


def in_store(file: str) -> str:
    """Path of the label image inside the store of an image; other paths are unchanged.

    Raises:
        DataError: the store has several label images.
    """
    location = locate(file)
    return plates.labels_of(location) if _is_zarr(location) else file


def _listed(path: str, *, labels: bool) -> list[tuple[str, str]]:
    """Names and files of a list."""
    every = cases(path)
    bare = [case.name for case in every if case.label is None] if labels else []
    if bare or not every:
        raise DataError(
            message(
                path,
                expected="a label of every case" if bare else "at least one case",
                found=f"none of {', '.join(bare[:8])}" if bare else "none",
                do="Complete the list, or give another part of it.",
            )
        )
    return [(case.name, (case.label or "") if labels else case.image) for case in every]


def _is_zarr(location: Location) -> bool:
    return suffix_of(location) == ".zarr"


def _expand(path: str) -> Iterator[str]:
    """Images behind a path; of a plate, a well or a file of several series each one."""
    for match in _matches(path):
        location = locate(match)
        yield from plates.images_in(location) if _is_zarr(location) else (match,)


def _matches(path: str) -> Iterator[str]:
    location = locate(path)
    if is_remote(path):
        if suffix_of(location) != ".zarr":
            raise only_zarr(path)
        yield path
        return
    place = location.path
    # A glob may also stand behind the name of a store, "plate.zarr/*/*/0".
    if glob.has_magic(location.key) and _is_zarr(location):
        place = place / location.key
    if len(files_of(path)) > 1:
        yield path
        return
    # A file called "a[1].tif" is a file first, a glob only if there is no such file.
    if _exists(place) and (not place.is_dir() or suffix_of(location) is not None):
        if suffix_of(location) is None:
            raise DataError(unknown_suffix(path))
        yield path
        return
    if place.is_dir():
        inside = list(place.iterdir())
        what = _without_images(inside)
        # Suffixes help only where there are files of others.
        known = f" Known suffixes: {' '.join(FORMATS)}." if any(inside) else ""
    else:
        inside = [Path(match) for match in glob.glob(path, recursive=True)]  # noqa: PTH207
        inside = plates.only_images(inside) if glob.has_magic(location.key) else inside
        what, known = "no such file, and no image that matches", ""
    found = [str(entry) for entry in sorted(inside, key=_natural) if _is_image(entry)]
    if not found:
        # The folder of another program's annotations: its message says what to do.
        raise DataError(
            foreign.first_message(sorted(inside, key=_natural))
            or message(
                path,
                expected="a file, a folder of images, a glob, an OME-Zarr or file.h5:key",
                found=what,
                do=f"{near_path(path)}Check the path.{known}",
            )
        )
    yield from found


def _without_images(inside: Sequence[Path]) -> str:
    """What a folder without images holds."""
    names = sorted(f"{path.name}{'/' * path.is_dir()}" for path in inside)
    visible = [name for name in names if not name.startswith(".")]
    if not visible:
        return "an empty folder"
    more = ", ..." if len(visible) > _SHOWN else ""
    return f"no image in this folder, which holds {', '.join(visible[:_SHOWN])}{more}"


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (OSError, ValueError):
        # A loop of links, a name too long, a null byte: nothing that could be opened.
        return False
    return True


def left_out(paths: Inputs) -> list[Path]:
    """Files of folders and globs that have the suffix of an image, but are Cellpose's own state."""
    found: list[Path] = []
    for path in as_inputs(paths):
        if isinstance(path, ArrayInput) or is_listing(path):
            continue
        place = Path(path)
        if is_plain_folder(place):
            found += place.glob("*.npy")
        elif not _exists(place):
            found += [Path(match) for match in glob.glob(path, recursive=True)]  # noqa: PTH207
    return sorted((file for file in found if foreign.is_pickled_seg(file)), key=_natural)


def unknown_suffix(path: str | Path) -> str:
    """Message for a file whose suffix is not that of an image."""
    return foreign.advice_message(path) or message(
        path,
        expected=f"an image file ({' '.join(FORMATS)})",
        found=f"the suffix {Path(path).suffix!r}",
        do="Convert it, or give it the suffix of its format. A format of your own is read with "
        "--set data.formats=path/to/file.py:Name.",
    )


def images_in(folder: Path) -> list[Path]:
    """Images directly in a folder, in natural order."""
    return sorted(filter(_is_image, folder.iterdir()), key=_natural)


def _is_image(path: Path) -> bool:
    """Whether a file has the name of an image; its content is checked when it is opened."""
    return (
        not path.name.startswith(".")
        and suffix_of(Location(str(path), path)) is not None
        and not foreign.is_pickled_seg(path)
        and not _is_header(path)
    )


def _is_header(path: Path) -> bool:
    """Whether a file is the header of an image in two files, which stands for both."""
    return path.suffix.lower() == ".hdr" and any(
        path.with_suffix(suffix).exists() for suffix in (".img", ".IMG", ".nii")
    )


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Sort key under which 2 comes before 10."""
    parts = re.split(r"(\d+)", str(path))
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]
