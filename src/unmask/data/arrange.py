"""Where the images and labels of a folder are, for the layouts that people and programs use.

| layout                    | in the folder                                              |
|---------------------------|------------------------------------------------------------|
| nnU-Net, Decathlon, MONAI | ``dataset.json``                                           |
| one folder each           | ``images/`` and ``masks/``, or other usual names           |
| one folder for both       | ``x.tif`` and ``x_masks.tif``; or ``x.tif`` and ``x.json`` |
| labels inside             | ``x.tif`` and ``masks/x.tif``                              |
| COCO                      | ``images/`` or ``x.tif``, and one ``.json`` for all        |
| Data Science Bowl 2018    | ``<id>/images/*.png`` and ``<id>/masks/*.png``             |
| divided already           | ``train/``, ``val/`` and ``test/`` of any of these         |

Names decide, never content. Ambiguous folders are refused, with the candidates.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from unmask.data.drawn import masks_input, outlines_in
from unmask.data.suffixes import divide
from unmask.errors import DataError, message
from unmask.io import stem
from unmask.io.inputs import ArrayInput, Inputs, as_inputs
from unmask.io.listing import is_listing, list_in
from unmask.io.paths import images_in, is_plain_folder

# Words of folder names, in lower case and singular.
_IMAGE_WORDS = {"image", "img", "raw", "input", "photo", "picture", "original", "frame", "tif"}
_LABEL_WORDS = {
    "label", "mask", "lbl", "gt", "truth", "groundtruth", "annotation", "anno", "seg",
    "segmentation", "msk", "instance", "target", "labelmap", "outline", "roi",
}  # fmt: skip
_SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "tr"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "ts"), "test"),
}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SHOWN = 6


@dataclass(frozen=True)
class Arrangement:
    """Images and labels that were found.

    Attributes:
        images: images to be trained on, or to be predicted.
        labels: their labels; None if there are none.
        val_images: images of the validation, if the folder is divided.
        val_labels: their labels.
        left_out: folders of a division that are not used: tests, and validations without labels.
        notes: one line about what was found.
        doubt: why the labels are not clear, for verbs that need them.
    """

    images: Inputs
    labels: Inputs | None = None
    val_images: Inputs | None = None
    val_labels: Inputs | None = None
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    doubt: str = ""

    @property
    def is_divided(self) -> bool:
        """Whether the folder has parts for training, validation or testing."""
        return self.val_images is not None or bool(self.left_out)


def arrange(images: Inputs, labels: Inputs | None = None) -> Arrangement:
    """Images and labels in the folder ``images``; anything but one folder is returned as it is.

    Args:
        images: paths or arrays.
        labels: paths or arrays, or the same folder; None: find them.

    Raises:
        DataError: several folders could be the images, or the labels; names all of them.
    """
    root = _folder(images)
    if root is None:
        return Arrangement(images, labels)
    other = None if labels is None else _folder(labels)
    find_labels = labels is None or (other is not None and _same(root, other))
    if find_labels:
        found = _require_clear(_find_layout(root))
    elif other is not None:
        found = _combine(root, other)
    else:
        found = replace(_find_layout(root), labels=labels)
    if found.images == str(root) and (found.labels is None or not find_labels):
        # A plain folder of images: returned as given.
        return Arrangement(images, labels if other is None or find_labels else found.labels)
    return replace(found, notes=_notes(root, found))


def labels_in(labels: Inputs) -> Inputs:
    """The labels in a folder that holds images as well; anything else is returned as it is.

    Raises:
        DataError: several folders could be the labels, or the folder is divided.
    """
    root = _folder(labels)
    if root is None:
        return labels
    found = _require_clear(_find_layout(root))
    if found.is_divided:
        raise DataError(_several_parts(root, found, "labels"))
    return labels if found.labels is None else found.labels


def labels_below(labels: Inputs) -> Inputs:
    """As `labels_in`, but a folder that holds label images itself is that folder."""
    root = _folder(labels)
    return labels if root is None or images_in(root) else labels_in(labels)


def images_of(images: Inputs) -> Inputs:
    """The images in a folder that holds labels as well; anything else is returned as it is.

    Raises:
        DataError: several folders could be the images, or the folder is divided.
    """
    root = _folder(images)
    if root is None:
        return images
    found = _find_layout(root)
    if found.is_divided:
        raise DataError(_several_parts(root, found, "images"))
    return images if found.images == str(root) else found.images


def _require_clear(found: Arrangement) -> Arrangement:
    if found.doubt:
        raise DataError(found.doubt)
    return found


@dataclass
class _Inside:
    """Subfolders of a folder by what their names say: part of a division, images or labels."""

    parts: dict[str, Path] = field(default_factory=dict)
    images: dict[str, list[Path]] = field(default_factory=dict)
    labels: dict[str, list[Path]] = field(default_factory=dict)
    others: list[Path] = field(default_factory=list)

    @property
    def splits(self) -> set[str]:
        """Parts of a division that are named."""
        return {*self.parts, *self.images, *self.labels} - {""}


def _folder(given: Inputs) -> Path | None:
    """The one folder that is given, unless it is an image itself."""
    paths = as_inputs(given)
    if len(paths) != 1 or isinstance(paths[0], ArrayInput) or is_listing(paths[0]):
        return None
    path = Path(paths[0])
    return path if is_plain_folder(path) else None


def _same(path: Path, other: Path) -> bool:
    return os.path.realpath(path) == os.path.realpath(other)


def _find_layout(root: Path) -> Arrangement:
    """The layout of a folder; the folder itself as images where it has none that is known."""
    if (listed := list_in(root)) is not None:
        return Arrangement(str(listed), str(listed))
    inside = _sort_subfolders(root)
    files = images_in(root)
    if files and not (inside.images.get("") and inside.labels.get("")):
        return _with_images(root, inside, files)
    if "train" in inside.splits:
        return _use_division(root, inside)
    if folders := inside.images.get(""):
        images = _single(root, folders, "images")
        labels, doubt = _labels_among(root, inside.labels.get("", ()))
        found = replace(_of_two(images, labels), doubt=doubt)
        if found.labels is None and not (found.is_divided or doubt):
            found = replace(found, **_outlines(root))
        return found
    return _of_cases(inside.others) or Arrangement(str(root))


def _combine(root: Path, labels: Path) -> Arrangement:
    """Images of one folder and labels of another, either of which may hold them deeper."""
    below = labels_below(str(labels))
    if images_in(root):
        return Arrangement(str(root), below)
    if "train" in _sort_subfolders(root).splits and "train" in _sort_subfolders(labels).splits:
        return _of_two(root, labels)
    found = _find_layout(root)
    if found.is_divided:
        raise DataError(_several_parts(root, found, "images"))
    return replace(found, labels=below, doubt="")


def _with_images(root: Path, inside: _Inside, files: Sequence[Path]) -> Arrangement:
    """A folder that holds images itself, with labels next to them or in a folder of their own."""
    stems = [stem(file) for file in files]
    folder, doubt = _labels_among(root, inside.labels.get("", ()))
    if divide(stems).labels:
        if inside.labels.get(""):
            candidates = [str(root), *map(str, inside.labels[""])]
            return Arrangement(str(root), doubt=_ambiguous(root, candidates, "labels"))
        return Arrangement(str(root), str(root))
    if folder is not None or doubt:
        return Arrangement(str(root), None if folder is None else str(folder), doubt=doubt)
    are_labels = {file: _role(_words(stem(file))) == "label" for file in files}
    if len(files) == 2 and sum(are_labels.values()) == 1:
        first, second = sorted(files, key=lambda file: are_labels[file])
        return Arrangement(str(first), str(second))
    if {name for name, _ in outlines_in(root)} & set(stems):
        return Arrangement(str(root), str(root))
    return replace(Arrangement(str(root)), **_outlines(root))


def _outlines(root: Path) -> dict[str, str]:
    """The one file of outlines in a folder as labels, such as COCO's; or why it is not clear."""
    files = [str(file) for _, file in outlines_in(root)]
    if len(files) < 2:
        return {"labels": files[0]} if files else {}
    return {"doubt": _ambiguous(root, files, "labels")}


def _of_two(images: Path, labels: Path | None) -> Arrangement:
    """A folder of images and one of labels; both may be divided in the same way."""
    inside = _sort_subfolders(images)
    if images_in(images) or "train" not in inside.parts:
        return Arrangement(str(images), None if labels is None else str(labels))
    other = {} if labels is None else _sort_subfolders(labels).parts
    return _choose_parts(
        {part: str(path) for part, path in inside.parts.items()},
        {part: str(path) for part, path in other.items()},
    )


def _use_division(root: Path, inside: _Inside) -> Arrangement:
    """A folder with parts for training, validation and testing.

    Raises:
        DataError: it holds images outside of the parts as well.
    """
    rest = [*inside.images.get("", ()), *inside.labels.get("", ())]
    if rest and inside.parts:
        raise DataError(_ambiguous(root, [*map(str, inside.parts.values()), *map(str, rest)], ""))
    images: dict[str, Inputs] = {}
    labels: dict[str, Inputs] = {}
    for part in sorted(inside.splits):
        if part in inside.parts:
            found = _require_clear(_find_layout(inside.parts[part]))
            images[part] = found.images
            if found.labels is not None:
                labels[part] = found.labels
        for role, folders in ((images, inside.images), (labels, inside.labels)):
            # imagesTr goes with masks.
            own = folders.get(part) or (folders.get("") if part == "train" else None)
            if own and part not in role:
                role[part] = str(_single(root, own, "images"))
    return _choose_parts(images, labels)


def _choose_parts(images: dict[str, Inputs], labels: dict[str, Inputs]) -> Arrangement:
    """What is used of a division: tests never are, nor a validation without labels."""
    left_out = [part for part in ("val", "test") if part in images]
    val, val_labels = images.get("val"), labels.get("val")
    if val_labels is None:
        val = None
    elif val is not None:
        left_out.remove("val")
    if "train" not in images:
        raise DataError(
            message(
                ", ".join(map(str, labels.values())),
                expected="images for the training",
                found="labels only",
                do="Give the folder of the images.",
            )
        )
    places = tuple(_place(images[part]) for part in left_out)
    return Arrangement(images["train"], labels.get("train"), val, val_labels, left_out=places)


def _of_cases(folders: Sequence[Path]) -> Arrangement | None:
    """One folder per image, with ``images`` and ``masks`` inside, as in the Data Science Bowl."""
    images: list[str] = []
    masks: list[ArrayInput] = []
    for folder in folders:
        inside = _sort_subfolders(folder)
        own = [file for each in inside.images.get("", ()) for file in images_in(each)]
        if len(own) != 1:
            continue
        images.append(str(own[0]))
        folder_of_masks = next(iter(inside.labels.get("", ())), None)
        if folder_of_masks is not None and images_in(folder_of_masks):
            masks.append(masks_input(folder_of_masks, stem(own[0])))
    if not images:
        return None
    return Arrangement(images, masks or None)


def _sort_subfolders(root: Path) -> _Inside:
    """What the subfolders of a folder are; hidden ones and those of archives count for nothing."""
    inside = _Inside()
    for path in sorted(root.iterdir()):
        if path.name.startswith((".", "__")) or not is_plain_folder(path):
            continue
        words = _words(path.name)
        part, role = _part(words), _role(words)
        if role == "image":
            inside.images.setdefault(part, []).append(path)
        elif role == "label":
            inside.labels.setdefault(part, []).append(path)
        elif part and part not in inside.parts:
            inside.parts[part] = path
        else:
            inside.others.append(path)
    return inside


def _words(name: str) -> list[str]:
    """Words of a name in lower case and singular.

    Examples:
        >>> _words("imagesTr"), _words("Ground Truth"), _words("JPEGImages")
        (['image', 'tr'], ['ground', 'truth'], ['jpeg', 'image'])
    """
    words = [word.lower() for word in _WORD.findall(name)]
    return [word[:-1] if word.endswith("s") and word != "ts" else word for word in words]


def _role(words: Sequence[str]) -> str:
    """Whether words name images or labels: "image", "label" (``label_images`` too) or ""."""
    if any(word in _LABEL_WORDS for word in words):
        return "label"
    return "image" if any(word in _IMAGE_WORDS for word in words) else ""


def _part(words: Sequence[str]) -> str:
    return next((_SPLIT_WORDS[word] for word in words if word in _SPLIT_WORDS), "")


def _labels_among(root: Path, folders: Sequence[Path]) -> tuple[Path | None, str]:
    """The folder of labels, or why it is not clear."""
    if not folders:
        return None, ""
    try:
        return _single(root, folders, "labels"), ""
    except DataError as error:
        return None, str(error)


def _single(root: Path, folders: Sequence[Path], what: str) -> Path:
    """The folder, or of several the one whose name is the plainest: ``masks`` over ``masks_old``.

    Raises:
        DataError: several have names that are as plain.
    """
    fewest = min(len(_words(folder.name)) for folder in folders)
    plain = [folder for folder in folders if len(_words(folder.name)) == fewest]
    if len(plain) > 1 or (fewest > 1 and len(folders) > 1):
        raise DataError(_ambiguous(root, [str(folder) for folder in folders], what))
    return plain[0]


def _ambiguous(root: Path, candidates: Sequence[str], what: str) -> str:
    what = what or "images"
    do = (
        f"Choose one: --labels {shlex.quote(candidates[-1])}"
        if what == "labels"
        else f"Give one of them in place of {root}, such as {candidates[0]}"
    )
    return message(
        root,
        expected=f"one place with {what}",
        found=f"{len(candidates)}: {', '.join(map(str, candidates))}",
        do=f"{do}.",
    )


def _several_parts(root: Path, found: Arrangement, what: str) -> str:
    used = (found.images, found.val_images) if what == "images" else \
        (found.labels, found.val_labels)  # fmt: skip
    parts = [_place(part) for part in used if part is not None]
    parts += found.left_out if what == "images" else ()
    return message(
        root,
        expected=f"one folder of {what}",
        found=f"a folder that is divided into {', '.join(parts) or 'parts'}",
        do=f"Give one of them in place of {root}.",
    )


def _notes(root: Path, found: Arrangement) -> tuple[str, ...]:
    """One line about what is used of a folder."""
    words = [f"images from {_place(found.images)}"]
    if found.labels is not None and _place(found.labels) == _place(found.images):
        words = [f"images and labels from {_place(found.images)}"]
    elif found.labels is not None:
        words.append(f"labels from {_place(found.labels)}")
    if found.val_images is not None:
        words.append(f"validation from {_place(found.val_images)}")
    left_out = f"; left out: {', '.join(found.left_out)}" if found.left_out else ""
    return (f"{root}: {', '.join(words)}{left_out}.",)


def _place(given: Inputs) -> str:
    """Words for paths or arrays in a note."""
    every = as_inputs(given)
    first = every[0]
    shown = first.data.source if isinstance(first, ArrayInput) else first
    more = f" and {len(every) - 1} more" if len(every) > 1 else ""
    return f"{shown}{more}"
