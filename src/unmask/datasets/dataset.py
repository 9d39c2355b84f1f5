"""The protocol of a public data set: what it is, and how its own archive becomes folders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class DataSet:
    """A public data set.

    Attributes:
        name: name on the command line.
        title: what it shows, in a few words.
        license: license of the data, or where its terms are.
        citation: DOI or arXiv number of the publication to cite.
        source: where the archive can be obtained.
        archive: files that the archive holds, as it is distributed.
        prepare: writes the folders; called with the folder of the unpacked archive, the output
            folder and the options of the set as keywords. It returns the number of images of each
            part, such as ``{"train": 24, "val": 6}``.
        preset: a preset made for the set, if there is one.
    """

    name: str
    title: str
    license: str
    citation: str
    source: str
    archive: str
    prepare: Callable[..., dict[str, int]]
    preset: str | None = None
