"""Everything that the routes share, made once per server."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

from unmask.errors import UnmaskError
from unmask.serve.collect import Collector
from unmask.serve.commands import Defaults
from unmask.serve.corrections import Corrections
from unmask.serve.doubts import Doubts
from unmask.serve.facts import FactsBook, describe_notes
from unmask.serve.jobs import Jobs
from unmask.serve.labels import LARGE, LabelStore
from unmask.serve.pictures import Pictures
from unmask.serve.project import ProjectBook
from unmask.serve.proposals import Proposals
from unmask.serve.rounds import Stage
from unmask.serve.selection import Selection
from unmask.serve.upload import UploadLimits, Uploads
from unmask.serve.versions import ABSENT
from unmask.serve.workspace import Entry, Workspace, list_entries

# After so long a prediction of a public page is ended.
_DEMO_SECONDS = 120.0
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
        doubts: uncertainty of these predictions.
        corrections: number of corrected objects in them.
        project: kind of the labels, and names of classes.
        selection: chooses the next image.
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
    doubts: Doubts
    corrections: Corrections
    project: ProjectBook
    selection: Selection
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
    facts, closing = FactsBook(workspace.notes / "facts"), threading.Event()
    pictures, store = Pictures(workspace), LabelStore(workspace, facts)
    project = ProjectBook(workspace.notes / "project.json")
    stage = Stage(workspace, store, facts, pictures, project)
    corrections, doubts = Corrections(workspace, facts, store), Doubts(workspace)
    proposals = Proposals(workspace, store, facts, corrections)
    collector = Collector(workspace, proposals, facts, doubts, pictures, mirror=not demo)
    return Site(
        workspace=workspace,
        facts=facts,
        pictures=pictures,
        store=store,
        proposals=proposals,
        doubts=doubts,
        corrections=corrections,
        project=project,
        selection=Selection(pictures, closing),
        jobs=Jobs(workspace, stage, collector, _limited(defaults or Defaults(), demo=demo)),
        uploads=Uploads(workspace, _DEMO if demo else UploadLimits()),
        demo=demo,
        closing=closing,
    )


def _limited(defaults: Defaults, *, demo: bool) -> Defaults:
    limit = _DEMO_SECONDS if demo else None
    return replace(defaults, seconds=defaults.seconds or limit)


def warm_up(site: Site) -> None:
    """Read the folder and its first image, while the browser is still starting."""
    try:
        list_images(site)
        first = next((e for e in list_entries(site.workspace) if not e.problem), None)
        if first is not None:
            describe_image(site, first)
            site.pictures.thumbnail(first)
    except (UnmaskError, OSError):
        # The error is reported to the request that reads the same file.
        return


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
    doubt = site.doubts.get(entry, proposed.get(entry.name))
    problem = entry.problem or site.pictures.problem(entry)
    state = "unlabeled"
    if problem:
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
        "corrections": facts.corrections if labeled else None,
        "doubt": None if doubt is None else doubt.image,
        "problem": problem,
    }


def next_image(site: Site, count: int, after: str | None) -> dict[str, Any]:
    """Images to label next, and the criterion of the choice.

    With predictions these are images about which the model is uncertain, of every kind in
    proportion; without any, typical images of kinds that have no labels yet; if all images are
    labeled or there are only two, the images with the fewest labeled objects.
    """
    listed = [i for i in list_images(site)["images"] if i["state"] not in ("held out", "problem")]
    usable = [image for image in listed if image["id"] != after]
    waiting = [image for image in usable if not image["labeled"]]
    doubts = {image["id"]: image["doubt"] for image in waiting if image["doubt"] is not None}
    if waiting and len(listed) > 2:
        entries = {entry.id: entry for entry in list_entries(site.workspace)}
        done = [entries[image["id"]] for image in listed if image["labeled"]]
        fresh = [entries[image["id"]] for image in waiting]
        chosen = site.selection.choose(fresh, done, count, doubts)
        if chosen:
            by = "doubt" if doubts else "kind"
            return {"images": [entry.id for entry in chosen], "by": by}
    usable.sort(key=lambda image: (image["labeled"], image["objects"] or 0))
    return {"images": [image["id"] for image in usable[:count]], "by": "fewest"}


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
        **describe_notes(facts),
        "objects": facts.objects,
        "parts": facts.parts,
        "corrections": facts.corrections,
    }


def _labeled(folder: Path) -> set[str]:
    from unmask.io import stem

    files = folder.iterdir() if folder.is_dir() else ()
    return {stem(path) for path in files if not path.name.startswith(".")}
