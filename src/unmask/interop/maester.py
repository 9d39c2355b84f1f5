"""Encoders of MAESTER (Xie et al., CVPR 2023): sections of electron microscopy, patches of 5."""

from __future__ import annotations

from functools import partial

from unmask.interop import tokens
from unmask.interop.base import Entries, Source, state_dict

# The encoder's single head and the decoder's, by width.
HEADS = {192: 1, 128: 8}
# Positions of patches weigh less than those of the class token and of the decoder.
SCALE = 0.08
PATCH = (5, 5)


def _belongs(entries: Entries) -> bool:
    """Gray patches of 5 x 5, which no other published autoencoder has."""
    gray = tokens.is_transformer(entries, 2) and entries[tokens.PATCHES].shape[1] == 1
    return gray and tokens.patch_of(entries) == PATCH


SOURCE = Source(
    title="MAESTER (CVPR 2023)",
    license="MIT",
    unpack=partial(state_dict, groups=("model", "state_dict")),
    belongs=_belongs,
    recipe=partial(tokens.recipe, preset="maester", normalize=None, heads=HEADS, scale=SCALE),
    renamed=tokens.rename_entry,
    build=tokens.network,
    outputs=tokens.outputs,
    optional=True,
)
