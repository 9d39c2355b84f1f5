"""What is known of an image besides its pixels and labels, in one small file per image."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import xxhash

from unmask.atomic import atomic_write
from unmask.serve.versions import ABSENT, ANY, conflict
from unmask.serve.workspace import Entry

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Facts:
    """Notes on one image.

    Attributes:
        regions: boxes ``(start, stop)`` that are completely labeled; without any, the whole image
            counts as completely labeled.
        held_out: used to score models, never to train them.
        accepted: its labels began as a prediction.
        corrected: they were changed after that.
        right: ids of objects that a person has confirmed.
        objects: number of objects; None if not counted yet.
        version: of the labels that ``objects`` was counted in.
        top: largest id of a label store that is written in parts.
        writes: number of saves into a label store that is written in parts.
        parts: boxes that the prediction covers; without any, it covers the whole image.
        top_predicted: largest id in these boxes.
        corrections: objects of an accepted prediction that were corrected; None if not counted.
    """

    regions: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = ()
    held_out: bool = False
    accepted: bool = False
    corrected: bool = False
    right: tuple[int, ...] = ()
    objects: int | None = None
    version: str = "0"
    top: int = 0
    writes: int = 0
    parts: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = ()
    top_predicted: int = 0
    corrections: int | None = None


class FactsBook:
    """Facts of all images; safe for threads.

    Args:
        folder: holds one JSON file per image.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._known: dict[str, Facts] = {}

    def get(self, identity: str) -> Facts:
        """Facts of an image; the defaults if nothing was noted or the file is damaged.

        A damaged file is kept next to the new one, and logged.
        """
        with self._lock:
            return self._get(identity)

    def change(self, identity: str, **changes: Any) -> Facts:
        """Note changes durably.

        Raises:
            SaveError: the disk; the older facts stay.
        """
        with self._lock:
            return self._change(identity, changes)

    def decide(self, entry: Entry, version: str, **changes: Any) -> Facts:
        """Note durably what a person has decided about an image.

        Args:
            entry: the image.
            version: of the notes that the decision was made on; ``*`` for any.
            changes: some of the regions, ``held_out`` and ``right``.

        Raises:
            RefusedError: the notes have another version (409); nothing was written.
            SaveError: the disk; the older facts stay.
        """
        with self._lock:
            before = self._get(entry.id)
            notes = describe_notes(before)
            # The answer to an earlier attempt may have been lost: what is noted already is no loss.
            known = version in (ANY, notes["notes_version"]) or replace(before, **changes) == before
            if not known:
                subject = f"boxes and marks of {entry.name}"
                raise conflict(subject, notes["notes_version"], **notes)
            return self._change(entry.id, changes)

    def _change(self, identity: str, changes: Mapping[str, Any]) -> Facts:
        before = self._get(identity)
        after = replace(before, **changes)
        if after != before:
            atomic_write(self._path(identity), json.dumps(asdict(after)))
            self._known[identity] = after
        return after

    def _get(self, identity: str) -> Facts:
        if identity not in self._known:
            self._known[identity] = _read(self._path(identity))
        return self._known[identity]

    def _path(self, identity: str) -> Path:
        return self._folder / f"{identity}.json"


def describe_notes(facts: Facts) -> dict[str, Any]:
    """What a person has decided about an image, and the version of it."""
    notes = {"regions": facts.regions, "held_out": facts.held_out, "right": facts.right}
    decided = json.dumps(notes).encode()
    version = xxhash.xxh3_64_hexdigest(decided) if any(notes.values()) else ABSENT
    return {**notes, "notes_version": version}


def boxes(regions: Sequence[Any]) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    """Boxes from nested lists."""
    return tuple((tuple(map(int, start)), tuple(map(int, stop))) for start, stop in regions)


def _read(path: Path) -> Facts:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        for name in ("regions", "parts"):
            tree[name] = boxes(tree.get(name, ()))
        tree["right"] = tuple(map(int, tree.get("right", ())))
        return Facts(**tree)
    except FileNotFoundError:
        return Facts()
    except (OSError, ValueError, TypeError, AttributeError) as error:
        # The next change writes a new file: what a person noted is kept next to it.
        kept = path.with_suffix(".damaged")
        with suppress(OSError):
            path.replace(kept)
        _LOG.warning(
            "%s: expected notes on an image, found a damaged file (%s). The notes "
            "are now empty; the file is kept as %s.",
            path,
            error,
            kept.name,
        )
        return Facts()
