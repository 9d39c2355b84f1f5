"""Images: the list, facts, tiles, thumbnails, uploads, which one is next."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from unmask.errors import UnmaskError
from unmask.serve.facts import boxes
from unmask.serve.pictures import Channel, Plane
from unmask.serve.project import Kind, Project
from unmask.serve.routes.body import announced, expected_version, inside, numbers, wrong
from unmask.serve.routes.current import Current
from unmask.serve.site import describe_image, list_images, next_image
from unmask.serve.upload import UploadLimits
from unmask.serve.workspace import find_entry, list_entries

# Files that are tried for the first picture.
_FIRST = 8
_CHANNEL = re.compile(r"(\d{1,4}):([-+.\deE]{1,24}):([-+.\deE]{1,24}):([0-9a-f]{6})")

_Number = Annotated[int, Field(ge=1, lt=2**32)]
_Name = Annotated[str, Field(max_length=80)]


class Changes(BaseModel):
    """Facts of an image that a person decides."""

    model_config = ConfigDict(extra="forbid")
    regions: list[tuple[list[int], list[int]]] | None = Field(None, max_length=1000)
    held_out: bool | None = None
    right: list[int] | None = Field(None, max_length=100_000)


class ProjectChanges(BaseModel):
    """Choices for the whole folder."""

    model_config = ConfigDict(extra="forbid")
    kind: Kind | None = None
    names: dict[_Number, _Name] | None = Field(None, max_length=1000)


router = APIRouter(prefix="/api")


@router.get("/images")
def images(site: Current) -> dict[str, Any]:
    """All images with their states."""
    more = {"demo": site.demo, "models": site.jobs.models(), "project": site.project.get()}
    return {**list_images(site), **more}


@router.get("/first")
def first(site: Current) -> dict[str, Any]:
    """The first usable image, so that the page shows it before the list; empty if none is usable.

    A file that cannot be opened says so in the list.
    """
    for entry in list_entries(site.workspace)[:_FIRST]:
        if not entry.problem:
            with suppress(UnmaskError):
                return describe_image(site, entry)
    return {}


@router.patch("/project")
def change_project(site: Current, changes: ProjectChanges) -> Project:
    """Note what a person has decided for all images; other names of classes stay."""
    names = {str(number): name for number, name in (changes.names or {}).items()}
    return site.project.change(kind=changes.kind, names=names)


@router.get("/select")
def select(
    site: Current, count: Annotated[int, Query(ge=1, le=1000)] = 1, after: str | None = None
) -> dict[str, Any]:
    """Which images to look at next."""
    site.jobs.settle()
    return next_image(site, count, after)


@router.get("/image/{identity}")
def image(site: Current, identity: str) -> dict[str, Any]:
    """What the page must know of an image."""
    return describe_image(site, find_entry(site.workspace, identity))


@router.patch("/image/{identity}")
def change(site: Current, identity: str, changes: Changes, request: Request) -> dict[str, Any]:
    """Note what a person has decided about an image, if nobody else has decided since."""
    entry = find_entry(site.workspace, identity)
    given = changes.model_dump(exclude_none=True)
    if changes.regions is not None:
        shape = site.pictures.open(entry).shape[1:]
        given["regions"] = boxes(changes.regions)
        if not all(inside(box, shape) for box in given["regions"]):
            raise wrong("regions", f"boxes inside {shape}", str(changes.regions))
    if changes.right is not None:
        given["right"] = tuple(sorted(set(changes.right)))
    site.facts.decide(entry, expected_version(request), **given)
    return describe_image(site, entry)


@router.get("/image/{identity}/tile")
def tile(
    site: Current,
    identity: str,
    channels: str,
    axis: Annotated[int, Query(ge=0, le=8)] = 0,
    index: Annotated[int, Query(ge=0)] = 0,
    level: Annotated[int, Query(ge=0, le=30)] = 0,
    at: str = "0,0",
) -> Response:
    """A tile of a plane as PNG."""
    entry = find_entry(site.workspace, identity)
    place = numbers("at", at)
    if len(place) != len(("row", "column")):
        raise wrong("at", "row,column", at)
    shown = [_channel(word) for word in channels.split(",") if word]
    plane = Plane(axis, index)
    content = site.pictures.tile(entry, plane, level, (place[0], place[1]), shown)
    # The address names everything that the picture follows from, except the file's content.
    return Response(content, media_type="image/png", headers={"cache-control": "no-cache"})


@router.get("/image/{identity}/thumbnail")
def thumbnail(site: Current, identity: str) -> Response:
    """A small picture as PNG."""
    content = site.pictures.thumbnail(find_entry(site.workspace, identity))
    return Response(content, media_type="image/png",
                    headers={"cache-control": "max-age=60"})  # fmt: skip


@router.post("/upload", max_body_size=UploadLimits.nbytes)
async def upload(site: Current, request: Request, name: str) -> dict[str, str]:
    """Receive an image; its name is only a suggestion."""
    announced(request, site.uploads.limits.nbytes)
    return {"name": await site.uploads.receive(name, request.stream())}


def _channel(word: str) -> Channel:
    found = _CHANNEL.fullmatch(word)
    try:
        if found:
            return Channel(int(found[1]), float(found[2]), float(found[3]), found[4])
    except ValueError:
        pass
    raise wrong("channels", "NUMBER:LOW:HIGH:COLOR,...", word)
