"""Mix transformers of SegFormer (arXiv:2105.15203), as trained on ImageNet: MEDIAR's start.

Their authors name the entries as we do. Hugging Face's and timm's layouts of other names are not
read. The published weights exclude commercial use.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from unmask.build import build_segmenter
from unmask.interop.base import Entries, Source, count, state_dict
from unmask.models.mit import SIZES
from unmask.recipe import Recipe, load

_FIRST = "patch_embed1.proj.weight"
_STAGES = re.compile(r"(?:patch_embed|block|norm)[1-4]\.")


class Features(nn.Module):
    """The features of the four stages, fine to coarse."""

    def __init__(self, segmenter: nn.Module) -> None:
        super().__init__()
        self.backbone: Any = segmenter.get_submodule("backbone")

    def forward(self, image: Float[Tensor, "b c y x"]) -> list[Tensor]:
        """Features of normalized images."""
        return self.backbone(image)


def _belongs(entries: Entries) -> bool:
    return _FIRST in entries and any(name.startswith("block1.0.attn.") for name in entries)


def _recipe(entries: Entries) -> Recipe:
    """The first pre-training of MEDIAR, with the encoder that the entries are for."""
    tree = load("mediar_pretrain_public").model_dump(mode="json")
    tree["data"]["channels"] = entries[_FIRST].shape[1]
    dims = tuple(_width(entries, stage) for stage in range(1, 5))
    depths = tuple(max(1, count(entries, f"block{stage}.{{}}.")) for stage in range(1, 5))
    named = [size for size, sizes in SIZES.items() if sizes == (dims, depths)]
    given = {"size": named[0]} if named else {"dims": list(dims), "depths": list(depths)}
    tree["model"]["backbone"] = {"name": "mit", **given}
    return Recipe.model_validate(tree)


def _width(entries: Entries, stage: int) -> int:
    entry = entries.get(f"patch_embed{stage}.proj.weight")
    return SIZES["b5"][0][stage - 1] if entry is None else entry.shape[0]


def _rename(name: str) -> str | None:
    """The classifier for the classes of ImageNet is not needed."""
    return f"backbone.{name}" if _STAGES.match(name) else None


SOURCE = Source(
    title="a mix transformer of ImageNet (arXiv:2105.15203)",
    license="NVIDIA Source Code License, non-commercial",
    unpack=partial(
        state_dict,
        groups=("state_dict", "model"),
        prefixes=("module.", "backbone.", "encoder."),
    ),
    belongs=_belongs,
    recipe=_recipe,
    renamed=_rename,
    build=build_segmenter,
    outputs=Features,
    optional=True,
)
