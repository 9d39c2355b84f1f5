"""Record a network as a graph of tensor operations for any batch and image size."""

from __future__ import annotations

import re
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import jaxtyping
import torch
from torch import Tensor
from torch.jit._trace import TracerWarning

from unmask.errors import RecipeError
from unmask.exports.network import Exported, refusal
from unmask.space.axes import SPACE

# Sizes of an image whose values are looked at: odd and unequal, so that nothing fits by accident.
_SIZES = (9, 25, 35)
# Sizes of an image that stands for images of any size. They are primes that are 1 more than a
# multiple of 32: every pooling rounds up, so that no layer finds that rounding is not needed.
_SYMBOLIC = {1: (1153,), 2: (641, 1153), 3: (97, 193, 257)}
_LARGEST = {"batch": 1 << 10, "space": 1 << 16}


def sample_image(channels: int, ndim: int, batch: int = 2) -> Tensor:
    """A small image; the same each time."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand((batch, channels, *_SIZES[-ndim:]), generator=generator)


def record(network: Exported, channels: int, ndim: int) -> torch.export.ExportedProgram:
    """The graph of a network, with symbols for the batch and for every spatial axis.

    Args:
        network: in evaluation mode.
        channels: of the image.
        ndim: number of spatial axes.

    Raises:
        RecipeError: a layer that cannot be recorded, or that only works for one size.
    """
    # No value is computed, so this memory is never touched.
    image = torch.empty((2, channels, *_SYMBOLIC[ndim]))
    axes = SPACE[-ndim:].lower()
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


def trace(network: Exported, channels: int, ndim: int) -> torch.jit.ScriptModule:
    """The graph of a network as TorchScript, for any batch and image size.

    Args:
        network: in evaluation mode.
        channels: of the image.
        ndim: number of spatial axes.

    Raises:
        RecipeError: a layer that cannot be recorded, or that only works for one size.
    """
    image = sample_image(channels, ndim)
    with reporting(network), torch.no_grad():
        return torch.jit.trace(network, (image,), check_trace=False)  # pyright: ignore[reportReturnType]


@contextmanager
def reporting(network: Exported) -> Generator[None, None, None]:
    """Turn what recording raises into an error that a user can act on."""
    checks = jaxtyping.config.jaxtyping_disable
    try:
        # Where shapes are checked, as in tests, a check would compare symbols.
        jaxtyping.config.update("jaxtyping_disable", True)  # noqa: FBT003 - its signature
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # A size that became a number of the recorded image would be wrong for other images.
            warnings.filterwarnings("error", category=TracerWarning)
            yield
    except RecipeError:
        raise
    except Exception as error:
        # PyTorch raises errors of many kinds here; the first line of each says what it met.
        parts = (network.segmenter.backbone, network.segmenter.decoder, network.segmenter.head)
        names = " + ".join(type(part).__name__ for part in parts)
        text = _first_line(str(error)) or type(error).__name__
        raise RecipeError(refusal(names, f"a step that cannot be recorded ({text})")) from error
    finally:
        jaxtyping.config.update("jaxtyping_disable", checks)


def _first_line(text: str) -> str:
    lines: Sequence[str] = [line.strip() for line in text.splitlines() if line.strip()]
    return re.sub(r"\s+", " ", lines[0])[:200] if lines else ""
