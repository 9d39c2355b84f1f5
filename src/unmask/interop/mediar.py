"""Networks of MEDIAR (arXiv:2212.03465): mix transformer, decoder of MA-Net, two heads; 2D."""

from __future__ import annotations

from functools import partial
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from unmask.build import build_segmenter
from unmask.interop.base import Entries, Source, count, state_dict
from unmask.models.mit import SIZES
from unmask.recipe import Recipe, load

_ENCODER, _CENTER = "encoder.patch_embed1.", "decoder.center."
_HEADS = {"gradflow_head.": "head.branches.0.", "cellprob_head.": "head.branches.1."}


class RawOutputs(nn.Module):
    """Flow y, flow x (both times 5) and the foreground's logit."""

    def __init__(self, segmenter: nn.Module) -> None:
        super().__init__()
        self.segmenter: Any = segmenter

    def forward(self, image: Float[Tensor, "b c y x"]) -> Float[Tensor, "b 3 y x"]:
        """Raw outputs of normalized images."""
        return self.segmenter.logits(image)


def _belongs(entries: Entries) -> bool:
    """By parts, so that a file without one of its entries gets a message that names it."""
    return all(any(name.startswith(part) for name in entries) for part in (_ENCODER, _CENTER))


def _recipe(entries: Entries) -> Recipe:
    """The published fine-tuning and inference, with the network that the entries are for."""
    tree = load("mediar_finetune").model_dump(mode="json")
    first = entries.get(f"{_ENCODER}proj.weight")
    if first is not None and first.ndim > 1:
        tree["data"]["channels"] = first.shape[1]
    tree["model"] = {
        "backbone": {"name": "mit", **_encoder(entries)},
        "decoder": {
            "name": "manet",
            "width": _size(entries, "decoder.blocks.4.conv2.0", 64),
            "attention": _size(entries, f"{_CENTER}top_conv", 64),
        },
        "head": {"name": "branches", "hidden": _size(entries, "gradflow_head.0", 32)},
    }
    return Recipe.model_validate(tree)


def _encoder(entries: Entries) -> dict[str, Any]:
    """The published size where channels and blocks are those of one."""
    usual, _ = SIZES["b5"]
    dims = tuple(
        _size(entries, f"encoder.patch_embed{stage}.proj", dim)
        for stage, dim in enumerate(usual, 1)
    )
    depths = tuple(
        max(1, count(entries, f"encoder.block{stage}.{{}}.")) for stage in range(1, len(usual) + 1)
    )
    for name, sizes in SIZES.items():
        if sizes == (dims, depths):
            return {"size": name}
    return {"dims": list(dims), "depths": list(depths)}


def _size(entries: Entries, name: str, default: int) -> int:
    """Channels that a layer gives; where it is missing, the comparison of names tells."""
    for entry in (f"{name}.weight", f"{name}.bias"):
        if entry in entries and entries[entry].ndim:
            return entries[entry].shape[0]
    return default


def _rename(name: str) -> str | None:
    """``segmentation_head`` is left over in files of the napari plugin; nothing uses it."""
    if name.startswith("segmentation_head."):
        return None
    for theirs, ours in _HEADS.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return f"backbone.{name.removeprefix('encoder.')}" if name.startswith("encoder.") else name


SOURCE = Source(
    title="MEDIAR (arXiv:2212.03465)",
    license="MIT",
    unpack=partial(state_dict, groups=("model_state_dict", "state_dict", "model")),
    belongs=_belongs,
    recipe=_recipe,
    renamed=_rename,
    build=build_segmenter,
    outputs=RawOutputs,
)
