"""Objects of an HDF5 file by path, without following links into other files."""

from __future__ import annotations

from typing import Any

import h5py

from unmask.io.contract import Location
from unmask.io.outside import refuse_outside

# Soft links may lead to each other in a circle.
_MOST_HOPS = 32


def find(location: Location, file: h5py.File, key: str) -> Any:
    """The group or data set at a path; None if there is none.

    Soft links inside the file are followed.

    Raises:
        DataError: a link leads to another file, which is not allowed.
    """
    if location.allow_external:
        return file.get(key)
    path = _follow(location, file, key)
    return None if path is None else file.get(path)


def _follow(location: Location, file: h5py.File, key: str) -> str | None:
    """The path without links; None if it leads nowhere."""
    rest, path, hops = [part for part in key.split("/") if part not in ("", ".")], "/", 0
    while rest:
        group: Any = file.get(path)
        name = rest.pop(0)
        link = group.get(name, getlink=True) if isinstance(group, h5py.Group) else None
        if isinstance(link, h5py.ExternalLink):
            refuse_outside(location, f"{path}{name}, a link to {link.path} in {link.filename}")
        if isinstance(link, h5py.SoftLink):
            hops += 1
            if hops > _MOST_HOPS:
                return None
            target = [part for part in link.path.split("/") if part not in ("", ".")]
            rest = target + rest
            path = "/" if link.path.startswith("/") else path
        elif link is None:
            return None
        else:
            path = f"{path}{name}/"
    return path


def find_sources(location: Location, file: h5py.File, dataset: h5py.Dataset) -> list[h5py.Dataset]:
    """The data set and, if it is virtual, all data sets of the file that it reads.

    Raises:
        DataError: values of one of them are in another file, which is not allowed.
    """
    found: dict[str, h5py.Dataset] = {}
    todo = [dataset]
    while todo:
        one = todo.pop()
        name = str(one.name)
        if name in found:
            continue
        found[name] = one
        for other, *_ in one.external or ():
            refuse_outside(location, f"{name}, whose values are in {other} (external storage)")
        for other, path in _sources(one):
            same = other == "." or _same_file(location, other)
            if not same:
                refuse_outside(location, f"{name}, whose values are in {other} (virtual data set)")
            target = _follow(location, file, path) if same else None
            source = None if target is None else file.get(target)
            todo += [source] if isinstance(source, h5py.Dataset) else []
    return list(found.values())


def _sources(dataset: h5py.Dataset) -> set[tuple[str, str]]:
    """File and path of everything that a virtual data set reads."""
    if not dataset.is_virtual:
        return set()
    return {(source.file_name, source.dset_name) for source in dataset.virtual_sources()}


def _same_file(location: Location, name: str) -> bool:
    return (location.path.parent / name).resolve() == location.path.resolve()
