"""Packed streams of zeros of any length, made at once."""

from __future__ import annotations

import struct
import zlib

GIB = 2**30
_PIECE = 2**24


def deflated(length: int, head: bytes = b"", *, wbits: int = 15) -> bytes:
    """``head`` and ``length`` zeros, deflated; ``wbits`` as in zlib (31: gzip, -15: raw).

    After a full flush a piece does not depend on what came before, so one piece is repeated. The
    checksum at the end is wrong; no reader should come that far.
    """
    first = zlib.compressobj(9, wbits=wbits)
    start = first.compress(head) + first.flush(zlib.Z_FULL_FLUSH)
    raw = zlib.compressobj(9, wbits=-15)
    piece = raw.compress(bytes(_PIECE)) + raw.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(9, wbits=-15).flush()
    return start + piece * (length // _PIECE) + last + bytes(8)


def zstd_frame(length: int) -> bytes:
    """A valid zstd frame of ``length`` zeros: 128 kB blocks of one repeated byte (RFC 8878)."""
    block = 2**17
    count = length // block
    # Magic; single segment with a content size of 8 bytes.
    head = struct.pack("<IBQ", 0xFD2FB528, 0b11100000, count * block)
    parts = [(block << 3 | 0b010).to_bytes(3, "little") + b"\0"] * (count - 1)
    return head + b"".join(parts) + (block << 3 | 0b011).to_bytes(3, "little") + b"\0"


def png(width: int, height: int, *, bits: int = 8, color: int = 0, more: bytes = b"") -> bytes:
    """A picture of zeros; ``more`` are chunks before the pixels."""
    row = 1 + (width * bits * {0: 1, 2: 3, 6: 4}[color] + 7) // 8
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    body = chunk(b"IDAT", deflated(max(row * height, _PIECE)))
    end = chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + body + end


def chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def tiff(strip: bytes, tags: dict[int, int] | None = None, following: int = 0) -> bytes:
    """A TIFF of 16 x 16 bytes with one strip; ``tags`` replace those of its page."""
    plain = {256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 273: 0, 277: 1, 278: 16, 279: len(strip)}
    merged = sorted((plain | (tags or {})).items())
    entries = [(tag, value) for tag, value in merged if value >= 0]
    data = 8 + 2 + 12 * len(entries) + 4
    body = b"".join(
        struct.pack("<HHII", tag, 4, 1, data if tag in (273, 324) else value)
        for tag, value in entries
    )
    page = struct.pack("<H", len(entries)) + body + struct.pack("<I", following)
    return b"II*\0" + struct.pack("<I", 8) + page + strip
