"""Names by which images and labels pair: suffixes, one folder for both, one file for several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from unmask.data.drawn import DrawnLabels, names_inside, outlines_in
from unmask.data.identity import identities
from unmask.data.left_out import some_paths, without_outputs
from unmask.data.suffixes import Division, common_suffix, derive, divide, divide_by
from unmask.errors import message
from unmask.io.inputs import ArrayInput
from unmask.wording import format_count

File = str | ArrayInput
LabelFile = str | ArrayInput | DrawnLabels
_Any = TypeVar("_Any", bound=LabelFile)


def only_labels(
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
    notes.append(
        f"{format_count(len(rest), 'file')} next to label images left out: {some_paths(rest)}."
    )
    return [(labels[name], path) for name, path in files if name in labels]


def outlines_next_to(
    files: Sequence[tuple[str, File]], truths: Sequence[tuple[str, LabelFile]]
) -> list[tuple[str, LabelFile]]:
    """Outlines in the one folder that was given for images and labels, as LabelMe saves them."""
    if list(files) != list(truths) or divide([name for name, _ in files]).labels:
        return []
    folders = dict.fromkeys(Path(path).parent for _, path in files if isinstance(path, str))
    return [(name, path) for folder in folders for name, path in outlines_in(folder)]


def name_alike(
    files: Sequence[tuple[str, File]],
    truths: Sequence[tuple[str, LabelFile]],
    suffixes: tuple[str, str],
    problems: list[str],
    notes: list[str],
    *,
    by_habit: bool,
    settable: bool,
) -> tuple[dict[str, File], dict[str, LabelFile]]:
    """Images and labels by name, so that those that belong together have the same one.

    Args:
        files: images, or predictions.
        truths: labels.
        suffixes: ends of image stems and of label stems that are not part of the name.
        problems: gets a line for names that come twice.
        notes: gets a line for every decision that the names alone do not settle.
        by_habit: one folder is divided by the suffixes that the field uses.
        settable: whether the user can give suffixes, as messages then advise.
    """
    every = _merge_if_shared(files, truths) if by_habit or any(suffixes) else None
    if every is not None:
        habits: dict[str, Any] = {"notes": notes, "settable": settable}
        return _divide_folder(every, files, truths, suffixes, problems, **habits)
    by_name = files_by_name(files, suffixes[0], problems)
    by_label = files_by_name(truths, suffixes[1], problems)
    if not (any(suffixes) or by_name.keys() & by_label.keys()):
        if len(by_label) == 1 and (several := _split_labels_file(by_name, by_label)):
            return by_name, several
        by_label = _remove_suffix(by_label, by_name, "label", notes, settable=settable)
        by_name = _remove_suffix(by_name, by_label, "image", notes, settable=settable)
        by_label = _remove_endings(by_label, by_name, notes)
        if len(files) == len(truths) == 1 and by_name.keys() != by_label.keys():
            # Nothing else can be meant.
            notes.append(f"{files[0][1]}: its labels are the only ones, {truths[0][1]}.")
            by_label = dict(zip(by_name, by_label.values(), strict=True))
    return without_outputs(by_name, by_label, notes)


def _split_labels_file(
    images: Mapping[str, File], labels: Mapping[str, LabelFile]
) -> dict[str, LabelFile] | None:
    """Labels by the names of their images from one file for several images, else None."""
    (file,) = labels.values()
    inside = names_inside(file) if isinstance(file, DrawnLabels) else None
    if not isinstance(file, DrawnLabels) or inside is None:
        return None
    if len(images) == len(inside) == 1:
        return dict.fromkeys(images, DrawnLabels(file.path, *inside))
    return {name: DrawnLabels(file.path, name) for name in images if name in inside}


def _remove_suffix(
    files: dict[str, _Any],
    others: Mapping[str, object],
    side: str,
    notes: list[str],
    *,
    settable: bool,
) -> dict[str, _Any]:
    """Remove the suffix by which names differ from ``others``, if there is one."""
    suffix = common_suffix(files, others)
    if suffix is None:
        return files
    same = f", as by --set data.{side}_suffix={suffix}" if settable else ""
    notes.append(f"{side}s pair without {suffix!r}{same}.")
    shorter = {name.removesuffix(suffix): path for name, path in files.items()}
    # A name that would be taken twice keeps its file; the audit reports that it has no partner.
    return shorter if len(shorter) == len(files) else files


def _remove_endings(
    labels: dict[str, LabelFile], images: Mapping[str, File], notes: list[str]
) -> dict[str, LabelFile]:
    """Labels by the names of their images if endings differ from file to file."""
    if labels.keys() & images.keys():
        return labels
    whose = {name: derive(name, images) for name in labels}
    bases = {name: each.image for name, each in whose.items() if each and each.is_label}
    if not bases or len(set(bases.values())) < len(bases):
        return labels
    endings = sorted({each.ending for each in whose.values() if each and each.is_label})
    notes.append(f"labels pair without their endings {', '.join(map(repr, endings))}.")
    return {bases.get(name, name): path for name, path in labels.items()}


def _merge_if_shared(
    files: Iterable[tuple[str, LabelFile]], truths: Iterable[tuple[str, LabelFile]]
) -> dict[str, File] | None:
    """All files by name if some are given both as images and as labels; otherwise None.

    Also None if several files share a name: they pair by their names.
    """
    sides = [{identities(path): (name, path) for name, path in side} for side in (files, truths)]
    if sides[0].keys().isdisjoint(sides[1]):
        return None
    merged = (sides[1] | sides[0]).values()
    every = [(name, path) for name, path in merged if not isinstance(path, DrawnLabels)]
    return dict(every) if len(dict(every)) == len(every) else None


def _divide_folder(
    every: Mapping[str, File],
    files: Iterable[tuple[str, File]],
    truths: Iterable[tuple[str, LabelFile]],
    suffixes: tuple[str, str],
    problems: list[str],
    *,
    notes: list[str],
    settable: bool,
) -> tuple[dict[str, File], dict[str, LabelFile]]:
    """Images among ``files`` and labels among ``truths``, divided by their names."""
    image, label = suffixes
    given = any(suffixes)
    parts = divide_by(every, image_suffix=image, label_suffix=label) if given else divide(every)
    do = "Move the others to another folder"
    if settable:
        do = "Choose by --set data.label_suffix=..., or move the others to another folder"
    problems += [
        f"{every[image]}: expected one label image, found {', '.join(several)}. {do}."
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


def _division_note(every: Mapping[str, File], parts: Division) -> str:
    endings = sorted(
        {whose.ending for name in parts.labels if (whose := derive(name, every)) is not None}
    )
    by = f" by {', '.join(map(repr, endings))}" if endings else ""
    pairs = format_count(len(parts.labels), "label image pairs", "label images pair")
    note = f"images and labels are in one folder, {pairs}{by}."
    if not parts.extra:
        return note
    return f"{note} Left out: {some_paths([str(every[name]) for name in parts.extra])}."


def files_by_name(
    files: Iterable[tuple[str, _Any]], suffix: str, problems: list[str]
) -> dict[str, _Any]:
    """Map names without ``suffix`` to files; a repeated name is a problem."""
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
