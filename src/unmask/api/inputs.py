"""Where the images and labels of a verb come from: parts of lists, arrays, outputs next to them."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from unmask.api.values import Settings
from unmask.atomic import atomic_write
from unmask.data.arrange import Arrangement, arrange
from unmask.data.checks import check_content, find_label_images
from unmask.data.pairs import Layout, Pair, Paths
from unmask.errors import (
    DataError,
    RecipeError,
    SaveError,
    is_shortened,
    message,
    raise_problems,
)
from unmask.io.inputs import ArrayInput, as_inputs
from unmask.io.listing import cases, is_listing, part_of, read_listing, unlisted_images
from unmask.own_files import refuse_others
from unmask.plain_text import printable
from unmask.recipe import Recipe, load
from unmask.tasks.base import CompleteTask
from unmask.wording import format_count, format_part


def find_inputs(
    images: Paths,
    labels: Paths | None,
    val_images: Paths | None = None,
    val_labels: Paths | None = None,
) -> Arrangement:
    """Images and labels for training and validation, found in folders where they are not given.

    Raises:
        DataError: a folder in which several others could be the images or the labels.
    """
    found = arrange(images, labels)
    notes = (*found.notes, *_note_unlisted(found.images))
    found = replace(found, labels=labels_of(found.images, found.labels), notes=notes)
    if val_images is None:
        return found
    second = arrange(val_images, val_labels)
    return replace(
        found,
        val_images=second.images,
        val_labels=labels_of(second.images, second.labels),
        notes=(*found.notes, *second.notes),
    )


def _note_unlisted(images: Paths) -> list[str]:
    """A note on files next to the images of a list that it does not name; none for other paths."""
    given = as_inputs(images)
    if len(given) != 1 or not isinstance(given[0], str) or not is_listing(given[0]):
        return []
    files = unlisted_images(given[0])
    if not files:
        return []
    folder = files[0].parent
    return [
        f"{given[0]}: {format_count(len(files), 'file')} in {folder} left out, not listed or "
        f"without labels, such as {files[0].name}. They can be used with --unlabeled {folder}."
    ]


def left_out_note(name: str, labeled: int, unlabeled: Sequence[str]) -> list[str]:
    """A note on images of a validation or a second source that have no labels; none if all have."""
    if not unlabeled:
        return []
    start = f"{name}: {format_part(labeled, labeled + len(unlabeled), 'image', 'have')} labels"
    return [f"{start}; the others are left out, such as {unlabeled[0]}."]


def refuse_other_lists(path: Path) -> None:
    """Refuse to replace a file that `save_list` did not write.

    Raises:
        DataError: another file.
    """
    refuse_others(path, starts=(b"PROBLEM: ", b"note: ", b"\n"))


def save_list(path: Path, problems: Sequence[str], notes: Sequence[str] = ()) -> None:
    """Write every problem and note of an audit, one line each.

    Raises:
        SaveError: the file cannot be written.
    """
    lines = [f"PROBLEM: {line}" for line in problems] + [f"note: {line}" for line in notes]
    atomic_write(path, "\n".join(map(printable, lines)) + "\n")


def neighbor_hint(images: Paths) -> str:
    """The labels that lie next to a folder of images, as the value of an option; "" if none."""
    given = as_inputs(images)
    if len(given) != 1 or isinstance(given[0], ArrayInput) or not Path(given[0]).is_dir():
        return ""
    try:
        found = arrange(str(Path(given[0]).absolute().parent))
    except DataError:
        return ""
    same = isinstance(found.images, str) and Path(found.images) == Path(given[0]).absolute()
    return f", such as {found.labels}" if same and isinstance(found.labels, str) else ""


@contextmanager
def list_next_to(out: str | Path) -> Generator[None]:
    """Write the full list of problems next to the run folder if the error joins some of them.

    Raises:
        DataError: the error, with the place of the list.
    """
    try:
        yield
    except DataError as error:
        if not is_shortened(error.problems):
            raise
        path = Path(out).absolute().parent / "check.txt"
        try:
            save_list(path, error.problems)
        except SaveError:
            # The list is a service; the error itself matters more than where its list went.
            raise error from None
        text = f"{error}\nThe full list is in {path}."
        raise DataError(text, error.problems) from error


def parts_of(
    images: Paths, val_images: Paths | None, fold: int | None
) -> tuple[Paths, Paths | None]:
    """The parts of a list of images to train on and to validate on; other paths as they are.

    Raises:
        RecipeError: a fold of something that is not a list.
        DataError: a list that cannot be read.
    """
    given = as_inputs(images)
    path = given[0] if len(given) == 1 and isinstance(given[0], str) else ""
    if not is_listing(path) or (fold is None and ":" in Path(path).name):
        if fold is not None:
            found = ", ".join(each for each in given if isinstance(each, str))
            raise RecipeError(
                message(f"data.fold={fold}", expected="a list such as dataset.json as --images",
                        found=found or "arrays", do="Leave it out, or give the list.")
            )  # fmt: skip
        return images, val_images
    if val_images is not None:
        return images, val_images
    held_out = fold is not None or read_listing(path).val
    return part_of(path, "train", fold), part_of(path, "val", fold) if held_out else None


def labels_of(images: Paths | None, labels: Paths | None) -> Paths | None:
    """The labels given, or those of the list that the images come from; None if it has none."""
    if images is None or (labels is not None and _whole_list(labels) != _whole_list(images)):
        return labels
    given = as_inputs(images)
    lists = [path for path in given if not isinstance(path, ArrayInput) and is_listing(path)]
    if not given or len(lists) < len(given):
        return None
    return images if any(case.label for path in lists for case in cases(path)) else None


def _whole_list(paths: Paths) -> object:
    """The file of a list, whichever part is asked for; anything else as it is."""
    given = as_inputs(paths)
    if len(given) != 1 or not isinstance(given[0], str) or not is_listing(given[0]):
        return object()
    return re.sub(r":\w+$", "", given[0])


def content_notes(pairs: Sequence[Pair], recipe: Recipe, task: CompleteTask | None) -> list[str]:
    """Notes on what images and labels hold, see `check_content`.

    Raises:
        DataError: labels that nothing can be trained on.
    """
    problems, notes = content_of(pairs, recipe, task)
    raise_problems(problems)
    return notes


def content_of(
    pairs: Sequence[Pair], recipe: Recipe, task: CompleteTask | None
) -> tuple[list[str], list[str]]:
    """Problems and notes about what images and labels hold, for the task of a recipe."""
    doubts = find_label_images(pairs)
    if task is None or task.image_classes:
        return [], doubts
    ignore = recipe.data.ignore_label
    problems, notes = check_content(pairs, objects=task.context > 0, ignore=ignore)
    return problems, notes if problems else [*notes, *doubts]


def same_notes(same: Iterable[tuple[Pair, Pair]]) -> list[str]:
    """A note on validation images that are trained on too."""
    both = list(same)
    if not both:
        return []
    names = ", ".join(f"{other.image.source} is {pair.image.source}" for pair, other in both[:4])
    more = f" and {len(both) - 4} more" if len(both) > 4 else ""
    count = format_count(len(both), "validation image is", "validation images are")
    return [
        f"{count} training images too ({names}{more}). The scores of "
        "the validation say nothing about new images; keep such images out of one of the two."
    ]


def layout_of_settings(settings: Settings) -> Layout:
    """How files are read by verbs that have settings but no recipe of the user.

    Raises:
        RecipeError: a wrong setting.
    """
    data = load("mae2d").with_settings(settings).data
    return Layout(
        data.ndim,
        data.axes,
        data.image_suffix,
        data.label_suffix,
        allow_external=data.allow_external,
    )
