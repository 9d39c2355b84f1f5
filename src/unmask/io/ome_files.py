"""OME-TIFF sets: one image in several files, with the metadata in each, in one, or next to them.

A file names its partners, and a name is a claim. A partner is a plain file inside the folder of the
file that was given: never a device or a pipe, which would block a reader, and never a file outside
that folder, whose bytes would come back as pixels.
"""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath

from unmask.errors import DataError, message
from unmask.io.contract import Location
from unmask.io.ome import (
    MAX_XML,
    OmeDocument,
    OmeImage,
    parse_ome,
    with_images,
    without_file_names,
    without_uuid,
)
from unmask.io.tiff_header import first_description


@dataclass(frozen=True)
class OmeSource:
    """Where the planes of an OME-TIFF are.

    Attributes:
        text: the OME-XML to go by.
        document: the same, read.
        partners: the other files, in the order of their planes.
    """

    text: str
    document: OmeDocument
    partners: tuple[Path, ...]


def is_ome(description: str) -> bool:
    """Whether the description of a page is OME-XML."""
    return "<OME" in description[:2000] and description[-10:].strip().endswith("OME>")


def ome_source(location: Location, description: str) -> OmeSource:
    """The metadata and the partner files of an OME-TIFF, checked.

    Args:
        location: the file.
        description: its OME-XML.

    Raises:
        DataError: a partner or the metadata file is missing, or is not a plain file of the folder.
    """
    own = parse_ome(location.source, description)
    text, document = description, own
    if own.elsewhere:
        holder = check_partner(location, own.elsewhere, what="its metadata file")
        text = _metadata_of(holder)
        document = parse_ome(str(holder), text)
        # The identifier is that of the other file.
        text = without_uuid(text)
    elif len({name for image in document.images for name in image.files}) == 1 and all(
        image.files for image in document.images
    ):
        # All planes lie in one file, so this is that file, even if it was renamed.
        return OmeSource(without_file_names(text), document, ())
    here = [
        number
        for number, image in enumerate(document.images)
        if not image.files or any(_is_own(location, own, *pair) for pair in image.files.items())
    ]
    if here and len(here) < len(document.images):
        # The other images lie in other files, which may be elsewhere.
        text = with_images(text, here)
        document = replace(document, images=tuple(document.images[number] for number in here))
    names = dict.fromkeys(name for image in document.images for name in image.files)
    foreign = [name for name in names if own.elsewhere or not _holds(location, own, document, name)]
    partners = [check_partner(location, name, what="a file of its set") for name in foreign]
    others = [path for path in partners if not _same_file(path, location.path)]
    return OmeSource(text, document, tuple(others))


def check_partner(location: Location, name: str, *, what: str) -> Path:
    """The path of a file that an image names.

    Args:
        location: the file that was given.
        name: as in its metadata.
        what: the partner is, for messages.

    Raises:
        DataError: outside the folder, missing, or not a plain file.
    """
    folder = location.path.parent
    foreign = PureWindowsPath(name)
    path = folder / name
    if foreign.anchor or ".." in foreign.parts or "\0" in name:
        raise _bad_partner(location, name, what, "one outside this folder")
    try:
        real = path.resolve(strict=True)
        mode = real.stat().st_mode
    except (OSError, RuntimeError) as error:
        raise _bad_partner(location, name, what, "no such file") from error
    roots = {folder.resolve(), location.path.resolve().parent}
    if not any(real.is_relative_to(root) for root in roots):
        raise _bad_partner(location, name, what, "a link to a file outside it")
    if not stat.S_ISREG(mode):
        raise _bad_partner(location, name, what, "a folder, pipe or device")
    return path


def one_per_set(paths: Sequence[str]) -> list[str]:
    """Leave out files that are parts of an image of which another file is in the list.

    The image keeps the name of the first of its files. Nothing else about the files is checked;
    whatever cannot be read stays in the list and is reported when it is opened.

    Args:
        paths: of files, of any format.
    """
    listed = {Path(path).absolute(): path for path in paths if _may_be_tiff(path)}
    if len(listed) < 2:
        return list(paths)
    dropped: set[Path] = set()
    known: set[Path] = set()
    for path in listed:
        if path in known:
            continue
        members = [member for member in _set_of(path) if member in listed]
        if path in members:
            known.update(members)
            dropped.update(member for member in members if member != path)
    return [path for path in paths if Path(path).absolute() not in dropped]


def _set_of(path: Path) -> list[Path]:
    """The files of the one image that a file belongs to; empty if it is not part of a set."""
    location = Location(str(path), path)
    try:
        description = first_description(path)
        names_others = "FileName" in description or "BinaryOnly" in description
        if not is_ome(description) or not names_others:
            return []
        document = parse_ome(str(path), description)
        if document.elsewhere:
            holder = check_partner(location, document.elsewhere, what="its metadata file")
            document = parse_ome(str(holder), _metadata_of(holder))
        images = [
            image for image in document.images if len(image.files) > 1 and path.name in image.files
        ]
        if len(images) != 1:
            return []
        return [path.parent / name for name in images[0].files if _agrees(path, name, images[0])]
    except (OSError, ValueError):
        return []


def _agrees(path: Path, name: str, image: OmeImage) -> bool:
    """Whether a file says itself that it is the part of the image that another takes it for."""
    if name == path.name:
        return True
    try:
        description = first_description(path.parent / name)
    except OSError:
        return False
    if not is_ome(description):
        return False
    document = parse_ome(name, description)
    if document.uuid and image.files[name]:
        return document.uuid == image.files[name]
    return bool(document.elsewhere) or any(path.name in one.files for one in document.images)


def _may_be_tiff(path: str) -> bool:
    return path.lower().endswith((".tif", ".tiff", ".btf"))


def _is_own(location: Location, own: OmeDocument, name: str, uuid: str) -> bool:
    """Whether a name in the metadata means the file that was given."""
    if own.uuid and uuid and not own.elsewhere:
        return uuid == own.uuid
    return name.lower() == location.path.name.lower()


def _holds(location: Location, own: OmeDocument, document: OmeDocument, name: str) -> bool:
    """Whether all that the metadata call by a name is the file that was given."""
    uuids = [image.files[name] for image in document.images if name in image.files]
    return all(_is_own(location, own, name, uuid) for uuid in uuids)


def _same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _metadata_of(holder: Path) -> str:
    """OME-XML of a companion file, or of the TIFF that holds the metadata of a set."""
    if _may_be_tiff(holder.name):
        return first_description(holder)
    if holder.stat().st_size > MAX_XML:
        raise DataError(
            message(
                holder,
                expected=f"OME metadata of at most {MAX_XML >> 20} MiB",
                found=f"{holder.stat().st_size} bytes",
                do="Export the set again.",
            )
        )
    return holder.read_text(encoding="utf-8", errors="replace")


def _bad_partner(location: Location, name: str, what: str, found: str) -> DataError:
    return DataError(
        message(
            location.source,
            expected=f"{what}, {name!r}, as a plain file in its folder",
            found=found,
            do="Copy all files of the set into one folder, or export the image as one file.",
        )
    )
