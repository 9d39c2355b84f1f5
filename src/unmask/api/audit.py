"""``check``: what is wrong with files, before they are trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from unmask.api.briefing import forecast_lines
from unmask.api.inputs import (
    content_of,
    find_inputs,
    labels_of,
    left_out_note,
    parts_of,
    refuse_other_lists,
    same_notes,
    save_list,
)
from unmask.api.planning import plan
from unmask.api.scribbling import check_scribbles, is_pixels, scribble_layout
from unmask.api.unlabeled import unlabeled_note
from unmask.api.values import Say, Settings
from unmask.build import build_task, encoder, layout, resolve_recipe
from unmask.data.exchange import describe_exchange, explain_unreadable
from unmask.data.pairs import Audit, Paths, audit_pairs
from unmask.data.tables import is_table
from unmask.errors import DataError, RecipeError, SaveError, is_shortened
from unmask.io import use_formats
from unmask.planning.plan import Plan
from unmask.planning.text import describe_choice, describe_note
from unmask.recipe import Recipe, RecipeLike, load
from unmask.tasks.base import CompleteTask
from unmask.training.advice import describe, suggest


def _suggested(
    images: Paths, labels: Paths | None, settings: list[str], planned: Plan | None = None
) -> tuple[Recipe, str]:
    """A fitting recipe; looking at the files needs the settings that say what may be read."""
    names = ("data.allow_external", "data.formats")
    asked = [line for line in settings if line.partition("=")[0].strip() in names]
    given = load("mae2d").with_settings(asked).data
    use_formats(given.formats)
    preset = None if planned is None else (planned.preset, planned.preset_settings)
    with explain_unreadable(images, labels):
        return suggest(images, labels, allow_external=given.allow_external, planned=preset)


def check(
    images: Paths,
    *,
    labels: Paths | None = None,
    val_images: Paths | None = None,
    val_labels: Paths | None = None,
    recipe: RecipeLike | None = None,
    settings: Settings = (),
    out: str | Path | None = None,
    say: Say = print,
) -> Audit:
    """Read every file once and report what is wrong, what would be trained and how long it takes.

    Args:
        images: images to be trained on; a ``dataset.json`` brings its labels, and what it holds
            out. Labels in a folder next to or among the images are found.
        labels: their labels, if any.
        val_images: images of the validation.
        val_labels: labels of the validation.
        recipe: the recipe meant for them; default: the one that fits what is found.
        settings: changes to the recipe.
        out: file for every problem and note; the lines of ``say`` join those that say the same.
        say: gets the lines of the audit.

    Returns:
        The audit; ``problems`` is empty if training can start.
    """
    settings = list(settings)
    if out is not None:
        refuse_other_lists(Path(out))
    found = find_inputs(images, labels, val_images, val_labels)
    given, advice = (
        (recipe, "") if recipe is not None else _suggested(found.images, found.labels, settings)
    )
    chosen = resolve_recipe(given, settings)
    images, val_images = parts_of(found.images, found.val_images, chosen.data.fold)
    # Pre-training needs no labels, and uses images that have none as well.
    labels = labels_of(images, found.labels) if labels is not None or chosen.task else None
    task = _task_of(chosen)
    audit = _audited(images, labels, chosen, task)
    audit.notes[:0] = found.notes
    second = (val_images, labels_of(val_images, found.val_labels))
    audit.notes.extend(
        unlabeled_note(len(audit.pairs), audit.unlabeled, images, labels, validation=second)
    )
    if val_images is not None and labels is not None:
        _add_validation(audit, val_images, found.val_labels, chosen, task)
    planned = None
    if advice and labels is not None and not is_table(labels) and not audit.problems:
        own = [*settings, *(["train.folds=0"] if val_images is not None else [])]
        try:
            planned = plan(images, labels=labels, settings=own)
            advice = _suggested(images, labels, settings, planned)[1]
        except (DataError, RecipeError) as error:
            audit.notes.append(f"Without a preset, unmask train would refuse this: {error}")
    if out is not None:
        save_list(Path(out), audit.problems, audit.notes)
    for line in _report(audit, chosen, planned, advice):
        say(line)
    return audit


def _task_of(recipe: Recipe) -> CompleteTask | None:
    """The task; None for a pre-training, and for a pixel classifier, whose labels name classes."""
    return None if recipe.task is None or is_pixels(recipe) else build_task(recipe)


def _report(audit: Audit, chosen: Recipe, planned: Plan | None, advice: str) -> Iterator[str]:
    """Lines on the files, the plan, and the cost of the training; the cost is also stored."""
    yield from describe(audit, chosen if planned is None else None)
    if planned is not None:
        yield from map(describe_note, planned.notes)
        yield f"Plan      {describe_choice(planned)}"
    if is_pixels(chosen) and not audit.problems:
        yield "Forecast  seconds to minutes: the classifier is fitted in one step."
    elif not audit.problems:
        yield from forecast_lines(audit, chosen if planned is None else planned.recipe)
    if advice:
        yield advice
    if planned is not None:
        yield "Without a preset, unmask train makes the plan above; unmask plan explains it."


def list_in_full(audit: Audit, inputs: Sequence[str]) -> Path | None:
    """Write ``check.txt`` into the working directory if lines were joined; the path of it.

    None: every line was shown, or the directory is one of the inputs or cannot be written.
    """
    if not (is_shortened(audit.problems) or is_shortened(audit.notes)):
        return None
    path = Path("check.txt")
    here = path.absolute().parent
    if any(here.is_relative_to(Path(given).absolute()) for given in inputs):
        return None
    try:
        refuse_other_lists(path)
        save_list(path, audit.problems, audit.notes)
    except (DataError, SaveError):
        return None
    return path


def _audited(
    images: Paths, labels: Paths | None, recipe: Recipe, task: CompleteTask | None
) -> Audit:
    """The audit of images and labels with what their pixels say."""
    encode = None if task is None else encoder(task)
    rules, channels = layout(recipe, task), recipe.data.channels
    pixels = is_pixels(recipe)
    if pixels:
        rules, channels = scribble_layout(images, recipe), None
    audit = audit_pairs(images, labels, rules, read=True, channels=channels, encode=encode)
    if audit.problems and (exchanged := describe_exchange(images, labels)):
        audit.problems[:] = [exchanged]
        return audit
    if pixels and labels is not None:
        problems, notes = check_scribbles(audit.pairs, recipe.data.ignore_label)
    else:
        problems, notes = content_of(audit.pairs, recipe, task)
    audit.problems.extend(problems)
    audit.notes.extend(notes)
    audit.notes.extend(_duplicates(audit))
    return audit


def _duplicates(audit: Audit) -> list[str]:
    """A note for images of equal pixels: one may be held out, and the other trained on."""
    first: dict[str, str] = {}
    notes: list[str] = []
    for source, pixels in audit.digests.items():
        if (other := first.setdefault(pixels, source)) != source:
            notes.append(f"{source}: expected another image than {other}, found the same pixels.")
    return notes


def _add_validation(
    audit: Audit, images: Paths, labels: Paths | None, recipe: Recipe, task: CompleteTask | None
) -> None:
    """Audit the validation too, and compare it with what is trained on."""
    other = _audited(images, labels_of(images, labels), recipe, task)
    # One table may hold the classes of both.
    audit.problems.extend(line for line in other.problems if line not in audit.problems)
    audit.notes.extend(line for line in other.notes if line not in audit.notes)
    audit.notes.extend(left_out_note("Validation", len(other.pairs), other.unlabeled))
    known = {audit.digests[pair.image.source]: pair for pair in audit.pairs}
    found = ((known.get(other.digests[pair.image.source]), pair) for pair in other.pairs)
    audit.notes.extend(same_notes((trained, pair) for trained, pair in found if trained))
