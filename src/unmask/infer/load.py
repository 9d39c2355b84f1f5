"""From model files to a predictor: a model file explains itself."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from torch import nn

from unmask import checkpoint
from unmask.build import build_normalizer, build_segmenter, build_task
from unmask.calibration import Calibration
from unmask.checkpoint.card import channel_names
from unmask.data.channel_choice import ChannelChoice
from unmask.data.diameters import ObjectDiameters
from unmask.data.grid import View
from unmask.data.normalize import Normalizer
from unmask.data.pairs import Layout
from unmask.errors import CheckpointError, RecipeError, message
from unmask.infer.origin import Origin
from unmask.infer.predictor import Predictor, move_predictor
from unmask.infer.uncertainty import compared_flips
from unmask.infer.views import Views
from unmask.io import use_formats
from unmask.models.finished import build_finished
from unmask.models.memory import cpu_batch_size
from unmask.parts import Parts
from unmask.recipe import MAX_SCALE, Recipe
from unmask.recipe_sections import InferRecipe
from unmask.space.devices import find_device
from unmask.space.tiling import Tiling
from unmask.tasks.base import CompleteTask, Task, describe_meaning

ModelLike = str | Path
# Exported files are read by a package above this one.
_EXPORTED = Parts("unmask.exported", {"read": "unmask.exports.runtime:read_exported"})
# Fields of a recipe that made the network what it is.
_FIXED = ("model", "method", "train", "name", "description", "data.channels", "data.crop")


def load_predictor(
    models: ModelLike | Sequence[ModelLike],
    settings: Iterable[str] = (),
    *,
    diameter: float | int | None = None,
    allow_code: bool = False,
    device: str = "auto",
    say: Callable[[str], None] | None = None,
) -> Predictor:
    """A predictor of one model, or of several as an ensemble (mean of ``infer.average``).

    Args:
        models: model files, run folders or names of shipped models.
        settings: changes to the first model's ``infer``, ``task`` and ``data`` fields, as far as
            they do not change its network.
        diameter: of the objects in the images, in pixels of the images. Images are resized so that
            objects are as large as the median object of the first model's training, whatever
            their voxel size (``infer.scale``, in place of ``data.spacing``).
        allow_code: run parts that the models carry as source; without it such models are refused.
        device: where it runs, see `find_device`.
        say: receives notes on the code of the model that runs, one line each.

    Raises:
        CheckpointError: a file that is missing, damaged or not a segmenter, a model with code that
            was not allowed, models with other inputs or outputs, or one without
            ``object_diameters`` if ``diameter`` is given.
        RecipeError: a setting or device that does not exist, or a setting that would need another
            network.
    """
    place = find_device(device)
    paths = [models] if isinstance(models, str | Path) else list(models)
    if not paths:
        raise RecipeError("model: expected one model or more, found none. Give a file or run.")
    loaded = [_load_segmenter(path, allow_code=allow_code, say=say) for path in paths]
    first, card = loaded[0][1], loaded[0][2]
    trained = ObjectDiameters.of_card(card.get("object_diameters"))
    for path, (_, other, _) in zip(paths[1:], loaded[1:], strict=True):
        _check_alike(first, other, source=f"{path}", than=f"{paths[0]}")
    _compare_tasks(paths, [(segmenter.task, recipe) for segmenter, recipe, _ in loaded], say)
    lines = list(settings)
    if diameter is not None:
        lines += _rescale_to(paths[0], trained, diameter, lines)
    recipe, task = _change_recipe(first, lines, loaded[0][0].task)
    adapt = getattr(loaded[0][0], "adapt", None)
    task = task if adapt is None else adapt(task)
    names = (Path(path).absolute() if Path(path).exists() else path for path in paths)
    origin = Origin(tuple(map(str, names)), tuple(lines), allow_code, device)
    segmenters = [segmenter for segmenter, _, _ in loaded]
    predictor = make_predictor(segmenters, recipe, task=task, origin=origin, trained=trained)
    predictor = replace(predictor, calibrations=_calibrations(card))
    if not any(line.partition("=")[0].strip() == "data.use_channels" for line in lines):
        predictor = by_trained_names(predictor, channel_names(card))
    return move_predictor(predictor, place)


def by_trained_names(predictor: Predictor, names: tuple[str, ...]) -> Predictor:
    """The predictor with a choice of channels by the channel names of its training images."""
    rules = predictor.layout
    if not names or rules is None:
        return predictor
    choice = replace(rules.channels, trained=names)
    return replace(predictor, layout=replace(rules, channels=choice))


def _rescale_to(
    model: ModelLike,
    trained: ObjectDiameters | None,
    diameter: float | int,
    settings: Sequence[str],
) -> list[str]:
    """Settings that bring objects of ``diameter`` pixels to the size of the training objects."""
    if trained is None:
        raise CheckpointError(
            message(
                model,
                expected="a model that names the sizes of its training objects (object_diameters)",
                found="a card without them",
                do="Give the factor instead of --diameter: --set infer.scale=0.5 halves an image.",
            )
        )
    if not (isinstance(diameter, int | float) and 0 < diameter < math.inf):
        raise RecipeError(
            f"--diameter {diameter}: expected a number of pixels above 0. Measure a typical object."
        )
    if any(line.partition("=")[0].strip() == "infer.scale" for line in settings):
        raise RecipeError(
            "--diameter: expected no infer.scale with it, found both. They mean the same; leave "
            "one of them out."
        )
    scale = trained.median / diameter
    low, high = 1 / MAX_SCALE, MAX_SCALE
    if not low <= scale <= high:
        raise RecipeError(
            f"--diameter {diameter:g}: expected {trained.median / high:.3g} to "
            f"{trained.median / low:.5g} pixels (training objects have {trained.median:.3g}), "
            f"found a resized image {scale:.3g} times as large. Give pixels of the image."
        )
    return [f"infer.scale={scale:.8g}", "data.spacing=null"]


def make_predictor(
    segmenters: Sequence[nn.Module],
    recipe: Recipe,
    task: Task | None = None,
    normalize: Normalizer | None = None,
    origin: Origin | None = None,
    trained: ObjectDiameters | None = None,
) -> Predictor:
    """A predictor with the recipe's normalization, tiling and task options.

    Args:
        segmenters: one model, or several that are averaged.
        recipe: of the first model, with settings.
        task: the recipe's task, if it is built already.
        normalize: the recipe's normalization, if it is built already.
        origin: the files of the models.
        trained: sizes of the objects that the model was trained on.

    Raises:
        RecipeError: ``infer.tta`` names axes that the images do not have.
    """
    infer, data = recipe.infer, recipe.data
    ndim = data.ndim
    return Predictor(
        segmenters,
        task=task or build_task(recipe),
        channels=data.channels,
        tiling=tiling_of(recipe),
        views=Views.of(ndim, tta=infer.tta, mirror_positions=infer.mirror_positions),
        normalize=normalize or build_normalizer(recipe),
        average=infer.average,
        precision=infer.precision,
        uncertainty=infer.uncertainty,
        fit=_fitted(infer),
        block=infer.block,
        view=View(data.spacing, data.foreground_crop, infer.scale or data.scale),
        layout=Layout(
            ndim,
            data.axes,
            image_suffix=data.image_suffix,
            allow_external=data.allow_external,
            channels=ChannelChoice(data.use_channels),
        ),
        origin=origin,
        trained=trained,
    )


def _fitted(infer: InferRecipe) -> tuple[Literal["scale", "size"], ...]:
    """What is fitted to each image; a scale that is given is not."""
    scale: tuple[Literal["scale"], ...] = ("scale",) if infer.scale is None else ()
    if infer.fit is True:
        return (*scale, "size")
    return scale if infer.fit == "scale" else ()


def tiling_of(recipe: Recipe) -> Tiling:
    """How a recipe cuts images into windows."""
    infer = recipe.infer
    window = tuple(infer.tile or recipe.data.crop)
    # An adapted window takes no more memory than a batch of the given ones.
    most = math.prod(window) * (infer.batch_size or cpu_batch_size(window))
    return Tiling(
        window,
        overlap=infer.overlap,
        blend=infer.blend,
        pad=infer.pad,
        batch_size=infer.batch_size,
        adapt=most if infer.adapt_tile else None,
    )


def compare_flips(predictor: Predictor) -> Predictor:
    """The predictor with mirrored views that are used for the uncertainty alone."""
    flips = compared_flips(predictor.task, predictor.views, predictor.ndim)
    return replace(predictor, compared=flips)


def _calibrations(card: Mapping[str, Any]) -> dict[str, Calibration]:
    """Calibrations of the uncertainty in a model card; invalid entries are skipped."""
    entry = card.get("calibration")
    if not isinstance(entry, Mapping):
        return {}
    read = {name: Calibration.of_card(entry.get(name)) for name in ("scores", "views")}
    return {name: each for name, each in read.items() if each is not None}


def _check_alike(first: Recipe, other: Recipe, *, source: str, than: str) -> None:
    """An ensemble's models get the same image and what they give is averaged."""
    facts = [
        {
            "axes": recipe.data.ndim,
            "channels": recipe.data.channels,
            "normalization": recipe.data.normalize,
            "spacing": recipe.data.spacing,
            "foreground crop": recipe.data.foreground_crop,
        }
        for recipe in (first, other)
    ]
    for name, wanted in facts[0].items():
        if facts[1][name] != wanted:
            raise CheckpointError(
                f"{source}: expected the {name} of {than} ({wanted}), found {facts[1][name]}. "
                "An ensemble needs models of the same inputs and outputs; predict with each alone."
            )


def _compare_tasks(
    paths: Sequence[ModelLike],
    tasks: Sequence[tuple[CompleteTask, Recipe]],
    say: Callable[[str], None] | None,
) -> None:
    """Refuse tasks with other outputs; the first one decodes, which is said if others differ."""
    (first, recipe), differ = tasks[0], list[str]()
    for path, (task, other) in zip(paths[1:], tasks[1:], strict=True):
        alike = task.channels() == first.channels()
        if not alike or describe_meaning(task) != describe_meaning(first):
            raise CheckpointError(
                f"{path}: expected the task of {paths[0]} ({recipe.task}), found {other.task}. An "
                "ensemble needs models of the same inputs and outputs; predict with each alone."
            )
        if other.task != recipe.task:
            differ.append(str(path))
    if differ and say is not None:
        say(
            f"note: {', '.join(differ)}: the decoding options differ from those of {paths[0]}, "
            "which are used for the ensemble."
        )


def _change_recipe(
    recipe: Recipe, settings: list[str], task: CompleteTask
) -> tuple[Recipe, CompleteTask]:
    """The recipe and its task, with settings that leave the network as it is."""
    # The maker of a model does not decide which files of this machine are read.
    data = recipe.data.model_copy(update={"allow_external": False})
    changed = recipe.model_copy(update={"data": data}).with_settings(settings)
    use_formats(changed.data.formats)
    fixed = [line for line in settings if line.partition("=")[0].strip().startswith(_FIXED)]
    if fixed:
        raise RecipeError(
            f"--set {' '.join(fixed)}: expected fields of infer, task or data that do not change "
            "the network, found some that training has fixed. Use --set infer.KEY=VALUE."
        )
    same = [(r.task, r.data.ndim, r.data.ignore_label) for r in (changed, recipe)]
    if same[0] == same[1]:
        return changed, task
    other = build_task(changed)
    if (found := other.channels()) != (channels := task.channels()):
        raise RecipeError(
            f"--set {' '.join(settings)}: expected a task of {channels} channels as the model has, "
            f"found {found}. Train a model for that task."
        )
    return changed, other


def is_exported(path: ModelLike) -> bool:
    """Whether a file was made by ``unmask export``, by its name and the first of its entries."""
    file = Path(path)
    if file.suffix.lower() == ".onnx":
        return file.is_file()
    if file.suffix.lower() not in {".pt", ".zip"} or not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    return any(name == "rdf.yaml" or name.endswith("/extra/unmask.json") for name in names)


def _early_note(path: ModelLike, recipe: Recipe) -> list[str]:
    """A note if a run ended before its last update: its model may know little."""
    numbers = [each.name.removeprefix("step-") for each in Path(path).glob("snapshots/step-*")]
    step = max((int(number) for number in numbers if number.isdigit()), default=None)
    if step is None or step >= recipe.train.steps:
        return []
    return [
        f"note: the training of {path} has not ended: update {step} of {recipe.train.steps}. "
        "The command that started it, with --resume, continues it."
    ]


def _load_segmenter(
    path: ModelLike, *, allow_code: bool, say: Callable[[str], None] | None
) -> tuple[Any, Recipe, Mapping[str, Any]]:
    if is_exported(path):
        return _EXPORTED["read"](Path(path), allow_code=allow_code)
    model = checkpoint.load_model(path)
    recipe, notes = checkpoint.recipe_inside(model.card, path, allow_code=allow_code)
    if say is not None:
        for note in [*notes, *_early_note(path, recipe)]:
            say(note)
    if recipe.task is None:
        raise CheckpointError(
            f"{path}: expected a segmenter, found a model pre-trained by "
            f"{recipe.method.name if recipe.method else None!r}. Fine-tune it first: "
            "unmask train --init."
        )
    try:
        build = partial(build_segmenter, task=build_task(recipe))
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from error
    segmenter = build_finished(recipe, model.weights, build, source=path)
    return segmenter, recipe, model.card
