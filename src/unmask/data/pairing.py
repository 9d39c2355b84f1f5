"""Which files are an image and its labels: by their names, one folder or two, tables and lists."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from unmask.data.grid import AS_IT_IS, View
from unmask.data.suffixes import Division, common_suffix, derived, divide, divide_by
from unmask.data.tables import ImageClass, classes_of, listed
from unmask.errors import RecipeError, grouped
from unmask.io import Image, use_formats
from unmask.io.inputs import ArrayInput, Inputs, as_inputs
from unmask.io.multi_file import files_of
from unmask.io.paths import format_of, left_out, locate, named_files, stem
from unmask.recipe_text import Names

# A path or array, or several of them.
Paths = Inputs
_File = str | ArrayInput
# Names that a note shows.
_SHOWN = 5

_HINT = (
    "Pair by equal stems; give --set data.label_suffix=... or data.image_suffix=... "
    "where one side carries a suffix."
)
_IN_ORDER = "Arrays pair in order: give as many labels as images, or paths on both sides."
_TWO = (
    "Put the labels into a folder of their own; or end their names in one of the usual suffixes, "
    "such as x.png and x_masks.png; or name the suffix: --set data.label_suffix=_masks. Of one "
    "container name both arrays: x.h5:raw and x.h5:labels."
)


@dataclass(frozen=True)
class Pair:
    """One image, with its labels where there are any; nothing is read yet."""

    name: str
    image: Image
    labels: Image | None = None


@dataclass(frozen=True)
class Layout:
    """How files are to be understood.

    Attributes:
        ndim: number of spatial axes.
        axes: axes of the files where they do not say themselves.
        image_suffix: end of image stems that is no part of the name.
        label_suffix: end of label stems that is no part of the name.
        classes: names of the classes of whole images, which tables then say in place of label
            images; see ``unmask.data.tables``.
        view: the part and the grid that the network sees, see `viewed`.
        allow_external: read HDF5 and Zarr files whose values are in other files.
    """

    ndim: int
    axes: str | None = None
    image_suffix: str = ""
    label_suffix: str = ""
    classes: tuple[str, ...] = ()
    view: View = AS_IT_IS
    allow_external: bool = False


def match_files(
    images: Paths,
    labels: Paths | None,
    layout: Layout,
    problems: list[str],
    *,
    notes: list[str] | None = None,
    by_habit: bool = True,
) -> list[tuple[str, _File, _File | None]]:
    """Names with the paths of image and labels.

    Where no two names are equal and none of the suffixes is set, the one that most files of a side
    carry is left out. Where images and labels come out of one folder, they are divided by their
    suffixes (`unmask.data.suffixes`). An image never pairs with itself, under whatever name.

    Args:
        images: images, or predictions.
        labels: labels; None if there are none.
        layout: the suffixes.
        problems: gets a line for everything that does not pair.
        notes: gets a line for every decision that the names alone do not settle.
        by_habit: one folder is divided by the suffixes that the field uses; otherwise only by
            those of ``layout``, because both sides are label images.
    """
    said = [] if notes is None else notes
    if labels is None:
        by_name = _by_name(image_files(images, said), layout.image_suffix, problems)
        return [(name, path, None) for name, path in by_name.items()]
    files = named_files(images)
    said += _state_files(images)
    truths = named_files(labels, labels=True)
    said += [note for note in _state_files(labels) if note not in said]
    suffixes = layout.image_suffix or layout.label_suffix
    every = _one_folder(files, truths) if by_habit or suffixes else None
    if every is not None:
        by_name, labels_by_name = _divided(every, files, truths, layout, problems, notes=said)
    else:
        by_name = _by_name(files, layout.image_suffix, problems)
        labels_by_name = _by_name(truths, layout.label_suffix, problems)
        if not (suffixes or by_name.keys() & labels_by_name.keys()):
            labels_by_name = _shortened(labels_by_name, by_name, "label", said)
            by_name = _shortened(by_name, labels_by_name, "image", said)
            labels_by_name = _of_several_endings(labels_by_name, by_name, said)
        by_name, labels_by_name = _without_outputs(by_name, labels_by_name, said)
    problems += _without_partner(by_name, labels_by_name)
    both = [name for name in by_name if name in labels_by_name]
    matched = [(name, by_name[name], labels_by_name[name]) for name in both]
    if by_habit:
        return _refuse_itself(matched, problems, _TWO)
    # Labels that are compared with themselves are a usual check of a report: allowed, but noted.
    said += grouped(
        [
            f"{labels}: compared with itself, so the scores say nothing about a prediction."
            for _, image, labels in matched
            if identities(image) & identities(labels)
        ]
    )
    return [(name, image, labels) for name, image, labels in matched]


def image_files(images: Paths, notes: list[str]) -> list[tuple[str, _File]]:
    """Names and paths of images without labels; what else a folder holds is reported in ``notes``.

    Raises:
        DataError: a path leads to nothing, or to a file of another kind.
    """
    notes += _state_files(images)
    return _without_labels(named_files(images), images, notes)


def match_tables(
    images: Paths,
    tables: Paths | None,
    layout: Layout,
    problems: list[str],
    *,
    notes: list[str] | None = None,
) -> list[tuple[str, _File, ImageClass | None]]:
    """Names with the paths of images and their classes; images without one are problems."""
    by_name = _by_name(named_files(images), layout.image_suffix, problems)
    if notes is not None:
        notes += _state_files(images)
    if tables is None:
        return [(name, path, None) for name, path in by_name.items()]
    known = classes_of(tables, layout.classes, problems)
    where = ", ".join(dict.fromkeys(map(str, listed(tables))))
    problems += [
        f"{path}: expected a line named {name!r} in {where}, found none. Add its class, or leave "
        "the image out."
        for name, path in by_name.items()
        if name not in known
    ]
    spare = len(known.keys() - by_name.keys())
    if spare and notes is not None:
        notes.append(f"{where}: {spare} line(s) are of images that are not given.")
    return [(name, path, known[name]) for name, path in by_name.items() if name in known]


def pairing(settings: Iterable[str]) -> Layout:
    """How label files pair, out of ``data.image_suffix`` and ``data.label_suffix`` settings.

    Formats of ``data.formats`` are added to those that can be read.

    Raises:
        RecipeError: any other setting, or a format that does not exist.
    """
    known = {"data.image_suffix": "", "data.label_suffix": "", "data.formats": ""}
    for line in settings:
        key, equals, text = line.partition("=")
        if not equals or key.strip() not in known:
            raise RecipeError(
                f"--set {line}: expected {' or '.join(f'{name}=VALUE' for name in known)}, found "
                "something else. Evaluation knows no other setting."
            )
        known[key.strip()] = text.strip()
    use_formats(TypeAdapter(Names).validate_python(known["data.formats"]))
    return Layout(
        0, image_suffix=known["data.image_suffix"], label_suffix=known["data.label_suffix"]
    )


def _by_name(
    files: Iterable[tuple[str, _File]], suffix: str, problems: list[str]
) -> dict[str, _File]:
    found: dict[str, _File] = {}
    for name, path in files:
        if suffix and name.endswith(suffix):
            name = name.removesuffix(suffix)
        if name in found:
            problems.append(_taken(path, name, found[name]))
        found[name] = path
    return found


def _taken(path: _File, name: str, other: _File) -> str:
    return (
        f"{path}: expected one file named {name!r}, found {other} as well. "
        "Rename one of them, outputs would overwrite each other."
    )


def _shortened(
    files: dict[str, _File], others: Mapping[str, _File], side: str, notes: list[str]
) -> dict[str, _File]:
    """Files without the suffix by which they differ from ``others``, if there is one."""
    suffix = common_suffix(files, others)
    if suffix is None:
        return files
    notes.append(f"{side}s pair without {suffix!r}, as by --set data.{side}_suffix={suffix}.")
    shorter = {name.removesuffix(suffix): path for name, path in files.items()}
    # A name that would be taken twice keeps its file; the audit tells that it has no partner.
    return shorter if len(shorter) == len(files) else files


def _of_several_endings(
    labels: dict[str, _File], images: Mapping[str, _File], notes: list[str]
) -> dict[str, _File]:
    """Labels by the names of their images, where each has an ending of its own."""
    if labels.keys() & images.keys():
        return labels
    whose = {name: derived(name, images) for name in labels}
    bases = {name: each.image for name, each in whose.items() if each and each.is_label}
    if not bases or len(set(bases.values())) < len(bases):
        return labels
    endings = sorted({each.ending for each in whose.values() if each and each.is_label})
    notes.append(f"labels pair without their endings {', '.join(map(repr, endings))}.")
    return {bases.get(name, name): path for name, path in labels.items()}


def _without_partner(images: Mapping[str, _File], labels: Mapping[str, _File]) -> list[str]:
    return [
        f"{path}: expected {what} named {name!r}, found none. "
        f"{_HINT if isinstance(path, str) else _IN_ORDER}"
        for what, own, other in (("labels", images, labels), ("an image", labels, images))
        for name, path in own.items()
        if name not in other
    ]


def _one_folder(
    files: Iterable[tuple[str, _File]], truths: Iterable[tuple[str, _File]]
) -> dict[str, _File] | None:
    """All files by name, where some are given as images and as labels; None where none are.

    None as well where one name is that of several files: these pair by their names.
    """
    sides = [{identities(path): (name, path) for name, path in side} for side in (files, truths)]
    if sides[0].keys().isdisjoint(sides[1]):
        return None
    every = list((sides[1] | sides[0]).values())
    return dict(every) if len(dict(every)) == len(every) else None


def _divided(
    every: Mapping[str, _File],
    files: Iterable[tuple[str, _File]],
    truths: Iterable[tuple[str, _File]],
    layout: Layout,
    problems: list[str],
    *,
    notes: list[str],
) -> tuple[dict[str, _File], dict[str, _File]]:
    """Images among ``files`` and labels among ``truths``, divided by their names."""
    image, label = layout.image_suffix, layout.label_suffix
    given = bool(image or label)
    parts = divide_by(every, image_suffix=image, label_suffix=label) if given else divide(every)
    problems += [
        f"{every[image]}: expected one label image, found {', '.join(several)}. Choose by "
        f"--set data.label_suffix=..., or move the others to another folder."
        for image, several in parts.several.items()
    ]
    if not parts.labels:
        # All are images, and each is reported to pair with itself.
        return dict(files), dict(truths)
    notes.append(_division_note(every, parts))
    # A link to the folder has the same names.
    images, labels = {name for name, _ in files}, {name for name, _ in truths}
    return (
        {own: every[n] for n, own in parts.images.items() if n in images - {*parts.several}},
        {own: every[n] for n, own in parts.labels.items() if n in labels},
    )


def _division_note(every: Mapping[str, _File], parts: Division) -> str:
    endings = sorted(
        {whose.ending for name in parts.labels if (whose := derived(name, every)) is not None}
    )
    by = f" by {', '.join(map(repr, endings))}" if endings else ""
    note = f"images and labels are in one folder, {len(parts.labels)} label image(s) pair{by}."
    if not parts.extra:
        return note
    return f"{note} Left out: {_some([str(every[name]) for name in parts.extra])}."


def _refuse_itself(
    matched: Iterable[tuple[str, _File, _File]], problems: list[str], advice: str
) -> list[tuple[str, _File, _File | None]]:
    """Pairs of two files; those of one file become problems."""
    kept: list[tuple[str, _File, _File | None]] = []
    for name, image, labels in matched:
        if identities(image) & identities(labels):
            other = "" if str(image) == str(labels) else f" (as {image})"
            problems.append(
                f"{labels}: expected two files, one of each side, found the image itself{other}. "
                f"{advice}"
            )
        else:
            kept.append((name, image, labels))
    return kept


def identities(path: _File) -> frozenset[object]:
    """What two inputs have in common when they lead to the same voxels; links count as their file.

    Of a container the array inside it counts as well, of an array its memory.
    """
    if not isinstance(path, ArrayInput):
        return frozenset(_identity(file) for file in files_of(path))
    data = path.data
    if isinstance(data, Image) and locate(data.source).path.exists():
        return frozenset(_identity(file) for file in files_of(data.source))
    if isinstance(data, np.ndarray):
        return frozenset({(data.ctypes.data, data.shape, data.strides)})
    return frozenset({id(data)})


def _identity(file: str) -> object:
    location = locate(file)
    try:
        state = os.stat(location.path)  # noqa: PTH116 - follows links, unlike entries of a folder
    except (OSError, ValueError):
        return file
    # Some file systems give no numbers to files.
    place = (state.st_dev, state.st_ino) if state.st_ino else os.path.realpath(location.path)
    return place, location.key


def _without_outputs(
    images: dict[str, _File], labels: dict[str, _File], notes: list[str]
) -> tuple[dict[str, _File], dict[str, _File]]:
    """Both sides without what programs write next to an image, where it has no partner."""
    paired = images.keys() & labels.keys()

    def kept(own: dict[str, _File], names: Collection[str], what: str) -> dict[str, _File]:
        extra = {
            name: path
            for name, path in own.items()
            if name not in paired
            and (whose := derived(_stem(name, path), names)) is not None
            and whose.image in paired
        }
        if extra:
            notes.append(
                f"{len(extra)} file(s) among the {what} left out, whose names say that they belong "
                f"to an image: {_some(map(str, extra.values()))}."
            )
        return {name: path for name, path in own.items() if name not in extra}

    return kept(images, images, "images"), kept(labels, images, "labels")


def _without_labels(
    files: Sequence[tuple[str, _File]], given: Paths, notes: list[str]
) -> list[tuple[str, _File]]:
    """Files without the label images and other outputs that a folder holds next to its images."""
    folders = {
        os.path.realpath(path)
        for path in as_inputs(given)
        if isinstance(path, str) and Path(path).is_dir() and format_of(locate(path)) is None
    }
    if not folders:
        return list(files)
    names = {name for name, _ in files}
    extra = [
        path
        for name, path in files
        if isinstance(path, str)
        and os.path.realpath(Path(path).parent) in folders
        and derived(name, names) is not None
    ]
    if extra:
        notes.append(
            f"{len(extra)} file(s) left out, whose names say that they are labels or other outputs "
            f"of images next to them: {_some(extra)}. Give them by name or glob to use them as "
            "images."
        )
    left = set(extra)
    return [(name, path) for name, path in files if path not in left]


def _state_files(paths: Paths) -> list[str]:
    """A note on files that Cellpose keeps its own state in."""
    found = [str(path) for path in left_out(paths)]
    if not found:
        return []
    return [
        f"{len(found)} file(s) of Cellpose left out, which hold its state and no image: "
        f"{_some(found)}. For labels choose File > Save masks as PNG/TIF in Cellpose."
    ]


def _stem(name: str, path: _File) -> str:
    return stem(path) if isinstance(path, str) else name


def _some(paths: Iterable[str]) -> str:
    every = list(paths)
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + more
