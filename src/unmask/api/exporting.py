"""``export`` and ``decode``: networks in files of other programs, and labels of their scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from unmask.api.values import Say
from unmask.errors import DataError, message
from unmask.infer.load import load_predictor
from unmask.io import smallest_uint

if TYPE_CHECKING:
    from unmask.exports.write import ExportedFile


def export(
    model: str | Path,
    *,
    format: str,  # noqa: A002 - the name of the option
    out: str | Path,
    check: bool = False,
    allow_code: bool = False,
    say: Say | None = None,
) -> ExportedFile:
    """Write a model to a file that runs without unmask, in float32, for any image size and batch.

    The network gets images ``(B, C, *space)`` and gives scores ``(B, S, *space)``. A normalization
    with fixed values is a part of the network; one that measures images is described in the file,
    and images are normalized by it before. The file also holds the model's recipe and card.

    Args:
        model: model file, run folder or name of a shipped model.
        format: ``onnx``, ``torchscript`` or ``bioimageio``.
        out: the file; it must not exist.
        check: run the file, and compare its scores with those of the network at two sizes of the
            image and of the batch.
        allow_code: run parts that the model carries as source.
        say: receives notes on the code of the model that runs.

    Raises:
        RecipeError: an unknown format, a wrong name of the file, or a network that cannot be
            exported; says why.
        CheckpointError: no such model, or the scores of the file differ.
        MissingPackageError: the extra ``export`` is not installed.
        SaveError: ``out`` cannot be written. After any error there is no file.

    Examples:
        >>> done = export("nuclei", format="onnx", out="nuclei.onnx", check=True)  # doctest: +SKIP
        >>> done.comparison.difference < 1e-4  # doctest: +SKIP
        True
    """
    from unmask.exports.write import export_model

    return export_model(model, Path(out), form=format, check=check, allow_code=allow_code, say=say)


def decode(
    model: str | Path,
    scores: Float[np.ndarray, "s *space"],
    *,
    spacing: tuple[float, ...] | None = None,
    settings: tuple[str, ...] = (),
) -> np.ndarray:
    """Labels of the scores of one image that an exported network gave, in any program.

    Args:
        model: the exported file, or the model that it was made of.
        scores: ``(S, *space)`` float32, of the whole image.
        spacing: voxel size, if known.
        settings: changes to the options of decoding, such as ``task.decoding.threshold=0.6``.

    Returns:
        ``(*space)``, 0 is background; the smallest unsigned type that holds the ids.

    Raises:
        DataError: scores of another number of axes.
    """
    predictor = load_predictor(model, settings)
    values: Any = np.ascontiguousarray(scores, np.float32)
    if values.ndim != predictor.ndim + 1:
        raise DataError(
            message(
                "scores",
                expected=f"channels and {predictor.ndim} spatial axes, of one image",
                found=f"shape {values.shape}",
                do="Give the scores of one image, without the axis of the batch.",
            )
        )
    from unmask.tasks.complete import complete

    return smallest_uint(complete(predictor.task).answer(values, spacing).labels)
