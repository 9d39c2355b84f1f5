"""OME-XML: the images of a file, their channels, and the files that their planes lie in."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from unmask.errors import DataError, message

# Bytes of XML; its tree takes ten times as much memory. A plane takes about 200 bytes.
MAX_XML = 64 * 2**20
# Planes of all images together: ten times what a classic TIFF can hold in practice.
_MOST_PLANES = 2_000_000


@dataclass(frozen=True)
class OmeImage:
    """One image of an OME document.

    Attributes:
        name: as the user called it.
        pixels: attributes of its ``Pixels``: sizes, voxel sizes, type.
        channels: names in order, "" for a channel without one.
        files: names of the files of its planes, in order, each with its UUID; empty if the planes
            lie in the file of the document itself.
        samples: of one plane, 3 for RGB.
        listed: number of planes that it says lie in a file.
    """

    name: str
    pixels: Mapping[str, str]
    channels: tuple[str, ...]
    files: Mapping[str, str]
    samples: int
    listed: int

    @property
    def planes(self) -> int:
        """Number of planes by its sizes."""
        return prod(int(self.pixels.get(f"Size{axis}", 1)) for axis in "TCZ") // self.samples


@dataclass(frozen=True)
class OmeDocument:
    """An OME document.

    Attributes:
        uuid: of the file that holds the document; "" if it does not say.
        elsewhere: name of the file that holds the metadata, if this one only points there.
        images: in order.
    """

    uuid: str
    elsewhere: str
    images: tuple[OmeImage, ...]


def parse_ome(source: str, text: str) -> OmeDocument:
    """Read OME-XML.

    Args:
        source: name of the file for messages.
        text: the XML.

    Raises:
        DataError: not OME-XML, or text that makes a parser work without end.
    """
    if len(text) > MAX_XML or "<!DOCTYPE" in text or "<!ENTITY" in text:
        large = len(text) > MAX_XML
        raise DataError(
            message(
                source,
                expected=f"plain OME metadata of at most {MAX_XML >> 20} MiB",
                found=f"{len(text)} characters" if large else "a document type in its XML",
                do="Export it again.",
            )
        )
    try:
        root = ET.fromstring(text)
    except ET.ParseError as error:
        raise DataError(
            message(source, expected="OME metadata in XML", found=str(error), do="Export it again.")
        ) from error
    only = next(_children(root, "BinaryOnly"), None)
    images = tuple(
        _image(image, pixels)
        for image in _children(root, "Image")
        for pixels in _children(image, "Pixels")
    )
    _check_planes(source, root, images)
    elsewhere = "" if only is None else only.get("MetadataFile", "")
    return OmeDocument(root.get("UUID", ""), elsewhere, images)


def without_file_names(text: str) -> str:
    """The XML of a file that was renamed: its planes lie in the file itself."""
    root = ET.fromstring(text)
    for node in root.iter():
        if _tag(node).endswith("TiffData"):
            for uuid in list(_children(node, "UUID")):
                node.remove(uuid)
    return ET.tostring(root, encoding="unicode")


def without_uuid(text: str) -> str:
    """The XML without identifiers: files are then recognized by their names."""
    root = ET.fromstring(text)
    root.attrib.pop("UUID", None)
    return ET.tostring(root, encoding="unicode")


def with_images(text: str, kept: Sequence[int]) -> str:
    """The XML with some of its images only.

    Args:
        text: the XML.
        kept: numbers of the images, as `OmeDocument.images` counts them.
    """
    root = ET.fromstring(text)
    number = 0
    for image in list(_children(root, "Image")):
        for pixels in list(_children(image, "Pixels")):
            if number not in kept:
                image.remove(pixels)
            number += 1
    return ET.tostring(root, encoding="unicode")


def _image(image: ET.Element, pixels: ET.Element) -> OmeImage:
    files: dict[str, str] = {}
    for data in _children(pixels, "TiffData"):
        for uuid in _children(data, "UUID"):
            if name := uuid.get("FileName"):
                files.setdefault(name, (uuid.text or "").strip())
    names: list[str] = []
    samples = 1
    for number, channel in enumerate(_children(pixels, "Channel")):
        # Samples of RGB are one channel here, three in our images.
        count = max(min(int(channel.get("SamplesPerPixel", "1")), 64), 1)
        samples = count if number == 0 else samples
        names += [channel.get("Name", "")] * count
    listed = sum(_count(data) for data in _children(pixels, "TiffData"))
    attributes = dict(pixels.attrib)
    return OmeImage(image.get("Name", ""), attributes, tuple(names), files, samples, listed)


def _count(data: ET.Element) -> int:
    """Planes that a ``TiffData`` stands for; 0 if it does not say."""
    return int(data.get("PlaneCount", data.get("NumPlanes", "1" if "IFD" in data.attrib else "0")))


def _check_planes(source: str, root: ET.Element, images: tuple[OmeImage, ...]) -> None:
    """Refuse claims that make a reader build tables without end."""
    claims = [
        prod(max(int(image.pixels.get(f"Size{axis}", 1)), 1) for axis in "TCZ") for image in images
    ]
    counts = [_count(node) for node in root.iter() if _tag(node).endswith("TiffData")]
    claimed = max(sum(claims), sum(map(abs, counts)))
    if claimed > _MOST_PLANES:
        raise DataError(
            message(
                source,
                expected=f"at most {_MOST_PLANES} planes",
                found=f"{claimed} in its OME metadata",
                do="The file is damaged; export it again.",
            )
        )


def _children(node: ET.Element, name: str) -> Iterator[ET.Element]:
    # The library that reads the planes matches the ends of tags, and no name may escape the checks.
    return (child for child in node if _tag(child).endswith(name))


def _tag(node: ET.Element) -> str:
    return str(node.tag).rpartition("}")[2]
