"""Uploads are limited, decoded elsewhere, and never trusted by name."""

from __future__ import annotations

import asyncio
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from unmask.io import open_image, save_image
from unmask.serve.upload import UploadLimits, Uploads, tame


def send(client, name: str, content: bytes):
    return client.post("/api/upload", params={"name": name}, content=content)


def names(client) -> list[str]:
    return [image["name"] for image in client.json("/api/images")["images"]]


def test_an_image_is_kept_as_tiff(served, root, phantoms):
    client = served()
    content = (phantoms[2] / "images" / "nuclei_001.tif").read_bytes()
    response = send(client, "my image.tif", content)
    assert response.json() == {"name": "my_image"}
    before = open_image(phantoms[2] / "images" / "nuclei_001.tif").read()
    np.testing.assert_array_equal(open_image(root(client) / "my_image.tif").read(), before)
    assert send(client, "my image.tif", content).json() == {"name": "my_image_2"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.png", b"<html><script>alert(1)</script></html>"),
        ("a.png", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"),
        ("a.tif", b""),
        ("a.html", b"<html>"),
        ("a.svg", b"<svg/>"),
        ("a.npy", b"\x93NUMPY"),
        ("http://169.254.169.254/latest.tif", b"x"),
    ],
)
def test_what_is_not_an_image_is_refused(served, root, name, content):
    client = served()
    before = sorted(root(client).iterdir())
    assert send(client, name, content).status_code == 415
    assert [path for path in sorted(root(client).iterdir()) if path.name != ".unmask"] == before
    assert list((root(client) / ".unmask").rglob("*.*")) == []


def png_bomb(edge: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", edge, edge, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(100_000), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def test_a_bomb_is_refused(served):
    client = served()
    response = send(client, "bomb.png", png_bomb(100_000))
    assert response.status_code == 415
    assert "bomb" not in names(client)


def test_a_decoder_that_takes_too_much_memory_is_ended(served, tmp_path):
    client = served()
    save_image(tmp_path / "big.tif", np.zeros((9000, 9000), np.uint32), axes="YX")
    limits = UploadLimits(memory=2**30)
    small = replace(client.site, uploads=Uploads(client.site.workspace, limits))
    refused = send(replace(client, site=small), "big.tif", (tmp_path / "big.tif").read_bytes())
    assert refused.status_code in (200, 415)


def test_sizes_and_numbers_are_limited(served):
    client = served()
    uploads = Uploads(client.site.workspace, UploadLimits(nbytes=1000))
    small = replace(client, site=replace(client.site, uploads=uploads))
    assert send(small, "a.tif", bytes(1001)).status_code == 413

    async def chunks():
        for _ in range(20):
            yield bytes(100)

    with pytest.raises(Exception, match="at most"):
        ThreadPoolExecutor(1).submit(asyncio.run, uploads.receive("a.tif", chunks())).result()
    none = Uploads(client.site.workspace, UploadLimits(together=0))
    assert (
        send(replace(client, site=replace(client.site, uploads=none)), "a.tif", b"").status_code
        == 429
    )


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("../../etc/passwd.png", "passwd"),
        ("..\\..\\x.png", "x"),
        ("<img src=x onerror=alert(1)>.png", "img_src_x_onerror_alert_1"),
        ("-rf.png", "rf"),
        ("\u202e\x00.png", "image"),
        ("a" * 300 + ".png", "a" * 80),
    ],
)
def test_names_become_tame(name, stem):
    assert tame(name) == (stem, ".png")


def test_a_public_page_keeps_the_newest_images(served, phantoms):
    client = served(demo=True)
    uploads = Uploads(client.site.workspace, UploadLimits(kept=2))
    small = replace(client, site=replace(client.site, uploads=uploads))
    content = (phantoms[2] / "images" / "nuclei_001.tif").read_bytes()
    assert send(small, "new.tif", content).json() == {"name": "new"}
    assert len(names(small)) == 2
    assert "new" in names(small)
