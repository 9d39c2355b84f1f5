"""Everything that the routes share, made once per server."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from unmask.serve.facts import FactsBook
from unmask.serve.jobs import Defaults, Jobs
from unmask.serve.labels import ABSENT, LARGE, LabelStore
from unmask.serve.pictures import Pictures
from unmask.serve.proposals import Proposals
from unmask.serve.rounds import Stage
from unmask.serve.upload import UploadLimits, Uploads
from unmask.serve.workspace import Entry, Workspace, list_entries

_DEMO = UploadLimits(nbytes=2 * 10**7, memory=2 * 2**30, seconds=20, together=2, kept=100)


@dataclass(frozen=True)
class Site:
    """A served folder.

    Attributes:
        workspace: where its files are.
        facts: notes per image.
        pictures: its opened images.
        store: its label images.
        proposals: predictions that wait for a person.
        jobs: trainings and predictions.
        uploads: receives images.
        demo: a public page: no training, small uploads.
        closing: set when the server ends.
    """

    workspace: Workspace
    facts: FactsBook
    pictures: Pictures
    store: LabelStore
    proposals: Proposals
    jobs: Jobs
    uploads: Uploads
    demo: bool = False
    closing: threading.Event = field(default_factory=threading.Event)


@dataclass
class _Counts:
    states: dict[str, int] = field(default_factory=dict)

    def add(self, state: str) -> None:
        self.states[state] = self.states.get(state, 0) + 1


def make_site(
    workspace: Workspace, *, defaults: Defaults | None = None, demo: bool = False
) -> Site:
    """Put the parts together.

    Args:
        workspace: the folder.
        defaults: choices of the person who starts the server.
        demo: a public page.
    """
    facts = FactsBook(workspace.notes / "facts")
    pictures, store = Pictures(workspace), LabelStore(workspace, facts)
    stage = Stage(workspace, store, facts, pictures)
    limits = _DEMO if demo else UploadLimits()
    return Site(
        workspace,
        facts,
        pictures,
        store,
        Proposals(workspace, store, facts),
        Jobs(workspace, stage, defaults or Defaults()),
        Uploads(workspace, limits),
        demo,
    )


def list_images(site: Site) -> dict[str, Any]:
    """All images with their states, and how many there are of each state."""
    proposed, counts = site.proposals.names(), _Counts()
    labels = _labeled(site.workspace.labels)
    images = []
    for entry in list_entries(site.workspace):
        described = _listed(site, entry, labeled=entry.name in labels, proposed=proposed)
        counts.add(described["state"])
        images.append(described)
    return {"folder": str(site.workspace.root), "images": images, "counts": counts.states}


def _listed(
    site: Site, entry: Entry, *, labeled: bool, proposed: dict[str, Path]
) -> dict[str, Any]:
    facts = site.facts.get(entry.id)
    labeled = labeled and facts.objects != 0
    state = "unlabeled"
    if entry.problem:
        state = "problem"
    elif facts.held_out:
        state = "held out"
    elif labeled and facts.corrected:
        state = "corrected"
    elif labeled:
        state = "partly labeled" if facts.regions else "labeled"
    elif entry.name in proposed:
        state = "predicted"
    return {
        "id": entry.id,
        "name": entry.name,
        "file": entry.file,
        "state": state,
        "labeled": labeled,
        "predicted": entry.name in proposed,
        "objects": facts.objects if labeled else 0,
        "problem": entry.problem,
    }


def next_image(site: Site, count: int, after: str | None) -> dict[str, Any]:
    """Images that a person should look at next: those with the fewest labeled objects first."""
    usable = [
        image
        for image in list_images(site)["images"]
        if image["state"] not in ("held out", "problem") and image["id"] != after
    ]
    usable.sort(key=lambda image: (image["labeled"], image["objects"] or 0))
    chosen = [image["id"] for image in usable[:count]]
    return {"images": chosen, "by": "fewest labeled objects first"}


def describe_image(site: Site, entry: Entry) -> dict[str, Any]:
    """What the page must know of an image."""
    facts = site.facts.get(entry.id)
    found = site.pictures.describe(entry)
    version = site.store.version(entry)
    return {
        **found,
        "version": version,
        "top": site.store.top(entry, tuple(found["shape"])),
        "labeled": version != ABSENT,
        "large": prod(found["shape"]) >= LARGE,
        "predicted": entry.name in site.proposals.names(),
        "regions": facts.regions,
        "held_out": facts.held_out,
        "right": facts.right,
        "objects": facts.objects,
    }


def _labeled(folder: Path) -> set[str]:
    from unmask.io import stem

    files = folder.iterdir() if folder.is_dir() else ()
    return {stem(path) for path in files if not path.name.startswith(".")}
