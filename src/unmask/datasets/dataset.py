"""The protocol of a public data set: what it is, and what its own archive holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

Size = tuple[int | None, ...]


@dataclass(frozen=True)
class Item:
    """One image of an archive, before it is read.

    Attributes:
        part: ``train``, ``val``, ``test`` or another name of a folder.
        name: stem of its files; no two images of a part share it.
        write: called with the folder of the part and the name, writes ``images/<name>`` and what
            belongs to it, and returns the size of the image ``(*space)``; None if it was not read.
        label: class of the whole image, for a set of classes.
    """

    part: str
    name: str
    write: Callable[[Path, str], tuple[int, ...] | None]
    label: str | None = None


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
        find: lists the images of the folder of the unpacked archive; its keyword-only arguments are
            the options of the set; ``partial`` is given to it if it takes it. It reads no pixels.
        counts: published number of images of a part, or of several (``train+val``); every number
            of a release that is accepted.
        sizes: published sizes of the images, one of which each has; None stands for any length.
        preset: a preset made for the set, or that fits it.
        verb: command that takes the preset, ``train`` or ``pretrain``.
        classes: labels are a table of classes of whole images.
        more: further arguments of that command, or a function that reads them from the archive.
        submit: writes the file that the website of the challenge takes, from a folder of label
            images; it returns the names of the images.
        notes: what differs from the published preparation, for the README.
    """

    name: str
    title: str
    license: str
    citation: str
    source: str
    archive: str
    find: Callable[..., Sequence[Item]]
    counts: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: MappingProxyType({}))
    sizes: tuple[Size, ...] = ()
    preset: str | None = None
    verb: str = "train"
    classes: bool = False
    more: tuple[str, ...] | Callable[[Path], tuple[str, ...]] = ()
    submit: Callable[[Path, Path], list[str]] | None = None
    notes: str = ""
