"""``view``: results on their images in napari, or on a page of Neuroglancer; and its files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from unmask.api.values import Say
from unmask.errors import MissingPackageError, RecipeError
from unmask.io import Image
from unmask.io.contract import METERS
from unmask.io.precomputed import write_precomputed
from unmask.measurement.sources import Several, Source, open_sources

VIEWERS = ("napari", "neuroglancer")
_HOST = "127.0.0.1"


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
    for source in open_sources(labels, images, planes=None, say=say):
        parts = {"labels": source.labels, "image": source.image}
        for what, image in parts.items():
            if image is not None:
                path = Path(out) / f"{source.name}_{what}"
                written.append(write_precomputed(image, path, labels=what == "labels"))
                say(f"{image.source} -> {path}")
    return written


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
        scale = source.labels.spacing or (1.0,) * source.labels.ndim
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


class _Lazy:
    """An image as an array that the page reads part by part."""

    def __init__(self, image: Image, *, channels: bool) -> None:
        self._image, self._channels = image, channels
        self.shape = image.shape if channels else image.shape[1:]
        # The page shows floats of 32 bits, not of 64.
        self.dtype = np.dtype(np.float32) if image.dtype == np.float64 else image.dtype
        self.ndim = len(self.shape)

    def __getitem__(self, index: Any) -> np.ndarray:
        index = index if isinstance(index, tuple) else (index,)
        found = self._image[index if self._channels else (0, *index)]
        return found.astype(self.dtype, copy=False)


def _show_in_neuroglancer(sources: Sequence[Source], port: int) -> Any:
    import neuroglancer

    neuroglancer.set_server_bind_address(_HOST, port)
    page = neuroglancer.Viewer()
    with page.txn() as state:
        for source in sources:
            space = _space_of(source.labels)
            if source.image is not None:
                volume = _volume(neuroglancer, source.image, space, labels=False)
                state.layers[f"{source.name} image"] = neuroglancer.ImageLayer(source=volume)
            volume = _volume(neuroglancer, source.labels, space, labels=True)
            state.layers[f"{source.name} labels"] = neuroglancer.SegmentationLayer(source=volume)
        if all(source.labels.ndim == len("YX") for source in sources):
            state.layout = "xy"
    return page


def _volume(package: Any, image: Image, space: dict[str, list[Any]], *, labels: bool) -> Any:
    """A volume that the page reads; the channels of an image are an axis without a size."""
    channels = {"names": ["c^"], "units": [""], "scales": [1]}
    axes = space if labels else {key: channels[key] + space[key] for key in space}
    return package.LocalVolume(
        _Lazy(image, channels=not labels),
        dimensions=package.CoordinateSpace(**axes),
        volume_type="segmentation" if labels else "image",
    )


def _space_of(image: Image) -> dict[str, list[Any]]:
    """Names, units and voxel sizes of the axes of space."""
    names = [letter.lower() for letter in image.axes[1:]]
    factor = METERS.get(image.unit or "")
    if image.spacing is None or factor is None:
        return {"names": names, "units": [""] * len(names), "scales": [1] * len(names)}
    scales = [size * factor for size in image.spacing]
    return {"names": names, "units": ["m"] * len(names), "scales": scales}
