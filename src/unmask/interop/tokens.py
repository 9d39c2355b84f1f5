"""What sources of vision transformers share: sizes from tensors, recipes, token outputs.

Names are those of timm and of the published masked autoencoder; the encoder's stand under
``backbone`` here. The number of attention heads leaves no trace in the tensors: it is known for the
published widths and asked for otherwise, as is the grid of a table that fits no square or cube.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from unmask.build import build_backbone
from unmask.interop.base import Entries, count
from unmask.lookup import build
from unmask.models.vit import ViT
from unmask.pretraining import METHODS
from unmask.recipe import Recipe, load

PATCHES = "patch_embed.proj.weight"
POSITIONS = "pos_embed"
_NEEDED = (PATCHES, POSITIONS, "cls_token", "blocks.0.attn.qkv.weight", "blocks.0.mlp.fc1.weight")
_DECODER = ("mask_token", "decoder_")


class TokenOutputs(nn.Module):
    """The class token and one token per patch, after the last normalization."""

    def __init__(self, backbone: ViT) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, image: Float[Tensor, "b c *space"]) -> Float[Tensor, "b m d"]:
        """Tokens of images whose sizes are multiples of the patch; positions are interpolated."""
        return self.backbone.encode(self.backbone.embed(image).values)


def outputs(network: nn.Module) -> nn.Module:
    """Token outputs of a pre-training method."""
    backbone: Any = network.get_submodule("backbone")
    return TokenOutputs(backbone)


def network(recipe: Recipe) -> nn.Module:
    """The recipe's pre-training method.

    Raises:
        ValueError: the recipe has none.
    """
    if recipe.method is None:
        raise ValueError(f"recipe {recipe.name!r} has no pre-training method.")
    return build(recipe.method.choice, METHODS, "method", backbone=build_backbone(recipe))


def rename_entry(name: str) -> str | None:
    """The decoder keeps its names, the encoder stands under ``backbone``; heads are not needed."""
    if name.startswith(("head.", "head_dist.", "fc_norm.")):
        return None
    return name if name.startswith(_DECODER) else f"backbone.{name}"


def is_transformer(entries: Entries, axes: int) -> bool:
    """Whether entries are those of a vision transformer over patches of ``axes`` axes."""
    return all(name in entries for name in _NEEDED) and entries[PATCHES].ndim == axes + 2


def patch_of(entries: Entries) -> tuple[int, ...]:
    """Voxels of a patch along every axis."""
    return tuple(entries[PATCHES].shape[2:])


def recipe(
    entries: Entries,
    preset: str,
    *,
    normalize: Mapping[str, Any] | None,
    heads: Mapping[int, int],
    scale: float = 1.0,
) -> Recipe:
    """A preset with the network that the entries are for.

    Args:
        entries: the published state dict.
        preset: the recipe for everything that tensors do not show.
        normalize: values that the published program was given; None: as the preset does.
        heads: attention heads by width, as published.
        scale: factor on the positions of patches.
    """
    dim, channels, *patch = entries[PATCHES].shape
    grid = _grid(entries[POSITIONS].shape[1] - 1, len(patch))
    tree = load(preset).model_dump(mode="json")
    tree["data"]["channels"] = channels
    tree["data"]["crop"] = [n * p for n, p in zip(grid, patch, strict=True)]
    if normalize is not None:
        tree["data"]["normalize"] = dict(normalize)
    tree["model"]["backbone"] = {
        "name": "vit",
        "patch": list(patch),
        "dim": dim,
        "depth": count(entries, "blocks.{}."),
        "heads": heads.get(dim),
        "mlp_ratio": entries["blocks.0.mlp.fc1.weight"].shape[0] / dim,
        "position_scale": scale,
    }
    tree["method"].update(_decoder(entries, heads))
    return Recipe.model_validate(tree)


def _decoder(entries: Entries, heads: Mapping[int, int]) -> dict[str, Any]:
    """Options of the decoder; none where the file holds an encoder alone."""
    if "decoder_embed.weight" not in entries:
        return {}
    dim, hidden = entries["decoder_embed.weight"].shape[0], "decoder_blocks.0.mlp.fc1.weight"
    return {
        "decoder_dim": dim,
        "decoder_depth": count(entries, "decoder_blocks.{}."),
        "decoder_heads": heads.get(dim),
        "decoder_mlp_ratio": entries[hidden].shape[0] / dim if hidden in entries else 4.0,
    }


def _grid(places: int, axes: int) -> tuple[int, ...]:
    """Tokens along every axis of a square or cube; zeros, which ask the user, for another table."""
    side = round(places ** (1 / axes))
    return (side if side**axes == places else 0,) * axes
