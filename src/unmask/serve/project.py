"""Settings for all images of a folder: the kind of the labels, and the names of classes."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from unmask.atomic import atomic_write

Kind = Literal["objects", "classes"]


@dataclass(frozen=True)
class Project:
    """Choices for the folder.

    Attributes:
        kind: "objects": every id is an object, and background is known where all objects are drawn;
            "classes": every id is a class, and what has none is unknown (scribbles are enough).
        names: of the classes, by id as text.
    """

    kind: Kind = "objects"
    names: Mapping[str, str] = field(default_factory=dict)


class ProjectBook:
    """Keeps the choices in one file; safe for threads.

    Args:
        path: the JSON file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def get(self) -> Project:
        """The choices; the defaults if nothing was chosen or the file is damaged."""
        with suppress(OSError, ValueError, TypeError):
            tree = json.loads(self._path.read_text(encoding="utf-8"))
            if tree["kind"] in ("objects", "classes"):
                return Project(tree["kind"], {str(k): str(v) for k, v in tree["names"].items()})
        return Project()

    def change(
        self, *, kind: Kind | None = None, names: Mapping[str, str] | None = None
    ) -> Project:
        """Note choices durably.

        Args:
            kind: of the labels; None: as before.
            names: of some classes, empty for none. Others keep theirs: somebody else may just have
                named them.

        Raises:
            SaveError: the disk; the older choices stay.
        """
        with self._lock:
            before = self.get()
            merged = {**before.names, **(names or {})}
            after = Project(kind or before.kind, {k: name for k, name in merged.items() if name})
            atomic_write(self._path, json.dumps(asdict(after), ensure_ascii=False))
            return after
