"""Paths of predicted labels, and their names inside an OME-Zarr."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unmask import hub
from unmask.api.prediction_options import SUMMARY, TABLE, Options
from unmask.data.outputs import keep_inputs, keep_results
from unmask.data.pairing import Pair
from unmask.errors import DataError, RecipeError, raise_problems
from unmask.infer.predictor import Predictor
from unmask.io import FORMATS, Image, output_name
from unmask.io.label_groups import label_name, labels_in_place
from unmask.io.paths import locate

# The model file of a run has the same name in every run, so the name of the run is used.
_MODEL_FILE = "model"


@dataclass(frozen=True)
class Destination:
    """Path of the labels of one image.

    Attributes:
        path: label file, or ``store.zarr/labels/<name>``.
        name: name of the label image inside an OME-Zarr.
        out: output folder, for scores, tables and unfinished work.
    """

    path: Path
    name: str
    out: Path

    @property
    def kept(self) -> Path:
        """Unfinished work is stored next to this path, which is never inside a store."""
        location = locate(self.path)
        parts = Path(location.key).parts
        return self.out / "_".join([location.path.name, *parts])


def settle_destinations(
    predictor: Predictor, pairs: Sequence[Pair], out: Path, options: Options
) -> list[Destination]:
    """Paths of the labels of all images, in a folder that is made; no input is overwritten.

    Raises:
        DataError: labels cannot be written into a store, or would replace inputs or results of an
            earlier run; all at once.
        RecipeError: a name or an ending that labels cannot have.
        SaveError: there can be no such folder.
    """
    ending, in_place = options.label_ending, options.in_place
    check_ending(ending, in_place=in_place)
    name = name_of(predictor, options.label_name)
    found = destinations(pairs, out, name, in_place=in_place, ending=ending)
    keep_inputs([] if in_place else pairs, out, resume=options.resume, ending=ending)
    kept = not (options.resume or options.overwrite or in_place)
    wanted = {TABLE: options.table, SUMMARY: options.overlay and len(pairs) > 1}
    together = [out / name for name, is_wanted in wanted.items() if is_wanted]
    keep_results([*(target.path for target in found), *together], out, kept=kept)
    return found


def _destination(
    image: Image, out: Path, name: str, *, in_place: bool, ending: str | None
) -> Destination:
    path = labels_in_place(image.source, name) if in_place else output_name(image, out, ending)
    return Destination(path, name, out)


def destinations(
    pairs: Sequence[Pair],
    out: Path,
    name: str,
    *,
    in_place: bool = False,
    ending: str | None = None,
) -> list[Destination]:
    """Paths of the labels of all images; with ``ending``, that follows the stem of the image.

    Raises:
        DataError: labels cannot be written into a store; lists all such images.
    """
    found: list[Destination] = []
    problems: list[str] = []
    for pair in pairs:
        try:
            found.append(_destination(pair.image, out, name, in_place=in_place, ending=ending))
        except DataError as error:
            problems.append(str(error))
    raise_problems(problems)
    return found


def check_ending(ending: str | None, *, in_place: bool) -> None:
    """Refuse an ending of label files that names no format, or one for labels without a file.

    Raises:
        RecipeError: an ending without a known suffix, or with ``in_place``.
    """
    if ending is None:
        return
    suffixes = [suffix for suffix, form in FORMATS.items() if form.save and not form.folder]
    known = any(ending.lower().endswith(suffix) for suffix in suffixes)
    if in_place or not known or Path(ending).name != ending:
        raise RecipeError(
            f"--label-ending {ending!r}: expected an ending with one of the suffixes "
            f"{' '.join(suffixes)}, and no --in-place, found otherwise. Write for example "
            "_label.tiff."
        )


def name_of(predictor: Predictor, given: str | None) -> str:
    """Name of label images: the given one, or that of the models.

    Raises:
        RecipeError: the given name contains characters that a store does not allow.
    """
    if given is not None:
        if label_name(given) != given:
            raise RecipeError(
                f"--label-name {given!r}: expected letters, digits, _, -, + and . in a name, found "
                f"others. Write for example {label_name(given)!r}."
            )
        return given
    models = () if predictor.origin is None else predictor.origin.models
    names = dict.fromkeys(_model_name(Path(model)) for model in models)
    return label_name("+".join(names))


def _model_name(model: Path) -> str:
    if hub.is_hub_name(model):
        return hub.parse_name(model).repository.partition("/")[2]
    stem = model.stem if model.suffix in (".safetensors", ".pth", ".pt") else model.name
    return model.parent.name if stem == _MODEL_FILE else stem
