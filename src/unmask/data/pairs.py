"""Images and labels that belong together, and the audit of a folder before training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from unmask.data.channels import check_channels, match_channels
from unmask.data.finite import check_finite
from unmask.data.portions import portions
from unmask.data.suffixes import common_suffix
from unmask.data.tables import ImageClass, classes_of, listed
from unmask.data.view import AS_IT_IS, View
from unmask.errors import DataError, RecipeError, SaveError, gather
from unmask.io import Image, open_image, open_labels, output_name
from unmask.io.orientation import apart
from unmask.io.paths import locate, named_files
from unmask.io.several import files_of
from unmask.io.unwritten import unwritten

# Share of a voxel by which image and labels may lie apart: headers are rounded.
_APART = 0.5

Paths = str | Path | Sequence[str | Path]
# Labels (*space) and voxel size to values and weight.
Encode = Callable[[np.ndarray, tuple[float, ...] | None], tuple[np.ndarray, np.ndarray]]


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


@dataclass(frozen=True)
class Audit:
    """What a folder holds and everything that is wrong with it.

    Attributes:
        pairs: the pairs without problems.
        problems: one line each; training refuses while there are any.
        notes: one line each; worth knowing, no reason to refuse.
    """

    pairs: list[Pair]
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def open_pairs(
    images: Paths, labels: Paths | None, layout: Layout, *, channels: int | None = None
) -> list[Pair]:
    """Pair files by stem, open their headers and compare their shapes.

    Args:
        images: file, folder, glob, OME-Zarr, or several of them.
        labels: the same for labels; None where there are none.
        layout: how files are to be understood.
        channels: channels that the network sees; None: any.

    Raises:
        DataError: every problem of every file at once.
    """
    audit = audit_pairs(images, labels, layout, channels=channels)
    if audit.problems:
        raise DataError(gather(audit.problems, heading=f"{len(audit.problems)} problem(s) found:"))
    return audit.pairs


def audit_pairs(
    images: Paths,
    labels: Paths | None,
    layout: Layout,
    *,
    read: bool = False,
    channels: int | None = None,
    encode: Encode | None = None,
) -> Audit:
    """Pair files by stem and collect all problems instead of stopping at the first.

    Args:
        images: file, folder, glob, OME-Zarr, or several of them.
        labels: the same for labels; None where there are none.
        layout: how files are to be understood.
        read: decode every file whole, as ``unmask check`` does; otherwise headers only.
        channels: channels that the network sees; None: any.
        encode: the task's targets; with ``read``, it is asked whether it knows every label value.
    """
    problems: list[str] = []
    notes: list[str] = []
    match = match_tables if layout.classes else match_files
    audit = Audit([], problems, notes)
    for name, image_path, truth in match(images, labels, layout, problems, notes=notes):
        try:
            pair = _open(name, image_path, truth, layout)
            if channels is not None:
                check_channels(pair.image.shape[0], channels, source=pair.image.source)
            if read:
                audit.notes.extend(_inspect(pair, channels, encode))
            audit.pairs.append(pair)
        except (DataError, ImportError) as error:
            problems.append(str(error))
    return audit


def match_files(
    images: Paths,
    labels: Paths | None,
    layout: Layout,
    problems: list[str],
    *,
    notes: list[str] | None = None,
) -> list[tuple[str, str, str | None]]:
    """Names with the paths of image and labels; what does not pair is added to ``problems``.

    Where no two names are equal and none of the suffixes is set, the one that most files of a side
    carry is left out, and told in ``notes``.
    """
    by_name = _by_name(images, layout.image_suffix, problems)
    if labels is None:
        return [(name, path, None) for name, path in by_name.items()]
    labels_by_name = _by_name(labels, layout.label_suffix, problems, labels=True)
    if not (layout.image_suffix or layout.label_suffix or by_name.keys() & labels_by_name.keys()):
        told = [] if notes is None else notes
        labels_by_name = _shortened(labels_by_name, by_name, "label", told)
        by_name = _shortened(by_name, labels_by_name, "image", told)
    hint = (
        "Pair by equal stems; give --set data.label_suffix=... or data.image_suffix=... "
        "where one side carries a suffix."
    )
    problems += [
        f"{path}: expected labels named {name!r}, found none. {hint}"
        for name, path in by_name.items()
        if name not in labels_by_name
    ]
    problems += [
        f"{path}: expected an image named {name!r}, found none. {hint}"
        for name, path in labels_by_name.items()
        if name not in by_name
    ]
    both = [name for name in by_name if name in labels_by_name]
    return [(name, by_name[name], labels_by_name[name]) for name in both]


def match_tables(
    images: Paths,
    tables: Paths | None,
    layout: Layout,
    problems: list[str],
    *,
    notes: list[str] | None = None,
) -> list[tuple[str, str, ImageClass | None]]:
    """Names with the paths of images and their classes; images without one are problems."""
    by_name = _by_name(images, layout.image_suffix, problems)
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


def _shortened(
    files: dict[str, str], others: Mapping[str, str], side: str, notes: list[str]
) -> dict[str, str]:
    """Files without the suffix by which they differ from ``others``, if there is one."""
    suffix = common_suffix(files, others)
    if suffix is None:
        return files
    notes.append(f"{side}s pair without {suffix!r}, as by --set data.{side}_suffix={suffix}.")
    shorter = {name.removesuffix(suffix): path for name, path in files.items()}
    # A name that would be taken twice keeps its file; the audit tells that it has no partner.
    return shorter if len(shorter) == len(files) else files


def _by_name(
    paths: Paths, suffix: str, problems: list[str], *, labels: bool = False
) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, path in named_files(paths, labels=labels):
        if suffix and name.endswith(suffix):
            name = name.removesuffix(suffix)
        if name in found:
            problems.append(
                f"{path}: expected one file named {name!r}, found {found[name]} as well. "
                "Rename one of them, outputs would overwrite each other."
            )
        found[name] = path
    return found


def _open(name: str, image_path: str, truth: str | ImageClass | None, layout: Layout) -> Pair:
    allowed = layout.allow_external
    image = open_image(image_path, axes=layout.axes, ndim=layout.ndim, allow_external=allowed)
    layout.view.check(image)
    if truth is None:
        return Pair(name, image)
    if isinstance(truth, ImageClass):
        return Pair(name, image, truth.labels(image))
    labels = open_labels(truth, ndim=layout.ndim, allow_external=allowed)
    if labels.shape[1:] != image.shape[1:]:
        raise DataError(
            f"{truth}: expected the size of its image {image_path}, {image.shape[1:]}, "
            f"found {labels.shape[1:]}. Give labels of the same size and axis order."
        )
    check_place(labels, image)
    return Pair(name, image, labels)


def viewed(pairs: Sequence[Pair], view: View) -> list[Pair]:
    """Pairs as the network sees them, on the grid of ``view``; nothing is read but its box.

    Raises:
        DataError: images of unknown voxel size, or that cannot be read; all at once.
    """
    found: list[Pair] = []
    problems: list[str] = []
    for pair in pairs:
        try:
            place = view.place(pair.image)
        except DataError as error:
            problems.append(str(error))
            continue
        labels = None if pair.labels is None else place.seen_labels(pair.labels)
        found.append(Pair(pair.name, place.seen(pair.image), labels))
    if problems:
        raise DataError(gather(problems, heading=f"{len(problems)} problem(s) found:"))
    return found


def check_place(labels: Image, image: Image) -> None:
    """Refuse labels whose file puts them elsewhere in the body than their image.

    Raises:
        DataError: corners are more than half a voxel apart; or one of the two says nothing of its
            position and the other was turned on reading, so that they may not lie alike.
    """
    check_origin(labels, image)
    here, there = (each.meta.get("position") for each in (image, labels))
    if here is not None and there is not None:
        lengths = (1,) * (3 - image.ndim) + image.shape[1:]
        distance = apart(here, there, lengths)
        if distance > _APART:
            raise DataError(
                f"{labels.source}: expected the affine of {image.source}, found one that "
                f"puts its corners up to {distance:.1f} voxels away. Save both on one grid, or "
                "mend the header that is wrong."
            )
    elif any(not each.meta["turn"].still for each in (image, labels) if "turn" in each.meta):
        lost, known = (image, labels) if here is None else (labels, image)
        raise DataError(
            f"{lost.source}: expected an affine as {known.source} has, found none, and that one is "
            "not stored in the order right, front, head. Save both as NIfTI with their affine."
        )


def check_origin(labels: Image, image: Image) -> None:
    """Refuse labels of another ``offset`` than their image.

    Raises:
        DataError: both state one, and they differ by more than half a voxel.
    """
    here, there = (each.meta.get("origin", {}) for each in (image, labels))
    sizes = dict(zip(image.axes[1:], image.spacing or (), strict=False))
    distance = max(
        (abs(here[a] - there[a]) / size for a, size in sizes.items() if a in here and a in there),
        default=0.0,
    )
    if distance > _APART and labels.unit == image.unit:
        raise DataError(
            f"{labels.source}: expected the offset of {image.source}, found an offset that is up "
            f"to {distance:.1f} voxels away. Cut both to the same region, or correct the offset."
        )


def _inspect(pair: Pair, channels: int | None, encode: Encode | None) -> list[str]:
    """Read a pair, large images in blocks; notes on content that is allowed but odd."""
    source = pair.image.source
    parts = portions(pair.image)
    ends: list[float] = []
    for box, image in parts.read():
        check_finite(image, source, corner=(0, *box.start))
        if channels is not None:
            match_channels(image, channels, source)
        ends += [image.min(), image.max()]
    notes = [*pair.image.meta.get("notes", ()), parts.note, unwritten(source)]
    if min(ends) == max(ends):
        notes.append(f"{source}: all values are equal ({ends[0]}).")
    if pair.labels is None:
        return list(filter(None, notes))
    parts = portions(pair.labels)
    values = np.unique(np.concatenate([label_values(labels) for _, labels in parts.read()]))
    notes += [parts.note, unwritten(pair.labels.source)]
    if not values.any():
        notes.append(f"{pair.labels.source}: no object, all labels are 0.")
    if encode is not None:
        check_values(values, pair, encode)
    return list(filter(None, notes))


def check_values(labels: np.ndarray, pair: Pair, encode: Encode) -> None:
    """Ask a task whether it knows every value of a label image, before a crop happens upon it.

    Raises:
        DataError: it does not; names the file.
    """
    # One voxel a value, so that the answer costs the same for images of any size.
    ndim = pair.image.ndim
    values = label_values(labels).astype(np.int64).reshape((1,) * (ndim - 1) + (-1,))
    encoded(encode, values, pair)


def encoded(encode: Encode, labels: np.ndarray, pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Values and weight of labels ``(*space)``; an error names the file."""
    try:
        return encode(labels, pair.image.spacing)
    except DataError as error:
        source = pair.name if pair.labels is None else pair.labels.source
        raise DataError(f"{source}: {error}") from error


def label_values(labels: np.ndarray) -> np.ndarray:
    """Every value of a label image once, rising."""
    if labels.dtype.itemsize <= 2:
        # Counting is many times faster than sorting.
        return np.flatnonzero(np.bincount(labels.ravel()))
    return np.unique(labels)


def pairing(settings: Iterable[str]) -> Layout:
    """How label files pair, out of ``data.image_suffix`` and ``data.label_suffix`` settings.

    Raises:
        RecipeError: any other setting.
    """
    known = {"data.image_suffix": "", "data.label_suffix": ""}
    for line in settings:
        key, equals, text = line.partition("=")
        if not equals or key.strip() not in known:
            raise RecipeError(
                f"--set {line}: expected {' or '.join(f'{name}=SUFFIX' for name in known)}, found "
                "something else. Evaluation knows no other setting."
            )
        known[key.strip()] = text.strip()
    return Layout(
        0, image_suffix=known["data.image_suffix"], label_suffix=known["data.label_suffix"]
    )


def keep_inputs(pairs: Sequence[Pair], out: Path) -> None:
    """Make the folder of the outputs; refuse outputs that would overwrite inputs.

    Raises:
        DataError: every such input at once.
        SaveError: there can be no such folder.
    """
    inputs = {locate(pair.image.source).path.resolve() for pair in pairs}
    problems = [
        f"{pair.image.source}: expected an output beside the inputs, found that {path} is one of "
        "them and would be overwritten. Choose another --out."
        for pair in pairs
        if (path := output_name(pair.image, out)).resolve() in inputs
    ]
    if problems:
        raise DataError(gather(problems, heading=f"{len(problems)} problem(s) found:"))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SaveError(
            f"{out}: expected a folder that can be written, found: {error.strerror}. "
            "Check the permissions, or choose another --out."
        ) from error


def fingerprint(pairs: Sequence[Pair]) -> dict[str, str]:
    """Size and time of change of every file of ``pairs``, to notice files that change under a run.

    Arrays in memory and stores of many files count by name alone.
    """
    marks: dict[str, str] = {}
    for pair in pairs:
        for image in (pair.image, pair.labels):
            if image is None:
                continue
            paths = [Path(file) for file in files_of(image.source)]
            facts = [path.stat() for path in paths if path.is_file()]
            mark = ";".join(f"{each.st_size}:{each.st_mtime_ns}" for each in facts)
            marks[image.source] = mark if len(facts) == len(paths) else "-"
    return marks


def check_unchanged(before: Mapping[str, str], pairs: Sequence[Pair]) -> None:
    """Refuse to go on with files that were replaced, changed or removed.

    Raises:
        DataError: every such file at once.
    """
    try:
        now = fingerprint(pairs)
    except OSError as error:
        raise DataError(f"{error.filename}: the file cannot be read any more ({error}).") from error
    changed = sorted(source for source in {*before, *now} if before.get(source) != now.get(source))
    if changed:
        problems = [f"{source}: expected it unchanged since the run began" for source in changed]
        raise DataError(
            gather(problems, heading="Input files changed. Restore them, or start a new run.")
        )
