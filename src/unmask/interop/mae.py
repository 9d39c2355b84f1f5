"""Masked autoencoders of facebookresearch/mae (arXiv:2111.06377): 2D, color photographs."""

from __future__ import annotations

from functools import partial

from unmask.interop import maester, tokens
from unmask.interop.base import Entries, Source, state_dict

# Attention heads of the published encoders (base, large, huge) and of their decoder.
HEADS = {768: 12, 1024: 16, 1280: 16, 512: 16}


def _belongs(entries: Entries) -> bool:
    return tokens.is_transformer(entries, 2) and not maester.SOURCE.belongs(entries)


SOURCE = Source(
    title="a masked autoencoder (arXiv:2111.06377)",
    license="CC-BY-NC-4.0",
    unpack=partial(state_dict, groups=("model",)),
    belongs=_belongs,
    recipe=partial(tokens.recipe, preset="mae2d", normalize={"name": "standard"}, heads=HEADS),
    renamed=tokens.rename_entry,
    build=tokens.network,
    outputs=tokens.outputs,
    optional=True,
)
