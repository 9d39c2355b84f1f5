"""``train.compile``: the parts of a network by torch.compile."""

from __future__ import annotations

from torch import nn

from unmask.models.base import Objective
from unmask.models.blocks import TransformerBlock

_PARTS = ("backbone", "decoder", "head")


def compile_parts(objective: Objective, *, backend: str = "inductor") -> list[str]:
    """Compile what takes the time of a step; names of weights and model files stay the same.

    The loss stays as it is: masks, views and logs would only divide the graph. Transformers are
    compiled block by block, because methods call their encoder by parts; one compiled block serves
    all of one shape.

    Args:
        objective: what is trained.
        backend: of torch.compile.

    Returns:
        Names of the compiled modules.
    """
    blocks = [
        name for name, part in objective.named_modules() if isinstance(part, TransformerBlock)
    ]
    whole = [
        name
        for name, part in objective.named_children()
        if name in _PARTS and not _holds(part, TransformerBlock)
    ]
    for name in [*whole, *blocks]:
        objective.get_submodule(name).compile(backend=backend)
    return [*whole, *blocks]


def _holds(module: nn.Module, kind: type[nn.Module]) -> bool:
    return any(isinstance(part, kind) for part in module.modules())
