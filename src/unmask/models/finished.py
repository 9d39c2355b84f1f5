"""Networks of finished models: built only after the card has been compared with the weights.

A card is text and can claim a network of any size. So the network is first built without memory
(PyTorch's ``meta`` device) and with a limit on the number of its layers and weights, and compared
with the tensors of the file, which are as large as the file is.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks

from unmask import checkpoint
from unmask.errors import CheckpointError, RecipeError, message
from unmask.lookup import find
from unmask.models import BACKBONES, DECODERS, HEADS
from unmask.plugins import references
from unmask.recipe import Part, Recipe
from unmask.yaml_text import leaves

Network = TypeVar("Network", bound=nn.Module)

# Layers without weights, such as activations, for every tensor of the file.
_LAYERS_PER_TENSOR = 32
_FEW = 256
# Sizes that may stand in a card without a tensor of that length, such as those of an image.
_USUAL = 4096
# Buffers that a state dict leaves out, such as tables of positions, as bytes.
_BUFFER_BYTES = 256 << 20
_START_NAMES = {"weights", "pretrained", "checkpoint", "ckpt", "start", "init_weights"}
_WEIGHT_FILES = (".pth", ".pt", ".ckpt", ".bin", ".safetensors", ".npz", ".npy", ".h5", ".pkl")
_TABLES: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "backbone": BACKBONES,
    "decoder": DECODERS,
    "head": HEADS,
}


def build_finished(
    recipe: Recipe,
    weights: Mapping[str, Tensor],
    build: Callable[[Recipe], Network],
    *,
    source: object,
) -> Network:
    """The network of a recipe with exactly these weights, in evaluation mode.

    Args:
        recipe: of the model file.
        weights: of the model file.
        build: makes a network with fresh weights.
        source: the model file, for messages.

    Raises:
        CheckpointError: names or shapes differ; nothing of the claimed size was made.
        RecipeError: options that no network can be built with.
    """
    try:
        return _build(without_start_weights(recipe), weights, build, source)
    except RecipeError as error:
        raise RecipeError(f"{source}: {error}") from error


def _build(
    finished: Recipe,
    weights: Mapping[str, Tensor],
    build: Callable[[Recipe], Network],
    source: object,
) -> Network:
    # Parts from files ran because the user trusts them; few of them can be built on ``meta``.
    if not any(references(finished.model_dump(include={"model", "task"}))):
        _check_sizes(finished, weights, source)
        with _limit_size(len(weights), source), torch.device("meta"):
            outline = build(finished)
        checkpoint.check_fit(outline, weights, source=source)
        _check_buffers(outline, source)
        own = outline.state_dict()
        if len(own) == len([*outline.parameters(), *outline.buffers()]):
            # A second construction would only draw weights that the file replaces.
            given = {name: weights[name].to(own[name].dtype, copy=True) for name in own}
            outline.load_state_dict(given, assign=True)
            return outline.eval()
    network = build(finished)
    checkpoint.load_weights(network, weights, source=source)
    return network.eval()


def without_start_weights(recipe: Recipe) -> Recipe:
    """The recipe without options that name a file of weights to start a training from.

    A finished model has all its weights inside, and the file may be elsewhere. Options that the
    constructor demands are kept.
    """
    changes: dict[str, Part] = {}
    for field, table in _TABLES.items():
        part: Part | None = getattr(recipe.model, field)
        names = [] if part is None else [n for n, v in part.choice.options.items() if _starts(n, v)]
        if part is None or not names:
            continue
        known = inspect.signature(find(part.name, table, f"model.{field}")).parameters
        free = {n for n in names if n in known and known[n].default is not inspect.Parameter.empty}
        options = {n: v for n, v in part.choice.options.items() if n not in free}
        changes[field] = Part(name=part.name, **options)
    model = recipe.model.model_copy(update=changes)
    return recipe.model_copy(update={"model": model}) if changes else recipe


def _starts(name: str, value: object) -> bool:
    if isinstance(value, str) and value.lower().endswith(_WEIGHT_FILES):
        return True
    return name.lower() in _START_NAMES and bool(value) and isinstance(value, str | bool)


def _check_sizes(recipe: Recipe, weights: Mapping[str, Tensor], source: object) -> None:
    """Refuse numbers that no tensor speaks for: widths are lengths of tensors, depths numbers."""
    longest = max((length for tensor in weights.values() for length in tensor.shape), default=0)
    most = max(_USUAL, longest, len(weights))
    for position, value in leaves(recipe.model.model_dump()):
        if isinstance(value, int) and abs(value) > most:
            raise CheckpointError(
                message(
                    source,
                    expected=f"sizes of at most {most}, as its {len(weights)} tensors have",
                    found=f"model.{'.'.join(position)}={value}"[:80],
                    do="The file is damaged or was made to mislead; use another copy.",
                )
            )


@contextmanager
def _limit_size(tensors: int, source: object) -> Generator[None, None, None]:
    """Layers and weights that are made inside the block are counted, and stop at a limit."""
    here, counts = threading.get_ident(), {"weights": 0, "layers": 0}
    limits = {
        "weights": 2 * tensors + _FEW,
        "layers": _LAYERS_PER_TENSOR * tensors + _FEW,
    }

    def count(kind: str) -> None:
        # The hooks are those of the whole process; other threads may build networks of their own.
        if threading.get_ident() != here:
            return
        counts[kind] += 1
        if counts[kind] > limits[kind]:
            raise CheckpointError(
                message(
                    source,
                    expected=f"a card that describes the {tensors} tensors of the file",
                    found="one of a far larger network",
                    do="The file is damaged or was made to mislead; use another copy.",
                )
            )

    handles = [
        hooks.register_module_parameter_registration_hook(lambda *_: count("weights")),
        hooks.register_module_buffer_registration_hook(lambda *_: count("weights")),
        hooks.register_module_module_registration_hook(lambda *_: count("layers")),
    ]
    try:
        yield
    except (MemoryError, OverflowError) as error:
        raise RecipeError(
            message(
                source,
                expected="sizes that a network can have",
                found=f"larger ones in its card ({error or type(error).__name__})",
                do="Use another copy of the file.",
            )
        ) from error
    finally:
        for handle in handles:
            handle.remove()


def _check_buffers(outline: nn.Module, source: object) -> None:
    """Refuse tables of absurd size that no tensor of the file speaks for."""
    kept = outline.state_dict()
    size = sum(b.nbytes for name, b in outline.named_buffers() if name not in kept)
    if size > _BUFFER_BYTES:
        raise CheckpointError(
            message(
                source,
                expected=f"tables of at most {_BUFFER_BYTES >> 20} MB in addition to the weights",
                found=f"a card that asks for {size >> 20} MB",
                do="Use another copy of the file.",
            )
        )
