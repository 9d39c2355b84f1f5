"""The model of ``predict`` if none is named."""

from __future__ import annotations

from functools import partial

from unmask import shipped
from unmask.api.values import Say, Settings
from unmask.data.pairing import image_files
from unmask.data.pairs import Layout, Paths, open_as_seen
from unmask.errors import DataError, RecipeError, gather, message
from unmask.io import open_image
from unmask.io.inputs import Input
from unmask.shipped.starts import find_generalist, start_name


def choose_model(images: Paths, settings: Settings, say: Say, *, planes: str | None = None) -> str:
    """Name of the shipped model that fits the first readable image.

    Args:
        images: as for ``predict``.
        settings: settings of the prediction; ``data.axes`` names the axes of the images.
        say: called with a sentence that names the model and its training images.
        planes: axis of stacks whose positions are segmented separately.

    Raises:
        DataError: no image can be read.
        RecipeError: no model is shipped for this number of axes.
    """
    own = [line.partition("=")[2] for line in settings if line.startswith("data.axes=")]
    axes = own[-1].strip() if own else None
    read = partial(open_as_seen, layout=Layout(0, axes), channels=None)
    problems: list[str] = []
    for _, path in image_files(images, []):
        try:
            ndim = read(path).ndim
        except DataError as error:
            problems.append(str(error))
        else:
            return _model_for(2 if planes == "z" else ndim, str(path), say)
    raise DataError(gather(problems), problems)


def choose_model_for(
    image: Input, *, axes: str | None = None, planes: str | None = None, say: Say = print
) -> str:
    """Name of the shipped model that fits one image, which may be an array."""
    opened = open_image(image, axes=axes)
    return _model_for(2 if planes == "z" else opened.ndim, str(opened.source), say)


def _model_for(ndim: int, source: str, say: Say) -> str:
    start = find_generalist(ndim)
    if start is None:
        raise RecipeError(
            message(
                "predict without --model",
                expected="2D or 3D images, for which models are shipped",
                found=f"{ndim} spatial axes ({source}); {start_name(ndim)} does not exist",
                do="Give --model. Without labels: draw images with unmask synth, train on them "
                "with unmask train, and predict with that run.",
            )
        )
    others = [name for name in shipped.names() if name != start.name]
    say(
        f"Model: {start.name}, which was not trained on your images but on {start.origin}. "
        "Check the result; training with a few labels of your own improves it: unmask train."
        + (f" Other shipped models: {', '.join(others)} (--model)." if others else "")
    )
    return start.name
