"""Labels: read and written by box, as raw integers, with a version against lost changes."""

from __future__ import annotations

import asyncio
from math import prod
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response

from unmask.serve.labels import LARGE, MOST
from unmask.serve.refusal import missing
from unmask.serve.routes.body import announced, expected_version, numbers, read_patch, wrong
from unmask.serve.routes.current import Current
from unmask.serve.upload import UploadLimits, too_large
from unmask.serve.workspace import find_entry
from unmask.space.box import Box

router = APIRouter(prefix="/api")


@router.get("/labels/{identity}")
def read(
    site: Current, identity: str, start: str = "", stop: str = "", layer: str = "labels"
) -> Response:
    """Ids of a box as raw little-endian integers."""
    entry = find_entry(site.workspace, identity)
    image = site.pictures.open(entry)
    box = _box(start, stop, image.shape[1:])
    if layer == "prediction":
        values, version = site.proposals.read(entry, image, box), "prediction"
    elif layer == "labels":
        values, version = site.store.read(entry, image.shape[1:], box)
    else:
        raise missing("layer")
    return _raw(values, box, version)


@router.put("/labels/{identity}", max_body_size=MOST)
async def write(site: Current, identity: str, request: Request) -> dict[str, Any]:
    """Save ids of a box, if nobody else has saved since."""
    entry = await asyncio.to_thread(find_entry, site.workspace, identity)
    image = await asyncio.to_thread(site.pictures.open, entry)
    patch = await read_patch(request, image.shape[1:])
    version, objects = await asyncio.to_thread(site.store.write, entry, image, patch)
    return {"version": version, "objects": objects}


@router.post("/import/{identity}", max_body_size=UploadLimits.nbytes)
async def import_labels(
    site: Current, identity: str, request: Request, name: str
) -> dict[str, Any]:
    """Take labels or outlines of another program as the prediction of an image."""
    announced(request, site.uploads.limits.nbytes)
    entry = await asyncio.to_thread(find_entry, site.workspace, identity)
    image = await asyncio.to_thread(site.pictures.open, entry)
    if prod(image.shape[1:]) >= LARGE:
        raise too_large("labels", LARGE)
    shape = image.shape[1:]
    labels, notes = await site.uploads.receive_labels(name, request.stream(), entry.name, shape)
    await asyncio.to_thread(site.proposals.place, entry, image, labels)
    return {"objects": len(np.unique(labels[labels > 0])), "notes": notes}


@router.post("/proposal/{identity}/accept")
def accept(site: Current, identity: str, request: Request) -> dict[str, Any]:
    """Make a prediction the labels of its image."""
    entry = find_entry(site.workspace, identity)
    image = site.pictures.open(entry)
    version, objects = site.proposals.accept(entry, image, expected_version(request))
    return {"version": version, "objects": objects}


@router.post("/proposal/{identity}/reject")
def reject(site: Current, identity: str) -> dict[str, Any]:
    """Remove a prediction."""
    site.proposals.reject(find_entry(site.workspace, identity))
    return {}


def _box(start: str, stop: str, shape: tuple[int, ...]) -> Box:
    whole = Box.of(shape)
    box = Box(
        numbers("start", start) if start else whole.start,
        numbers("stop", stop) if stop else whole.stop,
    )
    if len(box.start) != len(shape) or box.clip(whole) != box or box.size <= 0:
        raise wrong("start, stop", f"a box inside {shape}", f"{start} to {stop}")
    if box.size * np.dtype(np.uint32).itemsize > MOST:
        raise too_large("labels", MOST)
    return box


def _raw(values: np.ndarray, box: Box, version: str) -> Response:
    content = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
    headers = {
        "x-shape": ",".join(map(str, box.shape)),
        "x-offset": ",".join(map(str, box.start)),
        "x-dtype": values.dtype.name,
        "etag": f'"{version}"',
        "cache-control": "no-store",
    }
    return Response(content, media_type="application/octet-stream", headers=headers)
