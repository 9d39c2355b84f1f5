"""Networks of Pixel-Embedded Affinity (doi:10.1609/aaai.v36i1.19984): leaves and nuclei, neurites.

Leaves and nuclei have one network; its recipe is that of leaves, whose foreground logits are not
trained. For nuclei set ``task.foreground_weight`` and take the other values of ``pea_bbbc039``.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from unmask.build import build_segmenter
from unmask.interop.base import Entries, Source, state_dict
from unmask.recipe import Recipe, load

_LEVELS = 4
_BACKBONE = ("inconv.", "down", "embed_in.", "center.", "conv0.", "conv1.", "conv2.", "conv3.")
# Side heads are numbered from coarse to fine, ours from fine to coarse.
_HEADS_2D = {
    "outconv_emb.conv.": "head.embedding.",
    "binary_seg.": "head.foreground.",
    **{f"outconv{n}.conv.": f"side_heads.{_LEVELS - n}." for n in range(1, _LEVELS + 1)},
}
_HEADS_3D = {
    "out_put.0.": "head.",
    **{f"out_put{n}.0.": f"side_heads.{_LEVELS - n}." for n in range(1, _LEVELS + 1)},
}


class Levels(nn.Module):
    """Embeddings of all levels, coarse to fine, then the logits of the foreground if there are."""

    def __init__(self, segmenter: nn.Module) -> None:
        super().__init__()
        self.segmenter: Any = segmenter

    def forward(self, image: Float[Tensor, "b c *space"]) -> list[Tensor]:
        """Raw outputs of normalized images."""
        finest, sides = self.segmenter.outputs(image)
        dims = self.segmenter.task.dims
        whole = [finest[:, :dims], finest[:, dims:]]
        return [*sides[::-1], *(part for part in whole if part.shape[1])]


def _rename(heads: dict[str, str], name: str) -> str:
    for theirs, ours in heads.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return f"{'backbone' if name.startswith(_BACKBONE) else 'decoder'}.{name}"


def _recipe(preset: str, first: str, widths: list[str], embedding: str, entries: Entries) -> Recipe:
    """The published training and inference, with the sizes that the entries show."""
    tree = load(preset).model_dump(mode="json")
    tree["data"]["channels"] = entries[first].shape[1]
    sizes = [entries[name].shape[0] for name in widths if name in entries]
    tree["model"]["backbone"] = {**_part(tree["model"]["backbone"]), "widths": sizes}
    tree["model"]["deep_supervision"] = len(sizes) - 1
    if embedding in entries:
        tree["task"]["dims"] = entries[embedding].shape[0]
    return Recipe.model_validate(tree)


def _part(value: Any) -> dict[str, Any]:
    return {"name": value} if isinstance(value, str) else dict(value)


def _recipe_2d(entries: Entries) -> Recipe:
    first = "inconv.conv.conv.0.weight"
    widths = [first, *(f"down{n}.block.conv.0.weight" for n in range(1, _LEVELS + 1))]
    return _recipe("pea_cvppp", first, widths, "outconv_emb.conv.weight", entries)


def _recipe_3d(entries: Entries) -> Recipe:
    widths = [*(f"conv{n}.block3.weight" for n in range(_LEVELS)), "center.block3.weight"]
    return _recipe("pea_ac34", "embed_in.0.weight", widths, "out_put.0.weight", entries)


_unpack = partial(state_dict, groups=("model_weights", "state_dict", "model"))
_TITLE = "Pixel-Embedded Affinity (doi:10.1609/aaai.v36i1.19984)"
_LICENSE = "none given"

SOURCE_2D = Source(
    title=f"{_TITLE}, 2D",
    license=_LICENSE,
    unpack=_unpack,
    belongs=lambda entries: "inconv.conv.conv.0.weight" in entries,
    recipe=_recipe_2d,
    renamed=partial(_rename, _HEADS_2D),
    build=build_segmenter,
    outputs=Levels,
)
SOURCE_3D = Source(
    title=f"{_TITLE}, 3D",
    license=_LICENSE,
    unpack=_unpack,
    belongs=lambda entries: "embed_in.0.weight" in entries and "center.block3.weight" in entries,
    recipe=_recipe_3d,
    renamed=partial(_rename, _HEADS_3D),
    build=build_segmenter,
    outputs=Levels,
)
