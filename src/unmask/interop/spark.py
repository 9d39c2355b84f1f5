"""SparK's ResNet and the pet segmentation built on it (arXiv:2301.03580): 2D photographs.

Three layouts are read and written: ``module`` (the weights nested next to settings and optimizer),
``flat`` (all weights and nothing else) and ``timm`` (the encoder alone, under its own names).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unmask.build import build_backbone, build_segmenter
from unmask.errors import CheckpointError
from unmask.interop.base import Entries, Source, count, state_dict
from unmask.lookup import build
from unmask.pretraining import METHODS
from unmask.recipe import Part, Recipe, load
from unmask.tasks.segmenter import Segmenter

LAYOUTS = ("module", "flat", "timm")
_ENCODER, _HEAD, _TOKENS = "sparse_encoder.sp_cnn.", "dense_decoder.proj.", "mask_tokens."
# Published prefix to ours.
_PREFIXES = {
    _ENCODER: "backbone.",
    _HEAD: "head.",
    "dense_decoder.dec.": "decoder.dec.",
    "densify_norms.": "decoder.densify_norms.",
    "densify_projs.": "decoder.densify_projs.",
    _TOKENS: _TOKENS,
}
_DEAD = ("imn_m", "imn_s", "norm_black")
# ImageNet's, of which the dead buffers are made.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class Logits(nn.Module):
    """The published output of a fine-tuned network."""

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, image: Float[Tensor, "b c *space"]) -> Float[Tensor, "b k *space"]:
        """One logit per voxel, or one for each class."""
        return self.segmenter.logits(image)


def write(weights: Entries, layout: str, *, size: int = 224) -> dict[str, Any]:
    """The published form of the weights of a ``Spark`` method, for ``torch.save``.

    Args:
        weights: by our names.
        layout: ``module``, ``flat`` or ``timm``.
        size: side of the images of the published program, for a buffer that it does not use.

    Raises:
        CheckpointError: another layout, or no weights of a backbone.
    """
    if layout not in LAYOUTS or not any(name.startswith("backbone.") for name in weights):
        raise CheckpointError(
            f"layout {layout!r}: expected one of {', '.join(LAYOUTS)} and weights of a backbone, "
            f"found entries such as {', '.join(list(weights)[:3]) or 'none'}. Correct one of them."
        )
    if layout == "timm":
        return {
            name.removeprefix("backbone."): value
            for name, value in weights.items()
            if name.startswith("backbone.")
        }
    back = {ours: theirs for theirs, ours in _PREFIXES.items()}
    state: dict[str, Any] = dict(zip(_DEAD, _dead_buffers(size), strict=True))
    for name, value in weights.items():
        ours = next((prefix for prefix in back if name.startswith(prefix)), "")
        state[back.get(ours, "") + name.removeprefix(ours)] = value
    return {"module": state} if layout == "module" else state


def _unpack(tree: Mapping[str, Any]) -> dict[str, Tensor]:
    """Every layout by the names of ``flat``; what fine-tuned files keep without use is left out."""
    entries = state_dict(tree, groups=("module", "state_dict"))
    if not any(name.startswith(_ENCODER) for name in entries):
        entries = {_ENCODER + name: v for name, v in entries.items() if not name.startswith("fc.")}
    entries = {name: value for name, value in entries.items() if name not in _DEAD}
    if _segments(entries):
        entries = {n: value for n, value in entries.items() if not n.startswith(_TOKENS)}
    for name in [name for name in entries if name.endswith("running_var")]:
        # Old files do not count batches
        counter = name.replace("running_var", "num_batches_tracked")
        entries.setdefault(counter, torch.zeros((), dtype=torch.int64))
    return entries


def _belongs(entries: Entries) -> bool:
    return f"{_ENCODER}conv1.weight" in entries and f"{_ENCODER}layer1.0.conv3.weight" in entries


def _segments(entries: Entries) -> bool:
    """Whether the network gives something else than an image."""
    head, stem = entries.get(f"{_HEAD}weight"), entries.get(f"{_ENCODER}conv1.weight")
    return head is not None and stem is not None and head.shape[0] != stem.shape[1]


def _recipe(entries: Entries) -> Recipe:
    """The published recipe with the sizes of the entries."""
    stem = entries[f"{_ENCODER}conv1.weight"]
    segments = _segments(entries)
    tree = load("mae_pets_faithful" if segments else "spark_pets").model_dump(mode="json")
    tree["data"]["channels"] = stem.shape[1]
    tree["data"]["crop"] = [224] * (stem.ndim - 2)
    tree["model"]["backbone"] = {"name": "resnet", "width": stem.shape[0], **_blocks(entries)}
    top = entries.get("densify_projs.0.weight")
    width = {} if top is None else {"top": top.shape[0]}
    if segments:
        tree["model"]["decoder"] = {"name": "spark", **width}
        classes = entries[f"{_HEAD}weight"].shape[0]
        if classes > 1:
            tree["task"] = {"name": "semantic", "classes": classes}
    else:
        tree["method"] |= {f"decoder_{name}": value for name, value in width.items()}
    return Recipe.model_validate(tree)


def _blocks(entries: Entries) -> dict[str, Any]:
    """Blocks of each stage, by the published depth where they are those of one."""
    stages = count(entries, f"{_ENCODER}layer{{}}.", start=1)
    blocks = tuple(
        count(entries, f"{_ENCODER}layer{stage}.{{}}.") for stage in range(1, stages + 1)
    )
    known = [depth for depth, published in _DEPTHS.items() if published == blocks]
    return {"depth": known[0]} if known else {"blocks": list(blocks)}


def _rename(name: str) -> str:
    for theirs, ours in _PREFIXES.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def _network(recipe: Recipe) -> nn.Module:
    if recipe.task is not None:
        return build_segmenter(recipe)
    method = recipe.method or Part(name="spark")
    return build(method.choice, METHODS, "method", backbone=build_backbone(recipe))


def _outputs(network: nn.Module) -> nn.Module:
    """Logits of a segmenter; of a method the dense features, fine to coarse."""
    return Logits(network) if isinstance(network, Segmenter) else network.get_submodule("backbone")


def _dead_buffers(size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, deviation, and a black image in their units."""
    mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) for v in (_MEAN, _DEVIATION))
    return mean, deviation, (-mean / deviation).expand(1, 3, size, size).clone()


SOURCE = Source(
    title="a ResNet of SparK (arXiv:2301.03580)",
    license="MIT",
    unpack=_unpack,
    belongs=_belongs,
    recipe=_recipe,
    renamed=_rename,
    build=_network,
    outputs=_outputs,
    optional=True,
)
