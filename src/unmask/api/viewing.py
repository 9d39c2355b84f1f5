"""``view``: results on their images in napari, or on a page of Neuroglancer; and its files."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from unmask.api.values import Say
from unmask.errors import MissingPackageError, RecipeError
from unmask.interruption import note_kept
from unmask.io import Image
from unmask.io.precomputed import Precomputed, write_precomputed
from unmask.io.zarr_on_request import ZarrOnRequest
from unmask.measurement.sources import Several, Source, open_sources
from unmask.space.axes import SPACE
from unmask.wording import format_count

VIEWERS = ("napari", "neuroglancer")
_HOST = "127.0.0.1"
Volumes = Mapping[str, Precomputed | ZarrOnRequest]


def view(
    labels: Several,
    images: Several | None = None,
    *,
    viewer: str | None = None,
    port: int = 0,
    say: Say = print,
    wait: bool = True,
) -> Any:
    """Show label images on their images.

    Args:
        labels: files, folder or glob of label images.
        images: the images of the labels; they pair by stem.
        viewer: "napari" or "neuroglancer"; None: napari if it is installed.
        port: of the page; 0: any that is free.
        say: gets the address of the page.
        wait: return when the viewer is closed, or the user ends the program.

    Returns:
        The viewer.

    Raises:
        DataError: files that do not pair or cannot be read.
        MissingPackageError: neither viewer is installed.
    """
    chosen = _choose(viewer)
    sources = open_sources(labels, images, planes=None, say=say)
    if chosen == "napari":
        return _show_in_napari(sources, wait=wait)
    shown = _show_in_neuroglancer(sources, port)
    say(f"{shown.get_viewer_url()}\nOpen this page in a browser; Ctrl-C ends it.")
    while wait:
        time.sleep(1)
    return shown


def export_precomputed(
    labels: Several, images: Several | None = None, *, out: str | Path, say: Say = print
) -> list[Path]:
    """Write label images and their images as precomputed volumes of Neuroglancer.

    Args:
        labels: files, folder or glob of label images.
        images: the images of the labels.
        out: folder; each volume is a folder ``<stem>_labels`` or ``<stem>_image`` in it.
        say: gets one line per volume.

    Raises:
        DataError: files that cannot be read, or of a type that the format does not hold.
        SaveError: the folder cannot be written.
    """
    written: list[Path] = []
    with note_kept(lambda: _describe_kept(written, out)):
        for source in open_sources(labels, images, planes=None, say=say):
            parts = {"labels": source.labels, "image": source.image}
            for what, image in parts.items():
                if image is not None:
                    path = Path(out) / f"{source.name}_{what}"
                    written.append(write_precomputed(image, path, labels=what == "labels"))
                    say(f"{image.source} -> {path}")
    return written


def _describe_kept(written: Sequence[Path], out: str | Path) -> str:
    """What an ended run leaves, for people; "" if there is nothing."""
    count = format_count(len(written), "volume is", "volumes are")
    return f"{count} written to {out}." if written else ""


def _choose(viewer: str | None) -> str:
    """The viewer that is used.

    Raises:
        RecipeError: no such viewer.
        MissingPackageError: it is not installed.
    """
    if viewer is not None and viewer not in VIEWERS:
        raise RecipeError(
            f"--viewer {viewer}: expected {' or '.join(VIEWERS)}, found something else. "
            "Leave it out to take the one that is installed."
        )
    wanted = VIEWERS if viewer is None else (viewer,)
    for name in wanted:
        if find_spec(name) is not None:
            return name
    raise MissingPackageError(
        f"unmask view: expected {' or '.join(wanted)}, found none installed. Install one: "
        'pip install "napari[all]", or pip install "unmask[view]" for the page of Neuroglancer. '
        "Pictures need neither: unmask predict --overlay."
    )


def _show_in_napari(sources: Sequence[Source], *, wait: bool) -> Any:
    import napari  # type: ignore[import-not-found] # pyright: ignore[reportMissingImports]

    window = napari.Viewer()
    for source in sources:
        sizes = source.labels.spacing or ()
        # Voxel sizes are those of space; a time axis comes before it.
        scale = (*(1.0,) * (source.labels.ndim - len(sizes)), *sizes)
        if source.image is not None:
            window.add_image(
                source.image.read(),
                channel_axis=0,
                name=[f"{source.name} {name}" for name in _channel_names(source.image)],
                scale=scale,
            )
        window.add_labels(source.labels.read()[0], name=f"{source.name} labels", scale=scale)
    if wait:
        napari.run()
    return window


def _channel_names(image: Image) -> list[str]:
    count = image.shape[0]
    return list(image.meta.get("channels", ())) or [f"channel {n}" for n in range(count)]


def _show_in_neuroglancer(sources: Sequence[Source], port: int) -> Any:
    # Its own server of arrays does not work with numpy 2.3 and newer (release 2.41), so the page
    # reads precomputed volumes, or movies as OME-Zarr, which are made when it asks for them.
    import neuroglancer

    neuroglancer.set_server_bind_address(_HOST, port)
    page = neuroglancer.Viewer()
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(page.get_viewer_url()))
    volumes = {
        f"{source.name}_{what}": _serve_image(image, labels=what == "labels")
        for source in sources
        for what, image in (("image", source.image), ("labels", source.labels))
        if image is not None
    }
    address = serve_volumes(volumes, origin)
    with page.txn() as state:
        for name, volume in volumes.items():
            kind = neuroglancer.SegmentationLayer if volume.labels else neuroglancer.ImageLayer
            form = "precomputed" if isinstance(volume, Precomputed) else "zarr2"
            slash = "" if isinstance(volume, Precomputed) else "/"
            state.layers[name] = kind(source=f"{form}://{address}/{quote(name)}{slash}")
        space = {letter for source in sources for letter in source.labels.axes if letter in SPACE}
        if "Z" not in space:
            state.layout = "xy"
        if any("T" in source.labels.axes for source in sources):
            # Time is a slider, not a third direction of the picture.
            state.display_dimensions = [letter for letter in "xyz" if letter.upper() in space]
    return page


def _serve_image(image: Image, *, labels: bool) -> Precomputed | ZarrOnRequest:
    """An image as the files of the format that has its axes."""
    return (ZarrOnRequest if "T" in image.axes else Precomputed)(image, labels)


def serve_volumes(volumes: Volumes, origin: str) -> str:
    """Serve volumes on 127.0.0.1 to the page of one origin; the address.

    The address holds a secret, so that other pages in the browser cannot guess it.
    """
    secret = secrets.token_urlsafe(16)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = _answer(volumes, self.path.removeprefix(f"/{secret}/"))
            self.send_response(404 if content is None else 200)
            self.send_header("Access-Control-Allow-Origin", origin)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base
            """Do not log requests."""

    server = ThreadingHTTPServer((_HOST, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://{_HOST}:{server.server_port}/{secret}"


def _answer(volumes: Volumes, path: str) -> bytes | None:
    """A file of a volume; None: there is none."""
    name, *rest = unquote(path).split("/")
    try:
        volume = volumes[name]
        if isinstance(volume, ZarrOnRequest):
            return volume.answer("/".join(rest))
        if rest == ["info"]:
            return json.dumps(volume.info()).encode()
        key, chunk = rest
        return volume.named_chunk(key, chunk)
    except (KeyError, ValueError):
        return None
