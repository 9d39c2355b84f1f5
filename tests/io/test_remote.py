"""Stores at an address, read from a server on this machine."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from unmask.blocks.ship import ship_image
from unmask.data.pairs import Layout, open_pairs
from unmask.errors import DataError, MissingPackageError
from unmask.io import list_files, open_image, open_labels, output_name, remote, save_image
from unmask.io.identity import identity, is_in_files
from unmask.io.label_groups import labels_in_place
from unmask.io.missing_chunks import find_unwritten
from unmask.space.box import Box

pytest.importorskip("obstore")
VOLUME = np.random.default_rng(5).integers(1, 60_000, (13, 40, 50)).astype(np.uint16)
BOX = Box((3, 10, 0), (13, 33, 49))


class Handler(SimpleHTTPRequestHandler):
    """Files of a folder, with byte ranges if the server has them; every request is counted."""

    asked: list[str]
    ranges = False

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if "slow" in self.path:
            threading.Event().wait(3)
        if "secret" in self.path:
            self.send_error(403)
            return
        given = self.headers.get("Range")
        file = Path(self.translate_path(self.path))
        if not (self.ranges and given and file.is_file()):
            super().do_GET()
            return
        data = file.read_bytes()
        low, _, high = given.removeprefix("bytes=").partition("-")
        start = int(low) if low else max(0, len(data) - int(high))
        stop = min(int(high) + 1 if low and high else len(data), len(data))
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        self.wfile.write(data[start:stop])

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as in the base
        """Nothing is printed."""


class Site:
    """A folder and the address of its server."""

    def __init__(self, folder: Path, url: str, handler: type[Handler]) -> None:
        self.folder, self.url, self.handler = folder, url, handler


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A server of a folder; nothing is remembered of an earlier one."""
    (tmp_path / "www").mkdir()
    handler = type("Own", (Handler,), {"asked": []})
    serve = partial(handler, directory=str(tmp_path / "www"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), serve)
    # A client that gives up breaks the pipe of its answer.
    setattr(server, "handle_error", lambda *_: None)  # noqa: B010 - a method for one object
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    remote._opened.cache_clear()
    remote._metadata_at.cache_clear()
    yield Site(tmp_path / "www", f"http://127.0.0.1:{server.server_address[1]}", handler)
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("version", [2, 3])
def test_a_store_is_read_by_box(site: Site, version: Any) -> None:
    save_image(site.folder / "a.ome.zarr", VOLUME, spacing=(2, 0.5, 0.5), unit="um")
    array: Any = zarr.create_array(
        site.folder / "b.zarr", shape=VOLUME.shape, chunks=(5, 16, 50), dtype="u2",
        zarr_format=version, fill_value=7,
    )  # fmt: skip
    array[:5] = VOLUME[:5]
    image = open_image(f"{site.url}/a.ome.zarr", ndim=3)
    assert (image.name, image.spacing, image.unit) == ("a", (2, 0.5, 0.5), "um")
    np.testing.assert_array_equal(image.read()[0], VOLUME)
    image = open_image(f"{site.url}/b.zarr/", axes="ZYX")
    site.handler.asked.clear()
    np.testing.assert_array_equal(image.read(Box((0, 0, 0), (2, 2, 2)))[0], VOLUME[:2, :2, :2])
    assert len(site.handler.asked) == 1
    # Chunks that were never written hold the fill value.
    np.testing.assert_array_equal(image.read(BOX)[0], array[BOX.slices])
    assert list_files(f"{site.url}/a.ome.zarr") == [f"{site.url}/a.ome.zarr"]
    assert output_name(image, "out") == Path("out/b.ome.zarr")


@pytest.mark.parametrize("ranges", [False, True])
@pytest.mark.parametrize("place", ["start", "end"])
def test_shards_are_read_in_parts(site: Site, ranges: bool, place: Any) -> None:
    codec = zarr.codecs.ShardingCodec(chunk_shape=(5, 8, 10), index_location=place)
    array: Any = zarr.create_array(
        site.folder / "s.zarr", shape=VOLUME.shape, chunks=(10, 32, 50), dtype="u2", fill_value=0,
        serializer=codec, compressors=None,
    )  # fmt: skip
    array[...] = VOLUME
    site.handler.ranges = ranges
    image = open_image(f"{site.url}/s.zarr", axes="ZYX")
    np.testing.assert_array_equal(image.read(BOX)[0], VOLUME[BOX.slices])


def test_s3_without_credentials(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", site.url)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    save_image(site.folder / "bucket" / "in" / "a.zarr", VOLUME)
    image = open_image("s3://bucket/in/a.zarr", ndim=3)
    np.testing.assert_array_equal(image.read(BOX)[0], VOLUME[BOX.slices])
    with pytest.raises(DataError, match=r"s3://bucket/in/b\.zarr.*nothing there that is Zarr"):
        open_image("s3://bucket/in/b.zarr")


def test_pairs_of_plates_and_labels(site: Site) -> None:
    root = site.folder / "p.zarr"
    fields = ("A/1/0", "A/1/1", "B/2/0")
    for field in fields:
        save_image(root / "x.zarr", VOLUME[0])
        (root / field).parent.mkdir(parents=True, exist_ok=True)
        (root / "x.zarr").rename(root / field)
    save_image(root / "x.zarr", np.ones((40, 50), np.uint8))
    (root / "A/1/0/labels").mkdir()
    (root / "x.zarr").rename(root / "A/1/0/labels/nuclei")

    def describe(folder: Path, **tree: Any) -> None:
        zarr.open_group(folder, mode="a", zarr_format=3).attrs["ome"] = tree

    describe(root, plate={"wells": [{"path": "A/1"}, {"path": "B/2"}]})
    describe(root / "A" / "1", well={"images": [{"path": "0"}, {"path": "1"}]})
    describe(root / "B" / "2", well={"images": [{"path": "0"}]})
    pairs = open_pairs(f"{site.url}/p.zarr", None, Layout(2))
    assert [pair.name for pair in pairs] == [f"p_{f.replace('/', '_')}" for f in fields]
    labels = open_labels(f"{site.url}/p.zarr/A/1/0/labels/nuclei", ndim=2)
    assert labels.read().max() == 1
    with pytest.raises(DataError, match=r"collection of 3"):
        open_image(f"{site.url}/p.zarr")


def test_runs_know_a_store_by_its_metadata(site: Site) -> None:
    save_image(site.folder / "a.zarr", VOLUME)
    url = f"{site.url}/a.zarr"
    before, image = identity(url), open_image(url, ndim=3)
    assert is_in_files(image)
    np.testing.assert_array_equal(ship_image(image, None)().read(BOX), image.read(BOX))
    assert find_unwritten(url) == ""
    save_image(site.folder / "a.zarr", VOLUME[:5])
    remote._metadata_at.cache_clear()
    assert identity(url) != before
    with pytest.raises(DataError, match=r"an address, which is only read"):
        labels_in_place(url, "nuclei")


def test_what_is_wrong_is_said_with_the_address(site: Site, monkeypatch: Any) -> None:
    save_image(site.folder / "a.zarr", VOLUME)
    url = site.url
    for path, words in {
        f"{url}/none.zarr": r"none\.zarr: .*nothing there that is Zarr",
        f"{url}/a.zarr/q": r"a\.zarr/q: .*no Zarr metadata in http",
        f"{url}/picture.tif": r"picture\.tif: .*Download files of other formats",
        f"{url}/a.zarr/../../x.zarr": "no Zarr metadata in http",
        f"{url}/secret.zarr": "nothing there that is Zarr",
        "http://127.0.0.1:1/a.zarr": r"127\.0\.0\.1:1/a\.zarr.*an answer of the server",
    }.items():
        monkeypatch.setattr(remote, "_REPEAT", 0.1)
        with pytest.raises(DataError, match=words):
            open_image(path, ndim=3)
    with pytest.raises(DataError, match="Download files of other formats"):
        list_files(f"{url}/picture.tif")
    image = open_image(f"{url}/a.zarr", ndim=3)
    chunk = next(path for path in (site.folder / "a.zarr" / "0" / "c").rglob("*") if path.is_file())
    chunk.write_bytes(b"broken")
    with pytest.raises(DataError, match=r"http://.*/a\.zarr: .*chunk c/0/0/0"):
        image.read()
    chunk.write_bytes(bytes(10**7))
    with pytest.raises(DataError, match=r"http://.*/a\.zarr: .*10000000 bytes, more than"):
        image.read()


def test_a_server_that_does_not_answer(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_ANSWER", 0.2)
    monkeypatch.setattr(remote, "_REPEAT", 0.1)
    with pytest.raises(DataError, match=r"slow\.zarr/zarr\.json: expected an answer of the server"):
        open_image(f"{site.url}/slow.zarr")


def test_without_the_extra_its_name_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = importlib.import_module

    def missing(name: str, *more: Any) -> Any:
        if name.startswith("obstore"):
            raise ImportError(name)
        return plain(name, *more)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingPackageError, match=r"unmask\[remote\]"):
        open_image("https://127.0.0.1:1/other.zarr")
