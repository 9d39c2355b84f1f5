"""Tiles show the right pixels, and only those are read."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from unmask.io import save_image
from unmask.io.zarr import create_zarr


def pixels(response) -> np.ndarray:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(response.content)))


def image_of(client, name: str) -> str:
    return next(i["id"] for i in client.json("/api/images")["images"] if i["name"] == name)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_in_every_orientation(served, root, axis):
    client = served(3)
    volume = np.random.default_rng(0).integers(0, 256, (7, 11, 13)).astype(np.uint8)
    save_image(root(client) / "volume.tif", volume, axes="ZYX")
    identity = image_of(client, "volume")
    shown = pixels(
        client.get(f"/api/image/{identity}/tile?channels=0:0:255:ffffff&axis={axis}&index=4")
    )
    np.testing.assert_array_equal(shown, volume.take(4, axis))


def test_contrast_colors_and_channels(served, root):
    client = served()
    image = np.zeros((2, 8, 8), np.uint16)
    image[0], image[1, :4] = 500, 1000
    save_image(root(client) / "two.tif", image, axes="CYX")
    identity = image_of(client, "two")
    shown = pixels(
        client.get(f"/api/image/{identity}/tile?channels=0:0:1000:ff0000,1:0:1000:00ff00")
    )
    np.testing.assert_array_equal(shown[0, 0], [128, 255, 0])
    np.testing.assert_array_equal(shown[7, 7], [128, 0, 0])
    assert len(client.json(f"/api/image/{identity}")["channels"]) == 2


@pytest.mark.parametrize(("suffix", "dtype"), [(".tif", np.uint16), (".png", np.uint8)])
def test_a_photograph_has_its_own_colors(served, root, suffix, dtype):
    """Red, green and blue, also with 16 bits; opacity is not a fourth color."""
    client = served()
    image = np.zeros((4, 8, 8), dtype)
    image[0, :4], image[1, 4:], image[3] = 200, 200, 128
    pixel_rows = np.ascontiguousarray(image.transpose(1, 2, 0))
    if suffix == ".png":
        Image.fromarray(pixel_rows).save(root(client) / "photo.png")
    else:
        tifffile.imwrite(root(client) / "photo.tif", pixel_rows, photometric="rgb")
    identity = image_of(client, "photo")
    colors = [each["color"] for each in client.json(f"/api/image/{identity}")["channels"]]
    assert colors == ["ff0000", "00ff00", "0000ff", "000000"]
    shown = pixels(client.get(f"/api/image/{identity}/thumbnail")).astype(int)
    assert shown[1, 1].argmax() == 0
    assert shown[6, 6].argmax() == 1
    assert shown[..., 2].max() == 0


def test_a_file_that_cannot_be_read_is_listed_as_such_until_it_is_replaced(served, root):
    client = served()
    path = sorted(root(client).glob("*.tif"))[0]
    content = path.read_bytes()
    path.write_bytes(b"II*\0\x08\0\0\0 broken")
    identity = client.image()
    assert client.get(f"/api/image/{identity}/thumbnail").status_code == 422
    listed = client.json("/api/images")["images"][0]
    assert listed["state"] == "problem"
    assert path.name in listed["problem"]
    path.write_bytes(content)
    assert client.get(f"/api/image/{identity}/thumbnail").status_code == 200
    assert client.json("/api/images")["images"][0]["state"] == "unlabeled"


def test_tiles_cover_a_plane_at_every_level(served, root):
    client = served()
    plane = np.random.default_rng(1).integers(0, 256, (1100, 700)).astype(np.uint8)
    save_image(root(client) / "wide.tif", plane, axes="YX")
    identity = image_of(client, "wide")
    assert client.json(f"/api/image/{identity}")["levels"][0] == 3
    for level, rows, columns in ((0, 3, 2), (1, 2, 1), (2, 1, 1)):
        query = f"/api/image/{identity}/tile?channels=0:0:255:ffffff&level={level}&at="
        shown = [
            np.concatenate([pixels(client.get(f"{query}{r},{c}")) for c in range(columns)], 1)
            for r in range(rows)
        ]
        step = 2**level
        np.testing.assert_array_equal(np.concatenate(shown), plane[::step, ::step])
        assert client.get(f"{query}{rows},0").status_code == 404


def test_an_image_beyond_memory_is_read_by_tile(served, root):
    """A sparse slide of 100,000 by 100,000 pixels: only the chunks of a tile are touched."""
    client = served()
    array = create_zarr(root(client) / "slide.ome.zarr", (100_000, 100_000), "u1", axes="YX")
    array[70_000:70_064, 30_000:30_064] = 200
    identity = image_of(client, "slide")
    assert client.json(f"/api/image/{identity}")["shape"] == [100_000, 100_000]
    query = f"/api/image/{identity}/tile?channels=0:0:255:ffffff&at={70_000 // 512},{30_000 // 512}"
    assert (pixels(client.get(query)) == 200).sum() > 0
    assert client.get(f"{query}&level=12").status_code == 404
    assert pixels(client.get(f"/api/image/{identity}/thumbnail")).shape == (96, 96)
    patch = np.full((4, 4), 3, np.uint16)
    assert client.put(identity, patch, offset=(99_990, 99_990)).status_code == 200
    box = client.labels(identity, "?start=99988,99988&stop=100000,100000")
    assert (box == 3).sum() == 16
    assert client.get(f"/api/labels/{identity}").status_code == 413


def test_names_and_thumbnails(served):
    client = served(3)
    assert pixels(client.get(f"/api/image/{client.image()}/thumbnail")).max() > 0
    assert client.get("/api/image/none/thumbnail").status_code == 404


@pytest.mark.parametrize("channels", ["x", "0:1", "9:0:1:ffffff", "0:e:e:ffffff", "0:0:1:red"])
def test_wrong_channels_are_refused(served, channels):
    client = served()
    path = f"/api/image/{client.image()}/tile?channels={channels}"
    assert client.get(path).status_code in (400, 404)


def test_a_file_that_is_not_an_image_says_so(served, root):
    client = served()
    (root(client) / "page.png").write_text("<script>alert(1)</script>")
    response = client.get(f"/api/image/{image_of(client, 'page')}")
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/json"
