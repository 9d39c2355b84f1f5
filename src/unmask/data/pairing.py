"""Which files are an image and its labels: by their names, one folder or two, tables and lists."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from unmask.data.arrange import images_of, labels_in
from unmask.data.channel_files import join_channels
from unmask.data.drawn import DrawnLabels, label_files, names_inside, outlines_in
from unmask.data.grid import AS_IT_IS, View
from unmask.data.identity import identities
from unmask.data.left_out import some_paths, state_files, without_labels, without_outputs
from unmask.data.suffixes import Division, common_suffix, derived, divide, divide_by
from unmask.data.tables import ImageClass, classes_of, listed
from unmask.errors import RecipeError, message
from unmask.io import Image
from unmask.io.inputs import ArrayInput, Inputs, as_inputs
from unmask.io.paths import named_files

# A path or array, or several of them.
Paths = Inputs
_File = str | ArrayInput
_Truth = str | ArrayInput | DrawnLabels
_Any = TypeVar("_Any", str | ArrayInput, str | ArrayInput | DrawnLabels)
# Names that a message shows.
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
        label_offset: where the first voxel of the labels is in the image, in voxels; None: as
            the files say.
    """

    ndim: int
    axes: str | None = None
    image_suffix: str = ""
    label_suffix: str = ""
    classes: tuple[str, ...] = ()
    view: View = AS_IT_IS
    allow_external: bool = False
    label_offset: tuple[int, ...] | None = None


def match_files(
    images: Paths,
    labels: Paths | None,
    layout: Layout,
    problems: list[str],
    *,
    notes: list[str] | None = None,
    unlabeled: list[str] | None = None,
    by_habit: bool = True,
) -> list[tuple[str, _File, _Truth | None]]:
    """Names with the paths of image and labels.

    Where no two names are equal and none of the suffixes is set, the one that most files of a side
    carry is left out. Where images and labels come out of one folder, they are divided by their
    suffixes (`unmask.data.suffixes`). One image and one label file pair under any name. An image
    never pairs with itself, under whatever name.

    Args:
        images: images, or predictions.
        labels: labels; None if there are none.
        layout: the suffixes.
        problems: gets a line for labels without an image and whatever else does not pair; images
            without labels are a problem only if no image has labels.
        notes: gets a line for every decision that the names alone do not settle.
        unlabeled: gets the images without labels.
        by_habit: one folder is divided by the suffixes that the field uses; otherwise only by
            those of ``layout``, because both sides are label images.
    """
    notes = [] if notes is None else notes
    unlabeled = [] if unlabeled is None else unlabeled
    if labels is None:
        by_name = _by_name(image_files(images, notes, problems), layout.image_suffix, problems)
        return [(name, path, None) for name, path in by_name.items()]
    if by_habit:
        images = images_of(images)
    files, truths = named_files(images), label_files(labels if by_habit else labels_in(labels))
    notes += state_files(images)
    notes += [note for note in state_files(labels) if note not in notes]
    if by_habit:
        files = join_channels(files, {name for name, _ in truths}, problems)
    elif not (layout.image_suffix or layout.label_suffix):
        files, truths = _only_labels(files, truths, notes), _only_labels(truths, files, notes)
    if drawn := _outlines_next_to(files, truths) if by_habit else []:
        truths = drawn
    by_name, by_label = _named_alike(files, truths, layout, problems, notes, by_habit=by_habit)
    both = [name for name in by_name if name in by_label]
    problems += _without_partner("an image", by_label, by_name)
    arrays = {name: path for name, path in by_name.items() if isinstance(path, ArrayInput)}
    problems += _without_partner("labels", arrays, by_label)
    without = [p for name, p in by_name.items() if name not in {*by_label, *arrays}]
    if both:
        unlabeled += map(str, without)
    elif without:
        problems.append(_no_labels_at_all(without, labels))
    matched = [(name, by_name[name], by_label[name]) for name in both]
    if by_habit:
        return _refuse_itself(matched, problems, _TWO)
    # Labels that are compared with themselves are a usual check of a report: allowed, but noted.
    notes += [
        f"{labels}: compared with itself, so the scores say nothing about a prediction."
        for _, image, labels in matched
        if identities(image) & identities(labels)
    ]
    return [(name, image, labels) for name, image, labels in matched]


def _only_labels(
    files: list[tuple[str, _Any]], others: Iterable[tuple[str, object]], notes: list[str]
) -> list[tuple[str, _Any]]:
    """The label images of a folder that holds images as well, under the names of these.

    A folder in which the other side has every name holds label images alone.
    """
    names = [name for name, _ in files]
    labels = divide(names).labels
    if not labels or set(names) <= {name for name, _ in others} or len(set(names)) < len(names):
        return files
    rest = [str(path) for name, path in files if name not in labels]
    notes.append(f"{len(rest)} file(s) next to label images left out: {some_paths(rest)}.")
    return [(labels[name], path) for name, path in files if name in labels]


def _outlines_next_to(
    files: Sequence[tuple[str, _File]], truths: Sequence[tuple[str, _Truth]]
) -> list[tuple[str, _Truth]]:
    """Outlines in the one folder that was given for images and labels, as LabelMe saves them."""
    if list(files) != list(truths) or divide([name for name, _ in files]).labels:
        return []
    folders = dict.fromkeys(Path(path).parent for _, path in files if isinstance(path, str))
    return [(name, path) for folder in folders for name, path in outlines_in(folder)]


def _named_alike(
    files: list[tuple[str, _File]],
    truths: list[tuple[str, _Truth]],
    layout: Layout,
    problems: list[str],
    notes: list[str],
    *,
    by_habit: bool,
) -> tuple[dict[str, _File], dict[str, _Truth]]:
    """Images and labels by name, so that those that belong together have the same one."""
    suffixes = layout.image_suffix or layout.label_suffix
    every = _one_folder(files, truths) if by_habit or suffixes else None
    if every is not None:
        return _divided(every, files, truths, layout, problems, notes=notes)
    by_name = _by_name(files, layout.image_suffix, problems)
    by_label = _by_name(truths, layout.label_suffix, problems)
    if not (suffixes or by_name.keys() & by_label.keys()):
        if len(by_label) == 1 and (several := _of_one_file(by_name, by_label)):
            return by_name, several
        by_label = _shortened(by_label, by_name, "label", notes)
        by_name = _shortened(by_name, by_label, "image", notes)
        by_label = _of_several_endings(by_label, by_name, notes)
        if len(files) == len(truths) == 1 and by_name.keys() != by_label.keys():
            # Nothing else can be meant.
            notes.append(f"{files[0][1]}: its labels are the only ones given, {truths[0][1]}.")
            by_label = dict(zip(by_name, by_label.values(), strict=True))
    return without_outputs(by_name, by_label, notes)


def _of_one_file(
    images: Mapping[str, _File], labels: Mapping[str, _Truth]
) -> dict[str, _Truth] | None:
    """Labels by the names of their images, from one file for several images; None: it is not."""
    (file,) = labels.values()
    inside = names_inside(file) if isinstance(file, DrawnLabels) else None
    if not isinstance(file, DrawnLabels) or inside is None:
        return None
    if len(images) == len(inside) == 1:
        return dict.fromkeys(images, DrawnLabels(file.path, *inside))
    return {name: DrawnLabels(file.path, name) for name in images if name in inside}


def image_files(
    images: Paths, notes: list[str], problems: list[str] | None = None
) -> list[tuple[str, _File]]:
    """Names and paths of images without labels; what else a folder holds is reported in ``notes``.

    Args:
        images: images, or a folder that holds images and labels in a known layout.
        notes: gets a line on what is left out.
        problems: gets a line for each image that lacks a channel that others have.

    Raises:
        DataError: a path leads to nothing, or to a file of another kind.
    """
    images = images_of(images)
    notes += state_files(images)
    files = join_channels(named_files(images), (), [] if problems is None else problems)
    return without_labels(files, images, notes)


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
        notes += state_files(images)
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
    """How label files pair, from the settings ``data.image_suffix``, ``label_suffix``, ``_offset``.

    Raises:
        RecipeError: any other setting.
    """
    known = {"data.image_suffix": "", "data.label_suffix": "", "data.label_offset": ""}
    for line in settings:
        key, equals, text = line.partition("=")
        if not equals or key.strip() not in known:
            raise RecipeError(
                f"--set {line}: expected {' or '.join(f'{name}=SUFFIX' for name in known)}, found "
                "something else. Evaluation knows no other setting."
            )
        known[key.strip()] = text.strip()
    return Layout(
        0,
        image_suffix=known["data.image_suffix"],
        label_suffix=known["data.label_suffix"],
        label_offset=_offset(known["data.label_offset"]),
    )


def _offset(text: str) -> tuple[int, ...] | None:
    """The voxels of a setting such as ``[3,0,0]``."""
    try:
        values = ast.literal_eval(text) if text and text != "null" else None
        return None if values is None else tuple(map(int, values))
    except (ValueError, SyntaxError, TypeError) as error:
        raise RecipeError(
            f"--set data.label_offset={text}: expected whole numbers of voxels, slow axis first, "
            "found something else. Write for example data.label_offset=[3,0,0]."
        ) from error


def _by_name(
    files: Iterable[tuple[str, _Any]], suffix: str, problems: list[str]
) -> dict[str, _Any]:
    found: dict[str, _Any] = {}
    for name, path in files:
        if suffix and name.endswith(suffix):
            name = name.removesuffix(suffix)
        if name in found:
            problems.append(
                message(
                    f"{found[name]} and {path}",
                    expected=f"one file named {name!r}",
                    found="two",
                    do="Rename one of them or move it to another folder.",
                )
            )
        found[name] = path
    return found


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


def _without_partner(what: str, own: Mapping[str, _Any], others: Collection[str]) -> list[str]:
    return [
        f"{path}: expected {what} named {name!r}, found none. "
        f"{_IN_ORDER if isinstance(path, ArrayInput) else _HINT}"
        for name, path in own.items()
        if name not in others
    ]


def _no_labels_at_all(images: Sequence[_File], labels: Paths) -> str:
    shown = ", ".join(Path(str(path)).name for path in images[:_SHOWN])
    more = ", ..." if len(images) > _SHOWN else ""
    return message(
        ", ".join(str(path) for path in as_inputs(labels)[:_SHOWN]),
        expected=f"labels of {len(images)} image(s) ({shown}{more})",
        found="none whose name fits",
        do=_HINT,
    )


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
    return f"{note} Left out: {some_paths([str(every[name]) for name in parts.extra])}."


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
