"""Results of an image: the table of its objects, and files to take away."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Response
from fastapi.responses import FileResponse

from unmask import api
from unmask.atomic import fit_name
from unmask.errors import message
from unmask.io import save_image
from unmask.serve.facts import describe_notes
from unmask.serve.labels import MOST
from unmask.serve.objects import list_objects
from unmask.serve.refusal import RefusedError, missing
from unmask.serve.routes.current import Current
from unmask.serve.site import Site
from unmask.serve.upload import too_large
from unmask.serve.workspace import Entry, find_entry
from unmask.space.box import Box

# Bytes of an image, up to which its objects are measured while a person draws.
_BRIGHT = 2**26

Format = Literal["csv", "labels", "ome-zarr", "imagej", "geojson", "coco"]


router = APIRouter(prefix="/api")


@router.get("/objects/{identity}")
def objects(site: Current, identity: str, layer: str = "labels") -> dict[str, Any]:
    """Id, size, brightness, uncertainty and box of every object."""
    entry = find_entry(site.workspace, identity)
    image = site.pictures.open(entry)
    box = _whole(image.shape[1:])
    corrections, doubts = None, {}
    if layer == "prediction":
        site.jobs.settle()
        values = site.proposals.read(entry, image, box)
        doubts = _doubts(site, entry)
    else:
        values = site.store.read(entry, image.shape[1:], box)[0]
        compared = site.corrections.compare(entry, values)
        if compared is not None:
            # Objects of an accepted prediction are as doubtful as before, until they are corrected.
            corrections, same = compared
            doubts = {each: doubt for each, doubt in _doubts(site, entry).items() if each in same}
    small = prod(image.shape) * image.dtype.itemsize <= _BRIGHT
    found = list_objects(values, image.read(box) if small else None)
    listed = [{**each, "doubt": doubts.get(each["id"])} for each in found]
    notes = describe_notes(site.facts.get(entry.id))
    return {"objects": listed, "corrections": corrections, **notes}


def _doubts(site: Site, entry: Entry) -> Mapping[int, float]:
    doubt = site.doubts.get(entry, site.proposals.names().get(entry.name))
    return {} if doubt is None else doubt.objects


@router.get("/model/{identity}")
def model(site: Current, identity: str) -> Response:
    """The model of a round, as a file that every other verb takes."""
    path = site.workspace.confine(site.jobs.get(identity).out / "model.safetensors")
    if not path.is_file():
        raise missing("model")
    return FileResponse(path, media_type="application/octet-stream",
                        filename=f"{identity}.safetensors")  # fmt: skip


@router.get("/export/{identity}")
def export(
    site: Current, identity: str, form: Annotated[Format, Query(alias="format")] = "csv"
) -> Response:
    """A table, outlines or the label image, to take away."""
    entry = find_entry(site.workspace, identity)
    if site.store.path(entry) is None:
        raise RefusedError(
            404, message(f"labels of {entry.name}", expected="labels", found="none",
                         do="Outline objects or accept a prediction first.")
        )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        name, content = _exported(site, entry, form, Path(folder))
    # The name of a file may hold anything; what is offered here is plain.
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)
    headers = {"content-disposition": f'attachment; filename="{plain}"'}
    return Response(content, media_type="application/octet-stream", headers=headers)


def _exported(site: Site, entry: Entry, form: str, folder: Path) -> tuple[str, bytes]:
    """Name and content of a file for the user."""
    image = site.pictures.open(entry)
    labels, _ = site.store.read(entry, image.shape[1:], _whole(image.shape[1:]))
    # Longer suffixes than that of the image follow.
    name = fit_name(entry.name, "_geojson.zip").removesuffix("_geojson.zip")
    path = folder / f"{name}.tif"
    save_image(path, labels, like=image)
    if form == "labels":
        return path.name, path.read_bytes()
    if form == "ome-zarr":
        store = folder / f"{name}.ome.zarr"
        save_image(store, labels, like=image)
        return f"{store.name}.zip", _zipped(store, folder)
    table = folder / "out" / f"{name}.csv"
    rois = () if form == "csv" else (form,)
    options = api.MeasureOptions(rois=rois)
    api.measure_files(path, images=entry.path, out=table, options=options, say=_quiet)
    if form == "csv":
        return table.name, table.read_bytes()
    return f"{name}_{form}.zip", _zipped(table.parent, table.parent)


def _zipped(folder: Path, above: Path) -> bytes:
    """All files of a folder, under their names below ``above``."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(above).as_posix())
    return content.getvalue()


def _whole(shape: tuple[int, ...]) -> Box:
    box = Box.of(shape)
    if box.size * np.dtype(np.uint32).itemsize > 2 * MOST:
        raise too_large("labels", 2 * MOST)
    return box


def _quiet(_: str) -> None:
    """Notes about files are for the command line."""
