"""XML inside image files: parsed without entities, which can grow without a limit."""

from __future__ import annotations

import xml.etree.ElementTree as ET

_MOST = 64 * 2**20


def parse_xml(text: str | bytes) -> ET.Element:
    """The root element.

    Raises:
        ValueError: not XML, larger than 64 MiB, or with entities of its own.
    """
    if len(text) > _MOST:
        raise ValueError(f"{len(text)} bytes of metadata, more than {_MOST}")
    if ("<!DOCTYPE" in text) if isinstance(text, str) else (b"<!DOCTYPE" in text):
        raise ValueError("metadata that define entities")
    try:
        return ET.fromstring(text)
    except (ET.ParseError, LookupError) as error:
        raise ValueError(f"metadata that are not XML ({error})") from error
