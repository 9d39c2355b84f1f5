"""``check``: what is wrong with files, before they are trained on."""

from __future__ import annotations

from unmask.api.inputs import content_of, labels_of, parts_of, same_notes
from unmask.api.values import RecipeLike, Say, Settings
from unmask.build import build_task, encoder, layout, resolve_recipe
from unmask.data.pairs import Audit, Paths, audit_pairs
from unmask.recipe import Recipe, load
from unmask.tasks.base import CompleteTask
from unmask.training.advice import describe, forecast, suggest


def _suggested(images: Paths, labels: Paths | None, settings: list[str]) -> tuple[Recipe, str]:
    """A fitting recipe; looking at the files needs the one setting that says what may be read."""
    name = "data.allow_external"
    asked = [line for line in settings if line.partition("=")[0].strip() == name]
    allowed = load("mae2d").with_settings(asked).data.allow_external
    return suggest(images, labels, allow_external=allowed)


def check(
    images: Paths,
    *,
    labels: Paths | None = None,
    val_images: Paths | None = None,
    val_labels: Paths | None = None,
    recipe: RecipeLike | None = None,
    settings: Settings = (),
    say: Say = print,
) -> Audit:
    """Read every file once and report what is wrong, what would be trained and how long it takes.

    Args:
        images: images to be trained on; a ``dataset.json`` brings its labels, and what it holds
            out.
        labels: their labels, if any.
        val_images: images of the validation.
        val_labels: labels of the validation.
        recipe: the recipe meant for them; default: the one that fits what is found.
        settings: changes to the recipe.
        say: gets the lines of the audit.

    Returns:
        The audit; ``problems`` is empty if training can start.
    """
    settings = list(settings)
    listed = labels_of(images, labels)
    given, advice = (recipe, "") if recipe is not None else _suggested(images, listed, settings)
    chosen = resolve_recipe(given, settings)
    images, val_images = parts_of(images, val_images, chosen.data.fold)
    labels = labels_of(images, labels)
    task = None if chosen.task is None else build_task(chosen)
    audit = _audited(images, labels, chosen, task)
    if val_images is not None:
        _add_validation(audit, val_images, val_labels, chosen, task)
    for line in (advice, *describe(audit, chosen)):
        if line:
            say(line)
    if not audit.problems:
        for line in forecast(audit.pairs, chosen):
            say(line)
    return audit


def _audited(
    images: Paths, labels: Paths | None, recipe: Recipe, task: CompleteTask | None
) -> Audit:
    """The audit of images and labels with what their pixels say."""
    encode = None if task is None else encoder(task)
    rules, channels = layout(recipe, task), recipe.data.channels
    audit = audit_pairs(images, labels, rules, read=True, channels=channels, encode=encode)
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
    audit.problems.extend(other.problems)
    audit.notes.extend(other.notes)
    known = {audit.digests[pair.image.source]: pair for pair in audit.pairs}
    found = ((known.get(other.digests[pair.image.source]), pair) for pair in other.pairs)
    audit.notes.extend(same_notes((trained, pair) for trained, pair in found if trained))
