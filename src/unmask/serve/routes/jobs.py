"""Jobs: start, stop and continue trainings and predictions; their progress as events."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from unmask.errors import message
from unmask.serve import processes
from unmask.serve.commands import Begin, Effort
from unmask.serve.events import follow
from unmask.serve.facts import boxes
from unmask.serve.refusal import RefusedError, missing
from unmask.serve.routes.body import inside, wrong
from unmask.serve.routes.current import Current
from unmask.serve.workspace import find_entry, list_entries
from unmask.space.box import Box


class TrainRequest(BaseModel):
    """What a page may choose of a training."""

    model_config = ConfigDict(extra="forbid")
    minutes: float | None = Field(None, ge=0.1, le=10_000)
    updates: int | None = Field(None, ge=1, le=1_000_000)
    begin: Begin = "auto"


class PredictRequest(BaseModel):
    """What a page may choose of a prediction."""

    model_config = ConfigDict(extra="forbid")
    images: list[str] | Literal["all"] = Field("all", max_length=100_000)
    model: str | None = None
    region: tuple[list[int], list[int]] | None = None


class ClusterRequest(BaseModel):
    """What a page may choose of a clustering."""

    model_config = ConfigDict(extra="forbid")
    classes: int = Field(ge=2, le=255)
    model: str | None = None


router = APIRouter(prefix="/api")


@router.get("/jobs")
def jobs(site: Current) -> dict[str, Any]:
    """Every job, newest first."""
    return {"jobs": [_brief(site.jobs.describe(job)) for job in site.jobs.all()]}


@router.post("/train", status_code=202)
def train(site: Current, request: TrainRequest) -> dict[str, Any]:
    """Start a training."""
    if site.demo:
        raise _no_demo("train")
    effort = Effort(request.minutes, request.updates, request.begin)
    return site.jobs.describe(site.jobs.train(effort)[0])


@router.post("/predict", status_code=202)
def predict(site: Current, request: PredictRequest) -> dict[str, Any]:
    """Start a prediction of some images or of all."""
    if request.images == "all":
        every = [entry for entry in list_entries(site.workspace) if not entry.problem]
    else:
        every = [find_entry(site.workspace, identity) for identity in request.images]
    if not every:
        raise missing("image")
    image, part = site.pictures.open(every[0]), None
    if request.region is not None:
        (box,) = boxes([request.region])
        if len(every) != 1 or not inside(box, image.shape[1:]):
            raise wrong("region", f"a box inside {image.shape[1:]} of one image", f"{box}")
        part = (image, Box(*box))
    job = site.jobs.predict(every, ndim=image.ndim, model=request.model, part=part)
    return site.jobs.describe(job)


@router.post("/cluster", status_code=202)
def cluster(site: Current, request: ClusterRequest) -> dict[str, Any]:
    """Start to group the pixels of all images into classes, which wait as predictions."""
    if site.demo:
        raise _no_demo("cluster")
    every = [entry for entry in list_entries(site.workspace) if not entry.problem]
    if not every:
        raise missing("image")
    ndim = site.pictures.open(every[0]).ndim
    job = site.jobs.cluster(every, ndim=ndim, classes=request.classes, model=request.model)
    site.project.change(kind="classes")
    return site.jobs.describe(job)


@router.get("/jobs/{identity}", response_model=None)
def job(
    site: Current, identity: str, accept: Annotated[str, Header()] = ""
) -> dict[str, Any] | StreamingResponse:
    """A job with the end of its log; its events, if that is what is accepted."""
    if accept.startswith("text/event-stream"):
        return events(site, identity)
    return site.jobs.describe(site.jobs.get(identity))


@router.post("/jobs/{identity}/stop")
def stop(site: Current, identity: str) -> dict[str, Any]:
    """Ask a job to save and end."""
    found = site.jobs.get(identity)
    processes.stop(found)
    return site.jobs.describe(found)


@router.post("/jobs/{identity}/resume", status_code=202)
def resume(site: Current, identity: str) -> dict[str, Any]:
    """Continue a job that was stopped."""
    return site.jobs.describe(site.jobs.resume(identity))


@router.get("/jobs/{identity}/events")
def events(
    site: Current, identity: str, last_event_id: Annotated[str | None, Header()] = None
) -> StreamingResponse:
    """Progress of a job as server-sent events."""
    found = site.jobs.get(identity)

    def state() -> dict[str, Any]:
        return _brief(site.jobs.describe(site.jobs.get(identity)))

    begin = int(last_event_id) if last_event_id and last_event_id.isdecimal() else 0
    stream = follow(found.out / "journal.jsonl", state, offset=begin, closing=site.closing)
    return StreamingResponse(
        stream, media_type="text/event-stream", headers={"cache-control": "no-store"}
    )


@router.get("/jobs/{identity}/pictures/{number}")
def picture(site: Current, identity: str, number: int) -> Response:
    """A picture that a training has made, 0 the newest."""
    found = site.jobs.pictures(site.jobs.get(identity))
    if not 0 <= number < len(found):
        raise missing("picture")
    content = site.workspace.confine(found[number]).read_bytes()
    return Response(content, media_type="image/png")


def _no_demo(what: str) -> RefusedError:
    return RefusedError(
        403, message(what, expected="a server of your own", found="a demonstration",
                     do="Install unmask and run unmask serve.")
    )  # fmt: skip


def _brief(described: dict[str, Any]) -> dict[str, Any]:
    """Without the log and the list of images, which every line of a list would repeat."""
    return {name: value for name, value in described.items() if name not in ("log", "images")}
