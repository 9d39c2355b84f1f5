"""Record a network as a graph of tensor operations for any batch and image size."""

from __future__ import annotations

import re
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from unmask.errors import RecipeError
from unmask.exports.network import Exported, refusal
from unmask.space.axes import SPACE

# Sizes of the image that a network is recorded with: odd and unequal, so that nothing fits by
# accident, and large enough that the coarsest features have several voxels.
_SIZES = (73, 91, 107)
_LARGEST = {"batch": 1 << 10, "space": 1 << 16}


def sample_image(channels: int, ndim: int, least: int = 1, batch: int = 2) -> Tensor:
    """An image to record a network with; the same each time."""
    size = [max(length, 2 * least + length % 7) for length in _SIZES[:ndim]]
    if ndim > 2 and least <= 8:
        size = [length // 3 for length in size]
    generator = torch.Generator().manual_seed(0)
    return torch.rand((batch, channels, *size), generator=generator)


def record(network: Exported, image: Tensor) -> torch.export.ExportedProgram:
    """The graph of a network, with symbols for the batch and for every spatial axis.

    Args:
        network: in evaluation mode.
        image: a batch of 2 or more.

    Raises:
        RecipeError: a layer that cannot be recorded, or that only works for one size.
    """
    axes = SPACE[-(image.ndim - 2) :].lower()
    dims: dict[int, Any] = {0: torch.export.Dim("batch", min=1, max=_LARGEST["batch"])}
    for axis, name in enumerate(axes, 2):
        dims[axis] = torch.export.Dim(name, min=1, max=_LARGEST["space"])
    with reporting(network), torch.no_grad():
        return torch.export.export(
            network,
            (image,),
            dynamic_shapes={"image": dims},
            # Layers keep every size apart from rounding up; what can be asserted about sizes that
            # were rounded up holds for all of them, but no solver can show it.
            prefer_deferred_runtime_asserts_over_guards=True,
        )


def trace(network: Exported, image: Tensor) -> torch.jit.ScriptModule:
    """The graph of a network as TorchScript, for any batch and image size.

    Raises:
        RecipeError: a layer that cannot be recorded, or that only works for one size.
    """
    with reporting(network), torch.no_grad():
        return torch.jit.trace(network, (image,), check_trace=False)  # pyright: ignore[reportReturnType]


@contextmanager
def reporting(network: Exported) -> Generator[None, None, None]:
    """Turn what recording raises into an error that a user can act on."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # A size that became a number of the recorded image would be wrong for other images.
            warnings.filterwarnings("error", category=torch.jit.TracerWarning)
            yield
    except RecipeError:
        raise
    except Exception as error:
        # PyTorch raises errors of many kinds here; the first line of each says what it met.
        parts = (network.segmenter.backbone, network.segmenter.decoder, network.segmenter.head)
        names = " + ".join(type(part).__name__ for part in parts)
        text = _first_line(str(error)) or type(error).__name__
        raise RecipeError(refusal(names, f"a step that cannot be recorded ({text})")) from error


def _first_line(text: str) -> str:
    lines: Sequence[str] = [line.strip() for line in text.splitlines() if line.strip()]
    return re.sub(r"\s+", " ", lines[0])[:200] if lines else ""
