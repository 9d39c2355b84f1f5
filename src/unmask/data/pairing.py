"""Which files are an image and its labels: by their names, one folder or two, tables and lists."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unmask.data.arrange import images_of, labels_below, labels_in
from unmask.data.channel_choice import EVERY, ChannelChoice
from unmask.data.channel_files import join_channels, join_named
from unmask.data.drawn import label_files
from unmask.data.grid import AS_IT_IS, View
from unmask.data.identity import identities
from unmask.data.left_out import state_files, without_labels
from unmask.data.naming import (
    File,
    LabelFile,
    files_by_name,
    name_alike,
    only_labels,
    outlines_next_to,
)
from unmask.data.tables import ImageClass, classes_of, list_paths
from unmask.errors import RecipeError, message
from unmask.io import Image, use_formats
from unmask.io.inputs import ArrayInput, Inputs, as_inputs
from unmask.io.paths import in_store, named_files
from unmask.wording import format_count

# A path or array, or several of them.
Paths = Inputs
# Settings by which labels pair outside of a recipe.
_SETTINGS: tuple[str, ...] = (
    "data.image_suffix",
    "data.label_suffix",
    "data.label_offset",
    "data.axes",
    "data.formats",
)
# What messages call the partner of a label file, labels, and files: of images, or of predictions.
_PARTNERS = {
    True: ("an image", "labels", "image"),
    False: ("a prediction", "true labels", "prediction"),
}
# Names that a message shows.
_SHOWN = 5

# What to do about names that do not pair, by `Layout.settable`.
_HINTS = {
    True: "Pair by equal stems; give --set data.label_suffix=... or data.image_suffix=... "
    "if one side has a suffix.",
    False: "Pair by equal stems: rename one of the two, or give one label image and its image, "
    "which pair under any names.",
}
_IN_ORDER = "Arrays pair in order: give as many labels as images, or paths on both sides."
_TWO = (
    "Put the labels into a folder of their own; or end their names in one of the usual suffixes, "
    "such as x.png and x_masks.png{}. Of one container name both arrays: x.h5:raw and x.h5:labels."
)
_NAMED = "; or name the suffix: --set data.label_suffix=_masks"


@dataclass(frozen=True)
class Pair:
    """One image, with its labels if it has any; nothing is read yet."""

    name: str
    image: Image
    labels: Image | None = None


@dataclass(frozen=True)
class Layout:
    """How to read files.

    Attributes:
        ndim: number of spatial axes.
        axes: axes of the files if the files do not name them.
        image_suffix: end of image stems that is not part of the name.
        label_suffix: end of label stems that is not part of the name.
        classes: names of the classes of whole images, which tables give instead of label
            images; see ``unmask.data.tables``.
        view: the region and the grid that the network sees, see `apply_view`.
        allow_external: read HDF5 and Zarr files whose values are in other files.
        label_offset: where the first voxel of the labels is in the image, in voxels; None: as
            the files say.
        planes: axis of stacks whose positions are read separately: "z" for slices, "t" for time
            points, "auto" for time points alone; None: no stacks. See ``unmask.io.stacks``.
        channels: channels of the files that are used.
        settable: whether the user can change this with ``--set``, as messages then advise.
    """

    ndim: int
    axes: str | None = None
    image_suffix: str = ""
    label_suffix: str = ""
    classes: tuple[str, ...] = ()
    view: View = AS_IT_IS
    allow_external: bool = False
    label_offset: tuple[int, ...] | None = None
    planes: str | None = None
    channels: ChannelChoice = EVERY
    settable: bool = True


def match_files(
    images: Paths,
    labels: Paths | None,
    layout: Layout,
    problems: list[str],
    *,
    notes: list[str] | None = None,
    unlabeled: list[str] | None = None,
    by_habit: bool = True,
) -> list[tuple[str, File, LabelFile | None]]:
    """Names with the paths of image and labels.

    If no two names are equal and no suffix is set, the suffix that most files of one side share is
    ignored. Images and labels in one folder are distinguished by their suffixes
    (`unmask.data.suffixes`). One image and one label file pair under any name. An image never pairs
    with itself, under whatever name.

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
        found = image_files(images, notes, problems, wanted=layout.channels.wanted)
        by_name = files_by_name(found, layout.image_suffix, problems)
        return [(name, path, None) for name, path in by_name.items()]
    files, truths = _list_both(images, labels, layout, problems, notes, by_habit=by_habit)
    suffixes = layout.image_suffix, layout.label_suffix
    doubts: list[str] = []
    habits = {"by_habit": by_habit, "settable": layout.settable}
    by_name, by_label = name_alike(files, truths, suffixes, problems, doubts, **habits)
    if [*as_inputs(images), *as_inputs(labels)] != [path for _, path in (*files, *truths)][:2]:
        # What was given file by file needs no explanation.
        notes += doubts
    both = [name for name in by_name if name in by_label]
    arrays = {name: path for name, path in by_name.items() if isinstance(path, ArrayInput)}
    what, hint = _PARTNERS[by_habit], _HINTS[layout.settable]
    problems += _without_partner("labels", arrays, by_label, hint)
    without = [p for name, p in by_name.items() if name not in {*by_label, *arrays}]
    if both or not (without and by_label):
        problems += _without_partner(what[0], by_label, by_name, hint)
        unlabeled += map(str, without)
    else:
        problems.append(_no_names_fit(without, [*by_label.values()], labels, what, hint))
    matched = [(name, by_name[name], by_label[name]) for name in both]
    if by_habit:
        return _refuse_itself(matched, problems, _TWO.format(_NAMED if layout.settable else ""))
    notes += _itself_notes(matched)
    return [(name, image, labels) for name, image, labels in matched]


def _itself_notes(matched: Iterable[tuple[str, File, LabelFile]]) -> list[str]:
    """Labels that are compared with themselves, a usual check of a report: allowed, but noted."""
    return [
        f"{labels}: compared with itself, so the scores say nothing about a prediction."
        for _, image, labels in matched
        if identities(image) & identities(labels)
    ]


def _list_both(
    images: Paths,
    labels: Paths,
    layout: Layout,
    problems: list[str],
    notes: list[str],
    *,
    by_habit: bool,
) -> tuple[list[tuple[str, File]], list[tuple[str, LabelFile]]]:
    """List the files of images and labels with their names."""
    if by_habit:
        images, labels = images_of(images), labels_below(labels)
    else:
        labels = labels_in(labels)
    files, truths = named_files(images), label_files(labels)
    notes += dict.fromkeys([*state_files(images), *state_files(labels)])
    if by_habit:
        files = join_named(files, layout.channels.wanted, problems, notes)
        files = join_channels(files, {name for name, _ in truths}, problems)
        return files, outlines_next_to(files, truths) or truths
    # Both sides are labels, which may lie in the stores of their images.
    files = [(name, in_store(file) if isinstance(file, str) else file) for name, file in files]
    if not (layout.image_suffix or layout.label_suffix):
        return only_labels(files, truths, notes), only_labels(truths, files, notes)
    return files, truths


def image_files(
    images: Paths,
    notes: list[str],
    problems: list[str] | None = None,
    *,
    wanted: Sequence[int | str] | None = None,
) -> list[tuple[str, File]]:
    """Names and paths of images without labels; what else a folder holds is reported in ``notes``.

    Args:
        images: images, or a folder that holds images and labels in a known layout.
        notes: gets a line on what is left out.
        problems: gets a line for each image that lacks a channel that others have.
        wanted: requested channels; files may be named after them.

    Raises:
        DataError: a path leads to nothing, or to a file of another kind.
    """
    images = images_of(images)
    notes += state_files(images)
    problems = [] if problems is None else problems
    files = join_named(named_files(images), wanted, problems, notes)
    files = join_channels(files, (), problems)
    return without_labels(files, images, notes)


def match_tables(
    images: Paths,
    tables: Paths | None,
    layout: Layout,
    problems: list[str],
    *,
    notes: list[str] | None = None,
) -> list[tuple[str, File, ImageClass | None]]:
    """Names with the paths of images and their classes; images without one are problems."""
    by_name = files_by_name(named_files(images), layout.image_suffix, problems)
    if notes is not None:
        notes += state_files(images)
    if tables is None:
        return [(name, path, None) for name, path in by_name.items()]
    before = len(problems)
    known = classes_of(tables, layout.classes, problems)
    if not known and len(problems) > before:
        return []
    where = ", ".join(dict.fromkeys(map(str, list_paths(tables))))
    if by_name and known and not by_name.keys() & known.keys():
        problems.append(_no_lines_fit(list(by_name), list(known), where))
        return []
    problems += [
        f"{path}: expected a line named {name!r} in {where}, found none. Add its class, or leave "
        "the image out."
        for name, path in by_name.items()
        if name not in known
    ]
    spare = len(known.keys() - by_name.keys())
    if spare and notes is not None:
        lines = format_count(spare, "line is", "lines are")
        notes.append(f"{where}: {lines} of images that are not given.")
    return [(name, path, known[name]) for name, path in by_name.items() if name in known]


def pairing(settings: Iterable[str]) -> Layout:
    """How label files pair and are read, from the settings of an evaluation.

    They are ``data.image_suffix``, ``data.label_suffix``, ``data.label_offset`` and ``data.axes``.
    Formats of ``data.formats`` are added to those that can be read.

    Raises:
        RecipeError: any other setting, or a format that does not exist.
    """
    known = dict.fromkeys(_SETTINGS, "")
    for line in settings:
        key, equals, text = line.partition("=")
        if not equals or key.strip() not in known:
            raise RecipeError(
                f"--set {line}: expected {' or '.join(f'{name}=VALUE' for name in known)}, found "
                "something else. Evaluation knows no other setting."
            )
        known[key.strip()] = text.strip()
    if known["data.formats"]:
        # Pydantic takes 0.05 s of processor time, and few evaluations name formats.
        from unmask.recipe_text import read_names

        use_formats(read_names(known["data.formats"]))
    return Layout(
        0,
        image_suffix=known["data.image_suffix"],
        label_suffix=known["data.label_suffix"],
        label_offset=_offset(known["data.label_offset"]),
        axes=known["data.axes"] or None,
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


def _without_partner(
    what: str, own: Mapping[str, object], others: Collection[str], hint: str
) -> list[str]:
    return [
        f"{path}: expected {what} named {name!r}, found none. "
        f"{_IN_ORDER if isinstance(path, ArrayInput) else hint}"
        for name, path in own.items()
        if name not in others
    ]


def _no_lines_fit(images: Sequence[str], lines: Sequence[str], where: str) -> str:
    """The message where no line of a table has the name of an image."""
    return message(
        where,
        expected=f"lines with the names of the {format_count(len(images), 'image')}, "
        f"{_some_names(images)}",
        found=f"{_some_names(lines)}, so that no name fits",
        do="The column name has the file names of the images, with or without folder and suffix.",
    )


def _no_names_fit(
    images: Sequence[File],
    files: Sequence[LabelFile],
    labels: Paths,
    what: tuple[str, ...],
    hint: str,
) -> str:
    """The message where no label has the name of an image, or of a prediction."""
    one = len(files) == 1 and len(images) > 1
    return message(
        ", ".join(str(path) for path in as_inputs(labels)[:_SHOWN]),
        expected=f"{what[1]} with the names of the {format_count(len(images), what[2])}, "
        f"{_some_names(images)}",
        found=f"{_some_names(files)}, so that no name fits",
        do=f"{'Each image needs labels of its own. ' if one else ''}{hint}",
    )


def _some_names(paths: Sequence[LabelFile]) -> str:
    shown = [Path(str(path)).name for path in paths[:_SHOWN]]
    return ", ".join([*shown, "..."] if len(paths) > _SHOWN else shown)


def _refuse_itself(
    matched: Iterable[tuple[str, File, LabelFile]], problems: list[str], advice: str
) -> list[tuple[str, File, LabelFile | None]]:
    """Pairs of two files; those of one file become problems."""
    pairs: list[tuple[str, File, LabelFile | None]] = []
    for name, image, labels in matched:
        if identities(image) & identities(labels):
            other = "" if str(image) == str(labels) else f" (as {image})"
            problems.append(
                f"{labels}: expected two files, one of each side, found the image itself{other}. "
                f"{advice}"
            )
        else:
            pairs.append((name, image, labels))
    return pairs
