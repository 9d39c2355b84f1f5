"""Pixel classifiers: from scribbles to a model in seconds, once or while labels are drawn."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unmask import checkpoint
from unmask.api.inputs import find_inputs, labels_of, left_out_note
from unmask.api.runs import Run, Start
from unmask.api.values import ModelLike, Settings
from unmask.build import layout, resolve_recipe
from unmask.checkpoint.lineage import start_fields
from unmask.checkpoint.model import MODEL_FILE, save_model
from unmask.data.outputs import refuse_inside
from unmask.data.pairing import image_files
from unmask.data.pairs import Layout, Pair, Paths, apply_view, fingerprint, open_as_seen, open_pairs
from unmask.errors import DataError, RecipeError, group_problems, message, raise_problems
from unmask.metrics import evaluate_pair, summarize
from unmask.pixels.classifier import Fitted, PixelClassifier, describe_single_class
from unmask.planning.image_facts import measure_images
from unmask.planning.kinds import classes_or_objects
from unmask.planning.label_facts import measure_labels
from unmask.recipe import Part, Recipe, RecipeLike, load
from unmask.training import Journal
from unmask.training.advice import readable
from unmask.training.provenance import note_run, versions
from unmask.training.saving import refuse_used

PRESET = "pixels"
# Voxels of a tile, and its longest axis. Features of a network are many, so its tiles are smaller.
_TILE, _LONGEST, _NETWORK_SHARE = 1 << 20, 512, 16
# Recall below which classes are hardly distinguished, and how many times more pixels one class may
# have than another.
_WEAK, _UNEVEN = 0.8, 20
# More label values than this are no classes if everything else says that they number objects.
_MANY = 24
# Values of --init that name no model.
_NO_NETWORK = (None, "none", "auto")


def is_pixels(recipe: Recipe) -> bool:
    """Whether a recipe is fitted to pixels at once instead of trained in updates."""
    return recipe.model.backbone.name == PRESET


def scribble(
    images: Paths,
    *,
    init: ModelLike | None = None,
    recipe: RecipeLike = PRESET,
    settings: Settings = (),
) -> PixelClassifier:
    """Make a pixel classifier: ``label`` images, call ``fit``, and ``predict`` with the result.

    Args:
        images: images of the kind that will be labeled; they say how many axes and channels there
            are, and how large tiles are. Nothing of them is kept.
        init: model file or run folder whose backbone gives features too; None: filter bank alone.
        recipe: with the backbone ``pixels``.
        settings: ``key=value`` changes to the recipe.

    Examples:
        >>> import numpy as np
        >>> image = np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32)
        >>> image[:, 20:] += 4
        >>> drawn = np.zeros((40, 40), np.uint8)
        >>> drawn[10, 2:9], drawn[10, 30:38] = 1, 2
        >>> classifier = scribble(image)
        >>> classifier.label(image, drawn)
        15
        >>> labels = classifier.fit().predictor.predict(image).labels
        >>> int(labels[30, 5]), int(labels[30, 35])
        (1, 2)
    """
    lines = list(settings)
    chosen = resolve_recipe(recipe, lines)
    pairs = _open_images(images, chosen)
    fitting, network = _adapt(chosen, pairs, init, lines)
    return PixelClassifier(fitting, network)


def save_fitted(
    fitted: Fitted,
    out: str | Path,
    *,
    images: Sequence[Pair] = (),
    init: ModelLike | None = None,
) -> Path:
    """Write the run folder of a fitted classifier; an earlier fit in it is replaced.

    Args:
        fitted: the classifier.
        out: the run folder.
        images: images and labels that it was fitted to.
        init: model whose backbone gives features, whose license and data the card repeats.

    Raises:
        CheckpointError: the folder holds a run of another kind.
    """
    folder = Path(out)
    refuse_used(folder)
    marks = fingerprint(images)
    card = {
        "recipe": fitted.recipe.model_dump(mode="json"),
        "data": marks,
        "versions": versions(),
        "step": 1,
        "metrics": {},
        "pixels": {str(value): count for value, count in fitted.pixels.items()},
        "recall": dict(fitted.recall),
        **checkpoint.code_fields(fitted.recipe),
        **({} if init in _NO_NETWORK else start_fields(str(init))),
    }
    note_run(folder, fitted.recipe, marks)
    save_model(folder / MODEL_FILE, fitted.weights, card)
    return folder / MODEL_FILE


def fit_pixels(
    recipe: Recipe,
    *,
    images: Paths,
    labels: Paths | None,
    start: Start,
    validation: tuple[Paths | None, Paths | None] = (None, None),
    settings: Settings = (),
) -> Run:
    """Fit a pixel classifier to the labeled pixels of files, into a run folder.

    Raises:
        DataError: no labels, labels of one class, or files that cannot be read.
        RecipeError: a head or a model that cannot be used.
    """
    begin = time.perf_counter()
    out, init = start.out, start.init
    refuse_inside(out, images, labels)
    refuse_used(Path(out))
    found = find_inputs(images, labels, *validation)
    truth = labels_of(found.images, found.labels)
    if truth is None:
        raise DataError(
            message(
                "Training",
                expected="scribbles or label images",
                found="none for the images",
                do="Give them with --labels.",
            )
        )
    notes, unlabeled = list(found.notes), list[str]()
    rules = scribble_layout(found.images, recipe)
    pairs = open_pairs(found.images, truth, rules, notes=notes, unlabeled=unlabeled)
    notes += left_out_note("Scribbles", len(pairs), unlabeled)
    fitting, network = _adapt(recipe, pairs, init, list(settings))
    problems, doubts = check_scribbles(pairs, recipe.data.ignore_label)
    raise_problems(problems)
    notes += doubts
    classifier = PixelClassifier(fitting, network)
    for pair in apply_view(pairs, layout(fitting).view):
        if pair.labels is not None:
            classifier.label(pair.image, pair.labels.read()[0])
    fitted = classifier.fit()
    file = save_fitted(fitted, out, images=pairs, init=init)
    metrics = {}
    if found.val_images is not None and found.val_labels is not None:
        held_out = open_pairs(found.val_images, found.val_labels, rules, notes=notes)
        metrics = _score(fitted, held_out)
    with Journal(out, steps=1, tensorboard=False) as journal:
        shown = (f"note: {note}" for note in group_problems(notes))
        for line in (*shown, *describe_fit(fitted)):
            journal.say(line)
        journal.log({"step": 1, **{f"recall_{k}": v for k, v in fitted.recall.items()}, **metrics})
        for line in _next_commands(pairs, out):
            journal.say(line)
    return Run(Path(out), file, metrics, 1, time.perf_counter() - begin)


def check_scribbles(pairs: Sequence[Pair], ignore: int | None) -> tuple[list[str], list[str]]:
    """Problems and notes about the values of labels, as classes of pixels.

    Args:
        pairs: opened images; those without labels do not count.
        ignore: value of unlabeled pixels; None: all are labeled.

    Raises:
        DataError: labels that cannot be read.
    """
    labeled = [pair.labels for pair in pairs if pair.labels is not None]
    counts: Counter[int] = Counter()
    for labels in labeled:
        values, pixels = np.unique(labels.read()[0], return_counts=True)
        counts.update(dict(zip(values.tolist(), pixels.tolist(), strict=True)))
    if ignore is not None:
        counts.pop(ignore, None)
    if text := describe_single_class(counts, ignore):
        return [text], []
    verdict = classes_or_objects(measure_labels(pairs, ignore_label=ignore), measure_images(pairs))
    if verdict.classes or not verdict.sure:
        return [], []
    source = labeled[0].source
    text = message(
        f"{source} and {len(labeled) - 1} more" if len(labeled) > 1 else source,
        expected=f"classes of pixels ({PRESET})",
        found=f"{len(counts)} values that seem to number objects: {'; '.join(verdict.reasons[:2])}",
        do="For objects, leave out --preset pixels. For classes, give 1 to the background and 2 to "
        "all objects.",
    )
    return ([text], []) if len(counts) > _MANY else ([], [text])


def describe_fit(fitted: Fitted) -> list[str]:
    """Lines for the log: number of labeled pixels, recall, and a verdict."""
    counts = ", ".join(f"{value}: {count}" for value, count in fitted.pixels.items())
    lines = [f"Labeled pixels per class: {counts}."]
    if not fitted.recall:
        return [*lines, "A class has a single pixel, so no recall was measured. Label more of it."]
    recall = fitted.recall[fitted.features]
    others = [f"{name} {value:.3f}" for name, value in fitted.recall.items()
              if name != fitted.features]  # fmt: skip
    tried = f"; also tried: {', '.join(others)}" if others else ""
    lines.append(
        f"Recall {recall:.3f}: the share of labeled pixels that get their class from a classifier "
        f"that has not seen them, mean of the classes (features: {fitted.features}{tried}). New "
        "images are usually harder, because labeled pixels resemble their neighbors."
    )
    return [*lines, _verdict(fitted, recall)]


def _verdict(fitted: Fitted, recall: float) -> str:
    """What to do next, by the recall and the numbers of labeled pixels."""
    fewest, pixels = min(fitted.pixels.items(), key=lambda entry: entry[1])
    if recall < _WEAK:
        return (
            "The classes are hardly distinguished. Check that no pixels have the wrong class, and "
            "label more of each where they look alike."
        )
    most = max(fitted.pixels.values())
    if most > _UNEVEN * pixels:
        return (
            f"Class {fewest} has {pixels} of {sum(fitted.pixels.values())} labeled pixels: label "
            "more of it first."
        )
    return "Predict, label where the result is wrong, and train again: it takes seconds."


def _next_commands(pairs: Sequence[Pair], out: str | Path) -> list[str]:
    from unmask.api.run_report import folders_of_pairs

    folder = Path(out)
    images, _ = folders_of_pairs(pairs)
    predicted = folder.with_name(f"{folder.name}-predicted")
    words = ("unmask", "predict", images, "--model", str(folder), "--out", str(predicted))
    return ["Next:", f"  {shlex.join([*words, '--overlay'])}"]


def _open_images(images: Paths, recipe: Recipe) -> list[Pair]:
    return open_pairs(images, None, scribble_layout(images, recipe))


def scribble_layout(images: Paths, recipe: Recipe) -> Layout:
    """How files are read, with as many axes as the first readable image has."""
    rules = layout(recipe)
    anything = partial(open_as_seen, layout=replace(rules, ndim=0), channels=None)
    first = next(readable([image for _, image in image_files(images, [])], anything))
    return replace(rules, ndim=first.ndim)


def _adapt(
    recipe: Recipe, pairs: Sequence[Pair], init: ModelLike | None, settings: Sequence[str]
) -> tuple[Recipe, dict[str, torch.Tensor] | None]:
    """The recipe for these images, and weights of the network that gives features too."""
    facts = measure_images(pairs)
    own = {line.partition("=")[0].strip() for line in settings}
    changes: dict[str, Any] = {}
    color = facts.color and facts.channels in (3, 4)
    if "data.channels" not in own and recipe.data.channels == load(PRESET).data.channels:
        same = facts.channels > 1 and not color
        changes["channels"] = 3 if color else facts.channels if same and facts.color else 1
    backbone = dict(recipe.model.backbone.choice.options)
    if backbone.get("anisotropy") is None and max(facts.anisotropy) > 1:
        backbone["anisotropy"] = [round(x, 3) for x in facts.anisotropy]
    weights = None
    if init not in _NO_NETWORK:
        weights, before = _network_of(init, facts.ndim)
        backbone["network"] = before.model.backbone.model_dump(mode="json")
        backbone["network_crop"] = list(before.data.crop)
        changes |= {"channels": before.data.channels, "normalize": before.data.normalize}
    if "data.crop" not in own and recipe.data.crop == load(PRESET).data.crop:
        changes["crop"] = _tile(pairs, facts.ndim, network=weights is not None)
    data = recipe.data.model_copy(update=changes)
    model = recipe.model.model_copy(update={"backbone": Part(name=PRESET, **backbone)})
    return recipe.model_copy(update={"data": data, "model": model}), weights


def _tile(pairs: Sequence[Pair], ndim: int, *, network: bool) -> tuple[int, ...]:
    """Size of a tile: the largest image per axis, as far as its features fit into memory."""
    room = _TILE // (_NETWORK_SHARE if network else 1)
    longest = min(_LONGEST, round(room ** (1 / ndim)))
    largest = [max(pair.image.shape[1 + axis] for pair in pairs) for axis in range(ndim)]
    return tuple(max(8, min(longest, length)) for length in largest)


def _network_of(init: ModelLike | None, ndim: int) -> tuple[dict[str, torch.Tensor], Recipe]:
    """Weights of a model's backbone, and the recipe that it was trained with."""
    model = checkpoint.load_model(str(init))
    recipe, _ = checkpoint.recipe_inside(model.card, str(init))
    if recipe.data.ndim != ndim or is_pixels(recipe):
        found = PRESET if is_pixels(recipe) else f"one for {recipe.data.ndim} axes"
        raise RecipeError(
            message(
                f"--init {init}",
                expected=f"a network for {ndim} axes, as the images have",
                found=found,
                do="Give another model, or leave out --init: the filter bank needs none.",
            )
        )
    weights = {
        name.removeprefix("backbone."): tensor
        for name, tensor in model.weights.items()
        if name.startswith("backbone.")
    }
    return weights, recipe


def _score(fitted: Fitted, pairs: Sequence[Pair]) -> dict[str, float]:
    """Metrics of the task on images that are labeled for validation."""
    names = fitted.predictor.task.metrics
    rows = [
        evaluate_pair(
            pair.labels.read()[0],
            fitted.predictor.predict(pair.image).labels,
            names,
            spacing=pair.image.spacing,
            ignore=fitted.recipe.data.ignore_label,
        )
        for pair in pairs
        if pair.labels is not None
    ]
    return {name: entry["mean"] for name, entry in summarize(rows).items()}
