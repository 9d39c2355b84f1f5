"""``check``: what is wrong with files, before they are learnt from."""

from __future__ import annotations

from unmask.api.values import RecipeLike, Say, Settings
from unmask.data.pairs import (
    Audit,
    Paths,
    audit_pairs,
)
from unmask.recipe import Recipe, load
from unmask.tasks.segmenter import build_task
from unmask.training.advice import describe, forecast, suggest
from unmask.training.assemble import (
    encoder,
    layout,
    settled,
)


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
    recipe: RecipeLike | None = None,
    settings: Settings = (),
    say: Say = print,
) -> Audit:
    """Read every file once and tell what is wrong, what would be trained and how long it takes.

    Args:
        images: images to be trained on.
        labels: their labels, if any.
        recipe: the recipe meant for them; default: the one that fits what is found.
        settings: changes to the recipe.
        say: gets the lines of the audit.

    Returns:
        The audit; ``problems`` is empty where training can start.
    """
    settings = list(settings)
    given, advice = (recipe, "") if recipe is not None else _suggested(images, labels, settings)
    chosen = settled(given, settings)
    task = None if chosen.task is None else encoder(build_task(chosen))
    channels = chosen.data.channels
    audit = audit_pairs(images, labels, layout(chosen), read=True, channels=channels, encode=task)
    for line in (advice, *describe(audit, chosen)):
        if line:
            say(line)
    if not audit.problems:
        for line in forecast(audit.pairs, chosen):
            say(line)
    return audit
